"""What a credential source may ask of the world, and what it is told.

A source is a generator: it yields steps, is sent a reply to each, and returns its outcome. Whoever drives it
performs the steps, so that a source is tested without a file.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime

from proxy.core.credentials import Part
from proxy.core.secret import Secret


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Read these files of a folder below the mounted secrets, all of them from one moment.

    The kubelet swaps a whole volume at once (`..data`); files from before and after a swap are never mixed.
    """

    folder: str
    names: tuple[str, ...]


# None: there is no such file.
Files = Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class StepFailed:
    """Why a step could not be performed: one clause, without a byte of what was read."""

    message: str


@dataclass(frozen=True, slots=True)
class Acquired:
    """`expires` is None where the source does not say."""

    parts: Mapping[Part, Secret]
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no credential: one clause for people, without a byte of any secret."""

    message: str


Step = ReadFiles  # a union once there is a second kind
Reply = Files | StepFailed
SourceOutcome = Acquired | Failed
SourceSteps = Generator[Step, Reply, SourceOutcome]
