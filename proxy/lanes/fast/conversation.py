"""One connection of the application: its requests, one after the other, and its end."""

from typing import Final

from proxy.core.arrival import Arrival
from proxy.core.audit import Ending
from proxy.lanes.exchange import Exchange
from proxy.lanes.familiar import recall
from proxy.lanes.fast.asked import Asked, read_asked
from proxy.lanes.fast.messages import own_answer
from proxy.lanes.fast.one_request import OneRequest
from proxy.lanes.fast.shortcut import Shortcut
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.timed_request import TimedRequest
from proxy.lanes.fast.upstreams import Upstreams
from proxy.lanes.interface import Accepted, LaneWorld
from proxy.transaction.head import HeadProblem, problem_of
from proxy.wire.outcomes import BadHead
from proxy.wire.request_head import read_request_head

# In the middle of a line, how many more bytes of a head it takes to look at it again.
LOOK_EVERY: Final = 4096

_END: Final = b"\r\n\r\n"


class Conversation:
    """`watch` has to be called every second or so: it ends what stands still."""

    def __init__(self, world: LaneWorld, accepted: Accepted, client: Side, upstreams: Upstreams) -> None:
        self._world = world
        self._arrival: Arrival = accepted.arrival
        self._origin = (accepted.arrival.name, accepted.address)
        self._client = client
        self._upstreams = upstreams
        self._request: OneRequest | Shortcut | None = None
        self._makes = OneRequest if world.timeouts.request is None else TimedRequest
        # Where a request may take only so long in all, each has a time of its own.
        has_short = world.timeouts.request is None
        self._short = Shortcut(world, self._arrival, client, self._origin, upstreams) if has_short else None
        # How many bytes had moved when it was last looked at, and since when none did.
        self._moved = -1
        self._since = world.clock.monotonic()
        # Since when a head is incomplete, or the last answer is on its way out.
        self._waiting: float | None = None
        accepted.busy = lambda: self._under_way is not None
        accepted.idle_for = lambda: world.clock.monotonic() - self._since

    @property
    def _under_way(self) -> OneRequest | Shortcut | None:
        """Between two requests the short way waits for the next one by itself."""
        request = self._request
        return request if request is not self._short or request is None or request.is_busy else None

    async def run(self) -> None:
        try:
            while await self._next():
                # Who sends requests and reads no answers is not served on.
                if self._client.unsent:
                    await self._client.drained()
            await self._client.drained(0)
            self._waiting = self._world.clock.monotonic()
            await self._client.part()
        finally:
            if self._short is not None:
                self._short.close()

    def _cut(self, _: Exchange) -> None:
        if self._request is not None:
            self._request.cut()

    async def _next(self) -> bool:
        """The next request. Whether another one may follow."""
        raw = await self._head()
        if not isinstance(raw, bytes):
            if raw is not None:
                self._refuse(problem_of(raw))
            return False
        if self._short is not None:
            self._request = self._short
            try:
                done = await self._short.serve(raw, self._cut)
            finally:
                self._request = None
            if isinstance(done, bool):
                return done
            if done is not None:
                return await self._serve(done)
        exchange = recall(self._world, self._arrival, raw, self._cut)
        known = exchange.familiar.note if exchange is not None and exchange.familiar is not None else None
        asked = known if isinstance(known, Asked) else read_asked(raw)
        if isinstance(asked, HeadProblem):
            self._refuse(asked)
            return False
        if exchange is None:
            exchange = Exchange(self._world, self._arrival, asked.head, self._cut)
        return await self._serve(
            self._makes(self._world, self._origin, self._client, self._upstreams, asked, exchange, raw)
        )

    async def _serve(self, request: OneRequest) -> bool:
        self._request = request
        try:
            return await request.serve()
        finally:
            self._request = None

    async def _head(self) -> bytes | BadHead | None:
        """The next one, to its empty line. None: the client has nothing more to say."""
        client = self._client
        data = more = await client.read()
        look_at = 0
        while (end := data.find(_END)) < 0:
            # Who sends byte by byte is not read again at each of them.
            if b"\n" in more or len(data) >= look_at:
                look_at = len(data) + LOOK_EVERY
                reading = read_request_head(data)
                if isinstance(reading, BadHead):
                    return reading
            if data and self._waiting is None:
                self._waiting = self._world.clock.monotonic()
            more = await client.read()
            if not more:
                return None
            data += more
        self._waiting = None
        end += len(_END)
        client.unread(data[end:])
        return data[:end]

    def _refuse(self, problem: HeadProblem) -> None:
        """Answer, and read no further: where the next request begins is anybody's guess."""
        exchange = Exchange(self._world, self._arrival, problem)
        answer = exchange.answer(exchange.open_unreadable())
        self._client.write(own_answer(answer, closes=True))
        exchange.finish(Ending.REFUSED)

    def watch(self, now: float) -> None:
        """End it, where it has waited for too long."""
        moved = self._client.came + self._client.went
        request = self._under_way
        if request is not None:
            moved += request.moved
        if moved != self._moved:
            self._moved, self._since = moved, now
        else:
            self._client.look()
            if self._request is not None:
                self._request.look()
        timeouts = self._world.timeouts
        if self._waiting is not None and now - self._waiting >= timeouts.header:
            self._client.drop()
        elif now - self._since >= timeouts.idle:
            self._since = now  # and another time, should that not be the end of it
            if request is None or not request.stall():
                self._client.drop()
