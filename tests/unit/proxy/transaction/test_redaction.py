import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from proxy.core.secret import Secret
from proxy.transaction.redaction import (
    MIN_FORM_BYTES,
    Redactor,
    forms_of,
    is_text,
    redact_bytes,
    redact_value,
)

TOKEN = b"hf_" + b"canaryCANARY0123456789"
# Every character that some encoder escapes. It holds `*` and `#`, so it is blotted out with something else.
AWKWARD = b"""c"a\\n/a&r<y>+'=`~!(*)@ %#?:"""
AWKWARD_JSON = json.dumps(AWKWARD.decode())[1:-1]
GO_JSON = AWKWARD_JSON.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
EVENT = b'data: {"choices": [{"delta": {"content": " word"}}]}\n\n'


def forms(*secrets: bytes) -> frozenset[bytes]:
    return forms_of(map(Secret, secrets))


def redacted(data: bytes, *secrets: bytes) -> bytes:
    redactor = Redactor(forms(*secrets))
    return redactor.feed(data) + redactor.finish()


# --- forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [TOKEN, b"eight by", b"~~~???>>>", "pässwörtchen".encode()])
@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"user:"])
@pytest.mark.parametrize("after", [b"", b"\n", b"yz", b"abcd"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_a_secret_is_found_within_a_text_in_base64(
    secret: bytes, before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    encoded = encode(before + secret + after)
    shown = redacted(b'{"auth": "' + encoded + b'"}', secret)
    assert len(shown) == len(encoded) + 12
    # What is left of it are the characters that it shares with its neighbours.
    assert shown.count(b"*") >= len(secret) * 8 // 6 - 1


@pytest.mark.parametrize(
    "written",
    [
        AWKWARD.decode(),
        quote(AWKWARD, safe=""),
        quote(AWKWARD, safe="").lower(),
        quote(AWKWARD),
        quote(AWKWARD).lower(),
        quote(AWKWARD, safe="!'()*"),
        quote_plus(AWKWARD).replace("%2A", "*").replace("~", "%7E"),
        AWKWARD_JSON,
        AWKWARD_JSON.replace("/", "\\/"),
        GO_JSON,
        GO_JSON.replace("=", "\\u003d").replace("'", "\\u0027"),
        "c\\u0022a\\\\n/a\\u0026r\\u003Cy\\u003E\\u002B\\u0027=\\u0060~!(*)@ %#?:",
        html.escape(AWKWARD.decode(), quote=False),
        html.escape(AWKWARD.decode()),
        html.escape(AWKWARD.decode()).replace("&#x27;", "&#39;"),
        quote(b64encode(AWKWARD)),
    ],
)
def test_a_secret_is_found_as_encoders_write_it(written: str) -> None:
    blot = "\x7f" * len(written.rstrip("%3D="))
    shown = redacted(f'{{"key":"{written}","n":1}}'.encode(), AWKWARD).decode()
    assert len(shown) == len(written) + 16
    assert shown.startswith('{"key":"' + blot[:-1])
    assert shown.endswith('","n":1}')


def test_all_secrets_are_looked_for() -> None:
    composed = b64encode(b"api:" + TOKEN)
    shown = redacted(b"%s and %s and eight by eight" % (TOKEN, composed), TOKEN, composed, b"eight by")
    assert shown == b"%s and %s and ******** eight" % (b"*" * len(TOKEN), b"*" * len(composed))


def test_plain_text_has_eight_forms() -> None:
    assert len(forms(TOKEN)) == 8
    assert TOKEN in forms(TOKEN)


@pytest.mark.parametrize(
    "dumped", [bytes.hex, lambda data: data.hex(" "), lambda data: data.hex(" ").upper()]
)
def test_a_dump_in_hexadecimal_shows_nothing(dumped: Callable[[bytes], str]) -> None:
    clean = redact_bytes(dumped(b"token:" + TOKEN + b"\nhost:x").encode(), forms(TOKEN)).decode()

    assert dumped(TOKEN) not in clean
    assert clean.startswith(dumped(b"token:"))
    assert clean.endswith(dumped(b"host:x"))


@pytest.mark.parametrize("secret", [b"", b"admin", b"a" * 5])
def test_what_is_short_is_not_looked_for(secret: bytes) -> None:
    assert forms(secret) == frozenset()


def test_the_shortest_form_has_eight_bytes() -> None:
    # Seven bytes are nine or more characters of base64, which are told from innocent text.
    assert {len(form) for form in forms(b"seven77")} == {8, 9}
    assert min(len(form) for form in forms(b"eight888")) == MIN_FORM_BYTES == 8


def test_no_form_has_a_control_character() -> None:
    for secret in (b"two\nlines of it", b"carriage\rreturn", b"nul\0nul\0nul", b"del\x7fdelete"):
        assert all(min(form) >= 0x20 and 0x7F not in form for form in forms(secret))
        assert forms(secret)  # in base64 it can still be found


def test_no_secret_no_forms() -> None:
    assert forms_of([]) == frozenset()
    assert Redactor(frozenset()).feed(TOKEN) == TOKEN


# --- streams -----------------------------------------------------------------------------------------


def test_what_is_put_in_its_place_has_the_same_length() -> None:
    assert redacted(b'{"key": "' + TOKEN + b'"}', TOKEN) == b'{"key": "' + b"*" * len(TOKEN) + b'"}'


def test_a_secret_is_found_across_pieces() -> None:
    redactor = Redactor(forms(TOKEN))
    pieces = [redactor.feed(bytes([byte])) for byte in b"<" + TOKEN + b">\n"]
    assert b"".join(pieces) == b"<" + b"*" * len(TOKEN) + b">\n"
    assert (redactor.finish(), redactor.hits) == (b"", 1)


@pytest.mark.parametrize(("size", "held"), [(20, 128), (200, 512), (2000, 4096), (9000, 32_768)])
def test_as_much_is_held_back_for_every_secret_of_about_a_size(size: int, held: int) -> None:
    redactor = Redactor(frozenset({b"k" * size}))
    assert redactor.feed(b"x" * 100_000) == b"x" * (100_000 - held)
    assert redactor.feed(b"yz") == b"xx"


def test_a_form_that_is_longer_than_any_that_is_placed_is_found_too() -> None:
    redactor = Redactor(frozenset({b"k" * 40_000}))
    assert redactor.feed(b"k" * 39_999) == b""
    assert redactor.feed(b"k") + redactor.finish() == b"*" * 40_000


def test_nothing_before_a_line_break_is_held_back() -> None:
    redactor = Redactor(forms(TOKEN))
    assert redactor.feed(b"hf_canary\nhf_can") == b"hf_canary\n"
    assert redactor.feed(b"al\n") == b"hf_canal\n"


@pytest.mark.parametrize("text", [TOKEN[:9], TOKEN[:-1], b"innocent", b""])
def test_what_is_held_back_does_not_tell_how_near_a_text_comes(text: bytes) -> None:
    filler = b"." * (300 - len(text))
    assert len(Redactor(forms(TOKEN)).feed(filler + text)) == 300 - 128


def test_an_event_is_never_held_back() -> None:
    redactor = Redactor(forms(b"\ndata: \n\n" + TOKEN, TOKEN))
    for _ in range(3):
        assert redactor.feed(EVENT) == EVENT


def test_overlapping_forms_are_blotted_out_together() -> None:
    assert redacted(b"-abcdefghijklmnop-", b"abcdefgh", b"efghijkl", b"jklmnop!") == b"-************mnop-"


def test_what_was_found_stays_blotted_out_where_another_form_begins_in_it() -> None:
    redactor = Redactor(frozenset({b"abcdefgh", b"ghijklmn"}))
    assert redactor.feed(b"abcdefgh") + redactor.feed(b"ijklmo") + redactor.finish() == b"********ijklmo"
    assert redactor.hits == 1


def test_a_form_within_another_is_blotted_out_where_the_other_does_not_come_true() -> None:
    redactor = Redactor(frozenset({b"<abcdefgh>", b"abcdefgh"}))
    assert redactor.feed(b"<abcdefgh") + redactor.feed(b"!") + redactor.finish() == b"<********!"
    assert redactor.hits == 1


def test_every_occurrence_counts_once() -> None:
    redactor = Redactor(forms(b"aaaaaaaa"))
    assert redactor.feed(b"aaaaaaaaa") + redactor.feed(b"a") + redactor.finish() == b"*" * 10
    assert redactor.hits == 3


def test_a_secret_of_stars_is_blotted_out_with_something_else() -> None:
    assert redacted(b"<********>", b"********") == b"<########>"
    assert redacted(b"<****####>", b"****####") == b"<\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f>"


def test_after_its_end_a_stream_holds_nothing() -> None:
    redactor = Redactor(forms(TOKEN))
    redactor.feed(TOKEN[:-1])
    assert redactor.finish() == TOKEN[:-1]
    redactor.feed(TOKEN[-1:])
    assert redactor.finish() == TOKEN[-1:]


def test_a_redactor_shows_no_form() -> None:
    redactor = Redactor(forms(TOKEN))
    redactor.feed(TOKEN + TOKEN[:5])
    assert repr(redactor) == "<Redactor of 8 forms, 1 hits>"


# --- single values -----------------------------------------------------------------------------------


def test_a_header_value_is_redacted_as_a_whole() -> None:
    found = forms(TOKEN)
    assert redact_value("Fri, 01 Jan 2027", found) == "Fri, 01 Jan 2027"
    assert (
        redact_value(f"key={TOKEN.decode()}; {TOKEN[:9].decode()}", found)
        == "key=" + "*" * 25 + "; hf_canary"
    )
    assert redact_value("", found) == ""
    assert redact_value(TOKEN.decode(), frozenset()) == TOKEN.decode()


def test_header_values_are_latin_1() -> None:
    password = "pässwörtchen".encode()
    assert redact_value("é " + password.decode("latin-1"), forms(password)) == "é " + "*" * len(password)
    assert redact_value("no wire has … this", forms(password)) == "no wire has … this"


# --- which answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        *[None, "", "text/plain", "text/event-stream; charset=utf-8", "Text/HTML", "application/json"],
        *["application/json;charset=utf-8", " application/problem+json", "application/vnd.git-lfs+json"],
        *["application/xml", "image/svg+xml", "application/x-www-form-urlencoded", "application/x-ndjson"],
        *["application/javascript", "application/graphql-response+json", "application/yaml", "message/http"],
        *["multipart/mixed; boundary=x", "multipart/form-data", "json", "application/zip, text/plain"],
    ],
)
def test_texts_are_looked_through(content_type: str | None) -> None:
    assert is_text(content_type, None)
    assert is_text(content_type, "")
    assert is_text(content_type, "Identity")
    assert is_text(content_type, "identity, identity")


@pytest.mark.parametrize(
    "content_type",
    [
        *["application/octet-stream", "binary/octet-stream", "image/png", "video/mp4", "application/zip"],
        *["application/grpc", "application/grpc+json", "application/grpc-web+proto", "application/jsonp/x"],
        *["application/vnd.amazon.eventstream", "multipart/byteranges; boundary=x", "application/x-tar"],
    ],
)
def test_binary_types_are_passed_on(content_type: str) -> None:
    assert not is_text(content_type, None)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "identity, gzip", "aws-chunked"])
def test_what_is_compressed_is_passed_on(coding: str) -> None:
    assert not is_text("application/json", coding)
