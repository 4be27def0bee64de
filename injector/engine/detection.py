"""Pods that run without a sidecar and should have one, and how many pods each policy selects.

Such a pod was made before its namespace was enabled or before a policy selected it, or while nobody asked the
webhook. Nothing of it says which, so the message names them all. One round looks at every pod of the enabled
namespaces; a pod is told of once.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, assert_never

from injector.core.cluster import Namespace
from injector.core.outcome import Finding, Inject, Outcome, Refuse, Skip
from injector.engine.happenings import EventKind, EventReason, Happening, Involved
from injector.reading.objects import ObjectFault, read_meta
from proxy.core.contract import SIDECAR_CONTAINER
from proxy.core.structs import Struct

# What one round may tell: a namespace that is enabled while 5,000 pods run in it is told of in as many rounds
# as it takes, and does not push the Events of admissions out of their queue.
MOST_TOLD: Final = 50
# Pods that were told of, by uid: 100 bytes each.
MOST_REMEMBERED: Final = 20_000

# They hold no credential any more, and want none.
_OVER: Final = frozenset({"Succeeded", "Failed"})

type Raw = Mapping[str, object]


class Round(Struct, frozen=True):
    """What one round found. Namespaces where nothing is missing stand in it with 0."""

    missing: Mapping[str, int]
    # By `namespace/name` of the policy.
    matched: Mapping[str, int]
    looked_at: int


class Detection:
    """`judge` says what would become of a pod if it were made now; `policies` names those that select it.

    Both get the pod as the API server has it. A pod that they cannot read counts nowhere.
    """

    def __init__(
        self,
        judge: Callable[[Raw, Namespace], Outcome],
        policies: Callable[[Raw, Namespace], Iterable[str]],
    ) -> None:
        self._judge = judge
        self._policies = policies
        self._told: OrderedDict[str, None] = OrderedDict()
        self.begin()

    def begin(self) -> None:
        self._missing: Counter[str] = Counter()
        self._matched: Counter[str] = Counter()
        self._looked_at = 0
        self._telling = 0

    def enter(self, namespace: Namespace) -> None:
        self._missing[namespace.name] += 0

    def see(self, raw: object, namespace: Namespace) -> Happening | None:
        """What is to be told of this pod, if anything."""
        try:
            meta = read_meta(raw)
        except ObjectFault:
            return None
        if not isinstance(raw, dict) or _is_over(raw):
            return None
        self._looked_at += 1
        self._matched.update(self._policies(raw, namespace))
        if has_sidecar(raw) or (why := _why(self._judge(raw, namespace))) is None:
            return None
        self._missing[namespace.name] += 1
        if meta.uid in self._told or self._telling >= MOST_TOLD:
            return None
        self._telling += 1
        self._told[meta.uid] = None
        if len(self._told) > MOST_REMEMBERED:
            self._told.popitem(last=False)
        involved = Involved("v1", "Pod", meta.key.name, meta.uid)
        return Happening(meta.key.namespace, involved, EventKind.WARNING, EventReason.MISSING, why)

    def finish(self) -> Round:
        return Round(dict(self._missing), dict(self._matched), self._looked_at)


def has_sidecar(raw: Raw) -> bool:
    """A native one or, for old kubelets, an ordinary container."""
    spec = raw.get("spec")
    return isinstance(spec, dict) and any(
        isinstance(container, dict) and container.get("name") == SIDECAR_CONTAINER
        for containers in ("initContainers", "containers")
        if isinstance(spec.get(containers), list)
        for container in spec[containers]
    )


def _is_over(raw: Raw) -> bool:
    match raw:
        case {"metadata": {"deletionTimestamp": str()}}:
            return True
        case {"status": {"phase": phase}}:
            return phase in _OVER
        case _:
            return False


def _why(outcome: Outcome) -> str | None:
    """None for a pod that needs none."""
    match outcome:
        case Skip():
            return None
        case Inject(reasons):
            return (
                f"This pod runs without podkey's sidecar and should have one ({_codes(reasons)}). It was "
                "made before its namespace was enabled, before a policy selected it, or while podkey's "
                "webhook was not asked: restart it."
            )
        case Refuse(reasons):
            return (
                f"This pod runs without podkey's sidecar; made now it would be refused ({_codes(reasons)}). "
                "Mend what `podkey inject` says of it, and restart it."
            )
        case _:
            assert_never(outcome)


def _codes(reasons: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.code.value for finding in reasons))
