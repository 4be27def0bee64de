"""Whom this pod trusts and who trusts it, as one thing with a life: opened at start, renewed in time."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from proxy.core.hosts import Hostname
from proxy.core.settings import TrustSettings
from proxy.core.structs import Struct
from proxy.edge.authority import PodAuthority, TrustProblem, load_or_make, save
from proxy.edge.leaves import Leaf, Leaves
from proxy.edge.trust_files import UpstreamRoots, publish, upstream_roots


class NoLeafError(Exception):
    """No certificate can be made for a host."""


class PodTrust(Struct):
    """The authority, what it has published, and the leaves it signs."""

    authority: PodAuthority
    upstreams: UpstreamRoots
    leaves: Leaves
    notes: tuple[str, ...]
    _state: Path
    _published: Path
    _settings: TrustSettings

    @classmethod
    def open(
        cls,
        state: Path,
        published: Path,
        settings: TrustSettings,
        pod: str,
        now: Callable[[], datetime],
    ) -> "PodTrust | TrustProblem":
        opened = load_or_make(state, now=now(), lifetime=settings.ca_lifetime, pod=pod)
        if isinstance(opened, TrustProblem):
            return opened
        roots_file = Path(settings.roots_file) if settings.roots_file else None
        upstreams = upstream_roots(roots_file, tuple(map(Path, settings.upstream_ca_files)), opened.authority)
        if isinstance(upstreams, TrustProblem):
            return upstreams
        problem = publish(published, opened.authority, upstreams)
        if problem is not None:
            return problem
        leaves = Leaves(opened.authority, now, lifetime=settings.leaf_lifetime)
        notes = (*opened.notes, *upstreams.notes)
        return cls(opened.authority, upstreams, leaves, notes, state, published, settings)

    def renew_when_due(self, now: datetime) -> TrustProblem | bool:
        """Whether the authority was renewed; its key stays, so that running applications go on."""
        if not self.authority.needs_renewal(now):
            return False
        renewed = self.authority.renewed(now=now, lifetime=self._settings.ca_lifetime)
        problem = save(renewed, self._state) or publish(self._published, renewed, self.upstreams)
        if problem is not None:
            return problem
        self.authority = renewed
        self.leaves.use(renewed)
        return True

    def leaf_for(self, host: Hostname) -> Leaf:
        leaf = self.leaves.leaf_for(host)
        if isinstance(leaf, TrustProblem):
            raise NoLeafError
        return leaf
