"""Requests to AWS, and to stores that speak as S3 does: what is signed, for whom, and with what in it."""

import gc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from types import FunctionType, ModuleType

import pytest

from proxy.attach.bodies import BodyFault
from proxy.core.contract import SESSION_SECRET_KEY, SESSION_TOKEN
from proxy.core.credentials import CredentialRef, ExpressSession
from proxy.core.lease import LeaseReply, NoLease
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Asked, Forward
from proxy.transaction.pod import PodState
from proxy.transaction.redaction import forms_of
from proxy.transaction.steps import WantBody, WantLease
from tests.judge_world import NOON
from tests.s3_signer import EMPTY, HMAC_MODES, Harm, Keys, Mode
from tests.signed_world import (
    ANY_POD,
    DATA,
    DIRECTORY,
    EU,
    FOREIGN,
    KEYS,
    OWNER,
    PLACEHOLDERS,
    POD,
    STATIC,
    STORE,
    UNSIGNABLE,
    WATCHED_POD,
    Signature,
    UnverifiedError,
    asked,
    lease_with,
    live_lease,
    signed_by,
    stored_of,
    upload_by,
    verified,
)
from tests.transaction_world import drive, every_word, forwarded, refused, text, to, values_of, wire_fields

GLOBAL = "data.s3.amazonaws.com"
ACCELERATE = "data.s3-accelerate.amazonaws.com"
EVERYWHERE = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
EXPRESS = f"{DIRECTORY}.s3express-usw2-az1.us-west-2.amazonaws.com"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude-3%3A0/invoke"
DYNAMODB = "https://dynamodb.eu-west-1.amazonaws.com/"
# What an application's own signature may leave in a request.
SIGNS = ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-s3session-token", "x-amz-region-set")


def sent(what: tuple[Head, object], pod: PodState = POD, body: bytes = b"") -> Forward:
    head, at = what
    return forwarded(head, at, pod, live_lease, body)  # type: ignore[arg-type]


def reason(what: tuple[Head, object], pod: PodState = POD, body: bytes | BodyFault = b"") -> Reason:
    head, at = what
    return refused(head, at, pod, live_lease, body).refusal.reason  # type: ignore[arg-type]


def signature(url: str, *fields: tuple[str, str], method: str = "GET") -> Signature:
    return verified(sent(asked(url, *fields, method=method)), method)


