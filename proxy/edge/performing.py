"""Performs what credential sources ask for: files, projected tokens, HTTP. Everything secret is remembered,
so that it can be kept out of messages and overwritten when the run is over."""

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol, assert_never
from urllib.parse import parse_qsl

from proxy.core.contract import token_file
from proxy.core.secret import Secret
from proxy.files.snapshots import Unread, read_snapshot
from proxy.lanes.interface import Clock
from proxy.leasing.lifetimes import measured_skew
from proxy.sources.answers import read_json
from proxy.sources.mounted_secret import MAX_PART_BYTES
from proxy.sources.server_time import server_time
from proxy.sources.steps import (
    Files,
    HttpCall,
    HttpReply,
    ReadFiles,
    ReadToken,
    Reply,
    Step,
    StepFailed,
)
from proxy.tokens.compact import MAX_TOKEN_BYTES
from proxy.tokens.unverified import unverified_claims

# What `read_snapshot` says of a file that is not there; a source has its own words for that.
MISSING: Final = "does not exist"
# Kubernetes' limit for a whole Secret.
MAX_SECRET_BYTES: Final = 1024 * 1024
# Shorter values of a form are its words: a grant's type, a scope, a region. No token is that short.
LEAST_QUOTED: Final = 24


class Door(Protocol):
    """The one way out to a source."""

    async def call(self, call: HttpCall) -> HttpReply | StepFailed: ...


class Performer:
    """What all runs share."""

    def __init__(self, secrets: Path, tokens: Path, door: Door, clock: Clock) -> None:
        self.secrets = secrets
        self.tokens = tokens
        self.door = door
        self.clock = clock

    def run(self) -> "Run":
        return Run(self)


class Run:
    """One run of a source. `skew` is how much further its clock is than ours, where it told us."""

    def __init__(self, world: Performer) -> None:
        self._world = world
        self._secrets: list[Secret] = []
        self.skew: float | None = None
        self.began = world.clock.monotonic()
        self._wall_began = world.clock.wall()

    @property
    def wall(self) -> float:
        """The clock on the wall as it was when the run began, and what has passed since: somebody who sets it
        meanwhile changes neither the skew that is measured nor a lifetime that is reckoned with it."""
        return self._wall_began + (self._world.clock.monotonic() - self.began)

    async def drive[Outcome](self, steps: Generator[Step, Reply, Outcome]) -> Outcome:
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._perform(step))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    @property
    def seen(self) -> tuple[Secret, ...]:
        return tuple(self._secrets)

    def overwrite(self, kept: Iterable[Secret]) -> None:
        """All that passed through, but what somebody still needs."""
        needed = {id(secret) for secret in kept}
        for secret in self._secrets:
            if id(secret) not in needed:
                secret.overwrite()
        self._secrets.clear()

    async def _perform(self, step: Step) -> Reply:
        match step:
            case ReadFiles(folder, names):
                return self._files(folder, names)
            case ReadToken(audience):
                return self._token(audience)
            case HttpCall():
                return await self._http(step)
            case _:
                assert_never(step)

    def _files(self, folder: str, names: tuple[str, ...]) -> Files | StepFailed:
        try:
            files = read_snapshot(self._world.secrets / folder, names, MAX_SECRET_BYTES)
        except FileNotFoundError:
            return StepFailed(f"the secret {folder} is not mounted")
        except OSError as error:
            return StepFailed(f"the secret {folder} cannot be read: {error.strerror}")
        for name, file in files.items():
            if isinstance(file, Unread) and file.why != MISSING:
                return StepFailed(f"the key {name} of the secret {folder} {file.why}")
            if not isinstance(file, Unread) and len(file) > MAX_SECRET_BYTES:
                why = f"is larger than {MAX_SECRET_BYTES} bytes"
                return StepFailed(f"the key {name} of the secret {folder} {why}")
        found = {name: None if isinstance(file, Unread) else file for name, file in files.items()}
        # What is larger is no credential, is refused for that, and would take seconds to look for.
        self._secrets.extend(
            Secret(file.strip())
            for file in found.values()
            if file is not None and len(file) <= MAX_PART_BYTES
        )
        return found

    def _token(self, audience: str) -> Secret | StepFailed:
        name = token_file(audience)
        missing = (
            f"no token for the audience {audience} is mounted: project a serviceAccountToken with this "
            f"audience as the file {name} into PODKEY_TOKENS_DIR"
        )
        try:
            file = read_snapshot(self._world.tokens, [name], MAX_TOKEN_BYTES)[name]
        except FileNotFoundError:
            return StepFailed(missing)
        except OSError as error:
            return StepFailed(f"the token for the audience {audience} cannot be read: {error.strerror}")
        if isinstance(file, Unread):
            return StepFailed(
                missing if file.why == MISSING else f"the token for the audience {audience} {file.why}"
            )
        if len(file) > MAX_TOKEN_BYTES:
            return StepFailed(f"the token for the audience {audience} is larger than {MAX_TOKEN_BYTES} bytes")
        token = Secret(file.strip())
        if not token:
            return StepFailed(f"the token for the audience {audience} is empty: see what is mounted there")
        self._secrets.append(token)
        claims = unverified_claims(token.reveal())
        if claims is not None and claims.expires <= self._world.clock.now():
            ended = f"{claims.expires:%Y-%m-%d %H:%M:%S} UTC"
            return StepFailed(
                f"the token for the audience {audience} ended at {ended}, and the kubelet has not renewed it"
            )
        return token

    async def _http(self, call: HttpCall) -> HttpReply | StepFailed:
        self._secrets.extend(value for _, value in call.headers if isinstance(value, Secret))
        if call.body is not None:
            self._secrets.extend((call.body, *map(Secret, _values_in(call.body.reveal()))))
        reply = await self._world.door.call(call)
        if isinstance(reply, HttpReply) and (date := server_time(reply)) is not None:
            skew = measured_skew(date, self.wall)
            self.skew = skew if skew is not None else self.skew
        return reply


def _values_in(body: bytes) -> Iterator[bytes]:
    """What stands in a form or in a JSON object: a server may quote one value of what it was sent."""
    found = read_json(body)
    if found is not None:
        yield from (
            value.encode(errors="replace")
            for value in found.values()
            if isinstance(value, str) and len(value) >= LEAST_QUOTED
        )
    else:
        yield from (value for _, value in parse_qsl(body) if len(value) >= LEAST_QUOTED)
