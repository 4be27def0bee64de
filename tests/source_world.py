"""Drives a credential source without a file, a socket or a clock: the test plays the world.

outcome = acquired(acquire(kind, OCCASION), http=stand_in.answer, tokens={"podkey": token})
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from proxy.core.identity import WorkloadIdentity
from proxy.core.secret import Secret
from proxy.sources.steps import (
    Acquired,
    Failed,
    HttpCall,
    HttpReply,
    Occasion,
    ReadFiles,
    ReadToken,
    Reply,
    SourceOutcome,
    Step,
    StepFailed,
)

NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
WHO: Final = WorkloadIdentity(
    "ml", "trainer", "c1", "train-0", "0f3d8a52-1111-4222-8333-444455556666", "gpu-7"
)
OCCASION: Final = Occasion(NOON, WHO, "nonce-0123456789abcdef")


@dataclass(frozen=True)
class Request:
    """A call as a server sees it."""

    method: str
    url: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @classmethod
    def of(cls, call: HttpCall) -> "Request":
        headers = {name.lower(): shown(value) for name, value in call.headers}
        return cls(call.method, call.url, headers, call.body.reveal() if call.body is not None else b"")

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The fields of an urlencoded body; several of one name are an error of the caller's test."""
        pairs = parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs), "a field stands there twice"
        return dict(pairs)


Server = Callable[[Request], HttpReply | StepFailed]


@dataclass
class World:
    """What a source finds. `calls` remembers what it asked over HTTP."""

    http: Server | None = None
    tokens: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    calls: list[Request] = field(default_factory=list)

    def perform(self, step: Step) -> Reply:
        match step:
            case ReadFiles(folder, names):
                if folder not in self.secrets:
                    return StepFailed(f"the secret {folder} is not mounted")
                return {name: self.secrets[folder].get(name) for name in names}
            case ReadToken(audience):
                if audience not in self.tokens:
                    return StepFailed(f"no token for the audience {audience} is mounted")
                return Secret(self.tokens[audience])
            case HttpCall():
                assert self.http is not None, "this source was to ask nobody"
                request = Request.of(step)
                self.calls.append(request)
                return self.http(request)

    def drive(self, steps: Generator[Step, Reply, Any]) -> Any:
        try:
            step = next(steps)
            while True:
                step = steps.send(self.perform(step))
        except StopIteration as end:
            return end.value

    def acquired(self, steps: Generator[Step, Reply, SourceOutcome]) -> Acquired:
        outcome = self.drive(steps)
        assert isinstance(outcome, Acquired), outcome
        return outcome

    def failed(self, steps: Generator[Step, Reply, SourceOutcome]) -> Failed:
        outcome = self.drive(steps)
        assert isinstance(outcome, Failed), outcome
        return outcome


def shown(value: str | Secret) -> str:
    return value.reveal().decode("latin-1") if isinstance(value, Secret) else value


def json_reply(status: int, body: bytes, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, {"content-type": "application/json", **named}, body)
