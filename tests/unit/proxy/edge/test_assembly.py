import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import uvloop

from proxy.core.audit import AuditRecord
from proxy.core.settings import OutputSettings, ProxySettings
from proxy.core.structs import replace
from proxy.documents.settings import read_settings
from proxy.edge import assembly
from proxy.edge.assembly import BROKEN, FINE, serve
from proxy.edge.metrics import Metrics
from proxy.edge.recorder import EdgeRecorder
from tests.canary import Canary
from tests.lane_world import NOON

RECORD = AuditRecord(
    time=NOON,
    request_id="1",
    namespace="ml",
    service_account="trainer",
    pod_name="",
    pod_uid="",
    node="",
    evidence="declared",
    host="api.example.com",
    port=443,
    method="GET",
    path="/",
    verdict="refuse",
    reason="ungoverned_host",
    lane="relay",
)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _as_dumpable_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process cannot take hardening back, and this one has other tests to run."""
    monkeypatch.setattr(assembly, "harden", lambda: None)


@pytest.fixture
def settings() -> ProxySettings:
    found = read_settings({"PODKEY_NAMESPACE": "ml", "PODKEY_SERVICE_ACCOUNT": "trainer"})
    assert isinstance(found, ProxySettings)
    return found


class Stub:
    """Stands in for the sidecar."""

    death: int | BaseException | None = None

    def __init__(self, settings: ProxySettings, *parts: object) -> None:
        _, _, recorder, _, stop = parts
        assert isinstance(recorder, EdgeRecorder)
        assert isinstance(stop, asyncio.Event)
        self.recorder, self.stop = recorder, stop

    async def run(self) -> None:
        self.recorder.finished(RECORD)
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

    monkeypatch.setattr(assembly, "Sidecar", Fresh)
    return Fresh


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_end_is_fine(
    settings: ProxySettings, stub: type[Stub], number: signal.Signals
) -> None:
    stub.death = number

    assert serve(settings) == FINE


def test_it_runs_on_uvloop(settings: ProxySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Looking(Stub):
        async def run(self) -> None:
            loops.append(asyncio.get_running_loop())

    monkeypatch.setattr(assembly, "Sidecar", Looking)

    assert serve(settings) == FINE
    assert isinstance(loops[0], uvloop.Loop)


def test_a_second_signal_hurries(settings: ProxySettings, monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr(assembly, "Sidecar", Slow)

    assert serve(settings) == FINE
    assert hurried == [None]


def test_the_process_is_hardened_before_anything_is_made(
    settings: ProxySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HardenedError(Exception):
        pass

    def harden() -> None:
        raise HardenedError

    monkeypatch.setattr(assembly, "harden", harden)
    monkeypatch.setattr(assembly, "Metrics", pytest.fail)

    with pytest.raises(HardenedError):
        serve(settings)


def test_a_kernel_that_refuses_to_protect_our_memory_is_told_of(
    settings: ProxySettings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assembly, "harden", lambda: "Operation not permitted")

    assert serve(settings) == FINE

    first = json.loads(capfd.readouterr().out.splitlines()[0])
    assert (first["level"], first["event"]) == ("warning", "the process can be dumped")
    assert first["why"] == "Operation not permitted"


def test_an_end_of_its_own_is_fine(settings: ProxySettings) -> None:
    assert serve(settings) == FINE


def test_a_crash_is_logged_without_its_text(
    settings: ProxySettings, stub: type[Stub], capfd: pytest.CaptureFixture[str], canary: Canary
) -> None:
    secret = canary.secret("in an exception")
    stub.death = RuntimeError(secret)

    assert serve(settings) == BROKEN

    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[-1]["where"] == "sidecar"
    assert secret not in json.dumps(lines)


def test_audit_records_go_to_standard_output(
    settings: ProxySettings, capfd: pytest.CaptureFixture[str]
) -> None:
    serve(settings)

    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["requestId"] == "1"


def test_audit_records_go_to_a_file_where_one_is_named(
    settings: ProxySettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "audit.jsonl"
    output = replace(settings.output, audit_file=str(file))

    serve(replace(settings, output=output))

    assert json.loads(file.read_text())["requestId"] == "1"
    assert capfd.readouterr().out == ""


def test_an_audit_line_that_is_lost_is_counted(tmp_path: Path, settings: ProxySettings) -> None:
    metrics = Metrics()
    output: OutputSettings = replace(settings.output, audit_file=str(tmp_path / "missing" / "audit"))

    assembly._audit_writer(output, metrics)(b"line\n")

    assert "podkey_audit_write_errors_total 1.0" in metrics.exposition()[0].decode()
