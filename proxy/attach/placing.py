"""Where a credential goes on one request, and in which form; or why it cannot go onto any."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final, assert_never
from urllib.parse import quote_from_bytes

from proxy.core.credentials import AttachScheme, Basic, Bearer, EcrToken, Header, QueryParameter, SigV4
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import Struct

# Tokens with many claims reach some 12 KiB. Servers stop at 8 to 32 KiB for a whole head, so what is longer
# is a file that was mounted by mistake.
MAX_CREDENTIAL_BYTES: Final = 16_384

# Lower case is what HTTP/2 wants (RFC 9113 §8.2.1) and HTTP/1.1 does not mind.
AUTHORIZATION: Final = "authorization"

_NOT_VISIBLE: Final = re.compile(rb"[^\x21-\x7e]")
# RFC 7617 §2: neither the user name nor the password holds a control character.
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")

_NAMES: Final[Mapping[Part, str]] = {
    Part.TOKEN: "token",
    Part.USERNAME: "user name",
    Part.PASSWORD: "password",
    Part.ACCESS_KEY_ID: "access key id",
    Part.SECRET_ACCESS_KEY: "secret access key",
    Part.SESSION_TOKEN: "session token",
}

Parts = Mapping[Part, Secret]


class Placement(Struct, frozen=True):
    """What is added to the request, as it stands on the wire: the values in `query` are percent-encoded.

    `secrets` is what no response may show. A user name is not among them: it is no secret (RFC 7617 §4), and
    to blot out every `admin` would damage answers.
    """

    headers: tuple[tuple[str, Secret], ...] = ()
    query: tuple[tuple[str, Secret], ...] = ()
    secrets: tuple[Secret, ...] = ()


class Unplaceable(Struct, frozen=True):
    """Why not: one clause that names the part and the problem, and shows nothing of the value."""

    why: str


def place(scheme: AttachScheme, parts: Parts) -> Placement | Unplaceable:
    match scheme:
        case Bearer():
            return _header(AUTHORIZATION, "Bearer ", parts)
        case Basic(username=username):
            return _basic(username, parts)
        case EcrToken():
            return _basic(None, parts)
        case Header(name=name, prefix=prefix):
            return _header(name.lower(), prefix, parts)
        case QueryParameter(name=name):
            return _query(name, parts)
        case SigV4():
            return Unplaceable("a signature is made over the whole request, and is not put onto it by itself")
        case _:
            assert_never(scheme)


def _header(name: str, prefix: str, parts: Parts) -> Placement | Unplaceable:
    token = _part(parts, Part.TOKEN, _visible)
    if isinstance(token, Unplaceable):
        return token
    return Placement(headers=((name, Secret(prefix.encode() + token)),), secrets=(Secret(token),))


def _query(name: str, parts: Parts) -> Placement | Unplaceable:
    token = _part(parts, Part.TOKEN, _visible)
    if isinstance(token, Unplaceable):
        return token
    value = quote_from_bytes(token, safe="").encode()
    return Placement(query=((name, Secret(value)),), secrets=(Secret(token),))


def _basic(fixed: str | None, parts: Parts) -> Placement | Unplaceable:
    """RFC 7617 §2: `user:password` in UTF-8 and base64. A fixed user name may be empty."""
    if fixed is None:
        user = _part(parts, Part.USERNAME, _user_name)
        password = _part(parts, Part.PASSWORD, _basic_text)
    else:
        name = fixed.encode("utf-8", "surrogatepass")
        fault = _user_name(name)
        user = Unplaceable(f"the fixed user name {fault}") if fault else name
        password = _part(parts, Part.TOKEN, _basic_text)
    if isinstance(user, Unplaceable):
        return user
    if isinstance(password, Unplaceable):
        return password
    composed = b64encode(user + b":" + password)
    return Placement(
        headers=((AUTHORIZATION, Secret(b"Basic " + composed)),),
        secrets=(Secret(password), Secret(composed)),
    )


def _part(parts: Parts, part: Part, fault_of: Callable[[bytes], str | None]) -> bytes | Unplaceable:
    """The bytes of a part, when they can go onto a request."""
    secret = parts.get(part)
    if secret is None:
        return Unplaceable(f"the credential has no {_NAMES[part]}")
    value = secret.reveal()
    fault = _size_fault(value) or _line_fault(value) or fault_of(value)
    return Unplaceable(f"the {_NAMES[part]} {fault}") if fault else value


# Each fault is the rest of a sentence that begins with the part's name.


def _size_fault(value: bytes) -> str | None:
    if not value:
        return "is empty"
    if len(value) > MAX_CREDENTIAL_BYTES:
        return f"is longer than {MAX_CREDENTIAL_BYTES} bytes, which no server takes"
    return None


def _line_fault(value: bytes) -> str | None:
    if value.endswith((b"\n", b"\r")):
        return "ends with a line break; write the secret without one"
    if b"\n" in value or b"\r" in value:
        return "holds a line break; write one value into the secret, not a file of several lines"
    return None


def _visible(value: bytes) -> str | None:
    found = _NOT_VISIBLE.search(value)
    if found is None:
        return None
    if found[0] == b" ":
        return "holds a space; write the value alone, without a word before it or a space around it"
    return "holds bytes other than visible ASCII, which the service could not read"


def _basic_text(value: bytes) -> str | None:
    if _CONTROL.search(value):
        return "holds a control character, which Basic authentication does not allow (RFC 7617)"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return None


def _user_name(value: bytes) -> str | None:
    if b":" in value:
        return "holds a colon, which ends a user name in Basic authentication (RFC 7617)"
    return _basic_text(value)
