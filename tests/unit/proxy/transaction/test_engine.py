"""One request: which refusals it can earn, and what is edited on one that travels on."""

from base64 import b64encode
from urllib.parse import quote

import pytest

from proxy.core.arrival import Arrival
from proxy.core.credentials import CredentialRef
from proxy.core.lease import NoLease
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.services import Dialect
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.core.verdict import RuleRef
from proxy.transaction.head import Head, HeadProblem, HttpVersion, problem_of
from proxy.wire.outcomes import malformed, too_large
from tests.judge_world import NOON, credential
from tests.transaction_world import (
    API,
    CANARY,
    ENDPOINT,
    PLACEHOLDER,
    TOKEN,
    WEBSOCKET,
    WHO,
    drive,
    every_word,
    forwarded,
    head,
    lease_of,
    refused,
    text,
    to,
    values_of,
    wire_fields,
)

S3 = "s3.eu-central-1.amazonaws.com"
FOREIGN = "sk-of-somebody-else"
GRPC = ("content-type", "application/grpc")


def reason(what: Head | HeadProblem, at: Arrival = API) -> Reason:
    return refused(what, at).refusal.reason


# --- heads that are not judged -----------------------------------------------------------------------


def test_a_malformed_head_is_malformed_request_and_ends_the_connection() -> None:
    opening = refused(problem_of(malformed("several Host fields (RFC 9112 §3.2)")))

    assert opening.refusal.reason is Reason.MALFORMED_REQUEST
    assert opening.closes
    assert opening.refusal.message == (
        "podkey refused a request to api.example.com: several Host fields (RFC 9112 §3.2). "
        "More: `podkey reasons malformed_request`."
    )


def test_a_head_that_is_too_large_is_headers_too_large_and_ends_the_connection() -> None:
    opening = refused(problem_of(too_large("more than 200 header lines")))

    assert opening.refusal.reason is Reason.HEADERS_TOO_LARGE
    assert opening.closes


@pytest.mark.parametrize("named", ["authorization", "close, X-Api-Key", "content-length", "cookie, close"])
def test_a_connection_header_that_names_a_field_is_malformed_request_and_ends_the_connection(
    named: str,
) -> None:
    opening = refused(head("/v1/models", ("Connection", named)))

    assert opening.refusal.reason is Reason.MALFORMED_REQUEST
    assert opening.closes
    assert "the Connection header names `" in opening.refusal.message


# --- endpoints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models",  # none
        f"/podkey-{'ffff' * 8}/v1/models",  # another pod's
        f"{TOKEN[:-1]}/v1/models",  # all but its end
        f"{TOKEN}x/v1/models",
        f"{TOKEN.upper()}/v1/models",
        f"{TOKEN}?/v1/models",  # whole, and no path behind it
        TOKEN,
        f"/.{TOKEN}/v1/models",  # what normalising would make of it does not count
        f"/%70{TOKEN[2:]}/v1/models",
        "*",
    ],
)
def test_an_endpoint_without_the_pods_own_prefix_is_endpoint_token(target: str) -> None:
    opening = refused(head(target, host="127.0.0.1:9000"), ENDPOINT)

    assert opening.refusal.reason is Reason.ENDPOINT_TOKEN
    assert not opening.closes


def test_what_stood_in_place_of_the_prefix_is_shown_to_nobody() -> None:
    opening = refused(head("/podkey-of-another/v1", host="127.0.0.1:9000"), ENDPOINT)

    assert "podkey-of-another" not in repr(opening)
    assert (opening.record.path, opening.record.method) == ("", "GET")
    # There is nothing that could be explained.
    assert opening.refusal.message == (
        "podkey refused GET https://api.example.com/: the URL lacks this pod's path prefix. "
        "More: `podkey reasons endpoint_token`."
    )


