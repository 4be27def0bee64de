"""A request that is granted and goes to AWS, or to a store that speaks as S3 does: signed instead of told."""

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
    SESSION_TOKEN,
    SIGNED_AWAY,
    Call,
    Signer,
    Target,
    spelled_one_way,
    target_of,
)
from proxy.core.audit import AuditRecord
from proxy.core.contract import SESSION_PLACEHOLDERS
from proxy.core.credentials import Derivation, ExpressSession
from proxy.core.lease import Lease
from proxy.core.policy import Access
from proxy.core.reasons import Reason
from proxy.core.structs import Struct, replace
from proxy.transaction.attaching import live_lease
from proxy.transaction.elsewhere import is_granted_elsewhere
from proxy.transaction.express import answer_session
from proxy.transaction.granted import Granted, Signing
from proxy.transaction.head import HttpVersion
from proxy.transaction.lease_memory import openings, signing
from proxy.transaction.opening import Asked, Fields, Forward, Opening, Refused
from proxy.transaction.pod import PodState
from proxy.transaction.recording import leased
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
    lease = live_lease(granted, (yield WantLease(verdict.credential, derivation)))
    if isinstance(lease, Refused):
        return lease
    plan = _plan(granted, target, payload, None if target.is_s3 else body, derivation)
    # Where the region is a guess, what is learnt of it changes the signature.
    plain = granted.is_plain and target.is_s3 and target.region is not None and derivation is None
    return signed(granted, plan, lease, signed_at, repeats=plain)


class SigningPlan(Struct, frozen=True):
    """All that a signature is made of but its time and its keys."""

    call: Call
    signer: Signer
    # How it goes on, but for what signs it.
    fields: Fields
    payload: Payload
    # Of a body that was read whole.
    body_hash: str | None


def _plan(
    granted: Granted, target: Target, payload: Payload, body: bytes | None, derivation: Derivation | None
) -> SigningPlan:
    """The request as it goes out."""
    fields, query = granted.edits
    taken_out = _taken_out(target)
    fields = tuple([field for field in fields if field[0].lower().replace("_", "-") not in taken_out])
    plain = [(name, value) for name, value in fields if isinstance(value, str)]
    where = granted.asked.arrival.shown_name
    call = Call(granted.head.method, granted.path, spelled_one_way(query), where, plain)
    signer = _signer(granted, target, granted.asked.now, EXPRESS_TOKEN if derivation else SESSION_TOKEN)
    return SigningPlan(call, signer, fields, payload, None if body is None else sha256(body).hexdigest())


def signed(
    granted: Granted, plan: SigningPlan, lease: Lease, signed_at: datetime, *, repeats: bool = False
) -> Opening:
    """The lease's keys sign it for this moment."""
    if granted.record.lease_id != lease.id:
        granted = granted.with_record(leased(granted.record, lease))
    keys = signing(lease.parts)
    if isinstance(keys, Unplaceable):
        return granted.refused(
            Reason.CREDENTIAL_UNUSABLE, f"the credential {granted.verdict.credential}: {keys.why}"
        )

    call, signer = plan.call, replace(plan.signer, moment=signed_at)
    if plan.body_hash is None:
        signature = signer.sign_s3(call, keys[0], plan.payload)
    else:
        signature = signer.sign_whole(call, keys[0], plan.body_hash)
    if isinstance(signature, BodyFault):
        return granted.refused(signature.reason, signature.message)
    target = f"{call.path}?{call.query}" if call.query else call.path
    fields = (*plan.fields, *signature.headers)
    forward = granted.forward(target, fields, keys[1], Signing(signature.rewrite, signer.guess))
    if not repeats or signature.rewrite is not None:
        return forward
    return forward.changed(again=SignedAgain(granted, plan))


class SignedAgain:
    """Within one second, and with the same keys, the signature is the same one."""

    __slots__ = ("_granted", "_plan")

    def __init__(self, granted: Granted, plan: SigningPlan) -> None:
        self._granted = granted
        self._plan = plan

    def __repr__(self) -> str:
        return "<SignedAgain>"

    @property
    def is_timed(self) -> bool:
        return True

    def ends(self, now: datetime) -> datetime | None:
        return self._granted.rules.stays_until(now)

    def known(self, pod: PodState, lease: Lease, signed_at: datetime) -> Forward | None:
        return openings(lease.parts).get(pod, self, int(signed_at.timestamp()))

    def elsewhere(
        self, pod: PodState, path: str, lease: Lease, now: datetime, signed_at: datetime
    ) -> Forward | None:
        granted, plan = self._granted, self._plan
        if not is_granted_elsewhere(granted, pod, path, now):
            return None
        call = plan.call
        call = Call(call.method, path, call.query, call.authority, call.fields)
        plan = SigningPlan(call, plan.signer, plan.fields, plan.payload, plan.body_hash)
        opening = signed(granted, plan, lease, signed_at)
        return opening if isinstance(opening, Forward) and opening.rewrite is None else None

    def opened(self, asked: Asked, record: AuditRecord, lease: Lease, signed_at: datetime) -> Opening:
        second, known = int(signed_at.timestamp()), openings(lease.parts)
        forward = known.get(asked.pod, self, second)
        if forward is not None:
            return forward.with_record(record)
        opening = signed(self._granted.anew(asked, record), self._plan, lease, signed_at)
        if isinstance(opening, Forward):
            known.put(self, opening, second)
        return opening


def _signer(granted: Granted, target: Target, signed_at: datetime, token_header: str) -> Signer:
    client = read_client_signature(granted.fields)
    values = granted.asked.pod.placeholders.values
    known = values | SESSION_PLACEHOLDERS if values else values
    return Signer(target, signed_at, client, granted.region, known, token_header)


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
