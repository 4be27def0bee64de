import asyncio
import errno
import socket
import ssl
import tracemalloc
from typing import Any, NoReturn

import pytest

from injector.edge.conversation import Deadlines
from injector.edge.http_messages import Head, Reply
from injector.edge.listener import MOST_IDLE, TLS_BUFFER, _bound
from injector.edge.tls import server_context
from tests.injector_serving_world import (
    Client,
    Counts,
    EchoSite,
    TestAuthority,
    listening,
    review_site,
    running,
)

AUTHORITY = TestAuthority()
CONTEXT = server_context(*AUTHORITY.pair())
QUICK = Deadlines(handshake=0.05, end=0.01)


def test_so_many_wait_for_another_request_and_whoever_comes_then_is_told_to_come_anew() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts) as (listener, port):
            waiting = [await Client.open(port) for _ in range(MOST_IDLE)]
            for client in waiting:
                assert await client.post(b"x") == (200, b"x")
            for _ in range(2):
                late = await Client.open(port)
                assert await late.post(b"y") == (200, b"y")
                assert await late.ended() == b"", "the answer said so, and the connection ended"
                await late.close()
            await waiting.pop().close()
            await counts.until(lambda: listener.open_connections < MOST_IDLE)
            early = await Client.open(port)
            for body in (b"a", b"b"):
                assert await early.post(body) == (200, body), "there is a place again"
            for client in (*waiting, early):
                await client.close()

    running(scenario())


class SlowSite(EchoSite):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def answer(self, head: Head, body: bytes, since: float) -> Reply:
        self.asked.set()
        await self.go.wait()
        return Reply(200, body)


def test_it_speaks_tls_and_http_1_only() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts(), context=lambda: CONTEXT) as (_, port):
            client = await Client.open(port, AUTHORITY.client())
            shown = client.writer.get_extra_info("ssl_object")
            assert shown.selected_alpn_protocol() == "http/1.1"
            assert await client.post(b"hello") == (200, b"hello")
            await client.close()

    running(scenario())


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 5000, b""]
)
def test_a_handshake_that_fails_or_never_comes_is_counted_and_over(data: bytes) -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, context=lambda: CONTEXT, deadlines=QUICK) as (
            listener,
            port,
        ):
            client = await Client.open(port)
            client.writer.write(data)
            await counts.until(lambda: counts.seen["handshake"] == 1)
            await client.ended()
            await counts.until(lambda: listener.open_connections == 0)
            await client.close()

    running(scenario())


def test_who_takes_an_answer_is_not_taken_for_slow() -> None:
    async def scenario() -> None:
        counts = Counts()
        deadlines = Deadlines(write=0.3)
        async with listening(EchoSite(), counts, context=lambda: CONTEXT, deadlines=deadlines) as (
            listener,
            port,
        ):
            clients = [await Client.open(port, AUTHORITY.client()) for _ in range(3)]
            for _ in range(3):
                for client in clients:
                    assert await client.post(b"x" * 100_000) == (200, b"x" * 100_000)
            listener.leave()
            for client in clients:
                await client.post()
                assert await client.ended() == b""
            assert counts.seen == {}
            for client in clients:
                await client.close()

    running(scenario())


def test_who_does_not_trust_us_is_counted_and_nobody_else_suffers() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, context=lambda: CONTEXT) as (_, port):
            with pytest.raises(ssl.SSLCertVerificationError):
                await Client.open(port, TestAuthority().client())
            client = await Client.open(port, AUTHORITY.client())
            assert await client.post(b"hello") == (200, b"hello")
            await client.close()

    running(scenario())


def test_the_next_handshake_takes_the_certificate_of_that_moment() -> None:
    async def scenario() -> None:
        contexts = [CONTEXT]
        async with listening(EchoSite(), Counts(), context=lambda: contexts[-1]) as (_, port):
            old = await Client.open(port, AUTHORITY.client())
            before = old.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            contexts.append(server_context(*AUTHORITY.pair()))
            new = await Client.open(port, AUTHORITY.client())
            after = new.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

            assert before != after
            assert await old.post(b"old") == (200, b"old")
            assert await new.post(b"new") == (200, b"new")
            for client in (old, new):
                await client.close()

    running(scenario())


# --- limits ---------------------------------------------------------------------------------------


def test_who_connects_and_says_nothing_costs_little() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, context=lambda: CONTEXT) as (_, port):
            tracemalloc.start()
            try:
                silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
                await counts.until(lambda: counts.open == len(silent))
                for _ in range(10):
                    await asyncio.sleep(0)
                # With what the clients' own ends take. OpenSSL's memory is not seen here: some 40 KiB.
                assert tracemalloc.get_traced_memory()[0] < len(silent) * 1.5 * TLS_BUFFER
            finally:
                tracemalloc.stop()
            for _, writer in silent:
                writer.transport.abort()

    running(scenario())


def test_above_the_limit_the_longest_idle_one_goes() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, max_connections=2) as (_, port):
            first, second = await Client.open(port), await Client.open(port)
            await first.post()
            await second.post()
            await first.post()  # so the second one is idle for longer
            third = await Client.open(port)
            assert (await third.post())[0] == 200
            assert await second.ended() == b""
            assert (await first.post())[0] == 200
            assert counts.seen == {"limit": 1}
            for client in (first, second, third):
                await client.close()

    running(scenario())


