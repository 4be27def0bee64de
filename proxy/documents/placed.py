"""A document together with where it stands, so that later checks can point at it."""

from dataclasses import dataclass

from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, line_of


def _child(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    pairs = (pair for pair in node.value if isinstance(pair[0], ScalarNode))
    return next((value for name, value in pairs if name.value == key), None)


@dataclass(frozen=True, slots=True)
class Placed[T]:
    """`grant_lines` holds the line of each grant of a policy; other kinds have none."""

    value: T
    file: str
    line: int
    grant_lines: tuple[int, ...] = ()

    @classmethod
    def of(cls, value: T, file: str, node: Node) -> "Placed[T]":
        grants = _child(_child(node, "spec"), "grants")
        lines = [line_of(n) for n in grants.value] if isinstance(grants, SequenceNode) else []
        return cls(value, file, line_of(node), tuple(lines))

    def problem(self, code: ProblemCode, message: str, fix: str, path: str = "") -> Problem:
        return Problem(self.file, self.line, path, message, fix, code)

    def grant_problem(self, index: int, code: ProblemCode, message: str, fix: str, key: str = "") -> Problem:
        path = f"spec.grants[{index}]" + (f".{key}" if key else "")
        return Problem(self.file, self.grant_lines[index], path, message, fix, code)
