"""What holds for every request that is granted and signed, whoever signed it before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.attach.bodies import BodyFault
from proxy.core.arrival import Arrival
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.transaction.head import Head
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from tests.s3_signer import EMPTY, Keys, Mode
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
    Sdk,
    asked,
    lease_with,
    signed_by,
    stored_of,
    upload_by,
    verified,
)
from tests.transaction_world import Driven, drive, every_word, text, values_of, wire_fields

SESSION = replace(PLACEHOLDERS, session_token="a-placeholders-session-token")
BUCKETS = (
    f"https://{EU}",
    "https://data.s3.dualstack.us-east-2.amazonaws.com",
    "https://s3.cn-north-1.amazonaws.com.cn/data",
    "https://s3.us-gov-west-1.amazonaws.com/data",
    "https://data.s3.amazonaws.com",
    "https://data.s3-accelerate.amazonaws.com",
    "https://mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com",
    f"https://train-{OWNER}.s3-accesspoint.eu-west-1.amazonaws.com",
    f"https://{DIRECTORY}.s3express-usw2-az1.us-west-2.amazonaws.com",
    f"https://{STORE}:9000/data",
    "https://owned.s3.eu-west-1.amazonaws.com",
)
OTHERS = (
    "https://dynamodb.eu-west-1.amazonaws.com/",
    "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse",
)

crumbs = st.sampled_from(
    ["a", "B7", "-", "_", "~", ".x", "%20", "%C3%A9", "%2B", "!", "(", "'", "=", "@", "/", "*"]
)
keys = st.lists(crumbs, min_size=1, max_size=6).map(lambda found: "/k" + "".join(found))
signers = st.sampled_from([PLACEHOLDERS, SESSION, FOREIGN])
named = st.sampled_from(
    [
        ("x-amz-meta-my_team", " vision  one "),
        ("X-Amz-Meta-A", "1"),
        ("x-amz-meta-a", "2"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("Range", "bytes=0-9"),
        ("Expect", "100-continue"),
        ("User-Agent", "boto3"),
        ("x-amz-expected-bucket-owner", "999999999999"),
        ("X-Amz-Checksum-Crc32", "AAAAAA=="),
        ("X-Amz-Security-Token", "a-placeholders-session-token"),
        ("X-AMZ-SECURITY-TOKEN", FOREIGN.session_token or ""),
        ("X-Amz-S3session-Token", FOREIGN.session_token or ""),
        ("X-Amz-Region-Set", "*"),
        ("Accept-Encoding", "gzip"),
    ]
)


class Body(bytes):
    """A failing test shows what it was given, and these are long."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


Case = tuple[Head, Arrival, Body]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """What an application sends, and what follows it."""
    base, signer, fields = draw(st.sampled_from(BUCKETS)), draw(signers), draw(st.lists(named, max_size=5))
    match draw(st.sampled_from(["upload", "header", "url", "other", "bare"])):
        case "upload":
            mode = draw(st.sampled_from(Mode))
            head, at, body = upload_by(signer, mode, base + draw(keys), chunk=70_000)
            return replace(head, fields=(*head.fields, *fields)), at, Body(body)
        case "other":
            url, body = draw(st.sampled_from(OTHERS)), b'{"a": 1}'
            head, at = signed_by(signer, url, "POST", EMPTY, service="x", has_body=True)
            fields += draw(st.sampled_from([[], [("x_amz_date", "20260304T120311Z")]]))
            return replace(head, fields=(*head.fields, *fields)), at, Body(body)
        case kind:
            method, query = draw(
                st.sampled_from(
                    [
                        *[("GET", ""), ("HEAD", ""), ("PUT", ""), ("DELETE", ""), ("GET", "x-id=")],
                        *[("GET", "versionId=v1"), ("PUT", "partNumber=2&uploadId=%7e+%2Fx")],
                        *[("POST", "uploads"), ("POST", "uploads="), ("GET", "list-type=2&prefix=a+b%2F")],
                    ]
                )
            )
            path = "/" if "list-type" in query else draw(keys)
            url = f"{base}{path}{'?' if query else ''}{query}"
    if kind == "url":
        authority, slash, rest = url.removeprefix("https://").partition("/")
        target = Sdk(signer, "eu-west-1").presigned(method, authority, slash + rest)
        return *asked(f"https://{authority}{target}", *fields, method=method), Body()
    if kind == "bare":
        return *asked(url, *fields, method=method), Body()
    head, at = signed_by(signer, url, method, draw(st.sampled_from([EMPTY, "UNSIGNED-PAYLOAD"])))
    return replace(head, fields=(*head.fields, *fields)), at, Body()


