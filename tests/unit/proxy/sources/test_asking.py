from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.parts import SecretKey
from proxy.core.secret import Secret
from proxy.sources.asking import Asking, files, http, secret_key, token
from proxy.sources.steps import HttpCall, HttpReply, ReadFiles, ReadToken, Reply, StepFailed

CALL = HttpCall("GET", "https://idp.example.com/")
ANSWER = HttpReply(200, {}, b"")
KEY = SecretKey("idp", "client-secret")


def told(asking: Generator[Any, Reply, Any], reply: Reply) -> Any:
    next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send(reply)
    return end.value.value


@pytest.mark.parametrize(
    ("asking", "step"),
    [
        (files("idp", ("a", "b")), ReadFiles("idp", ("a", "b"))),
        (token("sts"), ReadToken("sts")),
        (http(CALL), CALL),
        (secret_key(KEY, "the client's secret"), ReadFiles("idp", ("client-secret",))),
    ],
)
def test_each_asks_for_one_thing(asking: Asking[Any], step: object) -> None:
    assert next(asking) == step


def test_each_gives_what_it_asked_for_or_why_not() -> None:
    assert told(files("idp", ("a",)), {"a": b"x"}) == {"a": b"x"}
    assert told(token("sts"), Secret(b"t")) == Secret(b"t")
    assert told(http(CALL), ANSWER) is ANSWER
    for asking in (files("idp", ("a",)), token("sts"), http(CALL)):
        assert told(asking, StepFailed("no")) == StepFailed("no")


@pytest.mark.parametrize(
    ("asking", "reply", "message"),
    [
        (files("idp", ("a",)), Secret(b"t"), "files were"),
        (files("idp", ("a",)), ANSWER, "files were"),
        (token("sts"), ANSWER, "a token was"),
        (token("sts"), {"a": b"x"}, "a token was"),
        (http(CALL), Secret(b"t"), "an HTTP reply was"),
        (http(CALL), {"a": b"x"}, "an HTTP reply was"),
    ],
)
def test_an_answer_to_another_question_is_a_fault_of_ours(
    asking: Asking[Any], reply: Reply, message: str
) -> None:
    next(asking)
    with pytest.raises(TypeError, match=f"{message} asked for"):
        asking.send(reply)


@pytest.mark.parametrize(
    ("held", "value"),
    [(b"x", b"x"), (b"x\n", b"x"), (b"x\r\n", b"x"), (b"x\n\n", b"x\n"), (b"x\r", b"x\r"), (b" x ", b" x ")],
)
def test_a_key_loses_the_line_break_of_an_editor_and_nothing_else(held: bytes, value: bytes) -> None:
    assert told(secret_key(KEY, "it"), {"client-secret": held}) == Secret(value)


@pytest.mark.parametrize("held", [b"", b"\n", b" \t\r\n"])
def test_an_empty_key_is_told_by_name(held: bytes) -> None:
    assert told(secret_key(KEY, "the client's secret"), {"client-secret": held}) == StepFailed(
        "the client's secret: the key `client-secret` of the secret `idp` is empty"
    )


@pytest.mark.parametrize("reply", [{}, {"client-secret": None}, {"other": b"x"}])
def test_a_missing_key_is_told_by_name(reply: dict[str, bytes | None]) -> None:
    assert told(secret_key(KEY, "the client's secret"), reply) == StepFailed(
        "the client's secret: the secret `idp` is not mounted, or lacks the key `client-secret`"
    )


def test_why_a_secret_cannot_be_read_is_passed_on() -> None:
    assert told(secret_key(KEY, "it"), StepFailed("permission denied")) == StepFailed(
        "it: the secret `idp` cannot be read: permission denied"
    )


@given(st.binary())
def test_fuzz_no_value_stands_in_what_is_told(held: bytes) -> None:
    result = told(secret_key(KEY, "it"), {"client-secret": b"canary" + held})
    assert isinstance(result, Secret)
    assert "canary" not in repr(result)
