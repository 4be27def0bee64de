"""The policy in force: read from a folder, replaced as a whole when its content changed and is sound."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.evidence import Unverified
from proxy.core.identity import Claim, WorkloadIdentity
from proxy.core.policy import AccessPolicy
from proxy.core.services import Catalogue
from proxy.documents.reader import DocumentName, Found, read_documents
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
    # In which file each document stands.
    places: Mapping[DocumentName, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RejectedPolicy:
    """Why it is not put in force, for people; and what is certain of it all the same. `found` is None where
    the folder could not be read."""

    why: str
    found: Mapping[DocumentName, Found] | None = None
    lost: frozenset[str] = frozenset()

    def still_has(self, document: AccessPolicy | CredentialSource, place: str) -> bool:
        """Whether the document is there, or may be: what is broken is not taken for removed."""
        if self.found is None:
            return True
        name = (type(document), document.namespace, document.name)
        return name in self.found or place in self.lost

    def now(self, document: AccessPolicy | CredentialSource) -> AccessPolicy | CredentialSource:
        """What it is now, where that can be read; else what it was."""
        found = (self.found or {}).get((type(document), document.namespace, document.name))
        return document if found is None or found.value is None else found.value


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
            return RejectedPolicy(why, result.found, result.lost)
        documents = result.documents
        whole = Catalogue.of((*self.catalogue.values(), *documents.services))
        index = PolicyIndex(documents.policies, documents.sources, whole)
        places = {name: found.file for name, found in result.found.items()}
        return LoadedPolicy(index, documents.sources, files, digest(files), result.counted, places)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a rejected policy took away, for a log."""

    sources: list[str]
    policies: list[str]


class PolicyState:
    """Holds the one PodState that requests are judged by. `changed` is told of each that replaces it."""

    def __init__(
        self,
        loaded: LoadedPolicy,
        declared: WorkloadIdentity,
        placeholder_values: frozenset[str],
        changed: Callable[[PodState], None],
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._declared = declared
        self._values = placeholder_values
        self._changed = changed
        self._loaded = loaded
        self._attested = Attested(Unverified("the pod's token has not been looked at yet"))
        # What a policy that was rejected took away for certain: sources; and what is left of policies.
        self._withdrawn: frozenset[CredentialRef] = frozenset()
        self._left: PolicyIndex | None = None
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
        self._withdrawn, self._left = frozenset(), None
        self._replace()

    def withdraw(self, rejected: RejectedPolicy) -> Withdrawal:
        """The policy stays, without what is gone for certain: a removal does not wait for the rest."""
        base = self._loaded.index
        gone = frozenset(s.ref for s in self._loaded.sources if not self._stands(s, rejected))
        left = [self._left_of(policy, rejected) for policy in base.policies]
        changed = [policy for policy, now in zip(base.policies, left, strict=True) if policy is not now]
        kept = [policy for policy in left if policy is not None]
        index = PolicyIndex(kept, base.sources, base.catalogue) if changed else None
        if gone != self._withdrawn or index is not None or self._left is not None:
            self._withdrawn, self._left = gone, index
            self._replace()
        return Withdrawal(sorted(map(str, gone)), sorted(f"{p.namespace}/{p.name}" for p in changed))

    def _stands(self, source: CredentialSource, rejected: RejectedPolicy) -> bool:
        """A source that means something else by now counts as gone: the old one was taken away."""
        return rejected.still_has(source, self._place(source)) and rejected.now(source) == source

    def _left_of(self, policy: AccessPolicy, rejected: RejectedPolicy) -> AccessPolicy | None:
        """The policy with the grants that it still has; itself where it still has all."""
        if not rejected.still_has(policy, self._place(policy)):
            return None
        now = rejected.now(policy)
        if not isinstance(now, AccessPolicy) or now == policy:
            return policy
        if (now.workloads, now.validity) != (policy.workloads, policy.validity):
            return None
        grants = tuple(grant for grant in policy.grants if grant in now.grants)
        return policy if grants == policy.grants else replace(policy, grants=grants)

    def _place(self, document: AccessPolicy | CredentialSource) -> str:
        return self._loaded.places.get((type(document), document.namespace, document.name), "")

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
        index = self._left or self._loaded.index
        return PodState(index, self._identity(), placeholders, proof, self._withdrawn, self._now())
