"""A request, signed for AWS or for a store that speaks as S3 does; and its body, where that is signed too."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote_plus

from proxy.attach.bodies import BodyFault, BodyTransform
from proxy.attach.chunked_body import ChunkedBody
from proxy.attach.client_signature import ECDSA, ClientSignature
from proxy.attach.payload import (
    CONTENT_HASH,
    DECODED_LENGTH,
    TRAILER,
    UNSIGNED_PAYLOAD,
    UNSIGNED_TRAILER,
    ChunkAlgorithm,
    Payload,
    SignedChunks,
    UnsignedTrailer,
    announced_trailers,
    read_chunk_plan,
)
from proxy.attach.placing import MAX_CREDENTIAL_BYTES, Unplaceable
from proxy.aws.chunk_chain import ChunkCheck, EcdsaChain, HmacChain
from proxy.aws.hosts import read_aws_host
from proxy.aws.sigv4 import Signed, SigningKeys, SigningScope, Style, Unsigned, sign, signable
from proxy.aws.sigv4a import sign_v4a
from proxy.core.hosts import Hostname
from proxy.core.parts import Part
from proxy.core.policy import StoreEndpoint
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import Struct

EXPRESS: Final = "s3express"
EXPRESS_TOKEN: Final = "x-amz-s3session-token"  # noqa: S105 - a header's name
SESSION_TOKEN: Final = "x-amz-security-token"  # noqa: S105 - a header's name
# What the application's own signature consists of. Its time goes with it: ours counts.
SIGNED_AWAY: Final = frozenset({
    "authorization", "x-amz-date", SESSION_TOKEN, EXPRESS_TOKEN, "x-amz-region-set",
})  # fmt: skip
_MULTI_REGION: Final = ".accesspoint.s3-global."
# S3's first name is that of its first region ("Legacy global endpoint", S3 User Guide).
_FIRST_HOST: Final = "s3.amazonaws.com"
_FIRST_REGION: Final = "us-east-1"
# A signature for all regions: whoever answers for such a name may be anywhere.
EVERY_REGION: Final = "*"


class Target(Struct, frozen=True):
    """For whom a signature is made. Without a region it is made for all of them, with SigV4a."""

    service: str
    region: str | None
    style: Style
    # Nobody in particular answers for it, whatever region the application has in mind.
    is_global: bool = False
    # What a host that names no region stands for, where nothing says better.
    usual_region: str | None = None

    @property
    def is_s3(self) -> bool:
        return self.style is Style.S3


def target_of(host: Hostname, store: StoreEndpoint | None) -> Target | None:
    """None: the name says neither service nor region, and no grant does."""
    if store is not None:
        return Target("s3", store.region, Style.S3)
    found = read_aws_host(host)
    if found is None:
        return None
    usual = _FIRST_REGION if host == _FIRST_HOST or host.endswith(f".{_FIRST_HOST}") else None
    return Target(found.service, found.region, found.style, _MULTI_REGION in host, usual)


def spelled_one_way(query: str) -> str:
    """The query as it was judged: a plus sign is a space to whom we asked, and data to some servers."""
    if "+" not in query:
        return query
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(_encoded(name) + equals + _encoded(value) for name, equals, value in pairs)


def _encoded(text: str) -> str:
    return quote(unquote_plus(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


# IAM's own limit is 128 characters; Swift's ids are an account and a user.
MAX_ACCESS_KEY_ID: Final = 256
# Visible ASCII; what delimits an id in the Authorization header cannot be in one.
_ID: Final = re.compile(rb"[\x21-\x2b\x2d\x2e\x30-\x3a\x3c-\x7e]{1,%d}" % MAX_ACCESS_KEY_ID).fullmatch
_TOKEN: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_CREDENTIAL_BYTES).fullmatch


def keys_of(parts: Mapping[Part, Secret]) -> SigningKeys | Unplaceable:
    access, secret = parts.get(Part.ACCESS_KEY_ID), parts.get(Part.SECRET_ACCESS_KEY)
    if access is None or secret is None:
        return Unplaceable("the credential has no AWS access key pair")
    name, token = access.reveal(), parts.get(Part.SESSION_TOKEN)
    if not _ID(name):
        return Unplaceable("the access key id is empty, too long, or holds what cannot stand in a signature")
    if not secret or secret.reveal().strip() != secret.reveal():
        why = "the secret access key is empty, or has a space or a line break at one end"
        return Unplaceable(why)
    if token is not None and not _TOKEN(token.reveal()):
        return Unplaceable("the session token is empty, too long, or holds what no header can carry")
    return SigningKeys(name.decode("ascii"), secret, token)


class Call(Struct, frozen=True):
    """A request before it is signed. `fields` hold nothing that signs it, and not its host."""

    method: str
    path: str
    query: str
    authority: str
    fields: Sequence[tuple[str, str]]


class SignedCall(Struct, frozen=True):
    """`headers` are added; `rewrite` signs the body's chunks in their turn."""

    headers: tuple[tuple[str, str | Secret], ...]
    rewrite: BodyTransform | None = None


