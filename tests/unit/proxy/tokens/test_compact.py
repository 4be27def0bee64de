import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.compact import (
    Compact,
    NotCompact,
    from_base64url,
    read_compact,
    signing_input,
    to_base64url,
)
from tests.forged_tokens import part

HEADER = part({"alg": "none"})


def test_a_token_is_read_into_its_parts() -> None:
    token = jwt.encode({"sub": "x"}, "k" * 32, "HS256").encode()

    read = read_compact(token)

    assert isinstance(read, Compact)
    assert read.header == {"alg": "HS256", "typ": "JWT"}
    assert read.payload == b'{"sub":"x"}'
    assert len(read.signature) == 32
    assert read.signed == token.rpartition(b".")[0]


def test_claims_are_not_read_before_the_signature_holds() -> None:
    read = read_compact(HEADER + b"." + part(b"\xff no claims") + b".")

    assert isinstance(read, Compact)
    assert read.payload == b"\xff no claims"


def test_one_line_break_at_the_end_of_the_file_is_forgiven() -> None:
    token = HEADER + b"." + part({}) + b".AAAA"

    assert read_compact(token + b"\n") == read_compact(token)


THREE = "the token does not have three parts with dots between them"
BASE64 = "the token's {} cannot be read as base64url"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (b"", "the token is empty"),
        (b"\n", "the token is empty"),
        (b"abc", THREE),
        (b"a.b", THREE),
        (HEADER + b".e30.AAAA.", THREE),
        (HEADER + b".e30.AAAA.AAAA.AAAA", THREE),
        (b"." * 16_000, THREE),
        (HEADER + b".e30.AAAA\n\n", BASE64.format("signature")),
        (HEADER + b".e30.AAAA\r\n", BASE64.format("signature")),
        (b" " + HEADER + b".e30.AAAA", BASE64.format("header")),
        (HEADER + b".e30=.AAAA", BASE64.format("claims")),
        (HEADER + b".e31.AAAA", BASE64.format("claims")),  # bits that belong to no byte
        (HEADER + b".e30.AA+A", BASE64.format("signature")),
        (HEADER + b".e30.AAAAA", BASE64.format("signature")),
        (HEADER + b".e3\xff.AAAA", BASE64.format("claims")),
        (b"..", "the token's header is not JSON"),
        (part(b"[]") + b"..", "the token's header is not a JSON object"),
        (part(b'{"alg":"ES256","alg":"none"}') + b"..", "the token's header has a member twice"),
        (part(b"\xff") + b"..", "the token's header is not UTF-8"),
    ],
)
def test_another_form_is_refused_with_its_reason(token: bytes, message: str) -> None:
    assert read_compact(token) == NotCompact(message)


def test_what_is_signed_is_compact_json() -> None:
    assert signing_input({"alg": "x"}, {"n": 1, "é": [True]}) == (
        part(b'{"alg":"x"}') + b"." + part(b'{"n":1,"\\u00e9":[true]}')
    )


@given(data=st.binary())
def test_base64url_comes_back(data: bytes) -> None:
    assert from_base64url(to_base64url(data)) == data


@given(text=st.one_of(st.binary(), st.from_regex(rb"\A[A-Za-z0-9_-]{0,9}\Z")))
def test_a_value_has_one_form_as_a_property(text: bytes) -> None:
    data = from_base64url(text)

    assert data is None or to_base64url(data) == text
