"""A Kubernetes Secret that the kubelet mounts in the sidecar."""

from typing import Any, Final

from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.answers import JsonObject, read_json
from proxy.sources.asking import files
from proxy.sources.steps import Acquired, Failed, SourceSteps, StepFailed

# A Secret holds 1 MiB in all. The longest credentials are key files of a few KiB; what is larger than this
# is something else under the credential's key.
MAX_PART_BYTES: Final = 65_536


def acquire(kind: MountedSecret) -> SourceSteps:
    """All keys in one step: a user name of yesterday never meets a password of today."""
    if kind.json is not None:
        return (yield from _acquire_json(kind.secret_name, kind.json))
    name = kind.secret_name
    keys = tuple(dict.fromkeys(key for _, key in kind.keys))
    reply = yield from files(name, keys)
    if isinstance(reply, StepFailed):
        return Failed(f"the secret `{name}` cannot be read: {reply.message}")
    values: dict[str, bytes] = {}
    missing: list[str] = []
    for key in keys:
        value = reply.get(key)
        if value is None:
            missing.append(key)
        else:
            values[key] = _without_line_break(value)
    if missing:
        return Failed(_missing(name, missing, values))
    for key, value in values.items():
        fault = _fault(value)
        if fault is not None:
            return Failed(f"the key `{key}` of the secret `{name}` {fault}")
    return Acquired({part: Secret(values[key]) for part, key in kind.keys})


def _acquire_json(name: str, json: JsonFields) -> SourceSteps:
    reply = yield from files(name, (json.key,))
    if isinstance(reply, StepFailed):
        return Failed(f"the secret `{name}` cannot be read: {reply.message}")
    data = reply.get(json.key)
    if data is None:
        return Failed(_missing(name, [json.key], {}))
    where = f"the key `{json.key}` of the secret `{name}`"
    whole = read_json(data)
    if whole is None:
        return Failed(f"{where} holds no JSON object: write one, or name the key in `keys`")
    parts: dict[Part, Secret] = {}
    for part, path in json.fields:
        value = _field(whole, path)
        field = "/".join(path)
        if value is None:
            return Failed(f"{where} has no text in the field `{field}`: correct `fields`, or the secret")
        fault = _fault(value)
        if fault is not None:
            return Failed(f"the field `{field}` in {where} {fault}")
        parts[part] = Secret(value)
    return Acquired(parts)


def _field(whole: JsonObject, path: tuple[str, ...]) -> bytes | None:
    found: Any = whole
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str):
        return None
    try:
        return found.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        return None


def _without_line_break(value: bytes) -> bytes:
    """Without the one that `echo` and editors put at a file's end.

    `kubectl create secret --from-file` keeps it, which is the most common of all mistakes with secrets, and
    no credential ends in one. Exactly one is taken: what is wrong after that is said and not guessed at.
    """
    return value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value


def _missing(name: str, missing: list[str], found: dict[str, bytes]) -> str:
    keys = ", ".join(f"`{key}`" for key in missing)
    if not found:
        return (
            f"the secret `{name}` is not mounted, or lacks {keys}: create it in the pod's namespace with "
            f"{'these keys' if len(missing) > 1 else 'this key'}"
        )
    return (
        f"the secret `{name}` lacks {keys}: add it to the Secret, or correct `keys` in the CredentialSource"
    )


def _fault(value: bytes) -> str | None:
    if not value:
        return "is empty: write the credential into it"
    if value.isspace():
        return "holds nothing but white space: write the credential into it"
    if len(value) > MAX_PART_BYTES:
        return f"is larger than {MAX_PART_BYTES} bytes: name the key that holds the credential"
    return None
