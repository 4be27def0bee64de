"""What happens to a request's body on its way: mostly nothing; else a transform, which holds one chunk."""

from typing import Protocol

from proxy.core.reasons import Reason
from proxy.core.structs import Struct


class BodyFault(Struct, frozen=True):
    """Why a body cannot go on: the refusal that it earns, and one clause that shows nothing of the body."""

    reason: Reason
    message: str


class BodyTransform(Protocol):
    """Fed with the client's bytes in any pieces, it gives those that go upstream. After a fault it is not fed
    again, and the last bytes, without which nothing is committed, come from `finish` alone."""

    @property
    def held(self) -> int:
        """How many bytes it keeps, or is about to: what counts against the sidecar's memory."""

    def feed(self, data: bytes) -> bytes | BodyFault: ...

    def finish(self) -> bytes | BodyFault:
        """The client's body has ended."""