# --- for whom ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://data.s3.eu-west-1.amazonaws.com/k", "eu-west-1"),
        ("https://data.with.dots.s3.eu-west-1.amazonaws.com/k", "eu-west-1"),
        ("https://data.s3-us-west-2.amazonaws.com/k", "us-west-2"),
        ("https://s3.eu-west-1.amazonaws.com/data/k", "eu-west-1"),
        ("https://s3-external-1.amazonaws.com/data/k", "us-east-1"),
        ("https://data.s3.dualstack.eu-west-1.amazonaws.com/k", "eu-west-1"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com/data/k", "eu-west-1"),
        ("https://data.s3-fips.us-east-2.amazonaws.com/k", "us-east-2"),
        ("https://s3-fips.dualstack.us-gov-west-1.amazonaws.com/data/k", "us-gov-west-1"),
        ("https://data.s3.cn-north-1.amazonaws.com.cn/k", "cn-north-1"),
        ("https://data.s3.us-iso-east-1.c2s.ic.gov/k", "us-iso-east-1"),
        ("https://data.s3.eusc-de-east-1.amazonaws.eu/k", "eusc-de-east-1"),
        ("https://bucket.vpce-1a2b-3c.s3.eu-west-1.vpce.amazonaws.com/data/k", "eu-west-1"),
        ("https://data.bucket.vpce-1a2b-3c.s3.eu-west-1.vpce.amazonaws.com/k", "eu-west-1"),
        (f"https://train-{OWNER}.s3-accesspoint.eu-west-1.amazonaws.com/k", "eu-west-1"),
        (f"https://train-{OWNER}.s3-accesspoint.dualstack.eu-west-1.amazonaws.com/k", "eu-west-1"),
        (f"https://train-{OWNER}.accesspoint.vpce-1a2b-3c.s3.eu-west-1.vpce.amazonaws.com/k", "eu-west-1"),
        (f"https://{STORE}:9000/data/k", "eu-north-1"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_the_host_or_the_grant_says_for_which_region_it_is_signed(url: str, region: str, method: str) -> None:
    found = verified(sent(asked(url, method=method, has_body=method == "PUT")), method)

    assert (found.service, found.region, found.is_sigv4a) == ("s3", region, False)


@pytest.mark.parametrize(
    "query", ["list-type=2&prefix=train%2F&delimiter=%2F", "prefix=", "uploads", "uploads="]
)
@pytest.mark.parametrize("url", [f"https://{EU}/", "https://s3.cn-north-1.amazonaws.com.cn/data"])
def test_a_listing_is_signed_with_its_query(url: str, query: str) -> None:
    what = sent(asked(f"{url}?{query}"))

    assert verified(what).service == "s3"
    assert text(what.target).endswith(f"?{query}")


def test_a_port_is_signed_with_the_name() -> None:
    what = sent(asked(f"https://{STORE}:9000/data/k"))

    assert what.authority == f"{STORE}:9000"
    assert verified(what)
    with pytest.raises(UnverifiedError):
        verified(replace(what, authority=STORE))


def test_a_name_that_says_neither_service_nor_region_is_not_signed_for() -> None:
    head, at = asked("https://signed.example.com/x")
    pod = replace(POD, policies=UNSIGNABLE)

    driven = drive(head, at, pod, live_lease)
    assert driven.wants == ()  # nobody is asked for keys that sign nothing
    refusal = refused(head, at, pod, live_lease).refusal
    assert refusal.reason is Reason.CREDENTIAL_UNUSABLE
    assert "says neither the AWS service nor the region" in refusal.message


# --- regions that no host names ----------------------------------------------------------------------


@pytest.mark.parametrize("host", [GLOBAL, ACCELERATE])
def test_where_the_host_names_no_region_the_clients_scope_does(host: str) -> None:
    found = verified(sent(signed_by(PLACEHOLDERS, f"https://{host}/k", region="ap-south-1")))

    assert (found.region, found.is_sigv4a) == ("ap-south-1", False)


@pytest.mark.parametrize("url", [f"https://{GLOBAL}/k", "https://s3.amazonaws.com/data/k"])
def test_where_nobody_names_a_region_s3s_first_host_stands_for_its_first_region(url: str) -> None:
    assert signature(url).region == "us-east-1"


@pytest.mark.parametrize("region", ["nowhere", "eu-west-1;x", "*", "EU-WEST-1"])
def test_a_region_that_is_none_is_not_believed(region: str) -> None:
    at_first = verified(sent(signed_by(PLACEHOLDERS, f"https://{GLOBAL}/k", region=region)))
    anywhere = verified(sent(signed_by(PLACEHOLDERS, f"https://{ACCELERATE}/k", region=region)))

    assert at_first.region == "us-east-1"
    assert (anywhere.region, anywhere.is_sigv4a) == ("*", True)


def test_an_accelerated_request_that_nobody_signed_is_signed_for_all_regions() -> None:
    found = signature(f"https://{ACCELERATE}/k")

    assert (found.region, found.is_sigv4a, found.scope) == ("*", True, "20260304/s3/aws4_request")


@pytest.mark.parametrize("keys", [None, PLACEHOLDERS])
def test_a_multi_region_access_point_is_always_signed_for_all_regions(keys: Keys | None) -> None:
    url = f"https://{EVERYWHERE}/k?versionId=1"
    found = verified(sent(signed_by(keys, url, region="eu-west-1") if keys is not None else asked(url)))

    assert (found.region, found.is_sigv4a) == ("*", True)


def test_who_signed_for_several_regions_means_no_one_of_them() -> None:
    head, at = signed_by(PLACEHOLDERS, f"https://{GLOBAL}/k", payload=Mode.ECDSA)
    plain = tuple((name, EMPTY if name == "x-amz-content-sha256" else value) for name, value in head.fields)
    found = verified(sent((replace(head, fields=plain), at)))

    assert (found.region, found.is_sigv4a) == ("*", True)


def test_the_clients_region_changes_nothing_where_the_host_names_one() -> None:
    assert (
        verified(sent(signed_by(PLACEHOLDERS, f"https://{EU}/k", region="us-east-2"))).region == "eu-west-1"
    )
    there = f"https://{STORE}:9000/data/k"
    assert verified(sent(signed_by(PLACEHOLDERS, there, region="us-east-2"))).region == "eu-north-1"


def test_where_the_upstream_has_told_the_region_nobody_has_to_guess() -> None:
    for what in (asked(f"https://{GLOBAL}/k"), signed_by(PLACEHOLDERS, f"https://{ACCELERATE}/k")):
        opening = drive(*what, POD, live_lease, region="sa-east-1").opening
        assert isinstance(opening, Forward)
        assert verified(opening).region == "sa-east-1"
    opening = drive(*asked(f"https://{EU}/k"), POD, live_lease, region="sa-east-1").opening
    assert isinstance(opening, Forward)
    assert verified(opening).region == "eu-west-1"


def test_a_guess_at_the_region_is_told_as_one() -> None:
    assert sent(asked(f"https://{EU}/k")).guessed_region is None
    assert sent(asked(f"https://{ACCELERATE}/k")).guessed_region is None  # it is for all of them
    assert sent(asked(f"https://{GLOBAL}/k")).guessed_region == "us-east-1"
    assert sent(signed_by(PLACEHOLDERS, f"https://{GLOBAL}/k")).guessed_region == "eu-west-1"


# --- what the application signed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "service", "spelled"),
    [
        *((f"https://{EU}/k", "s3", spelled) for spelled in (str.lower, str.title, str.upper)),
        # S3's own fields have one spelling; elsewhere an underscore is a hyphen to some servers.
        (DYNAMODB, "dynamodb", str.title),
        (DYNAMODB, "dynamodb", lambda name: name.replace("-", "_")),
    ],
)
def test_nothing_of_the_applications_own_signature_travels_on(
    url: str, service: str, spelled: Callable[[str], str]
) -> None:
    head, at = signed_by(replace(PLACEHOLDERS, session_token="t" * 20), url, service=service)
    fields = (*head.fields, ("x-amz-s3session-token", "t" * 20), ("x-amz-region-set", "*"))
    renamed = tuple((spelled(name) if name in SIGNS else name, value) for name, value in fields)
    what = sent((replace(head, fields=renamed), at))
    names = [name.lower().replace("_", "-") for name, _ in wire_fields(what)]

    assert verified(what)
    assert {name: names.count(name) for name in SIGNS} == {
        "authorization": 1,
        "x-amz-date": 1,
        "x-amz-security-token": 1,
        "x-amz-s3session-token": 0,
        "x-amz-region-set": 0,
    }
    words = every_word(what)
    assert not any(word in words for word in (PLACEHOLDERS.access_key_id, "t" * 20, "20260304T120311Z"))


@pytest.mark.parametrize("name", ["X_Amz_Date", "x_amz_security_token", "X_Amz_Acl", "x_amz_copy-source"])
def test_a_field_that_a_store_could_take_for_one_of_s3s_is_unknown_action(name: str) -> None:
    assert reason(asked(f"https://{EU}/k", (name, "1"), method="PUT")) is Reason.UNKNOWN_ACTION


@pytest.mark.parametrize(
    "name",
    [
        "X_Amz_Content_Sha256",
        "x_amz_decoded_content_length",
        "x-amz_trailer",
        "x_amz_expected_bucket_owner",
        "x_amz_source_expected_bucket_owner",
    ],
)
def test_elsewhere_a_field_that_is_signed_in_one_spelling_is_malformed_in_another(name: str) -> None:
    assert reason(asked(f"{DYNAMODB}k", (name, "1"))) is Reason.MALFORMED_REQUEST


def test_metadata_may_be_called_what_it_likes() -> None:
    what = sent(asked(f"https://{EU}/k", ("x-amz-meta-my_key", "a  b"), method="PUT"))

    assert values_of(what, "x-amz-meta-my_key") == ["a  b"]
    assert verified(what, "PUT")


def test_the_session_token_is_secret_until_it_is_written_and_looked_for_in_the_answer() -> None:
    what = sent(asked(f"https://{EU}/k"))
    by_name = {name: value for name, value in what.fields if isinstance(value, Secret)}

    assert set(by_name) == {"x-amz-security-token", "authorization"}
    assert what.forms == forms_of((Secret((KEYS.session_token or "").encode()),))
    assert what.credential_fields >= {"authorization", "x-amz-security-token", "x-amz-s3session-token"}
    assert KEYS.secret_access_key not in every_word(what)
    for shown in (repr(what), str(what.record.to_record())):
        assert KEYS.access_key_id not in shown
        assert (KEYS.session_token or "") not in shown


def test_keys_without_a_session_sign_without_one() -> None:
    head, at = asked(f"https://{EU}/k")
    what = forwarded(head, at, POD, lease_with(STATIC))

    assert verified(what, keys=STATIC)
    assert what.forms == frozenset()
    assert values_of(what, "x-amz-security-token") == []


def test_what_was_never_signed_is_not_signed_now_and_travels_on() -> None:
    fields = (
        *[("Expect", "100-continue"), ("Transfer-Encoding", "chunked"), ("User-Agent", "boto3")],
        *[("Content-Type", "text/plain; charset=utf-8"), ("Content-MD5", "x"), ("Cache-Control", "no-store")],
    )
    what = sent(asked(f"https://{EU}/k", *fields, method="PUT", has_body=True))
    (authorization,) = values_of(what, "authorization")

    assert verified(what, "PUT")
    assert "SignedHeaders=content-md5;content-type;host;x-amz-" in authorization
    for name, value in fields:
        assert values_of(what, name.lower()) == [value]


def test_a_header_that_came_twice_is_signed_as_it_is_joined() -> None:
    twice = (("x-amz-meta-a", "1"), ("X-Amz-Meta-A", " 2  3 "))
    assert verified(sent(asked(f"https://{EU}/k", *twice, method="PUT")), "PUT")


def test_the_time_is_ours_or_the_upstreams_own() -> None:
    head, at = signed_by(PLACEHOLDERS, f"https://{EU}/k")
    theirs = NOON + timedelta(hours=13)
    opening = drive(head, at, POD, live_lease, signed_at=theirs).opening

    assert isinstance(opening, Forward)
    assert opening.is_timed
    assert verified(opening, moment="20260305T010000Z").scope.startswith("20260305/")


def test_the_record_names_the_lease() -> None:
    record = sent(asked(f"https://{EU}/k")).record

    assert (record.verdict, record.action) == ("attach", "s3:GetObject")
    assert (record.credential, record.lease_id) == ("ml/aws", "lease-of-aws")


# --- who else signed ---------------------------------------------------------------------------------


def test_a_request_that_nobody_signed_is_signed() -> None:
    what = sent(asked(f"https://{EU}/k"))

    assert verified(what)
    assert not what.record.static_credential_seen


@pytest.mark.parametrize(
    "fields",
    [
        signed_by(FOREIGN, f"https://{EU}/k")[0].fields,
        (
            ("Authorization", f"AWS {FOREIGN.access_key_id}:c2ln"),
            ("Date", "Wed, 04 Mar 2026 12:00:00 GMT"),
        ),
        (("X-Amz-Security-Token", FOREIGN.session_token or ""),),
    ],
    ids=["V4", "V2", "token"],
)
def test_a_foreign_signature_is_replaced_and_seen(fields: tuple[tuple[str, str], ...]) -> None:
    what = sent(asked(f"https://{EU}/k", *fields))

    assert verified(what)
    assert what.record.static_credential_seen
    assert FOREIGN.access_key_id not in every_word(what)
    assert (FOREIGN.session_token or "") not in every_word(what)


def test_a_foreign_signature_is_refused_where_the_grant_says_so() -> None:
    assert (
        reason(signed_by(FOREIGN, "https://strict.s3.eu-west-1.amazonaws.com/k")) is Reason.FOREIGN_CREDENTIAL
    )
    assert verified(sent(signed_by(PLACEHOLDERS, "https://strict.s3.eu-west-1.amazonaws.com/k")))


def test_a_policy_on_trial_leaves_a_foreign_signature_and_replaces_a_placeholders() -> None:
    theirs, ours = signed_by(FOREIGN, f"https://{EU}/k"), signed_by(PLACEHOLDERS, f"https://{EU}/k")
    left = sent(theirs, WATCHED_POD)

    assert (left.fields, left.attached, left.is_timed) == (theirs[0].fields, False, False)
    assert left.record.would == "granted"
    assert verified(sent(ours, WATCHED_POD))


# --- the query ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("prefix=a+b&delimiter=%2F", "prefix=a%20b&delimiter=%2F"),
        ("prefix=a%2Bb+c", "prefix=a%2Bb%20c"),
        ("prefix=%FF+x", "prefix=%FF%20x"),
        ("prefix=a/b~c*d+e", "prefix=a%2Fb~c%2Ad%20e"),
        ("prefix+=x", None),
        ("uploads&prefix=a+b", "uploads&prefix=a%20b"),
        ("prefix=a%20b&delimiter=/", "prefix=a%20b&delimiter=/"),
        ("prefix=%c3%a9&&delimiter", "prefix=%c3%a9&&delimiter"),
        ("prefix=a%3db%26c", "prefix=a%3db%26c"),
        ("prefix", "prefix"),
        ("", None),
    ],
)
def test_a_query_goes_on_as_it_was_judged(query: str, written: str | None) -> None:
    head, at = asked(f"https://{EU}/?{query}")
    opening = drive(head, at, POD, live_lease).opening
    if written is None:
        assert not query or not isinstance(opening, Forward)
        return
    assert isinstance(opening, Forward)
    assert text(opening.target) == f"/?{written}"
    assert verified(opening)


