"""JSON as one reader would have it: what two readers could take for two things is refused."""

import json
from collections.abc import Mapping
from typing import Any

from proxy.core.structs import Struct

JsonObject = Mapping[str, Any]


class NotJson(Struct, frozen=True):
    """What keeps bytes from being a JSON object: the end of a sentence about them, without one of them."""

    message: str


def read_object(data: bytes) -> JsonObject | NotJson:
    try:
        # Decoded here: `json` would guess UTF-16 and UTF-32 as well.
        read = json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_no_number)
    except UnicodeDecodeError:
        return NotJson("is not UTF-8")
    except RecursionError:
        return NotJson("is nested too deeply")
    except _TwiceError:
        return NotJson("has a member twice")
    except ValueError:
        return NotJson("is not JSON")
    return read if isinstance(read, dict) else NotJson("is not a JSON object")


class _TwiceError(ValueError):
    """Readers differ on which of two members counts (RFC 8259 §4); a signed token may be refused for it
    (RFC 7515 §4, RFC 7519 §4)."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _TwiceError
    return members


def _no_number(_: str) -> float:
    """Python reads NaN and Infinity, which JSON has not (RFC 8259 §6)."""
    raise ValueError
