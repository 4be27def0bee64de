"""The first message of a TLS connection, read without TLS: whom the client wants to reach, and how.

A connection is relayed or decrypted by what stands here, so the reading is as strict as that of the TLS
servers behind us: a hello that OpenSSL and BoringSSL could read differently is not read at all.
"""

import struct
from functools import lru_cache
from typing import Final

from proxy.core.structs import Struct
from proxy.wire.outcomes import NEED_MORE, NeedMore

# All records of the hello, with their headers. Post-quantum key shares bring real ones to 2 KiB; rustls and
# Go read no handshake message of more than 64 KiB either.
MAX_HELLO: Final = 65_536
# RFC 8446 §5.2. A hello is sent as plaintext and should stay within 2^14 (§5.1); servers take the larger.
MAX_RECORD: Final = 2**14 + 256
# Clients send one or two; who hides a hello from a middlebox, a handful. Each arrival is read from its start,
# so a hello in thousands of records would cost its reader milliseconds for every byte of it.
MAX_RECORDS: Final = 128

# Extensions that were read before, and how large they may be: less than 200 KiB in all.
REMEMBERED: Final = 256
MAX_REMEMBERED: Final = 272  # a host name of 255 bytes, and what stands around it

_RECORD_HEADER: Final = 5
_HANDSHAKE_HEADER: Final = 4
_EXTENSION: Final = struct.Struct("!HH")  # RFC 8446 §4.2: its type, and the length of what it holds
_HANDSHAKE: Final = 22  # RFC 8446 §5.1, ContentType
_CLIENT_HELLO: Final = 1  # RFC 8446 §4, HandshakeType

# Both headers, one behind the other: the record's type, version and length, the message's type and length.
_WHOLE: Final = struct.Struct("!BBBHBBH")

_SERVER_NAME: Final = 0  # RFC 6066 §3
_ALPN: Final = 16  # RFC 7301 §3.1
_ECH: Final = 0xFE0D  # RFC 9849 §5 (draft-ietf-tls-esni)
_HOST_NAME: Final = 0  # RFC 6066 §3, NameType
_ECH_OUTER: Final = 0  # RFC 9849 §5, ECHClientHelloType
_ECH_INNER: Final = 1


class ClientHello(Struct, frozen=True):
    """`server_name` is what the client wrote, in lower case and not judged further.

    `has_ech` says that it may be a cover name. Browsers without a key for the server send a meaningless ECH
    (GREASE, RFC 9849 §6.2), which nobody but the server can tell from a real one.
    """

    server_name: str | None
    alpn: tuple[bytes, ...]
    has_ech: bool


class NotTls(Struct, frozen=True):
    """`reason` starts with `malformed:` where it began as TLS, and holds nothing that the client wrote."""

    reason: str


type HelloReading = ClientHello | NeedMore | NotTls

NO_HANDSHAKE: Final = NotTls("not a TLS handshake record")
TOO_LARGE: Final = NotTls(f"larger than {MAX_HELLO} bytes")


class _RefusedError(Exception):
    """Does not leave this module."""

    def __init__(self, answer: NotTls) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def _malformed(reason: str) -> _RefusedError:
    return _RefusedError(NotTls(f"malformed: {reason}"))


def read_client_hello(data: bytes) -> HelloReading:
    """Read the hello at the start of `data`, which may go on with anything.

    One byte is enough to see that something else than TLS begins: a connection on which the server speaks
    first, or HTTP, must not wait. More bytes never change an answer other than `NeedMore`.
    """
    try:
        hello = _joined_fragments(data[:MAX_HELLO])
        if hello is not None:
            return _read_hello(hello)
    except _RefusedError as error:
        return error.answer
    return TOO_LARGE if len(data) >= MAX_HELLO else NEED_MORE


