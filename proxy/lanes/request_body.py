"""A request's body, as far as we have to do with it: read whole before it is judged, or changed on its way.

What is held of it is taken from the room that all requests share, and is given back once, however it ends.
"""

from typing import Final

from proxy.attach.bodies import BodyFault, BodyTransform
from proxy.core.reasons import Reason
from proxy.lanes.room import Room, Share
from proxy.transaction.head import Head

OVERLOADED: Final = BodyFault(Reason.OVERLOADED, "podkey holds as much of requests' bodies as it may")
_CALL: Final = BodyFault(
    Reason.UNSUPPORTED_PAYLOAD, "a gRPC call goes on as it likes, and cannot be read whole"
)
_GONE: Final = BodyFault(Reason.INTERNAL_ERROR, "the body is gone")
# Its length went upstream before it: one byte more would be the beginning of another request.
_UNEQUAL: Final = BodyFault(Reason.INTERNAL_ERROR, "podkey changed the body's length")


class RequestBody:
    """Collected at most once; sent as often as its request is."""

    def __init__(self, room: Room, head: Head | None) -> None:
        self._head = head
        self._kept, self._changing = Share(room), Share(room)
        self._limit = 0
        self._data = bytearray()
        self._whole: bytes | None = None
        self._fault: BodyFault | None = None
        self._transform: BodyTransform | None = None
        # What went into the transform and has not come out of it.
        self._inside = 0

    def __repr__(self) -> str:
        """What it holds is the application's."""
        return f"<RequestBody {self.held} bytes>"

    @property
    def held(self) -> int:
        return self._kept.size + self._changing.size

    # --- read whole ---

    @property
    def whole(self) -> bytes | None:
        """All of it, once it was collected."""
        return self._whole

    @property
    def fault(self) -> BodyFault | None:
        """Why it was not collected to its end: what came of it is gone."""
        return self._fault

    def wanted(self, limit: int) -> bytes | BodyFault | None:
        """The whole body, or why there is none; None: it is now to be collected."""
        if self._fault is not None:
            return self._fault
        if self._whole is not None:
            return self._whole if len(self._whole) <= limit else _too_large(limit)
        head = self._head
        if head is None or not head.has_body:
            return b""
        if head.is_grpc:
            return _CALL
        declared = _declared(head)
        if declared > limit:
            return _too_large(limit)
        # All at once: several that come slowly would otherwise fill the room, and none come to its end.
        if not self._kept.resize(declared):
            return OVERLOADED
        self._limit = limit
        return None

    def collect(self, piece: bytes) -> bool:
        """False: it cannot be had; what was kept of it is gone."""
        size = len(self._data) + len(piece)
        if size > self._limit:
            self._fault = _too_large(self._limit)
        elif size > self._kept.size and not self._kept.resize(size):
            self._fault = OVERLOADED
        if self._fault is not None:
            self.forget()
            return False
        self._data += piece
        return True

    def collected(self) -> None:
        """Its end came."""
        self._whole, self._data = bytes(self._data), bytearray()
        self._kept.resize(len(self._whole))

    def forget(self) -> None:
        """Nobody asks for what was collected any more."""
        if self._whole is not None:
            self._fault = _GONE
        self._whole, self._data = None, bytearray()
        self._kept.release()

    # --- changed on its way ---

    def begin(self, transform: BodyTransform | None) -> None:
        """It is sent from its first byte on."""
        self._transform, self._inside = transform, 0
        self._changing.release()

    @property
    def is_untouched(self) -> bool:
        """Whether it is sent as it comes."""
        return self._transform is None

    def feed(self, data: bytes) -> bytes | BodyFault:
        """What goes upstream for it, if anything does yet."""
        if self._transform is None:
            return data
        return self._out(len(data), self._transform.feed(data))

    def finish(self) -> bytes | BodyFault:
        """What goes upstream at its end. Without that the upstream has no whole body."""
        if self._transform is None:
            return b""
        out = self._out(0, self._transform.finish())
        self._changing.release()
        return _UNEQUAL if self._inside and not isinstance(out, BodyFault) else out

    def feed_whole(self, data: bytes) -> bytes | BodyFault:
        out = self.feed(data)
        if isinstance(out, BodyFault):
            return out
        last = self.finish()
        return last if isinstance(last, BodyFault) else out + last

    def _out(self, fed: int, out: bytes | BodyFault) -> bytes | BodyFault:
        if isinstance(out, BodyFault):
            return out
        self._inside += fed - len(out)
        if self._inside < 0:
            return _UNEQUAL
        held = self._transform.held if self._transform is not None else 0
        # Twice: it is copied where it is signed, and where it is encrypted.
        if not self._changing.resize(2 * (held + len(out))):
            return OVERLOADED
        return out

    def passed(self) -> None:
        """What the last `feed` gave is no longer here: the upstream has taken it."""
        held = self._transform.held if self._transform is not None else 0
        self._changing.resize(min(self._changing.size, 2 * held))

    def release(self) -> None:
        """Its request is over: nothing is held from here on."""
        self.forget()
        self._fault, self._transform = _GONE, None
        self._changing.release()


def _declared(head: Head) -> int:
    """Its length, as far as the head says it. One that is no number frames nothing: see proxy/wire."""
    length = next(iter(head.values("content-length")), "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _too_large(limit: int) -> BodyFault:
    return BodyFault(
        Reason.BODY_TOO_LARGE,
        f"its body has to be read whole before the request can be sent, and is larger than {limit} bytes",
    )
