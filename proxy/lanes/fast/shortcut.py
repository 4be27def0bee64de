"""The short way: a request that was asked before, and an answer like most. One straight path, for what nearly
all requests of an application are.

Nothing is decided here, and nothing is mended. What is not as usual goes the long way, from where it stands:
`OneRequest` takes it over.
"""

import asyncio
from typing import Final, cast
from weakref import ref

from proxy.core.arrival import Arrival
from proxy.core.audit import Ending, Own
from proxy.core.policy import OnRevoke
from proxy.lanes.exchange import CutOff, Exchange
from proxy.lanes.fast.asked import Asked
from proxy.lanes.fast.calls import Taker
from proxy.lanes.fast.messages import request_head
from proxy.lanes.fast.one_request import OneRequest
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.upstreams import Origin, Upstream, Upstreams
from proxy.lanes.fast.watched import Sent, Watched
from proxy.lanes.interface import LaneWorld
from proxy.lanes.memory import Begun
from proxy.transaction.response import is_plain
from proxy.wire.response_head import UsualAnswer, read_usual_answer

# Their answers end elsewhere than their heads say.
_BODILESS: Final = frozenset({"HEAD", "CONNECT"})

# Of one connection, which holds as much elsewhere. Longer ones are rarely asked for twice.
KEPT_BODY: Final = 4096


