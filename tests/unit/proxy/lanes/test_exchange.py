import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from proxy.attach.bodies import BodyFault
from proxy.core.audit import Ending
from proxy.core.credentials import CredentialRef, CredentialSource, RegistryToken
from proxy.core.lease import LeaseKey, LeaseReply, NoLease, derived_key
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.judge.index import PolicyIndex
from proxy.lanes.exchange import CutOff, Exchange
from proxy.lanes.judged import MOST_JUDGEMENTS
from proxy.transaction.head import HeadProblem
from proxy.transaction.opening import Answered, Forward, Refused
from proxy.transaction.refusals import OwnAnswer
from proxy.transaction.rejudging import Rejudge
from proxy.transaction.spent import Complaint
from proxy.transaction.steps import WantLease
from tests.judge_world import PROOF, policy
from tests.lane_scripts import Script, scripted
from tests.lane_world import (
    HOST,
    LIVE,
    NOON,
    POLICY,
    SOURCE,
    World,
    arrival_of,
    get,
    live_lease,
    no_lease,
    pod_of,
)


@pytest.fixture
def world() -> World:
    return World()


def opened(world: World, target: str = "/v1/models") -> Exchange:
    exchange = Exchange(world.lane_world, arrival_of(), get(target))
    asyncio.run(exchange.open())
    return exchange


# --- opening -----------------------------------------------------------------------------------------


def test_until_it_was_opened_the_answer_is_no(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())

    assert isinstance(exchange.opening, Refused)
    assert exchange.record.reason == Reason.INTERNAL_ERROR.value
    with pytest.raises(TypeError):
        exchange.response(200, [])


def test_a_granted_request_gets_a_lease_and_goes_on(world: World) -> None:
    exchange = opened(world)

    assert isinstance(exchange.opening, Forward)
    assert world.leases.asked == [SOURCE]
    assert [record.reason for record in world.recorder.decisions] == ["granted"]


def test_a_refused_request_asks_for_no_lease(world: World) -> None:
    exchange = opened(world, "/other")

    assert isinstance(exchange.opening, Refused)
    assert world.leases.asked == []


def test_without_a_lease_it_is_refused(world: World) -> None:
    world.leases.reply = no_lease

    assert opened(world).record.reason == Reason.CREDENTIAL_UNAVAILABLE.value


def test_leases_that_raise_refuse_it_and_their_words_are_not_shown(world: World) -> None:
    def broken(_: CredentialRef) -> LeaseReply:
        raise RuntimeError(LIVE)

    world.leases.reply = broken
    exchange = opened(world)

    assert isinstance(exchange.opening, Refused)
    assert exchange.record.reason == Reason.INTERNAL_ERROR.value
    assert LIVE not in exchange.opening.refusal.message
    assert [where for where, _ in world.recorder.crashes] == ["transaction"]
    assert [record.reason for record in world.recorder.decisions] == ["internal_error"]


def test_a_request_that_cannot_be_recorded_does_not_travel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(world.recorder, "decided", broken)
    exchange = Exchange(world.lane_world, arrival_of(), get())

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(exchange.open())

    assert isinstance(exchange.opening, Refused)


def test_cancellation_is_not_swallowed(world: World) -> None:
    def cancelled(_: CredentialRef) -> LeaseReply:
        raise asyncio.CancelledError

    world.leases.reply = cancelled
    exchange = Exchange(world.lane_world, arrival_of(), get())

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(exchange.open())
    assert isinstance(exchange.opening, Refused)


def test_a_head_that_cannot_be_judged_is_refused_at_once(world: World) -> None:
    problem = HeadProblem(Reason.HEADERS_TOO_LARGE, "more than 200 fields")
    exchange = Exchange(world.lane_world, arrival_of(), problem)

    refused = exchange.open_unreadable()

    assert refused.refusal.reason is Reason.HEADERS_TOO_LARGE
    assert "more than 200 fields" in refused.refusal.message
    assert [record.reason for record in world.recorder.decisions] == ["headers_too_large"]


