"""The status of a document as the API server keeps it: writing it, and only where something changes.

It is read back from the API server, where others may have written into it: what is not as we write it is as
if it were not there.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from typing import Any, Final

from proxy.core.structs import Struct, astuple, replace
from proxy.documents.problems import Problem

# The object lives in etcd and in every cache that watches it; nobody mends more at a time.
MAX_PROBLEMS: Final = 20
# A message of ours has 400 characters at most, and a place as many; a forged status may have megabytes.
MAX_TEXT: Final = 1024

# What the fields of `Condition` and of `ToldProblem` are called in a status, in their order.
CONDITION_KEYS: Final = ("type", "status", "reason", "message", "lastTransitionTime")
PROBLEM_KEYS: Final = ("path", "message", "fix")


class ConditionType(Enum):
    # The document is sound by itself.
    ACCEPTED = "Accepted"
    # Sidecars have it.
    COMPILED = "Compiled"


class Word(Enum):
    """What a condition's status can be, as in every API of Kubernetes."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StatusReason(Enum):
    """Why a condition is as it is."""

    SOUND = "Sound"
    UNSOUND = "Unsound"
    IN_FORCE = "InForce"
    OLDER_IN_FORCE = "OlderVersionInForce"
    LEFT_OUT = "LeftOut"
    # In force in some of the namespaces that a cluster-wide document is for.
    PARTLY_IN_FORCE = "PartlyInForce"
    # With it, the namespace's ConfigMap would be larger than the API server takes.
    TOO_LARGE = "TooLarge"
    # No namespace that could have sidecars needs it.
    NOWHERE = "NoNamespace"
    PENDING = "Pending"


class Condition(Struct, frozen=True):
    type: str
    status: str
    reason: str
    message: str
    # When `status` was last another one (RFC 3339).
    since: str = ""


class ToldProblem(Struct, frozen=True):
    path: str
    message: str
    fix: str


class Status(Struct, frozen=True):
    observed_generation: int
    conditions: tuple[Condition, ...]
    # None: nobody counted, or it is no policy.
    matched_pods: int | None = None
    problems: tuple[ToldProblem, ...] = ()


def condition(kind: ConditionType, word: Word, reason: StatusReason, message: str) -> Condition:
    return Condition(kind.value, word.value, reason.value, _cut(message, MAX_TEXT))


def told(problems: Iterable[Problem]) -> tuple[ToldProblem, ...]:
    return tuple(
        ToldProblem(*(_cut(text, MAX_TEXT) for text in (p.path, p.message, p.fix)))
        for p in islice(problems, MAX_PROBLEMS)
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
        "conditions": [dict(zip(CONDITION_KEYS, astuple(c), strict=True)) for c in settled.conditions],
        "matchedPods": settled.matched_pods,
        "problems": [dict(zip(PROBLEM_KEYS, astuple(p), strict=True)) for p in settled.problems] or None,
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
    conditions = _rows(status.get("conditions"), CONDITION_KEYS)
    problems = _rows(status.get("problems"), PROBLEM_KEYS)
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
