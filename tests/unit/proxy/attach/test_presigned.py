from collections.abc import Container
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from proxy.attach.bodies import BodyFault
from proxy.attach.presigned import MAX_AHEAD, MAX_EXPIRES, SignedUrl, read_signed_url
from proxy.core.reasons import Reason

ACCESS, SECRET = "PODKEY0123456789ABCD", "podkey" + "s" * 34
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
V4 = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": f"{ACCESS}%2F20261121%2Feu-west-1%2Fs3%2Faws4_request",
    "X-Amz-Date": "20261121T115900Z",
    "X-Amz-Expires": "300",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "ab" * 32,
}
V2 = {"AWSAccessKeyId": ACCESS, "Signature": "c2lnbmF0dXJl", "Expires": str(int(NOON.timestamp()) + 60)}


def query(parameters: dict[str, str], **changes: str | None) -> str:
    changed = {**parameters, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return "&".join(f"{name}={value}" for name, value in changed.items() if value is not None)


def read(
    raw: str, now: datetime = NOON, placeholders: Container[str] = frozenset({ACCESS})
) -> SignedUrl | BodyFault | None:
    return read_signed_url(raw, placeholders, now)


def ours(raw: str, now: datetime = NOON) -> SignedUrl:
    found = read(raw, now)
    assert isinstance(found, SignedUrl), found
    assert found.ours
    return found


def fault(raw: str, now: datetime = NOON) -> BodyFault:
    found = read(raw, now)
    assert isinstance(found, BodyFault), found
    return found


@pytest.mark.parametrize("operation", ["get_object", "put_object", "list_objects_v2"])
@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_what_boto3_presigns_is_ours_and_leaves_the_request(
    operation: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOON.replace(tzinfo=None))
    monkeypatch.setattr(botocore.auth.time, "time", NOON.timestamp)
    extra = {} if operation != "list_objects_v2" else {"Prefix": "train/"}
    session = botocore.session.get_session()
    client = session.create_client(
        "s3",
        "eu-west-1",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=Config(signature_version=version),
    )
    named = {"Bucket": "data", **({"Key": "k"} if operation != "list_objects_v2" else extra)}
    raw = urlsplit(client.generate_presigned_url(operation, named)).query
    found = ours(raw)
    assert "ignature" not in found.query
    assert ACCESS not in found.query
    if extra:
        assert "prefix=train%2F" in found.query


def test_a_url_without_a_signature_is_none() -> None:
    assert read("") is None
    assert read("prefix=signature") is None
    assert read("list-type=2&X-Amz-Credential=x") is None


def test_the_region_is_the_one_it_was_signed_for() -> None:
    assert ours(query(V4)).region == "eu-west-1"
    assert ours(query(V2)).region is None


def test_what_the_signer_put_into_the_query_is_a_header_again() -> None:
    raw = (
        query(V4) + "&X-Amz-Acl=private&x-amz-meta-team=a%20b&versionId=v1&response-content-type=text%2Fplain"
    )
    found = ours(raw)
    assert found.headers == (("x-amz-acl", "private"), ("x-amz-meta-team", "a b"))
    assert found.query == "versionId=v1&response-content-type=text%2Fplain"


@pytest.mark.parametrize(
    "hidden", ["%53ignature=x", "x-amz-%73ignature=x", "SIGNATURE=x", "X-AMZ-SIGNATURE=x"]
)
def test_a_signature_in_any_spelling_is_one(hidden: str) -> None:
    found = read(hidden)
    assert isinstance(found, SignedUrl)
    assert not found.ours


def test_somebody_elses_url_is_told_apart_and_judged_without_its_signature() -> None:
    raw = (
        query(V4, X_Amz_Credential="VENDOR%2F20261121%2Feu-west-1%2Fs3%2Faws4_request")
        + "&x-amz-acl=private&a=b"
    )
    found = read(raw)
    assert found == SignedUrl(ours=False, query="a=b", headers=(("x-amz-acl", "private"),))


@pytest.mark.parametrize(
    "raw",
    [
        query(V4) + "&AWSAccessKeyId=VENDOR",
        query(V4) + f"&X-Amz-Credential={ACCESS}",
        query(V4, X_Amz_Credential=None),
        query(V2, AWSAccessKeyId="VENDOR"),
        "Signature=x",
    ],
)
def test_a_url_that_names_two_signers_or_none_is_nobodys_of_ours(raw: str) -> None:
    found = read(raw)
    assert isinstance(found, SignedUrl)
    assert not found.ours


# --- time --------------------------------------------------------------------------------------------


def test_its_time_is_honoured_to_the_second() -> None:
    signed = datetime(2026, 11, 21, 11, 59, tzinfo=UTC)
    assert ours(query(V4), signed + timedelta(seconds=299))
    late = fault(query(V4), signed + timedelta(seconds=300))
    assert late.reason is Reason.PRESIGNED_EXPIRED
    assert "12:04:00" in late.message


def test_one_from_the_future_is_not_begun() -> None:
    signed = datetime(2026, 11, 21, 11, 59, tzinfo=UTC)
    assert ours(query(V4), signed - MAX_AHEAD)
    early = fault(query(V4), signed - MAX_AHEAD - timedelta(seconds=1))
    assert early.reason is Reason.PRESIGNED_EXPIRED


def test_version_2_names_its_end() -> None:
    assert ours(query(V2))
    assert fault(query(V2), NOON + timedelta(seconds=60)).reason is Reason.PRESIGNED_EXPIRED


# --- form --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (query(V4, X_Amz_Date=None), "x-amz-date"),
        (query(V4, X_Amz_Algorithm=None), "x-amz-algorithm"),
        (query(V4, X_Amz_SignedHeaders=None), "x-amz-signedheaders"),
        (query(V4) + "&X-Amz-Date=20261121T115900Z", "twice"),
        (query(V4) + "&x-amz-date=20261121T115900Z", "twice"),
        (query(V4) + "&Signature=x", "another version"),
        (query(V4) + "&Expires=99", "another version"),
        (query(V2, Expires=None), "expires"),
        (query(V2, Expires="soon"), "its end"),
        (query(V2, Expires="-1"), "its end"),
        (query(V2, Expires="99999999999"), "its end"),
        (query(V4, X_Amz_Date="20261321T115900Z"), "cannot be read"),
        (query(V4, X_Amz_Expires="0"), "cannot be read"),
        (query(V4, X_Amz_Expires="-5"), "cannot be read"),
        (query(V4, X_Amz_Expires=str(MAX_EXPIRES + 1)), "cannot be read"),
        (query(V4, X_Amz_Expires="1e3"), "cannot be read"),
        (query(V4) + "&x-amz-acl=a&x-amz-acl=b", "no header's value"),
        (query(V4) + "&x-amz-acl=a&X-Amz-Acl=a", "no header's value"),
        (query(V4) + "&x-amz-meta-a=%0d%0aevil:%201", "no header's value"),
        (query(V4) + "&x-amz-meta-a=%c3%a9", "no header's value"),
        (query(V4) + "&x-amz-meta-a=%20a", "no header's value"),
        (query(V4) + "&x-amz-meta-a=a+b", "no header's value"),
        (query(V4) + "&x-amz-meta-a:%201%0d%0atransfer-encoding:%20chunked%0d%0ax=1", "no name"),
        (query(V4) + "&x-amz-meta-a%0a=1", "no name"),
        (query(V4) + "&x-amz-a%3ab=1", "no name"),
        (query(V4) + "&x-amz-a_b=1", "no name"),
        (query(V4) + "&x-amz-a+b=1", "no name"),
        (query(V4) + "&x-amz-%c3%a9=1", "no name"),
        (query(V4) + "&x-amz-=1", "no name"),
        (query(V4) + "&x-amz-meta-a=", "no header's value"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_malformed(raw: str, word: str) -> None:
    found = fault(raw)
    assert found.reason is Reason.MALFORMED_PRESIGNED
    assert word in found.message


def test_no_fault_shows_a_value() -> None:
    found = fault(query(V4) + "&x-amz-meta-a=%0d%0asecret")
    assert "secret" not in found.message


@given(st.text(alphabet="aAxX-sSignature=&%2F05+;.", max_size=120))
def test_no_query_is_too_odd(raw: str) -> None:
    found = read(raw)
    if isinstance(found, SignedUrl):
        assert not found.ours


@given(
    st.lists(st.sampled_from([*V4.items(), *V2.items(), ("x-amz-acl", "a"), ("prefix", "p")]), max_size=12)
)
def test_what_is_ours_keeps_no_parameter_that_signs(pairs: list[tuple[str, str]]) -> None:
    found = read("&".join(f"{name}={value}" for name, value in pairs))
    if isinstance(found, SignedUrl):
        names = {pair.partition("=")[0].lower() for pair in found.query.split("&")}
        assert names <= {"", "prefix"}
