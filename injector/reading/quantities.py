"""Kubernetes quantities (`250m`, `1.5Gi`, `1e9`) as exact whole numbers of a billionth.

The grammar and the rounding are apimachinery's (`pkg/api/resource/quantity.go`): whatever the API server
takes is read alike here. A billionth is the finest it knows; what is finer is rounded away from zero.
"""

import re
from functools import lru_cache
from typing import Final

# A number of 19 digits, a point, 9 more, a sign and a suffix is all that the API server itself ever writes.
MAX_QUANTITY_LENGTH: Final = 64
# apimachinery caps every quantity at the greatest int64.
_MOST: Final = 2**63 - 1
# 10**19 is above that cap already, and below 10**-9 everything is rounded up: a greater exponent says nothing
# more about a number of 64 characters, and would cost a number of as many digits.
_MAX_EXPONENT: Final = 2 * MAX_QUANTITY_LENGTH
_NANO: Final = 10**9
_MILLIONTH_OF_UNIT: Final = 10**6

_FORM: Final = re.compile(
    r"([+-]?)(?=\.?[0-9])([0-9]*)\.?([0-9]*)(?:([numkMGTPE]?|[KMGTPE]i)|[eE]([+-]?[0-9]+))", re.ASCII
).fullmatch
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


_FAULT: Final = "not a quantity such as `500m`, `2` or `1.5Gi`"


class QuantityFault(Exception):  # noqa: N818 - a fault in a value, not an error of the program
    """The text is no quantity."""


def read_quantity(text: str) -> int:
    """The quantity in billionths of its unit; at most the greatest int64 of whole units."""
    if len(text) > MAX_QUANTITY_LENGTH:
        raise QuantityFault(_FAULT)
    return _read(text)


@lru_cache(maxsize=1024)  # pods of a cluster ask for the same few
def _read(text: str) -> int:
    found = _FORM(text)
    if found is None:
        raise QuantityFault(_FAULT)
    sign, whole, fraction, suffix, power = found.groups()
    digits = int(whole + fraction)
    if suffix in _BINARY:
        exponent, digits = 0, digits << _BINARY[suffix]
    elif suffix is not None:
        exponent = _DECIMAL[suffix]
    else:
        exponent = max(-_MAX_EXPONENT, min(_MAX_EXPONENT, int(power)))
    nanos = min(_scaled(digits, exponent - len(fraction) + 9), _MOST * _NANO)
    return -nanos if sign == "-" else nanos


def _scaled(digits: int, exponent: int) -> int:
    power: int = 10 ** abs(exponent)
    return digits * power if exponent >= 0 else -(-digits // power)


def thousandths(nanos: int) -> int:
    """CPU as Kubernetes counts it (`ScaledValue(Milli)`): rounded up."""
    return -(-nanos // _MILLIONTH_OF_UNIT)


def whole_units(nanos: int) -> int:
    """Bytes, devices (`Value()`): rounded up."""
    return -(-nanos // _NANO)
