"""What an earlier call has written into a pod and this one takes over: the API server calls twice, and does
not say so.

The two calls may be answered by replicas of which one has not yet seen a policy that the other has. What the
pod has already wins, as if the policy had come a moment later; it cannot give a pod more than its author may
write into it anyway. Image, command, walls and mode are not taken over: they have to be ours (`coverage.py`).
"""

from injector.core.cluster import PodNeeds
from injector.core.plan import Plan
from injector.craft.endpoints import endpoints_of
from injector.craft.reserved import secret_volume_number
from injector.reading.pods import Container, ContainerKind, Pod
from proxy.core.contract import (
    IDENTITY_AUDIENCE,
    PLACEHOLDERS,
    SIDECAR_CONTAINER,
    TOKENS_VOLUME,
)
from proxy.core.settings import Capture, Endpoint
from proxy.core.structs import Struct, replace
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import Setting
from proxy.documents.settings_table import CAPTURE, ENDPOINT_TOKEN, ENDPOINTS


class Existing(Struct, frozen=True):
    """What was drawn for the pod by the call before."""

    # The annotation's text, for `read_placeholders`.
    placeholders: str
    endpoint_token: str


def already(pod: Pod) -> Existing | None:
    """None for a pod that has no container with the sidecar's name where we put it."""
    sidecar = sidecar_of(pod)
    if sidecar is None:
        return None
    return Existing(pod.annotations.get(PLACEHOLDERS, ""), _setting(sidecar, ENDPOINT_TOKEN) or "")


def sidecar_of(pod: Pod) -> Container | None:
    places = (*pod.init_containers, *pod.containers)
    return next((one for one in places if one.is_named_ours and one.name == SIDECAR_CONTAINER), None)


def adopted(plan: Plan, pod: Pod) -> tuple[Plan, tuple[Endpoint, ...]]:
    """The plan for this pod as it is, and the endpoints of its sidecar."""
    sidecar = sidecar_of(pod)
    if sidecar is None:
        wanted = Capture.ENDPOINT in plan.capture
        return _with_endpoints(plan, endpoints_of(plan.services) if wanted else ())
    taken = replace(
        plan,
        capture=frozenset(_setting(sidecar, CAPTURE) or plan.capture),
        native=sidecar.kind is ContainerKind.INIT,
        needs=_needs(plan.needs, pod),
        endpoint_token=_setting(sidecar, ENDPOINT_TOKEN) or plan.endpoint_token,
    )
    return _with_endpoints(taken, _setting(sidecar, ENDPOINTS) or ())


def _with_endpoints(plan: Plan, endpoints: tuple[Endpoint, ...]) -> tuple[Plan, tuple[Endpoint, ...]]:
    """The sidecar does not start with endpoints for nothing, nor with endpoints that it should not serve."""
    if Capture.ENDPOINT not in plan.capture:
        return plan, ()
    if endpoints:
        return plan, endpoints
    return replace(plan, capture=(plan.capture - {Capture.ENDPOINT}) or frozenset({Capture.EXPLICIT})), ()


def _needs(needs: PodNeeds, pod: Pod) -> PodNeeds:
    tokens = next((volume for volume in pod.volumes if volume.name == TOKENS_VOLUME), None)
    audiences = tokens.audiences if tokens is not None else needs.audiences
    secrets = sorted(
        (number, volume.secrets[0])
        for volume in pod.volumes
        if (number := secret_volume_number(volume.name)) is not None and volume.secrets
    )
    return replace(
        needs,
        # Those that every pod has are written besides.
        audiences=tuple(a for a in audiences if a not in {"", IDENTITY_AUDIENCE}),
        secrets=tuple((use.name, use.keys) for _, use in secrets),
    )


def _setting[T](sidecar: Container, setting: Setting[T]) -> T | None:
    """None where it does not stand there as we would write it. Then it is not ours, and coverage says so."""
    value = sidecar.env.get(setting.name, {}).get("value")
    try:
        return setting.kind.parse(value) if isinstance(value, str) else None
    except Fault:
        return None
