"""Refusals on connections that no lane opened: cleartext requests, and tunnels that are not granted."""

import asyncio
import socket
from contextlib import suppress

from proxy.core.arrival import Arrival
from proxy.core.audit import Ending
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.lanes.interface import LaneWorld
from proxy.transaction.head import HeadProblem, head_of_http1
from proxy.wire.request_head import RequestHead


class Unopened:
    def __init__(self, world: LaneWorld) -> None:
        self._world = world

    async def refuse(
        self, sock: socket.socket, arrival: Arrival, reason: Reason, head: RequestHead | None, why: str = ""
    ) -> None:
        """Answer one request in cleartext, write its record, and end the connection."""
        if not why:
            why = REASONS[reason].meaning.partition(". ")[0].rstrip(".")
        readable = head_of_http1(head) if head is not None and head.method != "CONNECT" else None
        exchange = Exchange(self._world, arrival, readable or HeadProblem(reason, why))
        refused = exchange.turn_away(reason, why)
        answer = exchange.answer(refused)
        lines = [f"HTTP/1.1 {answer.status} podkey"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        lines += ["connection: close", "", ""]
        data = "\r\n".join(lines).encode("latin-1") + answer.body
        exchange.finish(Ending.REFUSED)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._world.timeouts.header):
                await send_and_linger(sock, data)


async def send_and_linger(sock: socket.socket, data: bytes) -> None:
    """Send, end our side, and read until the other side has ended: its reset must not overtake our answer."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, data)
    sock.shutdown(socket.SHUT_WR)
    while await loop.sock_recv(sock, 65_536):
        pass
