"""A transaction that wants more than the policy of `lane_world` can ask for: a body, a transform, a time.

script = scripted(monkeypatch, Script(wants=10))
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from proxy.attach.bodies import BodyFault, BodyTransform
from proxy.core.arrival import Arrival
from proxy.core.credentials import Derivation
from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.lanes import judged
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head
from proxy.transaction.opening import Answered, Asked, Forward
from proxy.transaction.pod import PodState
from proxy.transaction.recording import began
from proxy.transaction.refusals import OwnAnswer
from proxy.transaction.refusing import refuse
from proxy.transaction.steps import Steps, WantBody, WantLease


class Marked:
    """A BodyTransform that holds `size` bytes back and says all in capitals. It takes no `!`, and no end with
    a `?`."""

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._part = b""

    @property
    def held(self) -> int:
        return self._size

    def feed(self, data: bytes) -> bytes | BodyFault:
        if b"!" in data:
            return BodyFault(Reason.MALFORMED_BODY, "it shouts")
        self._part += data
        whole = max(0, len(self._part) - self._size)
        out, self._part = self._part[:whole], self._part[whole:]
        return out.upper()

    def finish(self) -> bytes | BodyFault:
        if self._part.endswith(b"?"):
            return BodyFault(Reason.MALFORMED_BODY, "it asks")
        self._size = 0
        return self._part.upper()


@dataclass
class Script:
    """What is done to the real transaction, and what it was given."""

    wants: int | None = None
    rewrite: Callable[[], BodyTransform] | None = None
    is_timed: bool = False
    guessed_region: str | None = None
    answer: OwnAnswer | None = None
    derivation: Derivation | None = None
    bodies: list[object] = field(default_factory=list)
    signed: list[datetime] = field(default_factory=list)
    regions: list[str | None] = field(default_factory=list)

    def steps(
        self,
        pod: PodState,
        arrival: Arrival,
        head: Head,
        now: datetime,
        request_id: str,
        *,
        signed_at: datetime,
        region: str | None = None,
    ) -> Steps:
        self.signed.append(signed_at)
        self.regions.append(region)
        if self.wants is not None:
            body = yield WantBody(self.wants)
            self.bodies.append(body)
            if isinstance(body, BodyFault):
                record = began(pod, arrival, now, request_id, head)
                return refuse(Asked(pod, arrival, request_id, now), head, record, body.reason, body.message)
        opening = yield from self._real(open_request(pod, arrival, head, now, request_id))
        if not isinstance(opening, Forward):
            return opening
        if self.answer is not None:
            return Answered(opening.record, self.answer)
        rewrite = self.rewrite() if self.rewrite is not None else None
        guessed = (region or self.guessed_region) if self.guessed_region is not None else None
        return replace(opening, rewrite=rewrite, is_timed=self.is_timed, guessed_region=guessed)

    def _real(self, steps: Steps) -> Steps:
        try:
            want = next(steps)
            while True:
                if isinstance(want, WantLease):
                    want = replace(want, derivation=self.derivation)
                want = steps.send((yield want))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # how it opens


def scripted(monkeypatch: pytest.MonkeyPatch, script: Script) -> Script:
    monkeypatch.setattr(judged, "open_request", script.steps)
    return script