def test_a_head_request_without_the_prefix_is_answered_like_one() -> None:
    # A body after the answer to a HEAD would be read as the next answer.
    assert refused(head("/v1", method="HEAD", host="localhost"), ENDPOINT).refusal.is_head


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "127.0.0.1", "localhost:9000", "LocalHost", "[::1]:9000"])
def test_an_endpoint_is_asked_by_its_address_and_the_prefix_goes_no_farther(host: str) -> None:
    sent = forwarded(head(f"{TOKEN}/v1/models?a=1", host=host), ENDPOINT)

    assert sent.authority == "api.example.com"
    assert sent.target == "/v1/models?a=1"
    assert TOKEN not in every_word(sent)
    assert sent.attached


@pytest.mark.parametrize("host", ["evil.example", "api.example.com", "127.0.0.2", "127.0.0.1.evil.example"])
def test_an_endpoint_that_is_asked_by_another_name_is_name_mismatch(host: str) -> None:
    opening = refused(head(f"{TOKEN}/v1/models", host=host), ENDPOINT)

    assert opening.refusal.reason is Reason.NAME_MISMATCH
    assert "an endpoint is asked by its address" in opening.refusal.message
    assert opening.record.path == "/v1/models"


# --- the verified name -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["api.example.com", "API.Example.COM", "api.example.com:443"])
def test_a_host_that_is_the_verified_name_is_heard(host: str) -> None:
    assert forwarded(head(host=host)).authority == "api.example.com"


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("key.example.com", "the request names key.example.com, and the connection is for api.example.com"),
        ("api.example.com.", "the request names something else"),  # one name, one spelling
        ("api.example.com.evil.example", "the request names api.example.com.evil.example"),
        ("203.0.113.7", "the request names something else"),
        ("api.example.com:8443", "the request names port 8443, and the connection goes to 443"),
        ("api.example.com:80", "the request names port 80, and the connection goes to 443"),
        ("a@b", "the Host is no host name"),
        ("", "the Host is no host name"),
    ],
)
def test_a_host_that_is_not_the_verified_name_is_name_mismatch(host: str, why: str) -> None:
    opening = refused(head(host=host))

    assert opening.refusal.reason is Reason.NAME_MISMATCH
    assert why in opening.refusal.message
    assert not opening.closes


def test_another_port_is_named_in_the_authority() -> None:
    at = to("ported.example.com", 8443)

    assert forwarded(head(host="ported.example.com:8443"), at).authority == "ported.example.com:8443"
    # Clients leave out only the port that https implies; whoever leaves it out is not mistaken.
    assert forwarded(head(host="ported.example.com"), at).authority == "ported.example.com:8443"
    assert reason(head(host="ported.example.com:443"), at) is Reason.NAME_MISMATCH


@pytest.mark.parametrize("asked", ["other.example.com", "203.0.113.7"])
def test_a_connect_to_another_name_than_tls_names_is_name_mismatch(asked: str) -> None:
    opening = refused(head(), replace(API, capture=Capture.EXPLICIT, asked=asked))

    assert opening.refusal.reason is Reason.NAME_MISMATCH
    assert "the connection was opened for " in opening.refusal.message
    assert "TLS names api.example.com" in opening.refusal.message


def test_the_name_is_looked_at_before_the_verdict() -> None:
    assert reason(head("/not/granted", host="key.example.com")) is Reason.NAME_MISMATCH


