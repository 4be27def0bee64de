"""Whatever happens to a request that was asked before, the short way and the long way come to the same: bytes
in both directions, records, metrics, connections that are left."""

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from secrets import token_hex
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.audit import AuditRecord, Ending, Own
from proxy.core.credentials import CredentialRef
from proxy.core.hosts import Hostname
from proxy.core.lease import Lease
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.edge.audit_trail import AuditSink
from proxy.edge.metrics import Metrics
from proxy.edge.recorder import LONG_SECONDS, EdgeRecorder
from proxy.lanes.fast import one_request, shortcut
from proxy.transaction import attaching
from proxy.transaction.pod import PodState
from tests import fast_world
from tests.fast_world import End, Scene, play, turns, until
from tests.judge_world import policy
from tests.lane_world import HOST, NOON, POLICY, Recorder, World, arrival_of, pod_of

TOKENS: Final = [f"live-{token_hex(16)}" for _ in range(2)]
S3: Final = Hostname("s3.eu-central-1.amazonaws.com")
S3_POD: Final = pod_of(policy("{service: s3, buckets: [data], access: [read, write], credential: aws}"))
BEARER: Final = pod_of()
NOTHING: Final = pod_of(POLICY.replace("/v1/", "/v2/"))
SAME: Final = pod_of()
CUTS: Final = pod_of(POLICY.replace("  grants:", "  onRevoke: cut\n  grants:"))

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SPENT: Final = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\ngone"


def leased(ref: CredentialRef, number: int) -> Lease:
    secret = Secret(TOKENS[number].encode())
    if ref.name == "aws":
        me = Secret(b"me")
        parts = {Part.ACCESS_KEY_ID: me, Part.SECRET_ACCESS_KEY: secret, Part.SESSION_TOKEN: secret}
    else:
        parts = {Part.TOKEN: secret}
    return Lease(f"lease-{number}", ref, parts, NOON)


class Quiet:
    """A log that nobody reads."""

    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


