"""The claims of a service-account token, as the API server writes them (Kubernetes 1.30 and newer)."""

from datetime import UTC, datetime, timedelta
from typing import Final

from proxy.core.structs import Struct
from proxy.tokens.strict_json import JsonObject, NotJson, read_object

# The one claim that is Kubernetes' own (KEP-1205).
_KUBERNETES: Final = "kubernetes.io"
# A time in milliseconds would lie in the year 58000, and a `datetime` ends in 9999.
_LATEST: Final = int(datetime(3000, 1, 1, tzinfo=UTC).timestamp())
# The longest that Kubernetes makes by itself is a year: the default token, which the kubelet still renews
# each hour. What claims to live longer was not asked for by a kubelet.
MAX_LIFETIME: Final = timedelta(days=366)


class BoundPod(Struct, frozen=True):
    name: str
    uid: str


class Claims(Struct, frozen=True):
    issuer: str
    audiences: tuple[str, ...]
    subject: str
    token_id: str
    issued: datetime
    not_before: datetime
    expires: datetime
    # Empty in a token that Kubernetes binds to nothing.
    namespace: str
    service_account: str
    pod: BoundPod | None
    node: str


class ClaimsFault(Struct, frozen=True):
    """Which claim is wrong and how, as the end of a sentence about the token."""

    message: str


def read_claims(payload: bytes) -> Claims | ClaimsFault:
    read = read_object(payload)
    if isinstance(read, NotJson):
        return ClaimsFault(f"has claims that cannot be read (the text {read.message})")
    try:
        return _claims(read)
    except _ClaimError as error:
        return ClaimsFault(str(error))


class _ClaimError(Exception):
    """A claim is missing, or is not of the type that it has in every token of Kubernetes."""


def _claims(read: JsonObject) -> Claims:
    issued, expires = _time(read, "iat"), _time(read, "exp")
    if not issued < expires <= issued + MAX_LIFETIME:
        raise _ClaimError(f"lives from {issued:%Y-%m-%d %H:%M:%S} to {expires:%Y-%m-%d %H:%M:%S} UTC")
    kubernetes = _object(read, _KUBERNETES)
    account = _object(kubernetes, "serviceaccount", _KUBERNETES)
    pod = _object(kubernetes, "pod", _KUBERNETES)
    node = _object(kubernetes, "node", _KUBERNETES)
    return Claims(
        issuer=_text(read, "iss"),
        audiences=_audiences(read),
        subject=_text(read, "sub"),
        token_id=_text(read, "jti"),
        issued=issued,
        not_before=_time(read, "nbf") if "nbf" in read else issued,
        expires=expires,
        namespace=_text(kubernetes, "namespace", _KUBERNETES) if kubernetes else "",
        service_account=_text(account, "name", f"{_KUBERNETES}.serviceaccount") if kubernetes else "",
        pod=BoundPod(*(_text(pod, name, f"{_KUBERNETES}.pod") for name in ("name", "uid"))) if pod else None,
        node=_text(node, "name", f"{_KUBERNETES}.node") if node else "",
    )


def _text(read: JsonObject, name: str, within: str = "") -> str:
    """Printable: it goes into audit records and logs, and no name of Kubernetes is anything else."""
    value = read.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _wrong(_path(name, within), value, "printable text")
    return value


def _object(read: JsonObject, name: str, within: str = "") -> JsonObject:
    value = read.get(name, {})
    if not isinstance(value, dict):
        raise _wrong(_path(name, within), value, "an object")
    return value


def _path(name: str, within: str) -> str:
    return f"{within}.{name}" if within else name


def _time(read: JsonObject, name: str) -> datetime:
    """RFC 7519 §2, NumericDate. In Python `true` is a number as well, and an integer may be of any size."""
    value = read.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise _wrong(name, value, "a time in seconds since 1970")
    return datetime.fromtimestamp(value, UTC)


def _audiences(read: JsonObject) -> tuple[str, ...]:
    """RFC 7519 §4.1.3: a list, or one text. Kubernetes writes a list, with one entry, too."""
    value = read.get("aud")
    audiences = [value] if isinstance(value, str) else value
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        raise _wrong("aud", value, "text or a list of texts")
    return tuple(audiences)


def _wrong(name: str, value: object, wanted: str) -> _ClaimError:
    return _ClaimError(
        f"has no claim `{name}`" if value is None else f"has a claim `{name}` that is not {wanted}"
    )
