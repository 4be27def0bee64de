"""What every request makes of its lease, made once for each lease.

It is kept in the lease's own secrets, so that it goes when they are overwritten: nothing else holds it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from proxy.attach.placing import Placement, Unplaceable, place
from proxy.attach.signing import keys_of
from proxy.aws.sigv4 import SigningKeys
from proxy.core.credentials import AttachScheme
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from proxy.transaction.redaction import Forms, forms_of

Parts = Mapping[Part, Secret]
NO_FORMS: Final = Forms()
# Of one lease. Made again they take some microseconds; each holds some KiB.
MAX_OPENINGS: Final = 64


def placed(scheme: AttachScheme, parts: Parts) -> tuple[Placement, Forms] | Unplaceable:
    """Where the credential goes, and what no response may show."""

    def make() -> tuple[Placement, Forms] | Unplaceable:
        placement = place(scheme, parts)
        if isinstance(placement, Unplaceable):
            return placement
        return placement, forms_of(placement.secrets)

    return _once(parts, scheme, make)


def signing(parts: Parts) -> tuple[SigningKeys, Forms] | Unplaceable:
    """A static key never travels, and a signature counts for one request: the session's token alone is not
    to be shown."""

    def make() -> tuple[SigningKeys, Forms] | Unplaceable:
        keys = keys_of(parts)
        if isinstance(keys, Unplaceable):
            return keys
        token = keys.session_token
        return keys, NO_FORMS if token is None else forms_of((token,))

    return _once(parts, "signing", make)


class Openings:
    """What requests that were asked before are opened with, by what opens them, and by the second of their
    signature where they have one. For one state of the pod: what was judged by another is of no more use."""

    def __init__(self) -> None:
        self._pod: PodState | None = None
        self._forwards: dict[object, tuple[int, Forward]] = {}

    def get(self, pod: PodState, again: object, second: int = 0) -> Forward | None:
        if pod is not self._pod:
            self._forwards.clear()
            self._pod = pod
        known = self._forwards.get(again)
        return known[1] if known is not None and known[0] == second else None

    def put(self, again: object, forward: Forward, second: int = 0) -> None:
        if len(self._forwards) >= MAX_OPENINGS:
            self._forwards.clear()
        self._forwards[again] = second, forward


def openings(parts: Parts) -> Openings:
    return _once(parts, "openings", Openings)


def _once[T](parts: Parts, purpose: object, make: Callable[[], T]) -> T:
    for secret in parts.values():
        of, made = secret.derive(purpose, lambda: (parts, make()))
        # One of its secrets may belong to another lease, too.
        return made if of is parts else make()
    return make()
