"""The beginning of TLS on a socket that does not block."""

import asyncio
import ssl
from typing import Final

# Of one that is still going on: whoever waits is told to stop.
_GIVEN_UP: Final = "the handshake took too long"


async def shake_hands(sock: ssl.SSLSocket) -> None:
    """Raises what OpenSSL and the socket raise; whichever way it ends, the socket is not watched behind it."""
    handshake = Handshake(sock)
    await handshake.run()
    handshake.unwatch()


class Handshake:
    """`run` raises what OpenSSL and the socket raise, and TimeoutError after `give_up`.

    Behind one that went well the socket stays watched: to begin and end that takes seven calls of the kernel,
    and whoever serves the connection watches it, too. He takes the watch over before he waits for anything.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._number = sock.fileno()
        self._ready: asyncio.Future[None] | None = None
        self._is_reading = False
        self._is_given_up = False

    async def run(self) -> None:
        try:
            while not self._is_given_up:
                try:
                    self._sock.do_handshake()
                except ssl.SSLWantReadError:
                    if not self._is_reading:
                        self._loop.add_reader(self._number, self._wake)
                        self._is_reading = True
                    await self._wait()
                except ssl.SSLWantWriteError:
                    await self._writable()
                else:
                    return
            raise TimeoutError(_GIVEN_UP)
        except BaseException:
            self.unwatch()
            raise

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
