"""What a credential source may ask of the world, and what it is told.

A source is a generator: it yields steps, is sent a reply to each, and returns its outcome. Whoever drives it
performs the steps, so that a source is tested without a file, a socket or a clock.
"""

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Final

from proxy.core.identity import WorkloadIdentity
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import Struct, field, hiding


class Occasion(Struct, frozen=True):
    """The world as one run of a source finds it."""

    # By the source's own clock, as far as its answers have shown it.
    now: datetime
    identity: WorkloadIdentity
    # Fresh and unguessable: the id of an assertion, the name of a session.
    nonce: str
    # What the grants narrow the credential to; empty for kinds that cannot be narrowed.
    scope: str = ""
    # The live credential that a derived one is made of; empty for kinds that documents name.
    base: Mapping[Part, Secret] = field(default_factory=dict)


# --- steps -------------------------------------------------------------------------------------------


class ReadFiles(Struct, frozen=True):
    """Read these files of a folder below the mounted secrets, all of them from one moment.

    The kubelet swaps a whole volume at once (`..data`); files from before and after a swap are never mixed.
    """

    folder: str
    names: tuple[str, ...]


class ReadToken(Struct, frozen=True):
    """The pod's projected service-account token for this audience, as the kubelet last wrote it."""

    audience: str


# Head and body of an answer. Key sets and tokens stay below 64 KiB; the largest token known, Azure's for a
# member of 200 groups, below 16.
MAX_ANSWER_BYTES: Final = 262_144


class HttpCall(Struct, frozen=True):
    """One request to the source: https only, never redirected, bounded in size and time by whoever performs
    it. `body` is form, JSON or XML as `headers` say; what is secret in either is a Secret."""

    method: str
    url: str
    headers: tuple[tuple[str, str | Secret], ...] = ()
    body: Secret | None = None
    largest_answer: int = MAX_ANSWER_BYTES


Step = ReadFiles | ReadToken | HttpCall

# --- replies -----------------------------------------------------------------------------------------

# None: there is no such file.
Files = Mapping[str, bytes | None]


class HttpReply(Struct, frozen=True):
    """Whatever the status. Header names are in lower case; a body may hold a credential."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    __repr__ = hiding("body")


class StepFailed(Struct, frozen=True):
    """Why a step could not be performed: one clause, without a byte of what was read."""

    message: str


Reply = Files | Secret | HttpReply | StepFailed

# --- outcomes ----------------------------------------------------------------------------------------


class Acquired(Struct, frozen=True):
    """`expires` is a point by the source's clock, a span from its answer, or None: it does not say."""

    parts: Mapping[Part, Secret]
    expires: datetime | timedelta | None = None
    # What renewing and revoking need beside the parts: a lease's id, the token it was read with.
    handle: Mapping[str, Secret] = field(default_factory=dict)
    renewable: bool = False


class Failed(Struct, frozen=True):
    """Why there is no credential: one clause for people, without a byte of any secret."""

    message: str
    # The source's own wish, in seconds (`Retry-After`, RFC 9110 §10.2.3).
    retry_after: float | None = None
    # What it was to be derived from is worth nothing any more.
    base_spent: bool = False


SourceOutcome = Acquired | Failed
SourceSteps = Generator[Step, Reply, SourceOutcome]
# None: it is done, and the credential is worth nothing any more.
RevokeSteps = Generator[Step, Reply, Failed | None]
