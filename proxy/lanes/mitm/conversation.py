"""One connection of the application in the mitmproxy lane: what all its streams share."""

from typing import Protocol

from proxy.core.arrival import Arrival
from proxy.core.audit import Ending
from proxy.lanes import faults
from proxy.lanes.exchange import SWITCHED, CutOff, Exchange
from proxy.lanes.interface import LaneWorld
from proxy.transaction.head import Head, HeadProblem


class Waiting(Protocol):
    """What holds bytes: those that can go nowhere yet, and those that could have to be sent once more."""

    @property
    def waiting_bytes(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...


class Conversation:
    def __init__(self, world: LaneWorld, arrival: Arrival) -> None:
        self.world = world
        self.arrival = arrival
        self._open: set[Exchange] = set()
        # Once TLS towards the application stands.
        self.http: Waiting | None = None
        # Ends a request at once. Set by who holds the connection.
        self.cut_off: CutOff | None = None
        # What the handler saw go wrong on the upstream's side, last: mitmproxy only says that something did.
        self.tls_fault = ""
        self.timed_out = False
        self.stalled = False

    def connecting(self) -> None:
        """A new attempt; how the one before it ended says nothing."""
        self.tls_fault = ""
        self.timed_out = False

    def exchange(self, head: Head | HeadProblem) -> Exchange:
        exchange = Exchange(self.world, self.arrival, head, self.cut_off)
        self._open = {one for one in self._open if not one.finished}
        self._open.add(exchange)
        return exchange

    @property
    def waiting_bytes(self) -> int:
        return self.http.waiting_bytes if self.http is not None else 0

    @property
    def held_bytes(self) -> int:
        return self.http.held_bytes if self.http is not None else 0

    @property
    def busy(self) -> bool:
        """Whether a request is on its way."""
        return any(not exchange.finished for exchange in self._open)

    def overdue(self, seconds: float) -> list[Exchange]:
        """Requests that have taken so long in all. One that switched protocols is none any more."""
        return [
            exchange
            for exchange in self._open
            if not exchange.finished and exchange.status != SWITCHED and exchange.age >= seconds
        ]

    def upstream_fault(self, connecting: bool) -> faults.Fault:  # noqa: FBT001 - what mitmproxy tells
        """Why there is no response, as a reason and one clause."""
        name = self.arrival.name
        if self.stalled:
            return faults.stalled(name, self.world.timeouts.idle)
        if self.tls_fault:
            return faults.untrusted(name, self.tls_fault)
        if self.timed_out:
            return faults.too_slow(name)
        return faults.unreachable(name) if connecting else faults.silent(name)

    def end(self) -> None:
        """The connection is gone; whatever was on its way ends here."""
        for exchange in self._open:
            exchange.finish(Ending.COMPLETED if exchange.status == SWITCHED else Ending.CUT)
        self._open.clear()
