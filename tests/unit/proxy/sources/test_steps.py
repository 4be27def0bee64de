from datetime import UTC, datetime

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.steps import Acquired, Failed, ReadFiles, StepFailed


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
