"""Presigned URLs: the pod's own, and somebody else's."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.config import Config

from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.transaction.head import Head
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from proxy.transaction.signed_urls import ReadUrl, read_url
from tests.judge_world import CATALOGUE, NOON, index_of, policy
from tests.s3_signer import Keys
from tests.signed_world import (
    ALL,
    ANY_POD,
    EU,
    FOREIGN,
    KEYS,
    PLACEHOLDERS,
    POD,
    STORE,
    WATCHED_POD,
    Sdk,
    asked,
    live_lease,
    verified,
)
from tests.transaction_world import drive, every_word, forwarded, refused, text, values_of, wire_fields

SIGNED_AT = NOON - timedelta(minutes=1)
Presign = Callable[..., str]


@cache  # To make a client takes half a second.
def client(keys: Keys, version: str, region: str) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        config=Config(signature_version=version, s3={"addressing_style": "virtual"}),
    )


@pytest.fixture
def presign(monkeypatch: pytest.MonkeyPatch) -> Presign:
    """What boto3's `generate_presigned_url` gives, a minute ago."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: SIGNED_AT.replace(tzinfo=None))
    monkeypatch.setattr(botocore.auth.time, "time", SIGNED_AT.timestamp)

    def made(  # noqa: PLR0917 - what boto3 is told
        operation: str = "get_object",
        keys: Keys = PLACEHOLDERS,
        version: str = "s3v4",
        region: str = "eu-west-1",
        bucket: str = "data",
        expires: int = 300,
        **parameters: Any,
    ) -> str:
        sdk = client(keys, version, region)
        return str(sdk.generate_presigned_url(operation, {"Bucket": bucket, **parameters}, expires))

    return made


def sent(what: tuple[Head, Any], pod: PodState = POD) -> Forward:
    return forwarded(*what, pod, live_lease)


def reason(what: tuple[Head, Any], pod: PodState = POD) -> Reason:
    return refused(*what, pod, live_lease).refusal.reason


def by_hand(target: str, host: str = EU, method: str = "GET", keys: Keys = PLACEHOLDERS) -> str:
    """A signer of the tests' own, which signs any target, whatever is in its query."""
    url = f"https://{host}{Sdk(keys, 'eu-west-1').presigned(method, host, target)}"
    # Its clock is ahead, and that is allowed; here the time is told apart from everything else.
    return url.replace("20260304T120311Z", f"{SIGNED_AT:%Y%m%dT%H%M%SZ}")


# --- the pod's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pod", [POD, ANY_POD], ids=["known", "unknown"])
@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize(
    ("operation", "method", "parameters", "left"),
    [
        ("get_object", "GET", {"Key": "a b/c"}, "/a%20b/c"),
        ("get_object", "GET", {"Key": "k", "VersionId": "v1"}, "/k?versionId=v1"),
        ("put_object", "PUT", {"Key": "k"}, "/k"),
        ("head_object", "HEAD", {"Key": "k"}, "/k"),
        ("delete_object", "DELETE", {"Key": "k"}, "/k"),
        ("list_objects_v2", "GET", {"Prefix": "train/"}, "/?encoding-type=url&list-type=2&prefix=train%2F"),
        ("upload_part", "PUT", {"Key": "k", "UploadId": "u", "PartNumber": 1}, "/k?partNumber=1&uploadId=u"),
    ],
)
def test_what_boto3_presigned_with_the_placeholder_is_signed_in_the_header(  # noqa: PLR0917 - a table
    presign: Presign,
    operation: str,
    method: str,
    parameters: dict[str, Any],
    left: str,
    version: str,
    pod: PodState,
) -> None:
    what = sent(asked(presign(operation, version=version, **parameters), method=method), pod)
    path, _, query = text(what.target).partition("?")

    assert verified(what, method).region == "eu-west-1"
    assert (path, sorted(query.split("&"))) == (
        left.partition("?")[0],
        sorted(left.partition("?")[2].split("&")),
    )
    assert PLACEHOLDERS.access_key_id not in every_word(what)
    assert not what.record.static_credential_seen
    assert what.attached


def test_its_region_counts_where_the_host_names_none(presign: Presign) -> None:
    url = urlsplit(presign(Key="k", region="ap-south-1"))
    for host in ("data.s3.amazonaws.com", "data.s3-accelerate.amazonaws.com"):
        assert verified(sent(asked(f"https://{host}{url.path}?{url.query}"))).region == "ap-south-1"


def test_a_url_of_version_2_names_no_region(presign: Presign) -> None:
    url = urlsplit(presign(Key="k", version="s3"))
    first = verified(sent(asked(f"https://data.s3.amazonaws.com{url.path}?{url.query}")))
    every = verified(sent(asked(f"https://data.s3-accelerate.amazonaws.com{url.path}?{url.query}")))

    assert (first.region, every.region) == ("us-east-1", "*")


