"""The policy in force: read from a folder, replaced as a whole when its content changed and is sound."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.core.credentials import CredentialSource
from proxy.core.identity import WorkloadIdentity
from proxy.core.services import Catalogue
from proxy.documents.reader import read_documents
from proxy.documents.yaml_nodes import MAX_FILE_BYTES
from proxy.edge.policy_files import SUFFIXES
from proxy.edge.snapshots import Unread, read_tree, readable
from proxy.edge.watch import digest
from proxy.judge.index import PolicyIndex
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders

# What a log line shows of a bad policy; `podkey check` shows all.
MAX_SHOWN_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """Sound, and compiled. `files` is what it was made from; their digest is how people name it."""

    index: PolicyIndex
    sources: tuple[CredentialSource, ...]
    files: Mapping[str, bytes] = field(repr=False)
    sha256: str
    counted: int


@dataclass(frozen=True, slots=True)
class PolicyFolder:
    """Where the policy is mounted. A string is why there is none, for people."""

    path: Path
    catalogue: Catalogue

    def read(self) -> Mapping[str, bytes]:
        """Every policy file, whole: with one of them missing the rest may mean something else."""
        found = read_tree(self.path, SUFFIXES, MAX_FILE_BYTES)
        for name, content in found.items():
            if isinstance(content, Unread):
                raise OSError(errno.EIO, f"{name} {content.why}", str(self.path))
        return readable(found)

    def load(self) -> LoadedPolicy | str:
        try:
            files = self.read()
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        return self.compile(files)

    def compile(self, files: Mapping[str, bytes]) -> LoadedPolicy | str:
        """No documents at all grant nothing, soundly."""
        result = read_documents(files, self.catalogue)
        if result.problems:
            shown = [f"{problem}; {problem.fix}" for problem in result.problems[:MAX_SHOWN_PROBLEMS]]
            more = len(result.problems) - len(shown)
            return " | ".join(shown) + (f" | and {more} more: see podkey check" if more else "")
        documents = result.documents
        whole = Catalogue.of((*self.catalogue.values(), *documents.services))
        index = PolicyIndex(documents.policies, documents.sources, whole)
        return LoadedPolicy(index, documents.sources, files, digest(files), result.counted)


class PolicyState:
    """Holds the one PodState that requests are judged by."""

    def __init__(
        self,
        loaded: LoadedPolicy,
        identity: WorkloadIdentity,
        placeholder_values: frozenset[str],
        use_sources: Callable[[tuple[CredentialSource, ...]], None],
    ) -> None:
        self._identity = identity
        self._values = placeholder_values
        self._use_sources = use_sources
        self._loaded = loaded
        self._state = self._made()
        use_sources(loaded.sources)

    def __call__(self) -> PodState:
        return self._state

    @property
    def sha256(self) -> str:
        return self._loaded.sha256

    @property
    def files(self) -> Mapping[str, bytes]:
        return self._loaded.files

    def replace_policy(self, loaded: LoadedPolicy) -> None:
        self._loaded = loaded
        self._state = self._made()
        self._use_sources(loaded.sources)

    def replace_identity(self, identity: WorkloadIdentity) -> None:
        self._identity = identity
        self._state = self._made()

    def _made(self) -> PodState:
        services = self._loaded.index.catalogue.values()
        known = (placeholder for service in services for placeholder in service.placeholders)
        placeholders = Placeholders.of(known, self._values)
        return PodState(self._loaded.index, self._identity, placeholders)
