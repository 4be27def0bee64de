"""Over plain connections on loopback: what is said is the same with TLS."""

import asyncio

import pytest

from injector.edge.conversation import Deadlines
from injector.edge.http_messages import MAX_BODY, Head, Reply
from injector.edge.room import Room
from injector.edge.tls import server_context
from tests.injector_serving_world import (
    PATH,
    Client,
    Counts,
    EchoSite,
    HandClock,
    TestAuthority,
    listening,
    review_site,
    running,
)

# For what never comes: a test waits for one deadline, and has time for the others.
SOON = 0.01


def head_of(length: int, *fields: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, *fields, "", ""]).encode()


def test_requests_follow_each_other_on_one_connection() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts()) as (_, port):
            client = await Client.open(port)
            for body in (b"one", b"", b"x" * 3_000_000, b"four"):
                assert await client.post(body) == (200, body)
            await client.close()

    running(scenario())


def test_a_request_may_come_byte_by_byte() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts()) as (_, port):
            client = await Client.open(port)
            for byte in head_of(3) + b"abc":
                client.writer.write(bytes([byte]))
                await client.writer.drain()
            assert await client.answer() == (200, b"abc")
            await client.close()

    running(scenario())


def test_two_requests_at_once_are_answered_in_order() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts()) as (_, port):
            client = await Client.open(port)
            client.writer.write(head_of(3) + b"one" + head_of(3) + b"two")
            assert await client.answer() == (200, b"one")
            assert await client.answer() == (200, b"two")
            await client.close()

    running(scenario())


def test_who_sends_many_requests_at_once_takes_turns_with_everybody_else() -> None:
    async def scenario() -> None:
        turns = 0
        seen: list[int] = []

        class Site(EchoSite):
            async def answer(self, head: Head, body: bytes, since: float) -> Reply:
                seen.append(turns)
                return Reply(200, body)

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with listening(Site(), Counts()) as (_, port):
            client = await Client.open(port)
            client.writer.write(head_of(0) * 200)
            beside = asyncio.create_task(others())
            for _ in range(200):
                assert await client.answer() == (200, b"")
            beside.cancel()
            await client.close()

        assert len(set(seen)) == len(seen)

    running(scenario())


def test_a_client_that_waits_for_a_word_gets_it_before_its_body() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts()) as (_, port):
            client = await Client.open(port)
            client.writer.write(head_of(3, "Expect: 100-continue"))
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
            client.writer.write(b"abc")
            assert await client.answer() == (200, b"abc")
            await client.close()

    running(scenario())


def test_who_is_refused_gets_the_answer_while_still_sending() -> None:
    async def scenario() -> None:
        async with listening(EchoSite(), Counts()) as (_, port):
            client = await Client.open(port)
            client.send(b"x" * MAX_BODY, "/forbidden")
            assert await client.answer() == (403, b"no")
            await client.close()

    running(scenario())


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (b"\x16\x03\x01garbage\r\n\r\n", b"400", "malformed"),
        (head_of(MAX_BODY + 1), b"413", "body_too_large"),
        (b"POST / HTTP/1.1\r\nA: " + b"a" * 20_000, b"431", "head_too_large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"411", "no_length"),
    ],
)
def test_what_is_no_request_is_told_so_and_the_connection_ends(data: bytes, status: bytes, why: str) -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, deadlines=Deadlines(refused=0.01)) as (_, port):
            client = await Client.open(port)
            client.writer.write(data)
            answer = await client.ended()
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert counts.seen == {why: 1}
            await client.close()

    running(scenario())


@pytest.mark.parametrize(
    ("data", "why", "deadlines"),
    [
        (b"POST /mutate HTT", "slow_head", Deadlines(head=SOON)),
        (head_of(9) + b"part", "slow_body", Deadlines(body=SOON)),
        (b"", "", Deadlines(idle=SOON)),
        (head_of(0), "", Deadlines(idle=SOON)),
    ],
)
def test_who_is_too_slow_is_left(data: bytes, why: str, deadlines: Deadlines) -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(EchoSite(), counts, deadlines=deadlines) as (_, port):
            client = await Client.open(port)
            client.writer.write(data)
            await client.ended()
            assert counts.seen == ({why: 1} if why else {})
            await client.close()

    running(scenario())


class _Wordy(EchoSite):
    async def answer(self, head: Head, body: bytes, since: float) -> Reply:
        return Reply(200, bytes(64 << 20))


