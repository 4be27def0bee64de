"""A lane whose code is loaded beside the event loop, from when there is somebody to wait for it.

mitmproxy takes half a second of CPU to import, and nothing of it is needed before the first governed
connection. A pod's containers wait until the sidecar is ready: so it becomes ready first.
"""

import asyncio
from collections.abc import Callable
from typing import final

from proxy.core.arrival import LaneName
from proxy.lanes.interface import Accepted, Lane, Recorder


@final
class LateLane:
    """`load` runs in a thread, once."""

    def __init__(self, name: LaneName, load: Callable[[], Lane], recorder: Recorder) -> None:
        self.name = name
        self._load = load
        self._recorder = recorder
        self._loading: asyncio.Task[Lane] | None = None

    def begin(self) -> asyncio.Task[Lane]:
        """Load it, unless that has begun."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(self._load))
            self._loading.add_done_callback(self._loaded)
        return self._loading

    def _loaded(self, loading: asyncio.Task[Lane]) -> None:
        if not loading.cancelled() and (error := loading.exception()) is not None:
            self._recorder.crashed("loading a lane", error)

    async def serve(self, accepted: Accepted) -> None:
        try:
            # Whoever gives up waiting does not take it from the others.
            lane = await asyncio.shield(self.begin())
        except Exception:  # noqa: BLE001 - it was told; without its lane a governed connection ends
            accepted.sock.close()
            return
        except asyncio.CancelledError:
            accepted.sock.close()
            raise
        await lane.serve(accepted)
