"""One request of the application, from its head to the answer that it may travel on, or may not.

A generator, so that the one thing it has to wait for, the lease, is fetched by whoever drives it. Both lanes
drive the same one. Refusal is the default: only the last line forwards a request with a credential.
"""

from datetime import datetime
from typing import Final, assert_never

from proxy.attach.placing import Placement, Unplaceable, place
from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord
from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.lease import Lease, NoLease
from proxy.core.paths import RequestPath
from proxy.core.queries import EMPTY_QUERY, Query
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.secret import Secret
from proxy.core.settings import Capture
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse
from proxy.judge.decide import decide
from proxy.judge.index import HostRules
from proxy.transaction.forwarding import end_to_end, twin
from proxy.transaction.head import Head, HeadProblem
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from proxy.transaction.recording import began, decided, leased
from proxy.transaction.redaction import forms_of
from proxy.transaction.refusing import Asked, explain_lack, refuse
from proxy.transaction.slots import classify, clear_slots, read_slots
from proxy.transaction.spent import signs_of
from proxy.transaction.steps import Steps, WantLease
from proxy.wire.authority import read_authority

# With a credential on the request, the response is asked for uncompressed: redaction reads bytes.
IDENTITY_ENCODING: Final = ("Accept-Encoding", "identity")
BUCKET_OWNER: Final = "x-amz-expected-bucket-owner"


def open_request(
    pod: PodState, arrival: Arrival, head: Head | HeadProblem, now: datetime, request_id: str
) -> Steps:
    """Yields what it waits for, and returns how the request opens."""
    asked = Asked(pod, arrival, request_id, now)

    # (1) Facts: a head that can be read in two ways is judged in none.
    if isinstance(head, HeadProblem):
        record = began(pod, arrival, now, request_id)
        return refuse(asked, None, record, head.reason, head.message, closes=True)
    target = head.target
    if arrival.path_prefix:
        # An endpoint is open to everything in the pod's network; its prefix is what only this pod knows.
        prefix, rest = target[: len(arrival.path_prefix)], target[len(arrival.path_prefix) :]
        if prefix != arrival.path_prefix or not rest.startswith("/"):
            # The path may hold another pod's prefix, or half of ours: it is shown to nobody.
            record = began(pod, arrival, now, request_id, head)
            message = "the URL lacks this pod's path prefix"
            return refuse(asked, head, record, Reason.ENDPOINT_TOKEN, message)
        target = rest
    raw_path, _, raw_query = target.partition("?")
    path = RequestPath.parse(raw_path)
    query = Query.parse(raw_query) if raw_query else EMPTY_QUERY
    record = began(pod, arrival, now, request_id, head=head, path=path.text)
    fields = end_to_end(head)
    if isinstance(fields, HeadProblem):
        return refuse(asked, head, record, fields.reason, fields.message, closes=True)

    # (2) The verified name: what the client named in TLS, what it names here, and what the upstream's
    #     certificate is verified for are one and the same.
    fault = _name_fault(arrival, head.authority)
    if fault is not None:
        return refuse(asked, head, record, Reason.NAME_MISMATCH, fault)

    # (3) Who asks. A governed host is one for which some grant speaks, and it speaks for this pod only while
    #     the pod is proved to be this pod.
    rules = pod.policies.for_pod(pod.identity).rules_for(arrival.name)
    if rules.outside is None and (doubt := pod.unproven(now)) is not None:
        return refuse(asked, head, record, Reason.IDENTITY_UNVERIFIED, doubt)

    # (4) What the application put where this host reads a credential.
    client = classify(read_slots(fields, query, rules.slots), pod.placeholders)

    # (5) The verdict.
    facts = RequestFacts(arrival.name, head.method, path, query, arrival.port, _wanted(pod, fields), client)
    verdict = decide(pod.policies, pod.identity, facts, now)
    record = decided(record, verdict, rules, facts, client)
    match verdict:
        case Refuse(reason=reason, rule=rule):
            message = explain_lack(rules, verdict, facts, now)
            return refuse(asked, head, record, reason, message, rule)
        case PassThrough():
            return Forward(record, arrival.shown_name, target, fields, head.wants_websocket)
        case ReadBody():
            return refuse(asked, head, record, Reason.PIN_UNREADABLE, "its keys stand in its body")
        case Attach():
            pass
        case _:
            assert_never(verdict)
    wanted = pod.policies.wanted_headers
    if isinstance(problem := twin(fields, wanted), HeadProblem):
        return refuse(asked, head, record, problem.reason, problem.message, verdict.rule, closes=True)
    if query.has_semicolon and not query.folded_names.isdisjoint(name.lower() for name in rules.slots.query):
        message = "a semicolon in the query hides where the application's own credential ends"
        return refuse(asked, head, record, Reason.AMBIGUOUS_QUERY, message, verdict.rule)

    # (6) The lease: a live credential, or none.
    reply = yield WantLease(verdict.credential)
    if not isinstance(reply, Lease):
        why = reply.message if isinstance(reply, NoLease) else "no credential was fetched"
        return refuse(asked, head, record, Reason.CREDENTIAL_UNAVAILABLE, why, verdict.rule)
    record = leased(record, reply)

    # (7) The edits. The application's own credential goes, from every slot; ours is put in its place.
    placement = place(verdict.scheme, reply.parts)
    if isinstance(placement, Unplaceable):
        message = f"the credential {verdict.credential}: {placement.why}"
        return refuse(asked, head, record, Reason.CREDENTIAL_UNUSABLE, message, verdict.rule)
    return _attached(asked, head, record, rules, verdict, placement, fields, (path.text, raw_query))