def test_a_head_that_could_be_judged_is_not_let_through_unjudged(world: World) -> None:
    refused = Exchange(world.lane_world, arrival_of(), get()).open_unreadable()

    assert refused.refusal.reason is Reason.INTERNAL_ERROR
    assert world.leases.asked == []


def test_a_connection_is_turned_away_for_a_reason(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get("/v1/a?key=secret"))

    refused = exchange.turn_away(Reason.CLEARTEXT, "the request is not encrypted")

    assert refused.closes
    assert (refused.record.reason, refused.record.path) == ("cleartext", "/v1/a")
    assert [record.reason for record in world.recorder.decisions] == ["cleartext"]


def test_an_unreachable_tunnel_counts_as_a_failed_upstream(world: World) -> None:
    problem = HeadProblem(Reason.UPSTREAM_UNREACHABLE, "no such host")

    Exchange(world.lane_world, arrival_of(), problem).turn_away(Reason.UPSTREAM_UNREACHABLE, "no such host")

    assert world.recorder.failures == [(HOST, "upstream_unreachable")]


# --- afterwards --------------------------------------------------------------------------------------


def test_a_request_that_could_not_travel_is_refused_after_all(world: World) -> None:
    exchange = opened(world)

    refused = exchange.fail(Reason.UPSTREAM_STALLED, "it sent nothing")
    answer = exchange.answer(refused)
    exchange.finish(Ending.COMPLETED)

    assert answer.status == exchange.status == 504
    assert world.recorder.failures == [(HOST, "upstream_stalled")]
    record = world.recorder.record
    assert (record.reason, record.ending) == ("upstream_stalled", Ending.REFUSED)
    assert record.credential == "ml/a"


def test_the_address_that_was_connected_to_is_recorded(world: World) -> None:
    exchange = opened(world)

    exchange.upstream("198.51.100.1:443")

    assert exchange.record.upstream == "198.51.100.1:443"


def test_bytes_and_time_are_recorded(world: World) -> None:
    exchange = opened(world)
    exchange.response(201, [("Content-Type", "application/octet-stream")])
    exchange.sent = 7
    assert exchange.receive(b"abc") == b"abc"
    world.clock.seconds += 1.25

    exchange.finish(Ending.COMPLETED)

    record = world.recorder.record
    assert (record.status, record.sent_bytes, record.received_bytes) == (201, 7, 3)
    assert record.duration_ms == 1250.0


def test_the_credential_is_blotted_out_of_fields_text_and_trailers(world: World) -> None:
    exchange = opened(world)
    edits = exchange.response(200, [("Content-Type", "text/plain"), ("X-Echo", LIVE)])

    text = exchange.receive(b"it is " + LIVE.encode()) + exchange.receive(b"!") + exchange.receive(b"")
    trailers = exchange.trailers([("grpc-message", LIVE)])
    exchange.finish(Ending.COMPLETED)

    assert dict(edits.fields)["X-Echo"] == "*" * len(LIVE)
    assert text == b"it is " + b"*" * len(LIVE) + b"!"
    assert LIVE not in dict(trailers)["grpc-message"]
    assert world.recorder.record.redactions == 2


def test_a_binary_body_is_passed_on_as_it_is(world: World) -> None:
    exchange = opened(world)
    exchange.response(200, [("Content-Type", "application/octet-stream")])

    assert exchange.receive(LIVE.encode()) == LIVE.encode()
    assert exchange.receive(b"") == b""


def test_a_refused_request_has_no_response(world: World) -> None:
    exchange = opened(world, "/other")

    with pytest.raises(TypeError):
        exchange.response(200, [])
    with pytest.raises(TypeError):
        exchange.trailers([])


