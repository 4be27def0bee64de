import pytest

from proxy.wire.fields import MAX_FIELDS, MAX_HEAD_BYTES
from proxy.wire.h2_request import FIELD_OVERHEAD, FORBIDDEN_TRAILERS, h2_request_fault, h2_trailers_fault
from proxy.wire.outcomes import BadHead, HeadFault
from tests.wire_samples import GRPC, Fields, changed

HOST_ONLY: Fields = [*changed(GRPC, authority=None), (b"host", b"pubsub.googleapis.com")]


@pytest.mark.parametrize(
    "fields",
    [
        GRPC,
        HOST_ONLY,
        [*GRPC, (b"host", b"pubsub.googleapis.com")],
        [*GRPC, (b"host", b"PUBSUB.googleapis.com:443")],
        [*changed(GRPC, authority=b"pubsub.googleapis.com:443"), (b"host", b"pubsub.googleapis.com")],
        [*changed(GRPC, authority=b"a.example:8443"), (b"host", b"A.example:8443")],
        [*reversed(GRPC[:4]), *GRPC[4:]],
        [*GRPC, (b"content-length", b"17")],
        [*GRPC[:5], (b"te", b"Trailers")],
        changed(GRPC, method=b"OPTIONS", path=b"*"),
        changed(GRPC, method=b"OPTIONS", path=b"/"),
        changed(GRPC, path=b"/a/../b?c={d}|e"),
        changed(GRPC, method=b"patch"),
        GRPC[:4],
    ],
)
def test_a_good_request_has_no_fault(fields: Fields) -> None:
    assert h2_request_fault(fields) is None


SLASH = "`:path` does not start with a slash (RFC 9113 §8.3.1)"
BAD_AUTHORITY = "`:authority` or `host` is not a host with an optional port (RFC 9113 §8.3.1)"
DIFFERS = "`host` differs from `:authority` (RFC 9113 §8.3.1)"
METHOD = "`:method` is not a token of at most 32 characters (RFC 9110 §9.1)"
BAD_LENGTH = "`content-length` is not a number of bytes (RFC 9110 §8.6)"
TUNNEL = "CONNECT opens a tunnel, which is not served over HTTP/2 (RFC 9113 §8.5)"


def of_connections(name: str) -> str:
    return f"`{name}` is a field of HTTP/1 connections (RFC 9113 §8.2.2)"


