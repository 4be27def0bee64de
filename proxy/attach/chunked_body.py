"""A body in chunks that the application signed with its placeholder, each signed anew on its way: the same
bytes but for the signatures, so of the same length.

A store commits what it got when the last chunk's signature fits. So that last part is given by `finish`
alone, when it is certain that all of the object came and that nothing follows.
"""

from collections.abc import Buffer
from typing import Final, Protocol

from proxy.attach.bodies import BodyFault
from proxy.attach.chunk_framing import (
    CRLF,
    MAX_CHUNK_LINE,
    MAX_TRAILER_BYTES,
    ChunkHeader,
    read_chunk_line,
    read_ending,
)
from proxy.core.reasons import Reason

# A signature stands before its chunk, so a chunk is held whole, on each connection that an application cares
# to open. SDKs send 64 KiB (minio-go, Kotlin), 80 KiB (.NET) or 128 KiB (Java); botocore's chunks, unsigned,
# have 1 MiB, which was long the most that MinIO's server took.
MAX_CHUNK: Final = 1024 * 1024


class ChunkChain(Protocol):
    """Gives the signatures in turn; each counts in the one that follows."""

    @property
    def signature_length(self) -> int: ...

    def chunk(self, data: Buffer) -> bytes: ...

    def trailer(self, canonical: Buffer) -> bytes: ...


class ChunkCheck(Protocol):
    """Says in turn whether the application's own signatures fit."""

    def matches(self, data: Buffer, claimed: bytes) -> bool: ...

    def matches_trailer(self, canonical: Buffer, claimed: bytes) -> bool: ...


class ChunkedBody:
    """A BodyTransform. Its parts in turn: a chunk's header, its data, and so on; after the header of the
    empty chunk the ending."""

    def __init__(
        self,
        chain: ChunkChain,
        decoded_length: int,
        trailers: frozenset[str] = frozenset(),
        check: ChunkCheck | None = None,
    ) -> None:
        self._chain = chain
        self._left = decoded_length
        self._trailers = trailers
        self._check = check
        # What has come of the part that is being read, and the header that stands before it.
        self._part = bytearray()
        self._header: ChunkHeader | None = None
        self._fault: BodyFault | None = None

    @property
    def held(self) -> int:
        header = self._header
        if header is None:
            return len(self._part)
        # A declared size counts from the start: whoever holds few bytes will soon hold all of them.
        return len(header.opening) + len(header.signature) + max(header.size, len(self._part))

    def feed(self, data: bytes) -> bytes | BodyFault:
        out: list[Buffer] = []
        at = 0
        while at < len(data) and self._fault is None:
            header = self._header
            if header is None:
                at = self._read_header(data, at)
            elif header.size:
                at = self._read_chunk(header, data, at, out)
            else:
                at = self._read_ending(data, at)
        return b"".join(out) if self._fault is None else self._fault

    def finish(self) -> bytes | BodyFault:
        if self._fault is not None:
            return self._fault
        header, data = self._header, bytes(self._part)
        if header is None or header.size:
            return self._fail("the body ended before its last chunk")
        ending = read_ending(data, self._trailers, self._chain.signature_length)
        if isinstance(ending, str):
            return self._fail(ending)
        check = self._check
        if check is not None:
            if not check.matches(b"", header.signature):
                return self._fail("the last chunk's signature is not the one that its data gives")
            if ending.signature and not check.matches_trailer(ending.canonical, ending.signature):
                return self._fail("x-amz-trailer-signature is not the one that the trailers give")
        self._fail("more came after the body's end")
        last = self._chain.chunk(b"")
        trailer = self._chain.trailer(ending.canonical) if ending.signature else b""
        return b"".join((header.opening, last, CRLF, ending.opening, trailer, ending.closing))

    # --- the parts: each takes its own from `data[at:]` and says where the rest begins ----------------------

    def _read_header(self, data: bytes, at: int) -> int:
        rest = at + MAX_CHUNK_LINE - len(self._part)
        found = data.find(b"\n", at, rest)
        stop = rest if found < 0 else found + 1
        self._part += memoryview(data)[at:stop]
        if found < 0 and len(self._part) < MAX_CHUNK_LINE:
            return stop
        header = read_chunk_line(bytes(self._part), self._chain.signature_length)
        if header is None:
            length = self._chain.signature_length
            self._fail(f"a chunk does not begin with its size and a chunk-signature of {length} characters")
        elif header.size > MAX_CHUNK:
            self._fail(f"a chunk has more than {MAX_CHUNK} bytes: have the client send smaller ones")
        elif header.size > self._left:
            self._fail("the chunks hold more than x-amz-decoded-content-length says")
        elif header.size == 0 and self._left:
            self._fail("the chunks hold less than x-amz-decoded-content-length says")
        else:
            self._part = bytearray()
            self._header = header
        return stop

    def _read_chunk(self, header: ChunkHeader, data: bytes, at: int, out: list[Buffer]) -> int:
        whole = header.size + len(CRLF)
        stop = at + whole - len(self._part)
        self._part += memoryview(data)[at:stop]
        if len(self._part) < whole:
            return stop
        if not self._part.endswith(CRLF):
            self._fail("a chunk's data is not followed by CRLF")
            return stop
        chunk = self._part
        del chunk[header.size :]
        if self._check is not None and not self._check.matches(chunk, header.signature):
            self._fail("a chunk's signature is not the one that its data gives")
            return stop
        self._part = bytearray()
        self._header = None
        self._left -= header.size
        out += (header.opening, self._chain.chunk(chunk), CRLF, chunk, CRLF)
        return stop

    def _read_ending(self, data: bytes, at: int) -> int:
        """Only kept: until the body has ended, nobody can say that this is how it ends."""
        most = MAX_TRAILER_BYTES if self._trailers else len(CRLF)
        self._part += memoryview(data)[at : at + most + 1]
        if len(self._part) > most:
            self._fail("more follows the last chunk than can belong to it")
        return len(data)

    def _fail(self, message: str) -> BodyFault:
        """From here on the answer is this one, and nothing is kept."""
        self._part = bytearray()
        self._header = None
        self._fault = BodyFault(Reason.MALFORMED_BODY, message)
        return self._fault