def test_a_policy_that_was_replaced_since_the_head_was_read_counts(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())
    world.pod = pod_of(policy("{hosts: [other.example.com], credential: a}"))

    asyncio.run(exchange.open())

    assert (exchange.record.verdict, exchange.record.reason) == ("pass_through", "ungoverned_host")


def test_a_lease_comes_from_the_source_that_the_verdicts_own_policy_means(world: World) -> None:
    """Two policies may mean different things by one name: neither gets the other's credential. And what was
    replaced while the lease was fetched is judged once more."""
    before = world.pod.policies.source(SOURCE)
    assert before is not None
    after = replace(before, kind=MountedSecret("another", ((Part.TOKEN, "k"),)))
    index = PolicyIndex(world.pod.policies.policies, [after], world.pod.policies.catalogue)
    newer = replace(world.pod, policies=index)
    asked: list[CredentialSource] = []

    async def note(key: LeaseKey) -> LeaseReply:
        asked.append(key.source)
        world.pod = newer
        return live_lease(key.ref)

    world.leases.lease = note  # type: ignore[method-assign]
    exchange = Exchange(world.lane_world, arrival_of(), get())
    asyncio.run(exchange.open())

    assert asked == [before, after]
    assert [record.reason for record in world.recorder.decisions] == ["granted"]


def test_a_request_whose_grant_went_while_its_lease_was_fetched_does_not_travel(world: World) -> None:
    def replaced(credential: CredentialRef) -> LeaseReply:
        world.pod = pod_of(policy("{hosts: [api.example.com], paths: [/other], credential: a}"))
        return live_lease(credential)

    world.leases.reply = replaced

    assert opened(world).record.reason == Reason.PATH_NOT_GRANTED.value


def test_who_replaces_the_policy_with_every_lease_does_not_keep_a_request_for_ever(world: World) -> None:
    def replaced(credential: CredentialRef) -> LeaseReply:
        world.pod = replace(world.pod)
        return live_lease(credential)

    world.leases.reply = replaced

    exchange = opened(world)

    assert exchange.record.reason == Reason.INTERNAL_ERROR.value
    assert world.leases.asked == [SOURCE] * MOST_JUDGEMENTS


def test_a_proof_that_ends_while_the_lease_is_fetched_counts_no_more(world: World) -> None:
    world.pod = replace(world.pod, proof=replace(PROOF, expires=NOON + timedelta(seconds=5)))

    def slow(credential: CredentialRef) -> LeaseReply:
        world.clock.passed = timedelta(seconds=18)
        return live_lease(credential)

    world.leases.reply = slow

    assert opened(world).record.reason == Reason.IDENTITY_UNVERIFIED.value


def test_a_source_that_was_withdrawn_is_not_asked(world: World) -> None:
    world.pod = replace(world.pod, withdrawn=frozenset({SOURCE}))

    assert opened(world).record.reason == Reason.CREDENTIAL_UNAVAILABLE.value
    assert world.leases.asked == []


def test_a_source_that_its_policies_do_not_have_gives_no_lease(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())

    reply = asyncio.run(exchange._lease(WantLease(CredentialRef("ml", "unknown"))))

    assert isinstance(reply, NoLease)
    assert "ml/unknown" in reply.message


# --- more than a lease -------------------------------------------------------------------------------------


REGION = RegistryToken("eu-west-1")


def test_what_is_derived_from_a_lease_has_its_own_key_and_is_called_spent_by_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(derivation=REGION))
    told: list[LeaseKey] = []
    monkeypatch.setattr(world.leases, "spent", lambda key, _: told.append(key))

    exchange = opened(world)
    exchange.heard(exchange.suspicion(401, []))

    (key,) = world.leases.keys
    base = world.pod.leases[SOURCE]
    assert isinstance(base, LeaseKey)
    assert key == derived_key(base, REGION) != base
    assert told == [key]