MALFORMED: list[tuple[Fields, str]] = [
    ([], "`:method` is missing (RFC 9113 §8.3.1)"),
    # one field
    ([*GRPC, (b"", b"a")], "a field has no name (RFC 9110 §5.1)"),
    ([(b":", b"a"), *GRPC], "a field has no name (RFC 9110 §5.1)"),
    ([(b"::path", b"a"), *GRPC], "the field name `:path` holds `:` (RFC 9110 §5.1)"),
    ([*GRPC, (b"a b", b"c")], "the field name `a?b` holds a space (RFC 9110 §5.1)"),
    ([*GRPC, (b"a\r\nb", b"c")], "the field name `a??b` holds a bare CR (RFC 9110 §5.1)"),
    ([*GRPC, (b"a:", b"c")], "the field name `a:` holds `:` (RFC 9110 §5.1)"),
    ([*GRPC, (b"a\xc3\xa9", b"c")], "the field name `a??` holds a byte that is not ASCII (RFC 9110 §5.1)"),
    ([*GRPC, (b"X-a", b"b")], "the field name `X-a` is not in lower case (RFC 9113 §8.2.1)"),
    ([(b":Path", b"/"), *GRPC], "the field name `:Path` is not in lower case (RFC 9113 §8.2.1)"),
    ([*GRPC, (b"a", b"b\r\nc: d")], "the value of `a` holds a bare CR (RFC 9110 §5.5)"),
    ([*GRPC, (b"a", b"b\n")], "the value of `a` holds a bare LF (RFC 9110 §5.5)"),
    ([*GRPC, (b"a", b"\0")], "the value of `a` holds a NUL (RFC 9110 §5.5)"),
    ([*GRPC, (b"a", b"\x1f")], "the value of `a` holds the control character 0x1f (RFC 9110 §5.5)"),
    (changed(GRPC, path=b"/\r\na: b"), "the value of `:path` holds a bare CR (RFC 9110 §5.5)"),
    ([*GRPC, (b"a", b" b")], "whitespace around the value of `a` (RFC 9113 §8.2.1)"),
    ([*GRPC, (b"a", b"b\t")], "whitespace around the value of `a` (RFC 9113 §8.2.1)"),
    (changed(GRPC, authority=b" a.example"), "whitespace around the value of `:authority` (RFC 9113 §8.2.1)"),
    ([*GRPC, (b"connection", b"close")], of_connections("connection")),
    ([*GRPC, (b"keep-alive", b"5")], of_connections("keep-alive")),
    ([*GRPC, (b"proxy-connection", b"close")], of_connections("proxy-connection")),
    ([*GRPC, (b"transfer-encoding", b"chunked")], of_connections("transfer-encoding")),
    ([*GRPC, (b"upgrade", b"websocket")], of_connections("upgrade")),
    ([*GRPC, (b"te", b"trailers, gzip")], "`te` is not `trailers` (RFC 9113 §8.2.2)"),
    ([*GRPC, (b"te", b"")], "`te` is not `trailers` (RFC 9113 §8.2.2)"),
    # pseudo-headers
    ([*GRPC, (b":path", b"/")], "`:path` stands after a regular field (RFC 9113 §8.3)"),
    ([(b"a", b"b"), *GRPC], "`:method` stands after a regular field (RFC 9113 §8.3)"),
    ([(b":status", b"200"), *GRPC], "`:status` is no pseudo-header of a request (RFC 9113 §8.3)"),
    ([(b":protocol", b"websocket"), *GRPC], "`:protocol` is no pseudo-header of a request (RFC 9113 §8.3)"),
    ([(b":path", b"/"), *GRPC], "`:path` is there twice (RFC 9113 §8.3)"),
    ([(b":authority", b"pubsub.googleapis.com"), *GRPC], "`:authority` is there twice (RFC 9113 §8.3)"),
    (changed(GRPC, method=None), "`:method` is missing (RFC 9113 §8.3.1)"),
    (changed(GRPC, scheme=None), "`:scheme` is missing (RFC 9113 §8.3.1)"),
    (changed(GRPC, path=None), "`:path` is missing (RFC 9113 §8.3.1)"),
    (changed(GRPC, method=b"CONNECT", scheme=None, path=None), TUNNEL),
    (changed(GRPC, method=b"CONNECT"), TUNNEL),
    (changed(GRPC, method=b""), METHOD),
    (changed(GRPC, method=b"GET /"), METHOD),
    (changed(GRPC, method=b"A" * 33), METHOD),
    (changed(GRPC, scheme=b"http"), "`:scheme` is not https (RFC 9113 §8.3.1)"),
    (changed(GRPC, scheme=b"HTTPS"), "`:scheme` is not https (RFC 9113 §8.3.1)"),
    (changed(GRPC, scheme=b""), "`:scheme` is not https (RFC 9113 §8.3.1)"),
    (changed(GRPC, path=b""), SLASH),
    (changed(GRPC, path=b"a"), SLASH),
    (changed(GRPC, path=b"*"), SLASH),
    (changed(GRPC, path=b"https://b.example/"), SLASH),
    (changed(GRPC, method=b"OPTIONS", path=b"*a"), SLASH),
    (changed(GRPC, path=b"/a b"), "`:path` holds a space (RFC 9113 §8.3.1)"),
    (changed(GRPC, path=b"/ HTTP/1.1"), "`:path` holds a space (RFC 9113 §8.3.1)"),
    (changed(GRPC, path=b"/\xc3\xa9"), "`:path` holds a byte that is not ASCII (RFC 9113 §8.3.1)"),
    (changed(GRPC, path=b"/a#b"), "`:path` has a fragment (RFC 9113 §8.3.1)"),
    # the name
    (changed(GRPC, authority=None), "neither `:authority` nor `host` is there (RFC 9113 §8.3.1)"),
    (changed(GRPC, authority=b""), BAD_AUTHORITY),
    (changed(GRPC, authority=b"user@a.example"), BAD_AUTHORITY),
    (changed(GRPC, authority=b"a.example:0"), BAD_AUTHORITY),
    ([*GRPC, (b"host", b"")], BAD_AUTHORITY),
    ([*GRPC, (b"host", b"a.example/")], BAD_AUTHORITY),
    ([*GRPC, (b"host", b"a.example")], DIFFERS),
    ([*GRPC, (b"host", b"pubsub.googleapis.com.")], DIFFERS),
    ([*GRPC, (b"host", b"pubsub.googleapis.com:80")], DIFFERS),
    ([*HOST_ONLY, (b"host", b"pubsub.googleapis.com")], "several `host` fields (RFC 9110 §7.2)"),
    # the length
    ([*GRPC, *[(b"content-length", b"5")] * 2], "several `content-length` fields (RFC 9110 §8.6)"),
    ([*GRPC, (b"content-length", b"5, 5")], BAD_LENGTH),
    ([*GRPC, (b"content-length", b"")], BAD_LENGTH),
    ([*GRPC, (b"content-length", b"\xb2")], BAD_LENGTH),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "detail"), MALFORMED)
