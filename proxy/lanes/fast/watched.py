"""What a connection asks of its request, whichever way that goes: whether anything moves, and its end."""

from typing import NamedTuple

from proxy.core.audit import Ending
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.upstreams import Upstream, Upstreams
from proxy.transaction.opening import Forward


class Sent(NamedTuple):
    """A request on its way."""

    upstream: Upstream
    opening: Forward
    # How many bytes had come on that connection before.
    heard: int
    # It has served before: it may have died since, and nobody told us.
    was_idle: bool


class Waiting(NamedTuple):
    """What one that waits has come to."""

    upstream: Upstream | None
    is_left: bool
    is_stalled: bool


class Watched:
    """A request that waits for an upstream."""

    _upstream: Upstream | None = None
    _is_left = False
    _is_stalled = False

    def __init__(self, client: Side, upstreams: Upstreams) -> None:
        self._client = client
        self._upstreams = upstreams

    @property
    def moved(self) -> int:
        side = self._upstream.side if self._upstream is not None else None
        return side.came + side.went if side is not None else 0

    @property
    def _has_left(self) -> bool:
        return self._is_left

    @property
    def _how_it_broke(self) -> Ending:
        client = self._client
        left = self._has_left or (client.is_over and not client.is_dropped)
        return Ending.CLIENT_GONE if left else Ending.CUT

    def _news(self) -> None:
        """The client said something, or left, while we are about its request."""
        if self._client.is_over:
            self._is_left = True
            self._let_go()

    def _let_go(self, *, park: bool = False) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        if park:
            self._upstreams.park(upstream)
        else:
            self._upstreams.end(upstream)

    def look(self) -> None:
        """See `Side.look`."""
        if self._upstream is not None:
            self._upstream.side.look()

    def stall(self) -> bool:
        """Nothing moves. False: there is nothing that could still be answered."""
        if self._is_stalled or self._upstream is None:
            return False
        self._is_stalled = True
        self._upstream.side.drop()
        return True

    def give_up(self) -> Waiting:
        """Somebody else waits on."""
        upstream, self._upstream = self._upstream, None
        return Waiting(upstream, self._is_left, self._is_stalled)

    def take_over(self, waiting: Waiting) -> None:
        self._upstream, self._is_left, self._is_stalled = waiting
