"""The lease book: for each key one live lease, or why there is none and when to ask again.

It performs nothing and knows no clock: `mono` is a clock that only goes forward, `wall` the one on the wall,
both in seconds, and `dice` a number in [0, 1). Whoever drives it fetches.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import inf
from typing import Final

from proxy.core.lease import Lease, LeaseKey
from proxy.core.structs import Struct, replace
from proxy.leasing.lifetimes import ENDLESS, Lifetime, Span, lifetime_of
from proxy.leasing.pace import (
    CEILING,
    FIRST_GRACE,
    FORGIVEN_AFTER,
    LAST_GRACE,
    LOCAL_GAP,
    Retry,
    refresh_after,
    retry_after,
)
from proxy.sources.steps import Acquired, Failed

TOO_OLD: Final = (
    "the credential that the source gave has ended by the source's own clock, or does within seconds: check "
    "its lifetime, and the clocks of this node and of the source"
)


class Have(Struct, frozen=True):
    lease: Lease


class RefreshSoon(Struct, frozen=True):
    """Good, and old enough that the next one should be asked for meanwhile."""

    lease: Lease


class MustFetch(Struct, frozen=True):
    """There is none, and the source may be asked."""


class Fetching(Struct, frozen=True):
    """There is none, and the source is being asked."""


class BackingOff(Struct, frozen=True):
    """There is none, and the source is not to be asked yet. `why` is what it said the last time."""

    why: str
    seconds: float


Look = Have | RefreshSoon | MustFetch | Fetching | BackingOff
_MUST_FETCH: Final = MustFetch()
_FETCHING: Final = Fetching()
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Ticket(Struct, frozen=True):
    """One run of a source. What became of its key meanwhile shows when it is handed in."""

    key: LeaseKey
    number: int


class Held(Struct, frozen=True):
    """A lease with what it takes to renew and to revoke it."""

    key: LeaseKey
    lease: Lease
    acquired: Acquired
    age: float
    # Seconds since a request last asked for it; None: none has.
    unused: float | None


class _Entry(Struct):
    # Both are made once for each lease: a request only reads.
    have: Have | None = None
    soon: RefreshSoon | None = None
    acquired: Acquired | None = None
    lifetime: Lifetime = ENDLESS
    # The most that this value ever had left, by which it is paced however often it comes; 0: it does not end.
    longest: float = 0.0
    lease_id: str = ""
    issued: datetime = _EPOCH
    began: float = -inf
    fetched: float = -inf
    refresh_at: float = inf
    # When a request last asked for this value; None: none has yet.
    used_at: float | None = None
    failures: int = 0
    why: str = ""
    retry_live: float = -inf
    retry_dead: float = -inf
    grace: float = FIRST_GRACE
    spent_at: float = -inf
    flight: int | None = None
    local: bool = False
    skew: float | None = None

    def forget(self) -> None:
        self.have = self.soon = self.acquired = None


class LeaseBook:
    def __init__(self) -> None:
        self._entries: dict[LeaseKey, _Entry] = {}
        self._flights = 0

    # --- requests ---

    def look(self, key: LeaseKey, mono: float, wall: float) -> Look:
        """What there is for a request at this moment. Nothing known to be expired is ever in it."""
        entry = self._entries.get(key)
        if entry is None:
            return _MUST_FETCH
        have = entry.have
        if have is not None:
            lifetime = entry.lifetime
            if mono < lifetime.deadline and wall < lifetime.wall_deadline:
                entry.used_at = mono
                if mono < entry.refresh_at or mono < entry.retry_live or entry.flight is not None:
                    return have
                return entry.soon or have
            # By the wall's clock alone it may only seem so; a new one is asked for all the same.
        if entry.flight is not None:
            return _FETCHING
        if mono < entry.retry_dead:
            return BackingOff(entry.why, entry.retry_dead - mono)
        return _MUST_FETCH

    def due(self, mono: float) -> list[LeaseKey]:
        """Live leases to be refreshed that a request asked for since they came; an unused one lapses."""
        return [
            key
            for key, entry in self._entries.items()
            if entry.have is not None
            and entry.flight is None
            and entry.used_at is not None
            and entry.used_at >= entry.fetched
            and max(entry.refresh_at, entry.retry_live) <= mono < entry.lifetime.deadline
        ]

    # --- fetching ---

    def begin(self, key: LeaseKey) -> Ticket | None:
        """The source is being asked. None: it already is."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.flight is not None:
            return None
        self._flights += 1
        entry.flight = self._flights
        return Ticket(key, self._flights)

    def is_wanted(self, ticket: Ticket) -> bool:
        """Whether its key was not dropped since."""
        return self._of(ticket) is not None

    def held(self, key: LeaseKey, mono: float) -> Held | None:
        entry = self._entries.get(key)
        if entry is None or entry.have is None or entry.acquired is None:
            return None
        unused = None if entry.used_at is None else mono - entry.used_at
        return Held(key, entry.have.lease, entry.acquired, mono - entry.began, unused)

    def skew(self, key: LeaseKey) -> float:
        """How much further the source's clock is than ours, as far as it has shown."""
        entry = self._entries.get(key)
        return (entry.skew or 0.0) if entry is not None else 0.0

    def learn(self, ticket: Ticket, skew: float | None) -> None:
        entry = self._of(ticket)
        if entry is not None and skew is not None:
            entry.skew = skew

    def succeed(
        self,
        ticket: Ticket,
        lease_id: str,
        acquired: Acquired,
        span: Span,
        dice: float,
        *,
        local: bool = False,
    ) -> Lease | Failed | None:
        """The lease that was made of it; Failed where it is too old already; None: nobody wants it now."""
        entry = self._of(ticket)
        if entry is None:
            return None
        lifetime = lifetime_of(acquired.expires, span)
        if lifetime is None:
            failed = Failed(TOO_OLD)
            self.fail(ticket, failed, span.ended, dice, local=local)
            return failed
        entry.flight = None
        entry.failures, entry.why = 0, ""
        entry.retry_live = entry.retry_dead = -inf
        if span.ended >= entry.refresh_at:
            entry.grace = FIRST_GRACE  # the last one lived as long as it should
        if entry.lease_id != lease_id:
            # The same value is the same lease, however often it was read.
            entry.lease_id, entry.began, entry.used_at = lease_id, span.ended, None
            entry.issued = datetime.fromtimestamp(span.wall, UTC)
            entry.longest = 0.0
        lease = Lease(lease_id, ticket.key.ref, acquired.parts, entry.issued, lifetime.expires)
        entry.have, entry.soon = Have(lease), RefreshSoon(lease)
        entry.acquired, entry.lifetime, entry.fetched = acquired, lifetime, span.ended
        if lifetime.seconds < inf:
            entry.longest = max(entry.longest, lifetime.seconds)
        entry.local = local
        if local:
            # Read again after a second, and only when a request asks: what is gone by then is gone.
            entry.lifetime = replace(lifetime, deadline=min(span.ended + LOCAL_GAP, lifetime.deadline))
            entry.refresh_at = inf
        else:
            entry.refresh_at = span.ended + refresh_after(lifetime.seconds, entry.longest, dice)
        return lease

    def fail(self, ticket: Ticket, failed: Failed, mono: float, dice: float, *, local: bool = False) -> None:
        """A good lease stays until it really ends."""
        entry = self._of(ticket)
        if entry is None:
            return
        entry.flight = None
        entry.failures += 1
        entry.why = failed.message
        longest = entry.longest if entry.have is not None else 0.0
        wait = (
            Retry(LOCAL_GAP, LOCAL_GAP)
            if local
            else retry_after(entry.failures, longest, failed.retry_after, dice)
        )
        entry.retry_live, entry.retry_dead = mono + wait.live, mono + wait.dead

    def _of(self, ticket: Ticket) -> _Entry | None:
        entry = self._entries.get(ticket.key)
        return entry if entry is not None and entry.flight == ticket.number else None

    # --- ends ---

    def spent(self, key: LeaseKey, lease_id: str, mono: float) -> Held | None:
        """An upstream said that this lease is expired or revoked. Where that is believed, it gives back what
        was held: the source may know nothing of it."""
        entry = self._entries.get(key)
        if entry is None or entry.have is None or entry.have.lease.id != lease_id:
            return None
        if entry.local:
            # Read at once: a rotated file is a new lease, and the same content is the same one.
            entry.lifetime = replace(entry.lifetime, deadline=mono)
            return None
        # The same value may come again: then it is young since it was last called spent.
        age = mono - max(entry.began, entry.spent_at)
        if age < entry.grace:
            return None
        forgiven = age >= entry.grace * FORGIVEN_AFTER
        entry.grace = FIRST_GRACE if forgiven else min(entry.grace * 2, LAST_GRACE)
        entry.spent_at, entry.refresh_at = mono, inf
        held = self.held(key, mono)
        entry.forget()
        return held

    def sweep(self, mono: float, wall: float) -> list[Held]:
        """Forget what has ended; it is given back, to be overwritten."""
        lapsed = []
        for key, entry in self._entries.items():
            lifetime, held = entry.lifetime, self.held(key, mono)
            # What is local is read again a second later, and is what it is until then.
            if held is None or entry.flight is not None or entry.local:
                continue
            if mono >= lifetime.deadline or wall >= lifetime.wall_deadline:
                lapsed.append(held)
                entry.forget()
        return lapsed

    def retain(self, keys: Iterable[LeaseKey], mono: float) -> list[Held]:
        """Forget all others, also what is being fetched; what was held is given back, to be revoked."""
        wanted = set(keys)
        return [held for key in [*self._entries] if key not in wanted for held in self.drop(key, mono)]

    def drop(self, key: LeaseKey, mono: float) -> list[Held]:
        held = self.held(key, mono)
        self._entries.pop(key, None)
        return [held] if held is not None else []

    def all_held(self, mono: float) -> Iterator[Held]:
        for key in [*self._entries]:
            held = self.held(key, mono)
            if held is not None:
                yield held

    def is_idle(self, key: LeaseKey, mono: float) -> bool:
        """Whether it can be forgotten: nothing is held or being fetched, and a source that failed has been
        left in peace for so long that this need not be remembered."""
        entry = self._entries.get(key)
        return entry is None or (
            entry.have is None and entry.flight is None and entry.retry_dead + CEILING <= mono
        )

    def live(self, mono: float) -> int:
        return sum(
            entry.have is not None and (entry.local or mono < entry.lifetime.deadline)
            for entry in self._entries.values()
        )

    def failing(self) -> int:
        """Sources that failed when they were last asked."""
        return sum(entry.failures > 0 for entry in self._entries.values())
