"""A keeper of leases with everything around it: a clock that a test moves, mounted files, a door that leads
to a function, and a log that remembers."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from proxy.core.credentials import CredentialRef, CredentialSource, SourceKind
from proxy.core.lease import Lease, LeaseEvent, LeaseKey, LeaseReply
from proxy.core.mounted_sources import MountedSecret
from proxy.core.oauth_sources import Oauth2ClientCredentials, SecretPost
from proxy.core.parts import Part, SecretKey
from proxy.edge.lease_keeper import LeaseKeeper
from proxy.edge.performing import Performer
from proxy.sources.steps import HttpCall, HttpReply, StepFailed
from tests.source_world import NOON, WHO, Request, json_reply

Answer = HttpReply | StepFailed


class MovingClock:
    """Two clocks that agree until a test turns the one on the wall."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.turned = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall(), UTC)

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return NOON.timestamp() + self.seconds - 1000.0 + self.turned


class TestLog:
    """Remembers what it is told, as `(event, fields)`."""

    __test__ = False

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def _note(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    info = warning = error = _note

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]

    @property
    def text(self) -> str:
        return repr(self.lines)


class TestDoor:
    """Each call waits for the gate, which is open unless a test closes it."""

    __test__ = False

    def __init__(self, clock: MovingClock) -> None:
        self.clock = clock
        self.calls: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda _request: StepFailed("nobody answers")
        self.gate: asyncio.Event | None = None
        # How much further the server's clock is; None: it has none.
        self.skew: timedelta | None = timedelta()

    async def call(self, call: HttpCall) -> Answer:
        request = Request.of(call)
        self.calls.append(request)
        if self.gate is not None:
            await self.gate.wait()
        reply = self.answer(request)
        if isinstance(reply, StepFailed) or self.skew is None:
            return reply
        date = format_datetime((self.clock.now() + self.skew).replace(microsecond=0), usegmt=True)
        return HttpReply(reply.status, {**reply.headers, "date": date}, reply.body)


def token_reply(token: str, seconds: int = 3600) -> HttpReply:
    return json_reply(
        200, f'{{"access_token": "{token}", "token_type": "Bearer", "expires_in": {seconds}}}'.encode()
    )


OAUTH = Oauth2ClientCredentials(
    "https://login.example.com/token", "client-1", SecretPost(SecretKey("client", "secret"))
)
MOUNTED = MountedSecret("key", ((Part.TOKEN, "k"),))


def key_of(kind: SourceKind, name: str = "a", scope: str = "") -> LeaseKey:
    return LeaseKey(CredentialSource("ml", name, kind), scope)


class LeaseWorld:
    def __init__(self, folder: Path) -> None:
        self.clock = MovingClock()
        self.log = TestLog()
        self.door = TestDoor(self.clock)
        self.secrets, self.tokens = folder / "secrets", folder / "tokens"
        self.secrets.mkdir()
        self.tokens.mkdir()
        self.events: list[LeaseEvent] = []
        self.dice = 0.0
        self.used = False
        self.proved = True
        performer = Performer(self.secrets, self.tokens, self.door, self.clock)
        self.keeper = LeaseKeeper(
            performer,
            lambda: WHO,
            self.clock,
            self.log,
            self.events.append,
            is_proved=lambda: self.proved,
            dice=lambda: self.dice,
        )

    def write_secret(self, name: str, **files: str) -> None:
        (self.secrets / name).mkdir(exist_ok=True)
        for key, value in files.items():
            (self.secrets / name / key).write_text(value)

    def later(self, seconds: float) -> None:
        self.clock.seconds += seconds

    def named(self, key: LeaseKey) -> None:
        """As if a policy named it, unless `use` said which are named."""
        if not self.used:
            self.keeper.use({*self.keeper._keys, key})

    def use(self, *keys: LeaseKey) -> None:
        self.used = True
        self.keeper.use(keys)

    async def lease(self, key: LeaseKey) -> Lease:
        self.named(key)
        reply = await self.keeper.lease(key)
        assert isinstance(reply, Lease), reply
        return reply

    async def refused(self, key: LeaseKey) -> str:
        self.named(key)
        reply: LeaseReply = await self.keeper.lease(key)
        assert not isinstance(reply, Lease)
        return reply.message

    @staticmethod
    def run(work: Any) -> Any:
        return asyncio.run(work)


def value(lease: Lease, part: Part = Part.TOKEN) -> str:
    return lease.parts[part].reveal().decode()


async def until(look: Callable[[], object]) -> None:
    """Let other tasks run, until it is so."""
    for _ in range(10_000):
        if look():
            return
        await asyncio.sleep(0)
    raise AssertionError("waited in vain")


REF = CredentialRef("ml", "a")
