"""The mitmproxy lane as the others see it."""

import asyncio

from proxy.core.arrival import LaneName
from proxy.lanes.closing import flush_and_close
from proxy.lanes.interface import Accepted, LaneWorld
from proxy.lanes.mitm.client_tls import ClientTls
from proxy.lanes.mitm.engine_options import lane_options
from proxy.lanes.mitm.handler import ConnectionInLane
from proxy.lanes.mitm.upstream_tls import UpstreamTls


class MitmproxyLane:
    name = LaneName.MITMPROXY

    def __init__(self, world: LaneWorld, client_tls: ClientTls, upstream_tls: UpstreamTls) -> None:
        self._world = world
        self._client_tls = client_tls
        self._upstream_tls = upstream_tls
        self._options = lane_options(world.timeouts.idle)

    async def serve(self, accepted: Accepted) -> None:
        recorder = self._world.recorder
        recorder.opened(accepted.arrival)
        try:
            streams = await asyncio.open_connection(sock=accepted.sock)
            try:
                await ConnectionInLane(
                    streams, accepted, self._world, self._options, self._client_tls, self._upstream_tls
                ).serve()
            finally:
                await flush_and_close(streams[1], self._world.timeouts.idle)
        except OSError:
            pass  # the application went away; there is nobody to tell
        except Exception as error:  # noqa: BLE001 - one connection's crash is its own
            recorder.crashed("mitmproxy lane", error)
        finally:
            accepted.sock.close()
            recorder.closed(accepted.arrival, 0, 0)
