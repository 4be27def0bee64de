"""HTTP/1.1 as a webhook and its probes need it, without sockets.

Bytes go in, a head and then a whole body come out; answers come out as bytes. A head is judged before its
body is read, so that what nobody wants is refused before it is sent (RFC 9110 §10.1.1 says the same of
`Expect`). Nothing that a client sent is in what is answered.

It is a small part of HTTP: a body has a length, and what RFC 9112 lets a server refuse is refused (lines that
end with a line feed alone, folded fields). `h11`, which knows all of it, took a tenth of a review; the tests
hold this reader against it.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, final

from proxy.core.structs import Struct

# An API server's head has some 250 bytes; what a mesh or a tracer adds still fits.
MAX_HEAD: Final = 16 << 10
# An API server takes objects of 3 MiB (apiserver's MaxRequestBodyBytes), and a review of an update holds two
# of them. The rest is for managedFields, who asks, and `<`, `>`, `&`, which JSON in Go writes as six bytes.
MAX_BODY: Final = 7 << 20

TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"


# RFC 9110 §5.6.2: what names of methods and fields are made of.
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A line for the request, and one for each field; no control characters but tabs. Each repetition ends before
# what follows it can begin, so it takes linear time.
_HEAD: Final = re.compile(rf"({_WORD}) ([!-~]+) HTTP/1\.([01])((?:\r\n{_WORD}:[\t -~\x80-\xff]*)*)").fullmatch
_SPACE: Final = 0x20
_END: Final = b"\r\n\r\n"
# Up to 20 digits, as h11: more than a 64-bit number has.
_LENGTH: Final = re.compile("[0-9]{1,20}").fullmatch


class Rejected(Enum):
    """Why a request was not heard."""

    MALFORMED = "malformed"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TOO_LARGE = "body_too_large"
    NO_LENGTH = "no_length"


class Head(Struct, frozen=True):
    method: str
    # Without the query.
    path: str
    query: str
    # In lower case, without parameters.
    media_type: str
    # Whether the body is as it looks: not compressed.
    plain: bool
    length: int


class Whole(Struct, frozen=True):
    """The body of the request whose head came last."""

    body: bytes


class Bad(Struct, frozen=True):
    """Nothing can be read after it."""

    why: Rejected


class Pause(Enum):
    # Nothing to do before more bytes are there.
    MORE = "more"
    # The client is done, between two requests or in the middle of one.
    ENDED = "ended"


class Reply(Struct, frozen=True):
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


class _Stage(Enum):
    """What comes next."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"