def test_a_derived_lease_is_still_granted_while_its_source_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(derivation=REGION))
    exchange = cuttable(world)

    assert exchange.still_granted(Rejudge(pod_of(CUT)))
    assert not exchange.still_granted(Rejudge(pod_of(CUT.replace("credential: a", "credential: b"))))


def test_a_request_is_signed_with_the_time_of_its_upstream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = scripted(monkeypatch, Script(is_timed=True))
    opened(world)
    world.lane_world.clocks.learn(HOST, NOON + timedelta(hours=1), NOON)

    opened(world)

    assert script.signed == [NOON, NOON + timedelta(hours=1)]


def wanting(
    world: World, monkeypatch: pytest.MonkeyPatch, *fields: tuple[str, str]
) -> tuple[Exchange, Script]:
    script = scripted(monkeypatch, Script(wants=10))
    head = replace(get(), fields=fields, has_body=True)
    exchange = Exchange(world.lane_world, arrival_of(), head)
    asyncio.run(exchange.open())
    return exchange, script


def test_a_body_that_is_wanted_is_asked_for_and_nothing_is_decided_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, script = wanting(world, monkeypatch)
    assert exchange.wants_body
    assert (world.leases.asked, world.recorder.decisions) == ([], [])

    assert exchange.body.collect(b"abc")
    exchange.body.collected()
    asyncio.run(exchange.open())

    assert not exchange.wants_body
    assert isinstance(exchange.opening, Forward)
    assert script.bodies == [b"abc"]
    assert len(world.recorder.decisions) == 1
    exchange.finish(Ending.COMPLETED)
    assert world.room.taken == 0


def test_a_body_is_kept_for_the_question_whether_it_is_still_granted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, kept in ((POLICY, 0), (CUT, 3)):
        world.pod = pod_of(text)
        exchange, _ = wanting(world, monkeypatch)
        exchange.body.collect(b"abc")
        exchange.body.collected()
        asyncio.run(exchange.open())
        assert world.room.taken == 3

        exchange.response(200, [])

        assert world.room.taken == kept
        exchange.finish(Ending.COMPLETED)
        assert world.room.taken == 0


def test_a_body_that_never_came_is_what_the_record_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, _ = wanting(world, monkeypatch, ("Content-Length", "8"))
    assert world.room.taken == 8

    exchange.finish(Ending.CLIENT_GONE)

    assert world.room.taken == 0
    record = world.recorder.record
    assert (record.reason, record.ending) == ("malformed_body", Ending.CLIENT_GONE)


def test_what_would_be_granted_without_its_body_stays_unjudged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, script = wanting(world, monkeypatch)
    script.wants = None

    exchange.finish(Ending.CLIENT_GONE)

    assert world.recorder.record.reason == "internal_error"


