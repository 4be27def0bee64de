"""The beginning of TLS on a socket that does not block."""

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Final

TLS13: Final = "TLSv1.3"
# Of one that is still going on: whoever waits is told to stop.
_GIVEN_UP: Final = "the handshake took too long"


def set_cork(sock: socket.socket, *, on: bool) -> None:
    """Hold packets back until they are full, or let them go (tcp(7))."""
    with suppress(OSError):  # it may be gone
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


def acknowledge(sock: socket.socket) -> None:
    """Tell the client at once that its last word came (tcp(7), TCP_QUICKACK). What we send next is too late:
    with Nagle's algorithm (RFC 896) it holds its first request back until it knows, for 40 ms."""
    with suppress(OSError):  # it may be gone
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def shake_hands(sock: ssl.SSLSocket) -> None:
    """Raises what OpenSSL and the socket raise. Behind it the socket is not watched, however it ended."""
    handshake = Handshake(sock)
    await handshake.run()
    handshake.unwatch()


class Handshake:
    """`run` raises what OpenSSL and the socket raise, and TimeoutError after `give_up`.

    Behind one that went well the socket stays watched: to begin and end that takes seven calls of the kernel,
    and whoever serves the connection watches it, too. He takes the watch over before he waits for anything.
    """

    def __init__(self, sock: ssl.SSLSocket, *, corks: bool = False) -> None:
        """`corks`: what TLS 1.3 sends behind the client's last word, a ticket, is held back (`is_corked`)."""
        self._sock = sock
        self._corks = corks
        self.is_corked = False
        self._loop = asyncio.get_running_loop()
        self._number = sock.fileno()
        self._ready: asyncio.Future[None] | None = None
        self._is_reading = False
        self._is_given_up = False

    async def run(self) -> None:
        try:
            await self._run()
        except BaseException:
            self.unwatch()
            raise

    async def _run(self) -> None:
        while not self._is_given_up:
            try:
                self._sock.do_handshake()
            except ssl.SSLWantReadError:
                if not self._is_reading:
                    self._loop.add_reader(self._number, self._wake)
                    self._is_reading = True
                self._cork(on=False)  # it was no last word: the client asks for another round
                await self._wait()
                self._cork(on=self._corks)
            except ssl.SSLWantWriteError:
                await self._writable()
            else:
                # Before TLS 1.3 the client waits for what was written last.
                if self.is_corked and self._sock.version() != TLS13:
                    self._cork(on=False)
                return
        raise TimeoutError(_GIVEN_UP)

    def _cork(self, *, on: bool) -> None:
        if on != self.is_corked:
            set_cork(self._sock, on=on)
            self.is_corked = on

    def unwatch(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._number)

    async def _writable(self) -> None:
        # What comes meanwhile stays readable: the loop would spin on that.
        self.unwatch()
        self._loop.add_writer(self._number, self._wake)
        try:
            await self._wait()
        finally:
            self._loop.remove_writer(self._number)

    async def _wait(self) -> None:
        self._ready = self._loop.create_future()
        await self._ready

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def give_up(self) -> None:
        self._is_given_up = True
        self._wake()
