import os
from pathlib import Path

import pytest

from proxy.cli.run import KEY_LOGS
from proxy.core.settings import ProxySettings
from proxy.documents import settings_table as table
from proxy.documents.setting_kinds import flag_of
from proxy.edge import assembly
from tests.command_line import podkey

REQUIRED = {"PODKEY_NAMESPACE": "ml", "PODKEY_SERVICE_ACCOUNT": "trainer"}


class Started:
    def __init__(self) -> None:
        self.settings: list[ProxySettings] = []
        self.environment: list[dict[str, str]] = []
        self.status = 0

    def __call__(self, settings: ProxySettings) -> int:
        self.settings.append(settings)
        self.environment.append(dict(os.environ))
        return self.status


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    for name in list(os.environ):
        if name.startswith("PODKEY_"):
            monkeypatch.delenv(name)
    stub = Started()
    monkeypatch.setattr(assembly, "serve", stub)
    return stub


@pytest.fixture
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_all_problems_of_settings_are_told_at_once(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODKEY_ADMIN_PORT", "many")
    monkeypatch.setenv("PODKEY_CAPTRUE", "explicit")
    monkeypatch.setenv("PODKEY_IDLE_TIMEOUT", "soon")

    assert podkey("run") == 1

    output = capsys.readouterr()
    assert output.out == ""
    for name in (*REQUIRED, "PODKEY_ADMIN_PORT", "PODKEY_CAPTRUE", "PODKEY_IDLE_TIMEOUT"):
        assert f"podkey run: {name}" in output.err
    assert output.err.count("    fix: ") == output.err.count("podkey run: ") == 5
    assert started.settings == []


def test_values_of_settings_cannot_write_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODKEY_ADMIN_PORT", "\x1b[2J80")

    podkey("run")

    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.usefixtures("_required")
def test_the_sidecar_gets_its_settings_and_gives_the_exit_status(started: Started) -> None:
    started.status = 1

    assert podkey("run") == 1

    (settings,) = started.settings
    assert (settings.pod.namespace, settings.pod.service_account) == ("ml", "trainer")


@pytest.mark.usefixtures("_required")
def test_options_win_over_variables(
    started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PODKEY_POLICY_DIR", "/from/environment")
    monkeypatch.setenv("PODKEY_SECRETS_DIR", "/secrets")

    assert podkey("run", "--policy-dir", str(tmp_path), "--namespace=other") == 0

    settings = started.settings[0]
    assert settings.folders.policy == str(tmp_path)
    assert settings.folders.secrets == "/secrets"
    assert settings.pod.namespace == "other"


@pytest.mark.usefixtures("_required")
def test_nobody_can_have_session_keys_written(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads these variables is imported afterwards."""
    for name in KEY_LOGS:
        monkeypatch.setenv(name, "/tmp/keys")

    podkey("run")

    assert set(KEY_LOGS).isdisjoint(started.environment[0])


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("run", "--help") == 0

    text = capsys.readouterr().out
    for setting in table.SETTINGS:
        assert f"{flag_of(setting.name)} VALUE" in text


def test_an_option_that_is_none_is_not_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("run", "--polcy-dir", "x") == 64
    assert "--polcy-dir" in capsys.readouterr().err
