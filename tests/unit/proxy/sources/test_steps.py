from datetime import UTC, datetime

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, ReadFiles, StepFailed


def test_steps_and_outcomes_are_values() -> None:
    assert ReadFiles("hf", ("token",)) == ReadFiles("hf", ("token",))
    assert {ReadFiles("hf", ("token",)), ReadFiles("hf", ("token",))} == {ReadFiles("hf", ("token",))}
    assert StepFailed("no") == StepFailed("no")
    assert Failed("no") == Failed("no") != Failed("never")


def test_what_was_acquired_has_no_text() -> None:
    acquired = Acquired({Part.TOKEN: Secret(b"canary")}, datetime(2026, 1, 1, tzinfo=UTC))
    assert "canary" not in repr(acquired)
    assert acquired == Acquired({Part.TOKEN: Secret(b"canary")}, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_source_need_not_say_when_its_credential_ends() -> None:
    assert Acquired({}).expires is None


def test_neither_a_call_nor_its_reply_shows_what_is_secret() -> None:
    call = HttpCall("POST", "https://idp.example", (("authorization", Secret(b"canary")),), Secret(b"canary"))
    assert "canary" not in repr(call)
    assert "canary" not in repr(HttpReply(200, {"content-type": "text/plain"}, b"canary"))


def test_what_renews_and_revokes_has_no_text_either() -> None:
    assert "canary" not in repr(Acquired({}, handle={"lease": Secret(b"canary")}, renewable=True))
    assert (Acquired({}).handle, Acquired({}).renewable) == ({}, False)
    assert Failed("no").retry_after is None
