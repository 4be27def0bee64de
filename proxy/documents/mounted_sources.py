"""`mountedSecret`: a credential that the kubelet mounts in the sidecar."""

from typing import Any, Final

from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.documents import values
from proxy.documents.problems import Fault
from proxy.documents.shapes import Field, Record


def _keys(**keys: str) -> tuple[tuple[Part, str], ...]:
    parts = {part.name.lower(): part for part in Part}
    return tuple((parts[name], key) for name, key in sorted(keys.items()))


KEYS: Final = Record(
    "the keys of a secret",
    tuple(
        Field(part.value, values.SECRET_KEY, f"The key that holds the {label}.", part.name.lower())
        for part, label in (
            (Part.TOKEN, "token"),
            (Part.USERNAME, "user name"),
            (Part.PASSWORD, "password"),
            (Part.ACCESS_KEY_ID, "AWS access key id"),
            (Part.SECRET_ACCESS_KEY, "AWS secret access key"),
            (Part.SESSION_TOKEN, "AWS session token, if there is one"),
        )
    ),
    _keys,
)


def _mounted_secret(
    secret_name: str, key: str | None = None, keys: tuple[tuple[Part, str], ...] = ()
) -> MountedSecret:
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
    ),
    _mounted_secret,
    exactly_one=(("key", "keys"),),
)

FIELDS: Final = (
    Field(
        "mountedSecret",
        MOUNTED_SECRET,
        "A secret that the kubelet mounts in the sidecar. It lives as long as you leave it: prefer a kind "
        "that is exchanged for the pod's identity where the service offers one.",
    ),
)


def rendered(kind: MountedSecret) -> dict[str, Any]:
    keys = {part.value: key for part, key in kind.keys}
    return {"mountedSecret": {"secretName": kind.secret_name, "keys": keys}}
