import re
from base64 import b64decode, b64encode
from urllib.parse import parse_qs, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attach.placing import MAX_CREDENTIAL_BYTES, Parts, Placement, Unplaceable, place
from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
    needed_parts,
)
from proxy.core.parts import Part
from proxy.core.secret import Secret

PAIR = Basic()
SCHEMES: list[AttachScheme] = [
    Bearer(),
    Basic("api"),
    PAIR,
    Header("X-Api-Key"),
    Header("Authorization", "Token "),
    QueryParameter("key"),
]


def token(value: bytes) -> Parts:
    return {Part.TOKEN: Secret(value)}


def pair(user: bytes, password: bytes) -> Parts:
    return {Part.USERNAME: Secret(user), Part.PASSWORD: Secret(password)}


def placed(scheme: AttachScheme, parts: Parts) -> Placement:
    placement = place(scheme, parts)
    assert isinstance(placement, Placement)
    return placement


def why(scheme: AttachScheme, parts: Parts) -> str:
    placement = place(scheme, parts)
    assert isinstance(placement, Unplaceable)
    return placement.why


def revealed(pairs: tuple[tuple[str, Secret], ...]) -> list[tuple[str, bytes]]:
    return [(name, secret.reveal()) for name, secret in pairs]


@pytest.mark.parametrize(
    ("scheme", "header", "value"),
    [
        (Bearer(), "authorization", b"Bearer t0ken,/+="),
        (Header("X-Api-Key"), "x-api-key", b"t0ken,/+="),
        (Header("Authorization", "Token "), "authorization", b"Token t0ken,/+="),
    ],
)
def test_a_token_goes_into_one_header(scheme: AttachScheme, header: str, value: bytes) -> None:
    placement = placed(scheme, token(b"t0ken,/+="))
    assert revealed(placement.headers) == [(header, value)]
    assert placement.query == ()
    assert [secret.reveal() for secret in placement.secrets] == [b"t0ken,/+="]


def test_a_token_in_the_query_is_percent_encoded() -> None:
    placement = placed(QueryParameter("key"), token(b"a&b=c+d/e%?#~"))
    assert revealed(placement.query) == [("key", b"a%26b%3Dc%2Bd%2Fe%25%3F%23~")]
    assert placement.headers == ()
    # What a response would echo is the value, or its encoding, which redaction derives from it.
    assert [secret.reveal() for secret in placement.secrets] == [b"a&b=c+d/e%?#~"]


@pytest.mark.parametrize(
    ("scheme", "parts", "composed"),
    [
        (Basic("api"), token(b"t0ken"), b"api:t0ken"),
        (Basic(""), token(b"t0ken"), b":t0ken"),
        (Basic("api"), token(b"with a space: and a colon"), b"api:with a space: and a colon"),
        (PAIR, pair(b"ada", b"pa:ss word"), b"ada:pa:ss word"),
        (PAIR, pair("zoë".encode(), "pässword".encode()), "zoë:pässword".encode()),  # RFC 7617 §2.1
    ],
)
def test_basic_is_user_and_password_in_base64(scheme: AttachScheme, parts: Parts, composed: bytes) -> None:
    placement = placed(scheme, parts)
    ((name, value),) = revealed(placement.headers)
    assert name == "authorization"
    assert b64decode(value.removeprefix(b"Basic ")) == composed
    assert placement.query == ()


def test_of_a_pair_the_password_and_what_is_sent_are_secret_and_the_user_name_is_not() -> None:
    placement = placed(PAIR, pair(b"ada", b"pa55word"))
    assert [secret.reveal() for secret in placement.secrets] == [b"pa55word", b64encode(b"ada:pa55word")]


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "is empty"),
        (b"canary\n", "ends with a line break; write the secret without one"),
        (b"canary\r\n", "ends with a line break; write the secret without one"),
        (b"canary\r", "ends with a line break; write the secret without one"),
        (b"can\nary", "holds a line break; write one value into the secret, not a file of several lines"),
        (b"can\rary", "holds a line break; write one value into the secret, not a file of several lines"),
        (b"c" * (MAX_CREDENTIAL_BYTES + 1), "is longer than 16384 bytes, which no server takes"),
    ],
)
def test_what_no_request_can_carry_is_told_by_part_and_problem(
    scheme: AttachScheme, value: bytes, problem: str
) -> None:
    for part in needed_parts(scheme):
        good = {other: Secret(b"fine") for other in needed_parts(scheme)}
        name = {Part.USERNAME: "user name"}.get(part, part.value)
        assert why(scheme, {**good, part: Secret(value)}) == f"the {name} {problem}"


