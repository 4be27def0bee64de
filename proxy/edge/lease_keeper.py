"""Where lanes get live credentials: fetches what the book says is to be fetched, and keeps the book.

One flight per key: whoever comes while it is on its way waits for it. Leases are revoked, where their source
can be told, when no policy names them any more and at the end. What is derived from a lease (a session of a
directory bucket, a registry's token) is kept with it, and forgotten with it.
"""

import asyncio
import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from random import random
from secrets import token_bytes, token_hex
from typing import Final

from proxy.core.credentials import CredentialRef, Derived, derivation_name
from proxy.core.identity import WorkloadIdentity
from proxy.core.lease import Lease, LeaseEvent, LeaseKey, LeaseReply, NoLease, base_of
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.edge.lease_ends import FETCH_SECONDS, LeaseEnds, overwrite, said, secrets_of
from proxy.edge.performing import Performer, Run
from proxy.lanes.interface import Clock
from proxy.leasing.book import BackingOff, Fetching, Have, Held, LeaseBook, MustFetch, RefreshSoon, Ticket
from proxy.leasing.derivations import Derivations
from proxy.leasing.lifetimes import Span
from proxy.sources.steps import Acquired, Failed, Occasion, SourceOutcome
from proxy.sources.table import is_local, renewal_of, steps_of
from proxy.telemetry.log import Log

# As often is looked after leases that are to be refreshed or revoked.
TICK_SECONDS: Final = 1.0


