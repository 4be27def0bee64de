"""The short way: a request that was asked before, and an answer like most. One straight path, for what nearly
all requests of an application are.

Nothing is decided here, and nothing is mended. What is not as usual goes the long way, from where it stands:
`OneRequest` takes it over.
"""

from typing import Final

from proxy.core.arrival import Arrival
from proxy.core.audit import Ending, Own
from proxy.core.policy import OnRevoke
from proxy.lanes.exchange import CutOff, Exchange
from proxy.lanes.fast.asked import Asked
from proxy.lanes.fast.messages import passed_head, request_head
from proxy.lanes.fast.one_request import OneRequest
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.upstreams import Origin, Upstreams
from proxy.lanes.fast.watched import Sent, Watched
from proxy.lanes.interface import LaneWorld
from proxy.lanes.memory import Begun
from proxy.transaction.opening import Forward
from proxy.transaction.response import is_plain
from proxy.wire.framing import Length
from proxy.wire.response_head import ResponseHead, read_response_head

# What an answer like most has. Others may complain of the credential, or of where it was sent; and a 204 has
# no length, whatever it says (RFC 9110 §8.6).
_USUAL: Final = frozenset({200, 201, 202, 203, 206})


class Shortcut(Watched):
    """Of one connection of the application. It serves one request at a time."""

    def __init__(
        self, world: LaneWorld, arrival: Arrival, client: Side, origin: Origin, upstreams: Upstreams
    ) -> None:
        super().__init__(client, upstreams)
        self._world = world
        self._arrival = arrival
        self._origin = origin

    def cut(self) -> None:
        """None that a policy would cut comes this way."""

    async def serve(self, raw: bytes, cut_off: CutOff) -> bool | OneRequest | None:
        """Whether its connection goes on; or what serves it on, once it is on its way. None: it is not for
        this way, and nothing has happened."""
        begun = self._begun(raw)
        if begun is None or self._client.is_over:
            return None
        asked = begun.familiar.note
        found = self._upstreams.take(self._origin) if isinstance(asked, Asked) and asked.is_usual else None
        if not isinstance(asked, Asked) or found is None:
            return None
        self._upstream, self._is_left, self._is_stalled = found, False, False
        has_travelled = is_told = False
        own = begun.own._replace(upstream=found.peer)
        begun = begun._replace(own=own)
        try:
            if found.name != self._arrival.name:
                self._let_go(park=True)
                return None  # the long way takes that one, too, and tells of it
            written = request_head(begun.forward, asked.head.method, waits=False)
            self._client.on_news = self._news
            self._client.watch()
            # First: what could not be recorded does not travel.
            self._world.recorder.repeated(begun.record, own, self._world.clock.monotonic() - begun.started)
            has_travelled = True
            sent = Sent(found, begun.forward, found.side.came, was_idle=True)
            found.side.write(written)
            data = await found.side.read()
            answer = _usual_answer(data, asked.head.method, begun.forward)
            if answer is None:
                found.side.unread(data)
                exchange = Exchange(self._world, self._arrival, begun.familiar.head, cut_off)
                exchange.take_over(begun)
                request = OneRequest(
                    self._world, self._origin, self._client, self._upstreams, asked, exchange, raw
                )
                request.resume(sent, self.give_up())
                is_told = True  # by that
                return request
            response, body = answer
            self._client.write(passed_head(response, chunked=False, closes=False) + body)
            ending = self._how_it_broke if self._client.is_broken else Ending.COMPLETED
            took = self._since(begun.started)
            own = Own(own.time, own.request_id, own.upstream, response.status, 0, len(body), 0, took, ending)
            is_told = True
            self._world.recorder.ended(begun.record, own)
            self._let_go(park=True)
            return ending is Ending.COMPLETED  # noqa: TRY300 - the `finally` is for all
        except Exception as error:  # noqa: BLE001 - fail closed: what fails ends its connection
            self._world.recorder.crashed("fast lane", error)
            if not has_travelled:
                return None
            self._client.drop()
            return False
        finally:
            self._client.on_news = None
            self._let_go()
            if has_travelled and not is_told:
                took, broken = self._since(begun.started), self._how_it_broke
                self._world.recorder.ended(begun.record, own._replace(duration_ms=took, ending=broken))

    def _begun(self, raw: bytes) -> Begun | None:
        """As the one before was opened, with the same lease."""
        world = self._world
        now, started = world.clock.now(), world.clock.monotonic()
        familiar = world.memory.recall(raw, self._arrival, world.pod(), now)
        lease = world.leases.at_hand(familiar.key) if familiar is not None else None
        if familiar is None or lease is None or familiar.record.lease_id != lease.id:
            return None
        try:
            again, record = familiar.again, familiar.record
            signed_at = world.clocks.at(self._arrival.name, now) if again.is_timed else now
            forward = again.known(familiar.pod, lease, signed_at)
            if forward is None or forward.on_revoke is OnRevoke.CUT:
                return None
            own = Own(now, world.new_id(), self._arrival.upstream)
            return Begun(familiar, lease, forward, signed_at, record, own, started)
        except Exception as error:  # noqa: BLE001 - whatever it was, the long way tells of it
            world.recorder.crashed("fast lane", error)
            return None

    def _since(self, started: float) -> float:
        """In milliseconds."""
        return round((self._world.clock.monotonic() - started) * 1000, 3)


def _usual_answer(data: bytes, method: str, forward: Forward) -> tuple[ResponseHead, bytes] | None:
    """An answer that is whole, and passed on as it is. None: it is to be looked at."""
    response = read_response_head(data, method) if data else None
    if not isinstance(response, ResponseHead) or response.status not in _USUAL or not response.keeps:
        return None
    body, framing = data[response.size :], response.framing
    if not isinstance(framing, Length) or len(body) != framing.size:
        return None
    for sign in forward.spent:
        if sign.status == response.status:
            return None
    return (response, body) if is_plain(forward, response.keys, data) else None
