"""What a value in a document may look like. One description serves reading, JSON Schema and the docs.

A shape reads a node into a value or into `INVALID`, and puts every problem it meets into the `Reading`,
so that one run reports them all.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from proxy.core.structs import Struct, field
from proxy.documents.problems import Fault, ProblemCode, did_you_mean
from proxy.documents.reading import (
    INVALID,
    MAX_ITEMS,
    MAX_TEXT_LENGTH,
    Invalid,
    JsonSchema,
    Place,
    Reading,
    Shape,
    is_tagged,
    kind_of,
)
from proxy.documents.yaml_nodes import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    is_plain,
    line_of,
    looks_like,
)


class Text(Struct, frozen=True):
    """Text, with an optional parser that makes it a value or raises `Fault`."""

    what: str = "text"
    parse: Callable[[str], Any] | None = None
    pattern: str | None = None
    examples: tuple[str, ...] = ()
    may_be_empty: bool = False
    may_be_date: bool = False

    def read(self, node: Node, at: Place, reading: Reading) -> Any:  # noqa: ANN401
        if not isinstance(node, ScalarNode):
            message = f"expected {self.what}, found {kind_of(node)}"
            fix = f"write {self.what}" + (f", such as `{self.examples[0]}`" if self.examples else "")
            return reading.report(node, at, ProblemCode.WRONG_TYPE, message, fix)
        if is_tagged(node, at, reading):
            return INVALID
        text: str = node.value
        guess = looks_like(text) if is_plain(node) else None
        if guess and not (guess == "a date" and self.may_be_date):
            if not text:
                fix = f"give it a value ({self.what}), or remove the key"
                return reading.report(node, at, ProblemCode.WRONG_TYPE, "the value is empty", fix)
            message = f"`{text}` without quotes is {guess} in YAML, not text"
            return reading.report(node, at, ProblemCode.WRONG_TYPE, message, f'quote it: "{text}"')
        if not text and not self.may_be_empty:
            fix = f"give it a value ({self.what})"
            return reading.report(node, at, ProblemCode.BAD_VALUE, "the text is empty", fix)
        if len(text) > MAX_TEXT_LENGTH:
            message = f"the text has {len(text):,} characters; the limit is {MAX_TEXT_LENGTH:,}"
            return reading.report(node, at, ProblemCode.TOO_LONG, message, "shorten it")
        if self.parse is None:
            return text
        try:
            return self.parse(text)
        except Fault as fault:
            return reading.report(node, at, fault.code, fault.message, fault.fix)

    def schema(self) -> JsonSchema:
        schema: JsonSchema = {"type": "string", "maxLength": MAX_TEXT_LENGTH}
        if not self.may_be_empty:
            schema["minLength"] = 1
        if self.pattern:
            schema["pattern"] = self.pattern
        return schema


class Choice[E: Enum](Struct, frozen=True):
    """One of an enumeration's values."""

    options: type[E]

    @property
    def what(self) -> str:
        return " | ".join(str(option.value) for option in self.options)

    def read(self, node: Node, at: Place, reading: Reading) -> E | Invalid:
        words = {str(option.value): option for option in self.options}
        if is_tagged(node, at, reading):
            return INVALID
        if isinstance(node, ScalarNode) and node.value in words:
            return words[node.value]
        found = node.value if isinstance(node, ScalarNode) else kind_of(node)
        fix = did_you_mean(str(found), words)
        return reading.report(
            node, at, ProblemCode.BAD_VALUE, f"`{found}` is not one of: {', '.join(words)}", fix
        )

    def schema(self) -> JsonSchema:
        return {"type": "string", "enum": [option.value for option in self.options]}


class Number(Struct, frozen=True):
    """A whole number in a range."""

    what: str
    least: int
    most: int

    def read(self, node: Node, at: Place, reading: Reading) -> int | Invalid:
        if is_tagged(node, at, reading):
            return INVALID
        text = node.value if isinstance(node, ScalarNode) and node.plain else ""
        if not re.fullmatch(r"0|[1-9][0-9]{0,9}", text):
            message = f"expected {self.what}, found {kind_of(node)}"
            fix = f"write a whole number from {self.least} to {self.most}, without quotes"
            return reading.report(node, at, ProblemCode.WRONG_TYPE, message, fix)
        number = int(text)
        if not self.least <= number <= self.most:
            message = f"{number} is not {self.what}"
            fix = f"use a number from {self.least} to {self.most}"
            return reading.report(node, at, ProblemCode.BAD_VALUE, message, fix)
        return number

    def schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


