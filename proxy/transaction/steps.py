"""What a transaction waits for. Whoever drives it fetches; nothing has been sent to anybody meanwhile."""

from collections.abc import Generator

from proxy.attach.bodies import BodyFault
from proxy.core.credentials import CredentialRef, Derivation
from proxy.core.lease import LeaseReply
from proxy.core.structs import Struct
from proxy.transaction.opening import Opening


class WantLease(Struct, frozen=True):
    """A live credential; with a derivation, what AWS gives for it."""

    credential: CredentialRef
    derivation: Derivation | None = None


class WantBody(Struct, frozen=True):
    """The request's whole body, of at most so many bytes: it is judged or hashed before the head leaves."""

    limit: int


Want = WantLease | WantBody
Steps = Generator[Want, LeaseReply | bytes | BodyFault, Opening]
