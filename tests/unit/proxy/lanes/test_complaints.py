from datetime import timedelta
from email.utils import format_datetime

import pytest

from proxy.core.audit import AuditRecord
from proxy.core.hosts import Hostname
from proxy.core.lease import LeaseKey
from proxy.core.reasons import Reason
from proxy.core.services import Dialect, SpentSign
from proxy.core.structs import replace
from proxy.lanes.complaints import Attached, Complaints
from proxy.transaction.clocks import MAX_OFFSET
from proxy.transaction.opening import Answered, Forward, Refused
from proxy.transaction.recording import began
from proxy.transaction.refusals import OwnAnswer, Refusal
from proxy.transaction.spent import Complaint, Suspicion
from tests.lane_world import GOVERNING, HOST, NOON, SOURCE, World, arrival_of

HOUR = timedelta(hours=1)
SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
RECORD: AuditRecord = replace(
    began(GOVERNING, arrival_of(), NOON, "request-1"),
    lease_id="lease-1",
    service="s3",
    upstream="192.0.2.7:443",
)
FORWARD = Forward(
    RECORD, HOST, "/", (), forms=frozenset({b"one"}), attached=True, spent=(SpentSign(401),), is_timed=True
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def complaints(world: World) -> Complaints:
    return Complaints(world.lane_world, HOST, "/", NOON)


def attached() -> Attached:
    source = GOVERNING.policies.source(SOURCE)
    assert source is not None
    return Attached(LeaseKey(source), "lease-1", None, NOON)


def spent(complaints: Complaints) -> Suspicion:
    return complaints.suspicion(FORWARD, 401, ())


def skewed(complaints: Complaints, off: timedelta = HOUR) -> Suspicion:
    date = ("Date", format_datetime(NOON + off, usegmt=True))
    suspicion = complaints.suspicion(FORWARD, 403, (date,))
    suspicion.feed(SKEWED)
    suspicion.end()
    return suspicion


# --- what is done about it -------------------------------------------------------------------------------


def test_a_lease_that_is_spent_is_given_back_and_another_may_do(world: World, complaints: Complaints) -> None:
    complaints.heard(spent(complaints), attached())

    assert world.leases.given_back == [(SOURCE, "lease-1")]
    assert complaints.again(FORWARD)
    assert complaints.first is FORWARD


def test_a_clock_that_is_told_is_learnt_and_another_time_may_do(world: World, complaints: Complaints) -> None:
    assert complaints.time(NOON) == NOON

    complaints.heard(skewed(complaints), attached())

    assert world.recorder.clocks == [(HOST, 3600.0)]
    assert world.leases.given_back == []
    assert complaints.again(FORWARD)
    assert complaints.time(NOON) == NOON + HOUR
    assert Complaints(world.lane_world, Hostname("other.example.com"), "/", NOON).time(NOON) == NOON


def test_a_clock_is_compared_with_ours_when_its_answer_came(world: World, complaints: Complaints) -> None:
    suspicion = skewed(complaints)
    world.clock.passed = HOUR

    complaints.heard(suspicion, attached())

    assert world.recorder.clocks == [(HOST, 3600.0)]


def test_a_clock_that_nobody_believes_makes_no_second_try(world: World, complaints: Complaints) -> None:
    suspicion = skewed(complaints, MAX_OFFSET + HOUR)
    assert suspicion.complaint is Complaint.SKEWED

    complaints.heard(suspicion, attached())

    assert world.recorder.clocks == []
    assert not complaints.again(FORWARD)


def test_what_is_fine_or_carried_nothing_of_ours_is_left_alone(world: World, complaints: Complaints) -> None:
    complaints.heard(complaints.suspicion(FORWARD, 200, ()), attached())
    assert not complaints.again(FORWARD)
    complaints.heard(spent(complaints), None)
    complaints.heard(skewed(complaints), None)

    assert not complaints.again(FORWARD)
    assert (world.leases.given_back, world.recorder.clocks) == ([], [])


def test_an_untimed_request_and_a_refused_one_are_told_no_time(complaints: Complaints) -> None:
    date = ("Date", format_datetime(NOON + HOUR, usegmt=True))
    for opening in (replace(FORWARD, is_timed=False), refused()):
        assert complaints.suspicion(opening, 403, (date,)).complaint is Complaint.NONE
    assert complaints.suspicion(refused(), 401, ()).complaint is Complaint.NONE
    assert not complaints.again(refused())


# --- what the second judgement comes to --------------------------------------------------------------------


def refused() -> Refused:
    refusal = Refusal(
        Reason.EXPIRED, "no", None, Dialect.PLAIN_JSON, is_grpc=False, is_head=False, request_id="request-1"
    )
    return Refused(replace(RECORD, lease_id="", upstream="", reason="expired"), refusal)


def test_the_same_lease_again_is_no_second_try_for_a_spent_one(complaints: Complaints) -> None:
    complaints.heard(spent(complaints), attached())
    complaints.again(FORWARD)

    assert complaints.second(FORWARD, replace(FORWARD)) is FORWARD
    other = replace(FORWARD, record=replace(RECORD, lease_id="lease-2"), forms=frozenset({b"two"}))
    opening = complaints.second(FORWARD, other)
    assert isinstance(opening, Forward)
    assert (opening.record.retried, opening.forms) == (True, {b"one", b"two"})


def test_the_same_lease_with_another_time_is(complaints: Complaints) -> None:
    complaints.heard(skewed(complaints), attached())
    complaints.again(FORWARD)

    opening = complaints.second(FORWARD, replace(FORWARD))

    assert opening is not FORWARD
    assert opening.record.retried


def test_without_a_credential_the_first_answer_stands(complaints: Complaints) -> None:
    complaints.heard(skewed(complaints), attached())
    complaints.again(FORWARD)

    assert complaints.second(FORWARD, replace(FORWARD, attached=False)) is FORWARD


@pytest.mark.parametrize("opening", [refused(), Answered(replace(RECORD, lease_id=""), OwnAnswer(200, ()))])
def test_what_is_answered_here_after_all_did_travel(
    complaints: Complaints, opening: Refused | Answered
) -> None:
    complaints.heard(spent(complaints), attached())
    complaints.again(FORWARD)

    second = complaints.second(FORWARD, opening)

    assert isinstance(second, type(opening))
    assert (second.record.lease_id, second.record.upstream) == ("lease-1", "192.0.2.7:443")
    assert not second.record.retried


# --- the record ------------------------------------------------------------------------------------------


def test_each_spent_lease_is_counted_and_the_one_that_it_was_sent_again_for_as_that(
    world: World, complaints: Complaints
) -> None:
    complaints.heard(spent(complaints), attached())
    complaints.again(FORWARD)
    complaints.heard(spent(complaints), attached())

    complaints.record(replace(RECORD, retried=True))

    assert world.recorder.spent == [("s3", True), ("s3", False)]


def test_a_lease_that_was_spent_after_the_clock_was_learnt_was_not_sent_again_for(
    world: World, complaints: Complaints
) -> None:
    complaints.heard(skewed(complaints), attached())
    complaints.again(FORWARD)
    complaints.heard(spent(complaints), attached())

    complaints.record(replace(RECORD, retried=True))

    assert world.recorder.spent == [("s3", False)]


# --- a bucket in another region --------------------------------------------------------------------------

GUESSED = replace(FORWARD, guessed_region="us-east-1")
ELSEWHERE = (("x-amz-bucket-region", "eu-west-1"),)


def test_a_region_that_is_told_is_learnt_and_the_request_may_go_there(
    world: World, complaints: Complaints
) -> None:
    complaints.heard(complaints.suspicion(GUESSED, 400, ELSEWHERE), attached())

    assert world.lane_world.regions.of(HOST) == "eu-west-1"
    assert world.recorder.regions == [(HOST, "eu-west-1")]
    assert world.leases.given_back == []
    assert complaints.again(GUESSED)


def test_a_region_that_another_request_was_told_meanwhile_is_told_of_once(
    world: World, complaints: Complaints
) -> None:
    world.lane_world.regions.learn(HOST, "eu-west-1")

    complaints.heard(complaints.suspicion(GUESSED, 400, ELSEWHERE), attached())

    assert world.recorder.regions == []
    assert complaints.again(GUESSED)


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_goes_to_the_application_and_its_region_is_kept(
    status: int, world: World, complaints: Complaints
) -> None:
    suspicion = complaints.suspicion(GUESSED, status, ELSEWHERE)

    assert suspicion.complaint is Complaint.NONE
    assert world.lane_world.regions.of(HOST) == "eu-west-1"


def test_a_redirect_of_a_host_that_names_its_region_teaches_nothing(
    world: World, complaints: Complaints
) -> None:
    complaints.suspicion(FORWARD, 301, ELSEWHERE)

    assert world.lane_world.regions.of(HOST) is None
