"""A request that was asked before is what it would be if it had not been: record, edits, counts."""

import asyncio
from datetime import timedelta
from secrets import token_hex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.arrival import Arrival
from proxy.core.audit import Ending
from proxy.core.credentials import CredentialRef
from proxy.core.lease import Lease, LeaseReply
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.edge.metrics import Metrics
from proxy.lanes.exchange import Exchange
from proxy.lanes.familiar import recall, remember
from proxy.transaction.head import Head, head_of_http1
from proxy.transaction.opening import Forward, Refused
from proxy.transaction.pod import PodState
from proxy.wire.request_head import RequestHead, read_request_head
from tests.judge_world import policy
from tests.lane_world import HOST, NOON, World, arrival_of, get, no_lease, pod_of

S3 = "s3.eu-central-1.amazonaws.com"
POLICIES = (
    policy(
        "{hosts: [api.example.com], methods: [GET, HEAD, POST, PUT], paths: [/v1/**], credential: a}",
        "{hosts: [key.example.com], credential: b}",
        "{service: s3, buckets: [data], access: [read, write], credential: aws}",
    )
    + policy("{hosts: [cut.example.com], credential: a}", name="cutting").replace(
        "spec:\n", "spec:\n  onRevoke: cut\n", 1
    )
    + policy("{hosts: [watched.example.com], credential: a}", name="watching", mode="observe")
    + policy(
        "{hosts: [brief.example.com], credential: a}",
        name="brief",
        validity="{notAfter: '2026-03-04T13:00:00Z'}",
    )
)
POD = pod_of(POLICIES)
TOKENS = [f"live-{token_hex(16)}" for _ in range(3)]
NAMES = ("key", "cut", "watched", "brief", "unheard-of")
HOSTS = (HOST, S3, *(f"{name}.example.com" for name in NAMES))
TARGETS = (
    "/v1/models",
    "/v1/models?a=1",
    "/other",
    "/data/key",
    "/data?list-type=2",
    "/v1/a?X-Amz-Signature=1",
)
FIELDS = (
    "Authorization: Bearer podkey-placeholder",
    "Authorization: Bearer my-own-credential",
    "X-Amz-Content-SHA256: UNSIGNED-PAYLOAD",
    "X-Amz-Content-SHA256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "Accept-Encoding: gzip",
    "Connection: keep-alive",
    "Connection: authorization",
    "Upgrade: websocket",
    "Content-Length: 3",
    "Cookie: a=b",
)


def lease(ref: CredentialRef, number: int) -> Lease:
    secret = Secret(TOKENS[number].encode())
    if ref.name == "aws":
        me = Secret(b"me")
        parts = {Part.ACCESS_KEY_ID: me, Part.SECRET_ACCESS_KEY: secret, Part.SESSION_TOKEN: secret}
    else:
        parts = {Part.TOKEN: secret}
    return Lease(f"lease-{number}", ref, parts, NOON)


class House:
    """A world in which the same things happen at the same time."""

    def __init__(self, *, remembers: bool) -> None:
        self.world = World(pod=POD)
        self.remembers = remembers
        self.number = 0
        self.leases = [{}, {}, {}]
        self.world.leases.reply = self.reply
        self.recalled = 0

    def reply(self, ref: CredentialRef) -> LeaseReply:
        if self.number < 0:
            return no_lease(ref)
        known: dict[CredentialRef, Lease] = self.leases[self.number]
        return known.setdefault(ref, lease(ref, self.number))

    def opened(self, arrival: Arrival, raw: bytes) -> Exchange:
        world = self.world.lane_world
        if self.remembers and (found := recall(world, arrival, raw)) is not None:
            self.recalled += 1
            return found
        reading = read_request_head(raw)
        assert isinstance(reading, RequestHead)
        exchange = Exchange(world, arrival, head_of_http1(reading))
        if not exchange.open_now():
            asyncio.run(exchange.open())
        if self.remembers:
            remember(world, raw, exchange)
        return exchange

    def ask(self, arrival: Arrival, raw: bytes, status: int) -> list[Any]:
        """What is seen of one request, from within and from without."""
        exchange = self.opened(arrival, raw)
        opening, seen = exchange.opening, []
        if isinstance(opening, Forward):
            seen += [opening.authority, plain(opening.target), [(n, plain(v)) for n, v in opening.fields]]
            seen += [replace(opening, record=None, fields=(), target=""), opening.forms, exchange.may_travel]
            exchange.upstream("192.0.2.9:443")
            suspicion = exchange.suspicion(status, [("x", "y")])
            suspicion.end()
            exchange.heard(suspicion)
            if exchange.judge_again():
                asyncio.run(exchange.open())
                seen.append(exchange.retried)
            token = TOKENS[self.number]
            fields = [("Content-Type", "text/plain"), ("X-Echo", token), ("Set-Cookie", "a=b"), ("A", "b")]
            if isinstance(exchange.opening, Forward):
                seen.append(exchange.response(status, fields)[::2])
                seen += [exchange.receive(f"it is {token}!".encode()), exchange.receive(b"")]
        elif isinstance(opening, Refused):
            seen += [opening.refusal.reason, exchange.answer(opening).status]
        seen.append(len(self.world.lane_world.in_flight))
        exchange.finish(Ending.COMPLETED)
        return seen


