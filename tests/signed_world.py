"""AWS for tests of the transaction: what is granted there, what SDKs send, and who verifies what goes out.

SDKs are played by `tests.s3_signer` and botocore. What leaves us is verified as a server does it: path and
query are decoded and encoded again, and then botocore's signers say what the signature has to be; for SigV4a,
which botocore leaves to a library in C, `tests.s3_signer` says what is signed, and the public key whether it
was. Nothing of `proxy.aws` takes part in that.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes
from zlib import crc32

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.core.arrival import Arrival
from proxy.core.credentials import CredentialRef
from proxy.core.lease import Lease
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.documents.problems import ProblemCode
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders
from tests import s3_signer
from tests.chunked_bodies import stored
from tests.judge_world import CATALOGUE, NOON, PROOF, index_of, policy
from tests.s3_signer import ECDSA_SIZE, EMPTY, Keys, Mode, Upload
from tests.transaction_world import WHO, text, to, values_of, wire_fields

# --- what is granted ---------------------------------------------------------------------------------

ALL: Final = "access: [read, write, list, delete]"
OWNER: Final = "111122223333"
ACCESS_POINT: Final = f"arn:aws:s3:eu-west-1:{OWNER}:accesspoint/train"
DIRECTORY: Final = "train--usw2-az1--x-s3"
# It has a port of its own, which is signed with its name.
STORE: Final = "minio.example.com"

_SOURCE: Final = """---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: signed, namespace: ml}
spec: {mountedSecret: {secretName: x, keys: {accessKeyId: i, secretAccessKey: s}}, attach: {sigv4: {}}}
"""
GRANTS: Final = (
    f"{{service: s3, buckets: [data, data.with.dots], {ALL}, credential: aws}}",
    f"{{service: s3, buckets: [owned], {ALL}, expectedBucketOwner: '{OWNER}', credential: aws}}",
    "{service: s3, buckets: [strict], access: [read], onForeignCredential: refuse, credential: aws}",
    f"{{service: s3, buckets: [shared], {ALL}, foreignPresigned: pass, credential: aws}}",
    f"{{service: s3, buckets: [other], {ALL}, credential: aws2}}",
    f"{{service: s3, buckets: [narrow], prefixes: [train/], {ALL}, credential: aws}}",
    "{service: s3, buckets: [open], access: [write], actions: ['s3:PutObjectAcl'], credential: aws}",
    "{service: s3, buckets: [old], access: [delete], actions: ['s3:DeleteObjectVersion'], credential: aws}",
    f"{{service: s3, buckets: ['{ACCESS_POINT}', mfzwi23gnjvgw.mrap, {DIRECTORY}], {ALL}, credential: aws}}",
    f"{{service: s3, endpoint: '{STORE}:9000', region: eu-north-1, buckets: [data], {ALL}, credential: aws}}",
    "{service: bedrock-runtime, access: [read], credential: aws}",
    "{service: sagemaker-runtime, access: [read], credential: aws}",
    "{hosts: [dynamodb.eu-west-1.amazonaws.com], credential: signed}",
    f"{{service: ecr, pins: {{account: ['{OWNER}']}}, access: [read, list], credential: aws}}",
)
POLICIES: Final = index_of(policy(*GRANTS) + _SOURCE, CATALOGUE)
# Names that do not tell what a signature is for; `podkey check` says so.
UNSIGNABLE: Final = index_of(
    policy("{hosts: [signed.example.com], credential: signed}") + _SOURCE,
    CATALOGUE,
    frozenset({ProblemCode.ATTACH_MISMATCH}),
)
OBSERVING: Final = index_of(policy(*GRANTS, mode="observe") + _SOURCE, CATALOGUE)

# What the pod has in place of keys. In a cluster that is known; elsewhere it is known what any looks like.
PLACEHOLDERS: Final = Keys("PODKEY0123456789ABCD", "podkey" + "s" * 34)
POD: Final = PodState(
    POLICIES,
    WHO,
    Placeholders(frozenset({PLACEHOLDERS.access_key_id, PLACEHOLDERS.secret_access_key})),
    PROOF,
)
ANY_POD: Final = replace(POD, placeholders=Placeholders.of(CATALOGUE["s3"].placeholders))
WATCHED_POD: Final = replace(POD, policies=OBSERVING)

# --- leases ------------------------------------------------------------------------------------------

# Made when the tests run: nothing in a tracked file looks like a live secret.
KEYS: Final = Keys(
    "LEASED" + sha256(b"id").hexdigest()[:14].upper(),
    b64encode(sha256(b"podkey's live secret key").digest()[:30]).decode(),
    b64encode(sha256(b"podkey's live session token").digest() * 4).decode(),
)
# A static pair has no session.
STATIC: Final = replace(KEYS, session_token=None)
# Somebody else's, of which the application should have none.
FOREIGN: Final = Keys(
    "FOREIGN" + sha256(b"their id").hexdigest()[:13].upper(),
    sha256(b"their secret").hexdigest()[:40],
    sha256(b"their token").hexdigest(),
)


def lease_with(keys: Keys) -> Callable[[CredentialRef], Lease]:
    parts = {
        Part.ACCESS_KEY_ID: keys.access_key_id,
        Part.SECRET_ACCESS_KEY: keys.secret_access_key,
        Part.SESSION_TOKEN: keys.session_token,
    }
    given = {part: Secret(value.encode()) for part, value in parts.items() if value is not None}
    return lambda ref: Lease(f"lease-of-{ref.name}", ref, given, NOON)


live_lease: Final = lease_with(KEYS)

# --- what is sent ------------------------------------------------------------------------------------

MOMENT: Final = f"{NOON:%Y%m%dT%H%M%SZ}"
EU: Final = "data.s3.eu-west-1.amazonaws.com"
# Long enough for several chunks.
DATA: Final = bytes(range(256)) * 600
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Sdk(s3_signer.Signer):
    """A client that signs with what it has; its clock is a few minutes off."""

    def _moment(self) -> str:
        return "20260304T120311Z"


def asked(
    url: str, *fields: tuple[str, str], method: str = "GET", has_body: bool = False
) -> tuple[Head, Arrival]:
    """As it comes to a lane from an application that sends `https://host[:port]/path?query`."""
    authority, slash, rest = url.removeprefix("https://").partition("/")
    name, _, port = authority.partition(":")
    head = Head(method, slash + rest, authority, fields, HttpVersion.HTTP1, has_body)
    return head, to(name, int(port or 443))


def signed_by(  # noqa: PLR0917 - a request's parts
    keys: Keys,
    url: str,
    method: str = "GET",
    payload: str = EMPTY,
    headers: Mapping[str, str] = NO_HEADERS,
    region: str = "eu-west-1",
    service: str = "s3",
    *,
    has_body: bool = False,
) -> tuple[Head, Arrival]:
    """What an SDK sends that has these keys."""
    authority, slash, rest = url.removeprefix("https://").partition("/")
    fields = Sdk(keys, region, service).signed(method, authority, slash + rest, headers, payload)
    del fields["host"]
    return asked(url, *fields.items(), method=method, has_body=has_body)


def upload_by(
    keys: Keys, mode: Mode, url: str = f"https://{EU}/k", region: str = "eu-west-1", **options: Any
) -> tuple[Head, Arrival, bytes]:
    """A PUT of DATA, with a body in this mode."""
    authority, slash, rest = url.removeprefix("https://").partition("/")
    upload: Upload = Sdk(keys, region).upload("PUT", authority, slash + rest, DATA, mode, **options)
    fields = [field for field in upload.headers if field[0] != "host"]
    return *asked(url, *fields, method="PUT", has_body=True), upload.body


# --- what went out -----------------------------------------------------------------------------------

_AUTHORIZATION: Final = re.compile(
    r"(AWS4-HMAC-SHA256|AWS4-ECDSA-P256-SHA256) Credential=([^/, ]+)/([^, ]+), "
    r"SignedHeaders=([a-z0-9;_-]+), Signature=([0-9a-f]+)"
).fullmatch
_NEVER_SIGNED: Final = {"transfer-encoding", "expect", "connection", "authorization", "accept-encoding"}
_ALWAYS_SIGNED: Final = {"host", "content-type", "content-md5", "range"}


@dataclass(frozen=True)
class Signature:
    """What was verified. `region` is that of the scope, or the region set of SigV4a."""

    algorithm: str
    scope: str
    service: str
    region: str
    signature: str
    moment: str

    @property
    def is_sigv4a(self) -> bool:
        return self.algorithm == s3_signer.ECDSA_ALGORITHM


class UnverifiedError(Exception):
    """The server would answer SignatureDoesNotMatch, or AccessDenied."""


def verified(  # noqa: PLR0917 - what a server knows
    forward: Forward,
    method: str = "GET",
    keys: Keys = KEYS,
    body: bytes = b"",
    moment: str = MOMENT,
    token_header: str = "x-amz-security-token",
) -> Signature:
    """As the server does it that has these keys. Raises UnverifiedError."""
    (authorization,) = values_of(forward, "authorization")
    found = _AUTHORIZATION(authorization)
    if found is None:
        raise UnverifiedError(f"no signature: {authorization}")
    algorithm, access_key_id, scope, names, signature = found.groups()
    fields = [("host", forward.authority), *((name.lower(), value) for name, value in wire_fields(forward))]
    sent = {name for name, _ in fields}
    covered = names.split(";")
    owed = {name for name in sent if name in _ALWAYS_SIGNED or name.startswith("x-amz-")}
    if not owed <= set(covered) <= sent - _NEVER_SIGNED or covered != sorted(set(covered)):
        raise UnverifiedError(f"signed are {names}")
    one = {name: values_of(forward, name) for name in ("x-amz-date", token_header)}
    if one["x-amz-date"] != [moment] or not scope.startswith(f"{moment[:8]}/"):
        raise UnverifiedError(f"another time: {one['x-amz-date']}")
    token = [] if keys.session_token is None else [keys.session_token]
    if access_key_id != keys.access_key_id or one[token_header] != token:
        raise UnverifiedError("another key, or another session")
    path, _, query = text(forward.target).partition("?")
    signed = [field for field in fields if field[0] in covered]
    asymmetric = algorithm == s3_signer.ECDSA_ALGORITHM
    *_, service, _ = scope.split("/")
    region = values_of(forward, "x-amz-region-set")[0] if asymmetric else scope.split("/")[1]
    if asymmetric:
        _verify_sigv4a(f"{method} {path}?{query}", signed, keys, (moment, scope), signature)
    else:
        again = _of_botocore(f"{method} {path}?{query}", signed, keys, body, service, region, moment)
        if again != signature:
            raise UnverifiedError("SignatureDoesNotMatch")
    return Signature(algorithm, scope, service, region, signature, moment)


def _encoded_again(path: str, query: str) -> tuple[str, str]:
    """As a server spells what it has decoded."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    spelled = (
        f"{quote_from_bytes(unquote_to_bytes(name), safe='-_.~')}="
        f"{quote_from_bytes(unquote_to_bytes(value), safe='-_.~')}"
        for name, _, value in pairs
    )
    return quote_from_bytes(unquote_to_bytes(path), safe="/-_.~"), "&".join(spelled)