def test_a_malformed_request_is_refused_and_the_detail_says_why(fields: Fields, detail: str) -> None:
    assert h2_request_fault(fields) == BadHead(HeadFault.MALFORMED, detail)


def test_no_detail_shows_a_value() -> None:
    for name in (b":method", b":scheme", b":path", b":authority", b"host", b"content-length", b"te", b"a"):
        for value in (b"sentinel\0", b" sentinel", b"senti nel", b"sentinel"):
            fault = h2_request_fault([*(field for field in GRPC if field[0] != name), (name, value)])
            assert fault is None or "senti" not in fault.detail


def test_fields_are_counted_before_they_are_read() -> None:
    most = [*GRPC, *[(b"a", b"b")] * (MAX_FIELDS - len(GRPC))]

    assert h2_request_fault(most) is None
    assert h2_request_fault([*most, (b"", b"\0")]) == BadHead(HeadFault.TOO_LARGE, "more than 200 fields")


def test_the_size_of_a_list_is_that_of_rfc_9113() -> None:
    taken = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in GRPC)
    value = b"b" * (MAX_HEAD_BYTES - taken - FIELD_OVERHEAD - 1)
    too_large = BadHead(HeadFault.TOO_LARGE, "the field list is larger than 65536 bytes")

    assert h2_request_fault([*GRPC, (b"a", value)]) is None
    assert h2_request_fault([*GRPC, (b"a", value + b"b")]) == too_large


# --- trailers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"grpc-status", b"0"), (b"grpc-message", b"")],
        [(b"x-amz-checksum-crc32", b"AAAAAA=="), (b"x-amz-trailer-signature", b"ab")],
    ],
)
def test_good_trailers_have_no_fault(fields: Fields) -> None:
    assert h2_trailers_fault(fields) is None


@pytest.mark.parametrize(
    ("field", "detail"),
    [
        ((b":path", b"/"), "`:path` in the trailers: a pseudo-header (RFC 9113 §8.1)"),
        ((b":status", b"\0"), "`:status` in the trailers: a pseudo-header (RFC 9113 §8.1)"),
        ((b"host", b"a.example"), "`host` in the trailers (RFC 9110 §6.5.1)"),
        ((b"content-length", b"5"), "`content-length` in the trailers (RFC 9110 §6.5.1)"),
        ((b"authorization", b"Bearer a"), "`authorization` in the trailers (RFC 9110 §6.5.1)"),
        ((b"te", b"trailers"), "`te` in the trailers (RFC 9110 §6.5.1)"),
        ((b"transfer-encoding", b"chunked"), of_connections("transfer-encoding")),
        ((b"Host", b"a.example"), "the field name `Host` is not in lower case (RFC 9113 §8.2.1)"),
        ((b"a", b"b\r\nc: d"), "the value of `a` holds a bare CR (RFC 9110 §5.5)"),
        ((b"a", b"b "), "whitespace around the value of `a` (RFC 9113 §8.2.1)"),
        ((b"", b""), "a field has no name (RFC 9110 §5.1)"),
    ],
)
def test_malformed_trailers_are_refused(field: tuple[bytes, bytes], detail: str) -> None:
    assert h2_trailers_fault([(b"grpc-status", b"0"), field]) == BadHead(HeadFault.MALFORMED, detail)


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_what_is_needed_before_the_body_does_not_come_after_it(name: str) -> None:
    fault = h2_trailers_fault([(name.encode(), b"trailers")])

    assert fault is not None
    assert f"`{name}`" in fault.detail


def test_trailers_have_the_limits_of_a_head() -> None:
    many = h2_trailers_fault([(b"a", b"b")] * (MAX_FIELDS + 1))
    large = h2_trailers_fault([(b"a", b"b" * MAX_HEAD_BYTES)])

    assert many == BadHead(HeadFault.TOO_LARGE, "more than 200 fields")
    assert large == BadHead(HeadFault.TOO_LARGE, "the field list is larger than 65536 bytes")
