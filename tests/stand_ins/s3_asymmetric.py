"""S3 as far as SigV4a: it keeps objects whose request, chunks and trailers are signed as they must be.

Swift knows AWS4-ECDSA-P256-SHA256 not at all. Written from AWS's "Signature Version 4 signing" (asymmetric
variant), "Signature calculations … chunked upload" and its chapter on trailers; that a chunk's predecessor
stands in what is signed without its padding is what the AWS CRT's public tests show.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.s3_signer import ECDSA_SIZE, Chain, Keys, Mode, canonical_request, ecdsa_key, sha256_hex
from tests.upstream_requests import Gone, Request

ALGORITHM: Final = "AWS4-ECDSA-P256-SHA256"
_AUTHORIZATION: Final = re.compile(
    rf"{ALGORITHM} Credential=([^/]+)/((\d{{8}})/s3/aws4_request), SignedHeaders=([a-z0-9;-]+), "
    r"Signature=([0-9a-f]+)"
).fullmatch
_LINE: Final = re.compile(rb"([0-9a-f]{1,8})(?:;chunk-signature=([0-9a-f*]+))?\r\n").fullmatch


class DeniedError(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class AsymmetricS3:
    """`routes` of an Upstream: `handle` for every path. `regions`: what the signer said it is good for."""

    keys: Keys
    objects: dict[str, bytes] = field(default_factory=dict)
    regions: list[str] = field(default_factory=list)

    def handle(self, request: Request) -> None:
        # As S3 does it: whoever asks first is told to go on once the head is in order.
        try:
            chain, mode = self._admit(request)
            if "100-continue" in request.header("expect"):
                request.start(100)
            body = b"".join(self._body(request, chain, mode))
        except DeniedError as denied:
            error = f"<Error><Code>{denied.code}</Code></Error>".encode()
            request.answer(denied.status, error, "application/xml")
            if not request.complete:
                raise Gone from None
            return
        if request.method == "PUT":
            self.objects[request.path] = body
        request.answer(200, b"" if request.method == "PUT" else self.objects.get(request.path, b""))

    def _admit(self, request: Request) -> tuple[Chain, str]:
        fields = {name.lower(): value for name, value in request.fields}
        found = _AUTHORIZATION(fields.get("authorization", ""))
        if found is None:
            raise DeniedError(403, "AccessDenied")
        access_key_id, scope, day, names, signature = found.groups()
        moment, payload = fields["x-amz-date"], fields["x-amz-content-sha256"]
        token = fields.get("x-amz-security-token")
        if access_key_id != self.keys.access_key_id or token != self.keys.session_token:
            raise DeniedError(403, "InvalidAccessKeyId")
        signed = names.split(";")
        must = {name for name in fields if name.startswith("x-amz-")} | {"host"}
        if not must <= set(signed) or not moment.startswith(day):
            raise DeniedError(403, "AccessDenied")
        covered = {name: fields[name] for name in signed}
        canonical = canonical_request(request.method, request.target, covered, payload)
        self._check("\n".join([ALGORITHM, moment, scope, sha256_hex(canonical.encode())]), signature)
        self.regions.append(fields["x-amz-region-set"])
        return Chain(str, ALGORITHM, moment, scope, signature), payload

    def _check(self, text: str, signature: str) -> None:
        try:
            public = ecdsa_key(self.keys).public_key()
            public.verify(binascii.unhexlify(signature), text.encode(), ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, binascii.Error):
            raise DeniedError(403, "SignatureDoesNotMatch") from None

    def _body(self, request: Request, chain: Chain, mode: str) -> Iterator[bytes]:
        if not mode.startswith("STREAMING-"):
            yield from request.pieces()
            return
        stream = _Stream(request.pieces())
        size, total, crc = -1, 0, 0
        while size:
            found = _LINE(stream.line())
            signs = mode != Mode.UNSIGNED_TRAILER
            if found is None or len(found[2] or b"") != (ECDSA_SIZE if signs else 0):
                raise DeniedError(400, "IncompleteBody")
            size = int(found[1], 16)
            chunk = stream.exactly(size)
            if signs:
                text, chain.previous = chain.payload_text(chunk), found[2].decode().rstrip("*")
                self._check(text, chain.previous)
            if size:
                stream.expect(b"\r\n")
            total, crc = total + size, zlib.crc32(chunk, crc)
            yield chunk
        if mode.endswith("-TRAILER"):
            self._trailer(stream, chain, crc, signs=mode == Mode.ECDSA_TRAILER)
        stream.expect(b"\r\n")
        stream.expect_end()
        if total != int(request.header("x-amz-decoded-content-length")[0]):
            raise DeniedError(400, "IncompleteBody")

    def _trailer(self, stream: "_Stream", chain: Chain, crc: int, *, signs: bool) -> None:
        checksum = stream.field(b"x-amz-checksum-crc32")
        if signs:
            signature = stream.field(b"x-amz-trailer-signature").decode().rstrip("*")
            self._check(chain.trailer_text(b"x-amz-checksum-crc32:%s\n" % checksum), signature)
        if checksum != base64.b64encode(crc.to_bytes(4, "big")):
            raise DeniedError(400, "BadDigest")


class _Stream:
    """A body as lines and bytes; one that ends too early is nobody's object."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def _more(self) -> None:
        piece = next(self._pieces, b"")
        if not piece:
            raise DeniedError(400, "IncompleteBody")
        self._held += piece

    def line(self) -> bytes:
        while b"\r\n" not in self._held:
            self._more()
        line, _, self._held = self._held.partition(b"\r\n")
        return line + b"\r\n"

    def field(self, name: bytes) -> bytes:
        found, _, text = self.line().removesuffix(b"\r\n").partition(b":")
        if found != name:
            raise DeniedError(400, "MalformedTrailerError")
        return text

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        data, self._held = self._held[:size], self._held[size:]
        return data

    def expect(self, data: bytes) -> None:
        if self.exactly(len(data)) != data:
            raise DeniedError(400, "IncompleteBody")

    def expect_end(self) -> None:
        if self._held or next(self._pieces, b""):
            raise DeniedError(400, "IncompleteBody")
