"""The doorman of PyYAML: bytes become node trees with lines, and nothing is resolved behind our back.

YAML 1.1 would read `no` as a boolean and `1e3` as a number before we could object, so nodes keep their
text and their style, and the shapes say what they expect. libyaml scans and parses; the trees are built
here from its events, without recursion: its own composer calls itself for every level and takes the process
down when the stack ends, and it builds all of a document before anybody can count its nodes.
"""

import re
from collections.abc import Iterator
from typing import Final

import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from yaml.nodes import ScalarNode as ScalarYaml

from proxy.core.structs import Struct, field
from proxy.documents.problems import Problem, ProblemCode

# A policy folder of 10,000 documents is some 5 MB in some dozens of files; one file of 1 MiB holds
# 2,000 documents. The API server's own limit for one object is 1.5 MiB.
MAX_FILE_BYTES: Final = 1 << 20
# The largest sensible document has a few hundred nodes. An anchor that is used often multiplies nodes
# without bytes ("billion laughs"), so they are counted as they would be walked.
MAX_DOCUMENT_NODES: Final = 20_000
MAX_DEPTH: Final = 64


# What YAML 1.1 takes for something else than text when it stands without quotes. Kubernetes reads YAML 1.1,
# so a document that means one thing here and another in a cluster is refused.
_NULL = re.compile(r"~|null|Null|NULL|").fullmatch
_BOOLEAN = re.compile(
    r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"
).fullmatch
_NUMBER = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*(?::[0-5]?[0-9])*(?:\.[0-9_]*)?"
    r"(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
).fullmatch
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:[Tt \t].*)?").fullmatch


def looks_like(text: str) -> str | None:
    """What YAML 1.1 makes of an unquoted text, when that is not text."""
    if _NULL(text):
        return "null"
    if _BOOLEAN(text):
        return "a boolean"
    if _NUMBER(text):
        return "a number"
    return "a date" if _DATE(text) else None


class ScalarNode:
    """Text, as it was written. `plain` is without quotes, and not as a block."""

    __slots__ = ("line", "plain", "tag", "value")

    def __init__(self, value: str, *, plain: bool, tag: str, line: int) -> None:
        self.value = value
        self.plain = plain
        self.tag = tag
        self.line = line


class SequenceNode:
    """A list of nodes."""

    __slots__ = ("line", "tag", "value")

    def __init__(self, tag: str, line: int) -> None:
        self.value: list[Node] = []
        self.tag = tag
        self.line = line


class MappingNode:
    """Pairs of nodes, in the order and number in which they were written."""

    __slots__ = ("line", "tag", "value")

    def __init__(self, tag: str, line: int) -> None:
        self.value: list[tuple[Node, Node]] = []
        self.tag = tag
        self.line = line


Node = ScalarNode | SequenceNode | MappingNode


def is_plain(node: Node) -> bool:
    """Written without quotes: what YAML 1.1 would interpret."""
    return isinstance(node, ScalarNode) and node.plain


def line_of(node: Node) -> int:
    return node.line


def read_nodes(data: bytes, file: str) -> tuple[list[Node], list[Problem]]:
    """The documents of one file that could be read, and the problems of the others."""
    if len(data) > MAX_FILE_BYTES:
        size = f"the file has more than {MAX_FILE_BYTES:,} bytes, which is the limit"
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
        for document in _documents(data, file):
            if isinstance(document, Problem):
                problems.append(document)
            elif not (isinstance(document, ScalarNode) and not document.value):  # `---` alone: nothing
                nodes.append(document)
    except yaml.YAMLError as error:
        problems.append(_syntax(error, file, len(data.decode().splitlines())))
    return nodes, problems


def _documents(data: bytes, file: str) -> Iterator[Node | Problem]:
    parser = CParser(data)
    try:
        while (event := parser.get_event()) is not None:
            if isinstance(event, DocumentStartEvent):
                document = _Builder(parser, file, _line(event)).document()
                yield document
                if isinstance(document, Problem):
                    return  # the rest of the file is not looked at
    finally:
        parser.dispose()


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


class _Open(Struct):
    """A collection that is being filled. `size` and `height` count what anchors multiply."""

    node: SequenceNode | MappingNode
    anchor: str | None
    size: int = 1
    height: int = 1
    key: Node | None = None

    def add(self, node: Node, size: int, height: int) -> None:
        self.size += size
        self.height = max(self.height, height + 1)
        if isinstance(self.node, SequenceNode):
            self.node.value.append(node)
        elif self.key is None:
            self.key = node
        else:
            self.node.value.append((self.key, node))
            self.key = None


