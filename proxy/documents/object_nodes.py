"""Objects as the API server sends them, as node trees: the same shapes read them and say the same.

JSON says of each value what it is, so text is never taken for something else; numbers and booleans stand
there as YAML has them without quotes. There are no lines.
"""

from collections.abc import Iterator
from typing import Final

from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import (
    MAX_DEPTH,
    MAX_DOCUMENT_NODES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
)

# What `json.loads` makes of an object.
type Json = dict[str, Json] | list[Json] | str | int | float | bool | None

_NOWHERE: Final = 0


def object_node(value: Json, name: str) -> Node | Problem:
    """The tree of one object, or why it is none. Without recursion: depth is somebody else's choice."""
    root = SequenceNode("", _NOWHERE)
    # Collections whose children are still to be made, with their depth.
    open_nodes: list[tuple[SequenceNode | MappingNode, dict[str, Json] | list[Json], int]] = [
        (root, [value], 0)
    ]
    count = 0
    while open_nodes:
        parent, content, depth = open_nodes.pop()
        for key, child in _children(content):
            count += 1 if key is None else 2
            if count > MAX_DOCUMENT_NODES:
                message = f"the object has more than {MAX_DOCUMENT_NODES:,} nodes"
                return Problem(name, _NOWHERE, "", message, "split it", ProblemCode.TOO_MANY_NODES)
            node: Node
            match child:
                case dict() | list() if depth == MAX_DEPTH:
                    message = f"the object is nested more than {MAX_DEPTH} levels deep"
                    return Problem(name, _NOWHERE, "", message, "write it flat", ProblemCode.TOO_DEEP)
                case dict():
                    node = MappingNode("", _NOWHERE)
                    open_nodes.append((node, child, depth + 1))
                case list():
                    node = SequenceNode("", _NOWHERE)
                    open_nodes.append((node, child, depth + 1))
                case _:
                    node = _scalar(child)
            if not (_is_unicode(key) and _is_unicode(child)):
                message, fix = "a text in it is not Unicode", "write it as UTF-8"
                return Problem(name, _NOWHERE, "", message, fix, ProblemCode.NOT_UTF8)
            if isinstance(parent, MappingNode):
                parent.value.append((_text(key or ""), node))
            else:
                parent.value.append(node)
    return root.value[0]


def _children(content: dict[str, Json] | list[Json]) -> Iterator[tuple[str | None, Json]]:
    if isinstance(content, dict):
        yield from content.items()
    else:
        yield from ((None, item) for item in content)


def _text(value: str) -> ScalarNode:
    return ScalarNode(value, plain=False, tag="", line=_NOWHERE)


def _scalar(value: str | float | bool | None) -> ScalarNode:  # noqa: FBT001 - JSON's values
    if isinstance(value, str):
        return _text(value)
    if value is None:
        written = "null"
    elif isinstance(value, bool):
        written = "true" if value else "false"
    else:
        # Infinity and NaN, which JSON lacks and Python reads, as YAML writes them: numbers all the same.
        written = str(value).replace("inf", ".inf").replace("nan", ".nan")
    return ScalarNode(written, plain=True, tag="", line=_NOWHERE)


def _is_unicode(value: object) -> bool:
    """JSON can write half a surrogate pair, which no YAML, log or answer could hold."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