@pytest.mark.parametrize(
    "path", ["/a%20b", "/%C3%A9", "/a!b*c'(d)", "/a=b&c;d,e$f:g@h", "/~x/%7e", "/a//b/", "/"]
)
def test_odd_keys_are_signed_as_s3_reads_them(path: str) -> None:
    assert verified(
        sent(asked(f"https://{EU}{path}?uploads=", method="GET" if path == "/" else "POST")),
        ("GET" if path == "/" else "POST"),
    )


# --- bodies ------------------------------------------------------------------------------------------


def test_a_body_of_which_nothing_is_said_is_signed_as_unsigned() -> None:
    what = sent(asked(f"https://{EU}/k", method="PUT", has_body=True))

    assert values_of(what, "x-amz-content-sha256") == ["UNSIGNED-PAYLOAD"]
    assert verified(what, "PUT")
    assert what.rewrite is None


@pytest.mark.parametrize("said", [Mode.UNSIGNED, sha256(DATA).hexdigest(), Mode.UNSIGNED_TRAILER])
def test_a_body_that_travels_as_it_is_keeps_what_was_said_of_it(said: str) -> None:
    mode = said if isinstance(said, Mode) else Mode.HASHED
    head, at, _ = upload_by(PLACEHOLDERS, mode)
    what = sent((head, at))

    assert values_of(what, "x-amz-content-sha256") == [str(said)]
    assert verified(what, "PUT")
    assert what.rewrite is None
    for name in ("content-length", "x-amz-decoded-content-length", "x-amz-trailer", "content-encoding"):
        assert values_of(what, name) == head.values(name)


