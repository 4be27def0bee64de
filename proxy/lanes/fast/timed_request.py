"""One request that may take only so long in all, whatever moves meanwhile. Most pods set no such limit."""

import asyncio

from proxy.core.reasons import Reason
from proxy.lanes import faults
from proxy.lanes.fast.messages import SWITCHED
from proxy.lanes.fast.one_request import OneRequest
from proxy.lanes.fast.upstreams import Upstream
from proxy.wire.response_head import ResponseHead


class TimedRequest(OneRequest):
    """Of a limit that is set."""

    _limit: asyncio.Timeout | None = None

    async def _serve(self) -> bool:
        seconds = self._world.timeouts.request
        self._limit = limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await super()._serve()
        except TimeoutError:
            if seconds is None or not limit.expired():
                raise
        return await self._end_late(seconds)

    async def _pass_on(self, response: ResponseHead, upstream: Upstream) -> bool | None:
        if response.status == SWITCHED and self._limit is not None:
            self._limit.reschedule(None)  # what follows is no request any more
        return await super()._pass_on(response, upstream)

    async def _end_late(self, seconds: float) -> bool:
        """Our answer, where nobody has seen another; else both connections end without a word."""
        exchange, (name, _) = self._exchange, self._origin
        await self._stop_sending()
        self._let_go()
        if exchange.finished:
            return False  # it is answered; what does not come to an end is a body that nobody wants
        if exchange.status is None and not self._is_lost():
            # Neither its body nor another request is waited for.
            self._goes_on = exchange.wants_body = False
            return await self._fail(faults.too_long(name, seconds))
        if exchange.status is not None:
            self._world.recorder.upstream_failed(name, Reason.REQUEST_TIMED_OUT.value)
        self._client.drop(reset=self._resets)
        return False
