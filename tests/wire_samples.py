"""Bytes as clients send them: hellos, request heads, HTTP/2 field lists; made here, or by TLS libraries."""

import contextlib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from OpenSSL import SSL

# --- cutting -------------------------------------------------------------------------------------


def prefixes(data: bytes) -> Iterator[bytes]:
    """Every proper one, from the empty one on."""
    return (data[:size] for size in range(len(data)))


# --- client hellos by the standard library and by pyOpenSSL ---------------------------------------


def real_hello(
    server_name: str | None = "api.openai.com",
    alpn: Sequence[str] = (),
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> bytes:
    """What `ssl` sends first; in one record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a handshake without a server ended")


def pyopenssl_hello(server_name: bytes | None, alpn: Sequence[bytes]) -> bytes:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if alpn:
        context.set_alpn_protos(list(alpn))
    client = SSL.Connection(context)
    if server_name is not None:
        client.set_tlsext_host_name(server_name)
    client.set_connect_state()
    try:
        client.do_handshake()
    except SSL.WantReadError:
        return client.bio_read(65_536)
    raise AssertionError("a handshake without a server ended")


def openssl_reads(data: bytes) -> list[str | None]:
    """The server name that a server of the `ssl` module sees; empty where it refuses the hello before."""
    seen: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    received = ssl.MemoryBIO()
    received.write(data)
    server = context.wrap_bio(received, ssl.MemoryBIO(), server_side=True)
    with contextlib.suppress(ssl.SSLError):  # it has no certificate, and gets no further
        server.do_handshake()
    return seen


# --- client hellos by hand -----------------------------------------------------------------------

SERVER_NAME: Final = 0
ALPN: Final = 16
ECH: Final = 0xFE0D

type Extension = tuple[int, bytes]


def vector(length_size: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_size) + content


def server_name(*names: bytes, kind: int = 0) -> Extension:
    return SERVER_NAME, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names))


def alpn(*protocols: bytes) -> Extension:
    return ALPN, vector(2, b"".join(vector(1, protocol) for protocol in protocols))


def ech_outer(payload: bytes = b"\x5a" * 208) -> Extension:
    """RFC 9849 §5: outer, HKDF-SHA256 with AES-128-GCM, a config id, an X25519 key, the payload."""
    return ECH, b"\x00" + b"\x00\x01\x00\x01" + b"\x2a" + vector(2, b"\x33" * 32) + vector(2, payload)


ECH_INNER: Final[Extension] = (ECH, b"\x01")


def hello_body(
    extensions: Iterable[Extension] | None,
    *,
    version: bytes = b"\x03\x03",
    session_id: bytes = b"\x11" * 32,
    ciphers: bytes = b"\x8a\x8a\x13\x01\x13\x02",  # GREASE first, as Chrome has it
    compression: bytes = b"\x00",
    after: bytes = b"",
) -> bytes:
    body = version + b"\x77" * 32 + vector(1, session_id) + vector(2, ciphers) + vector(1, compression)
    if extensions is not None:
        body += vector(2, b"".join(kind.to_bytes(2) + vector(2, data) for kind, data in extensions))
    return body + after


def handshake(body: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, body)


def records(message: bytes, fragment: int = 2**14, version: bytes = b"\x03\x01") -> bytes:
    """The message in records of so many bytes each."""
    parts = (message[at : at + fragment] for at in range(0, len(message), fragment))
    return b"".join(record(part, version=version) for part in parts)


def record(fragment: bytes, *, kind: int = 22, version: bytes = b"\x03\x01") -> bytes:
    return bytes([kind]) + version + vector(2, fragment)


def hello(*extensions: Extension, fragment: int = 2**14) -> bytes:
    return records(handshake(hello_body(extensions)), fragment)


CHROME_EXTENSIONS: Final[tuple[Extension, ...]] = (
    (0x5A5A, b""),  # GREASE
    server_name(b"huggingface.co"),
    (0x0017, b""),  # extended_master_secret
    (0xFF01, b"\x00"),  # renegotiation_info
    (0x000A, vector(2, b"\x2a\x2a\x11\xec\x00\x1d\x00\x17")),  # groups: GREASE, X25519MLKEM768, …
    (0x000B, b"\x01\x00"),
    (0x0023, b""),  # session_ticket
    alpn(b"h2", b"http/1.1"),
    (0x0005, b"\x01\x00\x00\x00\x00"),  # status_request
    (0x000D, vector(2, b"\x04\x03\x08\x04")),
    (0x0012, b""),
    (0x0033, vector(2, b"\x2a\x2a" + vector(2, b"\x00") + b"\x11\xec" + vector(2, b"\x44" * 1216))),
    (0x002D, b"\x01\x01"),
    (0x002B, vector(1, b"\x6a\x6a\x03\x04\x03\x03")),  # supported_versions, GREASE first
    (0x001B, b"\x02\x00\x02"),
    (0x44CD, vector(2, vector(1, b"h2"))),  # application_settings
    ech_outer(),
    (0x7A7A, b"\x00"),  # GREASE
)

# --- request heads -------------------------------------------------------------------------------

GET: Final = (
    b"GET /v1/models?limit=20 HTTP/1.1\r\n"
    b"Host: api.openai.com\r\n"
    b"User-Agent: OpenAI/Python 1.99.9\r\n"
    b"Accept:application/json\r\n"
    b"Authorization: \t Bearer placeholder \t\r\n"
    b"X-Empty:\r\n"
    b"X-Name: caf\xc3\xa9\r\n"
    b"\r\n"
)
POST: Final = (
    b"POST /v1/chat/completions HTTP/1.1\r\n"
    b"host: api.openai.com:443\r\n"
    b"Content-Type: application/json\r\n"
    b"content-length: 17\r\n"
    b"\r\n"
)
PUT_CHUNKED: Final = (
    b"PUT /datasets/train.tar?partNumber=1&uploadId=a%2Fb HTTP/1.1\r\n"
    b"Host: my-bucket.s3.eu-west-1.amazonaws.com\r\n"
    b"Transfer-Encoding: Chunked\r\n"
    b"Expect: 100-continue\r\n"
    b'x-amz-meta-note: a, b; c="d" (e)\r\n'
    b"\r\n"
)
CONNECT: Final = b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n"
# http.client before Python 3.12.
BARE_CONNECT: Final = b"CONNECT api.openai.com:443 HTTP/1.0\r\n\r\n"
ABSOLUTE: Final = (
    b"GET http://deb.example.org/dists/stable/InRelease HTTP/1.1\r\n"
    b"Host: deb.example.org\r\nProxy-Connection: keep-alive\r\n\r\n"
)
OLD: Final = b"\r\nHEAD / HTTP/1.0\r\nHost: [2001:DB8::1]:8443\r\n\r\n"

HEADS: Final = (GET, POST, PUT_CHUNKED, CONNECT, BARE_CONNECT, ABSOLUTE, OLD)


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a.example") -> bytes:
    """A head with these header lines after its Host."""
    return b"\r\n".join((first, *filter(None, [host]), *lines, b"", b""))


# --- HTTP/2 field lists --------------------------------------------------------------------------

type Fields = list[tuple[bytes, bytes]]

GRPC: Final[Fields] = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/google.pubsub.v1.Publisher/Publish"),
    (b":authority", b"pubsub.googleapis.com"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"59S"),
    (b"x-note", b"caf\xc3\xa9\tau lait"),
    (b"x-empty", b""),
    (b"cookie", b"a=1"),
    (b"cookie", b"b=2"),
]


def changed(fields: Fields, **values: bytes | None) -> Fields:
    """With other pseudo-headers (`path=b"*"`), or without them (`path=None`)."""
    kept: Fields = []
    for name, value in fields:
        new = values.get(name.removeprefix(b":").decode(), value)
        if new is not None:
            kept.append((name, new))
    return kept