def test_no_body_for_s3_is_waited_for() -> None:
    head, at, _ = upload_by(PLACEHOLDERS, Mode.SIGNED)
    assert drive(head, at, POD, live_lease).wants == (WantLease(CredentialRef("ml", "aws")),)


@pytest.mark.parametrize(
    "values",
    [
        ("STREAMING-AWS4-HMAC-SHA256-EVENTS",),
        ("unsigned-payload",),
        ("",),
        ("required",),
        ("A" * 64,),
        (EMPTY, EMPTY),
        (EMPTY, "UNSIGNED-PAYLOAD"),
    ],
)
def test_a_body_of_another_kind_is_unsupported_payload(values: tuple[str, ...]) -> None:
    fields = [("x-amz-content-sha256", value) for value in values]
    head, at = asked(f"https://{EU}/k", *fields, method="PUT", has_body=True)

    assert reason((head, at)) is Reason.UNSUPPORTED_PAYLOAD
    assert drive(head, at, POD, live_lease).wants == ()


@pytest.mark.parametrize("said", [(), ("UNSIGNED-PAYLOAD",), (EMPTY,)])
@pytest.mark.parametrize(
    "frame",
    [
        ("content-encoding", "aws-chunked"),
        ("Content-Encoding", "gzip, AWS-chunked"),
        ("x-amz-decoded-content-length", "5"),
    ],
)
def test_frames_that_nobody_announced_would_be_stored(frame: tuple[str, str], said: tuple[str, ...]) -> None:
    fields = (frame, ("content-length", "9"), *(("x-amz-content-sha256", word) for word in said))
    head, at = asked(f"https://{EU}/k", *fields, method="PUT", has_body=True)

    assert reason((head, at)) is Reason.UNSUPPORTED_PAYLOAD


