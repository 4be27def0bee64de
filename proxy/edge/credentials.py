"""Everything between a pod's token and a lease: the doors, the proof of who it is, the keeper of leases."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.core.contract import token_file
from proxy.core.settings import DIRECT, ProxySettings
from proxy.edge.attestation import Attestation, Attested
from proxy.edge.authority import TrustProblem
from proxy.edge.clock import SystemClock
from proxy.edge.issuer_keys import DiscoveredKeys, FileKeys, KeySource
from proxy.edge.late_door import LateDoor
from proxy.edge.lease_keeper import LeaseKeeper
from proxy.edge.metrics import Metrics
from proxy.edge.outgoing_trust import cluster_tls_context, tls_context
from proxy.edge.performing import Performer
from proxy.edge.trust import PodTrust
from proxy.sources.steps import HttpCall, HttpReply, StepFailed
from proxy.telemetry.log import Log
from proxy.transaction.pod import PodState

if TYPE_CHECKING:
    from proxy.edge.outgoing import OutgoingCall

CLUSTER_CA_FIX: Final = "give the authority of that server in PODKEY_DISCOVERY_CA_FILE"


class ClusterDoor:
    """The way to the issuer, with its own roots. They are read anew for each call: there are two an hour, and
    a cluster replaces its authority while pods run."""

    def __init__(
        self, settings: ProxySettings, trust: PodTrust, observe: "Callable[[OutgoingCall], None]"
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._observe = observe

    async def call(self, call: HttpCall) -> HttpReply | StepFailed:
        file = self._settings.identity.discovery_ca_file
        if file is None:
            # A public issuer, outside as sources are.
            context, egress = self._public, self._settings.egress
        else:
            read = cluster_tls_context(Path(file))
            if isinstance(read, TrustProblem):
                return StepFailed(str(read))
            context, egress = (lambda: read), DIRECT
        door = LateDoor(context, egress, self._observe, trust_fix=CLUSTER_CA_FIX)
        try:
            return await door.call(call)
        finally:
            await door.close()

    def _public(self) -> ssl.SSLContext:
        return tls_context(self._trust.upstreams.certificates)


class Credentials:
    def __init__(  # noqa: PLR0917 - its world
        self,
        settings: ProxySettings,
        trust: PodTrust,
        clock: SystemClock,
        state: Callable[[], PodState],
        publish: Callable[[Attested], None],
        metrics: Metrics,
        log: Log,
    ) -> None:
        def observe(call: "OutgoingCall") -> None:
            metrics.source_asked(call.outcome, call.seconds)

        def published(attested: Attested) -> None:
            verified = attested.verified
            metrics.identity(verified.evidence.expires if verified is not None else None)
            publish(attested)

        folders, about = settings.folders, settings.identity
        self._door = LateDoor(lambda: tls_context(trust.upstreams.certificates), settings.egress, observe)
        performer = Performer(Path(folders.secrets), Path(folders.tokens), self._door, clock)
        self.leases = LeaseKeeper(
            performer,
            lambda: state().identity,
            clock,
            log,
            metrics.lease,
            lambda: state().unproven(clock.now()) is None,
        )
        self.attestation = Attestation(
            Path(folders.tokens) / token_file(about.audience),
            _keys(settings, ClusterDoor(settings, trust, observe)),
            about,
            settings.pod,
            clock,
            published,
            log,
            metrics.token_judged,
        )

    async def close(self) -> None:
        await self.leases.close()
        await self._door.close()


def _keys(settings: ProxySettings, door: ClusterDoor) -> KeySource:
    about = settings.identity
    if about.jwks_file is not None:
        return FileKeys(Path(about.jwks_file), about.issuer)
    return DiscoveredKeys(door, about)
