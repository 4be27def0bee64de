"""The body of an admission webhook: bytes become a review, or the reason why not; an answer becomes bytes.

The API server's encoder never writes what is refused here (members twice, `NaN`, a byte-order mark). Somebody
else who reaches the port may, and what two readers understand differently must not be judged.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, assert_never

from injector.core.outcome import Inject, Outcome, Refuse, Skip
from injector.reading.pod_fields import shown
from proxy.core.injection_codes import CodeKind
from proxy.core.structs import Struct, field

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
# A pod is 15 levels deep, its managedFields are 12, a policy less. Code that walks a value may recurse.
MAX_DEPTH: Final = 100

# What each of `{[,` begins costs Python up to 250 bytes: 8 MiB of small objects a quarter of a
# gigabyte, so many a tenth. Three MiB of variables have 250,000 with their managedFields, and etcd
# stores half of that (`--max-request-bytes`).
MAX_VALUES: Final = 400_000

# "Individual warning messages that exceed 256 characters may be truncated … If more than 4096 characters of
# warning messages are added (from all sources), additional warning messages are ignored."
# kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers#response
MAX_WARNING: Final = 256
MAX_WARNINGS: Final = 16
MAX_WARNINGS_TOGETHER: Final = 4000
# A terminal's page, twice. It is repeated in an Event of the owner by its controller, which cuts at 1024.
MAX_MESSAGE: Final = 4096


class GroupVersionName(Struct, frozen=True):
    """A kind or a resource."""

    group: str
    version: str
    name: str


class Review(Struct, frozen=True):
    """One request of the API server, as far as anybody here asks. What is absent is empty."""

    uid: str
    operation: str
    kind: GroupVersionName
    resource: GroupVersionName
    sub_resource: str = ""
    namespace: str = ""
    # Empty for a pod whose name is made later (`generateName`), and in each review of a deleted collection.
    name: str = ""
    object: Mapping[str, Any] | None = None
    old_object: Mapping[str, Any] | None = None
    dry_run: bool = False
    user: str = ""


class ReviewFault(Struct, frozen=True):
    """What is answered by HTTP, because there is no review that could be answered."""

    status: int
    message: str


class Answer(Struct, frozen=True):
    """What the API server is told. A patch belongs to what is allowed; `render_answer` sees to it."""

    uid: str
    allowed: bool = True
    # Why not. It stands behind "admission webhook … denied the request: ".
    message: str = ""
    warnings: tuple[str, ...] = ()
    # The text of a JSON patch; empty where nothing changes.
    patch: bytes = b""
    audit: Mapping[str, str] = field(default_factory=dict)
    # Not zero: the refusal is of this moment, and clients of Kubernetes ask again by themselves.
    retry_after_seconds: int = 0
    # What was judged, for the log, the metric and the Event. None where no pod was.
    outcome: Outcome | None = None
    dry_run: bool = False


def read_review(data: bytes) -> Review | ReviewFault:
    """One review of version v1."""
    # Each takes at least its byte.
    if len(data) > MAX_VALUES and sum(map(data.count, (b"{", b"[", b","))) > MAX_VALUES:
        return ReviewFault(413, f"the body holds more than {MAX_VALUES} values; make the object smaller")
    try:
        whole = _mapping(_value(data), "the body")
        version, kind = _text(whole, "apiVersion"), _text(whole, "kind")
        if kind != KIND or version != API_VERSION:
            ours = f"`{API_VERSION}` `{KIND}`"
            message = f"the body is {shown(version)} {shown(kind)}, and this webhook speaks {ours}"
            fix = 'set `admissionReviewVersions: ["v1"]` in the webhook configuration'
            return ReviewFault(400, f"{message}; {fix}")
        request = _mapping(whole.get("request"), "request")
        uid = _text(request, "uid")
        if not uid:
            return ReviewFault(400, "request.uid is missing: an answer without it is not accepted")
        return Review(
            uid=uid,
            operation=_text(request, "operation"),
            kind=_type_name(request, "kind"),
            resource=_type_name(request, "resource"),
            sub_resource=_text(request, "subResource"),
            namespace=_text(request, "namespace"),
            name=_text(request, "name"),
            object=_optional_mapping(request, "object"),
            old_object=_optional_mapping(request, "oldObject"),
            dry_run=_flag(request, "dryRun"),
            user=_text(_optional_mapping(request, "userInfo") or {}, "username"),
        )
    except _UnreadableError as fault:
        return ReviewFault(400, str(fault))


class _UnreadableError(Exception):
    """The text says what is wrong with the body, and repeats none of it."""


def _value(data: bytes) -> Any:  # noqa: ANN401 - it is JSON
    try:
        text = data.decode()  # json itself would guess UTF-16, and skip a byte-order mark
        value = _PARSER.decode(text)
        levels, members = _size(value)
        if members != _most_members(text):
            del value  # two of the largest are more than a replica may hold
            value = _SLOW_PARSER.decode(text)
        if "\\u" in text and ("\\ud" in text or "\\uD" in text):
            # Half a character, written as an escape, is one that cannot be written anywhere again. Go sends
            # whole characters, so this costs nothing.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise _UnreadableError("the body is not UTF-8") from error
    except RecursionError as error:
        raise _UnreadableError(f"the body is nested more than {MAX_DEPTH} levels deep") from error
    except json.JSONDecodeError as error:
        raise _UnreadableError(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:  # more digits than Python turns into a number
        raise _UnreadableError("the body holds a number that is too long") from error
    if levels > MAX_DEPTH:
        raise _UnreadableError(f"the body is nested more than {MAX_DEPTH} levels deep")
    return value


def _most_members(text: str) -> int:
    """No fewer than there are in JSON, counted without a parser; -1 where that cannot be told at a glance.

    A member's name ends with a quote, and its colon follows. In a text a quote has a backslash in front of
    it. So whoever finds as many members knows that none stands twice; the parser that looks at each member
    takes as long as all the rest of the reading.
    """
    for unclear in _UNCLEAR:
        if unclear in text:
            return -1
    return text.count('":') - text.count('\\":')


# Space between a name and its colon; a backslash in front of a quote that is not of that quote.
_UNCLEAR: Final = (" :", "\t:", "\n:", "\r:", '\\\\"')


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _UnreadableError("the body is not JSON that can be read in one way: a member stands twice")
    return members


def _no_constant(name: str) -> float:
    raise _UnreadableError(f"the body is not JSON: {name} is no number")


def _finite_number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise _UnreadableError("the body holds a number that is too large")
    return number


_PARSER: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite_number)
_SLOW_PARSER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite_number
)


def _size(value: object) -> tuple[int, int]:
    """How many levels of objects and lists there are, and how many members of objects."""
    levels, members = 0, 0
    level: list[Any] = [[value]]
    while level:
        below: list[Any] = []
        for node in level:
            children = node
            if type(node) is dict:
                members += len(node)
                children = node.values()
            for child in children:
                kind = type(child)
                if kind is dict or kind is list:
                    below.append(child)
        level = below
        levels += 1
    return levels - 1, members


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _UnreadableError(f"{name} is not an object")
    return value


def _optional_mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = fields.get(name)
    return None if value is None else _mapping(value, f"request.{name}")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _UnreadableError(f"`{name}` is not a string")
    return value


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _UnreadableError(f"`{name}` is neither true nor false")
    return value


def _type_name(request: Mapping[str, Any], name: str) -> GroupVersionName:
    fields = _mapping(request.get(name), f"request.{name}")
    return GroupVersionName(_text(fields, "group"), _text(fields, "version"), _text(fields, name))


# --- answers -------------------------------------------------------------------------------------


def answer_of(
    review: Review, outcome: Outcome, patch: bytes = b"", *, retry_after_seconds: int = 0
) -> Answer:
    """The answer that says what became of a pod, or of a request about one."""
    refused = isinstance(outcome, Refuse)
    codes = sorted({finding.code.value for finding in outcome.reasons})
    return Answer(
        uid=review.uid,
        allowed=not refused,
        message=refusal_message(map(str, outcome.reasons)) if refused else "",
        warnings=tuple(map(str, outcome.warnings)),
        patch=b"" if refused else patch,
        audit={"outcome": outcome_name(outcome).value, "reasons": ",".join(codes)},
        retry_after_seconds=retry_after_seconds,
        outcome=outcome,
        dry_run=review.dry_run,
    )


def outcome_name(outcome: Outcome) -> CodeKind:
    match outcome:
        case Inject():
            return CodeKind.INJECT
        case Skip():
            return CodeKind.SKIP
        case Refuse():
            return CodeKind.REFUSE
        case _:
            assert_never(outcome)


def refusal_message(reasons: Iterable[str]) -> str:
    """All reasons in one line, as far as they fit."""
    first, *others = [_one_line(reason) for reason in reasons] or [""]
    message = _cut(first, MAX_MESSAGE)
    for told, reason in enumerate(others):
        if len(message) + len(reason) > MAX_MESSAGE:
            return f"{message} | and {len(others) - told} more"
        message = f"{message} | {reason}"
    return message


def render_answer(answer: Answer) -> bytes:
    """The AdmissionReview that the API server reads."""
    response: dict[str, Any] = {"uid": answer.uid, "allowed": answer.allowed}
    if not answer.allowed:
        response["status"] = _status(answer)
    if warnings := _warnings(answer.warnings):
        response["warnings"] = warnings
    if answer.audit:
        response["auditAnnotations"] = dict(answer.audit)
    review = json_text({"apiVersion": API_VERSION, "kind": KIND, "response": response}).encode()
    if not (answer.allowed and answer.patch):
        return review
    # Nine tenths of the answer, with nothing in it that JSON would write otherwise.
    patch = b64encode(answer.patch)
    return b'%b,"patchType":"JSONPatch","patch":"%b"}}' % (review.removesuffix(b"}}"), patch)


def json_text(value: object) -> str:
    return _ENCODER.encode(value)


# A look for circles costs a quarter of it. None can come of what was JSON, and of what we put beside it.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def _status(answer: Answer) -> dict[str, Any]:
    """Code and reason decide what a client does: 403 is told to a person, 503 with a time is asked again."""
    status = {"status": "Failure", "message": f"podkey: {answer.message}"}
    if answer.retry_after_seconds:
        details = {"retryAfterSeconds": answer.retry_after_seconds}
        return {**status, "code": 503, "reason": "ServiceUnavailable", "details": details}
    return {**status, "code": 403, "reason": "Forbidden"}


def _warnings(warnings: Iterable[str]) -> list[str]:
    lines: list[str] = []
    left = MAX_WARNINGS_TOGETHER
    for warning in warnings:
        line = _cut(f"podkey: {_one_line(warning)}", MAX_WARNING)
        left -= len(line)
        if left < 0 or len(lines) == MAX_WARNINGS:
            break
        lines.append(line)
    return lines


def _one_line(text: str) -> str:
    """Names in it are a stranger's: nothing that a terminal or a header obeys."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
