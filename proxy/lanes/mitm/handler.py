"""One connection: mitmproxy's event loop around its layers, with our hooks, which are total."""

import asyncio
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from mitmproxy import tls
from mitmproxy.connection import Connection, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer, server_hooks
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import (
    ClientTLSLayer,
    TlsFailedClientHook,
    TlsFailedServerHook,
    TlsStartClientHook,
    TlsStartServerHook,
)
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server import LiveConnectionHandler
from OpenSSL import SSL

from proxy.core.reasons import Reason
from proxy.lanes import faults
from proxy.lanes.exchange import Exchange
from proxy.lanes.interface import Accepted, Distrust, LaneWorld
from proxy.lanes.mitm.client_tls import HTTP1, HTTP2, ClientTls
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.events import CutStream, DrainUpstreamHook, JudgeRequestHook
from proxy.lanes.mitm.servers import GuardedHttpLayer
from proxy.lanes.mitm.upstream_tls import UpstreamTls

# What is read of a request whose stream waits for its verdict or its upstream: more than any small body. Then
# the client waits with us; mitmproxy would take a whole checkpoint into memory.
MAX_WAITING: Final = 1024 * 1024
# By which a client says no to our certificate or its signature, as OpenSSL words them (RFC 8446 §6.2); and
# what mitmproxy says of one that leaves when it has said hello.
DISTRUST: Final = (
    "alert bad certificate", "alert unsupported certificate", "alert certificate revoked",
    "alert certificate expired", "alert certificate unknown", "alert unknown ca", "alert decrypt error",
)  # fmt: skip
LEFT: Final = "The client disconnected during the handshake."
# Between our last answer on a connection that timed out and its end: time for the answer to be read.
FAREWELL: Final = 1.0
# How often it is looked for requests that take too long in all; or more often, where that is short.
LOOK_SECONDS: Final = 1.0
LOOKS_PER_TIMEOUT: Final = 4


def _sign_of_distrust(why: str) -> Distrust | None:
    """As in the fast lane: see `lanes.fast.tls`."""
    if any(alert in why for alert in DISTRUST):
        return Distrust.SAID
    return Distrust.LEFT if why.startswith(LEFT) else None


class Fuse(layer.Layer):
    """The outermost layer. mitmproxy logs an exception in a layer, and the connection hangs; here it ends.

    Its siblings in other connections never notice.
    """

    def __init__(self, context: Context, recorder_world: LaneWorld) -> None:
        super().__init__(context)
        self._world = recorder_world
        self.child: layer.Layer | None = None

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        try:
            if self.child is not None:
                yield from self.child.handle_event(event)
        except Exception as error:  # noqa: BLE001 - fail closed
            self._world.recorder.crashed("mitmproxy layer", error)
            self.child = None
            yield commands.CloseConnection(self.context.client)

    def _handle_event(self, _event: events.Event) -> layer.CommandGenerator[None]:
        yield from ()


class PoliteTls(ClientTLSLayer):
    """Says that it ends (RFC 8446 §6.1). Without that, clients take a response that ends with its connection
    for a truncated one: curl and requests fail."""

    def send_close(self, command: commands.CloseConnection) -> layer.CommandGenerator[None]:
        with suppress(SSL.Error):
            self.tls.shutdown()
        yield from self.tls_interact()
        yield from super().send_close(command)