def test_a_hook_that_failed_does_not_wait_for_a_body(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, _ = wanting(world, monkeypatch)

    exchange.revoke()

    assert not exchange.wants_body
    assert isinstance(exchange.opening, Refused)


def test_a_head_that_was_sent_may_have_been_all_that_it_took(world: World) -> None:
    exchange = opened(world)

    refused = exchange.spoil(BodyFault(Reason.MALFORMED_BODY, "a chunk is too long"))

    assert exchange.answer(refused).status == 400
    exchange.finish(Ending.REFUSED)
    record = world.recorder.record
    assert (record.reason, record.verdict, record.ending) == ("granted", "attach", Ending.CUT)


def test_a_body_that_cannot_go_on_is_the_reason(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get("/v1/models", "PUT"))
    asyncio.run(exchange.open())

    refused = exchange.spoil(BodyFault(Reason.MALFORMED_BODY, "a chunk is too long"))

    assert exchange.answer(refused).status == 400
    assert "a chunk is too long" in refused.refusal.message
    assert world.recorder.failures == []
    exchange.finish(Ending.CUT)
    record = world.recorder.record
    assert (record.reason, record.verdict, record.credential) == ("malformed_body", "refuse", "ml/a")


def test_what_is_answered_here_is_no_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    own = OwnAnswer(200, (("content-length", "3"),), b"yes")
    scripted(monkeypatch, Script(answer=own))

    exchange = opened(world)
    assert isinstance(exchange.opening, Answered)
    assert exchange.answer(exchange.opening) == own
    exchange.finish(Ending.COMPLETED)

    record = world.recorder.record
    assert (record.ending, record.status) == (Ending.COMPLETED, 200)


def test_a_second_try_may_be_answered_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = opened(world)
    exchange.heard(exchange.suspicion(401, []))
    assert exchange.judge_again()
    scripted(monkeypatch, Script(answer=OwnAnswer(200, ())))

    asyncio.run(exchange.open())

    assert isinstance(exchange.opening, Answered)
    assert exchange.record.lease_id == "lease-1"


# --- leases that are spent ---------------------------------------------------------------------------


def second(world: World, reply: Callable[[CredentialRef], LeaseReply]) -> Exchange:
    """A request whose first lease was called spent, and that was judged again."""
    exchange = opened(world)
    exchange.upstream("198.51.100.1:443")
    exchange.heard(exchange.suspicion(401, []))
    assert exchange.judge_again()
    world.leases.reply = reply
    world.clock.seconds += 3
    asyncio.run(exchange.open())
    return exchange


def another(credential: CredentialRef) -> LeaseReply:
    return replace(live_lease(credential), id="lease-2", parts={Part.TOKEN: Secret(b"another-token")})


def test_another_lease_is_another_try(world: World) -> None:
    exchange = second(world, another)

    assert isinstance(exchange.opening, Forward)
    assert exchange.retried
    assert world.leases.given_back == [(SOURCE, "lease-1")]
    assert [record.lease_id for record in world.recorder.decisions] == ["lease-1", "lease-2"]
    assert {LIVE.encode(), b"another-token"} <= exchange.opening.forms
    exchange.finish(Ending.COMPLETED)
    assert world.recorder.spent == [("", True)]


def test_the_same_lease_is_no_other_try_and_no_other_decision(world: World) -> None:
    exchange = second(world, live_lease)

    assert isinstance(exchange.opening, Forward)
    assert not exchange.retried
    assert len(world.recorder.decisions) == 1
    assert exchange.record.upstream == "198.51.100.1:443"


def test_a_refused_second_try_tells_that_the_first_was_made(world: World) -> None:
    exchange = second(world, no_lease)

    record = exchange.record
    assert (record.reason, record.lease_id, record.upstream) == (
        Reason.CREDENTIAL_UNAVAILABLE.value,
        "lease-1",
        "198.51.100.1:443",
    )
    assert not exchange.retried


def test_the_second_try_is_judged_as_of_now_and_recorded_as_of_its_beginning(world: World) -> None:
    exchange = opened(world)
    time = exchange.record.time
    exchange.heard(exchange.suspicion(401, []))
    assert exchange.judge_again()
    world.leases.reply = another
    world.clock.now = lambda: NOON + timedelta(hours=1)  # type: ignore[method-assign]
    ends = NOON + timedelta(minutes=1)
    validity = f"{{notAfter: {ends:%Y-%m-%dT%H:%M:%SZ}}}"
    world.pod = pod_of(policy("{hosts: [api.example.com], credential: a}", validity=validity))

    asyncio.run(exchange.open())

    assert exchange.record.reason == Reason.EXPIRED.value
    assert exchange.record.time == time


def test_a_refused_request_has_no_lease_to_be_spent(world: World) -> None:
    exchange = opened(world, "/other")

    suspicion = exchange.suspicion(401, [])
    assert suspicion.complaint is Complaint.NONE
    exchange.heard(suspicion)
    assert not exchange.judge_again()
    exchange.finish(Ending.REFUSED)

    assert world.leases.given_back == []
    assert world.recorder.spent == []


# --- grants that are taken away ------------------------------------------------------------------------


CUT = POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")
OTHER = policy("{hosts: [other.example.com], credential: a}")


def cuttable(world: World, cut_off: CutOff | None = None) -> Exchange:
    world.pod = pod_of(CUT)
    exchange = Exchange(world.lane_world, arrival_of(), get(), cut_off)
    asyncio.run(exchange.open())
    return exchange


def test_a_request_whose_grant_is_taken_away_is_cut(world: World) -> None:
    ended: list[Exchange] = []
    exchange = cuttable(world, ended.append)

    assert world.lane_world.in_flight.recheck(pod_of(OTHER)) == 1

    assert ended == [exchange]
    assert exchange.is_cut
    assert [record.credential for record in world.recorder.cuts] == ["ml/a"]
    exchange.finish(Ending.CLIENT_GONE)
    assert world.recorder.record.ending is Ending.CUT


def test_a_request_that_is_still_granted_goes_on(world: World) -> None:
    exchange = cuttable(world)

    assert world.lane_world.in_flight.recheck(pod_of(POLICY)) == 0
    assert not exchange.is_cut


def test_a_request_whose_policy_lets_it_finish_is_asked_about_by_nobody(world: World) -> None:
    opened(world)

    assert len(world.lane_world.in_flight) == 0


def test_a_request_that_was_refused_or_has_ended_is_not_under_way(world: World) -> None:
    world.pod = pod_of(CUT)
    opened(world, "/other")
    cuttable(world).finish(Ending.COMPLETED)

    assert len(world.lane_world.in_flight) == 0


def test_a_request_that_was_revoked_is_not_under_way(world: World) -> None:
    cuttable(world).revoke()

    assert len(world.lane_world.in_flight) == 0


def test_a_question_that_breaks_cuts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(LIVE)

    exchange = cuttable(world)
    monkeypatch.setattr(Rejudge, "source", broken)

    assert world.lane_world.in_flight.recheck(pod_of(CUT)) == 1
    assert exchange.is_cut
    assert [where for where, _ in world.recorder.crashes] == ["recheck"]


def test_what_does_not_travel_with_a_credential_is_not_granted(world: World) -> None:
    assert not opened(world, "/other").still_granted(Rejudge(world.pod))


def test_an_end_that_breaks_leaves_the_others_to_theirs(world: World) -> None:
    def broken(_: Exchange) -> None:
        raise RuntimeError(LIVE)

    first, other = cuttable(world, broken), cuttable(world)

    assert world.lane_world.in_flight.recheck(pod_of(OTHER)) == 2
    assert first.is_cut
    assert other.is_cut
    assert [where for where, _ in world.recorder.crashes] == ["cut"]


# --- requests that wait after they were opened ---------------------------------------------------------


def test_what_was_granted_may_travel_until_its_lease_ends(world: World) -> None:
    world.leases.reply = lambda credential: replace(
        live_lease(credential), expires=NOON + timedelta(seconds=10)
    )
    exchange = opened(world)

    assert exchange.may_travel
    world.clock.passed = timedelta(seconds=10)
    assert not exchange.may_travel


def test_what_was_cut_refused_or_is_over_does_not_travel(world: World) -> None:
    cut, over, refused = opened(world), opened(world), opened(world, "/other")
    cut.condemn()
    over.finish(Ending.CLIENT_GONE)

    assert not any(exchange.may_travel for exchange in (cut, over, refused))


def test_what_ended_before_it_could_be_cut_was_not_cut(world: World) -> None:
    ended, stopped, switched = (opened(world) for _ in range(3))
    switched.status = 101
    for exchange in (ended, stopped, switched):
        exchange.condemn()
    ended.finish(Ending.COMPLETED)
    stopped.finish(Ending.CLIENT_GONE)
    switched.finish(Ending.COMPLETED)

    assert [record.ending for record in world.recorder.records] == [
        Ending.COMPLETED,
        Ending.CUT,
        Ending.CUT,
    ]