def _name_fault(arrival: Arrival, authority: str) -> str | None:
    """Why the request's own name for its host is not the verified one."""
    named = read_authority(authority)
    if named is None:
        return "the Host is no host name"
    host, port = named.host, named.port
    if arrival.capture is Capture.ENDPOINT:
        # Behind an endpoint the client names the loopback address it was given, and nothing else: a page
        # from elsewhere that resolves to 127.0.0.1 would name its own host.
        return None if host in {"127.0.0.1", "::1", "localhost"} else "an endpoint is asked by its address"
    if arrival.asked:
        return f"the connection was opened for {_shown(arrival.asked)}, and TLS names {arrival.name}"
    if parse_hostname(host) != arrival.name:
        return f"the request names {_shown(host)}, and the connection is for {arrival.name}"
    if port is not None and port != arrival.port:
        return f"the request names port {port}, and the connection goes to {arrival.port}"
    return None


def _shown(host: str) -> Hostname | str:
    return parse_hostname(host) or "something else"


def _wanted(pod: PodState, fields: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The headers that a decision looks at; one that was sent several times is joined by commas."""
    wanted = pod.policies.wanted_headers
    found: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        if key in wanted:
            found[key] = f"{found[key]},{value}" if key in found else value
    return found


def _attached(  # noqa: PLR0917 - the results of the steps before
    asked: Asked,
    head: Head,
    record: AuditRecord,
    rules: HostRules,
    verdict: Attach,
    placement: Placement,
    fields: tuple[tuple[str, str], ...],
    target: tuple[str, str],
) -> Forward:
    path, raw_query = target
    kept, kept_query = clear_slots(fields, raw_query, rules.slots)
    dropped = {"accept-encoding", "sec-websocket-extensions", BUCKET_OWNER}
    edited: list[tuple[str, str | Secret]] = [
        field for field in kept if field[0].lower() not in dropped or _pinned_elsewhere(field, verdict)
    ]
    edited.append(IDENTITY_ENCODING)
    if verdict.expected_bucket_owner is not None:
        edited.append((BUCKET_OWNER, verdict.expected_bucket_owner))
    edited.extend(placement.headers)
    edited_target = f"{path}?{kept_query}" if kept_query else path
    return Forward(
        record,
        asked.arrival.shown_name,
        _with_parameters(edited_target, placement.query) if placement.query else edited_target,
        tuple(edited),
        head.wants_websocket,
        forms_of(placement.secrets),
        attached=True,
        credential_fields=frozenset(rules.slots.headers),
        spent=signs_of(rules.services),
        on_revoke=verdict.on_revoke,
    )


def _pinned_elsewhere(field: tuple[str, str], verdict: Attach) -> bool:
    """The application may pin a bucket's owner itself, where the grant does not."""
    return field[0].lower() == BUCKET_OWNER and verdict.expected_bucket_owner is None


def _with_parameters(target: str, parameters: tuple[tuple[str, Secret], ...]) -> Secret:
    """The target with the credential in its query. Its values came percent-encoded from `place`."""
    joiner = b"&" if "?" in target else b"?"
    pairs = (name.encode("latin-1") + b"=" + value.reveal() for name, value in parameters)
    return Secret(target.encode("latin-1") + joiner + b"&".join(pairs))