# --- the verdict -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "at", "expected", "says"),
    [
        (head("/v2"), API, Reason.PATH_NOT_GRANTED, "/v2 does not match /v1/**"),
        (head(method="PUT"), API, Reason.METHOD_NOT_GRANTED, "PUT is not one of GET, POST, HEAD"),
        (head(), to("api.example.com", 8443), Reason.PORT_NOT_GRANTED, "port 8443 is not 443"),
        (head(method="TRACE"), API, Reason.METHOD_FORBIDDEN, "none that a credential travels with"),
        (head("*", method="OPTIONS"), API, Reason.MALFORMED_PATH, "no valid path"),
        (head("/v1/a%2fb"), API, Reason.AMBIGUOUS_PATH, "could read the path differently"),
        (head("/v1?a=%0"), API, Reason.MALFORMED_QUERY, "no valid query"),
        (head("/v1?X-Amz-Signature=0"), API, Reason.QUERY_AUTH_PRESENT, "already carries a signature"),
        (
            head("/v1", ("X-HTTP-Method-Override", "DELETE")),
            API,
            Reason.OVERRIDE_HEADER,
            "a header that some servers take for the method",
        ),
        (
            head("/v1", ("Authorization", f"Bearer {FOREIGN}"), host="strict.example.com"),
            to("strict.example.com"),
            Reason.FOREIGN_CREDENTIAL,
            "a credential of its own",
        ),
    ],
)
def test_a_refusal_of_the_verdict_is_refused_with_its_code(
    what: Head, at: Arrival, expected: Reason, says: str
) -> None:
    driven = drive(what, at)
    opening = refused(what, at)

    assert driven.wanted is None  # nobody is asked for a credential that goes nowhere
    assert opening.refusal.reason is expected
    assert says in opening.refusal.message
    assert opening.record.verdict == "refuse"
    assert not opening.closes


def test_a_refusal_names_the_nearest_grant_and_how_to_find_out_more() -> None:
    opening = refused(head("/v2/a%20b?team=x"))

    assert opening.refusal.rule == RuleRef("ml", "p", 0)
    assert opening.refusal.message == (
        "podkey refused GET https://api.example.com/v2/a%20b: /v2/a%20b does not match /v1/**. "
        "Nearest grant: ml/p grants[0]. Explain: `podkey explain GET https://api.example.com/v2/a%20b "
        "--policies DIR -n ml --service-account trainer`. More: `podkey reasons path_not_granted`."
    )


@pytest.mark.parametrize(
    ("host", "dialect"),
    [
        ("api.example.com", Dialect.PLAIN_JSON),
        (S3, Dialect.S3_XML),
        ("api.openai.com", Dialect.OPENAI_JSON),
        ("api.anthropic.com", Dialect.ANTHROPIC_JSON),
        ("huggingface.co", Dialect.HUGGINGFACE_JSON),
    ],
)
def test_a_refusal_speaks_as_the_service_does(host: str, dialect: Dialect) -> None:
    assert refused(head(host="elsewhere.example"), to(host)).refusal.dialect is dialect


@pytest.mark.parametrize(
    ("what", "is_grpc", "is_head"),
    [
        (head("/v2"), False, False),
        (head("/v2", GRPC, version=HttpVersion.HTTP2), True, False),
        (head("/v2", GRPC), False, False),
        (head("/v2", method="HEAD"), False, True),
    ],
)
def test_a_refusal_knows_what_its_client_can_read(what: Head, is_grpc: bool, is_head: bool) -> None:  # noqa: FBT001 - a table
    refusal = refused(what).refusal

    assert (refusal.is_grpc, refusal.is_head) == (is_grpc, is_head)
    assert refusal.request_id == "request-1"


# --- the lease ---------------------------------------------------------------------------------------


def test_the_lease_of_the_verdicts_credential_is_asked_for() -> None:
    assert drive(head()).wanted == credential("a")
    assert drive(head(host="api.anthropic.com"), to("api.anthropic.com")).wanted == credential("plain")


def test_no_lease_is_credential_unavailable_and_tells_why() -> None:
    opening = refused(head(), answer=lambda ref: NoLease(ref, "the Secret a is not mounted"))

    assert opening.refusal.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert opening.refusal.rule == RuleRef("ml", "p", 0)
    # A policy cannot mend it: there is nothing to explain.
    assert opening.refusal.message == (
        "podkey refused GET https://api.example.com/v1/models: the Secret a is not mounted. "
        "Nearest grant: ml/p grants[0]. More: `podkey reasons credential_unavailable`."
    )
    assert (opening.record.credential, opening.record.lease_id) == ("ml/a", "")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\nX-Admin: 1", " x", "\0", "é"])
