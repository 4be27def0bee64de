"""`vault`: a secret of HashiCorp Vault or OpenBao, read as the pod."""

import re
from datetime import timedelta
from typing import Any, Final

from proxy.core.parts import Part
from proxy.core.vault_source import (
    KV_MAX_AGE,
    VaultAuth,
    VaultDynamic,
    VaultKv2,
    VaultMethod,
    VaultSecret,
)
from proxy.documents.problems import Fault
from proxy.documents.shapes import Field, MapOf, Number, Record, Text
from proxy.documents.source_values import AUDIENCE, BASE_URL, duration, written

# Vault's own storage takes keys of 32 KiB and more; what people write has a handful of segments.
MAX_VAULT_PATH: Final = 512


def _path(text: str) -> str:
    fix = "write plain segments with one slash between them, such as `teams/ml/api`"
    if text.startswith("/") or text.endswith("/"):
        raise Fault(f"`{text}` begins or ends with a slash", f"write `{text.strip('/') or 'teams/ml/api'}`")
    if "?" in text or "#" in text:
        raise Fault(f"`{text}` holds a query or a fragment", "leave out the `?` or `#` and what follows")
    segments = text.split("/")
    if "" in segments or "." in segments or ".." in segments:
        raise Fault(f"`{text}` has an empty or a dot segment", fix)
    if text.endswith("."):
        raise Fault(f"`{text}` ends in a period, which Vault refuses", fix)
    if len(text) > MAX_VAULT_PATH or not text.isprintable():
        raise Fault(f"`{text[:80]}` is not a path in Vault", fix)
    return text


def _named(what: str, fix: str) -> Text:
    """Names that Vault lets people choose: any line of visible characters."""

    def parse(text: str) -> str:
        if len(text) > MAX_VAULT_PATH or not text.isprintable():
            raise Fault(f"`{text[:80]}` is not {what}", fix)
        return text

    return Text(what, parse)


_PATH: Final = Text("a path in Vault", _path, "^[^/]", ("teams/ml/api",))
_MOUNT: Final = Text("a mount's path", _path, "^[^/]", ("secret",))
# It is a header's value.
_NAMESPACE: Final = Text(
    "a namespace of Vault",
    lambda text: _ascii(_path(text)),
    "^[^/]",
    ("admin/ml",),
)
_ROLE: Final = _named("a role", "write the role's name, as in `vault list auth/kubernetes/role`")
_KEY: Final = _named("a key of the secret's data", "write the key, as `vault read` shows it")


