"""A signer of the tests' own: every way to say who sends a body to S3, right and wrong.

Written from AWS's documents ("Signature Version 4 signing", "Signature calculations … chunked upload", "…
including trailing headers"; for SigV4a the signing steps, NIST SP 800-108 for its key, and what the AWS CRT's
tests show of its chunks), and from nothing of ours: it is the second opinion on what `proxy.aws` does.

    upload = Signer(keys, "us-east-1").upload("PUT", host, "/bucket/key", data, Mode.SIGNED_TRAILER)
    sock.sendall(upload.head + upload.body)
"""

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.core.structs import replace

EMPTY: Final = hashlib.sha256(b"").hexdigest()
CHUNK: Final = 64 * 1024
# SigV4a signatures differ in length, and frames must not: they are padded to the longest.
ECDSA_SIZE: Final = 144
ECDSA_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
HMAC_ALGORITHM: Final = "AWS4-HMAC-SHA256"
ECDSA_ALGORITHM: Final = "AWS4-ECDSA-P256-SHA256"


class Mode(StrEnum):
    """What `x-amz-content-sha256` says; HASHED is the one that says the hash itself."""

    UNSIGNED = "UNSIGNED-PAYLOAD"
    HASHED = "sha256"
    UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    ECDSA = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
    ECDSA_TRAILER = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"

    @property
    def is_framed(self) -> bool:
        return self.startswith("STREAMING-")

    @property
    def has_trailer(self) -> bool:
        return self.endswith("-TRAILER")

    @property
    def signs_chunks(self) -> bool:
        return self.startswith("STREAMING-AWS4-")

    @property
    def is_asymmetric(self) -> bool:
        return "ECDSA" in self


HMAC_MODES: Final = [mode for mode in Mode if not mode.is_asymmetric]


class Harm(Enum):
    """What is wrong with an upload; NONE is right."""

    NONE = "nothing"
    CHUNK = "a chunk is not what was signed"
    CHUNK_SIGNATURE = "a chunk's signature is not its own"
    CHUNK_ORDER = "two chunks have changed places"
    LAST_SIGNATURE = "the last chunk's signature is not its own"
    TRAILER = "the checksum is another body's"
    TRAILER_SIGNATURE = "the trailer's signature is not its own"
    NO_TRAILER = "the trailer is missing"
    OTHER_TRAILER = "there is a trailer that was not announced"
    CUT = "the body ends in the middle of a chunk, and so does the connection"
    CUT_BEFORE_LAST = "the connection ends before the last chunk"
    CUT_IN_TRAILER = "the connection ends in the trailer"
    DECODED_MORE = "x-amz-decoded-content-length says one byte more"
    DECODED_LESS = "x-amz-decoded-content-length says one byte less"
    LENGTH_LESS = "Content-Length ends before the last chunk"
    HUGE_CHUNK = "a chunk says that it is as long as no memory"
    BAD_SIZE = "a chunk's size is no number"
    NO_CRLF = "a chunk has no end"
    JUNK = "something follows the last chunk"
    BODY = "the body is not the one that was hashed"


@dataclass(frozen=True, slots=True)
class Keys:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """`ends`: the connection has to be ended after it, for there is less than the head says."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ends: bool = False

    @property
    def head(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {text}" for name, text in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def header(self, name: str) -> str:
        return dict(self.headers)[name]

    def in_http_chunks(self, size: int = 50_000) -> "Upload":
        """The same with `Transfer-Encoding: chunked` in place of a length, which no signature covers."""
        pieces = [self.body[at : at + size] for at in range(0, len(self.body), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        headers = [pair for pair in self.headers if pair[0] != "content-length"]
        return replace(self, headers=(*headers, ("transfer-encoding", "chunked")), body=body)


# --- signatures ----------------------------------------------------------------------------------


def canonical_request(
    method: str, target: str, headers: Mapping[str, str], payload: str, *, double: bool = False
) -> str:
    """`target` as it is sent; `double`: every service but S3 encodes the path once more."""
    path, _, query = target.partition("?")
    pairs = sorted(
        (_encoded(unquote(name)), _encoded(unquote(text)))
        for name, _, text in (part.partition("=") for part in query.split("&") if part)
    )
    encoded = quote(unquote(path), safe="/-_.~")
    lines = [
        method,
        quote(encoded, safe="/-_.~") if double else encoded,
        "&".join(f"{name}={text}" for name, text in pairs),
        *(f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)),
        "",
        ";".join(sorted(headers)),
        payload,
    ]
    return "\n".join(lines)


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def ecdsa_key(keys: Keys) -> ec.EllipticCurvePrivateKey:
    """A key derivation in counter mode, until it falls below the order of the curve."""
    for counter in range(1, 255):
        context = keys.access_key_id.encode() + bytes([counter])
        message = b"\0\0\0\x01" + ECDSA_ALGORITHM.encode() + b"\0" + context + b"\0\0\x01\0"
        digest = hmac.new(b"AWS4A" + keys.secret_access_key.encode(), message, hashlib.sha256).digest()
        candidate = int.from_bytes(digest, "big")
        if candidate <= ECDSA_ORDER - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1())
    raise AssertionError("no such key in 254 tries")


def signing_key(keys: Keys, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


class Chain:
    """Each signature is made of the one before; `previous` begins as the request's own."""

    def __init__(
        self, sign: Callable[[str], str], algorithm: str, moment: str, scope: str, previous: str
    ) -> None:
        self._sign = sign
        self._algorithm = algorithm
        self._moment = moment
        self._scope = scope
        self.previous = previous

    def payload_text(self, data: bytes) -> str:
        return self._text("PAYLOAD", EMPTY, sha256_hex(data))

    def trailer_text(self, trailers: bytes) -> str:
        return self._text("TRAILER", sha256_hex(trailers))

    def _text(self, kind: str, *digests: str) -> str:
        words = (f"{self._algorithm}-{kind}", self._moment, self._scope, self.previous, *digests)
        return "\n".join(words)

    def chunk(self, data: bytes) -> str:
        self.previous = self._sign(self.payload_text(data))
        return self._padded()

    def trailer(self, trailers: bytes) -> str:
        self.previous = self._sign(self.trailer_text(trailers))
        return self._padded()

    def _padded(self) -> str:
        return self.previous.ljust(ECDSA_SIZE, "*") if "ECDSA" in self._algorithm else self.previous