def test_a_credential_that_no_header_can_carry_is_credential_unusable(end: str) -> None:
    def broken(ref: CredentialRef) -> object:
        return lease_of(ref, CANARY + end)

    opening = refused(head(), answer=broken)  # type: ignore[arg-type]

    assert opening.refusal.reason is Reason.CREDENTIAL_UNUSABLE
    assert "the credential ml/a: the token " in opening.refusal.message
    assert CANARY not in repr(opening)
    assert (opening.record.credential, opening.record.lease_id) == ("ml/a", "lease-of-a")


def test_a_credential_without_the_part_that_is_attached_is_credential_unusable() -> None:
    opening = refused(head(), answer=lambda ref: replace(lease_of(ref), parts={Part.PASSWORD: Secret(b"x")}))

    assert opening.refusal.reason is Reason.CREDENTIAL_UNUSABLE
    assert "the credential has no token" in opening.refusal.message


@pytest.mark.parametrize("query", ["a=1;key=x", "key=x;a=1", "a=1;%4Bey=x", "a=1;KEY=x&b=2"])
def test_a_semicolon_that_hides_a_slot_is_ambiguous_query(query: str) -> None:
    opening = refused(head(f"/x?{query}", host="query.example.com"), to("query.example.com"))

    assert opening.refusal.reason is Reason.AMBIGUOUS_QUERY
    assert "a semicolon in the query hides" in opening.refusal.message


def test_a_semicolon_beside_no_slot_is_data() -> None:
    sent = forwarded(head("/x?a=1;b=2", host="query.example.com"), to("query.example.com"))

    assert text(sent.target) == f"/x?a=1;b=2&Key={CANARY}"


# --- the edits ---------------------------------------------------------------------------------------


def test_the_credential_is_added_once_and_as_a_secret() -> None:
    sent = forwarded(head())

    assert sent.attached
    assert sent.fields == (
        ("Accept-Encoding", "identity"),
        ("authorization", Secret(b"Bearer " + CANARY.encode())),
    )
    assert CANARY.encode() in sent.forms
    assert sent.credential_fields == {"authorization"}


@pytest.mark.parametrize(
    ("host", "slot", "ours"),
    [
        ("api.example.com", "Authorization", ("authorization", f"Bearer {CANARY}")),
        # A credential in a header of its own does not leave the common one to the application.
        ("key.example.com", "Authorization", ("x-key", CANARY)),
        ("key.example.com", "X-KEY", ("x-key", CANARY)),
        ("key.example.com", "X_Key", ("x-key", CANARY)),  # the same, to a CGI-like server
        ("query.example.com", "Authorization", None),
        # Every header that a client of the service uses, whichever we use.
        ("api.anthropic.com", "Authorization", ("x-api-key", CANARY)),
        ("api.anthropic.com", "X-Api-Key", ("x-api-key", CANARY)),
        (
            "api.wandb.ai",
            "authorization",
            ("authorization", "Basic " + b64encode(f"api:{CANARY}".encode()).decode()),
        ),
        ("huggingface.co", "AUTHORIZATION", ("authorization", f"Bearer {CANARY}")),
    ],
)
@pytest.mark.parametrize("value", [f"Bearer {FOREIGN}", PLACEHOLDER, FOREIGN, ""])
def test_the_applications_own_credential_goes_from_every_header(
    host: str, slot: str, ours: tuple[str, str] | None, value: str
) -> None:
    sent = forwarded(head("/v1/x", (slot, value), ("Accept", "*/*"), (slot, value), host=host), to(host))

    assert sent.attached
    assert [field for field in wire_fields(sent) if field[0].lower().replace("_", "-") == slot.lower()] == (
        [ours] if ours is not None and ours[0] == slot.lower() else []
    )
    added = [] if ours is None else [ours]
    assert wire_fields(sent) == [("Accept", "*/*"), ("Accept-Encoding", "identity"), *added]


