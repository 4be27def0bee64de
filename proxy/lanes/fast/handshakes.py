"""The beginning of TLS on a socket that does not block."""

import asyncio
import ssl
from collections.abc import Callable


async def shake_hands(sock: ssl.SSLSocket) -> None:
    """Raises what OpenSSL and the socket raise."""
    loop = asyncio.get_running_loop()
    number = sock.fileno()
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(number, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(number, loop.add_writer, loop.remove_writer)
        else:
            return


async def _ready(
    number: int,
    watch: Callable[[int, Callable[[], None]], object],
    unwatch: Callable[[int], object],
) -> None:
    ready = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    watch(number, wake)
    try:
        await ready
    finally:
        unwatch(number)