def _of_botocore(  # noqa: PLR0917 - a request's parts
    line: str,
    fields: Iterable[tuple[str, str]],
    keys: Keys,
    body: bytes,
    service: str,
    region: str,
    moment: str,
) -> str:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    host = dict(fields)["host"]
    spelled, again = _encoded_again(path, query)
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    s3 = service.startswith("s3")
    signer = (S3SigV4Auth if s3 else SigV4Auth)(credentials, service, region)
    request = AWSRequest(method, f"https://{host}{spelled if s3 else path}?{again}", data=body)
    for name, value in fields:
        request.headers[name] = value  # each is added
    request.context["timestamp"] = moment
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def _verify_sigv4a(
    line: str, fields: Iterable[tuple[str, str]], keys: Keys, dated: tuple[str, str], signature: str
) -> None:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    spelled, again = _encoded_again(path, query)
    joined: dict[str, str] = {}
    for name, value in fields:  # each is trimmed before they are joined
        trimmed = " ".join(value.split())
        joined[name] = f"{joined[name]},{trimmed}" if name in joined else trimmed
    canonical = s3_signer.canonical_request(
        method, f"{spelled}?{again}", joined, joined["x-amz-content-sha256"]
    )
    moment, scope = dated
    signed = "\n".join([s3_signer.ECDSA_ALGORITHM, moment, scope, sha256(canonical.encode()).hexdigest()])
    public = s3_signer.ecdsa_key(keys).public_key()
    public.verify(bytes.fromhex(signature), signed.encode(), ec.ECDSA(hashes.SHA256()))