def plain(value: str | Secret) -> str:
    return value if isinstance(value, str) else value.reveal().decode()


def raw_head(host: str, method: str, target: str, fields: list[str]) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


REQUESTS = st.tuples(
    st.sampled_from(HOSTS),
    st.sampled_from(("GET", "GET", "POST")),
    st.sampled_from(TARGETS),
    st.lists(st.sampled_from(FIELDS), max_size=2, unique_by=lambda field: field.partition(":")[0]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 4), st.sampled_from((200, 200, 401, 101))),
        st.sampled_from(("lease", "none", "policy", "second", "hour", "back")),
    ),
    min_size=4,
    max_size=20,
)


@given(st.lists(REQUESTS, min_size=1, max_size=5), STEPS)
def test_with_the_memory_everything_is_as_without_it(
    requests: list[tuple[str, str, str, list[str]]], steps: list[Any]
) -> None:
    with_it, without = House(remembers=True), House(remembers=False)
    seen: list[list[Any]] = []
    for step in steps:
        for house in (with_it, without):
            if isinstance(step, tuple):
                host, method, target, fields = requests[step[0] % len(requests)]
                seen.append(house.ask(arrival_of(host), raw_head(host, method, target, fields), step[1]))
            else:
                happen(house, step)
        if isinstance(step, tuple):
            assert seen[-2] == seen[-1]
    one, other = with_it.world.recorder, without.world.recorder
    assert (one.records, one.decisions, one.spent) == (other.records, other.decisions, other.spent)
    assert one.crashes == other.crashes == []
    assert with_it.world.leases.given_back == without.world.leases.given_back
    counted = [metrics_of(recorder.records) for recorder in (one, other)]
    assert counted[0] == counted[1]


def happen(house: House, what: str) -> None:
    match what:
        case "lease":
            house.number = (house.number + 1) % 3
        case "none":
            house.number = -1
        case "policy":
            house.world.pod = replace(house.world.pod)
        case "second":
            house.world.clock.passed += timedelta(seconds=1)
        case "hour":
            house.world.clock.passed += timedelta(hours=1)
        case _:
            house.world.clock.passed -= timedelta(minutes=59)


def metrics_of(records: list[Any]) -> list[bytes]:
    metrics = Metrics()
    for record in records:
        metrics.finished(record)
    return [line for line in metrics.exposition()[0].splitlines() if line.startswith(b"podkey_")]


# --- one by one ----------------------------------------------------------------------------------------


@pytest.fixture
def house() -> House:
    return House(remembers=True)


PLAIN = raw_head(HOST, "GET", "/v1/models", [FIELDS[0]])
SIGNED = raw_head(S3, "GET", "/data/key", [])


@pytest.mark.parametrize(("host", "raw"), [(HOST, PLAIN), (S3, SIGNED)])
def test_the_second_one_is_recalled_with_an_id_a_time_and_an_address_of_its_own(
    house: House, host: str, raw: bytes
) -> None:
    house.ask(arrival_of(host), raw, 200)
    house.world.clock.passed += timedelta(milliseconds=1500)
    house.ask(replace(arrival_of(host), upstream="192.0.2.8:443"), raw, 200)

    first, second = house.world.recorder.records
    assert house.recalled == 1
    assert (first.request_id, second.request_id) == ("request-1", "request-2")
    assert second.time - first.time == timedelta(milliseconds=1500)
    assert [one.upstream for one in house.world.recorder.decisions] == ["192.0.2.7:443", "192.0.2.8:443"]


def test_within_a_second_a_signature_is_the_same_one_and_then_another(house: House) -> None:
    def signature() -> str:
        opening = house.opened(arrival_of(S3), SIGNED).opening
        assert isinstance(opening, Forward)
        return next(plain(value) for name, value in opening.fields if name.lower() == "authorization")

    first, again = signature(), signature()
    house.world.clock.passed += timedelta(seconds=1)
    later, once_more = signature(), signature()
    house.number = 1
    rotated = signature()

    assert house.recalled == 4
    assert first == again != later == once_more != rotated


