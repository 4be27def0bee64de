"""What the containers and volumes of ours are cut by: pods of the same measures get the same ones."""

from typing import Final

from injector.core.cluster import PodNeeds
from injector.core.intent import Intent
from injector.core.plan import Plan
from injector.core.settings import PodRules, SidecarSettings
from injector.craft.resources import budgeted, is_guaranteed
from injector.reading.pods import Pod
from proxy.core.settings import Capture, Endpoint
from proxy.core.structs import Struct


class Measures(Struct, frozen=True):
    """All of it can be hashed, and none of it is chance."""

    intent: Intent
    # Only what becomes volumes, so that namespaces share what they have in common.
    needs: PodNeeds
    endpoints: tuple[Endpoint, ...]
    capture: frozenset[Capture]
    native: bool
    accelerated: bool
    # What of CPU and memory the pod itself has, for all of its containers together.
    budgeted: frozenset[str]
    guaranteed: bool
    sidecar: SidecarSettings
    rules: PodRules

    @property
    def size(self) -> int:
        """About how much text is made of them. What an earlier call has left in a pod is anybody's."""
        intent, needs = self.intent, self.needs
        numbers = len(intent.capture_ports) + len(intent.exclude_ports) + len(intent.exclude_cidrs)
        texts = [*needs.audiences, *(endpoint.target for endpoint in self.endpoints)]
        for name, keys in needs.secrets:
            texts += (name, *keys)
        return sum(map(len, texts)) + _ITEM * (numbers + len(texts))


# What stands around one, or the number or network itself.
_ITEM: Final = 32


def measures_of(
    pod: Pod, plan: Plan, endpoints: tuple[Endpoint, ...], sidecar: SidecarSettings, rules: PodRules
) -> Measures:
    return Measures(
        intent=plan.intent,
        needs=PodNeeds(audiences=plan.needs.audiences, secrets=plan.needs.secrets),
        endpoints=endpoints,
        capture=plan.capture,
        native=plan.native,
        accelerated=plan.accelerated,
        budgeted=budgeted(pod.resources),
        guaranteed=is_guaranteed(pod),
        sidecar=sidecar,
        rules=rules,
    )