def test_the_applications_own_credential_goes_from_cookies() -> None:
    what = head("/a/b/resolve/main/x", ("Cookie", f"a=1; token={FOREIGN}; b=2"), host="huggingface.co")
    sent = forwarded(what, to("huggingface.co"))

    assert values_of(sent, "cookie") == ["a=1; b=2"]
    assert FOREIGN not in every_word(sent)
    assert sent.record.static_credential_seen


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("/x", "/x"),
        ("/x?", "/x"),
        (f"/x?key={FOREIGN}", "/x"),
        (f"/x?a=1&KEY={FOREIGN}&b=2", "/x?a=1&b=2"),
        (f"/x?%6bey={FOREIGN}&a=%7e&&b=+%2B", "/x?a=%7e&&b=+%2B"),
        (f"/x?a&Key={FOREIGN}&Key[]={FOREIGN}", "/x?a"),
    ],
)
def test_the_applications_own_credential_goes_from_the_query_and_ours_is_put_at_its_end(
    sent: str, left: str
) -> None:
    opening = forwarded(head(sent, host="query.example.com"), to("query.example.com"))

    assert isinstance(opening.target, Secret)
    assert text(opening.target) == f"{left}{'&' if '?' in left else '?'}Key={CANARY}"


def test_a_credential_in_the_query_is_percent_encoded() -> None:
    value = "t&k=n?#%+/é".replace("é", "~")
    driven = drive(
        head("/x?a=1", host="query.example.com"),
        to("query.example.com"),
        answer=lambda ref: lease_of(ref, value),
    )

    assert text(driven.opening.target) == f"/x?a=1&Key={quote(value, safe='')}"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "query",
    ["a=%7e&b=%7E", "a=1&&b=2", "b=2&a=1", "x=a+b%20c", "list=[1]", "a=1;b=2", "Authorization=x", "&", "a"],
)
def test_a_query_without_slots_stays_byte_for_byte(query: str) -> None:
    assert forwarded(head(f"/v1/models?{query}")).target == f"/v1/models?{query}"


@pytest.mark.parametrize(
    ("sent", "matched"),
    [
        ("/v1/%6dodels", "/v1/models"),
        ("/v1/a%c3%a9", "/v1/a%C3%A9"),
        ("/v1/x/../models", "/v1/models"),
        ("/v1/a//b", "/v1/a//b"),
    ],
)
def test_the_path_that_was_matched_is_the_one_that_is_forwarded(sent: str, matched: str) -> None:
    opening = forwarded(head(f"{sent}?a=%6d"))

    assert opening.target == f"{matched}?a=%6d"
    assert opening.record.path == matched


@pytest.mark.parametrize("name", ["Accept-Encoding", "accept-encoding"])
def test_the_response_is_asked_for_uncompressed(name: str) -> None:
    sent = forwarded(head("/v1/models", (name, "gzip, br"), (name, "zstd")))

    assert values_of(sent, "accept-encoding") == ["identity"]


def test_what_belongs_to_the_connection_ends_here() -> None:
    sent = forwarded(
        head(
            "/v1/models",
            ("Connection", "close, TE, keep-alive"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("X-Mine", "1"),
        )
    )

    assert [name for name, _ in sent.fields] == ["X-Mine", "Accept-Encoding", "authorization"]


def test_te_trailers_stays_on_http2() -> None:
    sent = forwarded(head("/v1/models", ("te", "trailers"), version=HttpVersion.HTTP2))

    assert values_of(sent, "te") == ["trailers"]


def test_a_websocket_handshake_keeps_what_makes_it_one() -> None:
    sent = forwarded(head("/v1/realtime", *WEBSOCKET, ("Accept-Encoding", "gzip")))

    assert sent.is_websocket
    assert wire_fields(sent) == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Version", "13"),
        ("Accept-Encoding", "identity"),
        ("authorization", f"Bearer {CANARY}"),
    ]


def test_a_websocket_that_carries_our_credential_is_not_compressed() -> None:
    offer = ("Sec-WebSocket-Extensions", "permessage-deflate")
    granted = forwarded(head("/v1/realtime", *WEBSOCKET, offer))
    passed = forwarded(head("/x", *WEBSOCKET, offer, host="elsewhere.example"), to("elsewhere.example"))

    assert offer not in granted.fields
    assert offer in passed.fields