class ConnectionInLane(LiveConnectionHandler):
    """Serves `accepted` until either side has had enough."""

    def __init__(  # noqa: PLR0917 - what one connection needs
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        accepted: Accepted,
        world: LaneWorld,
        options: Options,
        client_tls: ClientTls,
        upstream_tls: UpstreamTls,
    ) -> None:
        super().__init__(*streams, options, ProxyMode.parse("transparent"))
        self._accepted = accepted
        self._world = world
        self._client_tls = client_tls
        self._upstream_tls = upstream_tls
        self._conversation = Conversation(world, accepted.arrival)
        self._conversation.cut_off = self._cut
        self._cutting: set[asyncio.Task[None]] = set()
        self.timeout_watchdog.timeout = world.timeouts.idle  # type: ignore[assignment] # seconds, also parts
        accepted.busy = lambda: self._conversation.busy
        accepted.idle_for = lambda: time.time() - self.timeout_watchdog.last_activity  # noqa: TID251 - its clock
        context = self.layer.context
        context.server.address = accepted.address
        context.server.sni = accepted.arrival.name
        context.layers.clear()
        fuse = Fuse(context, world)
        if accepted.alpn is None:
            fuse.child = GuardedHttpLayer(context, self._conversation)
        else:
            fuse.child = PoliteTls(context)
        self.layer = fuse
        self._room = asyncio.Event()
        self._room.set()
        self._looking: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        self._look_on()
        try:
            await self.handle_client()
        finally:
            if self._looking is not None:
                self._looking.cancel()
            # For when we are cancelled: mitmproxy's own tasks would go on.
            for connection in list(self.transports):
                self._cancel(connection, "the connection ended")
            self._conversation.end()

    async def server_event(self, event: events.Event) -> None:
        await super().server_event(event)
        if self._conversation.waiting_bytes <= MAX_WAITING:
            self._room.set()
        else:
            self._room.clear()

    async def drain_writers(self) -> None:
        """What each reader waits for before it reads on."""
        await super().drain_writers()  # type: ignore[no-untyped-call]
        client = self.transports.get(self.client)
        if client is not None and client.handler is asyncio.current_task():
            await self._room.wait()

    async def handle_hook(self, hook: commands.StartHook) -> None:
        try:
            await self._handle(hook)
        except Exception as error:  # noqa: BLE001 - fail closed: a hook that fails ends its connection
            self._world.recorder.crashed(f"hook {hook.name}", error)
            if isinstance(hook, JudgeRequestHook):
                hook.exchange.revoke()
            self._cancel(self.client, "a hook failed")

    async def _handle(self, hook: commands.StartHook) -> None:
        name = self._accepted.arrival.name
        match hook:
            case JudgeRequestHook(exchange=exchange):
                await exchange.open()
            case DrainUpstreamHook():
                await self._drain(hook)
            case layer.NextLayerHook(data=asked):
                asked.layer = GuardedHttpLayer(asked.context, self._conversation)
            case TlsStartClientHook(data):
                data.ssl_conn = self._client_tls.connection(name, self._accepted.alpn or ())
            case TlsStartServerHook(data):
                # The same protocol on both sides: what is lost in translation is lost without a word.
                alpn = HTTP2 if data.context.client.alpn == HTTP2 else HTTP1
                data.conn.sni = name
                data.conn.alpn_offers = (alpn,)
                data.ssl_conn = self._upstream_tls.connection(name, (alpn,))
            case TlsFailedServerHook(data):
                self._note_tls_failure(data)
            case TlsFailedClientHook(data):
                if (sign := _sign_of_distrust(data.conn.error or "")) is not None:
                    self._world.recorder.client_distrusts(name, sign)
            case server_hooks.ServerConnectHook(data):
                self._watch_connect(data.server)
            case _:
                pass  # of mitmproxy's many hooks, these are the ones that concern us

    async def _drain(self, hook: DrainUpstreamHook) -> None:
        transport = self.transports.get(hook.connection)
        if hook.is_stopped or transport is None or transport.writer is None:
            return
        drained = asyncio.ensure_future(transport.writer.drain())
        hook.cancel = drained.cancel
        try:
            await asyncio.wait({drained})
        finally:
            drained.cancel()
        if not drained.cancelled():
            drained.exception()  # whose reader tells of it

    def _note_tls_failure(self, data: tls.TlsData) -> None:
        error = data.conn.error or ""
        if "verify failed" in error or "mismatch" in error:
            self._conversation.tls_fault = faults.UNVERIFIED
        elif "closed" not in error and "cancelled" not in error:
            self._conversation.tls_fault = faults.NO_TLS

    def _watch_connect(self, upstream: Server) -> None:
        self._conversation.connecting()

        def check() -> None:
            if upstream.timestamp_tls_setup is None and upstream in self.transports:
                self._conversation.timed_out = True
                self._cancel(upstream, "connect time-out")

        asyncio.get_running_loop().call_later(self._world.timeouts.connect, check)

    async def on_timeout(self) -> None:
        """Nothing moved for too long. Requests on their way are answered first, then the connection ends."""
        if self._conversation.busy:
            self._conversation.stalled = True
            for connection in list(self.transports):
                if connection is not self.client:
                    self._cancel(connection, "idle time-out")
            await asyncio.sleep(FAREWELL)
        self._cancel(self.client, "idle time-out")

    def _look_on(self) -> None:
        most = self._world.timeouts.request
        if most is not None:
            period = min(LOOK_SECONDS, most / LOOKS_PER_TIMEOUT)
            self._looking = asyncio.get_running_loop().call_later(period, self._look, most)

    def _look(self, most: float) -> None:
        """For requests that take too long in all."""
        for exchange in self._conversation.overdue(most):
            self._begin_to_cut(self._end_late(exchange, most))
        self._look_on()

    async def _end_late(self, exchange: Exchange, most: float) -> None:
        """Our answer, where nobody has seen another; else without a word. HTTP/2 ends the stream alone."""
        name, has_begun = self._accepted.arrival.name, exchange.status is not None
        is_alone = self.client.alpn != HTTP2
        if not (is_alone and has_begun):
            await self.server_event(CutStream(exchange, faults.too_long(name, most)))
            if not exchange.finished:
                return  # its stream waits for something, and hears of it then
        if has_begun:
            self._world.recorder.upstream_failed(name, Reason.REQUEST_TIMED_OUT.value)
        elif is_alone:
            await asyncio.sleep(FAREWELL)
        if is_alone:
            exchange.condemn()
            for connection in list(self.transports):
                self._cancel(connection, "it took too long")

    def _begin_to_cut(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._cutting.add(task)
        task.add_done_callback(self._cutting.discard)

    def _cut(self, exchange: Exchange) -> None:
        """A stream of HTTP/2 alone; any other request has its connection for itself, and both sides end.

        They end without a word: a farewell in TLS would make a body that ends with its connection look whole.
        """
        if self.client.alpn == HTTP2:
            self._begin_to_cut(self.server_event(CutStream(exchange)))
        else:
            for connection in list(self.transports):
                self._cancel(connection, "the policy was replaced")

    def _cancel(self, connection: Connection, why: str) -> None:
        transport = self.transports.get(connection)
        if transport is not None and transport.handler is not None:
            transport.handler.cancel(why)

    def log(self, message: str, level: int = 0, exc_info: object = None) -> None:  # noqa: ARG002 - its interface
        """What mitmproxy says quote what was on the wire. What matters of them reaches us as hooks."""
        if exc_info is True:
            exc_info = sys.exc_info()
        if isinstance(exc_info, tuple) and isinstance(exc_info[1], BaseException):
            self._world.recorder.crashed("mitmproxy", exc_info[1])
            self._cancel(self.client, "mitmproxy crashed")
