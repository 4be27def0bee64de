import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.secret import Secret
from proxy.leasing.scrubbing import LEAST_BYTES, scrubbed
from proxy.sources.answers import MAX_SHOWN, shown

VALUE = b"s3cr+t/ and more?"
Form = Callable[[bytes], str]
SAID = "invalid_client: %s is not it"
MARK = "(removed)"


def segment(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def token() -> str:
    return ".".join([segment('{"alg":"none"}'), segment('{"sub":"system:serviceaccount:ml:a"}'), "c2ln"])


@pytest.mark.parametrize(
    "form",
    [
        VALUE.decode(),
        quote_plus(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE).replace("%2B", "%2b").replace("%2F", "%2f").replace("%3F", "%3f"),
        urlencode({"client_secret": VALUE}).partition("=")[2],
        b64encode(VALUE).decode(),
        urlsafe_b64encode(VALUE).decode(),
        b64encode(VALUE).decode().rstrip("="),
    ],
)
def test_a_secret_is_removed_in_every_form_in_which_it_was_sent(form: str) -> None:
    said = scrubbed(SAID % form, [Secret(VALUE)])
    assert said.removesuffix(" is not it").rstrip("=") == f"invalid_client: {MARK}"


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "client-0123"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_a_secret_is_removed_with_what_was_encoded_together_with_it(user: str, after: str) -> None:
    whole = b64encode(user.encode() + b":" + VALUE + after.encode()).decode()
    said = scrubbed(f"Basic {whole}", [Secret(VALUE)])
    assert said.rstrip("=") == f"Basic {MARK}"


def test_of_secrets_that_overlap_no_end_is_left() -> None:
    first, second = Secret(b"abcdefgh-ijkl"), Secret(b"gh-ijkl-mnopq")
    for secrets in ([first, second], [second, first]):
        assert scrubbed("it was abcdefgh-ijkl-mnopq, sir", secrets) == f"it was {MARK}, sir"


@pytest.mark.parametrize("scheme", [b"Bearer ", b"Basic ", b"token "])
def test_a_header_is_known_without_its_scheme(scheme: bytes) -> None:
    assert scrubbed(SAID % "opaque-0123", [Secret(scheme + b"opaque-0123")]) == SAID % MARK
    assert scrubbed("a bearer token", [Secret(b"Bearer ab")]) == "a bearer token"


def test_a_secret_within_another_is_removed_as_one() -> None:
    secrets = [Secret(b"password"), Secret(b"my-password-1")]
    assert scrubbed("my-password-1 password", secrets) == f"{MARK} {MARK}"
    assert scrubbed("passwordpassword", secrets) == MARK * 2


def test_every_place_is_found() -> None:
    assert scrubbed("secret secret-secret", [Secret(b"secret")]) == f"{MARK} {MARK}-{MARK}"
    assert scrubbed("abababababab", [Secret(b"ababab")]) == MARK


@pytest.mark.parametrize(
    "value", ["grüße-aus-ulm".encode(), "grüße-aus-ulm".encode("latin-1"), "密码".encode()]
)
def test_letters_are_found_as_utf_8_and_as_latin_1(value: bytes) -> None:
    for text in {value.decode("latin-1"), value.decode("utf-8", "replace")}:
        assert scrubbed(SAID % text, [Secret(value)]) == SAID % MARK


def test_a_secret_of_several_lines_is_found_in_the_line_that_is_shown() -> None:
    value = b"first line\n  second line\n"
    assert scrubbed(shown(SAID % value.decode()), [Secret(value)]) == SAID % MARK


def test_a_secret_that_was_cut_with_the_message_leaves_no_half_of_it() -> None:
    value = b"0123456789" * 10
    said = shown("x" * (MAX_SHOWN - 50) + " " + value.decode())
    assert said.endswith("789012345678…")
    assert scrubbed(said, [Secret(value)]) == "x" * (MAX_SHOWN - 50) + f" {MARK}…"


def test_short_secrets_are_words_and_stay() -> None:
    assert scrubbed("admin of the realm", [Secret(b"admin"), Secret(b"")]) == "admin of the realm"
    assert len(b"admin") + 1 == LEAST_BYTES


def test_without_secrets_and_tokens_a_message_is_itself() -> None:
    for message in ("", "the vault at https://vault-server.vault-system.svc.cluster.local:8200 is sealed"):
        assert scrubbed(message, []) == message


@pytest.mark.parametrize(
    "host",
    [
        *["accounts-google.something.example-company.com", "login.microsoftonline.example"],
        *["oauth2-provider.identity-platform.namespace.svc", "eyewitness-news.broadcasting.example"],
    ],
)
def test_host_names_are_no_tokens(host: str) -> None:
    assert scrubbed(f"{host} is down", []) == f"{host} is down"


def test_a_token_is_removed_whosesoever_it_is() -> None:
    whole = token()
    assert scrubbed(f"the token {whole} has expired", []) == f"the token {MARK} has expired"
    assert scrubbed(f"assertion%3D{whole}&x=1", []) == f"assertion%3D{MARK}&x=1"
    assert scrubbed(f'"{whole}"', []) == f'"{MARK}"'
    assert scrubbed(f"{whole}.more.parts", []) == MARK, "as encrypted ones have"


def test_a_token_is_removed_wherever_it_was_cut() -> None:
    whole = token()
    for length in range(12, len(whole)):
        assert scrubbed(f"bad token {whole[:length]}…", []) == f"bad token {MARK}…"


@pytest.mark.parametrize(
    "header", ['{"alg":"RS256"}', '{ "alg":"RS256"}', '{\n"alg":"RS256"}', '{\r\n "alg":1}']
)
def test_however_its_header_is_written(header: str) -> None:
    assert scrubbed(f"{segment(header)}.cGF5bG9hZA.c2ln", []) == MARK


# A secret that holds a part of `(removed)` may of course stand in that.
secrets = st.binary(min_size=LEAST_BYTES, max_size=40).filter(lambda value: not set(value) & set(b"()removd"))
around = st.text(max_size=20)


@given(around, st.lists(secrets, min_size=1, max_size=3), around, st.integers(0, 2), st.binary(max_size=4))
def test_fuzz_no_secret_survives(before: str, values: list[bytes], after: str, pad: int, more: bytes) -> None:
    forms: list[Form] = [
        lambda value: value.decode("latin-1"),
        lambda value: value.decode("utf-8", "replace"),
        quote_plus,
        lambda value: quote(value, safe=""),
        lambda value: b64encode(b"x" * pad + value + more).decode(),
        lambda value: urlsafe_b64encode(b"x" * pad + value + more).decode(),
    ]
    message = before + after.join(form(value) for form in forms for value in values) + after
    said = scrubbed(message, [Secret(value) for value in values])
    for value in values:
        for form in forms[:4]:
            assert form(value) not in said
        assert b64encode(value).decode().rstrip("=")[:-1] not in said


@given(st.text(max_size=200), st.lists(st.binary(max_size=20), max_size=5))
def test_fuzz_nothing_raises_and_nothing_but_marks_is_added(message: str, values: list[bytes]) -> None:
    left = scrubbed(message, [Secret(value) for value in values])
    at = 0
    for piece in left.split(MARK):
        at = message.find(piece, at)
        assert at >= 0
        at += len(piece)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        (b'qu"oted\\secret', json.dumps('qu"oted\\secret')),
        (b"<amper&sand>secret", escape("<amper&sand>secret")),
        (b"as bytes are shown", b"as bytes are shown".hex()),
    ],
    ids=["json", "html", "hex"],
)
def test_a_secret_is_found_as_servers_escape_it(value: bytes, quoted: str) -> None:
    said = scrubbed(f"the assertion {quoted} is wrong", [Secret(value)])

    assert MARK in said
    assert quoted.strip('"') not in said
    assert said.endswith(" is wrong")
