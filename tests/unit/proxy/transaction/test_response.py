"""What of an answer reaches the application."""

from base64 import b64encode

import pytest

from proxy.core.structs import replace
from proxy.transaction.opening import Forward
from proxy.transaction.response import (
    CREDENTIAL_FIELDS,
    NOT_FORWARDED,
    ResponseEdits,
    edit_response,
    edit_trailers,
    is_plain,
)
from tests.transaction_world import CANARY, forwarded, head, to

ATTACHED = forwarded(head())
PASSED = forwarded(head(host="elsewhere.example"), to("elsewhere.example"))
HTML = ("Content-Type", "text/html")
MASKED = "*" * len(CANARY)


def names(edits: ResponseEdits) -> list[str]:
    return [name for name, _ in edits.fields]


@pytest.mark.parametrize("name", sorted(CREDENTIAL_FIELDS))
def test_a_field_that_hands_over_a_credential_is_dropped(name: str) -> None:
    edits = edit_response(ATTACHED, 200, [("A", "1"), (name.title(), "x"), (name, "y"), ("B", "2")])

    assert edits.fields == (("A", "1"), ("B", "2"))
    assert edits.dropped == 2


def test_a_field_in_which_the_service_takes_a_credential_is_dropped() -> None:
    # Of a header scheme of its own, and of all that clients of the service use.
    for host, name in (("key.example.com", "X-Key"), ("api.anthropic.com", "x-api-key")):
        sent = forwarded(head(host=host), to(host))
        assert names(edit_response(sent, 200, [(name, "echo"), ("A", "1")])) == ["A"]
        assert names(edit_response(ATTACHED, 200, [(name, "echo"), ("A", "1")])) == [name, "A"]


def test_a_challenge_stays() -> None:
    # Registries' clients ask for a token where it sends them.
    field = ("WWW-Authenticate", 'Bearer realm="https://auth.example/token"')

    assert edit_response(ATTACHED, 401, [field]).fields == (field,)


@pytest.mark.parametrize("forward", [ATTACHED, PASSED], ids=["attached", "passed"])
@pytest.mark.parametrize("name", sorted(NOT_FORWARDED))
def test_offers_of_another_way_in_end_here(name: str, forward: Forward) -> None:
    edits = edit_response(forward, 200, [(name.title(), 'h3=":443"'), ("A", "1")])

    assert edits.fields == (("A", "1"),)
    assert edits.dropped == 0


def test_a_value_that_shows_the_credential_is_blotted_out() -> None:
    basic = b64encode(CANARY.encode()).decode()
    edits = edit_response(
        ATTACHED,
        200,
        [
            ("X-Echo", f"Bearer {CANARY}!"),
            ("Location", f"https://a.example/?t={CANARY}"),
            ("X-Basic", basic),
            ("X-Plain", "Bearer"),
        ],
    )

    shown = dict(edits.fields)
    assert (shown["X-Echo"], shown["Location"]) == (f"Bearer {MASKED}!", f"https://a.example/?t={MASKED}")
    assert basic not in shown["X-Basic"]
    assert shown["X-Plain"] == "Bearer"
    assert edits.redacted == 3


@pytest.mark.parametrize(
    "fields",
    [
        [HTML],
        [("content-TYPE", "application/json; charset=utf-8")],
        [],  # none: clients look for themselves
        # Of two types one is text, and nobody knows which the client takes.
        [HTML, ("Content-Type", "application/octet-stream")],
        [("Content-Type", "application/octet-stream"), HTML],
        [HTML, ("Content-Encoding", "identity")],
    ],
)
def test_a_text_is_fed_through_a_redactor(fields: list[tuple[str, str]]) -> None:
    redactor = edit_response(ATTACHED, 200, fields).redactor

    assert redactor is not None
    body = redactor.feed(f"<{CANARY[:9]}".encode()) + redactor.feed(f"{CANARY[9:]}>".encode())
    assert body + redactor.finish() == f"<{MASKED}>".encode()


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (200, [("Content-Type", "application/octet-stream")]),
        (200, [("Content-Type", "application/grpc")]),
        (200, [HTML, ("Content-Encoding", "gzip")]),
        (200, [HTML, ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")]),
        (101, [HTML]),
        (101, []),
    ],
)
def test_all_else_is_passed_on_as_it_is(status: int, fields: list[tuple[str, str]]) -> None:
    assert edit_response(ATTACHED, status, fields).redactor is None


