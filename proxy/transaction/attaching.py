"""A credential that goes onto a request as it is: in a header, or in the query."""

from proxy.attach.placing import Unplaceable, place
from proxy.aws.hosts import read_aws_host
from proxy.core.credentials import Derivation, EcrToken, RegistryToken
from proxy.core.lease import Lease, LeaseReply, NoLease
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.transaction.granted import Granted
from proxy.transaction.opening import Opening, Refused
from proxy.transaction.recording import leased
from proxy.transaction.redaction import forms_of
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
    return lease if isinstance(lease, Refused) else _placed(granted, lease)


def live_lease(granted: Granted, reply: LeaseReply | object) -> Lease | Refused:
    if isinstance(reply, Lease):
        return reply
    why = reply.message if isinstance(reply, NoLease) else "no credential was fetched"
    return granted.refused(Reason.CREDENTIAL_UNAVAILABLE, why)


def _placed(granted: Granted, lease: Lease) -> Opening:
    """The application's own credential goes, from every slot; ours is put in its place."""
    granted = granted.with_record(leased(granted.record, lease))
    placement = place(granted.verdict.scheme, lease.parts)
    if isinstance(placement, Unplaceable):
        why = f"the credential {granted.verdict.credential}: {placement.why}"
        return granted.refused(Reason.CREDENTIAL_UNUSABLE, why)
    fields, query = granted.edited()
    target = f"{granted.path}?{query}" if query else granted.path
    fields.extend(placement.headers)
    whole = _with_parameters(target, placement.query) if placement.query else target
    return granted.forward(whole, tuple(fields), forms_of(placement.secrets))


def _with_parameters(target: str, parameters: tuple[tuple[str, Secret], ...]) -> Secret:
    """The target with the credential in its query. Its values came percent-encoded from `place`."""
    joiner = b"&" if "?" in target else b"?"
    pairs = (name.encode("latin-1") + b"=" + value.reveal() for name, value in parameters)
    return Secret(target.encode("latin-1") + joiner + b"&".join(pairs))
