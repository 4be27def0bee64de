"""What a document's status should say, and whether that is worth a write.

Statuses are read back from the API server, where others may have written into them: what does not read is
as if it were not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from proxy.documents.problems import Problem

# The object lives in etcd and in every cache that watches it; nobody mends more at a time.
MAX_PROBLEMS: Final = 20
# A message of ours has 400 characters at most, and a place as many; a forged status may have megabytes.
MAX_TEXT: Final = 1024
# What a condition's message may have (k8s.io/apimachinery, `metav1.Condition`, is 32,768): enough for people.
MAX_MESSAGE: Final = 1024


class ConditionType(Enum):
    # The document is sound by itself.
    ACCEPTED = "Accepted"
    # Sidecars have it.
    COMPILED = "Compiled"


class StatusReason(Enum):
    """Why a condition is as it is."""

    SOUND = "Sound"
    UNSOUND = "Unsound"
    IN_FORCE = "InForce"
    OLDER_IN_FORCE = "OlderVersionInForce"
    LEFT_OUT = "LeftOut"
    # In force in some of the namespaces that a cluster-wide document is for.
    PARTLY_IN_FORCE = "PartlyInForce"
    # No pod of its namespace, or of those that it is for, could have a sidecar.
    NO_NAMESPACE = "NoNamespaceEnabled"
    # A source that only cluster-wide policies could need, and none does.
    UNUSED = "Unused"
    PENDING = "Pending"


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    # "True", "False" or "Unknown", as in every API of Kubernetes.
    status: str
    reason: str
    message: str
    # When `status` was last another one (RFC 3339).
    since: str = ""


@dataclass(frozen=True, slots=True)
class ToldProblem:
    path: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Status:
    observed_generation: int
    conditions: tuple[Condition, ...]
    # None: nobody counted, or it is no policy.
    matched_pods: int | None = None
    problems: tuple[ToldProblem, ...] = ()


def condition(kind: ConditionType, status: bool | None, reason: StatusReason, message: str) -> Condition:
    word = "Unknown" if status is None else str(status)
    return Condition(kind.value, word, reason.value, _cut(message, MAX_MESSAGE))


def told(problems: tuple[Problem, ...]) -> tuple[ToldProblem, ...]:
    return tuple(
        ToldProblem(*(_cut(text, MAX_TEXT) for text in (p.path, p.message, p.fix)))
        for p in problems[:MAX_PROBLEMS]
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# --- what is worth a write ---------------------------------------------------------------------------------


def patch(previous: Status | None, desired: Status, now: datetime) -> Mapping[str, Any] | None:
    """A merge patch for the sub-resource `status`; None where nothing changes."""
    settled = _settled(previous, desired, now)
    if settled == previous:
        return None
    # A key that is not named stays as it was: what is gone is taken away by null (RFC 7396 §1).
    status: dict[str, Any] = {
        "observedGeneration": settled.observed_generation,
        "conditions": [
            {
                "type": c.type,
                "status": c.status,
                "reason": c.reason,
                "message": c.message,
                "lastTransitionTime": c.since,
            }
            for c in settled.conditions
        ],
        "matchedPods": settled.matched_pods,
        "problems": [{"path": p.path, "message": p.message, "fix": p.fix} for p in settled.problems] or None,
    }
    return {"status": status}


def _settled(previous: Status | None, desired: Status, now: datetime) -> Status:
    """With the times at which conditions changed, and the last count of pods where nobody counted anew."""
    before = {c.type: c for c in previous.conditions} if previous is not None else {}
    moment = now.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    conditions = tuple(
        replace(c, since=old.since if (old := before.get(c.type)) and old.status == c.status else moment)
        for c in desired.conditions
    )
    pods = desired.matched_pods
    if pods is None and previous is not None:
        pods = previous.matched_pods
    return replace(desired, conditions=conditions, matched_pods=pods)


# --- reading it back ---------------------------------------------------------------------------------------


def read_status(status: object) -> Status | None:
    """None where it is absent, or not as we write it: it is then written as a whole."""
    if not isinstance(status, Mapping):
        return None
    generation, pods = status.get("observedGeneration"), status.get("matchedPods")
    conditions = _rows(status.get("conditions"), ("type", "status", "reason", "message", "lastTransitionTime"))
    problems = _rows(status.get("problems"), ("path", "message", "fix"))
    if type(generation) is not int or type(pods) not in {int, type(None)}:
        return None
    if conditions is None or problems is None:
        return None
    return Status(
        generation,
        tuple(Condition(*row) for row in conditions),
        pods,
        tuple(ToldProblem(*row) for row in problems),
    )


def _rows(found: object, keys: tuple[str, ...]) -> list[tuple[str, ...]] | None:
    """A list of mappings of short texts with exactly these keys; None for anything else."""
    if found is None:
        return []
    if not isinstance(found, list) or len(found) > MAX_PROBLEMS:
        return None
    rows = []
    for row in found:
        if not isinstance(row, Mapping) or set(row) != set(keys):
            return None
        texts = tuple(row[key] for key in keys)
        if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts):
            return None
        rows.append(texts)
    return rows