def test_it_works_at_a_store_of_its_own() -> None:
    url = by_hand("/data/k", f"{STORE}:9000")
    assert verified(sent(asked(url))).region == "eu-north-1"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_its_expiry_is_honoured(presign: Presign, version: str) -> None:
    assert sent(asked(presign(Key="k", version=version, expires=61)))
    opening = refused(*asked(presign(Key="k", version=version, expires=60)), POD, live_lease)

    assert opening.refusal.reason is Reason.PRESIGNED_EXPIRED
    assert "12:00:00" in opening.refusal.message


def test_a_session_of_the_placeholder_is_one(presign: Presign) -> None:
    keys = replace(PLACEHOLDERS, session_token="a-placeholders-token")
    what = sent(asked(presign(Key="k", keys=keys)))

    assert "a-placeholders-token" not in every_word(what)
    assert values_of(what, "x-amz-security-token") == [KEYS.session_token]


def test_what_the_signer_put_into_the_query_is_a_header_again(presign: Presign) -> None:
    url = presign("put_object", Key="k", Metadata={"team": "vision"}, StorageClass="GLACIER", version="s3v4")
    # boto3 leaves headers where they are and says that they are signed; other SDKs move them.
    moved = sent(asked(f"{url}&x-amz-meta-team=vision&X-Amz-Storage-Class=GLACIER", method="PUT"))

    assert values_of(moved, "x-amz-meta-team") == ["vision"]
    assert values_of(moved, "x-amz-storage-class") == ["GLACIER"]
    assert text(moved.target) == "/k"
    assert verified(moved, "PUT")


@pytest.mark.parametrize(
    ("parameter", "bucket", "expected"),
    [
        ("x-amz-acl=public-read", "data", Reason.ACTION_NOT_GRANTED),
        ("X-Amz-Acl=public-read", "open", None),
        ("x-amz-copy-source=strict%2Fk", "data", None),
        ("x-amz-copy-source=other%2Fk", "data", Reason.SOURCE_NOT_GRANTED),
        ("X-Amz-Copy-Source=%2Fungranted%2Fk", "data", Reason.SOURCE_NOT_GRANTED),
        ("x-amz-rename-source=%2Fk", "data", Reason.UNKNOWN_ACTION),
        ("x-amz-content-sha256=STREAMING-AWS4-HMAC-SHA256-EVENTS", "data", Reason.UNSUPPORTED_PAYLOAD),
        ("x-amz-content-sha256=UNSIGNED-PAYLOAD", "data", None),
        ("x-amz-expected-bucket-owner=999999999999", "data", None),
    ],
)
def test_a_header_in_the_query_is_judged_as_one(parameter: str, bucket: str, expected: Reason | None) -> None:
    host = f"{bucket}.s3.eu-west-1.amazonaws.com"
    what = asked(f"{by_hand('/k', host, 'PUT')}&{parameter}", method="PUT")
    if expected is None:
        name, _, value = parameter.partition("=")
        moved = sent(what)
        assert values_of(moved, name.lower()) == [value.replace("%2F", "/")]
        assert verified(moved, "PUT")
    else:
        assert reason(what) is expected


@pytest.mark.parametrize("name", ["x-amz-acl", "X-Amz-Acl"])
def test_a_header_in_both_places_is_malformed_presigned(name: str) -> None:
    url = by_hand("/k", "open.s3.eu-west-1.amazonaws.com", "PUT") + "&X-Amz-Acl=private"
    opening = refused(*asked(url, (name, "private"), method="PUT"), POD, live_lease)

    assert opening.refusal.reason is Reason.MALFORMED_PRESIGNED
    assert "`x-amz-acl` stands in the presigned URL and in the headers" in opening.refusal.message


def test_a_header_that_hides_behind_an_underscore_is_unknown_action() -> None:
    url = by_hand("/k", "open.s3.eu-west-1.amazonaws.com", "PUT") + "&X-Amz-Acl=private"
    assert reason(asked(url, ("x_amz_acl", "public-read"), method="PUT")) is Reason.UNKNOWN_ACTION


def test_a_session_of_s3_express_in_the_query_goes_with_the_signature() -> None:
    url = by_hand("/k") + "&X-Amz-S3session-Token=podkey-s3-express-session-token"
    what = sent(asked(url))

    assert values_of(what, "x-amz-s3session-token") == []
    assert verified(what)


def test_one_that_cannot_be_read_in_one_way_is_malformed_presigned() -> None:
    opening = refused(*asked(f"{by_hand('/k')}&X-Amz-Date=20260304T115900Z"), POD, live_lease)

    assert opening.refusal.reason is Reason.MALFORMED_PRESIGNED
    assert "the URL is presigned with the pod's placeholder, but `x-amz-date`" in opening.refusal.message
    assert (opening.record.verdict, opening.record.policy) == ("refuse", "")


