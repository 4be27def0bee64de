"""What a granted request has in common, however its credential is attached: owners, copies, edits."""

import pytest

from proxy.core.policy import OnRevoke
from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from tests.judge_world import CATALOGUE, index_of, policy
from tests.signed_world import ACCESS_POINT, ALL, EU, OWNER, POD, WATCHED_POD, asked, live_lease, verified
from tests.transaction_world import forwarded, refused, values_of

OWNED = "https://owned.s3.eu-west-1.amazonaws.com"
BUCKET_OWNER, SOURCE_OWNER = "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"


def sent(url: str, *fields: tuple[str, str], method: str = "GET", pod: PodState = POD) -> Forward:
    head, at = asked(url, *fields, method=method)
    return forwarded(head, at, pod, live_lease)


def copied(url: str, source: str, *fields: tuple[str, str], pod: PodState = POD) -> Forward:
    return sent(url, ("x-amz-copy-source", source), *fields, method="PUT", pod=pod)


def reason(url: str, source: str, pod: PodState = POD) -> Reason:
    head, at = asked(url, ("x-amz-copy-source", source), method="PUT")
    return refused(head, at, pod, live_lease).refusal.reason


# --- owners ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BUCKET_OWNER, BUCKET_OWNER.title(), BUCKET_OWNER.upper()])
def test_the_grants_owner_is_signed_in_place_of_the_applications(name: str) -> None:
    for fields in ((), ((name, "999999999999"),), ((name, "9"), (BUCKET_OWNER, "8"))):
        what = sent(f"{OWNED}/k", *fields)

        assert values_of(what, BUCKET_OWNER) == [OWNER]
        assert verified(what)
        (authorization,) = values_of(what, "authorization")
        assert BUCKET_OWNER in authorization


def test_without_a_grants_owner_the_applications_stays() -> None:
    what = sent(f"https://{EU}/k", (BUCKET_OWNER, "999999999999"))

    assert values_of(what, BUCKET_OWNER) == ["999999999999"]
    assert verified(what)
    assert values_of(sent(f"https://{EU}/k"), BUCKET_OWNER) == []


# --- copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["/data/a", "strict/a%20b", "data/k?versionId=v1", f"{ACCESS_POINT}/object/k"]
)
def test_a_copy_of_what_may_be_read_is_signed(source: str) -> None:
    what = copied(f"https://{EU}/k", source)

    assert verified(what, "PUT")
    assert values_of(what, "x-amz-copy-source") == [source]
    assert values_of(what, BUCKET_OWNER, SOURCE_OWNER) == []


@pytest.mark.parametrize(
    "source",
    [
        "ungranted/k",
        "open/k",  # may be written only
        "other/k",  # with another credential
        "narrow/training-secret/k",
        "narrow/train/../x",
        "data/k,data/l",
        "data",
        "",
    ],
)
def test_a_copy_of_what_may_not_be_read_is_source_not_granted(source: str) -> None:
    assert reason(f"https://{EU}/k", source) is Reason.SOURCE_NOT_GRANTED


def test_who_owns_the_source_is_pinned_where_its_grant_says_so() -> None:
    what = copied(f"https://{EU}/k", "owned/k")
    assert (values_of(what, SOURCE_OWNER), values_of(what, BUCKET_OWNER)) == ([OWNER], [])
    assert verified(what, "PUT")

    replaced = copied(f"https://{EU}/k", "owned/k", (SOURCE_OWNER.title(), "999999999999"))
    assert values_of(replaced, SOURCE_OWNER) == [OWNER]
    assert verified(replaced, "PUT")


def test_who_owns_source_and_target_are_two_pins() -> None:
    into_owned = copied(f"{OWNED}/k", "data/k", (SOURCE_OWNER, "999999999999"))
    assert (values_of(into_owned, SOURCE_OWNER), values_of(into_owned, BUCKET_OWNER)) == (
        ["999999999999"],
        [OWNER],
    )
    within = copied(f"{OWNED}/k", "owned/j")
    assert (values_of(within, SOURCE_OWNER), values_of(within, BUCKET_OWNER)) == ([OWNER], [OWNER])
    assert verified(within, "PUT")


def test_a_part_of_an_upload_may_be_a_copy() -> None:
    url = f"https://{EU}/k?partNumber=1&uploadId=u"
    assert verified(copied(url, "data/k", ("x-amz-copy-source-range", "bytes=0-9")), "PUT")
    assert reason(url, "ungranted/k") is Reason.SOURCE_NOT_GRANTED


def test_a_policy_on_trial_refuses_no_copy() -> None:
    what = copied(f"https://{EU}/k", "ungranted/k", pod=WATCHED_POD)

    assert not what.attached
    assert what.record.would == "source_not_granted"


# --- edits -------------------------------------------------------------------------------------------


def test_an_answer_is_asked_for_in_a_form_that_can_be_searched() -> None:
    what = sent(f"https://{EU}/k", ("Accept-Encoding", "gzip"), ("accept-encoding", "zstd"))

    assert values_of(what, "accept-encoding") == ["identity"]
    assert verified(what)


def test_what_is_on_its_way_is_cut_where_the_policy_says_so() -> None:
    text = policy(f"{{service: s3, buckets: [data], {ALL}, credential: aws}}")
    cutting = text.replace("grants:", "onRevoke: cut\n  grants:")
    pod = replace(POD, policies=index_of(cutting, CATALOGUE))

    assert sent(f"https://{EU}/k", pod=pod).on_revoke is OnRevoke.CUT
    assert sent(f"https://{EU}/k").on_revoke is OnRevoke.FINISH


def test_the_services_own_signs_say_that_the_credential_is_spent() -> None:
    assert sent(f"https://{EU}/k").spent == CATALOGUE["s3"].spent