@pytest.mark.parametrize("scheme", [Bearer(), Header("X-Api-Key"), QueryParameter("key")], ids=repr)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b" canary", "holds a space; write the value alone, without a word before it or a space around it"),
        (b"Bearer canary", "holds a space; write the value alone, "),
        (b"can\tary", "holds bytes other than visible ASCII, which the service could not read"),
        (b"can\x00ary", "holds bytes other than visible ASCII"),
        (b"can\x7fary", "holds bytes other than visible ASCII"),
        ("cänary".encode(), "holds bytes other than visible ASCII"),
        ("canary".encode("utf-16"), "holds bytes other than visible ASCII"),
    ],
)
def test_a_header_or_parameter_takes_visible_ascii_only(
    scheme: AttachScheme, value: bytes, problem: str
) -> None:
    assert why(scheme, token(value)).startswith(f"the token {problem}")


@pytest.mark.parametrize(
    ("scheme", "parts", "sentence"),
    [
        (PAIR, pair(b"a:b", b"pw"), "the user name holds a colon"),
        (PAIR, pair(b"a\x07b", b"pw"), "the user name holds a control character"),
        (PAIR, pair(b"a", b"p\x00w"), "the password holds a control character"),
        (PAIR, pair(b"\xff", b"pw"), "the user name is not UTF-8"),
        (PAIR, pair(b"a", b"\xff"), "the password is not UTF-8"),
        (Basic("a:b"), token(b"pw"), "the fixed user name holds a colon"),
        (Basic("a\x07"), token(b"pw"), "the fixed user name holds a control character"),
        (Basic("\ud800"), token(b"pw"), "the fixed user name is not UTF-8"),
        (Basic("a"), token(b"p\x00w"), "the token holds a control character"),
    ],
)
def test_basic_takes_what_rfc_7617_allows(scheme: AttachScheme, parts: Parts, sentence: str) -> None:
    assert why(scheme, parts).startswith(sentence)


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_a_credential_without_the_part_that_is_needed_goes_nowhere(scheme: AttachScheme) -> None:
    for part in needed_parts(scheme):
        rest = {other: Secret(b"fine") for other in Part if other is not part}
        assert why(scheme, rest).startswith("the credential has no ")


def test_a_signature_is_nothing_that_is_put_onto_a_request_by_itself() -> None:
    parts = {part: Secret(b"fine") for part in Part}
    assert why(SigV4(), parts).startswith("a signature is made over the whole request")


def test_a_registrys_token_is_a_user_name_and_a_password() -> None:
    placement = placed(EcrToken(), pair(b"AWS", b"t0ken"))
    assert revealed(placement.headers) == [("authorization", b"Basic " + b64encode(b"AWS:t0ken"))]
    assert [secret.reveal() for secret in placement.secrets] == [b"t0ken", b64encode(b"AWS:t0ken")]


def test_the_longest_credential_is_placed() -> None:
    longest = b"c" * MAX_CREDENTIAL_BYTES
    assert revealed(placed(Header("key"), token(longest)).headers) == [("key", longest)]


def test_a_placement_shows_nothing_of_what_it_holds() -> None:
    for scheme in SCHEMES:
        shown = repr(placed(scheme, {part: Secret(b"canary-canary") for part in Part}))
        assert "canary" not in shown
        assert b64encode(b"canary-canary").decode() not in shown


@given(
    st.sampled_from([*SCHEMES, SigV4()]),
    st.dictionaries(st.sampled_from(Part), st.one_of(st.binary(max_size=40), st.from_regex(rb"[!-~]{1,40}"))),
)
def test_whatever_is_placed_can_stand_on_the_wire_and_whatever_is_not_is_not_shown(
    scheme: AttachScheme, values: dict[Part, bytes]
) -> None:
    placement = place(scheme, {part: Secret(value) for part, value in values.items()})
    if isinstance(placement, Unplaceable):
        assert placement.why.isascii()
        assert not any(len(v) > 6 and v.decode("latin-1") in placement.why for v in values.values())
        return
    for name, value in revealed(placement.headers):
        assert name == name.lower()
        assert re.fullmatch(rb"[!-~]+( [!-~]+)?", value)
    for name, value in revealed(placement.query):
        assert re.fullmatch(rb"[0-9A-Za-z._~%-]+", value)
        assert unquote_to_bytes(value) == values[Part.TOKEN]
        assert parse_qs(f"{name}={value.decode()}") == {name: [values[Part.TOKEN].decode()]}
    assert len(placement.headers) + len(placement.query) == 1
    assert all(placement.secrets)
