"""The policy in force: read from a folder, replaced as a whole when its content changed and is sound."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.evidence import Unverified
from proxy.core.identity import Claim, WorkloadIdentity
from proxy.core.services import Catalogue
from proxy.documents.reader import read_documents
from proxy.documents.yaml_nodes import MAX_FILE_BYTES
from proxy.edge.attestation import Attested
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
class RejectedPolicy:
    """Why it is not put in force, for people. `sources` are those that it defines, sound or not; None where a
    part of it could not be read at all, so that nobody knows."""

    why: str
    sources: frozenset[CredentialRef] | None = None


@dataclass(frozen=True, slots=True)
class PolicyFolder:
    """Where the policy is mounted."""

    path: Path
    catalogue: Catalogue

    def read(self) -> Mapping[str, bytes]:
        """Every policy file, whole: with one of them missing the rest may mean something else."""
        found = read_tree(self.path, SUFFIXES, MAX_FILE_BYTES)
        for name, content in found.items():
            if isinstance(content, Unread):
                raise OSError(errno.EIO, f"{name} {content.why}", str(self.path))
        return readable(found)

    def load(self) -> LoadedPolicy | RejectedPolicy:
        try:
            files = self.read()
        except OSError as error:
            return RejectedPolicy(f"{self.path}: {error.strerror}")
        return self.compile(files)

    def compile(self, files: Mapping[str, bytes]) -> LoadedPolicy | RejectedPolicy:
        """No documents at all grant nothing, soundly."""
        result = read_documents(files, self.catalogue)
        if result.problems:
            shown = [f"{problem}; {problem.fix}" for problem in result.problems[:MAX_SHOWN_PROBLEMS]]
            more = len(result.problems) - len(shown)
            why = " | ".join(shown) + (f" | and {more} more: see podkey check" if more else "")
            return RejectedPolicy(why, result.defined_sources)
        documents = result.documents
        whole = Catalogue.of((*self.catalogue.values(), *documents.services))
        index = PolicyIndex(documents.policies, documents.sources, whole)
        return LoadedPolicy(index, documents.sources, files, digest(files), result.counted)


class PolicyState:
    """Holds the one PodState that requests are judged by. `changed` is told of each that replaces it."""

    def __init__(
        self,
        loaded: LoadedPolicy,
        declared: WorkloadIdentity,
        placeholder_values: frozenset[str],
        changed: Callable[[PodState], None],
    ) -> None:
        self._declared = declared
        self._values = placeholder_values
        self._changed = changed
        self._loaded = loaded
        self._attested = Attested(Unverified("the pod's token has not been looked at yet"))
        # Sources that are in force and not in the last policy that was read, though that was rejected.
        self._withdrawn: frozenset[CredentialRef] = frozenset()
        self._state = self._made()

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
        self._withdrawn = frozenset()
        self._replace()

    def withdraw(self, rejected: RejectedPolicy) -> frozenset[CredentialRef]:
        """The policy stays, without the sources that are gone for certain. Which they are."""
        ours = frozenset(source.ref for source in self._loaded.sources)
        self._withdrawn = ours - rejected.sources if rejected.sources is not None else self._withdrawn
        self._replace()
        return self._withdrawn

    def replace_identity(self, declared: WorkloadIdentity) -> None:
        self._declared = declared
        self._replace()

    def replace_proof(self, attested: Attested) -> None:
        self._attested = attested
        self._replace()

    def _replace(self) -> None:
        self._state = self._made()
        self._changed(self._state)

    def _identity(self) -> WorkloadIdentity:
        """What the pod declares, and of it what its token vouches for. The two were compared."""
        verified = self._attested.verified
        if verified is None:
            return self._declared
        vouched = {
            Claim.NAMESPACE,
            Claim.SERVICE_ACCOUNT,
            Claim.POD,
            *([Claim.NODE] if verified.node else ()),
        }
        return replace(
            self._declared,
            pod_name=verified.pod_name,
            pod_uid=verified.pod_uid,
            node=verified.node or self._declared.node,
            attested=frozenset(vouched),
        )

    def _made(self) -> PodState:
        services = self._loaded.index.catalogue.values()
        known = (placeholder for service in services for placeholder in service.placeholders)
        placeholders = Placeholders.of(known, self._values)
        proof = self._attested.proof
        return PodState(self._loaded.index, self._identity(), placeholders, proof, self._withdrawn)
