"""One thing that a session may do, before it is written as a policy."""

import re
from typing import NamedTuple

from proxy.core.globs import Glob

# An operator, a key of the request's context, and the value that it must have.
Bound = tuple[str, str, str]


class Right(NamedTuple):
    """One action on one resource. `listing` bounds what it lists: several of them are alternatives."""

    resource: str
    action: str
    bounds: tuple[Bound, ...] = ()
    listing: str | None = None

    @property
    def is_free(self) -> bool:
        return not self.bounds and self.listing is None


def literal(text: str) -> str:
    """What IAM would read as a wildcard or a variable, as the character that it is ("Policy variables")."""
    return re.sub(r"[*?]|\$(?=\{)", lambda found: f"${{{found[0]}}}", text)


def pattern(glob: Glob) -> str:
    return "*".join(literal(piece) for piece in glob.text.split("*"))