@pytest.mark.parametrize("authority", [None, TestAuthority()], ids=["plain", "over TLS"])
def test_who_does_not_read_the_answer_is_left(authority: TestAuthority | None) -> None:
    context = authority and server_context(*authority.pair())

    async def scenario() -> None:
        counts = Counts()
        shown = context and (lambda: context)
        async with listening(_Wordy(), counts, context=shown, deadlines=Deadlines(write=SOON)) as (_, port):
            client = await Client.open(port, authority and authority.client())
            client.writer.transport.pause_reading()
            client.writer.write(head_of(0))
            await counts.until(lambda: counts.seen == {"slow_reader": 1})
            await client.close()

    running(scenario())


@pytest.mark.parametrize("data", [b"", b"POST /mut", head_of(9), head_of(9) + b"half"])
def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(data: bytes) -> None:
    async def scenario() -> None:
        counts = Counts()
        site = review_site(counts, max_concurrent=1)
        async with listening(site, counts) as (listener, port):
            for end in ("half", "whole"):
                client = await Client.open(port)
                client.writer.write(data)
                await client.writer.drain()
                if end == "half":
                    client.writer.write_eof()
                    await client.ended()
                await client.close()
            await counts.until(lambda: listener.open_connections == 0 and counts.open == 0)
            assert counts.seen["began"] == counts.seen["ended"]
            client = await Client.open(port)
            assert (await client.post(b"{}"))[0] == 200
            await client.close()

    running(scenario())


def test_how_long_a_review_took_counts_from_its_first_byte() -> None:
    async def scenario() -> None:
        counts, clock = Counts(), HandClock()
        site = review_site(counts, clock=clock)
        async with listening(site, counts) as (_, port):
            client = await Client.open(port)
            client.writer.write(head_of(2))
            await counts.until(lambda: counts.seen["began"] == 1)
            clock.time += 6
            client.writer.write(b"{}")
            status, _ = await client.answer()
            assert status == 503
            assert counts.seen["too_late"] == 1
            await client.close()

    running(scenario())


def test_a_body_of_3_mib_keeps_nobody_else_waiting() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(review_site(counts), counts) as (_, port):
            large, small = await Client.open(port), await Client.open(port)
            large.send(b"x" * (3 << 20))
            answers = await asyncio.gather(large.answer(), small.post(b"{}"))
            assert [status for status, _ in answers] == [200, 200]
            for client in (large, small):
                await client.close()

    running(scenario())


def test_connections_that_send_a_head_and_nothing_else_keep_no_review_out() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(review_site(counts, max_concurrent=1), counts) as (_, port):
            silent = [await Client.open(port) for _ in range(20)]
            for client in silent:
                client.writer.write(head_of(MAX_BODY))
            await counts.until(lambda: counts.seen["began"] == 20)
            client = await Client.open(port)
            assert (await client.post(b"{}"))[0] == 200
            for one in (*silent, client):
                await one.close()

    running(scenario())


def test_bodies_that_stop_coming_make_room_for_those_that_come() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(review_site(counts), counts, deadlines=Deadlines(body=60, refused=0.01)) as (
            listener,
            port,
        ):
            listener._room = Room(100_000)
            stopped, going = await Client.open(port), await Client.open(port)
            stopped.writer.write(head_of(90_000) + b"x" * 80_000)
            await counts.until(lambda: counts.seen["began"] == 1)
            while listener._room._free > 20_000:  # noqa: ASYNC110 - what arrives is not told
                await asyncio.sleep(0)
            assert (await going.post(b"x" * 60_000))[0] == 200
            status, _ = await stopped.answer()
            assert status == 503
            await stopped.ended()
            assert counts.seen["crowded"] == 1
            assert counts.seen["slow_body"] == 0
            await counts.until(lambda: counts.seen["ended"] == 2)
            assert listener._room._free == 100_000
            for client in (stopped, going):
                await client.close()

    running(scenario())


def test_a_body_for_which_there_is_no_room_is_told_to_come_again() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with listening(review_site(counts), counts, deadlines=Deadlines(refused=0.01)) as (
            listener,
            port,
        ):
            listener._room = Room(10)
            for length in (11, 300_000):
                client = await Client.open(port)
                status, body = await client.post(b"x" * length)
                assert (status, body) == (503, b"podkey: there are too many bodies at this time\n")
                await client.close()

    running(scenario())
