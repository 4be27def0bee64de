import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from injector.core.settings import (
    CertificateSettings,
    InjectorSettings,
    PodRules,
    ServingSettings,
    SidecarSettings,
)
from injector.edge import life
from injector.edge.life import ClusterSide, Injector, Ways, Work
from injector.edge.metrics import Metrics
from injector.engine.authority import Store, advance
from proxy.x509.certificates import new_key
from tests.injector_serving_world import PATH, Client, TestAuthority, echo, running

AUTHORITY = TestAuthority()


class Lines:
    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.changed = asyncio.Event()

    def info(self, event: str, **fields: object) -> None:
        self.told.append((event, fields))
        self.changed.set()

    warning = error = info

    async def until(self, event: str, times: int = 1) -> dict[str, Any]:
        while True:
            found = [fields for told, fields in self.told if told == event]
            if len(found) >= times:
                return found[-1]
            self.changed.clear()
            await self.changed.wait()


class World:
    """The injector, and the cluster's side in the hands of a test."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        linger: int = 0,
        background: Callable[["World"], list[Work]] = lambda _: [],
    ) -> None:
        self.log, self.metrics, self.stop = Lines(), Metrics(), asyncio.Event()
        self.ways: Ways | None = None
        self.acts: list[str] = []
        self._works = background(self)
        settings = InjectorSettings(
            SidecarSettings("podkey:1"),
            pods=PodRules(own_namespace="podkey-system"),
            serving=ServingSettings("127.0.0.1", 0, "127.0.0.1", 0, linger_seconds=linger),
            certificates=CertificateSettings(folder=str(folder) if folder else None),
        )
        self.injector = Injector(settings, self._connect, self.metrics, self.log, self.stop)

    def _connect(self, ways: Ways) -> ClusterSide:
        self.ways = ways

        async def close() -> None:
            self.acts.append("closed")

        return ClusterSide(
            handlers={PATH: echo},
            start=lambda: self.acts.append("started"),
            close=close,
            conditions=("namespaces",),
            background=self._works,
        )

    def saw(self, data: Mapping[str, bytes]) -> None:
        assert self.ways is not None
        self.ways.saw_authority(data)

    def synced(self) -> None:
        assert self.ways is not None
        self.ways.readiness.ok("namespaces")

    async def probe(self, path: str) -> tuple[int, bytes]:
        listening = self.injector._probes._socket
        assert listening is not None
        client = await Client.open(listening.getsockname()[1])
        client.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await client.answer()
        await client.close()
        return answer

    async def missing(self) -> dict[str, str]:
        _, body = await self.probe("/readyz")
        return {one["condition"]: one["reason"] for one in json.loads(body)["missing"]}

    async def port(self) -> int:
        return int((await self.log.until("listening"))["port"])


@asynccontextmanager
async def living(world: World) -> AsyncIterator[asyncio.Future[None]]:
    living_injector = asyncio.ensure_future(world.injector.run())
    await asyncio.sleep(0)
    try:
        yield living_injector
    finally:
        world.stop.set()
        world.injector.hurry()
        await living_injector


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario()

    running(run())


def secret() -> Mapping[str, bytes]:
    step = advance(None, [], datetime.now(UTC), new_key)
    assert isinstance(step, Store)
    return step.data


def test_it_becomes_ready_part_by_part_and_says_what_is_missing() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            assert await world.missing() == {
                "certificate": "there is no certificate yet",
                "namespaces": "pending",
            }
            world.saw(secret())
            await world.port()
            assert await world.missing() == {"namespaces": "pending"}
            world.synced()
            assert await world.probe("/readyz") == (200, b'{"ready": true, "missing": []}\n')
            assert b"podkey_injector_ready 1" in (await world.probe("/metrics"))[1]
            assert ("ready", {}) in world.log.told
        assert world.acts == ["started", "closed"]

    play(scenario)


def test_reviews_are_judged_by_warm_caches_only() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            data = secret()
            world.saw(data)
            port = await world.port()
            context = AUTHORITY.client()
            context.load_verify_locations(cadata=data["ca.crt"].decode())
            client = await Client.open(port, context)
            assert (await client.post())[0] == 503
            await client.close()
            world.synced()
            client = await Client.open(port, context)
            assert await client.post(b"{}") == (200, b'{"bytes": 2}')
            await client.close()

    play(scenario)


def test_told_to_stop_it_goes_on_answering_for_a_while() -> None:
    async def scenario() -> None:
        world = World(linger=3600)
        async with living(world) as life_of_it:
            data = secret()
            world.saw(data)
            world.synced()
            port = await world.port()
            context = AUTHORITY.client()
            context.load_verify_locations(cadata=data["ca.crt"].decode())
            old = await Client.open(port, context)
            world.stop.set()
            await world.log.until("draining")
            assert (await world.probe("/readyz"))[0] == 503
            assert (await world.probe("/healthz"))[0] == 200
            new = await Client.open(port, context)
            for client in (old, new):
                assert (await client.post())[0] == 200
                assert await client.ended() == b""
            world.injector.hurry()
            assert await world.log.until("drained") == {"cut": 0}
            await life_of_it
            with pytest.raises(OSError, match="Connect call failed"):
                await Client.open(port)

    play(scenario)


def test_told_to_stop_before_it_listens_it_ends() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            pass
        assert world.acts == ["started", "closed"]
        assert all(event != "listening" for event, _ in world.log.told)

    play(scenario)


def test_a_port_that_is_taken_ends_it() -> None:
    async def scenario() -> None:
        world = World()
        async with living(world):
            taken = world.injector._probes._socket
            assert taken is not None
            other = World()
            other.injector._settings = InjectorSettings(
                SidecarSettings("x"),
                serving=ServingSettings("127.0.0.1", 0, "127.0.0.1", taken.getsockname()[1]),
            )
            with pytest.raises(OSError, match="in use"):
                await other.injector.run()

    play(scenario)


# --- certificates ---------------------------------------------------------------------------------


def test_a_certificate_from_a_folder_is_shown_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.files.watch.PERIOD", 0)

    async def scenario() -> None:
        AUTHORITY.write(tmp_path)
        world = World(tmp_path)
        async with living(world):
            port = await world.port()
            world.synced()
            world.saw(secret())  # somebody else's authority has no effect
            first = await Client.open(port, AUTHORITY.client())
            AUTHORITY.write(tmp_path)
            await world.log.until("there is a new certificate", 2)
            second = await Client.open(port, AUTHORITY.client())
            shown = {
                c.writer.get_extra_info("ssl_object").getpeercert(binary_form=True) for c in (first, second)
            }
            assert len(shown) == 2
            for client in (first, second):
                assert (await client.post())[0] == 200
                await client.close()

    play(scenario)


def test_a_folder_that_is_empty_or_wrong_is_told_and_looked_at_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with living(world):
            told = await world.log.until("the folder of the certificate cannot be read, the one before stays")
            assert told["why"] == "tls.crt does not exist"
            AUTHORITY.write(tmp_path, "elsewhere.test")
            told = await world.log.until("a certificate cannot be used, the one before stays")
            assert "elsewhere" not in told["why"]
            assert await world.missing() == {
                "certificate": "there is no certificate yet",
                "namespaces": "pending",
            }
            AUTHORITY.write(tmp_path)
            await world.port()
            assert await world.missing() == {"namespaces": "pending"}

    play(scenario)


def test_a_certificate_that_ended_makes_it_unready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "RENEWAL_SECONDS", 0)

    async def scenario() -> None:
        AUTHORITY.write(tmp_path)
        world = World(tmp_path)
        async with living(world):
            await world.port()
            world.synced()
            assert await world.missing() == {}
            world.injector._certificate.ends = datetime.now(UTC) - timedelta(seconds=1)
            while not (lacks := await world.missing()):
                pass
            assert lacks["certificate"].startswith("the certificate ended at")

    play(scenario)


# --- the background -------------------------------------------------------------------------------


def test_work_that_breaks_is_told_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "RETRY_SECONDS", 0)

    def works(world: World) -> list[Work]:
        async def work() -> None:
            world.acts.append("worked")
            if world.acts.count("worked") < 3:
                raise ValueError("of ours")
            await asyncio.Event().wait()

        return [work]

    async def scenario() -> None:
        world = World(background=works)
        async with living(world):
            told = await world.log.until("work in the background failed and begins again", 2)
            assert isinstance(told["error"], ValueError)
            assert b"podkey_injector_background_failures_total 2" in (await world.probe("/metrics"))[1]

    play(scenario)


def test_what_fails_is_told_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = World()
        world.injector._review_failed(PATH, ValueError("of ours"))
        world.injector._connection_failed(ValueError("of ours"))

        assert [(event, type(fields["error"])) for event, fields in world.log.told] == [
            ("a review failed", ValueError),
            ("a connection failed", ValueError),
        ]

    play(scenario)
