"""One request of the application, from its head to the answer that it may travel on, or may not.

A generator, so that the one thing it has to wait for, the lease, is fetched by whoever drives it. Both lanes
drive the same one. Refusal is the default: only the last line forwards a request with a credential.
"""

from datetime import datetime
from typing import assert_never

from proxy.attach.bodies import BodyFault
from proxy.core.arrival import Arrival
from proxy.core.credentials import SigV4
from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.paths import RequestPath
from proxy.core.queries import EMPTY_QUERY, Query
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse
from proxy.judge.decide import decide
from proxy.judge.index import HostRules
from proxy.transaction.attaching import attach_credential
from proxy.transaction.forwarding import end_to_end, twin
from proxy.transaction.granted import Granted
from proxy.transaction.head import Head, HeadProblem
from proxy.transaction.opening import Asked, Forward
from proxy.transaction.pod import PodState
from proxy.transaction.recording import began, decided
from proxy.transaction.refusing import explain_lack, refuse
from proxy.transaction.removing import read_removals, unread
from proxy.transaction.signed_urls import read_url
from proxy.transaction.signing import sign_request
from proxy.transaction.slots import classify, clear_slots, read_slots
from proxy.transaction.steps import Steps
from proxy.wire.authority import read_authority


def open_request(
    pod: PodState,
    arrival: Arrival,
    head: Head | HeadProblem,
    now: datetime,
    request_id: str,
    *,
    signed_at: datetime | None = None,
    region: str | None = None,
) -> Steps:
    """Yields what it waits for, and returns how the request opens.

    `signed_at` is the time by the upstream's own clock, and `region` where its bucket is, as far as it has
    told us: signatures are made for them.
    """
    asked = Asked(pod, arrival, request_id, now)

    # (1) Facts: a head that can be read in two ways is judged in none.
    if isinstance(head, HeadProblem):
        record = began(pod, arrival, now, request_id)
        return refuse(asked, None, record, head.reason, head.message, closes=True)
    target = _without_prefix(arrival, head.target)
    if target is None:
        # The path may hold another pod's prefix, or half of ours: it is shown to nobody.
        record = began(pod, arrival, now, request_id, head)
        message = "the URL lacks this pod's path prefix"
        return refuse(asked, head, record, Reason.ENDPOINT_TOKEN, message)
    raw_path, _, raw_query = target.partition("?")
    path = RequestPath.parse(raw_path)
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

    # (4) What the application put where this host reads a credential: in its slots, or as a signed URL.
    url = read_url(rules, fields, raw_query, pod, now)
    if isinstance(url, BodyFault):
        return refuse(asked, head, record, url.reason, url.message)
    query = Query.parse(url.query) if url.query else EMPTY_QUERY
    client = classify(read_slots(url.fields, query, rules.slots), pod.placeholders)

    # (5) The verdict; where the body names what is touched, once more with the body.
    facts = RequestFacts(
        arrival.name,
        head.method,
        path,
        query,
        arrival.port,
        _wanted(pod, rules, url.fields),
        client,
        signed_elsewhere=url.is_foreign,
    )
    verdict = decide(pod.policies, pod.identity, facts, now)
    body: bytes | None = None
    if isinstance(verdict, ReadBody):
        read = yield from read_removals(head, url.fields)
        if isinstance(read, BodyFault):
            verdict = unread(rules, verdict, read.reason)
            if isinstance(verdict, Refuse):
                record = decided(record, verdict, rules, facts)
                return refuse(asked, head, record, read.reason, read.message, verdict.rule)
        else:
            body, removals = read
            facts = replace(facts, removals=removals)
            verdict = decide(pod.policies, pod.identity, facts, now)
    record = decided(record, verdict, rules, facts)
    match verdict:
        case Refuse(reason=reason, rule=rule):
            message = explain_lack(rules, verdict, facts, now)
            return refuse(asked, head, record, reason, message, rule)
        case PassThrough(reason=reason):
            if reason is Reason.PRESIGNED_ELSEWHERE and not rules.observed:
                # Somebody else's signature is all that travels: what the application sent beside it goes.
                fields = tuple(clear_slots(fields, "", rules.slots)[0])
            return Forward(record, arrival.shown_name, target, fields, head.wants_websocket)
        case ReadBody():
            return refuse(asked, head, record, Reason.INTERNAL_ERROR, "its body was asked for twice")
        case Attach():
            pass
        case _:
            assert_never(verdict)

    # (6) The lease, and the edits: the application's own credential goes, and ours is put in its place.
    if isinstance(problem := _ambiguity(pod, rules, url.fields, query), HeadProblem):
        closes = problem.reason is Reason.MALFORMED_REQUEST
        return refuse(asked, head, record, problem.reason, problem.message, verdict.rule, closes=closes)
    granted = Granted(
        asked,
        head,
        record,
        rules,
        verdict,
        facts,
        url.fields,
        url.query,
        body=body,
        region=region or url.region,
        is_plain=url.is_plain and body is None and not record.static_credential_seen,
    )
    if isinstance(verdict.scheme, SigV4):
        return (yield from sign_request(granted, signed_at or now))
    return (yield from attach_credential(granted))


def _without_prefix(arrival: Arrival, target: str) -> str | None:
    """An endpoint is open to everything in the pod's network; its prefix is what only this pod knows."""
    if not arrival.path_prefix:
        return target
    prefix, rest = target[: len(arrival.path_prefix)], target[len(arrival.path_prefix) :]
    return rest if prefix == arrival.path_prefix and rest.startswith("/") else None


def _ambiguity(
    pod: PodState, rules: HostRules, fields: tuple[tuple[str, str], ...], query: Query
) -> HeadProblem | None:
    """What some server could take for something that was judged, or that is taken out."""
    if (problem := twin(fields, pod.policies.wanted_headers)) is not None:
        return problem
    if query.has_semicolon and not query.folded_names.isdisjoint(name.lower() for name in rules.slots.query):
        message = "a semicolon in the query hides where the application's own credential ends"
        return HeadProblem(Reason.AMBIGUOUS_QUERY, message)
    return None


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


def _wanted(pod: PodState, rules: HostRules, fields: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The headers that a decision looks at; one that was sent several times is joined by commas."""
    wanted, beginnings = pod.policies.wanted_headers, rules.wanted_beginnings
    found: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        if key in wanted or key.startswith(beginnings):
            found[key] = f"{found[key]},{value}" if key in found else value
    return found
