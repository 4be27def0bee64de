import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import leases as module
from proxy.cli.leases import SHOWN_SCOPE, lines
from proxy.cli.terminal import Ink
from proxy.core.contract import CONTROL_SOCKET, STATE_DIR
from proxy.edge.control import ControlError
from tests.command_line import podkey

LEASE = {
    "credential": "ml/openai",
    "kind": "mountedSecret",
    "scope": "",
    "lease": "5b1f0c7a9e42",
    "issued": "2026-03-04T09:29:00+00:00",
    "expires": None,
    "ageSeconds": 2 * 3600 + 12 * 60 + 5,
    "unusedSeconds": 41,
}
SESSION = {
    **LEASE,
    "credential": "ml/datasets",
    "kind": "awsWebIdentity",
    "lease": "9c0e4d21b7aa",
    "scope": '{"Version":"2012-10-17","Statement":[' + "x" * 2000 + "]}",
    "expires": "2026-03-04T12:41:30+00:00",
    "ageSeconds": 90,
    "unusedSeconds": None,
}


class Sidecar:
    """Stands in for the one behind the socket."""

    def __init__(self) -> None:
        self.asked: list[tuple[Path, Mapping[str, Any]]] = []
        self.answer: Mapping[str, Any] = {"leases": [], "failing": []}
        self.trouble: str | None = None

    def __call__(self, path: Path, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((path, request))
        if self.trouble is not None:
            raise ControlError(self.trouble)
        return self.answer


@pytest.fixture(autouse=True)
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Sidecar:
    monkeypatch.delenv("PODKEY_STATE_DIR", raising=False)
    made = Sidecar()
    monkeypatch.setattr(module, "ask", made)
    return made


def shown(*leases: Mapping[str, Any], failing: Mapping[str, str] | None = None) -> list[str]:
    complaints = [{"credential": name, "why": why} for name, why in (failing or {}).items()]
    return list(lines({"leases": leases, "failing": complaints}, Ink(coloured=False)))


# --- what is asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("list",)])
def test_it_lists_unless_it_is_told_to_drop(sidecar: Sidecar, words: tuple[str, ...]) -> None:
    assert podkey("leases", *words) == 0
    assert sidecar.asked == [(Path(STATE_DIR) / CONTROL_SOCKET, {"command": "list"})]


@pytest.mark.parametrize(
    ("words", "credential"), [(("drop", "ml/openai"), "ml/openai"), (("drop", "--all"), None)]
)
def test_it_drops_one_source_or_all(
    sidecar: Sidecar, words: tuple[str, ...], credential: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar.answer = {"dropped": 2}

    assert podkey("leases", *words) == 0

    assert sidecar.asked[0][1] == {"command": "drop", "credential": credential}
    assert capsys.readouterr().out == "2 leases dropped; the next request fetches anew\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "ml/openai"), "`list` takes no name"),
        (("list", "--all"), "`list` takes no name"),
        (("drop",), "name one CredentialSource as NAMESPACE/NAME, or say --all"),
        (("drop", "ml/openai", "--all"), "name one CredentialSource as NAMESPACE/NAME, or say --all"),
        (("drop", "openai"), "`openai` is not NAMESPACE/NAME"),
        (("drop", "a/b/c"), "`a/b/c` is not NAMESPACE/NAME"),
        (("dorp", "ml/openai"), "invalid choice"),
    ],
)
def test_what_cannot_be_meant_is_misuse_and_nobody_is_asked(
    sidecar: Sidecar, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("leases", *words) == 64

    assert message in capsys.readouterr().err
    assert sidecar.asked == []


def test_the_sidecar_is_found_by_its_own_setting_and_the_option_wins(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODKEY_STATE_DIR", "/from/environment")
    podkey("leases")
    podkey("leases", "--state-dir", "/from/option")

    assert [path for path, _ in sidecar.asked] == [
        Path("/from/environment") / CONTROL_SOCKET,
        Path("/from/option") / CONTROL_SOCKET,
    ]


def test_an_empty_variable_counts_as_unset(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODKEY_STATE_DIR", "")
    podkey("leases")

    assert sidecar.asked[0][0] == Path(STATE_DIR) / CONTROL_SOCKET


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_sidecar_that_cannot_be_asked_is_told_and_is_status_1(
    sidecar: Sidecar, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar.trouble = "no sidecar listens at /x: set PODKEY_STATE_DIR as the sidecar has it"

    assert podkey("leases", "--output", output) == 1
    assert capsys.readouterr() == ("", f"podkey: {sidecar.trouble}\n")


def test_what_was_asked_for_cannot_write_to_the_terminal(
    sidecar: Sidecar, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar.trouble = "the policy in force names no CredentialSource a/\x1b[2J"

    podkey("leases", "drop", "a/\x1b[2J")
    assert "\x1b" not in capsys.readouterr().err


def test_without_a_sidecar_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()

    assert podkey("leases", "--state-dir", str(tmp_path)) == 1
    assert f"no sidecar listens at {tmp_path / CONTROL_SOCKET}" in capsys.readouterr().err


# --- what is shown -----------------------------------------------------------------------------------


def test_leases_are_a_table() -> None:
    head, first, second = shown(SESSION, LEASE)

    assert head.split("  ")[0] == "CREDENTIAL"
    columns = [head.index(name) for name in ("KIND", "LEASE", "AGE", "EXPIRES", "LAST USE", "SCOPE")]
    for line, cells in (
        (first, ("awsWebIdentity", "9c0e4d21b7aa", "1m30s", "2026-03-04T12:41:30+00:00", "never", '{"Ver')),
        (second, ("mountedSecret", "5b1f0c7a9e42", "2h12m", "when its files change", "41s ago", "")),
    ):
        assert [line[at:].startswith(cell) for at, cell in zip(columns, cells, strict=True)] == [True] * 6
    assert second == second.rstrip()


@pytest.mark.parametrize(("length", "whole"), [(SHOWN_SCOPE, True), (SHOWN_SCOPE + 1, False), (2048, False)])
def test_a_long_scope_is_cut_and_json_has_it_whole(
    sidecar: Sidecar, length: int, *, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = {**LEASE, "scope": "s" * length}
    line = shown(lease)[1]

    cut = line.rpartition("  ")[2]
    assert (cut == "s" * length) is whole
    assert len(cut) <= SHOWN_SCOPE
    assert cut.endswith("…") is not whole
    sidecar.answer = {"leases": [lease], "failing": []}
    podkey("leases", "--output", "json")
    assert json.loads(capsys.readouterr().out) == sidecar.answer


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90_061, "25h01m")],
)
def test_spans_are_for_people(seconds: int, text: str) -> None:
    assert f"  {text}  " in shown({**LEASE, "ageSeconds": seconds})[1]


def test_sources_that_give_none_are_named_below_with_what_they_said() -> None:
    *_, last = shown(LEASE, failing={"ml/features": "login.example.com answered 400: invalid_client"})

    assert last == "failing  ml/features: login.example.com answered 400: invalid_client"


def test_nothing_at_all_is_said_in_words() -> None:
    assert shown() == ["no live leases: none was asked for yet, or no source gives one"]


def test_what_a_source_or_a_policy_says_cannot_write_to_the_terminal() -> None:
    evil = "\x1b[2Jnothing to see"
    text = "".join(shown({**LEASE, "scope": evil, "credential": evil}, failing={evil: evil}))

    assert "\x1b" not in text
    assert text.count("\\x1b[2Jnothing to see") == 4


def test_one_lease_is_not_several(sidecar: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    sidecar.answer = {"dropped": 1}
    podkey("leases", "drop", "ml/openai")

    assert capsys.readouterr().out.startswith("1 lease dropped")
