"""The policy in force: read from a folder, replaced as a whole when its content changed and is sound."""

import errno
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.evidence import Unverified
from proxy.core.identity import Claim, WorkloadIdentity
from proxy.core.policy import AccessPolicy, Mode
from proxy.core.services import Catalogue
from proxy.core.structs import Struct, field, hiding, replace
from proxy.documents.host_names import forget_suffixes
from proxy.documents.reader import DocumentName, name_of, read_documents
from proxy.documents.yaml_nodes import MAX_FILE_BYTES
from proxy.edge.attestation import Attested
from proxy.files.policy_files import SUFFIXES
from proxy.files.snapshots import Unread, read_tree, readable
from proxy.files.watch import digest
from proxy.judge.index import PolicyIndex
from proxy.transaction.pod import DEFAULT_HASHED_BODY, PodState
from proxy.transaction.slots import Placeholders

# What a log line shows of a bad policy; `podkey check` shows all.
MAX_SHOWN_PROBLEMS: Final = 10
# The end of a policy that was removed: no clock is turned back so far.
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LoadedPolicy(Struct, frozen=True):
    """Sound, and compiled. `files` is what it was made from; their digest is how people name it."""

    index: PolicyIndex
    sources: tuple[CredentialSource, ...]
    files: Mapping[str, bytes]
    sha256: str
    counted: int

    __repr__ = hiding("files")


class RejectedPolicy(Struct, frozen=True):
    """Why it is not put in force, for people; and what is certain of it all the same."""

    why: str
    # None stands for a document with problems of its own.
    found: Mapping[DocumentName, AccessPolicy | CredentialSource | None] = field(default_factory=dict)
    # Whether what is not among them may be there all the same.
    lost: bool = True


class PolicyFolder(Struct, frozen=True):
    """Where the policy is mounted, and whether it is enforced as it says, or only observes."""

    path: Path
    catalogue: Catalogue
    mode: Mode = Mode.ENFORCE

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
        try:
            result = read_documents(files, self.catalogue)
        finally:
            forget_suffixes()
        if result.problems:
            shown = [f"{problem}; {problem.fix}" for problem in result.problems[:MAX_SHOWN_PROBLEMS]]
            more = len(result.problems) - len(shown)
            why = " | ".join(shown) + (f" | and {more} more: see podkey check" if more else "")
            return RejectedPolicy(why, result.found, result.lost)
        documents = result.documents
        whole = Catalogue.of((*self.catalogue.values(), *documents.services))
        observing = self.mode is Mode.OBSERVE
        index = PolicyIndex(documents.policies, documents.sources, whole, observing=observing)
        return LoadedPolicy(index, documents.sources, files, digest(files), result.counted)


class Withdrawal(Struct, frozen=True):
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
        *,
        hashed_body_limit: int = DEFAULT_HASHED_BODY,
    ) -> None:
        self._now = now
        self._hashed_body_limit = hashed_body_limit
        self._declared = declared
        self._values = placeholder_values
        self._changed = changed
        self._loaded = loaded
        self._attested = Attested(Unverified("the pod's token has not been looked at yet"))
        # What policies that were rejected took away: sources, and policies.
        self._withdrawn: frozenset[CredentialRef] = frozenset()
        self._ended: frozenset[DocumentName] = frozenset()
        self._index = loaded.index
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
        self._withdrawn, self._ended, self._index = frozenset(), frozenset(), loaded.index
        self._replace()

    def withdraw(self, rejected: RejectedPolicy) -> Withdrawal:
        """The policy stays, without what is gone for certain: a removal does not wait for the rest.

        Nothing is put in its place. A policy that is gone still governs its hosts, and grants nothing there:
        half of an old folder and half of a new one might allow what neither does. And what was taken away
        once comes back only when it is there again as it was, or with a policy that is sound.
        """
        sources = frozenset(
            source.ref
            for source in self._loaded.sources
            if self._is_gone(source, source.ref in self._withdrawn, rejected)
        )
        policies = frozenset(
            name_of(policy)
            for policy in self._loaded.index.policies
            if self._is_gone(policy, name_of(policy) in self._ended, rejected)
        )
        if (sources, policies) != (self._withdrawn, self._ended):
            self._withdrawn, self._ended = sources, policies
            self._index = self._left() if policies else self._loaded.index
            self._replace()
        return Withdrawal(sorted(map(str, sources)), sorted(f"{space}/{name}" for _, space, name in policies))

    @staticmethod
    def _is_gone(
        document: AccessPolicy | CredentialSource,
        was_gone: bool,  # noqa: FBT001 - what it was after the last look
        rejected: RejectedPolicy,
    ) -> bool:
        name = name_of(document)
        if name not in rejected.found:
            return was_gone or not rejected.lost
        now = rejected.found[name]
        if now == document:
            return False
        # A source that means something else by now: the old one was taken away. An edited policy waits for
        # the rest to be sound, like every other change.
        return was_gone or (now is not None and isinstance(document, CredentialSource))

    def _left(self) -> PolicyIndex:
        base = self._loaded.index
        left = (
            replace(policy, validity=replace(policy.validity, not_after=_LONG_AGO))
            if name_of(policy) in self._ended
            else policy
            for policy in base.policies
        )
        return PolicyIndex(left, base.sources, base.catalogue, observing=base.observing)

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
        return PodState(
            self._index,
            self._identity(),
            placeholders,
            proof,
            self._withdrawn,
            self._now(),
            self._hashed_body_limit,
        )
