"""A request that is granted and goes to AWS, or to a store that speaks as S3 does: signed instead of told."""

from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.attach.client_signature import read_client_signature
from proxy.attach.payload import (
    CONTENT_HASH,
    DECODED_LENGTH,
    TRAILER,
    Literal,
    Payload,
    Unsigned,
    read_payload,
)
from proxy.attach.placing import Unplaceable
from proxy.attach.signing import (
    EXPRESS,
    EXPRESS_TOKEN,
    SIGNED_AWAY,
    Call,
    SignedCall,
    Signer,
    Target,
    keys_of,
    spelled_one_way,
    target_of,
)
from proxy.aws.sigv4 import SigningKeys
from proxy.core.contract import SESSION_PLACEHOLDERS
from proxy.core.credentials import Derivation, ExpressSession
from proxy.core.policy import Access
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.transaction.attaching import live_lease
from proxy.transaction.express import answer_session
from proxy.transaction.granted import Granted
from proxy.transaction.head import HttpVersion
from proxy.transaction.opening import Forward, Refused
from proxy.transaction.recording import leased
from proxy.transaction.redaction import forms_of
from proxy.transaction.steps import Steps, WantBody, WantLease

# What only reads is done in a session that can only read.
_READS: Final = frozenset({Access.READ, Access.LIST})


def sign_request(granted: Granted, signed_at: datetime) -> Steps:
    verdict = granted.verdict
    target = target_of(granted.facts.host, verdict.store)
    if target is None:
        why = (
            "the name of the host says neither the AWS service nor the region that a signature is for; for a "
            "store that speaks as S3 does, the grant says it: `service: s3` with `endpoint`"
        )
        return granted.refused(Reason.CREDENTIAL_UNUSABLE, why)
    signer = _signer(granted, target, signed_at)

    # (1) How the body travels. All but S3 want its hash, so it is read before anything is sent.
    payload = read_payload(_values(granted, CONTENT_HASH), _values(granted, TRAILER))
    if isinstance(payload, BodyFault):
        return granted.refused(payload.reason, payload.message)
    if target.is_s3 and (doubt := _unframed(granted, payload)) is not None:
        return granted.refused(doubt.reason, doubt.message)
    body: object = granted.body or b""
    if not target.is_s3:
        if (fault := _framed(payload)) is not None:
            return granted.refused(fault.reason, fault.message)
        if granted.head.has_body and granted.body is None:
            body = yield WantBody(granted.asked.pod.hashed_body_limit)
    if isinstance(body, BodyFault):
        return granted.refused(body.reason, body.message)
    if not isinstance(body, bytes):
        return granted.refused(Reason.INTERNAL_ERROR, "no body was read")

    # (2) The lease; for a directory bucket, of a session that podkey opens with it.
    derivation: Derivation | None = None
    operation = granted.operation if granted.query or target.service == EXPRESS else None
    if operation is not None and operation.answered_here:
        return answer_session(granted)
    if target.service == EXPRESS and not _copies(granted):
        reads = operation is not None and operation.access in _READS
        derivation = ExpressSession(granted.facts.host, target.region or "", reads)
        signer = replace(signer, token_header=EXPRESS_TOKEN)
    lease = live_lease(granted, (yield WantLease(verdict.credential, derivation)))
    if isinstance(lease, Refused):
        return lease
    granted = granted.with_record(leased(granted.record, lease))
    keys = keys_of(lease.parts)
    if isinstance(keys, Unplaceable):
        return granted.refused(Reason.CREDENTIAL_UNUSABLE, f"the credential {verdict.credential}: {keys.why}")

    # (3) The signature, over the request as it goes out.
    fields, query = granted.edited()
    taken_out = _taken_out(target)
    fields = [field for field in fields if field[0].lower().replace("_", "-") not in taken_out]
    query = spelled_one_way(query)
    plain = [(name, value) for name, value in fields if isinstance(value, str)]
    call = Call(granted.head.method, granted.path, query, granted.asked.arrival.shown_name, plain)
    if target.is_s3:
        signed = signer.sign_s3(call, keys, payload)
    else:
        signed = signer.sign_whole(call, keys, sha256(body).hexdigest())
    if isinstance(signed, BodyFault):
        return granted.refused(signed.reason, signed.message)
    forward = _forward(granted, call, fields, signed, keys)
    return replace(forward, guessed_region=signer.guess)


def _signer(granted: Granted, target: Target, signed_at: datetime) -> Signer:
    client = read_client_signature(granted.fields)
    values = granted.asked.pod.placeholders.values
    known = values | SESSION_PLACEHOLDERS if values else values
    return Signer(target, signed_at, client, granted.region, known)


def _copies(granted: Granted) -> bool:
    """A session is for one bucket: copies are signed with the credential itself, as SDKs do it ("CopyObject",
    S3 API reference: "you must use IAM credentials")."""
    sources = (name for service in granted.rules.services for name in service.source_headers)
    return any(name in granted.facts.headers for name in sources)


def _unframed(granted: Granted, payload: Payload) -> BodyFault | None:
    """What would be stored as it stands, frames and all, or could not be compared with its hash."""
    if not isinstance(payload, Literal | Unsigned):
        return None
    codings = ",".join(_values(granted, "content-encoding")).lower()
    if "aws-chunked" in codings or _values(granted, DECODED_LENGTH):
        message = f"the body is in chunks of S3's own, and {CONTENT_HASH} does not say so"
        return BodyFault(Reason.UNSUPPORTED_PAYLOAD, message)
    head = granted.head
    passes = head.version is HttpVersion.HTTP1 and head.has_body and granted.body is None
    counted = not passes or head.values("content-length")
    if isinstance(payload, Literal) and not counted:
        message = f"a body whose hash is in {CONTENT_HASH} needs a Content-Length"
        return BodyFault(Reason.UNSUPPORTED_PAYLOAD, message)
    return None


def _framed(payload: Payload) -> BodyFault | None:
    """Frames and signatures around the chunks of a body mean nothing to a service that is not S3."""
    if isinstance(payload, Literal | Unsigned):
        return None
    message = "only S3 takes a body in signed chunks or with a trailer; to other services it is sent whole"
    return BodyFault(Reason.UNSUPPORTED_PAYLOAD, message)


def _values(granted: Granted, wanted: str) -> list[str]:
    return [value for name, value in granted.fields if name.lower() == wanted]


def _taken_out(target: Target) -> frozenset[str]:
    return SIGNED_AWAY if target.is_s3 else SIGNED_AWAY | {CONTENT_HASH}


def _forward(
    granted: Granted,
    call: Call,
    fields: list[tuple[str, str | Secret]],
    signed: SignedCall,
    keys: SigningKeys,
) -> Forward:
    fields.extend(signed.headers)
    target = f"{call.path}?{call.query}" if call.query else call.path
    # A static key never travels, and a signature counts for this one request.
    forms = forms_of((keys.session_token,)) if keys.session_token is not None else frozenset[bytes]()
    return replace(granted.forward(target, tuple(fields), forms), rewrite=signed.rewrite, is_timed=True)