@final
class Messages:
    """One connection, seen from the server: `receive`, then `next` until it pauses, then `answer`."""

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self._max_body = max_body
        # What was not heard of yet; a body stays in it until it is whole.
        self._unread = bytearray()
        # Where the end of a head may begin: what is before it was looked at.
        self._looked_at = 0
        self._bad: Bad | None = None
        self._ended = False
        self._stage = _Stage.HEAD
        # Of the last head.
        self._length = 0
        self._head_only = False
        self._waits = False
        # Whether another request may follow.
        self._goes_on = False

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is there."""
        return self._stage is _Stage.HEAD and not self._unread

    @property
    def held(self) -> int:
        """Bytes of a body that is not whole yet."""
        return len(self._unread) if self._stage is _Stage.BODY else 0

    def receive(self, data: bytes) -> None:
        """Bytes as they came; none: the client sends no more."""
        if self._bad is None and not self._ended:
            self._ended = not data
            self._unread += data

    def next(self) -> Head | Whole | Bad | Pause:
        """What was said next. After `Bad` it is always that."""
        if self._bad is not None:
            return self._bad
        if self._stage is _Stage.BODY and len(self._unread) >= self._length:
            return self._whole()
        if self._stage is _Stage.HEAD and self._unread:
            found = self._head()
            if isinstance(found, Bad):
                self._bad = found
            if found is not None:
                return found
        return Pause.ENDED if self._ended else Pause.MORE

    def _whole(self) -> Whole:
        body = bytes(memoryview(self._unread)[: self._length])
        del self._unread[: self._length]
        self._stage = _Stage.ANSWER
        self._waits = False
        return Whole(body)

    def _head(self) -> Head | Bad | None:
        end = self._unread.find(_END, self._looked_at)
        size = len(self._unread) if end < 0 else end + len(_END)
        if self._unread[0] <= _SPACE:
            # TLS, or an empty line: the rest need not be waited for.
            return Bad(Rejected.MALFORMED)
        if size > MAX_HEAD:
            return Bad(Rejected.HEAD_TOO_LARGE)
        if end < 0:
            self._looked_at = max(0, size - len(_END) + 1)
            return None
        text = self._unread[:end].decode("latin-1")
        del self._unread[:size]
        self._looked_at = 0
        found = _HEAD(text)
        if found is None:
            return Bad(Rejected.MALFORMED)
        method, target, minor, lines = found.groups()
        fields = _fields(lines)
        self._head_only = method == "HEAD"
        newer = minor == "1"
        self._waits = newer and _has(fields, "expect", "100-continue")
        self._goes_on = newer and not _has(fields, "connection", "close")
        length = _length_of(fields, newer=newer)
        if isinstance(length, Rejected):
            return Bad(length)
        if length > self._max_body:
            return Bad(Rejected.BODY_TOO_LARGE)
        self._length = length
        self._stage = _Stage.BODY
        path, _, query = target.partition("?")
        return Head(
            method=method,
            path=path,
            query=query,
            media_type=fields.get("content-type", "").partition(";")[0].strip().lower(),
            plain=fields.get("content-encoding", "identity").lower() == "identity",
            length=length,
        )

    def go_on(self) -> bytes:
        """For a head that is welcome: what a client waits for that said `Expect: 100-continue`."""
        if not self._waits:
            return b""
        self._waits = False
        return b"HTTP/1.1 100 \r\n\r\n"

    def drop(self) -> None:
        """What is there of a body is wanted no more."""
        self._unread = bytearray()

    def answer(self, reply: Reply, *, close: bool = False) -> bytes:
        """The answer to the request of the last head, or to what was none."""
        # What is unread behind a refusal would be read as the next request.
        self._goes_on = self._goes_on and not close and self._stage is _Stage.ANSWER
        more = "".join([f"{name}: {value}\r\n" for name, value in reply.more])
        end = "" if self._goes_on else "Connection: close\r\n"
        body = reply.body
        head = (
            f"HTTP/1.1 {reply.status} \r\nContent-Type: {reply.media_type}\r\nContent-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\n{more}{end}\r\n"
        ).encode("ascii")
        return head if self._head_only else head + body

    def begin_again(self) -> bool:
        """Whether another request may follow the one that was answered."""
        if not self._goes_on:
            return False
        self._stage = _Stage.HEAD
        self._head_only = False  # what follows may be no request
        return True


def _fields(lines: str) -> dict[str, str]:
    """By their names in lower case. Of one that comes twice the values stand in a row (RFC 9110 §5.3)."""
    fields: dict[str, str] = {}
    for line in lines.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _has(fields: Mapping[str, str], name: str, word: str) -> bool:
    return name in fields and word in {part.strip() for part in fields[name].lower().split(",")}


def _length_of(fields: Mapping[str, str], *, newer: bool) -> int | Rejected:
    # RFC 9112 §3.2: there is one, and not two.
    if "," in fields.get("host", "" if not newer else ","):
        return Rejected.MALFORMED
    if "transfer-encoding" in fields:
        # API servers know how long a review is. A body in chunks of a byte would cost us minutes, and one
        # that has a length, too, two readers could read differently (RFC 9112 §6.1).
        chunked = fields["transfer-encoding"].lower() == "chunked"
        return Rejected.NO_LENGTH if chunked else Rejected.MALFORMED
    if "content-length" not in fields:
        return 0
    first, *others = [part.strip() for part in fields["content-length"].split(",")]
    if not _LENGTH(first) or any(other != first for other in others):
        return Rejected.MALFORMED
    return int(first)
