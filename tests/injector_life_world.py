"""The injector's whole process but for the cluster: its listeners on loopback, and what the cluster's side
would tell it in the hands of a test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from injector.core.settings import (
    CertificateSettings,
    InjectorSettings,
    PodRules,
    ServingSettings,
    SidecarSettings,
)
from injector.edge.life import ClusterSide, Injector, Ways, Work
from injector.edge.metrics import Metrics
from injector.edge.serving import Handler
from injector.engine.authority import Store, advance
from proxy.x509.certificates import new_key
from tests.injector_serving_world import PATH, Client, echo


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
        handler: Handler = echo,
        background: Callable[["World"], list[Work]] = lambda _: [],
    ) -> None:
        self.log, self.metrics, self.stop = Lines(), Metrics(), asyncio.Event()
        self.ways: Ways | None = None
        self.acts: list[str] = []
        self._works = background(self)
        self._handler = handler
        settings = InjectorSettings(
            SidecarSettings("podkey:1"),
            pods=PodRules(own_namespace="podkey-system"),
            serving=ServingSettings("127.0.0.1", 0, "127.0.0.1", 0, linger_seconds=linger),
            certificates=CertificateSettings(folder=str(folder) if folder else None),
        )
        self.injector = Injector(
            settings,
            self._connect,
            self.metrics,
            self.log,
            self.stop,
            settled=lambda: self.acts.append("settled"),
        )

    def _connect(self, ways: Ways) -> ClusterSide:
        self.ways = ways

        async def close() -> None:
            self.acts.append("closed")

        return ClusterSide(
            handlers={PATH: self._handler},
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

    async def metrics_text(self) -> str:
        return (await self.probe("/metrics"))[1].decode()

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


def secret() -> Mapping[str, bytes]:
    step = advance(None, [], datetime.now(UTC), new_key)
    assert isinstance(step, Store)
    return step.data
