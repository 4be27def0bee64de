"""`mountedSecret`: a credential that the kubelet mounts in the sidecar."""

import re
from typing import Any, Final

from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.parts import Part
from proxy.documents import values
from proxy.documents.problems import Fault
from proxy.documents.shapes import Field, Record, Text

LABELS: Final = (
    (Part.TOKEN, "token"),
    (Part.USERNAME, "user name"),
    (Part.PASSWORD, "password"),
    (Part.ACCESS_KEY_ID, "AWS access key id"),
    (Part.SECRET_ACCESS_KEY, "AWS secret access key"),
    (Part.SESSION_TOKEN, "AWS session token, if there is one"),
)
_BY_NAME: Final = {part.name.lower(): part for part in Part}


def _keys(**keys: str) -> tuple[tuple[Part, str], ...]:
    return tuple((_BY_NAME[name], key) for name, key in sorted(keys.items()))


def _fields(**fields: tuple[str, ...]) -> tuple[tuple[Part, tuple[str, ...]], ...]:
    return tuple((_BY_NAME[name], path) for name, path in sorted(fields.items()))


KEYS: Final = Record(
    "the keys of a secret",
    tuple(
        Field(part.value, values.SECRET_KEY, f"The key that holds the {label}.", part.name.lower())
        for part, label in LABELS
    ),
    _keys,
)


def _pointer(text: str) -> tuple[str, ...]:
    """RFC 6901; a name without a slash is a field of the outermost object."""
    if not text.startswith("/"):
        return (text,)
    if re.search("~(?![01])", text):
        raise Fault(
            f"`{text}` holds a `~` that means nothing", "write `~0` for `~` and `~1` for `/` (RFC 6901)"
        )
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in text[1:].split("/"))


POINTER: Final = Text("a field, or a JSON Pointer to one", _pointer, examples=("token", "/auth/token"))

_FIELDS: Final = Record(
    "the fields of a JSON object",
    tuple(
        Field(part.value, POINTER, f"The field that holds the {label}.", part.name.lower())
        for part, label in LABELS
    ),
    _fields,
)


def _json(key: str, fields: tuple[tuple[Part, tuple[str, ...]], ...]) -> JsonFields:
    if not fields:
        raise Fault("no field is named", "add a field, such as `token: api_key`", at="fields")
    return JsonFields(key, fields)


JSON: Final = Record(
    "a key that holds JSON",
    (
        Field("key", values.SECRET_KEY, "The key that holds the JSON object.", required=True),
        Field(
            "fields",
            _FIELDS,
            "Which field holds which part: a name, or a JSON Pointer such as `/auth/token` (RFC 6901).",
            required=True,
        ),
    ),
    _json,
)


def _mounted_secret(
    secret_name: str,
    key: str | None = None,
    keys: tuple[tuple[Part, str], ...] = (),
    json: JsonFields | None = None,
) -> MountedSecret:
    if json is not None:
        return MountedSecret(secret_name, json=json)
    if key is not None:
        return MountedSecret(secret_name, ((Part.TOKEN, key),))
    if not keys:
        raise Fault("no key is named", "add a key, such as `token: api-key`", at="keys")
    return MountedSecret(secret_name, keys)


MOUNTED_SECRET: Final = Record(
    "a mounted secret",
    (
        Field(
            "secretName",
            values.NAME,
            "The Kubernetes Secret. It is mounted in the sidecar, never in the application.",
            required=True,
        ),
        Field("key", values.SECRET_KEY, "The key that holds the token; short for `keys: {token: …}`."),
        Field("keys", KEYS, "Which key holds which part, for credentials of several parts."),
        Field("json", JSON, "A key that holds a JSON object with the parts as its fields."),
    ),
    _mounted_secret,
    exactly_one=(("key", "keys", "json"),),
)

FIELDS: Final = (
    Field(
        "mountedSecret",
        MOUNTED_SECRET,
        "A secret that the kubelet mounts in the sidecar. It lives as long as you leave it: prefer a kind "
        "that is exchanged for the pod's identity where the service offers one.",
    ),
)


def _written(path: tuple[str, ...]) -> str:
    if len(path) == 1 and path[0] and not path[0].startswith("/"):
        return path[0]
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def rendered(kind: MountedSecret) -> dict[str, Any]:
    if kind.json is not None:
        fields = {part.value: _written(path) for part, path in kind.json.fields}
        return {
            "mountedSecret": {
                "secretName": kind.secret_name,
                "json": {"key": kind.json.key, "fields": fields},
            }
        }
    keys = {part.value: key for part, key in kind.keys}
    return {"mountedSecret": {"secretName": kind.secret_name, "keys": keys}}