class Told(Recorder):
    """And the real one, with its metrics and its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = Metrics()
        self.lines: list[dict[str, Any]] = []
        self.edge: EdgeRecorder | None = None

    def begin(self, world: World) -> None:
        sink = AuditSink(lambda line: self.lines.append(json.loads(line)))
        self.edge = EdgeRecorder(self.metrics, sink, Quiet(), world.clock)

    @property
    def _edge(self) -> EdgeRecorder:
        assert self.edge is not None
        return self.edge

    def decided(self, record: AuditRecord, seconds: float) -> None:
        super().decided(record, seconds)
        self._edge.decided(record, seconds)

    def finished(self, record: AuditRecord) -> None:
        super().finished(record)
        self._edge.finished(record)

    def repeated(self, record: AuditRecord, own: Own, seconds: float) -> None:
        super().repeated(record, own, seconds)
        self._edge.repeated(record, own, seconds)

    def ended(self, record: AuditRecord, own: Own) -> None:
        super().ended(record, own)
        self._edge.ended(record, own)


@dataclass
class Stage:
    """One connection on which a request was asked twice, and what a test does to the third."""

    world: World
    recorder: Told
    scene: Scene
    upstream: End
    raw: bytes
    answered: list[bytes] = field(default_factory=list)

    async def say(self, data: bytes) -> None:
        """By the upstream that has it now: the last that was connected to."""
        with suppress(OSError):
            await self.scene.street.ends[-1].say(data)

    async def renew(self) -> None:
        """Another lease is the live one, and another connection has asked the same with it."""
        leases = self.world.leases
        new = {}
        leases.reply = lambda ref: new.setdefault(ref, leased(ref, 1))
        other = Scene(self.world)
        other.street.verified = self.scene.street.verified
        try:
            await other.client.say(self.raw)
            upstream = await other.upstream()
            await upstream.hear()
            await upstream.say(usual(self.raw))
            await other.client.hear()
        finally:
            await other.close()


Act = Callable[[Stage], Awaitable[None]]


def request(host: str = HOST, target: str = "/v1/x", method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


def usual(raw: bytes) -> bytes:
    return OK.removesuffix(b"ok") if raw.startswith(b"HEAD ") else OK


def rest_of(end: End) -> bytes:
    with suppress(OSError):
        while data := end.sock.recv(65_536, socket.MSG_DONTWAIT):
            end._heard += data
    return bytes(end._heard)


def outcome(  # noqa: PLR0915 - one after the other
    acts: Iterable[Act],
    raw: bytes,
    pod: PodState = BEARER,
    host: str = HOST,
    *,
    short: bool,
    first: Callable[[Scene], object] | None = None,
    third: bytes | None = None,
) -> dict[str, Any]:
    """All that can be seen of it from outside. `third`: what is asked when `raw` was asked twice."""
    recorder = Told()
    world = World(pod=pod, recorder=recorder)
    recorder.begin(world)
    known: dict[CredentialRef, Lease] = {}
    world.leases.reply = lambda ref: known.setdefault(ref, leased(ref, 0))
    seen: dict[str, Any] = {}

    async def story(scene: Scene) -> None:
        scene.street.verified = host
        upstream: End | None = None
        for _ in range(2):
            await scene.client.say(raw)
            upstream = upstream or await scene.upstream()
            await upstream.hear()
            answer = usual(raw)
            await upstream.say(answer)
            await scene.client.hear(answer)
        assert upstream is not None
        assert len(scene.street.ends) == 1
        if not short:
            scene.conversation._short = None
        if first is not None:
            first(scene)
        stage = Stage(world, recorder, scene, upstream, raw)
        await scene.client.say(third or raw)
        await until(lambda: len(recorder.decisions) == 3 or scene.running.done())
        await turns()
        for act in acts:
            await act(stage)
        await turns(100)
        seen["pooled"] = scene.street.idle, dict(scene.street._open)
        seen["got"] = rest_of(scene.client) if scene.client.sock.fileno() >= 0 else b""
        for end in [scene.client, *scene.street.ends]:
            end.leave() if end.sock.fileno() < 0 else None
        seen["heard"] = [rest_of(end) for end in scene.street.ends if end.sock.fileno() >= 0]
        with suppress(OSError):
            scene.client.end()
        for end in scene.street.ends:
            with suppress(OSError):
                end.leave()
        await turns(60)
        seen["open"] = dict(scene.street._open)
        seen["news"] = scene.side.on_news is None
        seen["under way"] = len(world.lane_world.in_flight), world.room.taken

    before = fast_world.ARRIVAL
    try:
        fast_world.ARRIVAL = arrival_of(host, lane=before.lane)  # type: ignore[misc]
        play(story, world)
    finally:
        fast_world.ARRIVAL = before  # type: ignore[misc]
    # The long way may take one more.
    named = dict.fromkeys(one.request_id for one in recorder.decisions)
    ids = {name: f"r{at}" for at, name in enumerate(named)}
    seen["got"] = re.sub(rb"request-[0-9]+", lambda it: ids.get(it[0].decode(), "?").encode(), seen["got"])
    # A verdict does not say yet what it was connected to.
    seen["decisions"] = [
        replace(one, request_id=ids[one.request_id], upstream="") for one in recorder.decisions
    ]
    seen["records"] = [replace(one, request_id=ids.get(one.request_id, "?")) for one in recorder.records]
    seen["lines"] = [
        line
        | {"requestId": ids.get(line["requestId"], "?")}
        | ({"upstream": ""} if line["ending"] == "open" else {})
        for line in recorder.lines
    ]
    # Those of the process are its own.
    lines = recorder.metrics.exposition()[0].decode().splitlines()
    seen["metrics"] = [line for line in lines if line.startswith("podkey_")]
    seen["told"] = (
        recorder.spent, recorder.clocks, recorder.regions, recorder.failures, recorder.passed, recorder.cuts,
        [(where, type(error)) for where, error in recorder.crashes], world.leases.given_back,
    )  # fmt: skip
    assert recorder.edge is not None
    assert not recorder.edge._under_way
    assert first is not None or third is not None or bool(recorder.short) is short
    seen["short"] = bool(recorder.short)
    return seen


def same(
    acts: list[Act],
    raw: bytes,
    pod: PodState = BEARER,
    host: str = HOST,
    first: Callable[[Scene], object] | None = None,
    *,
    third: bytes | None = None,
) -> dict[str, Any]:
    long = outcome(acts, raw, pod, host, short=False, first=first, third=third)
    short = outcome(acts, raw, pod, host, short=True, first=first, third=third)
    for what, found in long.items():
        if what != "short":
            assert (what, short[what]) == (what, found)
    return short


# --- acts ---


def named(act: Act, name: str) -> Act:
    """As hypothesis prints it."""
    act.__name__ = act.__qualname__ = name
    return act


def says(data: bytes, *, waits: bool = True) -> Act:
    async def act(stage: Stage) -> None:
        await stage.say(data)
        if waits:
            await turns()

    return named(act, f"says({data!r}, waits={waits})")


def does(what: Callable[[Stage], object], *, waits: bool = True) -> Act:
    async def act(stage: Stage) -> None:
        with suppress(OSError):
            found = what(stage)
            if isinstance(found, Awaitable):
                await found
        if waits:
            await turns()

    name = next((name for name, one in ACTS.items() if one is what), "?")
    return named(act, f"does({name!r}, waits={waits})")


def _stall(stage: Stage) -> None:
    stage.scene.look(0)
    stage.scene.look(stage.world.timeouts.idle)


def _take_away(pod: PodState) -> Callable[[Stage], object]:
    return lambda stage: stage.scene.take_away(pod)


def _long(stage: Stage) -> None:
    stage.world.clock.seconds += LONG_SECONDS + 1
    assert stage.recorder.edge is not None
    stage.recorder.edge.tell_of_long_ones()


def _later(stage: Stage) -> None:
    stage.world.clock.passed += timedelta(seconds=1)
    stage.world.clock.seconds += 1


def _learns(stage: Stage) -> None:
    """Another request was told what time it is there."""
    now = stage.world.clock.now()
    stage.world.lane_world.clocks.learn(S3, now + timedelta(hours=1), now)


async def _cancel(stage: Stage) -> None:
    stage.scene.running.cancel()
    await asyncio.wait({stage.scene.running})


ACTS: Final[dict[str, Callable[[Stage], object]]] = {
    "the client ends": lambda stage: stage.scene.client.end(),
    "the client resets": lambda stage: stage.scene.client.reset(),
    "the client asks again": lambda stage: stage.scene.client.say(stage.raw),
    "the client says nonsense": lambda stage: stage.scene.client.say(b"\0\r\n\r\n"),
    "the upstream leaves": lambda stage: stage.scene.street.ends[-1].leave(),
    "the upstream resets": lambda stage: stage.scene.street.ends[-1].reset(),
    "the upstream ends": lambda stage: stage.scene.street.ends[-1].end(),
    "it stalls": _stall,
    "another policy grants nothing": _take_away(NOTHING),
    "another policy says the same": _take_away(SAME),
    "another policy cuts": _take_away(CUTS),
    "a second passes": _later,
    "it takes long": _long,
    "another lease": Stage.renew,
    "it is stopped": _cancel,
}


# --- what a property may not find by itself ---


def test_a_grant_that_was_taken_away_does_not_travel_again() -> None:
    """It was sent on a connection that had died, and the policy was replaced before that was noticed."""
    acts = [does(_take_away(NOTHING)), does(lambda stage: stage.upstream.leave())]
    long = outcome(acts, request(), short=False)
    short = outcome(acts, request(), short=True)
    assert [TOKENS[0].encode() in heard for heard in long["heard"]] == [False]
    assert short["heard"] == long["heard"]
    assert short["records"] == long["records"]


def test_the_lease_that_travelled_is_the_one_that_is_recorded_and_complained_of() -> None:
    """Another request got a newer one while this one waited: it is sent again with that."""
    acts = [does(Stage.renew), says(SPENT), says(OK)]
    short = same(acts, request())
    assert (short["records"][-1].retried, short["records"][-1].lease_id) == (True, "lease-1")


def test_the_lease_that_travelled_is_recorded() -> None:
    short = same([does(Stage.renew), says(OK[:-1]), says(OK[-1:])], request())
    assert short["records"][-1].lease_id == "lease-0"


def test_a_clock_that_another_request_learnt_meanwhile_is_no_reason_not_to_sign_again() -> None:
    late = format_datetime(NOON + timedelta(hours=1), usegmt=True)
    body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    skewed = (
        f"HTTP/1.1 403 Forbidden\r\nDate: {late}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    short = same([does(_learns), says(skewed), says(OK)], request(S3, "/data/key"), S3_POD, S3)
    assert short["records"][-1].status == 200


def test_whom_we_drop_has_not_left() -> None:
    """Looked at twice before anybody else had a turn."""
    short = same([does(_stall, waits=False), does(_stall, waits=False)], request())
    assert short["records"][-1].ending is Ending.CUT


def test_a_connection_of_another_name_carries_nothing() -> None:
    def first(scene: Scene) -> None:
        for upstream in scene.street._idle[next(iter(scene.street._idle))]:
            upstream.name = Hostname("other.example.com")

    assert same([says(OK)], request(), first=first)["records"][-1].verdict == "refuse"


def _breaks(*_: object, **__: object) -> None:
    raise OSError


@pytest.mark.parametrize("what", ["openings", "request_head"])
def test_what_fails_before_it_travels_is_refused_and_recorded(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(_: Scene) -> None:
        for module in (attaching,) if what == "openings" else (one_request, shortcut):
            monkeypatch.setattr(module, what, _breaks)

    found = []
    for short in (False, True):
        with monkeypatch.context() as patch:
            monkeypatch, keep = patch, monkeypatch
            found.append(outcome([says(OK)], request(), short=short, first=first))
            monkeypatch = keep
    assert found[0]["records"][-1].verdict == "refuse"
    assert found[1]["records"] == found[0]["records"]


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("answer", [b"", OK, OK[:-1], OK + OK, OK[:20], SPENT], ids=range(6))
@pytest.mark.parametrize("where", ["before", "at once", "behind"])
def test_each_thing_that_can_happen(name: str, answer: bytes, where: str) -> None:
    act = does(ACTS[name], waits=where != "at once")
    said = says(answer, waits=where != "at once")
    same([said, act] if where == "behind" else [act, said], request())


# --- answers ---

_STATUSES: Final = (
    "200 OK", "201 Created", "202 Accepted", "203 x", "204 No Content", "205 Reset Content",
    "206 Partial Content",
    "226 IM Used", "299", "301 Moved Permanently", "304 Not Modified", "307 x", "400 Bad Request",
    "401 Unauthorized", "403 Forbidden", "404 Not Found", "429 x", "500 x", "503 x", "599", "100 Continue",
    "101 Switching Protocols", "103 Early Hints", "600 x", "99 x",
)  # fmt: skip
_FIELDS: Final = (
    "Content-Type: text/plain", "Content-Type: application/octet-stream", "Content-Type: application/json",
    "Content-Encoding: gzip", "Connection: close", "Connection: keep-alive", "Connection: x-echo",
    "Keep-Alive: timeout=5", "Set-Cookie: a=b", "Authorization: Bearer x", "Alt-Svc: h3", "Server:  padded ",
    "X-Podkey: 1", f"X-Echo: {TOKENS[0]}", f"X-Echo: a{TOKENS[0]}b", f"{TOKENS[0]}: x", "Upgrade: websocket",
    "Transfer-Encoding: chunked", "Trailer: x", "x-api-key: k", "X-Goog-Api-Key: k", "Content-Length: 2",
    "bad",
    'WWW-Authenticate: Bearer error="invalid_token"', "Expect: 100-continue",
    "Date: Wed, 04 Mar 2026 13:00:00 GMT",
    "x-amz-bucket-region: us-east-1", "X-Long: " + "x" * 3000,
)  # fmt: skip
_BODIES: Final = (
    b"", b"ok", b"\x00" * 20_000, TOKENS[0].encode(), b"a" + TOKENS[0].encode() + b"b",
    b"5\r\nhello\r\n0\r\n\r\n",
    TOKENS[0][:-1].encode(), b"<Error><Code>ExpiredToken</Code></Error>", b"x" * 70_000,
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.1", "1.0", "2"]))
    status = draw(st.one_of(st.just("200 OK"), st.sampled_from(_STATUSES)))
    fields = draw(st.lists(st.sampled_from(_FIELDS), max_size=3))
    body = draw(st.sampled_from(_BODIES))
    length = draw(st.sampled_from(["true", "true", "true", "true", "none", "less", "more", "twice"]))
    if length != "none":
        off = {"less": -1, "more": 1}.get(length, 0)
        fields += [f"Content-Length: {len(body) + off}"] * (2 if length == "twice" else 1)
    before = draw(st.sampled_from([b"", b"", b"", b"", b"\r\n", b"HTTP/1.1 103 x\r\n\r\n", b"x"]))
    behind = draw(st.sampled_from([b"", b"", b"", b"", b"\r\n", OK, b"x"]))
    lines = [f"HTTP/{version} {status}", *draw(st.permutations(fields)), "", ""]
    return before + "\r\n".join(lines).encode("latin-1") + body + behind


@st.composite
def scripts(draw: st.DrawFn) -> list[Act]:
    answer = draw(answers())
    cuts = sorted(draw(st.lists(st.integers(0, len(answer)), max_size=2)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    acts = [says(piece, waits=draw(st.booleans())) for piece in pieces]
    for name in draw(st.lists(st.sampled_from(sorted(ACTS)), max_size=2)):
        acts.insert(draw(st.integers(0, len(acts))), does(ACTS[name], waits=draw(st.booleans())))
    if draw(st.booleans()):
        acts.append(says(OK))
    return acts


@given(scripts(), st.sampled_from(["GET", "GET", "HEAD", "POST"]), st.booleans())
def test_both_ways_come_to_the_same(acts: list[Act], method: str, own: bool) -> None:  # noqa: FBT001
    fields = ["Authorization: Bearer podkey-placeholder"] if own else []
    same(acts, request(HOST, "/v1/x", method, *fields))


@given(scripts(), st.booleans())
def test_signed_ones_too(acts: list[Act], learns: bool) -> None:  # noqa: FBT001
    acts = [does(_learns), *acts] if learns else acts
    same(acts, request(S3, "/data/key"), S3_POD, S3)


# --- other paths ---

# Two policies and two credentials, by the path; and one operation that is not the other.
PATHS_POD: Final = pod_of(
    policy(
        "{hosts: [api.example.com], methods: [GET, HEAD, POST], paths: [/v1/**], credential: a}",
        "{hosts: [api.example.com], paths: [/v3/**], credential: b}",
    )
)
PIECES: Final = (
    "/",
    "/",
    "v1",
    "v2",
    "v3",
    "x",
    "..",
    ".",
    "%2e",
    "%2F",
    "%41",
    ";a",
    "?",
    "a=b",
    "#",
    "~",
    "*",
    "\\",
)


@given(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.sampled_from(["/v1", "/v1", "/v1/", "/v3", "", "/"]),
    st.one_of(scripts(), st.just([says(OK)])),
    st.sampled_from(["GET", "GET", "HEAD", "POST"]),
)
def test_another_path_comes_to_the_same(rest: str, start: str, acts: list[Act], method: str) -> None:
    target = start + rest or "*"
    same(acts, request(HOST, "/v1/x", method), PATHS_POD, third=request(HOST, target, method))


@given(
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    st.sampled_from(["/data/", "/data/", "/data", "/other/", "/"]),
    st.one_of(scripts(), st.just([says(OK)])),
)
def test_another_object_comes_to_the_same(rest: str, start: str, acts: list[Act]) -> None:
    same(acts, request(S3, "/data/key"), S3_POD, S3, third=request(S3, start + rest))


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("answer", [b"", OK, OK[:-1], SPENT], ids=range(4))
def test_each_thing_that_can_happen_on_another_path(name: str, answer: bytes) -> None:
    found = same([does(ACTS[name]), says(answer)], request(), third=request(target="/v1/other"))
    assert found["short"]
    assert "/v1/other" in {one.path for one in found["records"]}


def test_each_object_is_signed_by_itself() -> None:
    found = same([says(OK)], request(S3, "/data/key"), S3_POD, S3, third=request(S3, "/data/other"))
    assert found["short"]
    assert found["records"][-1].path == "/data/other"


@pytest.mark.parametrize("line", ["Accept: x", "Authorization: Bearer podkey-placeholder", "X-Y: a"])
def test_another_head_is_judged_by_itself(line: str) -> None:
    assert not same([says(OK)], request(), third=request(HOST, "/v1/y", "GET", line))["short"]


def test_an_ending_is_one_of_ours() -> None:
    assert same([says(OK)], request())["records"][-1].ending is Ending.COMPLETED
