"""A host and a port, as `Host`, `:authority` and CONNECT write them."""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

# A name has 253 characters at most, and a port five behind its colon: what is longer is read, and forgotten.
MAX_REMEMBERED: Final = 259

# RFC 3986 §3.2.2, less the percent-escapes and sub-delimiters that a reg-name may hold: no name has them, and
# servers differ in what `a%2eb` and `a,b` are. Userinfo is refused with them (RFC 9110 §4.2.4).
_AUTHORITY = re.compile(
    r"(?:(?P<name>[A-Za-z0-9._~-]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
).fullmatch


class Authority(NamedTuple):
    """`host` is in lower case; an IPv6 address stands without its brackets. It is not judged as a name."""

    host: str
    port: int | None


def read_authority(text: str) -> Authority | None:
    """None where it is malformed. An empty port (`host:`) is: nobody sends one."""
    return _remembered(text) if len(text) <= MAX_REMEMBERED else _read(text)


def _read(text: str) -> Authority | None:
    found = _AUTHORITY(text)
    if found is None or not _is_address(found["address"]):
        return None
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= 65_535:
        return None
    return Authority((found["name"] or found["address"]).lower(), port)


# An application talks to a handful of hosts, and each is read several times per request.
_remembered = lru_cache(maxsize=256)(_read)


def _is_address(text: str | None) -> bool:
    if text is None:
        return True
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
