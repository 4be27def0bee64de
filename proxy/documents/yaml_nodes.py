"""The doorman of PyYAML: bytes become node trees with lines, and nothing is resolved behind our back.

YAML 1.1 would read `no` as a boolean and `1e3` as a number before we could object, so nodes keep their
text and their style, and the shapes say what they expect. libyaml does the scanning.
"""

import re
from collections.abc import Iterator
from typing import Final

import yaml
from yaml._yaml import CParser
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import BaseResolver

from proxy.documents.problems import Problem, ProblemCode

__all__ = [
    "MappingNode",
    "Node",
    "ScalarNode",
    "SequenceNode",
    "is_plain",
    "line_of",
    "read_nodes",
    "write_documents",
]

# A policy folder of 10,000 documents is some 5 MB in some dozens of files; one file of 1 MiB holds
# 2,000 documents. The API server's own limit for one object is 1.5 MiB.
MAX_FILE_BYTES: Final = 1 << 20
# The largest sensible document has a few hundred nodes. An anchor that is used often multiplies nodes
# without bytes ("billion laughs"), so they are counted as they would be walked.
MAX_DOCUMENT_NODES: Final = 20_000
MAX_DEPTH: Final = 64

# libyaml's composer calls itself for every level and takes the process down when the stack ends, at some
# ten thousand levels. A document nests no deeper than it has opening brackets, or than the indicators and
# spaces that lead one of its lines reach; only beyond this number are the levels counted one by one.
_SURELY_SHALLOW: Final = 1000
_LONG_INDENT = re.compile(rb"^[ \t?:-]{%d}" % _SURELY_SHALLOW, re.MULTILINE)


class _Reader(CParser, BaseResolver):
    def __init__(self, data: bytes) -> None:
        CParser.__init__(self, data)
        BaseResolver.__init__(self)

    # The parser calls these for every node; the regular expressions of YAML 1.1 are what we avoid.
    def resolve(self, kind: object, value: object, implicit: object) -> str:  # noqa: ARG002
        return ""

    def descend_resolver(self, current_node: object, current_index: object) -> None: ...
    def ascend_resolver(self) -> None: ...


def is_plain(node: Node) -> bool:
    """Written without quotes, and not as a block: what YAML 1.1 would interpret."""
    return isinstance(node, ScalarNode) and not node.style


def line_of(node: Node) -> int:
    mark = node.start_mark
    return 0 if mark is None else mark.line + 1


def read_nodes(data: bytes, file: str) -> tuple[list[Node], list[Problem]]:
    """The documents of one file that could be read, and the problems of the others."""
    if len(data) > MAX_FILE_BYTES:
        size = f"the file has {len(data):,} bytes; the limit is {MAX_FILE_BYTES:,}"
        return [], [Problem(file, 0, "", size, "split the file", ProblemCode.TOO_LARGE)]
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fix = "save the file as UTF-8"
        return [], [Problem(file, line, "", "the file is not UTF-8", fix, ProblemCode.NOT_UTF8)]
    nodes: list[Node] = []
    problems: list[Problem] = []
    try:
        if _may_be_deep(data) and (line := _too_deep_at(data)):
            return [], [_nested(file, line)]
        for node in _documents(data):
            problem = _outsize(node, file)
            if problem:
                problems.append(problem)
            elif not (isinstance(node, ScalarNode) and not node.value):  # `---` alone: nothing
                nodes.append(node)
    except yaml.YAMLError as error:
        problems.append(_syntax(error, file))
    return nodes, problems


def _documents(data: bytes) -> Iterator[Node]:
    reader = _Reader(data)
    try:
        while reader.check_node():
            node = reader.get_node()
            if node is not None:
                yield node
    finally:
        reader.dispose()


def _may_be_deep(data: bytes) -> bool:
    brackets = (part.count(b"[") + part.count(b"{") for part in data.split(b"\n---"))
    return max(brackets) > _SURELY_SHALLOW or _LONG_INDENT.search(data) is not None


def _too_deep_at(data: bytes) -> int:
    """The line where the levels become too many, counted without recursion; 0 where they do not."""
    reader = _Reader(data)
    depth = 0
    try:
        while (event := reader.get_event()) is not None:
            if isinstance(event, CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return (event.start_mark.line if event.start_mark else 0) + 1
            elif isinstance(event, CollectionEndEvent):
                depth -= 1
        return 0
    finally:
        reader.dispose()


def _nested(file: str, line: int) -> Problem:
    text = f"the document is nested more than {MAX_DEPTH} levels deep, or an anchor holds itself"
    return Problem(file, line, "", text, "write it out flat", ProblemCode.TOO_DEEP)


def _syntax(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 0
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    if "undefined alias" in text:
        fix = "define the anchor (`&name`) earlier in the same document"
    elif "tab" in text or "cannot start any token" in text:
        fix = "indent with spaces, and quote values that begin with a special character"
    else:
        fix = "check indentation, quotes and brackets at and above this line"
    return Problem(file, line, "", f"not valid YAML: {text}", fix, ProblemCode.YAML_SYNTAX)


def _outsize(document: Node, file: str) -> Problem | None:
    """A document that is too large or too deep to walk, counting what anchors multiply."""
    count = 0
    stack: list[tuple[Node, int]] = [(document, 0)]
    line = line_of(document)
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH:
            return _nested(file, line)
        if count > MAX_DOCUMENT_NODES:
            text = f"the document expands to more than {MAX_DOCUMENT_NODES:,} nodes through its anchors"
            fix = "write the document out without anchors, or split it"
            return Problem(file, line, "", text, fix, ProblemCode.TOO_MANY_NODES)
        if isinstance(node, MappingNode):
            for key, value in node.value:
                stack.append((key, depth + 1))
                stack.append((value, depth + 1))
        elif isinstance(node, SequenceNode):
            stack.extend((item, depth + 1) for item in node.value)
    return None


def write_documents(documents: list[dict[str, object]]) -> str:
    """YAML text; what YAML 1.1 would misread is quoted."""
    return yaml.dump_all(documents, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
