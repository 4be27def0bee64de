"""What a stream keeps so that its request could be sent once more: its body, and the first answer."""

from collections.abc import Callable
from typing import Final

from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseHeaders

from proxy.transaction.opening import Forward, Opening
from proxy.transaction.spent import Suspicion

# Requests that may be sent twice without asking (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
# Of one request's body, until its answer begins. Calls of an API are some KiB; what is larger is an object,
# and its sender reads it from a file again.
HELD_BYTES: Final = 64 * 1024
# Of one first answer, to its end. That a credential is spent takes some hundred bytes to say, or a page of
# HTML; an answer that is longer goes to the application as it is.
HELD_ANSWER: Final = 16 * 1024
# All that one connection's streams keep, together: an HTTP/2 client may have a hundred requests on their way.
HELD_IN_ALL: Final = 1024 * 1024
# What an event takes besides its data: a million empty ones are memory, too.
EVENT_BYTES: Final = 256


class HeldBody:
    """A request's body as it was sent, from its first byte; or nothing, once it was too much."""

    def __init__(self, room: Callable[[], int]) -> None:
        """`room`: what may be held on top at this moment."""
        self._room = room
        self._data = bytearray()
        self._is_whole = False
        # As far as the request itself goes, whatever its body.
        self.may_go_twice = False

    def allow(self, opening: Opening, request: http.Request, *, elsewhere: bool = False) -> None:
        """Begin, where the request could be sent again. `elsewhere`: its body is kept by somebody else."""
        attached = isinstance(opening, Forward) and opening.attached and not opening.is_websocket
        self.may_go_twice = attached and request.data.method in IDEMPOTENT
        self._is_whole = self.may_go_twice and (elsewhere or _declared(request) <= HELD_BYTES)

    @property
    def is_whole(self) -> bool:
        """Whether all that was sent is here."""
        return self._is_whole

    @property
    def size(self) -> int:
        return len(self._data)

    def keep(self, piece: bytes) -> None:
        if not self._is_whole:
            return
        if self.size + len(piece) > HELD_BYTES or len(piece) > self._room():
            self.drop()
        else:
            self._data += piece

    def drop(self) -> None:
        """It is not going to be sent again."""
        self._is_whole = False
        self._data = bytearray()

    def take(self) -> bytes:
        """To send it again; not a third time."""
        data = bytes(self._data)
        self.drop()
        return data


def _declared(request: http.Request) -> int:
    """The body's length, as far as the head says it. One that is no number frames nothing: see proxy/wire."""
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


class HeldAnswer:
    """The first answer, while it may turn out that nobody is to see it."""

    def __init__(self, head: ResponseHeaders, suspicion: Suspicion) -> None:
        self.head = head
        self.suspicion = suspicion
        self.events: list[events.Event] = []
        self.size = 0

    def keep(self, event: events.Event) -> None:
        self.events.append(event)
        self.size += EVENT_BYTES
        if isinstance(event, ResponseData):
            self.size += len(event.data)

    @property
    def is_too_long(self) -> bool:
        return self.size > HELD_ANSWER
