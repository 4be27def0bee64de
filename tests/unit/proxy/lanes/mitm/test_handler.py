"""The parts of the handler by themselves; test_lane.py has it at work between two sockets."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from mitmproxy import tls
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer, server_hooks
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import TlsFailedServerHook, TlsStartClientHook, TlsStartServerHook
from mitmproxy.proxy.server import ConnectionIO

from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.lanes import faults
from proxy.lanes.exchange import Exchange
from proxy.lanes.interface import Accepted
from proxy.lanes.mitm import handler as module
from proxy.lanes.mitm.client_tls import HTTP1, HTTP2, ClientTls
from proxy.lanes.mitm.engine_options import lane_options
from proxy.lanes.mitm.events import CutStream, DrainUpstreamHook, JudgeRequestHook
from proxy.lanes.mitm.handler import ConnectionInLane, Fuse
from proxy.lanes.mitm.servers import GuardedHttpLayer
from proxy.lanes.mitm.upstream_tls import UpstreamTls
from tests.lane_world import HOST, Internet, Talk, Upstream, World, arrival_of, get, tcp_pair, timeouts

GET = b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n"


@pytest.fixture
def world() -> World:
    return World()


# --- the fuse ----------------------------------------------------------------------------------------


def fused(world: World) -> Talk:
    def wrap(context: Context, inner: layer.Layer) -> layer.Layer:
        fuse = Fuse(context, world.lane_world)
        fuse.child = inner
        return fuse

    return Talk(world, wrap=wrap)


def broken(_event: events.Event) -> layer.CommandGenerator[None]:
    yield from [commands.Log("first") for _ in range(1)]
    raise RuntimeError("boom")


def test_an_exception_in_a_layer_ends_its_connection_and_no_other(world: World) -> None:
    one, other = fused(world), fused(world)
    one.say(GET)
    other.say(GET)

    one.http.handle_event = broken  # type: ignore[method-assign, assignment]
    one.reply(b"HTTP/1.1 200 OK\r\n")

    assert one.closed
    assert [(where, str(error)) for where, error in world.recorder.crashes] == [("mitmproxy layer", "boom")]
    assert other.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").endswith(b"ok")
    assert not other.closed


def test_after_the_fuse_has_gone_nothing_reaches_the_layer(world: World) -> None:
    talk = fused(world)
    talk.say(GET)
    sent = talk.forwarded
    talk.http.handle_event = broken  # type: ignore[method-assign, assignment]

    talk.say(b"x")
    talk.say(GET)
    talk.reply(b"HTTP/1.1 200 OK\r\n\r\n")

    assert talk.forwarded == sent
    assert talk.answer == b""
    assert len(world.recorder.crashes) == 1


def test_a_fuse_by_itself_says_nothing(world: World) -> None:
    talk = fused(world)

    assert list(talk.layer._handle_event(events.Start())) == []


# --- hooks -------------------------------------------------------------------------------------------


def in_lane(
    world: World, work: Callable[[ConnectionInLane], Awaitable[None]], internet: Internet | None = None
) -> None:
    """Something done with a handler whose connection exists and is not served."""
    internet = internet or Internet()

    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.send(b"hello")
        streams = await asyncio.open_connection(sock=ours)
        accepted = Accepted(ours, arrival_of(), ("192.0.2.7", 443), (b"http/1.1",))
        handler = ConnectionInLane(
            streams,
            accepted,
            world.lane_world,
            lane_options(5.0),
            ClientTls(internet),
            UpstreamTls([internet.root]),
        )
        try:
            await work(handler)
        finally:
            streams[1].transport.abort()
            theirs.close()

    asyncio.run(run())


def test_a_hook_that_fails_is_told_and_raises_nothing(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        exchange = handler._conversation.exchange(get())
        exchange.open = None  # type: ignore[method-assign, assignment]
        await handler.handle_hook(JudgeRequestHook(exchange))
        assert exchange.opening.record.reason == Reason.INTERNAL_ERROR.value

    in_lane(world, work)

    assert [where for where, _ in world.recorder.crashes] == ["hook judge_request"]


def test_the_hook_of_a_request_opens_its_transaction(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        exchange = handler._conversation.exchange(get())
        await handler.handle_hook(JudgeRequestHook(exchange))
        assert exchange.opening.record.reason == Reason.GRANTED.value

    in_lane(world, work)


class Writer:
    """One whose buffer is full until a test empties it."""

    def __init__(self, error: OSError | None = None) -> None:
        self.emptied = asyncio.Event()
        self._error = error

    async def drain(self) -> None:
        await self.emptied.wait()
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_what_is_written_upstream_is_waited_for_until_it_is_taken_or_lost(
    world: World, error: OSError | None
) -> None:
    async def work(handler: ConnectionInLane) -> None:
        server, writer = Server(address=("192.0.2.7", 443)), Writer(error)
        handler.transports[server] = ConnectionIO(writer=writer)  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(handler.handle_hook(DrainUpstreamHook(server)))
        await asyncio.sleep(0)
        assert not waiting.done()
        writer.emptied.set()
        await waiting

    in_lane(world, work)
    assert world.recorder.crashes == []


def test_nobody_waits_for_what_is_stopped_or_gone(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        server = Server(address=("192.0.2.7", 443))
        await handler.handle_hook(DrainUpstreamHook(server))
        handler.transports[server] = ConnectionIO(writer=Writer())  # type: ignore[arg-type]
        hook = DrainUpstreamHook(server)
        hook.stop()
        await handler.handle_hook(hook)
        late = DrainUpstreamHook(server)
        waiting = asyncio.ensure_future(handler.handle_hook(late))
        await asyncio.sleep(0)
        late.stop()
        await waiting

    in_lane(world, work)


def test_behind_tls_comes_our_http_layer(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        asked = layer.NextLayer(handler.layer.context)
        await handler.handle_hook(layer.NextLayerHook(asked))
        assert isinstance(asked.layer, GuardedHttpLayer)

    in_lane(world, work)


def test_tls_is_ours_on_both_sides(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        context = handler.layer.context
        for alpn, offered in ((HTTP2, HTTP2), (HTTP1, HTTP1), (None, HTTP1)):
            context.client.alpn = alpn
            data = tls.TlsData(Server(address=("192.0.2.7", 443)), context)
            await handler.handle_hook(TlsStartServerHook(data))
            assert data.ssl_conn is not None
            assert (data.conn.sni, data.conn.alpn_offers) == (HOST, (offered,))
            assert data.ssl_conn.get_servername() == HOST.encode()
        data = tls.TlsData(context.client, context)
        await handler.handle_hook(TlsStartClientHook(data))
        assert data.ssl_conn is not None

    in_lane(world, work)


def test_a_host_without_a_leaf_gets_no_tls(world: World) -> None:
    class Bare(Internet):
        def leaf_for(self, host: str) -> None:  # type: ignore[override]
            raise LookupError

    async def work(handler: ConnectionInLane) -> None:
        data = tls.TlsData(handler.client, handler.layer.context)
        await handler.handle_hook(TlsStartClientHook(data))
        assert data.ssl_conn is None

    in_lane(world, work, Bare())
    assert [where for where, _ in world.recorder.crashes] == ["hook tls_start_client"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("Certificate verify failed: hostname mismatch", Reason.UPSTREAM_UNVERIFIED),
        ("Certificate verify failed: certificate has expired", Reason.UPSTREAM_UNVERIFIED),
        ("The remote server does not speak TLS.", Reason.UPSTREAM_UNVERIFIED),
        ("OpenSSL Error([('SSL routines', '', 'unsupported protocol')])", Reason.UPSTREAM_UNVERIFIED),
        ("connection closed", Reason.UPSTREAM_UNREACHABLE),
        ("connection cancelled", Reason.UPSTREAM_UNREACHABLE),
    ],
)
def test_why_a_handshake_failed_becomes_a_reason(world: World, error: str, reason: Reason) -> None:
    async def work(handler: ConnectionInLane) -> None:
        data = tls.TlsData(Server(address=("192.0.2.7", 443)), handler.layer.context)
        data.conn.error = error
        await handler.handle_hook(TlsFailedServerHook(data))
        found, why = handler._conversation.upstream_fault(connecting=True)
        assert found is reason
        assert error not in why

    in_lane(world, work)


def test_a_new_attempt_forgets_how_the_last_one_failed(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        handler._conversation.tls_fault = "x"
        handler._conversation.timed_out = True
        server = Server(address=("192.0.2.7", 443))
        hook = server_hooks.ServerConnectHook(server_hooks.ServerConnectionHookData(server, handler.client))
        await handler.handle_hook(hook)
        found, _ = handler._conversation.upstream_fault(connecting=False)
        assert found is Reason.UPSTREAM_FAILED

    in_lane(world, work)


def test_hooks_that_do_not_concern_us_change_nothing(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        await handler.handle_hook(server_hooks.ClientConnectedHook(handler.client))

    in_lane(world, work)
    assert world.recorder.crashes == []


def raise_lookup_error() -> None:
    raise LookupError


# --- mitmproxy's words ---------------------------------------------------------------------------------


def test_what_mitmproxy_logs_is_dropped_and_what_crashed_is_told(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        handler.log("Unexpected data from server: b'secret'")
        error = RuntimeError("boom")
        handler.log("crashed", exc_info=(RuntimeError, error, None))
        try:
            raise_lookup_error()
        except LookupError:
            handler.log("mitmproxy has crashed!", exc_info=True)

    in_lane(world, work)

    assert [type(error) for _, error in world.recorder.crashes] == [RuntimeError, LookupError]


def test_a_command_that_breaks_the_handler_ends_the_connection(world: World) -> None:
    """Mitmproxy would log it and let the connection hang."""

    async def work(handler: ConnectionInLane) -> None:
        class Odd(layer.Layer):
            def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
                if isinstance(event, events.DataReceived):
                    yield commands.Command()

            _handle_event = handle_event

        handler.layer.child = Odd(handler.layer.context)  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            await handler.serve()

    in_lane(world, work)

    assert [type(error) for _, error in world.recorder.crashes][:1] == [RuntimeError]


# --- grants that are taken away ----------------------------------------------------------------------------


def test_a_request_over_http1_is_cut_with_its_connections(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(2)]
        upstream = Server(address=("192.0.2.7", 443))
        handler.transports[handler.client].handler = tasks[0]
        handler.transports[upstream] = ConnectionIO(handler=tasks[1])

        handler._conversation.exchange(get()).cut()

        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    in_lane(world, work)


def test_a_stream_of_http2_is_cut_alone(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        told: list[events.Event] = []

        async def note(event: events.Event) -> None:
            told.append(event)

        handler.server_event = note  # type: ignore[method-assign]
        handler.client.alpn = HTTP2
        exchange = handler._conversation.exchange(get())

        exchange.cut()

        await asyncio.gather(*handler._cutting)
        assert told == [CutStream(exchange)]
        assert handler._cutting == set()
        assert not handler.transports[handler.client].handler

    in_lane(world, work)


# --- requests that take too long in all -----------------------------------------------------------------


def late(handler: ConnectionInLane, *, ends: bool = True) -> tuple[Exchange, list[events.Event]]:
    """A request that has taken too long, and what its layers are told."""
    told: list[events.Event] = []
    exchange = handler._conversation.exchange(get())

    async def note(event: events.Event) -> None:
        told.append(event)
        if ends:
            exchange.finish(Ending.REFUSED)

    handler.server_event = note  # type: ignore[method-assign]
    return exchange, told


def test_without_a_limit_nobody_looks(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        handler._look_on()
        assert handler._looking is None

    in_lane(world, work)


@pytest.mark.parametrize(("most", "period"), [(60.0, 1.0), (2.0, 0.5)])
def test_it_is_looked_for_late_requests_again_and_again(most: float, period: float) -> None:
    async def work(handler: ConnectionInLane) -> None:
        loop = asyncio.get_running_loop()
        exchange, told = late(handler)
        handler._look_on()
        first = handler._looking
        assert first is not None
        assert 0 < first.when() - loop.time() <= period
        handler._look(most)
        assert handler._looking is not first
        assert handler._cutting == set()
        exchange.finish(Ending.COMPLETED)
        assert told == []
        first.cancel()
        handler._looking.cancel()

    in_lane(World(timeouts=timeouts(request=most)), work)


@pytest.mark.parametrize("alpn", [HTTP1, HTTP2])
@pytest.mark.parametrize("status", [None, 200])
@pytest.mark.parametrize("ends", [True, False])
def test_a_late_request_is_answered_or_cut(
    monkeypatch: pytest.MonkeyPatch, alpn: bytes, status: int | None, *, ends: bool
) -> None:
    monkeypatch.setattr(module, "FAREWELL", 0)
    world = World(timeouts=timeouts(request=60.0))

    async def work(handler: ConnectionInLane) -> None:
        handler.client.alpn = alpn
        exchange, told = late(handler, ends=ends)
        exchange.status = status
        task = asyncio.create_task(asyncio.Event().wait())
        handler.transports[handler.client].handler = task
        world.clock.seconds += 60

        handler._look(60.0)

        await asyncio.gather(*handler._cutting)
        await asyncio.sleep(0)
        alone = alpn == HTTP1
        # Of HTTP/1.1 the connection ends with the request: without a word, where its answer had begun.
        cut = CutStream(exchange, faults.too_long(HOST, 60.0))
        assert told == ([] if alone and status else [cut])
        assert bool(task.cancelling() or task.cancelled()) is (alone and (bool(status) or ends))
        failed = status is not None and (ends or alone)
        assert world.recorder.failures == [(HOST, "request_timed_out")] * failed
        task.cancel()
        assert handler._looking is not None
        handler._looking.cancel()

    in_lane(world, work)


# --- drain -----------------------------------------------------------------------------------------------


def test_a_drain_is_told_what_is_on_its_way_and_since_when_it_stands(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        accepted = handler._accepted
        assert not accepted.busy()
        exchange = handler._conversation.exchange(get())
        assert accepted.busy()
        handler.timeout_watchdog.last_activity -= 100
        assert 100 <= accepted.idle_for() < 105
        exchange.finish(Ending.COMPLETED)
        assert not accepted.busy()

    in_lane(world, work)


def test_the_idle_time_is_the_settings(world: World) -> None:
    async def work(handler: ConnectionInLane) -> None:
        assert handler.timeout_watchdog.timeout == 0.5

    in_lane(replace(world, timeouts=timeouts(idle=0.5)), work)


def test_an_upstream_answer_after_a_failed_one_is_possible(world: World) -> None:
    talk = fused(world)
    talk.upstream = Upstream(error="no route")
    talk.say(GET)
    talk.upstream = Upstream()
    talk.say(GET)

    assert talk.reply(b"HTTP/1.1 204 No Content\r\n\r\n").startswith(b"HTTP/1.1 204")