class Flag(Struct, frozen=True):
    """`true` or `false`, and none of YAML's other spellings."""

    what: str = "true or false"

    def read(self, node: Node, at: Place, reading: Reading) -> bool | Invalid:
        if is_tagged(node, at, reading):
            return INVALID
        if is_plain(node) and node.value in {"true", "false"}:
            return bool(node.value == "true")
        message = f"expected {self.what}, found {kind_of(node)}"
        return reading.report(node, at, ProblemCode.WRONG_TYPE, message, "write `true` or `false`")

    def schema(self) -> JsonSchema:
        return {"type": "boolean"}


class ListOf(Struct, frozen=True):
    """A list of one thing, each once. An empty list is an error: it grants nothing to nobody."""

    item: Shape
    empty_code: ProblemCode = ProblemCode.EMPTY_LIST
    empty_message: str = "the list is empty, which matches nothing"
    empty_fix: str = "add an item, or remove the key"
    may_be_empty: bool = False
    most: int = MAX_ITEMS

    @property
    def what(self) -> str:
        return f"list, each item {self.item.what}"

    def read(self, node: Node, at: Place, reading: Reading) -> tuple[Any, ...] | Invalid:
        if not isinstance(node, SequenceNode):
            message = f"expected a {self.what}, found {kind_of(node)}"
            fix = "write a list: put the value in square brackets"
            return reading.report(node, at, ProblemCode.WRONG_TYPE, message, fix)
        if is_tagged(node, at, reading):
            return INVALID
        if not node.value and not self.may_be_empty:
            return reading.report(node, at, self.empty_code, self.empty_message, self.empty_fix)
        if len(node.value) > self.most:
            message = f"the list has {len(node.value):,} items; the limit is {self.most:,}"
            return reading.report(node, at, ProblemCode.TOO_LONG, message, "split it")
        items = [self.item.read(n, Place(at, i), reading) for i, n in enumerate(node.value)]
        if INVALID in items:
            return INVALID
        first: dict[Any, int] = {}
        for index, item in enumerate(items):
            if first.setdefault(item, index) != index:
                message = f"the item repeats [{first[item]}]"
                where, code = Place(at, index), ProblemCode.REPEATED_ITEM
                return reading.report(node.value[index], where, code, message, "remove it")
        return tuple(items)

    def schema(self) -> JsonSchema:
        least = {} if self.may_be_empty else {"minItems": 1}
        return {"type": "array", "items": self.item.schema(), "maxItems": self.most, **least}


def entries(node: MappingNode, at: Place, reading: Reading) -> tuple[dict[str, tuple[Node, Node]], bool]:
    """The pairs of a mapping by key, and whether all keys were sound: text, once each, no merge."""
    pairs: dict[str, tuple[Node, Node]] = {}
    sound = True
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or key.tag:
            reading.report(key, at, ProblemCode.WRONG_TYPE, f"a key is {kind_of(key)}", "keys are plain text")
            sound = False
        elif key.value == "<<" and is_plain(key):
            fix = "write the keys out; a document says everything in its own place"
            message = "YAML merge keys (`<<`) are not supported"
            reading.report(key, at, ProblemCode.MERGE_KEY, message, fix)
            sound = False
        elif key.value in pairs:
            first = line_of(pairs[key.value][0])
            message = f"the key `{key.value}` appears twice (first on line {first})"
            fix = "keep one of the two; other readers silently take the last"
            reading.report(key, at, ProblemCode.DUPLICATE_KEY, message, fix)
            sound = False
        else:
            pairs[key.value] = (key, value)
    return pairs, sound


class MapOf(Struct, frozen=True):
    """A mapping with keys of the writer's choice; read into sorted pairs."""

    value: Shape
    key: Text = field(default_factory=Text)
    may_be_empty: bool = False
    empty_code: ProblemCode = ProblemCode.EMPTY_LIST

    @property
    def what(self) -> str:
        return f"mapping, each key {self.key.what} and each value {self.value.what}"

    def read(self, node: Node, at: Place, reading: Reading) -> tuple[Any, ...] | Invalid:
        if not isinstance(node, MappingNode):
            message = f"expected a {self.what}, found {kind_of(node)}"
            fix = "write `key: value` lines below it"
            return reading.report(node, at, ProblemCode.WRONG_TYPE, message, fix)
        if is_tagged(node, at, reading):
            return INVALID
        if not node.value and not self.may_be_empty:
            message, fix = "the mapping is empty", "add a key, or remove it"
            return reading.report(node, at, self.empty_code, message, fix)
        pairs, sound = entries(node, at, reading)
        read = [
            (
                self.key.read(key, Place(at, name), reading),
                self.value.read(value, Place(at, name), reading),
            )
            for name, (key, value) in pairs.items()
        ]
        if not sound or any(INVALID in pair for pair in read):
            return INVALID
        return tuple(sorted(read, key=lambda pair: str(pair[0])))

    def schema(self) -> JsonSchema:
        return {"type": "object", "additionalProperties": self.value.schema()}


