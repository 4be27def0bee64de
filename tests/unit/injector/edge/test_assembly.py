import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from injector.core.settings import InjectorSettings, SidecarSettings
from injector.edge import assembly
from injector.edge.assembly import BROKEN, COLLECTOR, FINE, serve

SETTINGS = InjectorSettings(SidecarSettings("podkey:1"))
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    before, collector = sys.getswitchinterval(), gc.get_threshold()
    yield
    structlog.reset_defaults()
    sys.setswitchinterval(before)
    gc.set_threshold(*collector)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    return str(file)


class Stub:
    """Stands in for the injector."""

    death: int | BaseException | None = None

    def __init__(self, *parts: object, settled: object) -> None:
        *_, stop = parts
        assert isinstance(stop, asyncio.Event)
        self.stop = stop

    async def run(self) -> None:
        if isinstance(self.death, BaseException):
            raise self.death
        if self.death is not None:
            os.kill(os.getpid(), self.death)
            async with asyncio.timeout(5):
                await self.stop.wait()


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> type[Stub]:
    class Fresh(Stub):
        pass

    monkeypatch.setattr(assembly, "Injector", Fresh)
    # A process cannot take hardening back, and this one has other tests to run.
    monkeypatch.setattr(assembly, "harden", lambda: None)
    return Fresh


def test_a_process_that_could_not_be_hardened_says_so(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assembly, "harden", lambda: "Operation not permitted")

    assert serve(SETTINGS, {}, kubeconfig) == FINE
    assert "Operation not permitted" in capfd.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_end_is_fine(
    kubeconfig: str, stub: type[Stub], number: signal.Signals
) -> None:
    stub.death = number

    assert serve(SETTINGS, {}, kubeconfig) == FINE


def test_reviews_get_the_interpreter_back_soon_from_threads_that_compile(kubeconfig: str) -> None:
    assert serve(SETTINGS, {}, kubeconfig) == FINE
    assert sys.getswitchinterval() < 0.001


def test_the_collector_looks_less_often_than_once_a_review(kubeconfig: str) -> None:
    assert serve(SETTINGS, {}, kubeconfig) == FINE
    assert gc.get_threshold() == COLLECTOR


def test_a_second_signal_hurries(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried: list[None] = []

    class Slow(Stub):
        def hurry(self) -> None:
            hurried.append(None)
            self.told.set()

        async def run(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(5):
                await self.stop.wait()
                self.told = asyncio.Event()
                os.kill(os.getpid(), signal.SIGTERM)
                await self.told.wait()

    monkeypatch.setattr(assembly, "Injector", Slow)

    assert serve(SETTINGS, {}, kubeconfig) == FINE
    assert hurried == [None]


def test_what_ends_it_is_told_without_its_words(
    kubeconfig: str, stub: type[Stub], capfd: pytest.CaptureFixture[str]
) -> None:
    stub.death = ValueError("a word of somebody")

    assert serve(SETTINGS, {}, kubeconfig) == BROKEN
    output = capfd.readouterr().out
    assert "the injector failed" in output
    assert "ValueError" in output
    assert "a word of" not in output


def test_a_port_that_is_taken_is_named(
    kubeconfig: str, stub: type[Stub], capfd: pytest.CaptureFixture[str]
) -> None:
    stub.death = OSError(98, "Address already in use (while attempting to bind on address ('::', 8443))")

    assert serve(SETTINGS, {}, kubeconfig) == BROKEN
    assert "8443" in capfd.readouterr().out


def test_without_a_cluster_it_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert serve(SETTINGS, {}) == BROKEN
    assert "there is no cluster to connect to" in capfd.readouterr().out