def test_above_the_limit_the_one_goes_that_owes_its_body_for_the_longest_time() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(review_site(counts), counts, max_connections=2) as (_, port):
            owing = [await Client.open(port) for _ in range(2)]
            for number, client in enumerate(owing, 1):
                client.writer.write(
                    b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 9\r\n\r\n"
                )
                await counts.until(lambda number=number: counts.seen["began"] == number)  # type: ignore[misc]
            third = await Client.open(port)
            assert (await third.post())[0] == 200
            assert await owing[0].ended() == b""
            assert counts.seen["limit"] == 1
            for client in (*owing, third):
                await client.close()

    running(scenario())


def test_above_the_limit_nobody_is_let_in_while_all_are_busy() -> None:
    async def scenario() -> None:
        counts, site = Counts(), SlowSite()
        async with listening(site, counts, max_connections=1) as (_, port):
            busy = await Client.open(port)
            busy.send(b"first")
            await site.asked.wait()
            second = await Client.open(port)
            assert await second.ended() == b""
            assert counts.seen == {"limit": 1}
            site.go.set()
            assert await busy.answer() == (200, b"first")
            for client in (busy, second):
                await client.close()

    running(scenario())


def test_connections_without_a_handshake_count_and_go_first() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, context=lambda: CONTEXT, max_connections=3) as (
            listener,
            port,
        ):
            silent = [await Client.open(port) for _ in range(3)]
            await counts.until(lambda: listener.open_connections == 3)
            client = await Client.open(port, AUTHORITY.client())
            assert (await client.post())[0] == 200
            assert counts.seen["limit"] == 1
            assert listener.open_connections <= 3
            for one in (*silent, client):
                await one.close()

    running(scenario())


def test_a_lack_of_descriptors_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        accept, faults = loop.sock_accept, [errno.EMFILE, errno.ECONNABORTED]

        async def faulty(listening_socket: socket.socket) -> Any:
            if faults:
                raise OSError(faults.pop(), "not now")
            return await accept(listening_socket)

        monkeypatch.setattr(loop, "sock_accept", faulty)
        monkeypatch.setattr("injector.edge.listener._BREATH_SECONDS", 0)
        async with listening(EchoSite(), Counts()) as (_, port):
            client = await Client.open(port)
            assert (await client.post())[0] == 200
            await client.close()
        assert not faults

    running(scenario())


def test_a_defect_ends_one_connection_and_is_told() -> None:
    class Broken(EchoSite):
        async def admit(self, head: Head) -> NoReturn:
            raise ValueError("of ours")

    async def scenario() -> None:
        failures: list[Exception] = []
        async with listening(Broken(), Counts(), failures=failures) as (_, port):
            client = await Client.open(port)
            client.send()
            assert await client.ended() == b""
            await client.close()
        assert [type(error) for error in failures] == [ValueError]

    running(scenario())


# --- the end --------------------------------------------------------------------------------------


def test_when_it_leaves_each_answer_is_the_last_of_its_connection() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts()) as (listener, port):
            client = await Client.open(port)
            await client.post()
            listener.leave()
            client.send(b"last")
            answer = await client.ended()
            assert b"connection: close" in answer.lower()
            assert answer.endswith(b"last")
            fresh = await Client.open(port)
            assert (await fresh.post())[0] == 200
            for one in (client, fresh):
                await one.close()

    running(scenario())


def test_at_its_end_idle_connections_end_and_what_is_on_its_way_is_answered() -> None:
    async def scenario() -> None:
        site = SlowSite()
        async with listening(site, Counts(), context=lambda: CONTEXT) as (listener, port):
            idle = await Client.open(port, AUTHORITY.client())
            busy = await Client.open(port, AUTHORITY.client())
            busy.send(b"one")
            await site.asked.wait()
            closing = asyncio.ensure_future(listener.close(30))
            assert await idle.ended() == b""
            with pytest.raises(OSError, match="Connect call failed"):
                await Client.open(port)
            site.go.set()
            assert await busy.answer() == (200, b"one")
            assert await busy.ended() == b""
            for one in (idle, busy):
                await one.close()
            assert await closing == 0

    running(scenario())


def test_what_does_not_end_is_cut() -> None:
    async def scenario() -> None:
        site = SlowSite()
        async with listening(site, Counts()) as (listener, port):
            client = await Client.open(port)
            client.send()
            await site.asked.wait()
            assert await listener.close(0.01) == 1
            assert await client.ended() == b""
            await client.close()

    running(scenario())


def test_a_handshake_in_the_middle_does_not_hold_up_the_end() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, context=lambda: CONTEXT) as (listener, port):
            client = await Client.open(port)
            await counts.until(lambda: listener.open_connections == 1)
            assert await listener.close(30) == 0
            assert await client.ended() == b""
            await client.close()

    running(scenario())


# --- addresses ------------------------------------------------------------------------------------


def test_two_colons_are_every_address() -> None:
    with (
        _bound("::", 0) as listening_socket,
        socket.create_connection(("127.0.0.1", listening_socket.getsockname()[1])),
    ):
        assert listening_socket.family is socket.AF_INET6


def test_without_ipv6_they_are_every_address_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def only_ipv4(address: tuple[str, int], **options: Any) -> socket.socket:
        if options["family"] is socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return create(address, **options)

    monkeypatch.setattr(socket, "create_server", only_ipv4)
    with _bound("::", 0) as listening_socket:
        assert listening_socket.family is socket.AF_INET


def test_an_address_that_is_taken_is_an_error() -> None:
    with _bound("::", 0) as listening_socket, pytest.raises(OSError, match="in use"):
        _bound("::", listening_socket.getsockname()[1])