def test_what_hides_behind_a_semicolon_is_still_a_signature() -> None:
    assert reason(asked(f"{by_hand('/k')}&a=1;Signature=x")) is Reason.QUERY_AUTH_PRESENT
    assert reason(asked(f"https://{EU}/k?a=1;X-Amz-Signature=x")) is Reason.QUERY_AUTH_PRESENT


def test_nothing_is_presigned_that_has_no_signature(presign: Presign) -> None:
    url = presign(Key="k").partition("&X-Amz-Signature=")[0]
    # What is left are parameters of no operation.
    assert reason(asked(url)) is Reason.UNKNOWN_ACTION


def test_a_header_beside_it_that_signs_is_gone_too(presign: Presign) -> None:
    beside = (("Authorization", f"AWS {PLACEHOLDERS.access_key_id}:c2ln"), ("x-amz-date", "20260101T000000Z"))
    what = sent(asked(presign(Key="k"), *beside))

    assert verified(what)
    assert values_of(what, "x-amz-date") == ["20260304T120000Z"]


def test_many_parameters_are_read_once() -> None:
    many = "&".join(f"x-amz-meta-{number}=1" for number in range(2000))
    # Not to be slow: whoever counts each of them by looking at all of them takes a while.
    assert reason(asked(f"{by_hand('/k')}&{many}&x-amz-meta-1=2")) is Reason.MALFORMED_PRESIGNED


# --- somebody else's ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_somebody_elses_is_refused_unless_the_grant_says_otherwise(presign: Presign, version: str) -> None:
    opening = refused(*asked(presign(Key="k", keys=FOREIGN, version=version)), POD, live_lease)

    assert opening.refusal.reason is Reason.FOREIGN_PRESIGNED
    assert opening.record.static_credential_seen
    assert (opening.record.policy, opening.record.grant) == ("ml/p", 0)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("pod", [POD, ANY_POD], ids=["known", "unknown"])
def test_one_that_may_pass_goes_out_as_it_came_and_never_with_a_credential(
    presign: Presign, version: str, pod: PodState
) -> None:
    url = presign(Key="a b", keys=FOREIGN, version=version, bucket="shared").replace("/a%20b", "/%61%20b")
    beside = (
        ("Range", "bytes=0-9"),
        ("Authorization", f"AWS {PLACEHOLDERS.access_key_id}:c2ln"),
        ("X-Amz-Security-Token", "t"),
        ("x-amz-s3session-token", "t"),
    )
    head, at = asked(url, *beside)
    driven = drive(head, at, pod, live_lease)
    what = driven.opening

    assert driven.wants == ()
    assert isinstance(what, Forward)
    assert what.target == head.target
    assert what.fields == beside[:1]
    assert (what.attached, what.is_timed, what.forms) == (False, False, frozenset())
    record = what.record
    assert (record.verdict, record.reason) == ("pass_through", "presigned_elsewhere")
    assert record.static_credential_seen
    assert KEYS.access_key_id not in every_word(what)


@pytest.mark.parametrize(
    ("url", "method", "expected"),
    [
        (by_hand("/k", "ungranted.s3.eu-west-1.amazonaws.com", keys=FOREIGN), "GET", Reason.PIN_NOT_GRANTED),
        (
            by_hand("/other/k", "narrow.s3.eu-west-1.amazonaws.com", keys=FOREIGN),
            "GET",
            Reason.PIN_NOT_GRANTED,
        ),
        (
            by_hand("/k?acl", "shared.s3.eu-west-1.amazonaws.com", keys=FOREIGN),
            "GET",
            Reason.ACTION_NOT_GRANTED,
        ),
        (
            by_hand("/k?odd=1", "shared.s3.eu-west-1.amazonaws.com", keys=FOREIGN),
            "GET",
            Reason.UNKNOWN_ACTION,
        ),
        (
            by_hand("/k", "shared.s3.eu-west-1.amazonaws.com", keys=FOREIGN) + "&x-amz-acl=private",
            "PUT",
            Reason.ACTION_NOT_GRANTED,
        ),
        (
            by_hand("/k", "shared.s3.eu-west-1.amazonaws.com", keys=FOREIGN) + "&x-amz-copy-source=data%2Fk",
            "PUT",
            Reason.SOURCE_NOT_GRANTED,
        ),
        (
            by_hand("/k", "shared.s3.eu-west-1.amazonaws.com", keys=FOREIGN) + "&a=1;Signature=x",
            "GET",
            Reason.QUERY_AUTH_PRESENT,
        ),
    ],
)
def test_what_no_grant_covers_does_not_pass_whoever_signed_it(
    url: str, method: str, expected: Reason
) -> None:
    assert reason(asked(url, method=method)) is expected


