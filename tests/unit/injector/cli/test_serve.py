import os
from collections.abc import Mapping

import pytest

from injector.cli.main import main
from injector.core.settings import InjectorSettings
from injector.edge import assembly
from injector.reading.settings_table import SETTINGS, flag_of
from proxy.cli.exit_status import PROBLEMS

REQUIRED = ("--namespace", "podkey-system", "--pod-name", "podkey-injector-x", "--image", "podkey:1")


class Started:
    def __init__(self) -> None:
        self.settings: list[InjectorSettings] = []
        self.kubeconfig: str | None = None

    def __call__(
        self, settings: InjectorSettings, environment: Mapping[str, str], kubeconfig: str | None
    ) -> int:
        self.settings.append(settings)
        self.kubeconfig = kubeconfig
        return 7


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    for name in list(os.environ):
        if name.startswith("PODKEY_"):
            monkeypatch.delenv(name)
    stub = Started()
    monkeypatch.setattr(assembly, "serve", stub)
    return stub


def test_all_problems_of_settings_are_told_at_once(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODKEY_INJECTOR_WEBHOOK_PORT", "many")
    monkeypatch.setenv("PODKEY_INJECTOR_SIDECAR_ENVIRONMENT", "PODKEY_X=1")

    assert main(["serve"]) == PROBLEMS

    output = capsys.readouterr()
    assert not output.out
    for name in ("NAMESPACE", "POD_NAME", "IMAGE", "WEBHOOK_PORT", "SIDECAR_ENVIRONMENT"):
        assert f"podkey-injector serve: PODKEY_INJECTOR_{name}: " in output.err
    assert output.err.count("    fix: ") == 5
    assert started.settings == []


def test_an_option_wins_over_its_variable(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODKEY_INJECTOR_IMAGE", "other:1")
    monkeypatch.setenv("PODKEY_INJECTOR_CLUSTER", "prod")

    assert main(["serve", *REQUIRED, "--kubeconfig", "/kube"]) == 7

    (settings,) = started.settings
    assert settings.sidecar.image == "podkey:1"
    assert settings.sidecar.cluster == "prod"
    assert started.kubeconfig == "/kube"


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for setting in SETTINGS:
        assert f"{flag_of(setting.name)} VALUE" in shown
