"""A connection that switched protocols (RFC 9110 §7.8): from here on both sides speak as they like."""

import asyncio

from proxy.lanes.exchange import Exchange
from proxy.lanes.fast.messages import response_head
from proxy.lanes.fast.side import HIGH_WATER, Side
from proxy.wire.response_head import ResponseHead


def is_websocket(response: ResponseHead) -> bool:
    upgrades = [value for name, value in response.fields if name.lower() == "upgrade"]
    return ",".join(upgrades).strip().lower() == "websocket"


async def tunnel(exchange: Exchange, response: ResponseHead, client: Side, upstream: Side) -> None:
    """Until both have ended. The end of one is passed on as an end: a half-closed connection stays one."""
    edits = exchange.response(response.status, response.fields)
    client.on_news = None
    client.write(response_head(response.status, edits.fields, chunked=False, closes=False, switches=True))
    up = asyncio.get_running_loop().create_task(_up(exchange, client, upstream))
    try:
        while data := await upstream.read():
            client.write(exchange.receive_piece(data))
            if client.unsent > HIGH_WATER:
                await client.drained()
            if client.is_broken or exchange.is_cut:
                return
        if upstream.is_broken:
            client.drop()  # without a word: whoever reads on is told so by that
            return
        await client.drained(0)
        client.farewell()
        await up
    finally:
        up.cancel()


async def _up(exchange: Exchange, client: Side, upstream: Side) -> None:
    while data := await client.read():
        exchange.sent += len(data)
        upstream.write(data)
        if upstream.unsent > HIGH_WATER:
            await upstream.drained()
        if upstream.is_broken:
            return
    if client.is_broken:
        upstream.drop()
    else:
        await upstream.drained(0)
        upstream.farewell()
