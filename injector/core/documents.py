"""An AccessPolicy or CredentialSource as the API server has it, before anybody reads what it says."""

from collections.abc import Mapping

from proxy.core.structs import Struct, field


class RawDocument(Struct, frozen=True):
    """One object of a watch. What names it stands beside `document`, so that a broken one has a name, too."""

    kind: str
    namespace: str
    name: str
    # A new one for an object that was deleted and created again, whose generation begins at 1.
    uid: str = ""
    # The API server counts changes of `spec`, and not those of metadata and status.
    generation: int = 0
    resource_version: str = ""
    document: Mapping[str, object] = field(default_factory=dict)
