"""How leases end: revoked, where their source can be told, and overwritten in any case."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from proxy.core.lease import LeaseEvent, LeaseKey
from proxy.core.secret import Secret
from proxy.core.structs import Struct
from proxy.edge.performing import Performer, Run
from proxy.leasing.book import Held
from proxy.leasing.scrubbing import scrubbed
from proxy.sources.steps import Acquired, Failed, Occasion, RevokeSteps
from proxy.sources.table import revocation_of
from proxy.telemetry.log import Log

# For all calls of one source together; one of them has ten seconds at most.
FETCH_SECONDS: Final = 20.0
# A lease that was refreshed may still be on its way with requests that began before.
RETIRE_SECONDS: Final = 60.0
# At the end, for everything that can be revoked: a pod's grace period is for its transfers.
FAREWELL_SECONDS: Final = 3.0


class _Retired(Struct, frozen=True):
    held: Held
    due: float


class LeaseEnds:
    def __init__(
        self,
        performer: Performer,
        occasion: Callable[[LeaseKey], Occasion],
        log: Log,
        counted: Callable[[LeaseEvent], None],
    ) -> None:
        self._performer = performer
        self._occasion = occasion
        self._log = log
        self._counted = counted
        self._retired: list[_Retired] = []
        self._revoking: set[asyncio.Task[None]] = set()

    def retire(self, all_held: Iterable[Held], mono: float) -> None:
        """They may still be on their way with requests that began before."""
        self._retired.extend(_Retired(held, mono + RETIRE_SECONDS) for held in all_held)

    def recall(self, lease_id: str) -> None:
        """The same value again is no other lease, whatever an upstream called it."""
        self._retired = [one for one in self._retired if one.held.lease.id != lease_id]

    def tick(self, mono: float) -> None:
        due = [retired for retired in self._retired if retired.due <= mono]
        self._retired = [retired for retired in self._retired if retired.due > mono]
        self.end([retired.held for retired in due], "a newer one has replaced it")

    def end(self, all_held: Iterable[Held], why: str) -> None:
        for held in all_held:
            steps = revocation_of(held.key.source.kind, held.acquired, self._occasion(held.key))
            if steps is None:
                overwrite(held.acquired)
            else:
                self._go(self._revoke(held, steps, why))

    async def close(self, all_held: Iterable[Held]) -> None:
        """What can be revoked is, as far as the time goes."""
        retired = [retired.held for retired in self._retired]
        self._retired.clear()
        self.end([*all_held, *retired], "the sidecar ends")
        if self._revoking:
            _, late = await asyncio.wait(self._revoking, timeout=FAREWELL_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                self._log.warning("leases were not revoked in time", leases=len(late))

    async def _revoke(self, held: Held, steps: RevokeSteps, why: str) -> None:
        run = self._performer.run()
        outcome: Failed | None = Failed(f"no answer within {FETCH_SECONDS:g} s")
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                outcome = await run.drive(steps)
        except TimeoutError:
            pass
        except Exception as error:  # noqa: BLE001 - it ends by itself, later
            self._log.error("unexpected error", where="revocation", error=error)
        finally:
            # First the words: what they are cleaned of is often the lease's own.
            words = said(outcome, run) if outcome is not None else ""
            overwrite(held.acquired)
            run.overwrite(())
        name, lease = str(held.key.ref), held.lease.id
        if outcome is None:
            self._counted(LeaseEvent.REVOKED)
            self._log.info("a lease was revoked", credential=name, lease=lease, why=why)
        else:
            self._counted(LeaseEvent.REVOKE_FAILED)
            self._log.warning("a lease could not be revoked", credential=name, lease=lease, why=words)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._revoking.add(task)
        task.add_done_callback(self._revoking.discard)


def secrets_of(acquired: Acquired) -> tuple[Secret, ...]:
    return (*acquired.parts.values(), *acquired.handle.values())


def said(failed: Failed, run: Run) -> str:
    try:
        return scrubbed(failed.message, run.seen)
    except ValueError:
        # One of them was a lease's that was dropped meanwhile, so the words cannot be cleaned of it.
        return "it failed after its lease was dropped"


def overwrite(acquired: Acquired) -> None:
    for secret in secrets_of(acquired):
        secret.overwrite()