class Field(Struct, frozen=True):
    """One key of a record. `name` is what the document writes, `attribute` what the builder takes."""

    name: str
    shape: Shape
    doc: str
    attribute: str = ""
    required: bool = False

    @property
    def keyword(self) -> str:
        return self.attribute or re.sub(r"(?<!^)([A-Z])", r"_\1", self.name).lower()


@dataclasses.dataclass(frozen=True)
class Record:
    """A mapping with known keys, built into a value by `build(**fields)`.

    The builder's keywords are the fields' snake_case names; it may raise `Fault`. Its arguments cannot be
    typed here, which is why `read` returns Any: each builder is typed, and each has a test.
    """

    what: str
    fields: tuple[Field, ...]
    build: Callable[..., Any]
    # Exactly one key of each group must be there: a closed union, spelled as Kubernetes spells it.
    exactly_one: tuple[tuple[str, ...], ...] = ()
    # Keys that the API server or kubectl writes; they are allowed and not read.
    ignored: frozenset[str] = frozenset()
    _by_name: dict[str, Field] = dataclasses.field(init=False, repr=False, compare=False)
    _keywords: dict[str, str] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {f.name: f for f in self.fields})
        object.__setattr__(self, "_keywords", {f.name: f.keyword for f in self.fields})

    def read(self, node: Node, at: Place, reading: Reading) -> Any:  # noqa: ANN401
        if not isinstance(node, MappingNode):
            message = f"expected {self.what} (a mapping), found {kind_of(node)}"
            fix = "write `key: value` lines; its keys are " + ", ".join(self._by_name)
            return reading.report(node, at, ProblemCode.WRONG_TYPE, message, fix)
        if is_tagged(node, at, reading):
            return INVALID
        pairs, sound = entries(node, at, reading)
        values: dict[str, Any] = {}
        for name, (key, value) in pairs.items():
            known = self._by_name.get(name)
            if known is not None:
                values[self._keywords[name]] = known.shape.read(value, Place(at, name), reading)
            elif name not in self.ignored:
                message = f"unknown key `{name}` in {self.what}"
                fix = did_you_mean(name, self._by_name)
                reading.report(key, at, ProblemCode.UNKNOWN_KEY, message, fix)
                sound = False
        for missing in (f for f in self.fields if f.required and f.name not in pairs):
            fix = f"add `{missing.name}:` ({missing.shape.what})"
            message = f"`{missing.name}` is missing"
            reading.report(node, at, ProblemCode.MISSING_KEY, message, fix)
            sound = False
        for group in self.exactly_one:
            sound = self._one_of(group, pairs, node, at, reading) and sound
        if not sound or INVALID in values.values():
            return INVALID
        try:
            return self.build(**values)
        except Fault as fault:
            child = pairs.get(fault.at.split(".")[0].split("[")[0])
            where = Place(at, fault.at) if fault.at else at
            return reading.report(child[0] if child else node, where, fault.code, fault.message, fault.fix)

    def _one_of(
        self,
        group: tuple[str, ...],
        pairs: Mapping[str, tuple[Node, Node]],
        node: Node,
        at: Place,
        reading: Reading,
    ) -> bool:
        present = [name for name in group if name in pairs]
        if len(present) == 1:
            return True
        names = ", ".join(f"`{name}`" for name in group)
        if len(group) == 1:
            message, fix = f"{self.what} needs the key {names}", f"add {names}"
        elif present:
            message = f"{self.what} has {' and '.join(f'`{p}`' for p in present)}; it takes exactly one"
            fix = "keep one of them"
        else:
            message, fix = f"{self.what} needs exactly one of {names}", f"add one of {names}"
        culprit = pairs[present[-1]][0] if present else node
        reading.report(culprit, at, ProblemCode.EXACTLY_ONE, message, fix)
        return False

    def schema(self) -> JsonSchema:
        properties = {f.name: {"description": f.doc, **f.shape.schema()} for f in self.fields}
        schema: JsonSchema = {"type": "object", "properties": properties}
        required = [f.name for f in self.fields if f.required]
        if required:
            schema["required"] = required
        if self.exactly_one:
            schema["x-exactly-one"] = [list(group) for group in self.exactly_one]
        if self.ignored:
            schema["x-ignored"] = sorted(self.ignored)
        return schema