def sent(case: Case, pod: PodState, leased: Keys) -> Driven:
    head, at, body = case
    return drive(head, at, pod, lease_with(leased), body)


pods = st.sampled_from([POD, ANY_POD])
leases = st.sampled_from([KEYS, STATIC])


@settings(max_examples=150)
@given(cases(), pods, leases)
def test_whatever_is_attached_is_verified_by_who_has_the_keys(
    case: Case, pod: PodState, leased: Keys
) -> None:
    driven = sent(case, pod, leased)
    what = driven.opening
    if not (isinstance(what, Forward) and what.attached):
        return
    head, _, body = case
    express = "s3express" in what.authority
    token = "x-amz-s3session-token" if express else "x-amz-security-token"
    found = verified(what, head.method, leased, body, token_header=token)

    assert what.is_timed
    assert driven.lease is not None
    if what.rewrite is not None:
        out = what.rewrite.feed(body)
        assert not isinstance(out, BodyFault)
        last = what.rewrite.finish()
        assert not isinstance(last, BodyFault)
        trailer = "x-amz-trailer" in dict(head.fields)
        assert len(out + last) == len(body)
        assert stored_of(out + last, found, leased, has_trailer=trailer) == DATA


@settings(max_examples=100)
@given(cases(), pods, leases)
def test_nothing_that_the_application_signed_with_is_in_it_and_no_secret_of_ours_either(
    case: Case, pod: PodState, leased: Keys
) -> None:
    what = sent(case, pod, leased).opening
    if not (isinstance(what, Forward) and what.attached):
        return
    words = every_word(what)

    for keys in (PLACEHOLDERS, SESSION, FOREIGN):
        for secret in (keys.access_key_id, keys.secret_access_key, keys.session_token):
            assert secret is None or secret not in words
    assert "20260304T120311Z" not in words
    assert leased.secret_access_key not in words
    assert values_of(what, "accept-encoding") == ["identity"]
    assert "+" not in text(what.target).partition("?")[2]
    plain = [(name, value) for name, value in what.fields if isinstance(value, str)]
    open_words = "\n".join([*map(": ".join, plain), repr(what), str(what.record.to_record())])
    assert leased.access_key_id not in open_words
    assert leased.session_token is None or leased.session_token not in open_words
    for name, value in what.fields:
        assert isinstance(value, Secret) is (
            name in {"authorization", "x-amz-security-token", "x-amz-s3session-token"}
        )


@given(cases(), pods)
def test_one_bit_of_it_changed_is_verified_by_nobody(case: Case, pod: PodState) -> None:
    what = sent(case, pod, KEYS).opening
    if not (isinstance(what, Forward) and what.attached):
        return
    head, _, body = case
    token = "x-amz-s3session-token" if "s3express" in what.authority else "x-amz-security-token"
    for other in (
        replace(what, target=f"{text(what.target)}{'&' if '?' in text(what.target) else '?'}x=1"),
        replace(what, authority=f"x{what.authority}"),
        replace(what, fields=(*what.fields, ("x-amz-acl", "public-read"))),
    ):
        try:
            verified(other, head.method, KEYS, body, token_header=token)
        except Exception:  # noqa: BLE001 - cryptography's and ours
            continue
        raise AssertionError(f"verified: {wire_fields(other)}")


def test_most_of_these_requests_are_signed() -> None:
    """Else the laws above would say little."""
    met: list[str] = []
    kinds: set[str] = set()

    @settings(max_examples=300)
    @given(cases())
    def collect(case: Case) -> None:
        what = sent(case, POD, KEYS).opening
        met.append(what.record.reason)
        if isinstance(what, Forward) and what.attached:
            kinds.add(values_of(what, "authorization")[0].split(" ")[0])
            kinds.add("chunks" if what.rewrite is not None else "whole")
            kinds.add("url" if "ignature=" in case[0].target else "header")

    collect()
    assert met.count("granted") > len(met) // 2
    assert kinds == {"AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "chunks", "whole", "url", "header"}
