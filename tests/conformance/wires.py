"""The two ends of a conversation, held by one thread: nothing is read before a script asks for it.

So a script is in charge of who waits for whom: an end that is not read is an end whose buffers fill.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tests.conformance.words import End

# Far above what anything takes here; reached only when something hangs.
PATIENCE: Final = 8.0
_LINGER_NOT: Final = b"\1\0\0\0\0\0\0\0"
_WANT: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)
# Whose place and letters RFC 9110 §5 and RFC 9112 §6 leave to each hop. What they mean is in `Message`.
HOP_FIELDS: Final = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})


class Missed(AssertionError):  # noqa: N818 - a cue, on a stage
    """What the script waits for did not come."""


class Wire:
    """One end of a TLS connection."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self.data = bytearray()
        # All that came.
        self.received = bytearray()
        self.end: End | None = None
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own

    def pull(self) -> None:
        """Take what is there."""
        while self.end is None:
            try:
                piece = self.sock.recv(65_536)
            except _WANT:
                return
            except ConnectionResetError:
                self.end = End.RESET
            except OSError:  # it ended without a word, which Python has an SSLError for
                self.end = End.CUT
            else:
                if not piece:
                    self.end = End.WHOLE
                self.data += piece
                self.received += piece

    def wait(self, came: Callable[[], bool], what: str) -> None:
        wait_for([self], came, what)

    def take(self, size: int) -> bytes:
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def take_until(self, mark: bytes, what: str) -> bytes:
        self.wait(lambda: mark in self.data or self.end is not None, what)
        if mark not in self.data:
            raise Missed(f"{what}: the connection ended ({self.end}) after {bytes(self.data)!r}")
        return self.take(self.data.index(mark) + len(mark))

    def take_exactly(self, size: int, what: str) -> bytes:
        self.wait(lambda: len(self.data) >= size or self.end is not None, what)
        if len(self.data) < size:
            raise Missed(f"{what}: the connection ended ({self.end}) after {bytes(self.data)!r}")
        return self.take(size)

    def send(self, data: bytes) -> None:
        """What the other side does not take any more is its own affair: what it said first is still read."""
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise Missed(f"{len(data)} bytes were not taken") from None
        except OSError:
            pass
        finally:
            self.sock.setblocking(False)  # noqa: FBT003 - the socket module's own

    def part(self, how: End) -> None:
        """End our side; the other may still be read."""
        self.pull()
        with suppress(OSError, ValueError):  # both sides had ended, and there is no TLS left
            match how:
                case End.RESET:
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                    self.sock.close()
                    self.end = End.RESET
                    return
                case End.WHOLE:
                    with suppress(*_WANT, ssl.SSLError):
                        self.sock.unwrap()
                case End.CUT:
                    pass
            # SSLSocket's own would forget its TLS.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


def wait_for(wires: Iterable[Wire], came: Callable[[], bool], what: str, *more: socket.socket) -> None:
    """Until `came`; whatever else becomes readable wakes it too."""
    deadline = time.monotonic() + PATIENCE
    watched = list(wires)
    while True:
        for wire in watched:
            wire.pull()
        if came():
            return
        left = deadline - time.monotonic()
        if left <= 0:
            shown = [(bytes(wire.data[:2000]), wire.end) for wire in watched]
            raise Missed(f"not within {PATIENCE:g} s: {what}; there is {shown}")
        select.select([*(wire.sock for wire in watched if wire.end is None), *more], [], [], left)


# --- HTTP/1.1 ----------------------------------------------------------------------------------------------


@dataclass
class Message:
    """One message as it came. `framing`: `none`, `length`, `chunked` or `end`, and how long it says to be."""

    first: str
    fields: list[tuple[str, str]]
    framing: str
    length: int = 0
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    trailers: list[tuple[str, str]] = field(default_factory=list)
    compares_end: bool = True
    # Of the chunk that is being read.
    _left: int = 0

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def closes(self) -> bool:
        """Whether its sender uses the connection no more (RFC 9112 §9.6, §6.3)."""
        return self.framing == "end" or "close" in ",".join(self.values("connection")).lower()

    @property
    def meaning(self) -> dict[str, object]:
        """Without what each hop may do in its own way: chunks' boundaries, fields of framing."""
        kept = [(name.lower(), value) for name, value in self.fields if name.lower() not in HOP_FIELDS]
        # Where it stands among the others says nothing: it belongs to the connection (RFC 9110 §7.8).
        kept.sort(key=lambda field: field[0] == "upgrade")
        failed = ("podkey-reason", "upstream_failed") in kept
        return {
            "first": self.first,
            "fields": kept,
            "framing": self.framing,
            # Of an answer that it cannot read mitmproxy says that there was none, and so does our message.
            "length": "known" if failed else self.length,
            "closes": self.closes if self.compares_end else None,
            "body": b"why" if failed else bytes(self.body),
            "whole": self.is_whole,
            "trailers": self.trailers,
        }


def read_message(wire: Wire, what: str, *, is_request: bool, to_head: bool = False) -> Message:
    """Its head. Anything that could be read in two ways is a fault of ours."""
    text = wire.take_until(b"\r\n\r\n", what).decode("latin-1")
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, line
        assert name == name.strip(), line
        assert "\n" not in line, line
        assert "\r" not in line, line
        fields.append((name, value.strip()))
    message = Message(first, fields, "none")
    lengths, codings = message.values("content-length"), message.values("transfer-encoding")
    assert len(lengths) + len(codings) <= 1, fields
    message.length = int(lengths[0]) if lengths else 0
    if not is_request and (to_head or _is_bodiless(first)):
        message.framing = "none"
    elif codings:
        assert [coding.lower() for coding in codings] == ["chunked"]
        message.framing = "chunked"
    elif lengths:
        message.framing = "length"
    elif not is_request:
        message.framing = "end"
    message.is_whole = message.framing == "none" or (message.framing == "length" and not message.length)
    return message


def _is_bodiless(first: str) -> bool:
    status = first.split(" ")[1]
    return status.startswith("1") or status in {"204", "304"}


def read_body(wire: Wire, message: Message, size: int | None, what: str) -> bytes:
    """So much more of it; None: all that is missing to its end."""
    begin = len(message.body)
    while not message.is_whole and (size is None or len(message.body) - begin < size):
        most = None if size is None else size - (len(message.body) - begin)
        _read_piece(wire, message, most, what)
    return bytes(message.body[begin:])


def _read_piece(wire: Wire, message: Message, most: int | None, what: str) -> None:
    if message.framing == "end":
        wire.wait(lambda: bool(wire.data) or wire.end is not None, what)
        if not wire.data:
            message.is_whole = True
        message.body += wire.take(len(wire.data) if most is None else most)
        return
    if message.framing == "length":
        left = message.length - len(message.body)
        message.body += wire.take_exactly(left if most is None else min(left, most), what)
        message.is_whole = len(message.body) == message.length
        return
    if not message._left:
        line = wire.take_until(b"\r\n", what).removesuffix(b"\r\n")
        assert line.isalnum(), f"a chunk's size of ours is {line!r}"
        message._left = int(line, 16)
        if not message._left:
            while line := wire.take_until(b"\r\n", what).removesuffix(b"\r\n"):
                name, _, value = line.decode("latin-1").partition(":")
                message.trailers.append((name, value.strip()))
            message.is_whole = True
            return
    piece = wire.take_exactly(message._left if most is None else min(message._left, most), what)
    message.body += piece
    message._left -= len(piece)
    if not message._left:
        assert wire.take_exactly(2, what) == b"\r\n"
