"""The audit record: one line per decision, with a closed list of fields. It has no room for a secret."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import MAXYEAR, UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any, Final, NamedTuple, Self

from proxy.core.contract import API_GROUP

AUDIT_VERSION: Final = 1
_ONE_SECOND: Final = timedelta(seconds=1)


class Ending(Enum):
    """How the request ended, whatever the verdict was."""

    # Not yet: a request that takes long is told of once before its end, or nothing would be known of it if we
    # ended first.
    OPEN = "open"
    COMPLETED = "completed"
    REFUSED = "refused"
    CLIENT_GONE = "client_gone"
    UPSTREAM_FAILED = "upstream_failed"
    CUT = "cut"  # by us: drain, time-out, malformed body


class Own(NamedTuple):
    """What one request's record has of its own, where another one said the same."""

    time: datetime
    request_id: str
    upstream: str
    status: int | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    redactions: int = 0
    duration_ms: float = 0.0
    ending: Ending = Ending.COMPLETED


# No slots: four records are made of each request's first one, and a dictionary is copied in a tenth of the
# time that forty slots take.
@dataclass(frozen=True)
class AuditRecord:
    """What happened to one request.

    `path` is as it was matched, without its query: queries hold personal data and tokens. Fields about a
    credential name it; nothing here is made from its value.
    """

    time: datetime
    request_id: str
    # Who: the pod, and what that rests on.
    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str
    node: str
    evidence: str
    # What was asked.
    host: str
    port: int
    method: str
    path: str
    # Who, where somebody told the sidecar.
    cluster: str = ""
    owner: str = ""
    # The token that the identity rests on, where one was verified.
    issuer: str = ""
    key_id: str = ""
    token_hash: str = ""
    token_issued: datetime | None = None
    token_expires: datetime | None = None
    service: str = ""
    action: str = ""
    # What was decided, and by which rule.
    verdict: str = ""
    reason: str = ""
    would: str = ""
    policy: str = ""
    grant: int | None = None
    credential: str = ""
    lease_id: str = ""
    retried: bool = False
    static_credential_seen: bool = False
    # How it travelled and ended.
    lane: str = ""
    capture: str = ""
    protocol: str = ""
    upstream: str = ""
    status: int | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    redactions: int = 0
    duration_ms: float = 0.0
    ending: Ending = Ending.COMPLETED

    def changed(self, **values: object) -> Self:
        """The same with other values: `dataclasses.replace`, in a tenth of its time."""
        made = self.__dict__ | values
        if _KEPT in made and not _OWN_TO_ONE.issuperset(values):
            del made[_KEPT]
        if _AROUND in made and not _OWN_TO_ONE.issuperset(values):
            del made[_AROUND]
        record = object.__new__(type(self))
        object.__setattr__(record, "__dict__", made)
        return record

    def elsewhere(self, path: str) -> Self:
        """The same of another path. What is written before and behind that is written once."""
        values = self.__dict__
        around: tuple[str, str] | None = values.get(_AROUND)
        if around is None:
            around = values[_AROUND] = (_BEFORE_PATH.format(values), _BEHIND_PATH.format(values))
        before, behind = around
        kept = f'{before},"path":{encode_basestring_ascii(path)},{behind}'
        record = object.__new__(type(self))
        object.__setattr__(record, "__dict__", values | {"path": path, _KEPT: kept})
        return record

    def of(self, own: Own) -> Self:
        """The record of another request that said the same."""
        return self.changed(**own._asdict())

    def to_json(self, own: Own | None = None, opening: str = "{") -> str:
        """What `to_record` gives, as JSON: ASCII, and not a space. `own`: what `of` would give. `opening`: it
        may begin with more than a brace."""
        values = self.__dict__
        kept: str | None = values.get(_KEPT)
        if kept is None:
            # Of a request that was asked before it is the same: `changed` hands it on.
            kept = _MIDDLE.format(values)
            values[_KEPT] = kept
        time, request_id, upstream, status, sent, received, redactions, took, ending = own or _own(values)
        # Each record has its own; written out, they take a third of the time that a table of them takes.
        return (
            f'{opening}"version":{AUDIT_VERSION},"time":"{_moment(time)}",'
            f'"requestId":{encode_basestring_ascii(request_id)},{kept},'
            f'"upstream":{encode_basestring_ascii(upstream)},'
            f'"status":{"null" if status is None else status},"sentBytes":{sent},'
            f'"receivedBytes":{received},"redactions":{redactions},'
            f'"durationMs":{took!r},"ending":"{ending.value}"}}'
        )

    def to_record(self) -> dict[str, object]:
        """The JSON object, in the order of the schema."""
        record: dict[str, object] = {"version": AUDIT_VERSION}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, datetime):
                value = value.isoformat(timespec="milliseconds")
            elif isinstance(value, Enum):
                value = value.value
            record[_json_name(field.name)] = value
        return record


