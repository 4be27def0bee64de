"""Sessions of S3 Express that the application asks for: answered by us."""

import botocore.parsers
import botocore.session
import pytest

from proxy.core.contract import SESSION_ACCESS_KEY_ID, SESSION_PLACEHOLDERS, SESSION_SECRET_KEY, SESSION_TOKEN
from proxy.core.reasons import Reason
from proxy.core.request import ClientCredential
from proxy.core.structs import replace
from proxy.transaction.opening import Answered
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders, classify
from tests.judge_world import CATALOGUE, NOON, index_of, policy
from tests.s3_signer import Keys
from tests.signed_world import (
    ANY_POD,
    DIRECTORY,
    FOREIGN,
    KEYS,
    PLACEHOLDERS,
    POD,
    WATCHED_POD,
    asked,
    live_lease,
    signed_by,
)
from tests.transaction_world import drive, forwarded, refused

HOST = f"{DIRECTORY}.s3express-usw2-az1.us-west-2.amazonaws.com"
SESSION = f"https://{HOST}/?session"


def answered(keys: Keys | None, pod: PodState = POD, url: str = SESSION) -> Answered:
    head, at = signed_by(keys, url, service="s3express", region="us-west-2") if keys else asked(url)
    driven = drive(head, at, pod, live_lease)
    assert driven.wants == ()  # no credential is needed to say this
    assert isinstance(driven.opening, Answered), driven.opening
    return driven.opening


def as_boto_reads_it(opening: Answered) -> dict[str, object]:
    """What botocore makes of the answer."""
    model = botocore.session.get_session().get_service_model("s3").operation_model("CreateSession")
    parser = botocore.parsers.create_parser("rest-xml")
    answer = opening.answer
    read = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.body}
    found = parser.parse(read, model.output_shape)
    assert isinstance(found["Credentials"], dict)
    return found["Credentials"]


@pytest.mark.parametrize("url", [SESSION, f"{SESSION}=", f"{SESSION}&x-id=CreateSession"])
def test_an_sdk_gets_placeholders_for_a_session(url: str) -> None:
    opening = answered(PLACEHOLDERS, url=url)
    found = as_boto_reads_it(opening)

    assert str(found.pop("Expiration")) == "2026-03-04 12:05:00+00:00"
    assert found == {
        "AccessKeyId": PLACEHOLDERS.access_key_id,
        "SecretAccessKey": SESSION_SECRET_KEY,
        "SessionToken": SESSION_TOKEN,
    }
    headers = dict(opening.answer.headers)
    assert headers["content-length"] == str(len(opening.answer.body))
    assert headers["x-amz-request-id"] == "request-1"
    for secret in (KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token or ""):
        assert secret not in opening.answer.body.decode()


def test_it_is_granted_and_recorded_as_such() -> None:
    record = answered(PLACEHOLDERS).record

    assert (record.verdict, record.reason, record.action) == ("attach", "granted", "s3:CreateSession")
    assert record.lease_id == ""
    assert SESSION_TOKEN not in repr(answered(PLACEHOLDERS))


@pytest.mark.parametrize(
    ("keys", "pod", "access_key_id"),
    [
        (PLACEHOLDERS, POD, PLACEHOLDERS.access_key_id),
        (PLACEHOLDERS, ANY_POD, PLACEHOLDERS.access_key_id),
        (None, POD, SESSION_ACCESS_KEY_ID),
        (FOREIGN, POD, SESSION_ACCESS_KEY_ID),
        (FOREIGN, ANY_POD, SESSION_ACCESS_KEY_ID),
        (Keys(SESSION_ACCESS_KEY_ID, SESSION_SECRET_KEY), POD, SESSION_ACCESS_KEY_ID),
    ],
)
def test_what_it_signs_with_is_known_afterwards(keys: Keys | None, pod: PodState, access_key_id: str) -> None:
    found = as_boto_reads_it(answered(keys, pod))

    assert found["AccessKeyId"] == access_key_id
    for value in ("AccessKeyId", "SessionToken"):
        assert classify([str(found[value])], pod.placeholders) is ClientCredential.PLACEHOLDER
    with_session = Keys(str(found["AccessKeyId"]), str(found["SecretAccessKey"]))
    head, at = signed_by(with_session, f"https://{HOST}/k", service="s3express", region="us-west-2")
    head = replace(head, fields=(*head.fields, ("x-amz-s3session-token", str(found["SessionToken"]))))
    assert not forwarded(head, at, pod, live_lease).record.static_credential_seen


@pytest.mark.parametrize("value", sorted(SESSION_PLACEHOLDERS))
def test_what_stands_for_a_session_is_a_placeholder_of_every_pod(value: str) -> None:
    for known in (Placeholders(), Placeholders(frozenset({"x"})), ANY_POD.placeholders):
        assert classify([value], known) is ClientCredential.PLACEHOLDER


def test_a_foreign_credential_is_seen_and_gets_no_session_worth_having() -> None:
    opening = answered(FOREIGN)

    assert opening.record.static_credential_seen
    assert FOREIGN.access_key_id not in opening.answer.body.decode()


def test_whoever_may_do_nothing_gets_no_session() -> None:
    elsewhere = "https://other--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com/?session"
    assert refused(*asked(elsewhere), POD).refusal.reason is Reason.PIN_NOT_GRANTED


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "DELETE"])
def test_a_session_is_asked_for_with_get(method: str) -> None:
    assert refused(*asked(SESSION, method=method), POD).refusal.reason is Reason.UNKNOWN_ACTION


@pytest.mark.parametrize(
    "url",
    [
        "https://data.s3.eu-west-1.amazonaws.com/?session",
        "https://s3.eu-west-1.amazonaws.com/data?session",
        "https://minio.example.com:9000/data?session",
        f"https://{HOST}/k?session",
    ],
)
def test_only_a_directory_bucket_has_sessions(url: str) -> None:
    assert refused(*asked(url), POD).refusal.reason is Reason.UNKNOWN_ACTION


def test_two_grants_that_disagree_on_the_credential_agree_on_the_answer() -> None:
    grants = (
        f"{{service: s3, buckets: [{DIRECTORY}], access: [{access}], credential: {credential}}}"
        for access, credential in (("read", "aws"), ("write", "aws2"))
    )
    assert answered(PLACEHOLDERS, replace(POD, policies=index_of(policy(*grants), CATALOGUE)))


def test_a_policy_on_trial_answers_the_placeholder_and_leaves_others_their_own() -> None:
    assert answered(PLACEHOLDERS, WATCHED_POD)
    head, at = signed_by(FOREIGN, SESSION, service="s3express", region="us-west-2")
    assert not forwarded(head, at, WATCHED_POD, live_lease).attached


def test_a_session_ends_before_anybody_minds() -> None:
    found = as_boto_reads_it(answered(PLACEHOLDERS))
    assert (found["Expiration"] - NOON).total_seconds() == 300  # type: ignore[operator]