class Signer:
    """`offset`: how many seconds this client's clock is off."""

    def __init__(self, keys: Keys, region: str, service: str = "s3", offset: float = 0.0) -> None:
        self.keys = keys
        self.region = region
        self.service = service
        self.offset = offset

    def _moment(self) -> str:
        now = datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.offset, UTC)
        return f"{now:%Y%m%dT%H%M%SZ}"

    def _hmac_sign(self, moment: str) -> Callable[[str], str]:
        key = signing_key(self.keys, moment[:8], self.region, self.service)
        return lambda text: _hmac(key, text).hex()

    def _ecdsa_sign(self) -> Callable[[str], str]:
        key = ecdsa_key(self.keys)
        return lambda text: key.sign(text.encode(), ec.ECDSA(hashes.SHA256())).hex()

    def signed(
        self,
        method: str,
        host: str,
        target: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        payload: str = EMPTY,
        *,
        unsigned: tuple[str, ...] = ("content-length", "expect", "transfer-encoding"),
    ) -> dict[str, str]:
        """These headers and those that sign them. `payload`: what `x-amz-content-sha256` says."""
        return self._signed(method, host, target, headers, payload, unsigned=unsigned)[0]

    def _signed(
        self,
        method: str,
        host: str,
        target: str,
        headers: Mapping[str, str],
        payload: str,
        *,
        unsigned: tuple[str, ...] = ("content-length", "expect", "transfer-encoding"),
    ) -> tuple[dict[str, str], Chain]:
        moment = self._moment()
        asymmetric = "ECDSA" in payload
        algorithm = ECDSA_ALGORITHM if asymmetric else HMAC_ALGORITHM
        region = () if asymmetric else (self.region,)
        scope = "/".join([moment[:8], *region, self.service, "aws4_request"])
        whole = {"host": host, **headers, "x-amz-date": moment, "x-amz-content-sha256": payload}
        if asymmetric:
            whole["x-amz-region-set"] = self.region
        if self.keys.session_token is not None:
            whole["x-amz-security-token"] = self.keys.session_token
        covered = {name: text for name, text in whole.items() if name not in unsigned}
        canonical = canonical_request(method, target, covered, payload, double=self.service != "s3")
        sign = self._ecdsa_sign() if asymmetric else self._hmac_sign(moment)
        signature = sign("\n".join([algorithm, moment, scope, sha256_hex(canonical.encode())]))
        whole["authorization"] = (
            f"{algorithm} Credential={self.keys.access_key_id}/{scope}, "
            f"SignedHeaders={';'.join(sorted(covered))}, Signature={signature}"
        )
        return whole, Chain(sign, algorithm, moment, scope, signature)

    def presigned(self, method: str, host: str, target: str, expires: int = 300, **signed: str) -> str:
        """The target of a URL that whoever has it may use so long; `signed` headers must be sent with it."""
        moment = self._moment()
        scope = f"{moment[:8]}/{self.region}/{self.service}/aws4_request"
        headers = {"host": host, **{name.replace("_", "-"): text for name, text in signed.items()}}
        fields = {
            "X-Amz-Algorithm": HMAC_ALGORITHM,
            "X-Amz-Credential": f"{self.keys.access_key_id}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": ";".join(sorted(headers)),
        }
        if self.keys.session_token is not None:
            fields["X-Amz-Security-Token"] = self.keys.session_token
        query = "&".join(f"{name}={_encoded(text)}" for name, text in fields.items())
        whole = f"{target}{'&' if '?' in target else '?'}{query}"
        canonical = canonical_request(method, whole, headers, "UNSIGNED-PAYLOAD")
        text = "\n".join([HMAC_ALGORITHM, moment, scope, sha256_hex(canonical.encode())])
        return f"{whole}&X-Amz-Signature={self._hmac_sign(moment)(text)}"

    # --- bodies ---

    def upload(
        self,
        method: str,
        host: str,
        target: str,
        data: bytes,
        mode: Mode,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        chunk: int = CHUNK,
        harm: Harm = Harm.NONE,
    ) -> Upload:
        sent = _flipped(data) if harm is Harm.BODY else data
        if not mode.is_framed:
            payload = sha256_hex(data) if mode is Mode.HASHED else str(mode)
            length = {"content-length": str(len(sent))}
            whole = self.signed(method, host, target, {**headers, **length}, payload)
            cut = harm is Harm.CUT
            return Upload(method, target, tuple(whole.items()), sent[: len(sent) // 2] if cut else sent, cut)
        decoded = len(data) + {Harm.DECODED_MORE: 1, Harm.DECODED_LESS: -1}.get(harm, 0)
        whole = {
            **headers,
            "content-encoding": ",".join(["aws-chunked", *filter(None, [headers.get("content-encoding")])]),
            "x-amz-decoded-content-length": str(decoded),
            **({"x-amz-trailer": "x-amz-checksum-crc32"} if mode.has_trailer else {}),
            # Its place; the length is known when the frames are.
            "content-length": "0",
        }
        whole, chain = self._signed(method, host, target, whole, str(mode))
        frames = _Frames(sent, data, mode, chain, size=chunk, harm=harm)
        body, length = frames.body()
        whole["content-length"] = str(length)
        return Upload(method, target, tuple(whole.items()), body, frames.ends)


ENDING: Final = frozenset({Harm.CUT, Harm.CUT_BEFORE_LAST, Harm.CUT_IN_TRAILER})


class _Frames:
    """aws-chunked: `hex-size[;chunk-signature=…]CRLF data CRLF … 0[;…]CRLF [trailers] CRLF`."""

    def __init__(self, sent: bytes, data: bytes, mode: Mode, chain: Chain, *, size: int, harm: Harm) -> None:
        self._chunks = [sent[at : at + size] for at in range(0, len(sent), size)]
        self._data = data
        self._mode = mode
        self._chain = chain
        self._harm = harm
        self.ends = harm in ENDING

    def body(self) -> tuple[bytes, int]:
        """What is sent, and the length that is told."""
        frames = [self._frame(index, chunk) for index, chunk in enumerate(self._chunks)]
        if self._harm is Harm.CHUNK_ORDER:
            frames[0], frames[1] = frames[1], frames[0]
        before_last = b"".join(frames)
        last = self._line(b"", self._harm is Harm.LAST_SIGNATURE)
        trailer = b"".join(self._trailer())
        whole = before_last + last + trailer + b"\r\n"
        if self._harm is Harm.JUNK:
            whole += b"more\r\n"
        match self._harm:
            case Harm.CUT:
                return before_last[: len(before_last) // 2], len(whole)
            case Harm.CUT_BEFORE_LAST:
                return before_last, len(whole)
            case Harm.CUT_IN_TRAILER:
                return whole[:-7], len(whole)
            case Harm.LENGTH_LESS:
                return before_last, len(before_last)
            case _:
                return whole, len(whole)

    def _line(self, chunk: bytes, wrong: bool, size: bytes | None = None) -> bytes:  # noqa: FBT001
        size = b"%x" % len(chunk) if size is None else size
        if not self._mode.signs_chunks:
            return size + b"\r\n"
        signature = self._chain.chunk(chunk)
        return b"%s;chunk-signature=%s\r\n" % (size, (_other(signature) if wrong else signature).encode())

    def _frame(self, index: int, chunk: bytes) -> bytes:
        # The second of several: the first has already gone on its way by then.
        chosen = index == min(1, len(self._chunks) - 1)
        harm = self._harm if chosen else Harm.NONE
        size = {Harm.HUGE_CHUNK: b"7fffffffffffffff", Harm.BAD_SIZE: b"1z"}.get(harm)
        line = self._line(chunk, harm is Harm.CHUNK_SIGNATURE, size)
        shown = _flipped(chunk) if harm is Harm.CHUNK else chunk
        return line + shown + (b"" if harm is Harm.NO_CRLF else b"\r\n")

    def _trailer(self) -> Iterator[bytes]:
        if not self._mode.has_trailer or self._harm is Harm.NO_TRAILER:
            return
        name = b"x-amz-meta-late" if self._harm is Harm.OTHER_TRAILER else b"x-amz-checksum-crc32"
        body = self._data + b"!" if self._harm is Harm.TRAILER else self._data
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big"))
        yield b"%s:%s\r\n" % (name, checksum)
        if self._mode.signs_chunks:
            signature = self._chain.trailer(b"%s:%s\n" % (name, checksum))
            wrong = self._harm is Harm.TRAILER_SIGNATURE
            shown = (_other(signature) if wrong else signature).encode()
            yield b"x-amz-trailer-signature:%s\r\n" % shown


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def _other(signature: str) -> str:
    """Another of the same form."""
    return ("1" if signature[20] == "0" else "0").join([signature[:20], signature[21:]])