def _ascii(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise Fault(f"`{text}` is not a namespace", "write the namespace's path without blanks")
    return text


def _fields(**keys: str) -> tuple[tuple[Part, str], ...]:
    if not keys:
        raise Fault("no key is named", "add a key, such as `token: api_key`")
    parts = {part.name.lower(): part for part in Part}
    return tuple((parts[name], key) for name, key in sorted(keys.items()))


_FIELDS: Final = Record(
    "the fields of a secret",
    tuple(
        Field(part.value, _KEY, f"The key of the secret's data that holds the {label}.", part.name.lower())
        for part, label in (
            (Part.TOKEN, "token"),
            (Part.USERNAME, "user name"),
            (Part.PASSWORD, "password"),
            (Part.ACCESS_KEY_ID, "AWS access key id"),
            (Part.SECRET_ACCESS_KEY, "AWS secret access key"),
            (Part.SESSION_TOKEN, "AWS session token, if there is one"),
        )
    ),
    _fields,
)


def _auth_record(method: VaultMethod) -> Record:
    def build(role: str, audience: str, mount: str = method.value) -> VaultAuth:
        return VaultAuth(method, mount, role, audience)

    return Record(
        f"the {method.value} login",
        (
            Field("mount", _MOUNT, f"Where the auth method is mounted; `{method.value}` by default."),
            Field("role", _ROLE, "The role that the pod logs in with.", required=True),
            Field(
                "audience",
                AUDIENCE,
                "The audience of the service-account token that is sent. The role names the same one.",
                required=True,
            ),
        ),
        build,
    )


def _only(**chosen: Any) -> Any:  # noqa: ANN401 - a union by key: whichever record was there
    (value,) = chosen.values()
    return value


_AUTH: Final = Record(
    "the login",
    (
        Field(
            "kubernetes",
            _auth_record(VaultMethod.KUBERNETES),
            "The `kubernetes` auth method: Vault asks the cluster whether the token is good (TokenReview).",
        ),
        Field(
            "jwt",
            _auth_record(VaultMethod.JWT),
            "The `jwt` auth method: Vault verifies the token with the cluster's published keys.",
        ),
    ),
    _only,
    exactly_one=(("kubernetes", "jwt"),),
)


def _kv2(
    path: str,
    fields: tuple[tuple[Part, str], ...],
    mount: str = "secret",
    version: int | None = None,
    max_age: timedelta = KV_MAX_AGE,
) -> VaultKv2:
    return VaultKv2(mount, path, fields, version, max_age)


_KV2: Final = Record(
    "a secret of the key-value engine, version 2",
    (
        Field("mount", _MOUNT, "Where the engine is mounted; `secret` by default."),
        Field("path", _PATH, "The secret's path below the mount, without `data/`.", required=True),
        Field(
            "version",
            Number("a version", 1, 2**31 - 1),
            "Always this version. Without it, the latest.",
        ),
        Field("fields", _FIELDS, "Which key of the secret holds which part.", required=True),
        Field(
            "maxAge",
            duration("an age", "1m", "24h"),
            "How long the secret counts after it was read; it is read again before that. A secret that is "
            f"rotated or deleted is noticed within this time, and an outage of Vault that is longer than it "
            f"is felt. `{written(KV_MAX_AGE)}` by default.",
        ),
    ),
    _kv2,
)

_DYNAMIC: Final = Record(
    "a dynamic secret",
    (
        Field(
            "path",
            _PATH,
            "What to ask, from the engine's mount on, such as `database/creds/readonly`.",
            required=True,
        ),
        Field("fields", _FIELDS, "Which key of the answer's data holds which part.", required=True),
        Field(
            "parameters",
            MapOf(_named("a value", "write a line of text"), _named("a parameter", "write its name")),
            "Sent as JSON, by a write. Without parameters the secret is asked for by a read.",
        ),
    ),
    VaultDynamic,
)

_READ: Final = Record(
    "what is read",
    (
        Field("kv2", _KV2, "A secret that somebody wrote, in the key-value engine, version 2."),
        Field("dynamic", _DYNAMIC, "A secret that Vault makes for this pod: `aws`, `database` and others."),
    ),
    _only,
    exactly_one=(("kv2", "dynamic"),),
)

VAULT: Final = Record(
    "a secret of Vault",
    (
        Field("address", BASE_URL, "Vault's or OpenBao's address.", required=True),
        Field("namespace", _NAMESPACE, "The namespace that mounts and paths are in, where there are any."),
        Field("auth", _AUTH, "How the pod logs in.", required=True),
        Field("read", _READ, "What is read with it.", required=True),
    ),
    VaultSecret,
)

FIELDS: Final = (
    Field(
        "vault",
        VAULT,
        "A secret of HashiCorp Vault or OpenBao: the pod logs in with its own identity, and what is dynamic "
        "is renewed while it is used and revoked when it is not.",
    ),
)


def rendered(kind: VaultSecret) -> dict[str, Any]:
    auth = {"mount": kind.auth.mount, "role": kind.auth.role, "audience": kind.auth.audience}
    namespace = {"namespace": kind.namespace} if kind.namespace else {}
    return {
        "vault": {
            "address": kind.address,
            **namespace,
            "auth": {kind.auth.method.value: auth},
            "read": _rendered_read(kind.read),
        }
    }


def _rendered_read(read: VaultKv2 | VaultDynamic) -> dict[str, Any]:
    fields = {part.value: key for part, key in read.fields}
    if isinstance(read, VaultDynamic):
        parameters = {"parameters": dict(read.parameters)} if read.parameters else {}
        return {"dynamic": {"path": read.path, "fields": fields, **parameters}}
    version = {} if read.version is None else {"version": read.version}
    age = {} if read.max_age == KV_MAX_AGE else {"maxAge": written(read.max_age)}
    return {"kv2": {"mount": read.mount, "path": read.path, **version, "fields": fields, **age}}
