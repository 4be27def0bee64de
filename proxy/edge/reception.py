"""Accepts connections, one task each, up to a limit; at the end lets them finish."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from proxy.edge.sockets import Neighbours, reset
from proxy.lanes.interface import Accepted

# While a drain waits it looks at every connection this often.
DRAIN_STEP: Final = 0.05
# Out of file descriptors: let some connections end before the next accept.
BREATHER: Final = 0.1


class Refusals(Protocol):
    """Who counts the connections that were turned away at the door."""

    def refused_connection(self, reason: str) -> None: ...
    def crashed(self, where: str, error: BaseException) -> None: ...


# Serves one connection. It is given the guest, to fill in what a drain wants to know.
Serve = Callable[[socket.socket, "Guest"], Awaitable[None]]


class Guest:
    """One connection, as the drain sees it."""

    __slots__ = ("accepted",)

    def __init__(self) -> None:
        # None while it is not decided which lane serves it: nothing is on its way then.
        self.accepted: Accepted | None = None

    @property
    def busy(self) -> bool:
        return self.accepted is not None and self.accepted.busy()

    def idle_for(self) -> float:
        return self.accepted.idle_for() if self.accepted is not None else 0.0


class Reception:
    def __init__(self, limit: int, told: Refusals) -> None:
        self._limit = limit
        self._told = told
        self._guests: dict[asyncio.Task[None], Guest] = {}
        self._is_near = Neighbours(asyncio.get_running_loop().time)
        self._listeners: list[socket.socket] = []
        self._hurried = False

    @property
    def open_connections(self) -> int:
        return len(self._guests)

    def open_door(self, listeners: Sequence[socket.socket], serve: Serve) -> None:
        for listener in listeners:
            # Who is accepted has it from the listener (Linux), for less than to ask for it each time.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._listeners.append(listener)
            self._watch(listener, serve)

    def _watch(self, listener: socket.socket, serve: Serve) -> None:
        """The watch stays: to begin and end one for each connection takes seven calls of the kernel."""
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, serve)

    def _accept(self, listener: socket.socket, serve: Serve) -> None:
        """One connection. Where more of them wait, this is called again, behind those that are served."""
        try:
            self._accept_one(listener, serve)
        except (BlockingIOError, InterruptedError):
            pass  # it has gone
        except Exception as error:  # noqa: BLE001 - whatever it is, a door that stays shut is worse
            # EMFILE and its kin pass; a client that is gone already (ECONNABORTED) is nothing.
            self._told.crashed("accept", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(BREATHER, self._watch, listener, serve)

    def _accept_one(self, listener: socket.socket, serve: Serve) -> None:
        sock, peer = listener.accept()
        if len(self._guests) >= self._limit:
            self._turn_away(sock, "limit")
        elif not self._is_near(peer[0]):
            self._turn_away(sock, "peer")
        else:
            sock.setblocking(False)  # noqa: FBT003 - the socket module's own
            guest = Guest()
            task = asyncio.get_running_loop().create_task(self._serve(sock, guest, serve))
            self._guests[task] = guest
            task.add_done_callback(self._guests.pop)

    def _turn_away(self, sock: socket.socket, reason: str) -> None:
        reset(sock)
        self._told.refused_connection(reason)

    async def _serve(self, sock: socket.socket, guest: Guest, serve: Serve) -> None:
        try:
            await serve(sock, guest)
        except Exception as error:  # noqa: BLE001 - one connection's crash is its own
            self._told.crashed("connection", error)
        finally:
            sock.close()

    def hurry(self) -> None:
        """Cut whatever a drain still waits for."""
        self._hurried = True

    def close_doors(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if listener.fileno() >= 0:
                loop.remove_reader(listener)
                listener.close()

    async def drain(self, patience: float) -> int:
        """Close the doors, let what is on its way arrive, and return how many connections had to be cut.

        A transfer may take as long as it moves: a checkpoint must arrive. One that stood still for `patience`
        seconds is cut.
        """
        self.close_doors()
        cut = 0
        while self._guests:
            for task, guest in list(self._guests.items()):
                if not guest.busy:
                    task.cancel()
                elif self._hurried or guest.idle_for() >= patience:
                    cut += not task.cancelling()
                    task.cancel()
            await asyncio.wait(self._guests, timeout=DRAIN_STEP)
        return cut
