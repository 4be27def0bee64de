"""What a grant lacks, in words: what was asked, and what is granted. For `explain` and for refusals."""

import re
from collections.abc import Iterable
from datetime import datetime

from proxy.core.policy import Grant
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.judge.grants import DELETE_VERSION, BoundGrant
from proxy.judge.reading import BUCKET, Reading, asked_for_source


def lack(reason: Reason, bound: BoundGrant, reading: Reading, request: RequestFacts, now: datetime) -> str:
    """One clause for one reason that `BoundGrant.miss` gave."""
    grant = bound.grant
    match reason:
        case Reason.PORT_NOT_GRANTED:
            return f"port {request.port} is not {_one_of(map(str, grant.ports))}"
        case Reason.METHOD_NOT_GRANTED:
            return f"{request.method} is not {_one_of(grant.methods)}"
        case Reason.PATH_NOT_GRANTED:
            return f"{request.path.text} does not match {_one_of(path.text for path in grant.paths)}"
        case Reason.PIN_UNREADABLE if grant.service is None:
            return "the host alone does not say whose data it is; a grant must name its service"
        case Reason.PIN_UNREADABLE:
            return f"the request does not show its {_unread(grant, reading)}"
        case Reason.PIN_NOT_GRANTED:
            return _foreign(bound, reading, request)
        case Reason.UNKNOWN_ACTION:
            return reading.doubt or "no operation of the service has this method, path and query"
        case Reason.ACTION_NOT_GRANTED:
            granted = [access.value for access in grant.access] + [*grant.actions]
            return f"{_uncovered(bound, reading)} is not covered by {_one_of(granted)}"
        case Reason.QUERY_NOT_GRANTED:
            wanted = (f"{key}={'|'.join(values) or '…'}" for key, values in grant.query)
            return f"the query must have {' and '.join(wanted)}"
        case Reason.AMBIGUOUS_QUERY:
            return "a parameter that the grant depends on can be read in two ways"
        case Reason.MINTING_API:
            return "the answer holds a credential, and `allowMinting` does not name the API"
        case Reason.GPU_REQUIRED:
            return "the pod asks for no accelerator"
        case Reason.GPU_FORBIDDEN:
            return "the pod asks for an accelerator"
        case Reason.IMAGE_NOT_ALLOWED:
            return "an image of the pod is not allowed, or its images are not known"
        case Reason.UNKNOWN_CREDENTIAL:
            return f"there is no usable CredentialSource {grant.credential}"
        case Reason.NOT_YET_VALID:
            return f"the policy is valid from {bound.validity.not_before:%Y-%m-%d %H:%M} UTC"
        case Reason.EXPIRED:
            return f"the policy expired at {bound.validity.not_after:%Y-%m-%d %H:%M} UTC"
        case Reason.OUTSIDE_WINDOW:
            return f"{now:%a %Y-%m-%d %H:%M} {now.tzname() or 'UTC'} lies in none of the weekly windows"
        case Reason.SOURCE_NOT_GRANTED:
            return _source(bound, reading, request, now)
        case _:  # the other reasons are no grant's
            return str(reason.value)


def _one_of(values: Iterable[str]) -> str:
    names = list(values)
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)


def _unread(grant: Grant, reading: Reading) -> str:
    return next((name for name, _ in grant.pins if name not in reading.pins), "keys")


def _uncovered(bound: BoundGrant, reading: Reading) -> str:
    """The action that the grant lacks: the operation's own, or what its headers or its body do besides."""
    names = (reading.operation.name, *reading.also) if reading.operation else ("it",)
    missing = next((name for name in names if not bound.covers_action(name)), None)
    return missing or f"{DELETE_VERSION}, for the body names versions,"


def _source(bound: BoundGrant, reading: Reading, request: RequestFacts, now: datetime) -> str:
    """The first thing that is copied and that this grant does not let be read; the nearest may be another."""
    asked = asked_for_source(request)
    for source in reading.sources:
        if isinstance(source, str):
            return f"what the request copies cannot be told from its copy source: {source}"
        reason = bound.miss(asked, source, (), now)
        if reason is not None:
            what = f"`{source.pins.get(BUCKET, '')}/{source.key}`"
            return f"the request copies {what}, and {lack(reason, bound, source, asked, now)}"
    return "no grant with this credential lets be read what the request copies"


def _foreign(bound: BoundGrant, reading: Reading, request: RequestFacts) -> str:
    name = bound.foreign_pin(reading)
    if name is not None:
        globs, value = dict(bound.grant.pins)[name], reading.pins[name]
        named = _one_of(glob.text for glob in globs)
        if any(re.fullmatch(glob.expression, value) for glob in globs):
            return f"{name} {value} may be an API of the store: only its name covers it, and not {named}"
        return f"{name} {value} is not {named}"
    prefixes = _one_of(bound.grant.prefixes)
    removal = bound.foreign_removal(request.removals or ())
    if removal is not None:
        return f"key {removal.key} in the body is not below {prefixes}"
    if reading.key is not None:
        return f"key {reading.key} is not below {prefixes}"
    return f"the listing of keys that begin with `{reading.listed or ''}` is not within {prefixes}"
