"""The policies of one namespace, ready to be asked what a pod of it needs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from injector.core.cluster import Namespace, PodNeeds
from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.policy import EVERY_SERVICE_ACCOUNT, AccessPolicy
from proxy.core.selection import selects, selects_namespace
from proxy.core.services import Catalogue
from proxy.core.source_needs import audiences_of, secret_keys_of

# Pods of one template need the same, and a namespace has some dozens of templates. Labels that differ from
# pod to pod and that policies mention must not make us keep an entry for each pod there ever was.
MAX_REMEMBERED: Final = 512

Asked = tuple[str, frozenset[tuple[str, str]]]


class NamespaceNeeds:
    """By service account; and what was found out once is remembered by the labels that policies mention."""

    def __init__(
        self,
        namespace: Namespace,
        policies: Iterable[AccessPolicy],
        sources: Mapping[CredentialRef, CredentialSource],
        catalogue: Catalogue,
    ) -> None:
        self.namespace = namespace
        # The API server puts it on every namespace; one that is made up for `podkey inject` may be without.
        self._labels = {NAMESPACE_NAME_LABEL: namespace.name, **namespace.labels}
        self._sources = sources
        self._catalogue = catalogue
        self._by_account: dict[str, list[AccessPolicy]] = defaultdict(list)
        keys: set[str] = set()
        for policy in policies:
            if selects_namespace(policy, namespace.name, self._labels):
                who = policy.workloads
                for account in who.service_accounts or (EVERY_SERVICE_ACCOUNT,):
                    self._by_account[account].append(policy)
                keys |= {need.key for need in who.pod_selector.requirements} if who.pod_selector else set()
        self._keys = frozenset(keys)
        self._remembered: dict[Asked, PodNeeds] = {}

    def of(self, service_account: str, labels: Mapping[str, str]) -> PodNeeds:
        account = service_account if service_account in self._by_account else ""
        asked = account, frozenset(pair for pair in labels.items() if pair[0] in self._keys)
        found = self._remembered.get(asked)
        if found is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[asked] = self._gather(account, dict(asked[1]))
        return found

    def _gather(self, account: str, labels: Mapping[str, str]) -> PodNeeds:
        name = self.namespace.name
        candidates = (p for a in {account, EVERY_SERVICE_ACCOUNT} for p in self._by_account.get(a, ()))
        found = [policy for policy in candidates if selects(policy, name, account, labels, self._labels)]
        grants = [(policy.namespace, grant) for policy in found for grant in policy.grants]
        refs = {CredentialRef(namespace, grant.credential) for namespace, grant in grants}
        sources = [self._sources[ref] for ref in refs if ref in self._sources]
        secrets: dict[str, set[str]] = defaultdict(set)
        # A Secret by the same name in the pod's namespace is not the one that a cluster-wide source means.
        for source in (source for source in sources if source.namespace == name):
            for secret, keys in secret_keys_of(source.kind).items():
                secrets[secret] |= keys
        services = {grant.service for _, grant in grants if grant.service is not None}
        return PodNeeds(
            policies=tuple(sorted({f"{policy.namespace}/{policy.name}" for policy in found})),
            services=tuple(sorted(services & self._catalogue.keys())),
            ports=tuple(sorted({port for _, grant in grants for port in grant.ports})),
            audiences=tuple(sorted({a for source in sources for a in audiences_of(source.kind)})),
            secrets=tuple((secret, tuple(sorted(keys))) for secret, keys in sorted(secrets.items())),
        )
