"""How another request is opened that says the same as one before: as that one, for another lease and time."""

from datetime import datetime, timedelta

import pytest

from proxy.core.arrival import Arrival
from proxy.core.lease import Lease
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.transaction.head import Head
from proxy.transaction.opening import Asked, Forward, Opening, Refused
from tests.judge_world import NOON
from tests.transaction_world import API, POD, drive, forwarded, head, lease_of, to, wire_fields

S3 = to("data.s3.eu-west-1.amazonaws.com")
QUERY = to("query.example.com")
PLAIN = (head(), API)
SIGNED = (head("/key", host=S3.name), S3)


def again(of: Forward, at: Arrival, lease: Lease, moment: datetime = NOON) -> Opening:
    assert of.again is not None
    record = of.record.changed(request_id="request-2", lease_id=lease.id)
    return of.again.opened(Asked(POD, at, "request-2", NOON), record, lease, moment)


@pytest.mark.parametrize(("what", "at"), [PLAIN, SIGNED])
def test_it_is_what_it_would_be_by_itself(what: Head, at: Arrival) -> None:
    def other(ref: object) -> Lease:
        return replace(lease_of(ref, "another-value-than-before"), id="other")  # type: ignore[arg-type]

    first = forwarded(what, at)
    for _ in range(2):
        opening = again(first, at, other(first.record.credential and drive(what, at).wanted))
        judged = forwarded(what, at, answer=other)

        assert isinstance(opening, Forward)
        assert wire_fields(opening) == wire_fields(judged)
        assert (opening.target, opening.forms, opening.authority) == (
            judged.target,
            judged.forms,
            judged.authority,
        )
        assert opening.record == replace(judged.record, request_id="request-2")


@pytest.mark.parametrize(("what", "at", "timed"), [(*PLAIN, False), (*SIGNED, True)])
def test_it_says_whether_it_is_signed_and_until_when(what: Head, at: Arrival, timed: object) -> None:
    found = forwarded(what, at).again

    assert found is not None
    assert found.is_timed is timed
    assert found.ends(NOON) is None
    assert "key" not in repr(found) or not timed


def test_within_a_second_the_signature_is_not_made_anew() -> None:
    first = forwarded(*SIGNED)
    lease = lease_of(drive(*SIGNED).wanted)  # type: ignore[arg-type]
    moments = [NOON + timedelta(seconds=seconds) for seconds in (0, 0.9, 1)]
    openings = [again(first, S3, lease, moment) for moment in moments]
    fields = [opening.fields for opening in openings if isinstance(opening, Forward)]

    assert fields[0] is fields[1]
    assert wire_fields(openings[0]) != wire_fields(openings[2])  # type: ignore[arg-type]


@pytest.mark.parametrize(("what", "at"), [PLAIN, SIGNED])
def test_a_lease_that_can_go_nowhere_refuses_it(what: Head, at: Arrival) -> None:
    bad = Lease("bad", drive(what, at).wanted, {Part.TOKEN: Secret(b"two words")}, NOON)  # type: ignore[arg-type]

    opening = again(forwarded(what, at), at, bad)

    assert isinstance(opening, Refused)
    assert opening.refusal.reason is Reason.CREDENTIAL_UNUSABLE
    assert opening.record.request_id == "request-2"


def test_a_credential_in_the_query_is_placed_by_itself_each_time() -> None:
    assert forwarded(head("/", host=QUERY.name), QUERY).again is None
