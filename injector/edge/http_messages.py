"""HTTP/1.1 as a webhook and its probes need it, without sockets. The doorman of `h11`.

Bytes go in, a head and then a whole body come out; answers come out as bytes. A head is judged before its
body is read, so that what nobody wants is refused before it is sent (RFC 9110 §10.1.1 says the same of
`Expect`). Nothing that a client sent is in what is answered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

import h11

# An API server's head has some 250 bytes; what a mesh or a tracer adds still fits.
MAX_HEAD: Final = 16 << 10
# An API server takes objects of 3 MiB (apiserver's MaxRequestBodyBytes), and a review of an update holds two
# of them. The rest is for managedFields, who asks, and `<`, `>`, `&`, which JSON in Go writes as six bytes.
MAX_BODY: Final = 7 << 20

TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"


class Rejected(Enum):
    """Why a request was not heard."""

    MALFORMED = "malformed"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TOO_LARGE = "body_too_large"
    NO_LENGTH = "no_length"


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    # Without the query.
    path: str
    query: str
    # In lower case, without parameters.
    media_type: str
    # Whether the body is as it looks: not compressed.
    plain: bool
    length: int


@dataclass(frozen=True, slots=True)
class Whole:
    """The body of the request whose head came last."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Bad:
    """Nothing can be read after it."""

    why: Rejected


class Pause(Enum):
    # Nothing to do before more bytes are there.
    MORE = "more"
    # The client is done, between two requests or in the middle of one.
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. Of the body's bytes only the length is known here."""

    status: int
    body: bytes
    media_type: str = _JSON
    # Fields besides those that every answer has.
    more: tuple[tuple[str, str], ...] = ()


def text_reply(status: int, text: str, **more: str) -> Reply:
    """An answer for people. An API server shows it to whoever made the pod."""
    fields = tuple((name.replace("_", "-"), value) for name, value in more.items())
    return Reply(status, f"{text}\n".encode(), TEXT, fields)


_REPLIES: Final = {
    Rejected.MALFORMED: text_reply(400, "podkey: the request is not HTTP/1.1 as it should be"),
    Rejected.HEAD_TOO_LARGE: text_reply(431, f"podkey: a head has at most {MAX_HEAD} bytes"),
    Rejected.BODY_TOO_LARGE: text_reply(413, f"podkey: a body has at most {MAX_BODY} bytes"),
    Rejected.NO_LENGTH: text_reply(411, "podkey: a request has a Content-Length, and is not sent in chunks"),
}


def reply_to(bad: Bad) -> Reply:
    return _REPLIES[bad.why]


@final
class Messages:
    """One connection, seen from the server: `receive`, then `next` until it pauses, then `answer`."""

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._max_body = max_body
        self._body = bytearray()
        self._bad: Bad | None = None
        self._head_only = False
        self._ended = False
        # Bytes since the last request began.
        self._received = 0

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is there."""
        return self._connection.their_state is h11.IDLE and not self._unread

    @property
    def held(self) -> int:
        """Bytes of a body that is not whole yet."""
        return len(self._body)

    @property
    def _unread(self) -> int:
        return len(self._connection.trailing_data[0])

    def receive(self, data: bytes) -> None:
        """Bytes as they came; none: the client sends no more."""
        if self._bad is None and not self._ended:
            self._ended = not data
            self._received += len(data)
            self._connection.receive_data(data)

    def next(self) -> Head | Whole | Bad | Pause:
        """What was said next. After `Bad` it is always that."""
        if self._bad is None:
            try:
                return self._next()
            except h11.RemoteProtocolError as error:
                if self._ended:
                    return Pause.ENDED
                # h11 says 431 of a head that grows too large.
                large = error.error_status_hint == 431
                self._bad = Bad(Rejected.HEAD_TOO_LARGE if large else Rejected.MALFORMED)
        return self._bad

    def _next(self) -> Head | Whole | Bad | Pause:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                return self._head(event)
            if isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                body = bytes(self._body)
                self._body.clear()
                return Whole(body)
            elif isinstance(event, h11.ConnectionClosed):
                return Pause.ENDED
            else:
                # NEED_DATA; or PAUSED: the next request is there before this one is answered.
                return Pause.MORE

    def _head(self, request: h11.Request) -> Head | Bad:
        fields = _fields(request.headers)
        if self._received - self._unread > MAX_HEAD:
            # h11 counts only while a head is incomplete, and this one came in large pieces.
            self._bad = Bad(Rejected.HEAD_TOO_LARGE)
        self._head_only = request.method == b"HEAD"
        length = int(fields.get("content-length", "0"))
        if "transfer-encoding" in fields:
            # API servers know how long a review is. A body in chunks of a byte would cost us minutes, and one
            # that has a length, too, two readers could read differently (RFC 9112 §6.1).
            self._bad = self._bad or Bad(Rejected.NO_LENGTH)
        elif length > self._max_body:
            self._bad = self._bad or Bad(Rejected.BODY_TOO_LARGE)
        if self._bad is not None:
            return self._bad
        path, _, query = request.target.decode("ascii").partition("?")
        return Head(
            method=request.method.decode("ascii"),
            path=path,
            query=query,
            media_type=fields.get("content-type", "").partition(";")[0].strip().lower(),
            plain=fields.get("content-encoding", "identity").lower() == "identity",
            length=length,
        )

    def go_on(self) -> bytes:
        """For a head that is welcome: what a client waits for that said `Expect: 100-continue`."""
        if not self._connection.they_are_waiting_for_100_continue:
            return b""
        return self._connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def drop(self) -> None:
        """What is there of a body is wanted no more."""
        self._body = bytearray()

    def answer(self, reply: Reply, *, close: bool = False) -> bytes:
        """The answer to the request of the last head, or to what was none."""
        # What is unread behind a refusal would be read as the next request.
        done = self._connection.their_state is h11.DONE
        fields = [
            ("Content-Type", reply.media_type),
            ("Content-Length", str(len(reply.body))),
            ("Cache-Control", "no-store"),
            *reply.more,
            *([("Connection", "close")] if close or not done else []),
        ]
        head = self._connection.send(h11.Response(status_code=reply.status, headers=fields))
        body = b"" if self._head_only else self._connection.send(h11.Data(data=reply.body))
        end = self._connection.send(h11.EndOfMessage())
        return b"".join(part or b"" for part in (head, body, end))

    def begin_again(self) -> bool:
        """Whether another request may follow the one that was answered."""
        connection = self._connection
        if self._bad is not None or not connection.our_state is connection.their_state is h11.DONE:
            return False
        connection.start_next_cycle()
        self._received = self._unread
        return True


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Those that we look at are single ones; h11 has seen to Content-Length and Transfer-Encoding."""
    return {name.decode("ascii"): value.decode("latin-1") for name, value in headers}
