import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import __version__
from proxy.core.contract import METADATA_ADDRESSES
from proxy.core.secret import Secret
from proxy.edge.outgoing_requests import OutgoingRequest, Place, prepared
from proxy.sources.steps import HttpCall, StepFailed
from tests.canary import Canary

Headers = tuple[tuple[str, str | Secret], ...]


def request(
    url: str, method: str = "GET", headers: Headers = (), body: bytes | None = None
) -> OutgoingRequest:
    result = prepared(HttpCall(method, url, headers, None if body is None else Secret(body)))
    assert isinstance(result, OutgoingRequest), result
    return result


def refusal(url: str = "https://idp.example/x", method: str = "GET", headers: Headers = ()) -> str:
    result = prepared(HttpCall(method, url, headers))
    assert isinstance(result, StepFailed), result
    return result.message


@pytest.mark.parametrize(
    ("url", "place", "target", "host"),
    [
        ("https://IDP.example", Place("idp.example", 443), b"/", b"idp.example"),
        ("https://idp.example:443/a?b", Place("idp.example", 443), b"/a?b", b"idp.example"),
        ("HTTPS://idp.example:8443?b=%20/@:", Place("idp.example", 8443), b"/?b=%20/@:", b"idp.example:8443"),
        ("https://10.0.0.1/jwks", Place("10.0.0.1", 443), b"/jwks", b"10.0.0.1"),
        ("https://[FD00::1]:6443/", Place("fd00::1", 6443), b"/", b"[fd00::1]:6443"),
        ("https://[fd00::1]/", Place("fd00::1", 443), b"/", b"[fd00::1]"),
    ],
)
def test_a_url_is_a_place_and_a_target(url: str, place: Place, target: bytes, host: bytes) -> None:
    got = request(url)

    assert (got.place, got.target) == (place, target)
    assert got.headers[0] == (b"Host", host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "idp.example",
        "ftp://idp.example/",
        "https://",
        "https:///path",
        "https://idp.example:0/",
        "https://idp.example:65536/",
        "https://idp.example:x/",
        "https://idp.example/a b",
        "https://idp.example/a\r\nb",
        "https://idp.example/é",
        "https://idp.example#part",
        "https://idé.example/",
        "https://*.example/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://[::1/",
        "https://[fe80::1%eth0]/",
        "https://a:b:c/",
    ],
)
def test_what_is_no_url_is_not_asked(url: str) -> None:
    assert refusal(url) == "the URL of a source is not sound: write it as `https://host/path`, in ASCII"


def test_plain_http_is_never_spoken() -> None:
    assert refusal("http://idp.example/x").startswith("idp.example is named with plain http")


@pytest.mark.parametrize("user", ["hunter:2", "hunter", "hunter.example\\", "hunter@hunter", ""])
def test_a_user_name_in_a_url_is_refused_and_not_shown(user: str) -> None:
    message = refusal(f"https://{user}@idp.example/x")

    assert message.startswith("the URL of idp.example holds a user name")
    assert "hunter" not in message


@pytest.mark.parametrize("address", [*METADATA_ADDRESSES, "::ffff:169.254.169.254", "0.0.0.0"])
def test_a_metadata_service_is_no_source(address: str) -> None:
    host = f"[{address}]" if ":" in address else address

    assert "is a metadata service, which no source is" in refusal(f"https://{host}/latest/")


@pytest.mark.parametrize("method", ["", "get", "GE T", "CONNECT", "GET\r\n", "G" * 17])
def test_a_method_that_is_none_is_not_sent(method: str) -> None:
    assert "method that is none" in refusal(method=method)


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Expect",
        "Proxy-Authorization",
    ],
)
def test_headers_that_frame_the_message_are_not_for_sources_to_write(name: str) -> None:
    message = refusal(headers=((name, "x"),))

    assert message.startswith(f"the request to idp.example was not sent: the header `{name}` is podkey's own")


@pytest.mark.parametrize(
    "value",
    ["hunter\r\nX: y", "hunter\n", "hunter\rb", "hunter\0b", "hunter\x7f", " hunter", "hunter ", "\thunter"],
)
def test_a_value_that_would_be_two_lines_is_not_sent_and_not_shown(value: str) -> None:
    for given_value in (value, Secret(value.encode())):
        message = refusal(headers=(("Authorization", given_value),))
        assert "the value of the header `Authorization` holds a line break" in message
        assert "hunter" not in message


def test_text_that_is_not_ascii_is_not_guessed_at() -> None:
    assert "the value of the header `X`" in refusal(headers=(("X", "é"),))
    assert (b"X", "é".encode()) in request(
        "https://idp.example/", headers=(("X", Secret("é".encode())),)
    ).headers


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\nB", "é"])
def test_a_name_that_is_none_is_not_sent_and_not_shown(name: str) -> None:
    message = refusal(headers=((name, "x"),))

    assert message.endswith("the name of a header holds what no header name may")


def test_ours_are_added_and_the_sources_own_win() -> None:
    assert request("https://idp.example/").headers == (
        (b"Host", b"idp.example"),
        (b"User-Agent", f"podkey/{__version__}".encode()),
        (b"Accept-Encoding", b"identity"),
    )
    assert request("https://idp.example/", headers=(("user-agent", "other"), ("X", ""))).headers == (
        (b"Host", b"idp.example"),
        (b"Accept-Encoding", b"identity"),
        (b"user-agent", b"other"),
        (b"X", b""),
    )


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("GET", b"x", b"1"),
        ("POST", None, b"0"),
        ("PUT", b"", b"0"),
        ("POST", b"xy", b"2"),
    ],
)
def test_the_length_is_said_where_there_may_be_a_body(
    method: str, body: bytes | None, length: bytes | None
) -> None:
    got = request("https://idp.example/", method, body=body)

    assert dict(got.headers).get(b"Content-Length") == length
    assert got.body == (body or b"")


def test_only_what_is_safe_may_be_sent_twice() -> None:
    safe = {
        method
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")
        if request("https://a.b/", method).is_safe
    }

    assert safe == {"GET", "HEAD"}


def test_a_request_shows_nothing_of_what_it_carries(canary: Canary) -> None:
    key = canary.secret("key")
    headers: Headers = (("Authorization", Secret(key.encode())),)

    canary.watch(repr(request(f"https://idp.example/{key}", "POST", headers, key.encode())), "repr")


@given(st.text(), st.text(), st.text())
def test_no_text_becomes_a_second_line(url: str, name: str, value: str) -> None:
    result = prepared(HttpCall("GET", f"https://idp.example/{url}", ((name, value),)))

    if isinstance(result, OutgoingRequest):
        parts = [result.target, *(part for header in result.headers for part in header)]
        assert not any(byte in part for part in parts for byte in b"\r\n\0")
        assert b" " not in result.target
