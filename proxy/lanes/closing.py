"""How a connection ends without losing what was written to it last."""

import asyncio
from contextlib import suppress


async def flush_and_close(writer: asyncio.StreamWriter, patience: float) -> None:
    """Close, and wait until the other side has taken what is still buffered; not longer than `patience`.

    Whoever owns the socket may close it afterwards. To close it earlier would cut the end of an answer off.
    """
    writer.close()
    closed = False
    try:
        async with asyncio.timeout(patience):
            with suppress(OSError):
                await writer.wait_closed()
            closed = True
    except TimeoutError:
        pass
    finally:
        if not closed:  # asyncio's transports cannot be aborted once they are gone
            writer.transport.abort()
