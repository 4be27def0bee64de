"""What Vault answers, read with care. A `str` is why an answer cannot be used, as the end of a sentence."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import Struct
from proxy.core.vault_source import KV_MAX_AGE, VaultDynamic, VaultKv2
from proxy.sources.answers import JsonObject, json_object, seconds_of, shown, text_of
from proxy.sources.steps import HttpReply

# The longest credentials are key files of a few KiB (as for mounted secrets).
MAX_PART_BYTES: Final = 65_536
_IS_TOKEN: Final = re.compile(r"[\x21-\x7e]+").fullmatch
# Engines whose secrets have no lease say in the data itself how long they last: `database/static-creds` and
# `identity/oidc/token` count seconds from now; `gcp/…/token` and `pki/issue` name the moment.
_SPANS: Final = ("ttl", "token_ttl")
_MOMENTS: Final = ("expires_at_seconds", "expiration")


class Login(Struct, frozen=True):
    token: Secret
    lifetime: timedelta
    renewable: bool


class Given(Struct, frozen=True):
    """A secret. Without a lease it does not depend on the token that it was read with."""

    parts: dict[Part, Secret]
    lifetime: timedelta
    lease_id: str = ""
    renewable: bool = False


def login_of(reply: HttpReply) -> Login | str:
    found = json_object(reply)
    auth = _object(found, "auth")
    if auth is None:
        return _wrapped(found) or "is not that of a login (it has no `auth`)"
    token = text_of(auth, "client_token")
    if not _IS_TOKEN(token):
        return "holds no client token (a login that asks for a second factor cannot be used)"
    lifetime = seconds_of(auth, "lease_duration")
    if lifetime is None:
        # Only root tokens live for ever, and no login gives one.
        return "does not say how long the token lives (`lease_duration`)"
    return Login(Secret(token.encode()), timedelta(seconds=lifetime), auth.get("renewable") is True)


def secret_of(reply: HttpReply, read: VaultKv2 | VaultDynamic, login: Login, now: datetime) -> Given | str:
    found = json_object(reply)
    if found is None:
        return "is no JSON object"
    if wrapped := _wrapped(found):
        return wrapped
    data = _object(found, "data")
    if isinstance(read, VaultKv2):
        data = _object(data, "data")
        if data is None:
            return "is not that of the key-value engine, version 2: correct `mount`, or read it as `dynamic`"
    if data is None:
        return "holds no data"
    parts = _parts(data, read.fields)
    if isinstance(parts, str):
        return parts
    if isinstance(read, VaultKv2):
        return Given(parts, read.max_age)
    lease_id = text_of(found, "lease_id")
    if not lease_id:
        left = _told(data, now)
        return Given(parts, left) if left > timedelta() else "holds a secret that has expired already"
    lifetime = seconds_of(found, "lease_duration")
    if lifetime is None or not lease_id.isprintable():
        return "has a lease that cannot be kept (`lease_id`, `lease_duration`)"
    # When the login's token ends, Vault revokes every lease that it was used for.
    ends = min(timedelta(seconds=lifetime), login.lifetime)
    return Given(parts, ends, lease_id, found.get("renewable") is True and login.renewable)


def deleted(reply: HttpReply) -> str:
    """What the 404 of a version that is no more says of it (KV version 2); empty if it is another 404."""
    metadata = _object(_object(json_object(reply), "data"), "metadata")
    if metadata is None:
        return ""
    number = metadata.get("version")
    version = f"version {number}" if isinstance(number, int) else "this version"
    if metadata.get("destroyed") is True:
        return f"{version} was destroyed: write a new version"
    when = shown(text_of(metadata, "deletion_time"))
    return f"{version} was deleted{f' at {when}' if when else ''}: undelete it, or write a new version"


def extended(reply: HttpReply, within: str, asked: timedelta) -> timedelta | str:
    """How much longer something lasts: as long as was asked for, or else its end is near (`max_ttl`)."""
    found = _object(json_object(reply), within)
    given = None if found is None else seconds_of(found, "lease_duration")
    if given is None:
        return "does not say how long it lasts now (`lease_duration`)"
    if given < asked.total_seconds():
        wanted = f"{asked.total_seconds():.0f} s were asked for"
        return f"lasts {given:.0f} s where {wanted}: its `max_ttl` is near"
    return timedelta(seconds=given)


def _wrapped(found: JsonObject | None) -> str:
    if found is None or found.get("wrap_info") is None:
        return ""
    return "is wrapped: leave response wrapping (`min_wrapping_ttl`) out of the role's policies"


def _object(found: JsonObject | None, key: str) -> JsonObject | None:
    """The object below `key`; with an empty key, the object itself."""
    value = found if found is None or not key else found.get(key)
    return value if isinstance(value, dict) else None


def _parts(data: JsonObject, fields: tuple[tuple[Part, str], ...]) -> dict[Part, Secret] | str:
    parts: dict[Part, Secret] = {}
    for part, key in fields:
        if key not in data:
            return f"lacks the key `{key}`: correct `fields`"
        value = data[key]
        if not isinstance(value, str):
            return f"holds no text under `{key}`"
        # The one line break that `vault kv put key=@file` keeps; as for mounted secrets.
        if value.endswith("\n"):
            value = value.removesuffix("\n").removesuffix("\r")
        if not value.strip():
            return f"holds nothing under `{key}`"
        try:
            secret = value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
            return f"holds no text under `{key}`"
        if len(secret) > MAX_PART_BYTES:
            return f"holds more than {MAX_PART_BYTES} bytes under `{key}`"
        parts[part] = Secret(secret)
    return parts


def _told(data: JsonObject, now: datetime) -> timedelta:
    """How long a secret without a lease lasts, if its data says so; else it is read again, as those of KV."""
    spans = [timedelta(seconds=left) for key in _SPANS if (left := seconds_of(data, key)) is not None]
    spans += [
        datetime.fromtimestamp(moment, UTC) - now
        for key in _MOMENTS
        if (moment := seconds_of(data, key)) is not None
    ]
    return min(spans, default=KV_MAX_AGE)