@pytest.mark.parametrize("name", ["Content_Length", "OpenAI_Project", "X_Amz_Expected_Bucket_Owner"])
def test_a_field_that_hides_behind_underscores_is_malformed_request(name: str) -> None:
    opening = refused(head("/v1/models", (name, "1")))

    assert opening.refusal.reason is Reason.MALFORMED_REQUEST
    assert opening.closes


@pytest.mark.parametrize("name", ["X-Copy-From", "x-minio-force-delete", "X_Amz_Meta_A", "Destination"])
def test_a_header_that_clients_of_the_service_do_not_send_is_unknown_action(name: str) -> None:
    opening = refused(head("/owned/k", (name, "/secret/a"), ("x-amz-date", "now"), host=S3), to(S3))

    assert opening.refusal.reason is Reason.UNKNOWN_ACTION
    assert f"no grant covers a request with the header `{name.lower()}`." in opening.refusal.message


def test_the_grants_bucket_owner_replaces_the_applications() -> None:
    sent = forwarded(head("/owned/k", ("X-Amz-Expected-Bucket-Owner", "999999999999"), host=S3), to(S3))

    assert values_of(sent, "x-amz-expected-bucket-owner") == ["111122223333"]


def test_a_grant_without_a_bucket_owner_leaves_the_applications() -> None:
    sent = forwarded(head("/shared/k", ("X-Amz-Expected-Bucket-Owner", "999999999999"), host=S3), to(S3))

    assert values_of(sent, "x-amz-expected-bucket-owner") == ["999999999999"]
    assert not values_of(forwarded(head("/shared/k", host=S3), to(S3)), "x-amz-expected-bucket-owner")


def test_a_header_that_a_pin_reads_counts_joined_when_it_was_sent_twice() -> None:
    # `OpenAI-Organization` twice shows nothing that a pin could rely on; the request itself is not changed.
    twice = (("OpenAI-Organization", "org-a"), ("openai-organization", "org-b"))
    sent = forwarded(head("/v1/models", *twice, host="api.openai.com"), to("api.openai.com"))

    assert values_of(sent, "openai-organization") == ["org-a", "org-b"]


# --- passing through ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["elsewhere.example", "cdn-lfs.huggingface.co", "watched.example.com"])
def test_passing_through_changes_nothing_but_what_belongs_to_the_connection(host: str) -> None:
    fields = (
        ("Authorization", f"Bearer {FOREIGN}"),
        ("accept-ENCODING", "gzip"),
        ("Cookie", "token=x;  a"),
        ("X-Key", ""),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
    )
    target = f"/%7e/../a%2Fb//?X-Amz-Signature=0&token={FOREIGN}&&a;b"
    what = head(target, *fields[:2], ("Connection", "close"), *fields[2:], host=host, method="GET")
    sent = forwarded(what, to(host))

    assert sent.fields == fields
    assert sent.target == target
    assert sent.authority == host
    assert not sent.attached
    assert (sent.forms, sent.credential_fields) == (frozenset(), frozenset())


def test_an_observed_host_keeps_the_applications_own_credential_and_says_what_would_be() -> None:
    at = to("watched.example.com")
    kept = forwarded(head("/x", ("Authorization", FOREIGN), host="watched.example.com"), at)
    off = forwarded(head("/x", method="PUT", host="watched.example.com"), at)
    ours = forwarded(head("/x", ("Authorization", PLACEHOLDER), host="watched.example.com"), at)

    assert values_of(kept, "authorization") == [FOREIGN]
    assert (kept.record.reason, kept.record.would) == ("would_attach", "granted")
    assert (off.record.reason, off.record.would) == ("would_refuse", "method_not_granted")
    # Who sends the placeholder would fail without our credential: an observing policy attaches it, too.
    assert values_of(ours, "authorization") == [f"Bearer {CANARY}"]


def test_a_websocket_that_passes_through_stays_one() -> None:
    sent = forwarded(head("/x", *WEBSOCKET, host="elsewhere.example"), to("elsewhere.example"))

    assert sent.is_websocket
    assert ("Connection", "Upgrade") in sent.fields


