"""What a reader answers when it has no value: it needs more bytes, or no bytes will help."""

from enum import Enum
from typing import Final

from proxy.core.structs import Struct


class NeedMore(Struct, frozen=True):
    """All bytes so far fit, and the end is not among them."""


NEED_MORE: Final = NeedMore()


class HeadFault(Enum):
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"


class BadHead(Struct, frozen=True):
    """`detail` is for people. It names the rule and may quote a field's name, never a value: that may be a
    secret."""

    fault: HeadFault
    detail: str


def malformed(detail: str) -> BadHead:
    return BadHead(HeadFault.MALFORMED, detail)


def too_large(detail: str) -> BadHead:
    return BadHead(HeadFault.TOO_LARGE, detail)
