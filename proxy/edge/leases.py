"""Where lanes get live credentials: drives the sources' steps, and keeps what they gave for a moment."""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.lease import Lease, LeaseReply, NoLease
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.edge.snapshots import Unread, read_snapshot
from proxy.lanes.interface import Clock
from proxy.sources.steps import Failed, ReadFiles, SourceOutcome, SourceSteps, StepFailed
from proxy.sources.table import steps_of

# A mounted secret that changes is used within this many seconds. To read it costs some 100 µs, which is too
# much for every request of a data loader, and nothing once a second.
FRESH_SECONDS: Final = 1.0
# What `read_snapshot` says of a file that is not there; a source has its own words for that.
MISSING: Final = "does not exist"
# Kubernetes' limit for a whole Secret.
MAX_SECRET_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    reply: LeaseReply
    read_at: float


class SecretLeases:
    """Leases of mounted secrets. It answers NoLease rather than raise, and nothing older than a second."""

    def __init__(
        self, folder: Path, clock: Clock, counted: Callable[[str], None] = lambda _outcome: None
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._counted = counted
        # By the whole source: a policy may come to mean another by the same name.
        self._kept: dict[CredentialSource, _Kept] = {}
        # Lease ids tell values apart, and say nothing about them to who does not have this key.
        self._salt = secrets.token_bytes(32)

    def use(self, sources: Iterable[CredentialSource]) -> None:
        """Forget what the policy in force does not name."""
        named = set(sources)
        self._kept = {source: kept for source, kept in self._kept.items() if source in named}

    @property
    def live(self) -> int:
        return sum(isinstance(kept.reply, Lease) for kept in self._kept.values())

    @property
    def failed(self) -> int:
        return sum(isinstance(kept.reply, NoLease) for kept in self._kept.values())

    async def lease(self, source: CredentialSource) -> LeaseReply:
        now = self._clock.monotonic()
        kept = self._kept.get(source)
        if kept is not None and now - kept.read_at < FRESH_SECONDS:
            return kept.reply
        reply = self._acquire(source)
        if kept is not None and isinstance(reply, Lease) and isinstance(kept.reply, Lease):
            # The same value is the same lease.
            reply = kept.reply if kept.reply.id == reply.id else reply
        self._kept[source] = _Kept(reply, now)
        self._counted("acquired" if isinstance(reply, Lease) else "failed")
        await asyncio.sleep(0)  # a source that waits will; callers must not rely on it not to
        return reply

    def _acquire(self, source: CredentialSource) -> LeaseReply:
        outcome = self._drive(steps_of(source))
        if isinstance(outcome, Failed):
            return NoLease(source.ref, outcome.message)
        return Lease(
            self._id(source.ref, outcome.parts), source.ref, outcome.parts, self._clock.now(), outcome.expires
        )

    def _drive(self, steps: SourceSteps) -> SourceOutcome:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._perform(step))
        except StopIteration as end:
            outcome: SourceOutcome = end.value
            return outcome

    def _perform(self, step: ReadFiles) -> Mapping[str, bytes | None] | StepFailed:
        try:
            files = read_snapshot(self._folder / step.folder, step.names, MAX_SECRET_BYTES)
        except FileNotFoundError:
            return StepFailed(f"the secret {step.folder} is not mounted")
        except OSError as error:
            return StepFailed(f"the secret {step.folder} cannot be read: {error.strerror}")
        unread = {name: file for name, file in files.items() if isinstance(file, Unread)}
        for name, file in unread.items():
            if file.why != MISSING:
                return StepFailed(f"the key {name} of the secret {step.folder} {file.why}")
        return {name: None if isinstance(file, Unread) else file for name, file in files.items()}

    def _id(self, credential: CredentialRef, parts: Mapping[Part, Secret]) -> str:
        digest = hmac.new(self._salt, str(credential).encode(), "sha256")
        for value in parts.values():
            digest.update(b"\0" + value.reveal())
        return digest.hexdigest()[:12]