class _Builder(Struct):
    """One document from events. At the first fault the rest of the file is left: libyaml's scanner takes
    time by the square of the depth, and 200,000 brackets are a minute.
    """

    parser: CParser
    file: str
    line: int
    stack: list[_Open] = field(default_factory=list)
    # Finished anchors: the node, and how large and high it is.
    anchors: dict[str, tuple[Node, int, int]] = field(default_factory=dict)
    problem: Problem | None = None
    root: Node | None = None
    # Nodes of the document so far, as they would be walked.
    count: int = 0

    def document(self) -> Node | Problem:
        while not isinstance(event := self.parser.get_event(), DocumentEndEvent):
            if isinstance(event, ScalarEvent):
                line = _line(event)
                node = ScalarNode(event.value, plain=not event.style, tag=event.tag or "", line=line)
                self._finished(node, event.anchor, 1, 0)
            elif isinstance(event, MappingStartEvent):
                self._begin(MappingNode(event.tag or "", _line(event)), event.anchor)
            elif isinstance(event, SequenceStartEvent):
                self._begin(SequenceNode(event.tag or "", _line(event)), event.anchor)
            elif isinstance(event, AliasEvent):
                self._alias(event)
            else:  # the end of a collection: libyaml answers with nothing else inside a document
                closed = self.stack.pop()
                self._finished(closed.node, closed.anchor, closed.size, closed.height)
            if self.problem is not None:
                break
        return self.problem or self.root or ScalarNode("", plain=True, tag="", line=self.line)

    def _begin(self, node: SequenceNode | MappingNode, anchor: str | None) -> None:
        if len(self.stack) == MAX_DEPTH:
            self._too_deep(node.line)
        elif self._counted(1):
            self.stack.append(_Open(node, anchor))

    def _finished(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, size, height)
        if not isinstance(node, ScalarNode) or self._counted(1):
            self._add(node, size, height)

    def _alias(self, event: AliasEvent) -> None:
        if event.anchor in {opened.anchor for opened in self.stack}:
            text = f"the anchor `{event.anchor}` holds itself"
            self._fault(_line(event), text, "write it out", ProblemCode.TOO_DEEP)
        elif event.anchor not in self.anchors:
            text = f"not valid YAML: there is no anchor `{event.anchor}`"
            fix = "define the anchor (`&name`) earlier in the same document"
            self._fault(_line(event), text, fix, ProblemCode.YAML_SYNTAX)
        else:
            node, size, height = self.anchors[event.anchor]
            if len(self.stack) + height > MAX_DEPTH:
                self._too_deep(_line(event))
            elif self._counted(size):
                self._add(node, size, height)

    def _add(self, node: Node, size: int, height: int) -> None:
        if self.stack:
            self.stack[-1].add(node, size, height)
        else:
            self.root = node

    def _counted(self, nodes: int) -> bool:
        self.count += nodes
        if self.count <= MAX_DOCUMENT_NODES:
            return True
        text = f"the document has more than {MAX_DOCUMENT_NODES:,} nodes, counting what anchors repeat"
        fix = "split the document, and write it out without anchors"
        self._fault(self.line, text, fix, ProblemCode.TOO_MANY_NODES)
        return False

    def _too_deep(self, line: int) -> None:
        text = f"the document is nested more than {MAX_DEPTH} levels deep"
        self._fault(line, text, "write it out flat", ProblemCode.TOO_DEEP)

    def _fault(self, line: int, text: str, fix: str, code: ProblemCode) -> None:
        """The first fault is the document's; what was built so far is let go."""
        self.problem = Problem(self.file, line, "", text, fix, code)
        self.stack.clear()
        self.anchors.clear()


def _syntax(error: yaml.YAMLError, file: str, last_line: int) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line = min(mark.line + 1, last_line) if mark else 0  # the end of the file is no line of its own
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    if "a tab character" in text or "cannot start any token" in text:
        fix = "indent with spaces, and quote values that begin with a special character"
    else:
        fix = "check indentation, quotes and brackets at and above this line"
    return Problem(file, line, "", f"not valid YAML: {text}", fix, ProblemCode.YAML_SYNTAX)


class _Writer(yaml.CSafeDumper):
    """Quotes what any reader of YAML 1.1 would take for something else than text."""


def _text(writer: _Writer, text: str) -> ScalarYaml:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="'" if looks_like(text) else None)


_Writer.add_representer(str, _text)


def write_documents(documents: list[dict[str, object]]) -> str:
    """YAML text; what YAML 1.1 would misread is quoted."""
    return yaml.dump_all(documents, Dumper=_Writer, sort_keys=False, allow_unicode=True)