def _joined_fragments(data: bytes) -> bytes | None:
    """The body of the hello, put together from its records, or None where bytes are missing."""
    if _begins_whole(data):
        return data[_RECORD_HEADER + _HANDSHAKE_HEADER : _RECORD_HEADER + int.from_bytes(data[3:5])]
    message = bytearray()
    at = records = 0
    while at < len(data):
        records += 1
        if records > MAX_RECORDS:
            raise _malformed(f"the hello comes in more than {MAX_RECORDS} records")
        header = data[at : at + _RECORD_HEADER]
        _require_handshake(header, is_first=at == 0)
        if len(header) < _RECORD_HEADER:
            return None
        length = int.from_bytes(header[3:])
        # RFC 8446 §5.1: handshake fragments of zero length must not be sent. They would also be free.
        if not 1 <= length <= MAX_RECORD:
            raise _malformed("a record is empty or longer than TLS allows")
        at += _RECORD_HEADER
        message += data[at : at + length]
        at += length
        if message and message[0] != _CLIENT_HELLO:
            raise _malformed("the first handshake message is not a client hello")
        if len(message) >= _HANDSHAKE_HEADER:
            end = _HANDSHAKE_HEADER + int.from_bytes(message[1:_HANDSHAKE_HEADER])
            if _RECORD_HEADER + end > MAX_HELLO:
                raise _RefusedError(TOO_LARGE)
            if len(message) >= end:
                return bytes(message[_HANDSHAKE_HEADER:end])
    return None


def _begins_whole(data: bytes) -> bool:
    """Whether it is as nearly all are: one record, all of it here, with the hello in it and nothing else."""
    if len(data) < _WHOLE.size:
        return False
    kind, major, minor, length, message, high, low = _WHOLE.unpack_from(data)
    return (
        (kind, major, message) == (_HANDSHAKE, 3, _CLIENT_HELLO)
        and minor <= 4
        and length <= MAX_RECORD
        and length == _HANDSHAKE_HEADER + (high << 16) + low
        and len(data) >= _RECORD_HEADER + length
    )


def _require_handshake(header: bytes, *, is_first: bool) -> None:
    """A record's header, or its beginning. Between the fragments of a message no other type may stand
    (RFC 8446 §5.1). Versions are SSL 3.0 to TLS 1.3; RFC 8446 says to ignore them, and this far they tell TLS
    from what only begins with the same byte."""
    if header[0] != _HANDSHAKE or header[1:2] not in {b"", b"\x03"} or header[2:3] > b"\x04":
        if is_first:
            raise _RefusedError(NO_HANDSHAKE)
        raise _malformed("the hello is interrupted by something that is not a handshake record")


def _cut_short() -> _RefusedError:
    return _malformed("a length is larger than what follows")