# --- bodies ------------------------------------------------------------------------------------------


class _Chain:
    """Which signatures a store expects; `tests.chunked_bodies.stored` compares them."""

    def __init__(self, signature: Signature, keys: Keys, region: str) -> None:
        algorithm, moment = signature.algorithm, signature.moment
        if signature.is_sigv4a:
            private = s3_signer.ecdsa_key(keys)
            nonce = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            self._chain = s3_signer.Chain(
                lambda said: private.sign(said.encode(), nonce).hex(),
                algorithm,
                moment,
                signature.scope,
                signature.signature,
            )
        else:
            key = s3_signer.signing_key(keys, moment[:8], region, signature.service)
            self._chain = s3_signer.Chain(
                lambda said: s3_signer._hmac(key, said).hex(),
                algorithm,
                moment,
                signature.scope,
                signature.signature,
            )

    @property
    def signature_length(self) -> int:
        return ECDSA_SIZE if "ECDSA" in self._chain._algorithm else 64

    def chunk(self, data: bytes) -> bytes:
        return self._chain.chunk(data).encode()

    def trailer(self, canonical: bytes) -> bytes:
        return self._chain.trailer(canonical).encode()


def stored_of(body: bytes, signature: Signature, keys: Keys = KEYS, *, has_trailer: bool) -> bytes:
    """What a store keeps of a body in signed chunks. Raises ValueError where it would keep nothing."""
    announced = frozenset({"x-amz-checksum-crc32"}) if has_trailer else frozenset[str]()
    kept = stored(body, _Chain(signature, keys, signature.region), len(DATA), announced)
    if has_trailer and b64encode(crc32(kept).to_bytes(4, "big")) not in body:
        raise ValueError("the checksum is another body's")
    return kept


def quoted(value: str) -> str:
    return quote(value, safe="")
