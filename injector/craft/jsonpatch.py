"""JSON Patch (RFC 6902) as values: operations, applying them, and an editor that writes down what it does.

A document that is read here is never changed. What comes out shares with it the branches that are alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from re import compile as expression
from typing import Any, Final, NamedTuple

type Token = str | int
type Path = tuple[Token, ...]

# RFC 6901 §4: no leading zeros; the hyphen is the place behind the last item, and only `add` can use it.
_INDEX: Final = expression("0|[1-9][0-9]*").fullmatch
_BEHIND: Final = "-"


class PatchFault(Exception):  # noqa: N818 - a fault in a patch, not an error of the program
    """The patch does not fit the document. The API server would refuse the pod for it."""


class Op(Enum):
    """Those that we write. `move`, `copy` and `test` say nothing about a pod that these cannot."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


class Operation(NamedTuple):
    op: Op
    path: Path
    # Nothing for REMOVE.
    value: object = None

    def to_json(self) -> dict[str, object]:
        written: dict[str, object] = {"op": self.op.value, "path": pointer(self.path)}
        return written if self.op is Op.REMOVE else {**written, "value": self.value}


def pointer(path: Path) -> str:
    """The path as RFC 6901 writes it: `/metadata/annotations/podkey.io~1injected`."""
    text = "".join([f"/{token}" for token in path])
    if "~" not in text and text.count("/") == len(path):
        return text
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def apply(document: object, operations: Iterable[Operation]) -> Any:  # noqa: ANN401 - it is JSON
    """What a server makes of the patch, or PatchFault."""
    tree = _Tree(document)
    for operation in operations:
        tree.perform(operation)
    return tree.root


class Editor:
    """Edits a document as it seems, and keeps the operations with which somebody else gets the same."""

    def __init__(self, document: object) -> None:
        self._tree = _Tree(document)
        self._operations: list[Operation] = []

    @property
    def document(self) -> Any:  # noqa: ANN401 - it is JSON
        """As it is by now."""
        return self._tree.root

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(self._operations)

    def find(self, path: Path) -> Any:  # noqa: ANN401 - it is JSON
        """What is there; None where nothing is, or null, which to Kubernetes is the same."""
        found = self._tree.root
        for token in path:
            found = _child(found, token)
        return found

    def put(self, path: Path, value: object) -> None:
        """Sets a member of an object. Objects that are missing on the way to it are made with it.

        `add` below a missing parent is an error, and the API server refuses the pod for it whatever the
        failurePolicy says.
        """
        depth, found = 1, self._tree.root
        while depth < len(path) and (found := _child(found, path[depth - 1])) is not None:
            depth += 1
        for token in reversed(path[depth:]):
            value = {token: value}
        self._write(Operation(Op.ADD, path[:depth], value))

    def update(self, path: Path, members: Mapping[str, object]) -> None:
        """Sets those that are not so already."""
        found = self.find(path)
        if found is None and members:
            self.put(path, dict(members))
            return
        for name, value in members.items():
            if found.get(name) != value:
                self._write(Operation(Op.ADD, (*path, name), value))

    def extend(self, path: Path, items: Sequence[object]) -> None:
        """Adds to the end of a list."""
        found = self.find(path)
        self._insert(path, found, len(found or ()), items)

    def insert(self, path: Path, index: int, items: Sequence[object]) -> None:
        """Puts items into a list, the first of them at the index."""
        self._insert(path, self.find(path), index, items)

    def _insert(self, path: Path, found: object, index: int, items: Sequence[object]) -> None:
        if not items:
            return
        if found is None:
            self.put(path, list(items))
            return
        self._tree.insert(path, index, items)
        self._operations += [Operation(Op.ADD, (*path, at), item) for at, item in enumerate(items, index)]

    def _write(self, operation: Operation) -> None:
        self._tree.perform(operation)
        self._operations.append(operation)


class _Tree:
    """A document that copies a branch when something in it is first changed."""

    def __init__(self, root: object) -> None:
        self.root: Any = root
        # By identity; the values keep them alive, so that no other object gets the same one.
        self._copies: dict[int, object] = {}

    def perform(self, operation: Operation) -> None:
        if not operation.path:
            if operation.op is Op.REMOVE:
                raise PatchFault("a whole document cannot be removed")
            self.root = operation.value
            return
        _finish(operation, self._reach(operation.path[:-1]))

    def insert(self, path: Path, index: int, items: Sequence[object]) -> None:
        """As one `add` after the other."""
        holder = self._reach(path)
        if not isinstance(holder, list) or not 0 <= index <= len(holder):
            raise PatchFault(f"`{pointer((*path, index))}` is not there to {Op.ADD.value}")
        holder[index:index] = items

    def _reach(self, path: Path) -> Any:  # noqa: ANN401 - it is JSON
        """What is there, to be changed: it is a copy, and so is everything above it."""
        holder = self.root = self._own(self.root)
        for depth, token in enumerate(path):
            key = _key(holder, token)
            if not _has(holder, key):
                raise PatchFault(f"`{pointer(path[: depth + 1])}` is missing")
            holder[key] = self._own(holder[key])
            holder = holder[key]
        return holder

    def _own(self, value: Any) -> Any:  # noqa: ANN401 - it is JSON
        if not isinstance(value, dict | list) or id(value) in self._copies:
            return value
        copy = value.copy()
        self._copies[id(copy)] = copy
        return copy


def _finish(operation: Operation, holder: Any) -> None:  # noqa: ANN401 - it is JSON
    """RFC 6902 §4: replace and remove want something there, and add a list that reaches up to there."""
    adds, last = operation.op is Op.ADD, operation.path[-1]
    if adds and isinstance(holder, list) and last == _BEHIND:
        last = len(holder)
    key = _key(holder, last)
    if adds and isinstance(holder, list) and isinstance(key, int) and key <= len(holder):
        holder.insert(key, operation.value)
    elif (adds and isinstance(holder, dict)) or (operation.op is Op.REPLACE and _has(holder, key)):
        holder[key] = operation.value
    elif operation.op is Op.REMOVE and _has(holder, key):
        del holder[key]
    else:
        raise PatchFault(f"`{pointer(operation.path)}` is not there to {operation.op.value}")


def _child(holder: Any, token: Token) -> Any:  # noqa: ANN401 - it is JSON
    if isinstance(token, int):
        return holder[token] if isinstance(holder, list) and token < len(holder) else None
    return holder.get(token) if isinstance(holder, dict) else None


def _key(holder: object, token: Token) -> Token | None:
    """The token as the holder counts: an index of a list, a name of an object; None where it is none."""
    if isinstance(holder, dict):
        return str(token)
    if isinstance(token, int):
        return token if isinstance(holder, list) and token >= 0 else None
    return int(token) if isinstance(holder, list) and _INDEX(token) else None


def _has(holder: Any, key: Token | None) -> bool:  # noqa: ANN401 - it is JSON
    if isinstance(key, int):
        return key < len(holder)
    return key is not None and key in holder