class LeaseKeeper:
    """Answers NoLease rather than raise."""

    def __init__(  # noqa: PLR0917 - its world
        self,
        performer: Performer,
        identity: Callable[[], WorkloadIdentity],
        clock: Clock,
        log: Log,
        counted: Callable[[LeaseEvent], None] = lambda _event: None,
        is_proved: Callable[[], bool] = lambda: True,
        dice: Callable[[], float] = random,
    ) -> None:
        self._performer = performer
        self._identity = identity
        self._clock = clock
        self._log = log
        self._counted = counted
        self._is_proved = is_proved
        self._dice = dice
        self._book = LeaseBook()
        # Looked up once: a live lease is asked for with every request.
        self._look, self._monotonic, self._wall = self._book.look, clock.monotonic, clock.wall
        self._keys: frozenset[LeaseKey] = frozenset()
        self._derived = Derivations()
        self._flights: dict[LeaseKey, asyncio.Task[None]] = {}
        # Also those whose key was dropped meanwhile.
        self._flying: set[asyncio.Task[None]] = set()
        self._ends = LeaseEnds(performer, self._occasion, log, counted)
        self._told: dict[LeaseKey, str] = {}
        # Lease ids tell values apart, and say nothing about them to who does not have this key.
        self._salt = token_bytes(32)

    # --- lanes ---

    async def lease(self, key: LeaseKey) -> LeaseReply:
        live = self.at_hand(key)
        if live is not None:  # nearly always
            return live
        base = base_of(key)
        if base is not key and (missing := await self._lacks(key, base)) is not None:
            return missing
        look = self._look(key, self._monotonic(), self._wall())
        if base not in self._keys:
            # A request that was judged by a policy which has been replaced since does not bring it back.
            return NoLease(key.ref, f"no policy names the CredentialSource {key.ref} any more")
        if isinstance(look, MustFetch | Fetching):
            await self._fetched(key)
            look = self._look(key, self._monotonic(), self._wall())
        match look:
            case Have(lease) | RefreshSoon(lease):
                return lease
            case BackingOff(why, seconds):
                return NoLease(key.ref, f"{why} (asked again in {max(1, round(seconds))} s)")
            case _:
                return NoLease(key.ref, f"the CredentialSource {key.ref} has not answered yet")

    def at_hand(self, key: LeaseKey) -> Lease | None:
        """The live lease, where nobody has to wait for it."""
        base = base_of(key)
        if base is not key:
            made_of = self.at_hand(base)
            if made_of is None:
                return None
            self._admit(key, made_of)
        look = self._look(key, self._monotonic(), self._wall())
        if type(look) is Have:
            return look.lease
        if isinstance(look, RefreshSoon) and base in self._keys:
            self._start(key)
            return look.lease
        return None

    async def _lacks(self, key: LeaseKey, base: LeaseKey) -> NoLease | None:
        """Why nothing can be derived now: it is never worth more than the lease that it is made of."""
        lease = await self.lease(base)
        if isinstance(lease, NoLease):
            return lease
        self._admit(key, lease)
        return None

    def _admit(self, key: LeaseKey, made_of: Lease) -> None:
        """What is derived is kept from now on; what was made of another lease than the live one is not."""
        mono = self._monotonic()
        gone = self._derived.admit(key, lambda: {held.key for held in self._book.all_held(mono)})
        if gone is not None:
            self._ends.retire(self._book.drop(gone, mono), mono)
            self._told.pop(gone, None)
        if self._derived.is_outlived(key, made_of.id):
            self._ends.retire(self._book.drop(key, mono), mono)

    def spent(self, key: LeaseKey, lease_id: str) -> None:
        mono = self._clock.monotonic()
        held = self._book.spent(key, lease_id, mono)
        if held is not None:
            # The source may know nothing of it; and what an upstream refuses for a reason of its own is not
            # left behind for its whole life.
            self._ends.retire([held], mono)
            self._log.warning(
                "an upstream called a lease expired or revoked", credential=str(key.ref), lease=lease_id
            )

    # --- policy ---

    def use(self, keys: Iterable[LeaseKey]) -> None:
        """Forget, and revoke, what the policy in force does not name."""
        self._keys = frozenset(keys)
        self._derived.retain(self._keys)
        known = {*self._keys, *self._derived}
        self._ends.end(self._book.retain(known, self._clock.monotonic()), "no policy names it any more")
        for key in [key for key in self._told if key not in known]:
            del self._told[key]

    # --- people ---

    def held(self) -> list[Held]:
        """What is live, in a fixed order."""
        return sorted(
            self._book.all_held(self._clock.monotonic()),
            key=lambda one: (one.key.ref, one.key.scope, derivation_name(one.key.source.kind) or ""),
        )

    def complaints(self) -> list[tuple[CredentialRef, str]]:
        """Sources that gave none when they were last asked, and what they said."""
        return sorted((key.ref, why) for key, why in self._told.items())

    @property
    def sources(self) -> list[CredentialRef]:
        """Those that the policy in force names for this pod."""
        return sorted({key.ref for key in self._keys})

    def drop(self, credential: CredentialRef | None) -> int:
        """Of one source, or of all: the next request fetches anew, whatever it waited for. How many leases
        there were."""
        mono = self._clock.monotonic()
        every = [*self._keys, *self._derived]
        keys = [key for key in every if credential is None or key.ref == credential]
        dropped = [held for key in keys for held in self._book.drop(key, mono)]
        for key in keys:
            self._told.pop(key, None)
        self._ends.end(dropped, "it was dropped by hand")
        return len(dropped)

    @property
    def live(self) -> int:
        return self._book.live(self._clock.monotonic())

    @property
    def failing(self) -> int:
        return self._book.failing()

    # --- life ---

    async def keep(self) -> None:
        """Refresh what is used, revoke what was replaced; for ever."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_SECONDS)

    def tick(self) -> None:
        mono = self._clock.monotonic()
        for lapsed in self._book.sweep(mono, self._wall()):
            overwrite(lapsed.acquired)
        # Nothing is asked for with the identity of a pod that nobody proves.
        for key in self._book.due(mono) if self._is_proved() else ():
            self._start(key)
        for key in [key for key in self._derived if self._book.is_idle(key, mono)]:
            self._book.drop(key, mono)
            self._told.pop(key, None)
            self._derived.forget(key)
        self._ends.tick(mono)

    async def close(self) -> None:
        """Fetches end; what can be revoked is, as far as the time goes."""
        for flight in self._flying:
            flight.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)
        await self._ends.close(self._book.retain((), self._clock.monotonic()))

    # --- fetching ---

    async def _fetched(self, key: LeaseKey) -> None:
        if is_local(key.source.kind):
            # It only reads files, and nothing in it waits: a task would cost as much again.
            ticket = self._book.begin(key)
            if ticket is not None:
                await self._fetch(ticket)
            return
        flight = self._start(key)
        if flight is not None:
            # Whoever gives up waiting does not end it for the others.
            await asyncio.wait({flight})

    def _start(self, key: LeaseKey) -> asyncio.Task[None] | None:
        ticket = self._book.begin(key)
        if ticket is None:
            return self._flights.get(key)
        task = self._flights[key] = asyncio.get_running_loop().create_task(self._fetch(ticket))
        self._flying.add(task)
        task.add_done_callback(lambda done: self._landed(key, done))
        return task

    def _landed(self, key: LeaseKey, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        if self._flights.get(key) is task:
            del self._flights[key]

    async def _fetch(self, ticket: Ticket) -> None:
        key, run = ticket.key, self._performer.run()
        # What is in use passes through a renewal, too.
        before = self._book.held(key, run.began)
        kept = [] if before is None else [*secrets_of(before.acquired)]
        event = LeaseEvent.ACQUIRED
        try:
            outcome: SourceOutcome = Failed(f"the source gave no answer within {FETCH_SECONDS:g} s")
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    event, outcome = await self._ask(key, run, before, kept)
            except TimeoutError:
                pass
            except Exception as error:  # noqa: BLE001 - fail closed: see docs/adr/0003
                self._log.error("unexpected error", where="source", credential=str(key.ref), error=error)
                outcome = Failed("podkey failed on its answer")
            self._book.learn(ticket, run.skew)
            if isinstance(outcome, Acquired):
                kept.extend(secrets_of(outcome))
                self._take(ticket, outcome, run, event)
            else:
                self._fail(ticket, Failed(said(outcome, run), outcome.retry_after))
        except asyncio.CancelledError:
            self._fail(ticket, Failed("podkey is ending"))
            raise
        finally:
            run.overwrite(kept)

    async def _ask(
        self, key: LeaseKey, run: Run, held: Held | None, kept: list[Secret]
    ) -> tuple[LeaseEvent, SourceOutcome]:
        kind = key.source.kind
        if isinstance(kind, Derived):
            return LeaseEvent.ACQUIRED, await self._derive(key, run, kept)
        if held is not None and held.acquired.renewable:
            renewal = renewal_of(kind, held.acquired, self._occasion(key))
            if renewal is not None:
                outcome = await run.drive(renewal)
                if isinstance(outcome, Acquired):
                    return LeaseEvent.RENEWED, outcome
        return LeaseEvent.ACQUIRED, await run.drive(steps_of(kind, self._occasion(key)))

    async def _derive(self, key: LeaseKey, run: Run, kept: list[Secret]) -> SourceOutcome:
        base = base_of(key)
        lease = await self.lease(base)
        if isinstance(lease, NoLease):
            return Failed(lease.message)
        # It is signed with these, and they live on.
        kept.extend(lease.parts.values())
        self._derived.made(key, lease.id)
        occasion = replace(self._occasion(key), base=lease.parts)
        outcome = await run.drive(steps_of(key.source.kind, occasion))
        if isinstance(outcome, Failed) and outcome.base_spent:
            self.spent(base, lease.id)
        return outcome

    def _occasion(self, key: LeaseKey) -> Occasion:
        skew = self._book.skew(key) or self._book.skew(base_of(key))
        now = self._clock.now() + timedelta(seconds=skew)
        return Occasion(now, self._identity(), token_hex(16), key.scope)

    def _take(self, ticket: Ticket, acquired: Acquired, run: Run, event: LeaseEvent) -> None:
        key, mono = ticket.key, self._clock.monotonic()
        before = self._book.held(key, mono)
        if not self._book.is_wanted(ticket):
            # Nobody wants it any more; the source need not wait for its end. What a renewal gave is the lease
            # that was dropped, and has been seen to.
            if event is LeaseEvent.ACQUIRED:
                made = Lease("", key.ref, acquired.parts, self._clock.now())
                self._ends.end([Held(key, made, acquired, 0.0, None)], "no policy names it any more")
            return
        span = Span(run.began, mono, run.wall, run.skew)
        name = self._id(key.ref, acquired.parts)
        local = is_local(key.source.kind)
        taken = self._book.succeed(ticket, name, acquired, span, self._dice(), local=local)
        if isinstance(taken, Failed):
            self._tell(key, taken)
            return
        if taken is None:
            raise TypeError("the ticket was looked at")
        self._ends.recall(taken.id)
        self._counted(event)
        if self._told.pop(key, None) is not None:
            self._log.info("a credential source gives credentials again", credential=str(key.ref))
        if before is not None and before.lease.id != taken.id:
            self._ends.retire([before], mono)

    def _fail(self, ticket: Ticket, failed: Failed) -> None:
        local = is_local(ticket.key.source.kind)
        self._book.fail(ticket, failed, self._clock.monotonic(), self._dice(), local=local)
        self._tell(ticket.key, failed)

    def _tell(self, key: LeaseKey, failed: Failed) -> None:
        """Once for each thing that goes wrong, not each time it does."""
        self._counted(LeaseEvent.FAILED)
        if self._told.get(key) != failed.message:
            self._told[key] = failed.message
            self._log.error("a credential source gives none", credential=str(key.ref), why=failed.message)

    def _id(self, credential: CredentialRef, parts: Mapping[Part, Secret]) -> str:
        digest = hmac.new(self._salt, str(credential).encode(), "sha256")
        for part, value in sorted(parts.items(), key=lambda item: item[0].value):
            digest.update(b"\0" + part.value.encode() + b"\0" + value.reveal())
        return digest.hexdigest()[:12]
