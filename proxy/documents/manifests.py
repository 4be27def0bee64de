"""Objects of Kubernetes from YAML, as kubectl reads them: not our documents, and none of our shapes.

kubectl reads with a fork of go-yaml's second version (sigs.k8s.io/yaml), and so YAML 1.1: `yes` is true,
`0644` is 420, `<<` merges. Where it drops one of two equal keys, this says so.
"""

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final

from proxy.core.structs import Struct
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, is_plain, read_nodes

_TAG: Final = "tag:yaml.org,2002:"
# What says nothing that the node does not say itself. `!` is "no tag, and do not guess": text.
_TEXT_TAGS: Final = frozenset({"!", f"{_TAG}str"})
_PLAIN_TAGS: Final = frozenset({"", f"{_TAG}map", f"{_TAG}seq"})

# The tables and the pattern of go-yaml's resolve.go.
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)").fullmatch
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)").fullmatch
_OTHER_BASE: Final = re.compile(
    r"(?P<sign>[-+]?)0(?:b(?P<two>[01]+)|o?(?P<eight>[0-7]+)|[xX](?P<sixteen>[0-9a-fA-F]+))"
).fullmatch
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?").fullmatch
# Go's integers have 64 bits; what is longer is a float to it.
_INTEGERS: Final = range(-(2**63), 2**64)
_LONGEST_INTEGER: Final = 66


class Manifest(Struct, frozen=True):
    """One object, and where it begins."""

    value: dict[str, Any]
    file: str
    line: int


def read_manifests(data: bytes, file: str) -> tuple[list[Manifest], list[Problem]]:
    """All objects of one file, those of its Lists one by one, and what is wrong with the others."""
    nodes, problems = read_nodes(data, file)
    found: list[Manifest] = []
    for node in nodes:
        try:
            found.extend(_objects(node, file))
        except _NotAnObjectError as fault:
            problems.append(Problem(file, fault.line, "", fault.message, fault.fix, fault.code))
    return found, problems


class _NotAnObjectError(Exception):
    def __init__(self, node: Node, message: str, fix: str, code: ProblemCode) -> None:
        super().__init__(message)
        self.line = node.line
        self.message = message
        self.fix = fix
        self.code = code


def _objects(node: Node, file: str) -> Iterator[Manifest]:
    if not isinstance(node, MappingNode):
        message = "an object is a mapping with `apiVersion`, `kind`, `metadata` and `spec`"
        raise _NotAnObjectError(
            node, message, "separate objects with a line of `---`", ProblemCode.WRONG_TYPE
        )
    items = next((value for key, value in node.value if _is_text(key, "items")), None)
    if isinstance(items, SequenceNode) and any(
        _is_text(key, "kind") and isinstance(value, ScalarNode) and value.value.endswith("List")
        for key, value in node.value
    ):
        for item in items.value:
            yield from _objects(item, file)
    else:
        yield Manifest(_mapping(node), file, node.line)


def _is_text(node: Node, text: str) -> bool:
    return isinstance(node, ScalarNode) and node.value == text


def _value(node: Node) -> Any:  # noqa: ANN401 - what JSON has
    """As deep as a node tree may be, and no deeper."""
    if isinstance(node, ScalarNode) and node.tag in _TEXT_TAGS:
        return node.value
    if node.tag not in _PLAIN_TAGS:
        message = f"the YAML tag `{node.tag}` is not supported"
        raise _NotAnObjectError(node, message, "remove the tag", ProblemCode.YAML_TAG)
    if isinstance(node, MappingNode):
        return _mapping(node)
    if isinstance(node, SequenceNode):
        return [_value(item) for item in node.value]
    return _scalar(node) if node.plain else node.value


def _mapping(node: MappingNode) -> dict[str, Any]:
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, value in node.value:
        if is_plain(key) and _is_text(key, "<<"):
            for other in reversed(value.value if isinstance(value, SequenceNode) else [value]):
                if not isinstance(other, MappingNode):
                    message, fix = "`<<` merges mappings", "name the anchor of a mapping"
                    raise _NotAnObjectError(key, message, fix, ProblemCode.MERGE_KEY)
                merged |= _mapping(other)
            continue
        name = _key(key)
        if name in own:
            message = f"the key `{name}` stands twice"
            raise _NotAnObjectError(key, message, "remove one of the two", ProblemCode.DUPLICATE_KEY)
        own[name] = _value(value)
    return merged | own if merged else own


def _key(node: Node) -> str:
    """JSON's keys are text; numbers and booleans become it, as they would be written in JSON."""
    value = _value(node)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise _NotAnObjectError(node, "a key is a text", "write it in quotes", ProblemCode.WRONG_TYPE)


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    """What go-yaml makes of a text without quotes. Dates stay text there, and so here."""
    text = node.value
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    digits = text.replace("_", "")
    if (whole := _integer(digits)) is not None:
        return whole
    number = float(digits) if _FLOAT(digits) else None
    if _NOT_FINITE(text) or (number is not None and not isfinite(number)):
        message, fix = f"JSON has no number for `{text}`", "write it in quotes, if it is a text"
        raise _NotAnObjectError(node, message, fix, ProblemCode.BAD_VALUE)
    if number is None:
        return text
    # `1e3` is 1000 in the JSON that kubectl makes of it.
    return int(number) if number.is_integer() and int(number) in _INTEGERS else number


def _integer(digits: str) -> int | None:
    if len(digits) > _LONGEST_INTEGER:
        return None
    if _DECIMAL(digits):
        number = int(digits)
    elif found := _OTHER_BASE(digits):
        bases = (("two", 2), ("eight", 8), ("sixteen", 16))
        number = next(int(found["sign"] + found[name], base) for name, base in bases if found[name])
    else:
        return None
    return number if number in _INTEGERS else None