class Signer(Struct, frozen=True):
    """How one request is signed: for whom, when, and what its own signature said before."""

    target: Target
    moment: datetime
    client: ClientSignature | None = None
    # Of a host that names none: what the application has in mind.
    region: str | None = None
    # What the pod was given in place of secrets; empty where that is not known.
    placeholders: frozenset[str] = frozenset()
    # Where the session's token goes.
    token_header: str = SESSION_TOKEN

    def sign_whole(self, call: Call, keys: SigningKeys, body_hash: str) -> SignedCall:
        """For services that want the hash of the body, whatever the header says."""
        return SignedCall(self._signed(call, keys, body_hash, (), ecdsa=self._region is None).headers)

    def sign_s3(self, call: Call, keys: SigningKeys, payload: Payload) -> SignedCall | BodyFault:
        """The body travels as the header `x-amz-content-sha256` says; where there is none, unsigned."""
        ecdsa = self._region is None or (
            isinstance(payload, SignedChunks) and payload.algorithm is ChunkAlgorithm.ECDSA
        )
        if isinstance(payload, SignedChunks) and ecdsa is not (payload.algorithm is ChunkAlgorithm.ECDSA):
            message = (
                "the body is signed in chunks for one region, and the host needs SigV4a, which is for all"
            )
            return BodyFault(Reason.UNSUPPORTED_PAYLOAD, message)
        trailers = announced_trailers(_values(call, TRAILER))
        if isinstance(trailers, BodyFault):
            return trailers
        named = [value for name, value in call.fields if name.lower() == CONTENT_HASH]
        word = UNSIGNED_TRAILER if isinstance(payload, UnsignedTrailer) else UNSIGNED_PAYLOAD
        added = () if named else ((CONTENT_HASH, word),)
        body_hash = named[0].strip() if named else word
        signed = self._signed(call, keys, body_hash, added, ecdsa=ecdsa)
        if not isinstance(payload, SignedChunks):
            return SignedCall((*added, *signed.headers))
        rewrite = self._chunks(call, keys, payload, signed.seed)
        return rewrite if isinstance(rewrite, BodyFault) else SignedCall(signed.headers, rewrite)

    @property
    def guess(self) -> str | None:
        """The region, where it is not the host's own word."""
        return self._region if self.target.region is None else None

    @property
    def _region(self) -> str | None:
        """The host's, or what the application has in mind; with neither, all regions."""
        if self.target.region is not None or self.target.is_global:
            return self.target.region
        client = self.client
        if client is not None and client.algorithm == ECDSA:
            return self.region  # its signature counts in several
        return self.region or (client.region if client is not None else None) or self.target.usual_region

    def _signed(
        self, call: Call, keys: SigningKeys, body_hash: str, added: Iterable[tuple[str, str]], *, ecdsa: bool
    ) -> Signed:
        fields = (field for field in call.fields if signable(field[0].lower()))
        headers = (("host", call.authority), *fields, *added)
        unsigned = Unsigned(call.method, call.path, call.query, headers, body_hash)
        target = self.target
        token = self.token_header
        if ecdsa:
            where = self._region or EVERY_REGION
            return sign_v4a(
                unsigned, keys, self.moment, target.service, where, target.style, token_header=token
            )
        scope = SigningScope(self.moment, self._region or "", target.service)
        return sign(unsigned, keys, scope, target.style, token_header=token)

    def _chunks(
        self, call: Call, keys: SigningKeys, payload: SignedChunks, seed: str
    ) -> BodyTransform | BodyFault:
        plan = read_chunk_plan(payload, _values(call, DECODED_LENGTH), _values(call, TRAILER))
        if isinstance(plan, BodyFault):
            return plan
        chain: HmacChain | EcdsaChain
        if payload.algorithm is ChunkAlgorithm.ECDSA:
            chain = EcdsaChain.of(keys, self.moment, self.target.service, seed)
        else:
            chain = HmacChain.of(
                keys, SigningScope(self.moment, self._region or "", self.target.service), seed
            )
        return ChunkedBody(chain, plan.decoded_length, plan.trailers, self._check(payload))

    def _check(self, payload: SignedChunks) -> ChunkCheck | None:
        """The application's own chunk signatures, where it is known with which placeholder they were made: a
        chunk that was damaged on its way to us is not signed anew."""
        client = self.client
        if client is None or client.timestamp is None or client.access_key_id not in self.placeholders:
            return None
        if client.algorithm != payload.algorithm.value:
            return None
        return ChunkCheck.of(
            client.algorithm,
            client.access_key_id,
            sorted(self.placeholders),
            client.timestamp,
            client.scope,
            client.signature,
        )


def _values(call: Call, wanted: str) -> list[str]:
    return [value for name, value in call.fields if name.lower() == wanted]
