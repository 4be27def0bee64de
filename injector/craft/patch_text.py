"""A patch as the text that goes to the API server.

Two thirds of it are the same in every pod of a namespace: what is kept between pods keeps its text, too.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, final

from injector.craft.jsonpatch import Op, Operation, pointer
from injector.reading.reviews import json_text


@final
class Prepared(dict[str, Any]):
    """An object that goes into many patches, and is never changed."""

    @cached_property
    def text(self) -> str:
        return json_text(self)


def patch_text(operations: Iterable[Operation]) -> str:
    return f"[{','.join(map(_operation, operations))}]"


def _operation(operation: Operation) -> str:
    start = f'{{"op":"{operation.op.value}","path":{json_text(pointer(operation.path))}'
    return f"{start}}}" if operation.op is Op.REMOVE else f'{start},"value":{_value(operation.value)}}}'


def _value(value: object) -> str:
    if type(value) is Prepared:
        return value.text
    if type(value) is list:
        return f"[{','.join(map(_value, value))}]"
    return json_text(value)