def _json_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# --- as JSON -----------------------------------------------------------------------------------------


@lru_cache(maxsize=16)  # When the tokens of one pod were issued, and when they end.
def _utc(time: datetime) -> str:
    return f'"{time.isoformat(timespec="milliseconds")}"'


def _time(time: datetime | None) -> str:
    if time is None:
        return "null"
    # What is equal in another zone is another text.
    return _utc(time) if time.tzinfo is UTC else _utc.__wrapped__(time)


_WRITTEN: Final[dict[object, Callable[..., str]]] = {
    str: encode_basestring_ascii,
    int: int.__repr__,
    float: float.__repr__,
    bool: lambda value: "true" if value else "false",
    int | None: lambda value: "null" if value is None else int.__repr__(value),
    datetime | None: _time,
}


class _Second(NamedTuple):
    begins: datetime
    ends: datetime
    text: str


# The last in which something happened: most of a time's text is the text of its second.
_second = _Second(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "")


def _moment(time: datetime) -> str:
    """`isoformat`, to the millisecond."""
    global _second  # noqa: PLW0603 - whoever replaces it, it says the same of its second
    if time.tzinfo is not UTC:
        return time.isoformat(timespec="milliseconds")
    begins, ends, text = _second
    if not begins <= time < ends:
        begins = time.replace(microsecond=0)
        text = begins.isoformat()[: -len("+00:00")]
        # The very last second of all has no end.
        ends = begins + _ONE_SECOND if begins.year < MAXYEAR else begins
        _second = _Second(begins, ends, text)
    return f"{text}.{time.microsecond // 1000:03d}+00:00"


class _Fields:
    """Some that follow each other, ready to be written."""

    def __init__(self, names: list[str]) -> None:
        types = {field.name: field.type for field in fields(AuditRecord)}
        self._each = [(name, _WRITTEN[types[name]]) for name in names]
        self._template = ",".join(f'"{_json_name(name)}":%s' for name in names)

    def format(self, values: dict[str, Any]) -> str:
        return self._template % tuple([write(values[name]) for name, write in self._each])


_NAMES: Final = [field.name for field in fields(AuditRecord)]
_BEGIN: Final = _NAMES.index("namespace")
_END: Final = _NAMES.index("upstream")
# What another request of the same kind has in common with this one stands between.
_OWN_TO_ONE: Final = frozenset((*_NAMES[:_BEGIN], *_NAMES[_END:]))
_KEPT: Final = "_kept"
_AROUND: Final = "_around"
_own: Final = itemgetter(*Own._fields)
_MIDDLE: Final = _Fields(_NAMES[_BEGIN:_END])
_PATH: Final = _NAMES.index("path")
_BEFORE_PATH: Final = _Fields(_NAMES[_BEGIN:_PATH])
_BEHIND_PATH: Final = _Fields(_NAMES[_PATH + 1 : _END])