def test_two_grants_of_which_one_refuses_it_refuse_it() -> None:
    grants = (
        f"{{service: s3, buckets: [data], {ALL}, credential: aws}}",
        "{service: s3, buckets: [data], access: [read], foreignPresigned: pass, credential: aws}",
    )
    pod = replace(POD, policies=index_of(policy(*grants), CATALOGUE))

    assert reason(asked(by_hand("/k", keys=FOREIGN)), pod) is Reason.FOREIGN_PRESIGNED


@pytest.mark.parametrize("signers", ["&AWSAccessKeyId=PODKEY0123456789ABCD", "&X-Amz-Credential=x"])
def test_one_that_names_two_signers_is_somebody_elses(signers: str) -> None:
    assert reason(asked(by_hand("/k") + signers)) is Reason.FOREIGN_PRESIGNED


def test_a_header_in_both_places_is_their_upstreams_business() -> None:
    url = by_hand("/k", "shared.s3.eu-west-1.amazonaws.com", "PUT", FOREIGN) + "&x-amz-meta-a=1"
    what = sent(asked(url, ("x-amz-meta-a", "2"), method="PUT"))

    assert what.fields == (("x-amz-meta-a", "2"),)


# --- policies on trial, and hosts that are none of S3's ----------------------------------------------


@pytest.mark.parametrize("bucket", ["data", "shared", "ungranted"])
def test_a_policy_on_trial_refuses_nothing_and_changes_nothing(bucket: str) -> None:
    beside = (("Authorization", "AWS x:y"), ("x-amz-acl", "private"))
    for url in (
        by_hand("/k", f"{bucket}.s3.eu-west-1.amazonaws.com", keys=FOREIGN),
        # Ours, and not to be read.
        by_hand("/k", f"{bucket}.s3.eu-west-1.amazonaws.com") + "&X-Amz-Date=x&x-amz-acl=private",
    ):
        head, at = asked(url, *beside)
        what = sent((head, at), WATCHED_POD)

        assert (what.target, what.fields, what.attached) == (head.target, beside, False)
        assert what.record.verdict == "pass_through"


def test_a_policy_on_trial_says_what_it_would_do() -> None:
    def would(url: str) -> tuple[str, str]:
        record = sent(asked(url), WATCHED_POD).record
        return record.reason, record.would

    shared = "shared.s3.eu-west-1.amazonaws.com"
    assert would(by_hand("/k", keys=FOREIGN)) == ("would_refuse", "foreign_presigned")
    assert would(by_hand("/k", shared, keys=FOREIGN)) == ("presigned_elsewhere", "")
    assert would(by_hand("/k") + "&X-Amz-Date=x") == ("would_refuse", "query_auth_present")


def test_a_policy_on_trial_signs_what_the_placeholder_presigned(presign: Presign) -> None:
    assert verified(sent(asked(presign(Key="k")), WATCHED_POD))


def rules_of(host: str, pod: PodState = POD) -> Any:
    return pod.policies.for_pod(pod.identity).rules_for(asked(f"https://{host}/")[1].name)


@pytest.mark.parametrize("host", ["elsewhere.example.com", "dynamodb.eu-west-1.amazonaws.com"])
def test_only_urls_of_s3_are_read(host: str) -> None:
    url = by_hand("/k", host)
    query = urlsplit(url).query

    assert read_url(rules_of(host), (), query, POD, NOON) == ReadUrl((), query)


def test_a_host_that_nobody_governs_gets_its_url_as_it_is() -> None:
    head, at = asked(by_hand("/k", "elsewhere.example.com", keys=FOREIGN), ("Authorization", "x"))
    what = sent((head, at))

    assert (what.target, what.fields) == (head.target, head.fields)


def test_a_signature_in_the_query_stays_refused_where_no_s3_is() -> None:
    url = by_hand("/model/m/converse", "bedrock-runtime.eu-west-1.amazonaws.com", "POST")
    assert reason(asked(url, method="POST")) is Reason.QUERY_AUTH_PRESENT


def test_the_time_that_counts_is_the_one_of_the_request() -> None:
    query = urlsplit(by_hand("/k")).query
    late: datetime = SIGNED_AT + timedelta(seconds=300)

    assert isinstance(read_url(rules_of(EU), (), query, POD, late - timedelta(seconds=1)), ReadUrl)
    assert not isinstance(read_url(rules_of(EU), (), query, POD, late), ReadUrl)


def test_wire_fields_of_one_that_passes_hold_no_secret(presign: Presign) -> None:
    what = sent(asked(presign(Key="k", keys=FOREIGN, bucket="shared")))

    assert wire_fields(what) == list(what.fields)