@pytest.mark.parametrize(
    ("host", "method", "target", "fields"),
    [
        (HOST, "GET", "/other", []),
        (HOST, "GET", "/v1/models", [FIELDS[1]]),
        ("watched.example.com", "GET", "/", [FIELDS[1]]),
        ("unheard-of.example.com", "GET", "/", []),
        ("s3.amazonaws.com", "GET", "/data/key", []),
        (S3, "POST", "/data?delete", ["Content-Length: 3"]),
        (S3, "PUT", "/data/key", [FIELDS[3], "Content-Length: 3", "X-Amz-Decoded-Content-Length: 3"]),
    ],
)
def test_what_may_not_be_the_same_the_next_time_is_judged_each_time(
    house: House, host: str, method: str, target: str, fields: list[str]
) -> None:
    for _ in range(2):
        house.ask(arrival_of(host), raw_head(host, method, target, fields), 200)

    assert house.recalled == 0


def test_a_policy_that_ends_is_asked_again(house: House) -> None:
    raw = raw_head("brief.example.com", "GET", "/", [])
    reasons = []
    for _ in range(4):
        house.ask(arrival_of("brief.example.com"), raw, 200)
        reasons.append(house.world.recorder.records[-1].reason)
        house.world.clock.passed += timedelta(minutes=25)

    assert reasons == ["granted", "granted", "granted", "expired"]
    assert house.recalled == 2


def test_a_proof_that_ended_is_asked_for_again(house: House) -> None:
    proof = POD.proof
    house.world.pod = replace(POD, proof=replace(proof, expires=NOON + timedelta(minutes=1)))  # type: ignore[arg-type, type-var]
    for _ in range(2):
        house.ask(arrival_of(), PLAIN, 200)
    house.world.clock.passed += timedelta(minutes=1)
    house.ask(arrival_of(), PLAIN, 200)

    assert [record.reason for record in house.world.recorder.records][1:] == [
        "granted",
        "identity_unverified",
    ]


def test_without_a_live_lease_nothing_is_recalled(house: House) -> None:
    house.ask(arrival_of(), PLAIN, 200)
    house.number = -1

    assert recall(house.world.lane_world, arrival_of(), PLAIN) is None


def test_a_lease_that_can_go_nowhere_is_refused(house: House) -> None:
    for host, raw, parts in (
        (HOST, PLAIN, {Part.TOKEN: Secret(b"two words")}),
        (S3, SIGNED, {Part.TOKEN: Secret(b"no key")}),
    ):
        house.number = 0
        house.ask(arrival_of(host), raw, 200)
        house.number = 2
        for ref in (CredentialRef("ml", "a"), CredentialRef("ml", "aws")):
            house.leases[2][ref] = Lease("bad", ref, parts, NOON)
        found = recall(house.world.lane_world, arrival_of(host), raw)
        assert found is not None
        assert found.record.reason == "credential_unusable"
        assert found.record.request_id == found._id


def test_what_breaks_in_it_is_a_refusal(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ask(arrival_of(), PLAIN, 200)
    house.world.leases.reply = lambda ref: Lease("odd", ref, None, NOON)  # type: ignore[arg-type]

    found = recall(house.world.lane_world, arrival_of(), PLAIN)

    assert found is not None
    assert found.record.reason == "internal_error"
    assert [where for where, _ in house.world.recorder.crashes] == ["transaction"]


def test_the_lane_finds_its_note_and_the_head(house: House) -> None:
    world = house.world.lane_world
    exchange = Exchange(world, arrival_of(), get())
    assert exchange.open_now()
    remember(world, b"raw", exchange, "note")

    found = recall(world, arrival_of(), b"raw")

    assert found is not None
    assert found.familiar is not None
    assert found.familiar.note == "note"
    assert isinstance(found.familiar.head, Head)
    assert isinstance(house.world.pod, PodState)


def test_nothing_of_a_credential_is_remembered(house: House) -> None:
    house.ask(arrival_of(), PLAIN, 200)
    familiar = house.world.lane_world.memory.recall(PLAIN, arrival_of(), POD, NOON)

    assert familiar is not None
    forward = familiar.again._forward  # type: ignore[attr-defined]
    assert all(isinstance(value, str) for _, value in forward.fields)
    assert not forward.forms


def test_what_is_remembered_of_a_signed_request_is_not_shown(house: House) -> None:
    house.ask(arrival_of(S3), SIGNED, 200)
    familiar = house.world.lane_world.memory.recall(SIGNED, arrival_of(S3), POD, NOON)

    assert familiar is not None
    assert repr(familiar.again) == "<SignedAgain>"
