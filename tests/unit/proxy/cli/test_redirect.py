"""What the command says and how it ends; nothing here reaches a kernel."""

import json
from collections.abc import Callable

import pytest

from proxy.cli import redirect as command
from proxy.core.contract import CAPTURE_PORTS_VARIABLE
from proxy.core.redirect import Redirect, render_ruleset
from proxy.edge import redirect_probes
from proxy.edge.redirect import RedirectError
from proxy.edge.redirect_probes import Check
from tests.command_line import podkey

GOOD = Check("IPv4 TCP", "calls to 443 arrive at 127.0.0.1:15001")
BAD = Check("IPv4 QUIC", "UDP port 443 leaves the pod", "run `podkey redirect apply`")


class Kernel:
    """Stands in for the edge, and remembers."""

    def __init__(self) -> None:
        self.applied: list[Redirect] = []
        self.verified: list[Redirect] = []
        self.removed = 0
        self.checks = [GOOD]
        self.fault: RedirectError | None = None

    def _may(self) -> None:
        if self.fault is not None:
            raise self.fault

    def apply(self, redirect: Redirect, meanwhile: Callable[[], object] | None) -> None:
        self._may()
        if meanwhile is not None:
            meanwhile()
        self.applied.append(redirect)

    def remove(self) -> None:
        self._may()
        self.removed += 1

    def loaded(self) -> str:
        self._may()
        return "table inet podkey {\n}\n"

    def verify(self, redirect: Redirect) -> list[Check]:
        self.verified.append(redirect)
        return self.checks


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(command, "apply_redirect", kernel.apply)
    monkeypatch.setattr(command, "remove_redirect", kernel.remove)
    monkeypatch.setattr(command, "loaded_redirect", kernel.loaded)
    monkeypatch.setattr(redirect_probes, "verify_redirect", kernel.verify)
    for variable, _, _ in command.SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    return kernel


def test_show_prints_the_rules_and_touches_nothing(
    kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("redirect", "show") == 0
    assert capsys.readouterr() == (render_ruleset(Redirect()), "")
    assert kernel.applied == []


def test_show_live_prints_what_the_kernel_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("redirect", "show", "--live") == 0
    assert capsys.readouterr().out == "table inet podkey {\n}\n"


def test_apply_says_what_it_loaded(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("redirect", "apply") == 0
    assert capsys.readouterr().out == (
        "loaded: TCP to 443, 80 goes to port 15001, but for user 1337; UDP to 443, 80 is refused; "
        "metadata addresses are fenced\n"
    )
    assert kernel.applied == [Redirect()]
    assert kernel.verified == []


def test_apply_promises_only_what_it_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("redirect", "apply", "--fence-metadata", "false", "--reject-quic", "false") == 0
    assert capsys.readouterr().out == "loaded: TCP to 443, 80 goes to port 15001, but for user 1337\n"


@pytest.mark.parametrize(("checks", "status"), [([GOOD], 0), ([GOOD, BAD], 1)])
def test_apply_can_verify_in_the_same_run(kernel: Kernel, checks: list[Check], status: int) -> None:
    kernel.checks = checks

    assert podkey("redirect", "apply", "--verify") == status
    assert kernel.verified == kernel.applied == [Redirect()]


def test_what_cannot_be_loaded_is_not_verified(kernel: Kernel) -> None:
    kernel.fault = RedirectError("no", "yes")

    assert podkey("redirect", "apply", "--verify") == 1
    assert kernel.verified == []


def test_remove_is_content_each_time(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("redirect", "remove") == podkey("redirect", "remove") == 0
    assert capsys.readouterr().out == "no redirect is loaded here now\n" * 2
    assert kernel.removed == 2


@pytest.mark.parametrize("words", [("apply",), ("remove",), ("show", "--live")])
def test_what_the_kernel_refuses_is_said_with_the_fix(
    kernel: Kernel, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.fault = RedirectError("the capability \x1b[2J is missing", "add it")

    assert podkey("redirect", *words) == 1
    assert capsys.readouterr() == (
        "",
        f"podkey redirect {words[0]}: the capability \\x1b[2J is missing\n    fix: add it\n",
    )


def test_verify_prints_a_line_for_each_check_and_the_fix_for_what_failed(
    kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.checks = [GOOD, BAD]

    assert podkey("redirect", "verify") == 1
    assert capsys.readouterr().out == (
        "ok      IPv4 TCP: calls to 443 arrive at 127.0.0.1:15001\n"
        "FAILED  IPv4 QUIC: UDP port 443 leaves the pod\n"
        "        fix: run `podkey redirect apply`\n"
    )


@pytest.mark.parametrize(("checks", "status"), [([GOOD], 0), ([GOOD, BAD], 1)])
def test_verify_in_json_has_the_same_keys_whatever_comes_out(
    kernel: Kernel, checks: list[Check], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.checks = checks

    assert podkey("redirect", "verify", "--output", "json") == status

    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["ok", "checks"]
    assert answer["ok"] == (status == 0)
    assert [list(check) for check in answer["checks"]] == [["ok", "name", "detail", "fix"]] * len(checks)


# --- settings ------------------------------------------------------------------------------------


def test_a_flag_wins_over_the_environment(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODKEY_CAPTURE_PORTS", "8443")
    monkeypatch.setenv("PODKEY_PROXY_UID", "7000")

    assert podkey("redirect", "apply", "--capture-ports", "443") == 0
    assert kernel.applied == [Redirect(captured_ports=(443,), proxy_uid=7000)]


def test_every_setting_has_its_flag(kernel: Kernel) -> None:
    values = ("7000", "16001", "443,8443", "8443", "10.0.0.0/8", "false", "false")
    flags = [command._flag(variable) for variable, _, _ in command.SETTINGS]

    words = [word for pair in zip(flags, values, strict=True) for word in pair]
    assert podkey("redirect", "apply", *words) == 0

    [applied] = kernel.applied
    default = Redirect()
    fields = set(Redirect._fields) - {"metadata_addresses"}
    assert {name for name in fields if getattr(applied, name) == getattr(default, name)} == set()
    assert command._flag(CAPTURE_PORTS_VARIABLE) == "--capture-ports"


def test_problems_of_the_environment_are_all_said_and_end_with_1(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODKEY_PROXY_UID", "0")
    monkeypatch.setenv("PODKEY_REJECT_QUIC", "\x1b[2J")

    assert podkey("redirect", "apply") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "podkey redirect: PODKEY_PROXY_UID: everything that runs as root would go around the proxy\n"
        "    fix: give the proxy a user that nothing else in the pod has, such as 1337\n"
        "podkey redirect: PODKEY_REJECT_QUIC: `\\x1b[2J` is neither true nor false\n"
        "    fix: write `true` or `false`\n"
    )
    assert kernel.applied == []


def test_problems_of_flags_are_misuse_and_named_as_they_were_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODKEY_PROXY_UID", "0")

    assert podkey("redirect", "show", "--exclude-cidrs", "10.0.0.1/8") == 64
    names = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines() if "fix:" not in line]
    assert names == ["PODKEY_PROXY_UID", "--exclude-cidrs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("verify", "--live"), "--live goes with `show`"),
        (("show", "--verify"), "--verify goes with `apply`"),
        (("apply", "--output", "json"), "--output goes with `verify`"),
    ],
)
def test_a_flag_of_another_action_is_misuse(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("redirect", *words) == 64
    assert f"podkey redirect: {message}\n" in capsys.readouterr().err
