"""The fast lane as the others see it."""

import asyncio
import ssl
from typing import Final

from proxy.core.arrival import LaneName
from proxy.core.hosts import Hostname
from proxy.lanes.fast.client_side import ClientSide
from proxy.lanes.fast.conversation import Conversation
from proxy.lanes.fast.handshakes import Handshake, acknowledge
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.tls import ClientTls, UpstreamTls, in_kernel, sign_of_distrust
from proxy.lanes.fast.upstreams import Upstreams
from proxy.lanes.interface import Accepted, KernelTls, LaneWorld, TlsPeer

# How often it is looked for what stands still: a time-out is late by so much at most.
LOOK_SECONDS: Final = 1.0
# Or more often, where time-outs are shorter than that.
LOOKS_PER_TIMEOUT: Final = 4


class FastLane:
    """One thread of control for each connection, and one that looks after all of them."""

    name = LaneName.FAST

    def __init__(self, world: LaneWorld, client_tls: ClientTls, upstream_tls: UpstreamTls) -> None:
        self._world = world
        self._client_tls = client_tls
        self._upstreams = Upstreams(
            upstream_tls,
            world.timeouts.connect,
            world.clock.monotonic,
            lambda sock: world.recorder.shook_hands(TlsPeer.UPSTREAM, in_kernel(sock)),
        )
        self._conversations: set[Conversation] = set()
        # Those that go on, and since when.
        self._handshakes: dict[Handshake, float] = {}
        shortest = min(world.timeouts.header, world.timeouts.idle)
        self._period = min(LOOK_SECONDS, shortest / LOOKS_PER_TIMEOUT)
        self._looking: asyncio.TimerHandle | None = None

    async def serve(self, accepted: Accepted) -> None:
        recorder = self._world.recorder
        recorder.opened(accepted.arrival)
        client: Side | None = None
        try:
            client = await self._greeted(accepted)
            if client is not None:
                await self._converse(accepted, client)
        except Exception as error:  # noqa: BLE001 - one connection's crash is its own
            recorder.crashed("fast lane", error)
        finally:
            if client is not None:
                client.drop()
            accepted.sock.close()
            recorder.closed(accepted.arrival, 0, 0)

    async def _greeted(self, accepted: Accepted) -> Side | None:
        """With TLS, where the client speaks it."""
        if accepted.alpn is None:
            return Side(accepted.sock)
        name = accepted.arrival.name
        context = self._client_tls.context(name)
        try:
            sock = context.wrap_socket(
                accepted.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            accepted.sock = sock
            side = await self._shake_hands(sock, name, corks=context.num_tickets > 0)
        except ssl.SSLError as error:
            # Who speaks no TLS of ours has not come as far as trust.
            if (sign := sign_of_distrust(error)) is not None:
                self._world.recorder.client_distrusts(name, sign)
        except (OSError, TimeoutError):
            pass  # the application went away; there is nobody to tell
        else:
            return side
        return None

    async def _shake_hands(self, sock: ssl.SSLSocket, name: Hostname, *, corks: bool) -> Side:
        handshake = Handshake(sock, corks=corks)
        self._handshakes[handshake] = self._world.clock.monotonic()
        self._look_on()
        try:
            await handshake.run()
            acknowledge(sock)
            kernel = in_kernel(sock)
            is_read = kernel is not KernelTls.NOTHING and KernelTls.RECEIVES in kernel
            side = ClientSide(sock, is_corked=handshake.is_corked, is_read_by_kernel=is_read)
            side.watch()  # in place of the handshake
            self._world.recorder.shook_hands(TlsPeer.APPLICATION, kernel)
            if sock.session_reused:
                self._client_tls.came_back(name)
        except BaseException:
            # A watch that outlives its socket would be taken for one of the next by that number.
            handshake.unwatch()
            raise
        finally:
            del self._handshakes[handshake]
        return side

    async def _converse(self, accepted: Accepted, client: Side) -> None:
        conversation = Conversation(self._world, accepted, client, self._upstreams)
        self._conversations.add(conversation)
        self._look_on()
        try:
            await conversation.run()
        finally:
            self._conversations.discard(conversation)

    # --- time ---

    def _look_on(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(self._period, self._look)

    def _watch(self, conversation: Conversation, now: float) -> None:
        try:
            conversation.watch(now)
        except Exception as error:  # noqa: BLE001 - the others are to be looked after all the same
            self._world.recorder.crashed("fast lane", error)

    def _look(self) -> None:
        self._looking = None
        now = self._world.clock.monotonic()
        try:
            for handshake, since in self._handshakes.items():
                if now - since >= self._world.timeouts.header:
                    handshake.give_up()
            for conversation in list(self._conversations):
                self._watch(conversation, now)
            self._upstreams.sweep()
        finally:
            if self._handshakes or self._conversations or self._upstreams.idle:
                self._look_on()
