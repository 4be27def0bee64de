"""What is decided about one pod before anything is written into it."""

from collections.abc import Mapping

from injector.core.cluster import PodNeeds
from injector.core.intent import Intent
from proxy.core.services import Service
from proxy.core.settings import Capture
from proxy.core.structs import Struct, field


class Plan(Struct, frozen=True):
    """`capture`, `native` and the rest are settled: `craft` writes them down and asks nobody any more."""

    intent: Intent
    needs: PodNeeds
    # Those of `needs.services`, in the same order.
    services: tuple[Service, ...]
    capture: frozenset[Capture]
    native: bool
    accelerated: bool = False
    # What created the pod, such as `Job/train`; empty for a pod that nobody owns.
    owner: str = ""
    # Placeholders of this pod by variable, drawn or, where the pod has its sidecar already, read from it.
    placeholders: Mapping[str, str] = field(default_factory=dict)
    # The path segment of base URLs; empty where `capture` has no endpoints.
    endpoint_token: str = ""