# --- the record --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ((), False),
        ((("Authorization", f"Bearer {PLACEHOLDER}"),), False),
        ((("Authorization", f"Bearer {FOREIGN}"),), True),
        ((("Authorization", PLACEHOLDER), ("authorization", FOREIGN)), True),
        ((("Authorization", "Bearer"),), False),  # no credential in it
        ((("X-Other", FOREIGN),), False),  # no place where this host reads one
    ],
)
def test_a_credential_of_the_applications_own_is_an_event(
    fields: tuple[tuple[str, str], ...],
    seen: bool,  # noqa: FBT001 - a table
) -> None:
    assert forwarded(head("/v1/models", *fields)).record.static_credential_seen is seen


def test_the_record_of_a_granted_request_names_who_what_and_which_rule() -> None:
    record = forwarded(head("/shared/k?versionId=1", host=S3), to(S3)).record

    assert record.time == NOON
    assert (record.namespace, record.service_account, record.pod_name) == ("ml", "trainer", "train-0")
    assert (record.pod_uid, record.node, record.evidence) == (WHO.pod_uid, WHO.node, "token")
    assert (record.host, record.port, record.method, record.path) == (S3, 443, "GET", "/shared/k")
    assert (record.service, record.action) == ("s3", "s3:GetObjectVersion")
    assert (record.verdict, record.reason, record.would) == ("attach", "granted", "")
    assert (record.policy, record.grant) == ("ml/p", 11)
    assert (record.credential, record.lease_id) == ("ml/aws", "lease-of-aws")
    assert (record.lane, record.capture, record.protocol) == ("mitmproxy", "transparent", "HTTP/1.1")
    assert record.upstream == "203.0.113.7:443"
    assert record.status is None


def test_the_record_of_a_refusal_names_the_reason_and_the_nearest_grant() -> None:
    record = refused(head("/v2?secret=x")).record

    assert (record.verdict, record.reason, record.path) == ("refuse", "path_not_granted", "/v2")
    assert (record.policy, record.grant) == ("ml/p", 0)
    assert (record.credential, record.lease_id) == ("", "")


def test_the_record_of_a_head_that_was_not_judged_says_who_and_where() -> None:
    record = refused(problem_of(malformed("a bare LF"))).record

    assert (record.host, record.pod_name, record.upstream) == (API.name, "train-0", API.upstream)
    assert (record.method, record.path, record.protocol) == ("", "", "")
    assert (record.verdict, record.reason) == ("refuse", "malformed_request")


@pytest.mark.parametrize(
    ("what", "at"),
    [
        (head("/v1", ("Connection", "x")), API),
        (head("/v1", host="other.example"), API),
    ],
)
def test_the_record_of_a_request_that_was_not_judged_has_its_path(what: Head, at: Arrival) -> None:
    record = refused(what, at).record

    assert (record.method, record.path, record.protocol) == ("GET", "/v1", "HTTP/1.1")
    assert (record.verdict, record.policy, record.service) == ("refuse", "", "")


def test_the_record_of_a_pass_through_names_no_rule() -> None:
    record = forwarded(head("/x", host="elsewhere.example"), to("elsewhere.example")).record

    assert (record.verdict, record.reason) == ("pass_through", "ungoverned_host")
    assert (record.policy, record.grant, record.credential, record.service) == ("", None, "", "")


# --- what is printed ---------------------------------------------------------------------------------


def test_nothing_that_is_printed_holds_a_credential() -> None:
    what = head("/v1/x?key=" + FOREIGN, ("Authorization", f"Bearer {FOREIGN}"), host="query.example.com")
    opening = forwarded(what, to("query.example.com"))
    passed = forwarded(replace(what, authority="elsewhere.example"), to("elsewhere.example"))

    for shown in (repr(what), repr(opening), repr(passed), repr(ENDPOINT), str(opening.record.to_record())):
        assert FOREIGN not in shown
        assert CANARY not in shown
        assert TOKEN not in shown
