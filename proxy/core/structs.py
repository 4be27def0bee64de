"""What nearly all of our values are: a class with typed fields, made by C.

A dataclass compiles its methods anew at each start: a third of a millisecond for each of hundreds. What needs
fields that are not compared, or a dictionary to be copied from, is one all the same (docs/adr/0021).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field, json, structs, to_builtins
from msgspec.structs import astuple, fields

__all__ = ["Struct", "astuple", "field", "fields", "from_json", "hiding", "replace", "to_builtins", "to_json"]


def replace[Value](value: Value, /, **changes: Any) -> Value:  # noqa: ANN401 - each field has its type
    """The same with other values: of a Struct, and of a dataclass."""
    if isinstance(value, Struct):
        return structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def to_json(value: object) -> bytes:
    """As a file to be looked at: the same value gives the same text."""
    return json.format(json.encode(value, order="deterministic"), indent=1) + b"\n"


def from_json[Value](data: bytes, kind: type[Value]) -> Value:
    """What `to_json` wrote of a value of this type; raises ValueError for anything else."""
    return json.decode(data, type=kind)


def hiding(*names: str) -> Callable[[Any], str]:
    """For `__repr__`: all fields but these, which hold what is not to be printed."""

    def shown(value: Struct) -> str:
        cls = type(value)
        fields = (f"{name}={getattr(value, name)!r}" for name in cls.__struct_fields__ if name not in names)
        return f"{cls.__qualname__}({', '.join(fields)})"

    return shown
