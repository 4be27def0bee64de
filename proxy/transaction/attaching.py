"""A credential that goes onto a request as it is: in a header, or in the query."""

from datetime import datetime

from proxy.attach.placing import Unplaceable
from proxy.aws.hosts import read_aws_host
from proxy.core.audit import AuditRecord
from proxy.core.credentials import Derivation, EcrToken, RegistryToken
from proxy.core.lease import Lease, LeaseReply, NoLease
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.transaction.elsewhere import is_granted_elsewhere
from proxy.transaction.granted import Granted
from proxy.transaction.lease_memory import NO_FORMS, openings, placed
from proxy.transaction.opening import Asked, Forward, Opening, Refused
from proxy.transaction.pod import PodState
from proxy.transaction.recording import leased
from proxy.transaction.steps import Steps, WantLease


def attach_credential(granted: Granted) -> Steps:
    verdict = granted.verdict
    derivation: Derivation | None = None
    if isinstance(verdict.scheme, EcrToken):
        host = read_aws_host(granted.facts.host)
        if host is None or host.region is None:
            why = "the host does not say in which region its registry is"
            return granted.refused(Reason.CREDENTIAL_UNUSABLE, why)
        derivation = RegistryToken(host.region)
    lease = live_lease(granted, (yield WantLease(verdict.credential, derivation)))
    if isinstance(lease, Refused):
        return lease
    return attached(granted, lease, repeats=granted.is_plain and derivation is None)


def live_lease(granted: Granted, reply: LeaseReply | object) -> Lease | Refused:
    if isinstance(reply, Lease):
        return reply
    why = reply.message if isinstance(reply, NoLease) else "no credential was fetched"
    return granted.refused(Reason.CREDENTIAL_UNAVAILABLE, why)


def attached(granted: Granted, lease: Lease, *, repeats: bool = False) -> Opening:
    """The application's own credential goes, from every slot; ours is put in its place."""
    granted = granted.with_record(leased(granted.record, lease))
    found = placed(granted.verdict.scheme, lease.parts)
    if isinstance(found, Unplaceable):
        why = f"the credential {granted.verdict.credential}: {found.why}"
        return granted.refused(Reason.CREDENTIAL_UNUSABLE, why)
    placement, forms = found
    fields, query = granted.edits
    target = f"{granted.path}?{query}" if query else granted.path
    whole = _with_parameters(target, placement.query) if placement.query else target
    forward = granted.forward(whole, (*fields, *placement.headers), forms)
    if not repeats or placement.query:
        return forward
    # Of this one's credential nothing is kept.
    bare = forward.changed(fields=fields, forms=NO_FORMS)
    return forward.changed(again=AttachedAgain(granted, bare))


class AttachedAgain:
    __slots__ = ("_forward", "_granted")

    def __init__(self, granted: Granted, forward: Forward) -> None:
        """`forward`: without a credential."""
        self._granted = granted
        self._forward = forward

    def __repr__(self) -> str:
        return "<AttachedAgain>"

    @property
    def is_timed(self) -> bool:
        return False

    def ends(self, now: datetime) -> datetime | None:
        return self._granted.rules.stays_until(now)

    def known(self, pod: PodState, lease: Lease, signed_at: datetime) -> Forward | None:
        del signed_at
        return openings(lease.parts).get(pod, self)

    def elsewhere(
        self, pod: PodState, path: str, lease: Lease, now: datetime, signed_at: datetime
    ) -> Forward | None:
        granted = self._granted
        if not is_granted_elsewhere(granted, pod, path, now):
            return None
        opening: Opening | None = self.known(pod, lease, signed_at)
        if opening is None:
            asked = Asked(pod, granted.asked.arrival, granted.asked.request_id, now)
            opening = self.opened(asked, granted.record, lease, signed_at)
        return opening.elsewhere(path) if isinstance(opening, Forward) else None

    def opened(self, asked: Asked, record: AuditRecord, lease: Lease, signed_at: datetime) -> Opening:
        del signed_at
        known = openings(lease.parts)
        forward = known.get(asked.pod, self)
        if forward is None:
            found = placed(self._granted.verdict.scheme, lease.parts)
            if isinstance(found, Unplaceable):
                return attached(self._granted.anew(asked, record), lease)
            placement, forms = found
            bare = self._forward
            forward = bare.changed(fields=(*bare.fields, *placement.headers), forms=forms)
            known.put(self, forward)
        return forward.with_record(record)


def _with_parameters(target: str, parameters: tuple[tuple[str, Secret], ...]) -> Secret:
    """The target with the credential in its query. Its values came percent-encoded from `place`."""
    joiner = b"&" if "?" in target else b"?"
    pairs = (name.encode("latin-1") + b"=" + value.reveal() for name, value in parameters)
    return Secret(target.encode("latin-1") + joiner + b"&".join(pairs))
