import pytest

from proxy.core.reasons import Reason
from proxy.lanes.fast.asked import Asked, read_asked
from proxy.transaction.head import HeadProblem
from proxy.wire.framing import CHUNKED, NO_BODY, Framing, Length


def asked(*fields: str, method: str = "PUT", version: str = "1.1") -> Asked:
    lines = [f"{method} /v1/x HTTP/{version}", "Host: api.example.com", *fields, "", ""]
    found = read_asked("\r\n".join(lines).encode())
    assert isinstance(found, Asked), found
    return found


@pytest.mark.parametrize(
    ("fields", "framing", "chunked"),
    [
        ((), NO_BODY, False),
        (("Content-Length: 5",), Length(5), False),
        (("Transfer-Encoding: chunked",), CHUNKED, True),
    ],
)
def test_a_head_says_where_its_body_ends(fields: tuple[str, ...], framing: Framing, *, chunked: bool) -> None:
    found = asked(*fields)

    assert (found.framing, found.is_chunked, found.head.method) == (framing, chunked, "PUT")


@pytest.mark.parametrize(
    ("fields", "version", "waits"),
    [
        (("Content-Length: 5", "Expect: 100-continue"), "1.1", True),
        (("Content-Length: 5", "expect: 100-Continue"), "1.1", True),
        (("Transfer-Encoding: chunked", "Expect: 100-continue"), "1.1", True),
        # One of HTTP/1.0 does not wait, whatever it says; who sends no body need not; others expect more.
        (("Content-Length: 5", "Expect: 100-continue"), "1.0", False),
        (("Expect: 100-continue",), "1.1", False),
        (("Content-Length: 5",), "1.1", False),
    ],
)
def test_a_client_waits_where_it_says_so_and_has_a_body(
    fields: tuple[str, ...], version: str, *, waits: bool
) -> None:
    assert asked(*fields, version=version).waits is waits


@pytest.mark.parametrize(
    ("fields", "version", "goes_on"),
    [
        ((), "1.1", True),
        (("Connection: keep-alive",), "1.1", True),
        (("Connection: close",), "1.1", False),
        (("Connection: x, Close",), "1.1", False),
        ((), "1.0", False),
        (("Connection: keep-alive",), "1.0", False),
    ],
)
def test_a_connection_goes_on_unless_it_is_said_to_end(
    fields: tuple[str, ...], version: str, *, goes_on: bool
) -> None:
    assert asked(*fields, version=version).goes_on is goes_on


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_head_that_cannot_be_read_is_a_problem(raw: bytes) -> None:
    found = read_asked(raw)

    assert isinstance(found, HeadProblem)
    assert found.reason is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET https://other.example.com/ HTTP/1.1", Reason.NAME_MISMATCH),
        (b"GET http://api.example.com/ HTTP/1.1", Reason.NAME_MISMATCH),
        (b"CONNECT api.example.com:443 HTTP/1.1", Reason.METHOD_FORBIDDEN),
    ],
)
def test_a_target_that_leads_elsewhere_is_a_problem(line: bytes, reason: Reason) -> None:
    found = read_asked(line + b"\r\nHost: api.example.com\r\n\r\n")

    assert isinstance(found, HeadProblem)
    assert found.reason is reason


def test_of_another_path_all_but_the_head_is_the_same() -> None:
    one, other = (read_asked(f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) for path in "ab")
    assert isinstance(one, Asked)
    assert isinstance(other, Asked)
    assert one.elsewhere(other.head) == other
