"""A credential that lies in a mounted secret, as somebody wrote it there."""

from proxy.core.parts import Part
from proxy.core.structs import Struct


class JsonFields(Struct, frozen=True):
    """One key of a secret that holds a JSON object, and where in it which part is: names from the outermost
    object to the field."""

    key: str
    fields: tuple[tuple[Part, tuple[str, ...]], ...]


class MountedSecret(Struct, frozen=True):
    """A Kubernetes Secret, mounted in the sidecar only: which of its keys holds which part."""

    secret_name: str
    keys: tuple[tuple[Part, str], ...] = ()
    # In place of `keys`.
    json: JsonFields | None = None

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset(part for part, _ in (self.keys if self.json is None else self.json.fields))