def test_a_hashed_body_has_a_length() -> None:
    hashed = ("x-amz-content-sha256", EMPTY)
    head, at = asked(f"https://{EU}/k", hashed, method="PUT", has_body=True)
    assert reason((head, at)) is Reason.UNSUPPORTED_PAYLOAD
    assert verified(sent((replace(head, version=HttpVersion.HTTP2), at)), "PUT")
    assert verified(sent(asked(f"https://{EU}/k", hashed, method="PUT")), "PUT")


@pytest.mark.parametrize("pod", [POD, ANY_POD], ids=["known", "unknown"])
@pytest.mark.parametrize("mode", [mode for mode in Mode if mode.signs_chunks])
def test_signed_chunks_are_signed_anew(mode: Mode, pod: PodState) -> None:
    head, at, body = upload_by(PLACEHOLDERS, mode)
    what = sent((head, at), pod)
    found = verified(what, "PUT")

    assert found.is_sigv4a is mode.is_asymmetric
    assert found.region == "eu-west-1"
    out = fed(what, body)
    assert isinstance(out, bytes)
    assert len(out) == len(body)
    assert stored_of(out, found, has_trailer=mode.has_trailer) == DATA
    # Who has other keys sees at once that they are not his.
    with pytest.raises(ValueError, match="does not fit"):
        stored_of(body, found, has_trailer=mode.has_trailer)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode.signs_chunks])
@pytest.mark.parametrize("harm", [Harm.CHUNK, Harm.CHUNK_SIGNATURE, Harm.CHUNK_ORDER, Harm.LAST_SIGNATURE])
def test_what_the_pods_own_placeholder_did_not_sign_is_a_fault_where_it_is_known(
    mode: Mode, harm: Harm
) -> None:
    head, at, body = upload_by(PLACEHOLDERS, mode, harm=harm)
    known, unknown = fed(sent((head, at), POD), body), fed(sent((head, at), ANY_POD), body)

    assert isinstance(known, BodyFault)
    assert known.reason is Reason.MALFORMED_BODY
    # Elsewhere only its form is known.
    assert isinstance(unknown, bytes)


def fed(what: Forward, body: bytes) -> bytes | BodyFault:
    """What goes upstream of a body that comes in pieces, or why it ends."""
    assert what.rewrite is not None
    out = b""
    for at in range(0, len(body), 10_000):
        piece = what.rewrite.feed(body[at : at + 10_000])
        if isinstance(piece, BodyFault):
            return piece
        out += piece
    last = what.rewrite.finish()
    return last if isinstance(last, BodyFault) else out + last


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: [f for f in fields if f[0] != "authorization"],
        lambda fields: [f for f in fields if f[0] != "x-amz-date"],
        lambda fields: [
            (n, v.replace("HMAC", "ECDSA-P256") if n == "authorization" else v) for n, v in fields
        ],
        lambda fields: [
            (n, v.replace(PLACEHOLDERS.access_key_id, FOREIGN.access_key_id) if n == "authorization" else v)
            for n, v in fields
        ],
    ],
    ids=["unsigned", "undated", "another algorithm", "a foreign key"],
)
def test_chunks_that_nobody_can_verify_are_held_to_their_form(change: object) -> None:
    head, at, body = upload_by(PLACEHOLDERS, Mode.SIGNED)
    other = replace(head, fields=tuple(change(head.fields)))  # type: ignore[operator]
    what = sent((other, at))
    out = fed(what, body)

    assert isinstance(out, bytes)
    assert stored_of(out, verified(what, "PUT"), has_trailer=False) == DATA
    assert isinstance(fed(sent((other, at)), body[:-3]), BodyFault)