# What each field says: for the schema and the documentation. A test holds that none is missing.
AUDIT_FIELDS: Final[dict[str, str]] = {
    "time": "When the request's head had been read, RFC 3339, UTC.",
    "requestId": "The same in the refusal's body and in log lines.",
    "namespace": "The pod's namespace.",
    "serviceAccount": "The pod's service account.",
    "podName": "The pod's name.",
    "podUid": "The pod's uid.",
    "node": "The node it runs on.",
    "evidence": "What the identity rests on: `token` is a service-account token that was verified; "
    "`unverified` is what the pod's specification says of itself, with which nothing is attached.",
    "host": "The verified name: TLS server name, Host and upstream certificate agree on it.",
    "port": "The port that the application connected to.",
    "method": "The HTTP method.",
    "path": "The path as it was matched and forwarded, without the query.",
    "cluster": "The cluster's name, as the platform team has set it.",
    "owner": "What made the pod, such as `Job/train-resnet`.",
    "issuer": "The issuer of that token; this and the next four are empty where none was verified.",
    "keyId": "The issuer's key that signed it.",
    "tokenHash": "SHA-256 of its id (`jti`): tells tokens apart, and opens nothing.",
    "tokenIssued": "When it was issued.",
    "tokenExpires": "When it ends.",
    "service": "The catalogue's name for the service; empty for a host it does not know.",
    "action": "The service's operation, where the catalogue knows it (`s3:GetObject`).",
    "verdict": "`attach`, `pass_through` or `refuse`.",
    "reason": "The reason code.",
    "would": "Under an observing policy: what an enforcing one would have said.",
    "policy": "The policy that decided, `namespace/name`.",
    "grant": "The number of its grant, from 0.",
    "credential": "The CredentialSource whose credential was attached, `namespace/name`.",
    "leaseId": "Which lease of it. It tells that two leases differ, nothing of their value.",
    "retried": "The upstream called the first lease expired or revoked, or the time or region of the "
    "signature wrong; the request was sent once more, with what was learnt.",
    "staticCredentialSeen": "The application sent a credential of its own instead of a placeholder.",
    "lane": "Which lane moved the bytes.",
    "capture": "How the request reached podkey: `transparent`, `explicit` or `endpoint`.",
    "protocol": "The HTTP version on the application's side.",
    "upstream": "The address that was connected to.",
    "status": "The HTTP status that the application got.",
    "sentBytes": "Bytes of the request's body.",
    "receivedBytes": "Bytes of the response's body.",
    "redactions": "How often the credential was found in the response, and blotted out.",
    "durationMs": "From the request's head to the last byte.",
    "ending": "`completed`, `refused`, `client_gone`, `upstream_failed` or `cut`; `open` in the extra line "
    "of a request that is still on its way after some seconds, whose last line follows.",
}
# What the line of a record in a stream has besides: its sink adds them.
LINE_FIELDS: Final[dict[str, dict[str, object]]] = {
    "type": {"const": "audit", "description": "Tells audit lines from others in the same stream."},
    "truncated": {"const": True, "description": "The line was too long, and long texts in it were cut."},
}
_JSON_TYPES: Final[dict[object, dict[str, object]]] = {
    datetime: {"type": "string", "format": "date-time"},
    datetime | None: {"type": ["string", "null"], "format": "date-time"},
    str: {"type": "string"},
    int: {"type": "integer"},
    int | None: {"type": ["integer", "null"]},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Ending: {"enum": [ending.value for ending in Ending]},
}


def audit_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a record, and of its line."""
    properties: dict[str, dict[str, object]] = {
        "version": {"const": AUDIT_VERSION, "description": "The version of this schema."}
    }
    for field in fields(AuditRecord):
        name = _json_name(field.name)
        properties[name] = {**_JSON_TYPES[field.type], "description": AUDIT_FIELDS[name]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{API_GROUP}/schemas/v1alpha1/audit-record.json",
        "title": "podkey audit record",
        "type": "object",
        "properties": LINE_FIELDS | properties,
        "required": [*properties],
        "additionalProperties": False,
    }
