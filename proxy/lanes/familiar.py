"""The way past the judgement, for a request that was asked before: see `lanes.memory`."""

from proxy.core.arrival import Arrival
from proxy.lanes.exchange import CutOff, Exchange
from proxy.lanes.interface import LaneWorld


def recall(
    world: LaneWorld, arrival: Arrival, raw_head: bytes, cut_off: CutOff | None = None
) -> Exchange | None:
    """An exchange that is open, as if it had been judged by itself; `familiar` says what its head was. None:
    it is not known, or has to wait for its lease."""
    found = world.memory.recall(raw_head, arrival, world.pod(), world.clock.now())
    if found is None:
        return None
    lease = world.leases.at_hand(found.key)
    if lease is None:
        return None
    exchange = Exchange(world, arrival, found.head, cut_off)
    exchange.open_again(found, lease)
    return exchange


def remember(world: LaneWorld, raw_head: bytes, exchange: Exchange, note: object = None) -> None:
    """For an exchange that was opened just now. `note` is the lane's: what else it read of the head, and
    nothing of this one request."""
    familiar = exchange.as_familiar(note)
    if familiar is not None:
        world.memory.remember(raw_head, familiar)