def test_a_body_that_a_foreign_key_signed_in_chunks_is_signed_anew() -> None:
    head, at, body = upload_by(FOREIGN, Mode.SIGNED_TRAILER)
    what = sent((head, at))
    out = fed(what, body)

    assert isinstance(out, bytes)
    assert stored_of(out, verified(what, "PUT"), has_trailer=True) == DATA


@pytest.mark.parametrize("url", [f"https://{EVERYWHERE}/k", f"https://{ACCELERATE}/k"])
@pytest.mark.parametrize("mode", [mode for mode in HMAC_MODES if mode.signs_chunks])
def test_chunks_for_one_region_to_a_host_of_all_regions_are_unsupported_payload(url: str, mode: Mode) -> None:
    head, at, _ = upload_by(PLACEHOLDERS, mode, url, region="nowhere")

    opening = refused(head, at, POD, live_lease)
    assert opening.refusal.reason is Reason.UNSUPPORTED_PAYLOAD
    assert "the host needs SigV4a" in opening.refusal.message


@pytest.mark.parametrize("url", [f"https://{EVERYWHERE}/k", f"https://{ACCELERATE}/k", f"https://{GLOBAL}/k"])
@pytest.mark.parametrize("mode", [Mode.ECDSA, Mode.ECDSA_TRAILER])
def test_chunks_for_all_regions_go_where_any_may_answer(url: str, mode: Mode) -> None:
    head, at, body = upload_by(PLACEHOLDERS, mode, url, region="*")
    what = sent((head, at))
    found = verified(what, "PUT")
    out = fed(what, body)

    assert found.region == "*"
    assert isinstance(out, bytes)
    assert stored_of(out, found, has_trailer=mode.has_trailer) == DATA


def test_signed_chunks_to_a_store_of_its_own_are_signed_for_its_region() -> None:
    head, at, body = upload_by(PLACEHOLDERS, Mode.SIGNED_TRAILER, f"https://{STORE}:9000/data/k", "us-east-1")
    what = sent((head, at))
    found = verified(what, "PUT")
    out = fed(what, body)

    assert found.region == "eu-north-1"
    assert isinstance(out, bytes)
    assert stored_of(out, found, has_trailer=True) == DATA


@pytest.mark.parametrize(
    ("dropped", "added"),
    [
        ("x-amz-decoded-content-length", ()),
        ("", (("x-amz-decoded-content-length", "5"),)),
        ("x-amz-decoded-content-length", (("x-amz-decoded-content-length", "-5"),)),
        ("x-amz-trailer", ()),
        ("", (("x-amz-trailer", "x-amz-meta-late"),)),
    ],
)
def test_a_body_in_chunks_whose_head_does_not_say_how_it_ends_is_malformed_body(
    dropped: str, added: tuple[tuple[str, str], ...]
) -> None:
    head, at, _ = upload_by(PLACEHOLDERS, Mode.SIGNED_TRAILER)
    kept = tuple(field for field in head.fields if field[0] != dropped)

    assert reason((replace(head, fields=(*kept, *added)), at)) is Reason.MALFORMED_BODY


# --- S3 Express --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "reads"),
    [
        ("GET", "/k", True),
        ("HEAD", "/k", True),
        ("GET", "/?list-type=2&prefix=", True),
        ("HEAD", "/", True),
        ("PUT", "/k", False),
        ("DELETE", "/k", False),
        ("POST", "/k?uploads", False),
    ],
)
def test_a_directory_bucket_is_asked_within_a_session_of_podkeys_own(
    method: str,
    target: str,
    reads: bool,  # noqa: FBT001 - a table
) -> None:
    session = Keys(PLACEHOLDERS.access_key_id, SESSION_SECRET_KEY)
    head, at = signed_by(
        session, f"https://{EXPRESS}{target}", method, region="us-west-2", service="s3express"
    )
    head = replace(head, fields=(*head.fields, ("x-amz-s3session-token", SESSION_TOKEN)))
    driven = drive(head, at, POD, live_lease)

    assert driven.wants == (
        WantLease(CredentialRef("ml", "aws"), ExpressSession(EXPRESS, "us-west-2", read_only=reads)),
    )
    assert isinstance(driven.opening, Forward)
    found = verified(driven.opening, method, token_header="x-amz-s3session-token")
    assert (found.service, found.region) == ("s3express", "us-west-2")
    assert values_of(driven.opening, "x-amz-security-token") == []
    assert not driven.opening.record.static_credential_seen
    assert SESSION_TOKEN not in every_word(driven.opening)


