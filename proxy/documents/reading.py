"""What every shape shares: where a value stands, the problems met on the way, and how to name a node."""

from enum import Enum
from typing import Any, Final, Protocol

from proxy.core.structs import Struct, field
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import (
    MappingNode,
    Node,
    SequenceNode,
    is_plain,
    line_of,
    looks_like,
)


class Invalid(Enum):
    """Stands for a value whose problems have been reported."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID
JsonSchema = dict[str, Any]

# Longer than any sensible value; a pattern of a megabyte is a mistake or an attack.
MAX_TEXT_LENGTH: Final = 1024
MAX_ITEMS: Final = 1024
# Nobody mends more at a time, and each costs time: hints compare words.
MAX_PROBLEMS: Final = 500
MAX_MESSAGE_LENGTH: Final = 400


def shortened(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[: MAX_MESSAGE_LENGTH - 1] + "…"


class Reading(Struct):
    """The problems of one file, gathered while its documents are read."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def report(self, node: Node, at: "Place", code: ProblemCode, message: str, fix: str) -> Invalid:
        """Add a problem. What the writer wrote is quoted at its beginning only; it may be a megabyte."""
        line = line_of(node)
        if len(self.problems) < MAX_PROBLEMS:
            place, message, fix = shortened(str(at)), shortened(message), shortened(fix)
            self.problems.append(Problem(self.file, line, place, message, fix, code))
        elif len(self.problems) == MAX_PROBLEMS:
            text, fix = f"there are more than {MAX_PROBLEMS} problems in the file", "mend the others first"
            self.problems.append(Problem(self.file, line, "", text, fix, ProblemCode.TOO_MANY_PROBLEMS))
        return INVALID


class Place(Struct, frozen=True):
    """A path in a document, joined only when a problem wants to show it."""

    parent: "Place | None" = None
    step: str | int = ""

    def __str__(self) -> str:
        steps: list[str] = []
        place: Place | None = self
        while place is not None and place.parent is not None:
            steps.append(f"[{place.step}]" if isinstance(place.step, int) else f".{place.step}")
            place = place.parent
        return "".join(reversed(steps)).removeprefix(".")


class Shape(Protocol):
    def read(self, node: Node, at: Place, reading: Reading) -> Any: ...  # noqa: ANN401 - see Record
    def schema(self) -> JsonSchema: ...
    @property
    def what(self) -> str:
        """The type in a sentence: "text", "a list of ports"."""
        ...


def kind_of(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if is_plain(node) and (guess := looks_like(node.value)):
        return f"{guess} (`{node.value}`)" if node.value else "empty"
    return f"text (`{node.value[:40]}`)"


def is_tagged(node: Node, at: Place, reading: Reading) -> bool:
    if not node.tag or node.tag == "!":
        return False
    fix = "remove the tag; each field has the type that it has"
    reading.report(node, at, ProblemCode.YAML_TAG, f"the YAML tag `{node.tag}` is not supported", fix)
    return True