def test_without_a_form_that_is_long_enough_there_is_nothing_to_look_for() -> None:
    assert edit_response(replace(ATTACHED, forms=frozenset()), 200, [HTML]).redactor is None


def test_where_nothing_was_attached_nothing_is_edited() -> None:
    fields = (("Set-Cookie", "a=b"), ("set-cookie", "c=d"), ("X-Echo", CANARY), HTML)

    assert edit_response(PASSED, 200, fields) == ResponseEdits(fields, None)
    assert edit_trailers(PASSED, fields) == fields


def test_the_handshake_of_a_websocket_is_edited_like_any_head() -> None:
    edits = edit_response(ATTACHED, 101, [("Set-Cookie", "a"), ("X-Echo", CANARY), ("Upgrade", "websocket")])

    assert edits.fields == (("X-Echo", MASKED), ("Upgrade", "websocket"))


def test_fields_may_come_one_at_a_time() -> None:
    # The body's type is looked at after the fields were read once.
    assert edit_response(ATTACHED, 200, iter([HTML])).redactor is not None


@pytest.mark.parametrize("forward", [ATTACHED, PASSED])
@pytest.mark.parametrize(
    "fields",
    [
        (),
        (HTML, ("X-Id", "1")),
        (HTML, ("Set-Cookie", "a=b")),
        (HTML, ("Alt-Svc", "clear")),
        (HTML, ("X-Echo", CANARY)),
        (HTML, ("Content-ENCODING", "gzip")),
    ],
)
def test_names_that_somebody_has_in_lower_case_change_nothing(
    forward: Forward, fields: tuple[tuple[str, str], ...]
) -> None:
    edits = edit_response(forward, 200, fields)
    same = edit_response(forward, 200, fields, [name.lower() for name, _ in fields])

    assert same._replace(redactor=None) == edits._replace(redactor=None)
    assert (same.redactor is None) is (edits.redactor is None)
    # What was not edited is known by being the same tuple: it is passed on in the very bytes that came.
    for one in (edits, same):
        assert (one.fields is fields) is (one.fields == fields)


def test_trailers_are_edited_like_fields() -> None:
    trailers = [("grpc-status", "7"), ("grpc-message", f"bad key {CANARY}"), ("set-cookie", "a=b")]

    assert edit_trailers(ATTACHED, trailers) == (("grpc-status", "7"), ("grpc-message", f"bad key {MASKED}"))


def test_an_answer_is_plain_where_nothing_would_be_done_with_it() -> None:
    plain, lines = ["content-type", "content-length"], [b"Content-Type: text/plain", b"Content-Length: 2"]
    echo = f"X-Echo: {CANARY}".encode()

    assert is_plain(ATTACHED, plain, lines, b"ok")
    assert is_plain(ATTACHED, plain, [*lines, b"X-Long: " + b"x" * 500], b"ok")
    assert not is_plain(ATTACHED, plain, lines, CANARY.encode())
    assert not is_plain(ATTACHED, plain, [*lines, echo], b"ok")
    assert not is_plain(ATTACHED, plain, [*lines, CANARY.encode()], b"ok")
    assert not is_plain(replace(ATTACHED, forms=frozenset({CANARY.encode()})), plain, [echo], b"ok")
    for name in (*CREDENTIAL_FIELDS, *NOT_FORWARDED):
        assert not is_plain(ATTACHED, [*plain, name], lines, b"")
    named = replace(ATTACHED, credential_fields=frozenset({"x-token"}))
    assert not is_plain(named, [*plain, "x-token"], lines, b"")


def test_a_body_that_was_looked_through_is_not_looked_through_again() -> None:
    assert is_plain(ATTACHED, [], [], CANARY.encode(), is_clean=True)
    assert not is_plain(ATTACHED, [], [CANARY.encode()], b"", is_clean=True)