def test_a_copy_into_a_directory_bucket_is_signed_without_a_session() -> None:
    """A session is for one bucket ("CopyObject", S3 API reference)."""
    source = ("x-amz-copy-source", f"{DIRECTORY}/a")
    driven = drive(*asked(f"https://{EXPRESS}/k", source, method="PUT"), POD, live_lease)

    assert driven.wants == (WantLease(CredentialRef("ml", "aws")),)
    assert isinstance(driven.opening, Forward)
    found = verified(driven.opening, "PUT")
    assert (found.service, found.region) == ("s3express", "us-west-2")
    assert values_of(driven.opening, "x-amz-s3session-token") == []


@pytest.mark.parametrize("mode", [Mode.SIGNED, Mode.SIGNED_TRAILER])
def test_chunks_that_are_signed_in_a_session_are_verified_with_its_placeholder(mode: Mode) -> None:
    session = Keys(PLACEHOLDERS.access_key_id, SESSION_SECRET_KEY)
    url = f"https://{EXPRESS}/k"
    head, at, body = upload_by(session, mode, url, "us-west-2")
    what = sent((head, at))
    found = verified(what, "PUT", token_header="x-amz-s3session-token")
    out = fed(what, body)

    assert isinstance(out, bytes)
    assert stored_of(out, found, has_trailer=mode.has_trailer) == DATA
    harmed = upload_by(session, mode, url, "us-west-2", harm=Harm.CHUNK)[2]
    assert isinstance(fed(sent((head, at)), harmed), BodyFault)


# --- other services ----------------------------------------------------------------------------------

JSON = b'{"messages": []}'


