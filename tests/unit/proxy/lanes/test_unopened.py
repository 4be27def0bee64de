import asyncio
import json
import socket

import pytest

from proxy.core.arrival import LaneName
from proxy.core.audit import Ending
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.lanes.unopened import Unopened
from proxy.wire.request_head import RequestHead, read_request_head
from tests.lane_world import World, arrival_of, tcp_pair, timeouts

HEAD = b"GET /v1/models?key=secret HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
CONNECT = b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"
ARRIVAL = arrival_of(port=80, lane=LaneName.RELAY, capture=Capture.EXPLICIT)


def parsed(data: bytes) -> RequestHead:
    head = read_request_head(data)
    assert isinstance(head, RequestHead)
    return head


def refused(
    world: World,
    data: bytes = HEAD,
    reason: Reason = Reason.CLEARTEXT,
    head: RequestHead | None = None,
    why: str = "",
) -> bytes:
    """What the application reads, up to the end, which it then answers with its own."""

    async def run() -> bytes:
        theirs, ours = tcp_pair()
        theirs.send(data)
        refusing = asyncio.get_running_loop().create_task(
            Unopened(world.lane_world).refuse(ours, ARRIVAL, reason, head, why)
        )
        theirs.settimeout(5)
        answer = await asyncio.to_thread(read_all, theirs)
        assert not refusing.done()
        theirs.close()
        async with asyncio.timeout(5):
            await refusing
        ours.close()
        return answer

    return asyncio.run(run())


def read_all(sock: socket.socket) -> bytes:
    got = b""
    while data := sock.recv(65_536):
        got += data
    return got


@pytest.fixture
def world() -> World:
    return World()


def test_a_request_is_answered_in_cleartext_and_recorded(world: World) -> None:
    answer = refused(world, head=parsed(HEAD))

    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 403 podkey\r\n")
    assert b"podkey-reason: cleartext" in top
    assert top.endswith(b"connection: close")
    assert json.loads(body)["error"]["code"] == "cleartext"
    record = world.recorder.record
    assert (record.reason, record.path, record.method) == ("cleartext", "/v1/models", "GET")
    assert record.ending is Ending.REFUSED
    assert b"secret" not in answer


def test_a_reason_has_words_of_its_own_where_nobody_gives_some(world: World) -> None:
    message = json.loads(refused(world, head=parsed(HEAD)).partition(b"\r\n\r\n")[2])["error"]["message"]

    assert REASONS[Reason.CLEARTEXT].meaning.partition(". ")[0].rstrip(".") in message


def test_a_clause_of_the_callers_is_told(world: World) -> None:
    assert b"this port is a proxy" in refused(
        world, reason=Reason.MALFORMED_REQUEST, why="this port is a proxy"
    )


def test_a_tunnel_is_refused_without_a_path(world: World) -> None:
    answer = refused(world, CONNECT, Reason.FENCED_ADDRESS, parsed(CONNECT))

    assert b"podkey-reason: fenced_address" in answer
    assert (world.recorder.record.method, world.recorder.record.path) == ("", "")


def test_a_head_request_gets_no_body(world: World) -> None:
    head = HEAD.replace(b"GET", b"HEAD")

    assert refused(world, head, head=parsed(head)).endswith(b"\r\n\r\n")


def test_what_the_application_still_sends_does_not_reset_the_answer(world: World) -> None:
    """Closing a socket with unread bytes in it sends a reset, which overtakes what was written."""
    upload = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 100000\r\n\r\n") + bytes(100_000)

    assert b"podkey-reason: cleartext" in refused(world, upload)


def test_an_application_that_does_not_end_is_left_after_a_while() -> None:
    world = World(timeouts=timeouts(header=0.05))

    async def run() -> None:
        theirs, ours = tcp_pair()
        async with asyncio.timeout(5):
            await Unopened(world.lane_world).refuse(ours, ARRIVAL, Reason.CLEARTEXT, None)
        theirs.close()
        ours.close()

    asyncio.run(run())
    assert len(world.recorder.records) == 1


def test_an_application_that_is_gone_is_recorded_all_the_same(world: World) -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        await Unopened(world.lane_world).refuse(ours, replace(ARRIVAL), Reason.CLEARTEXT, None)
        ours.close()

    asyncio.run(run())
    assert world.recorder.record.reason == "cleartext"