class _Bytes:
    """TLS's presentation language (RFC 8446 §3): numbers, and vectors that begin with their length."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise _cut_short()
        self._at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, length_size: int, *, at_least: int = 0) -> "_Bytes":
        vector = self.take(self.number(length_size))
        if len(vector) < at_least:
            raise _malformed("a list is too short")
        return _Bytes(vector)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def require_end(self) -> None:
        if not self.is_empty:
            raise _malformed("bytes are left over")


def _read_hello(body: bytes) -> ClientHello:
    """RFC 8446 §4.1.2, which is the layout of all versions since SSL 3.0.

    Each connection comes through here, so that numbers are read where they stand.
    """
    if not body:
        raise _cut_short()
    if body[0] != 3:
        raise _malformed("the hello is of no known version")
    at = 1 + 1 + 32  # major and minor version, random
    at, size = _vector(body, at, 1)
    if size > 32:
        raise _malformed("the session id is too long")
    at, size = _vector(body, at + size, 2, at_least=2)
    if size % 2:
        raise _malformed("half a cipher suite")
    at, size = _vector(body, at + size, 1, at_least=1)  # compression methods
    extensions = _read_extensions(body, at + size)
    server_name = extensions.get(_SERVER_NAME)
    alpn = extensions.get(_ALPN)
    ech = extensions.get(_ECH)
    return ClientHello(
        None if server_name is None else _remembered_name(server_name),
        () if alpn is None else _remembered_alpn(alpn),
        has_ech=ech is not None and _is_ech_outer(_Bytes(ech)),
    )


def _vector(body: bytes, at: int, length_size: int, *, at_least: int = 0) -> tuple[int, int]:
    """Where the vector at this place begins behind its length, and how long it is."""
    begin = at + length_size
    size = int.from_bytes(body[at:begin])
    if begin + size > len(body):
        raise _cut_short()
    if size < at_least:
        raise _malformed("a list is too short")
    return begin, size


def _read_extensions(body: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    end = len(body)
    if at == end:
        return found  # before TLS 1.3 a hello may end here
    at, size = _vector(body, at, 2)
    if at + size != end:
        raise _malformed("bytes are left over")
    while at < end:
        if end - at < _EXTENSION.size:
            raise _cut_short()
        kind, size = _EXTENSION.unpack_from(body, at)
        at += _EXTENSION.size
        if end - at < size:
            raise _cut_short()
        if kind in found:  # RFC 8446 §4.2
            raise _malformed("an extension is there twice")
        found[kind] = body[at : at + size]
        at += size
    return found


def _remembered_name(extension: bytes) -> str:
    """An application names the same hosts again and again, and offers the same protocols."""
    return (_name_once if len(extension) <= MAX_REMEMBERED else _read_server_name)(extension)


def _remembered_alpn(extension: bytes) -> tuple[bytes, ...]:
    return (_alpn_once if len(extension) <= MAX_REMEMBERED else _read_alpn)(extension)


def _read_server_name(content: bytes) -> str:
    """RFC 6066 §3. The list may hold one name of each type, and there is one type. Go skips other types where
    OpenSSL refuses them, so a list with more than a host name has no one meaning."""
    extension = _Bytes(content)
    names = extension.vector(2, at_least=1)
    extension.require_end()
    if names.number(1) != _HOST_NAME:
        raise _malformed("the server name is not a host name")
    name = names.vector(2, at_least=1).rest()
    if not names.is_empty:
        raise _malformed("more than one server name")
    if not name.isascii() or b"\0" in name:
        raise _malformed("the server name is not ASCII, or holds NUL")
    return name.decode("ascii").lower()


def _read_alpn(content: bytes) -> tuple[bytes, ...]:
    """RFC 7301 §3.1, without the GREASE names."""
    extension = _Bytes(content)
    protocols = extension.vector(2, at_least=2)
    extension.require_end()
    names = []
    while not protocols.is_empty:
        name = protocols.vector(1, at_least=1).rest()
        if not _is_grease(name):
            names.append(name)
    return tuple(names)


_name_once: Final = lru_cache(maxsize=REMEMBERED)(_read_server_name)
_alpn_once: Final = lru_cache(maxsize=REMEMBERED)(_read_alpn)


def _is_grease(name: bytes) -> bool:
    """RFC 8701 §2: two equal bytes that end in A. Clients name these protocols, which nobody speaks, so that
    servers learn to skip unknown ones. GREASE also stands in lists of which nothing is read here."""
    return len(name) == 2 and name[0] == name[1] and name[0] & 0x0F == 0x0A


def _is_ech_outer(extension: _Bytes) -> bool:
    """RFC 9849 §5. The inner form travels between a client-facing server and the one behind it; its name is
    the true one."""
    kind = extension.number(1)
    if kind == _ECH_OUTER:
        extension.take(2 + 2 + 1)  # KDF, AEAD, config id
        extension.vector(2)  # the encapsulated key
        extension.vector(2, at_least=1)  # the payload
    elif kind != _ECH_INNER:
        raise _malformed("an ECH of no known form")
    extension.require_end()
    return kind == _ECH_OUTER
