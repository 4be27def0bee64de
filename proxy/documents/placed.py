"""A document together with where it stands, so that later checks can point at it."""

from proxy.core.structs import Struct
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, line_of


def child(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    pairs = (pair for pair in node.value if isinstance(pair[0], ScalarNode))
    return next((value for name, value in pairs if name.value == key), None)


class Placed[T](Struct, frozen=True):
    """`grants` holds number and line of each grant of a policy; other kinds have none."""

    value: T
    file: str
    line: int
    grants: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, value: T, file: str, node: Node) -> "Placed[T]":
        grants = child(child(node, "spec"), "grants")
        nodes = grants.value if isinstance(grants, SequenceNode) else ()
        places = tuple((number, line_of(grant)) for number, grant in enumerate(nodes))
        return cls(value, file, line_of(node), places)

    def problem(self, code: ProblemCode, message: str, fix: str, path: str = "") -> Problem:
        return Problem(self.file, self.line, path, message, fix, code)

    def grant_problem(self, index: int, code: ProblemCode, message: str, fix: str, key: str = "") -> Problem:
        number, line = self.grants[index]
        path = f"spec.grants[{number}]" + (f".{key}" if key else "")
        return Problem(self.file, line, path, message, fix, code)

    @property
    def place(self) -> str:
        """As problems of other documents name it."""
        return _place(self.file, self.line)

    def grant_place(self, index: int) -> str:
        number, line = self.grants[index]
        return f"grants[{number}] ({_place(self.file, line)})"


def _place(file: str, line: int) -> str:
    """Objects of a cluster have no lines."""
    return f"{file}:{line}" if line else file