class Shortcut(Watched):
    """Of one connection of the application: its requests, one after the other, as long as they are of this
    kind. Each is served in the turns of the event loop in which it and its answer come: to wake the task that
    waits for their end costs as much as to read a head."""

    # The request that is under way, where one is; it was told of, and its end was not.
    _begun: Begun | None = None
    # Whether the connection goes on; None: what is under way is to be taken over.
    _done: asyncio.Future[bool | None]
    # What carries the last request, and how many bytes had come there before.
    _sent_on: Upstream
    _heard_before = 0

    def __init__(
        self, world: LaneWorld, arrival: Arrival, client: Side, origin: Origin, upstreams: Upstreams
    ) -> None:
        super().__init__(client, upstreams)
        self._world = world
        self._arrival = arrival
        self._origin = origin
        # A body that shows none of these: what is asked again is often answered the same, and to look through
        # that takes as long as all of the judgement.
        # They hold a credential, and are not held for that: they go with their lease.
        self._clean_of: ref[frozenset[bytes]] | None = None
        self._clean = b""
        self._requests = Taker(self._asked)
        self._answers = Taker(self._answered)

    @property
    def is_busy(self) -> bool:
        return self._begun is not None

    def close(self) -> None:
        """Its connection has ended."""
        self._requests.forget()
        self._answers.forget()

    def cut(self) -> None:
        """None that a policy would cut comes this way."""

    async def serve(self, raw: bytes, cut_off: CutOff) -> bool | OneRequest | None:
        """Whether its connection goes on, for what is not for this way any more; or what serves a request on,
        once it is on its way. None: it is not for this way, and nothing has happened."""
        self._done = asyncio.get_running_loop().create_future()
        try:
            if not self._begin(raw):
                return None
            goes_on = await self._done
            begun = self._begun
            if goes_on is not None or begun is None:
                return bool(goes_on)
            return self._handed_over(begun, cut_off)
        except Exception as error:  # noqa: BLE001 - fail closed: what fails ends its connection
            self._fail(error)
            return False
        finally:
            self._stop()

    def _handed_over(self, begun: Begun, cut_off: CutOff) -> OneRequest:
        """What is under way, as something that serves it on."""
        familiar, path = begun.familiar, begun.path
        asked = cast("Asked", familiar.note)  # or it had not begun
        if path is not None:
            familiar = familiar.elsewhere(path)
            familiar.note = asked = asked.elsewhere(familiar.head)
            begun = begun._replace(familiar=familiar)
        sent = Sent(self._sent_on, begun.forward, self._heard_before, was_idle=True)
        exchange = Exchange(self._world, self._arrival, familiar.head, cut_off)
        exchange.take_over(begun)
        # It is remembered already, so the bytes of its head are of no more use.
        request = OneRequest(self._world, self._origin, self._client, self._upstreams, asked, exchange, b"")
        request.resume(sent, self.give_up())
        self._begun = None  # it is told of by that
        return request

    # --- one request ---

    def _asked(self, data: bytes) -> None:
        """What the client says between two requests: one head and no more, or it is not known."""
        try:
            if not self._begin(data):
                self._client.unread(data)
                self._finish(goes_on=True)
        except Exception as error:  # noqa: BLE001 - fail closed: what fails ends its connection
            self._fail(error)

    def _begin(self, raw: bytes) -> bool:
        """As the one before was opened, with the same lease, and sent. False: it is not for this way, and
        nothing has happened."""
        world, client, found = self._world, self._client, None
        if client.is_over:
            return False
        try:
            now, started = world.clock.now(), world.clock.monotonic()
            pod, path = world.pod(), None
            familiar = world.memory.recall(raw, self._arrival, pod, now)
            if familiar is None:
                akin = world.memory.akin(raw, self._arrival, pod, now)
                if akin is None:
                    return False
                familiar, path = akin
            again, note = familiar.again, familiar.note
            if not isinstance(note, Asked) or not note.is_usual:
                return False
            lease = world.leases.at_hand(familiar.key)
            if lease is None:
                return False
            signed_at = world.clocks.at(self._arrival.name, now) if again.is_timed else now
            if path is None:
                record, forward = familiar.record, again.known(pod, lease, signed_at)
            else:
                record = familiar.leased(lease).elsewhere(path)
                forward = again.elsewhere(pod, path, lease, now, signed_at)
            if forward is None or record.lease_id != lease.id or forward.on_revoke is OnRevoke.CUT:
                return False
            found = self._upstreams.take(self._origin)
            if found is None:
                return False
            if found.name != self._arrival.name:
                self._upstreams.park(found)
                return False  # the long way takes that one, too, and tells of it
            written = request_head(forward, note.head.method, waits=False)
            own = Own(now, world.new_id(), found.peer)
            # First: what could not be recorded does not travel.
            world.recorder.repeated(record, own, world.clock.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - whatever it was, the long way tells of it
            world.recorder.crashed("fast lane", error)
            if found is not None:
                self._upstreams.end(found)
            return False
        self._begun = Begun(familiar, lease, forward, signed_at, record, own, started, path)
        self._upstream = self._sent_on = found
        self._is_left = self._is_stalled = False
        side = found.side
        self._heard_before = side.came
        client.on_news = self._news
        client.watch()
        side.hand(self._answers)
        side.write(written)
        return True

    def _answered(self, data: bytes) -> None:
        """What the upstream says, or its end."""
        begun, found, client = self._begun, self._upstream, self._client
        try:
            answer = self._usual(data, begun) if begun is not None else None
            if begun is None or found is None or answer is None:
                self._sent_on.side.unread(data)
                self._finish(goes_on=None)
                return
            client.write(answer.passed)
            ending = self._how_it_broke if client.is_broken else Ending.COMPLETED
            own, took, size = begun.own, self._since(begun.started), len(answer.body)
            own = Own(own.time, own.request_id, own.upstream, answer.status, 0, size, 0, took, ending)
            self._begun = client.on_news = None
            self._world.recorder.ended(begun.record, own)
            self._upstream = None
            self._upstreams.park(found)
        except Exception as error:  # noqa: BLE001 - fail closed: what fails ends its connection
            self._fail(error)
            return
        if client.unsent or client.unread_size or client.is_over:
            self._finish(goes_on=ending is Ending.COMPLETED)
        else:
            client.hand(self._requests)

    def _usual(self, data: bytes, begun: Begun) -> UsualAnswer | None:
        """An answer that is whole, and passed on as it is. None: it is to be looked at."""
        answer, forward = read_usual_answer(data), begun.forward
        if answer is None or begun.familiar.head.method in _BODILESS:
            return None
        for sign in forward.spent:
            if sign.status == answer.status:
                return None
        body, forms = answer.body, forward.forms
        clean_of = self._clean_of() if self._clean_of is not None else None
        is_clean = forms is clean_of and body == self._clean
        if not is_plain(forward, answer.keys, answer.lines, body, is_clean=is_clean):
            return None
        if not is_clean and len(body) <= KEPT_BODY:
            self._clean_of, self._clean = ref(forms), body
        return answer

    # --- its end ---

    def _finish(self, *, goes_on: bool | None) -> None:
        if not self._done.done():
            self._done.set_result(goes_on)

    def _fail(self, error: Exception) -> None:
        self._world.recorder.crashed("fast lane", error)
        self._client.drop()
        self._finish(goes_on=False)

    def _stop(self) -> None:
        """Nobody is served here any more."""
        client, begun = self._client, self._begun
        client.on_news = None
        client.hand(None)
        self._let_go()
        self._begun = None
        if begun is not None:
            took, broken = self._since(begun.started), self._how_it_broke
            own = begun.own._replace(duration_ms=took, ending=broken)
            self._world.recorder.ended(begun.record, own)

    def _since(self, started: float) -> float:
        """In milliseconds."""
        return round((self._world.clock.monotonic() - started) * 1000, 3)