@pytest.mark.parametrize(
    ("url", "service"),
    [
        (BEDROCK, "bedrock"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model/a:b/converse", "bedrock"),
        ("https://runtime.sagemaker.us-east-2.amazonaws.com/endpoints/e/invocations", "sagemaker"),
        (DYNAMODB, "dynamodb"),
        (f"{DYNAMODB}a/b%20c/%C3%A9//d?x=1&a=%2F", "dynamodb"),
    ],
)
def test_another_service_gets_the_hash_of_the_body_in_the_signature(url: str, service: str) -> None:
    head, at = asked(url, ("Content-Type", "application/json"), method="POST", has_body=True)
    driven = drive(head, at, POD, live_lease, JSON)

    assert [type(want) for want in driven.wants] == [WantBody, WantLease]
    assert driven.body == WantBody(POD.hashed_body_limit)
    assert isinstance(driven.opening, Forward)
    found = verified(driven.opening, "POST", body=JSON)
    assert found.service == service
    assert driven.opening.rewrite is None
    with pytest.raises(UnverifiedError):
        verified(driven.opening, "POST", body=b"another")


def test_a_request_without_a_body_waits_for_none() -> None:
    head, at = asked(f"{DYNAMODB}ping")
    driven = drive(head, at, POD, live_lease)

    assert [type(want) for want in driven.wants] == [WantLease]
    assert isinstance(driven.opening, Forward)
    assert verified(driven.opening).service == "dynamodb"


@pytest.mark.parametrize("said", ["UNSIGNED-PAYLOAD", EMPTY])
def test_what_the_application_said_of_the_body_is_nothing_to_another_service(said: str) -> None:
    head, at = signed_by(
        PLACEHOLDERS, DYNAMODB, "POST", said, {"x-amz-target": "T.Get"}, service="dynamodb", has_body=True
    )
    what = sent((head, at), body=JSON)

    assert values_of(what, "x-amz-content-sha256") == []
    assert values_of(what, "x-amz-target") == ["T.Get"]
    assert verified(what, "POST", body=JSON)
    assert values_of(what, "x-amz-date") == ["20260304T120000Z"]


@pytest.mark.parametrize(
    "said", [*(mode for mode in Mode if mode.is_framed), "STREAMING-AWS4-HMAC-SHA256-EVENTS"]
)
def test_a_body_that_is_framed_for_s3_is_unsupported_payload_elsewhere(said: str) -> None:
    fields = (("x-amz-content-sha256", said), ("x-amz-decoded-content-length", "5"))
    head, at = asked(DYNAMODB, *fields, method="POST", has_body=True)

    assert reason((head, at)) is Reason.UNSUPPORTED_PAYLOAD
    assert drive(head, at, POD, live_lease).wants == ()


@pytest.mark.parametrize("why", [Reason.BODY_TOO_LARGE, Reason.OVERLOADED, Reason.MALFORMED_BODY])
def test_a_body_that_cannot_be_read_is_refused_for_that_reason(why: Reason) -> None:
    head, at = asked(DYNAMODB, method="POST", has_body=True)
    driven = drive(head, at, POD, live_lease, BodyFault(why, "it is so"))

    assert driven.wanted is None
    assert reason((head, at), body=BodyFault(why, "it is so")) is why


def test_its_limit_is_the_pods() -> None:
    head, at = asked(DYNAMODB, method="POST", has_body=True)

    assert drive(head, at, replace(POD, hashed_body_limit=7), live_lease).body == WantBody(7)


def test_a_signature_in_the_query_stays_refused_at_another_service() -> None:
    assert reason(asked(f"{DYNAMODB}?X-Amz-Signature=00&X-Amz-Credential=x")) is Reason.QUERY_AUTH_PRESENT


# --- leases ------------------------------------------------------------------------------------------


def test_no_lease_is_credential_unavailable() -> None:
    head, at = asked(f"https://{EU}/k")
    opening = refused(head, at, POD, lambda ref: NoLease(ref, "STS said no"))

    assert opening.refusal.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "STS said no" in opening.refusal.message
    assert opening.record.lease_id == ""


def test_keys_that_sign_nothing_are_credential_unusable_and_not_shown() -> None:
    def broken(ref: CredentialRef) -> LeaseReply:
        lease = live_lease(ref)
        return replace(lease, parts={**lease.parts, Part.SECRET_ACCESS_KEY: Secret(b"live-secret\n")})

    head, at = asked(f"https://{EU}/k")
    opening = refused(head, at, POD, broken)

    assert opening.refusal.reason is Reason.CREDENTIAL_UNUSABLE
    assert "the credential ml/aws: the secret access key is empty, or has a space" in opening.refusal.message
    assert "live-secret" not in repr(opening)
    assert opening.record.lease_id == "lease-of-aws"


def test_a_reply_of_the_wrong_kind_sends_nothing() -> None:
    head, at = asked(f"https://{EU}/k")
    steps = open_request(POD, at, head, NOON, "request-1")
    assert isinstance(next(steps), WantLease)
    with pytest.raises(StopIteration) as no_lease:
        steps.send(b"a body")
    assert no_lease.value.value.refusal.reason is Reason.CREDENTIAL_UNAVAILABLE

    head, at = asked(DYNAMODB, method="POST", has_body=True)
    steps = open_request(POD, at, head, NOON, "request-1")
    assert isinstance(next(steps), WantBody)
    with pytest.raises(StopIteration) as no_body:
        steps.send(live_lease(CredentialRef("ml", "signed")))
    assert no_body.value.value.refusal.reason is Reason.INTERNAL_ERROR


# --- another one that says the same ------------------------------------------------------------------


def test_the_same_within_a_second_is_signed_as_before_and_looks_for_the_same_in_its_answer() -> None:
    lease = live_lease(CredentialRef("ml", "aws"))
    first = sent(asked(f"https://{EU}/k"))
    again = first.again
    assert again is not None

    def opened(moment: datetime) -> Forward:
        found = again.opened(Asked(POD, to(EU), "request-2", NOON), first.record, lease, moment)
        assert isinstance(found, Forward)
        return found

    openings = [opened(NOON + timedelta(seconds=seconds)) for seconds in (0.0, 0.9, 1.0)]

    assert [wire_fields(one) == wire_fields(first) for one in openings] == [True, True, False]
    assert [one.forms for one in openings] == [first.forms] * 3


def test_of_a_session_that_ended_nothing_is_kept_for_another_one_that_says_the_same() -> None:
    lease = lease_with(KEYS)(CredentialRef("ml", "aws"))
    again = sent(asked(f"https://{EU}/k")).again
    assert again is not None
    for second in range(2):
        moment = NOON + timedelta(seconds=second)
        again.opened(Asked(POD, to(EU), "request-2", NOON), POD.proved, lease, moment)

    for secret in lease.parts.values():
        secret.overwrite()

    assert KEYS.session_token is not None
    found = [thing for thing in held_by(again) if KEYS.session_token in thing]
    assert not found


def held_by(thing: object) -> Iterator[str]:
    """Every text that can be reached from it."""
    seen: dict[int, object] = {}
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen[id(one)] = one
        waiting += gc.get_referents(one)
        if isinstance(one, str):
            yield one
        elif isinstance(one, bytes | bytearray):
            yield one.decode("latin-1")


def test_what_was_signed_in_this_second_with_this_lease_is_known() -> None:
    lease, other = (lease_with(KEYS)(CredentialRef("ml", "aws")) for _ in range(2))
    again = sent(asked(f"https://{EU}/k")).again
    assert again is not None
    later = NOON + timedelta(seconds=1)
    assert again.known(POD, lease, NOON) is None

    opened = again.opened(Asked(POD, to(EU), "request-2", NOON), POD.proved, lease, NOON)

    assert again.known(POD, lease, NOON) == opened
    assert again.known(POD, lease, later) is None
    assert again.known(POD, other, NOON) is None
