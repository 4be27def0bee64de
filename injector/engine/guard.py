"""What may not be done to podkey's own things: a way into the sidecar, and the ConfigMaps that it obeys.

Asked about three kinds of requests, and lets all others through. The chart's ValidatingAdmissionPolicies say
the same in CEL, without a webhook that could be down.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from injector.core.cluster import PodNeeds
from injector.core.outcome import Finding, Refuse
from injector.craft.adoption import sidecar_of
from injector.craft.dangers import dangers_of
from injector.craft.exposure import exposures_of
from injector.craft.reserved import is_reserved, reserved_uses
from injector.reading.pod_fields import PodFault, shown
from injector.reading.pods import Container, Pod, read_pod
from injector.reading.reviews import Answer, GroupVersionName, Review, answer_of
from proxy.core.contract import POLICY_CONFIG_MAP, TRUST_CONFIG_MAP
from proxy.core.injection_codes import InjectionCode
from proxy.core.structs import replace

_PODS: Final = GroupVersionName("", "v1", "pods")
_CONFIG_MAPS: Final = GroupVersionName("", "v1", "configmaps")
_OURS: Final = frozenset({POLICY_CONFIG_MAP, TRUST_CONFIG_MAP})
_WRITES: Final = frozenset({"CREATE", "UPDATE", "DELETE"})
# They empty a namespace that is being deleted, and remove what an owner has left.
_CLEANERS: Final = frozenset(
    {
        "system:serviceaccount:kube-system:namespace-controller",
        "system:serviceaccount:kube-system:generic-garbage-collector",
    }
)

type Raw = Mapping[str, Any]


def guard(review: Review, own_account: str) -> Answer:
    """`own_account` is the injector's, as the API server calls it: `system:serviceaccount:NAMESPACE:NAME`."""
    findings = tuple(_findings(review, own_account))
    return answer_of(review, Refuse(findings)) if findings else Answer(review.uid, dry_run=review.dry_run)


def _findings(review: Review, own_account: str) -> Iterator[Finding]:
    match (review.resource, review.sub_resource, review.operation):
        case (resource, "ephemeralcontainers", "UPDATE") if resource == _PODS:
            yield from _ephemeral(review)
        case (resource, "exec" | "attach", "CONNECT") if resource == _PODS:
            yield from _command(review)
        case (resource, "", operation) if resource == _CONFIG_MAPS and operation in _WRITES:
            yield from _config_map(review, own_account)
        case _:
            pass


# --- pods ----------------------------------------------------------------------------------------


def _ephemeral(review: Review) -> Iterator[Finding]:
    """A pod without a sidecar has nothing to protect. Containers that are there already were let in."""
    try:
        pod = read_pod(review.object, review.namespace)
        before = read_pod(review.old_object or {}, review.namespace)
    except PodFault as fault:
        yield Finding(InjectionCode.UNREADABLE_POD, fault.message)
        return
    if sidecar_of(pod) is None:
        return
    # Kubernetes only ever adds to them, and a name stands once (ValidatePodEphemeralContainersUpdate).
    known = {container.name for container in before.ephemeral_containers}
    new = tuple(one for one in pod.ephemeral_containers if one.name not in known)
    for container in new:
        target = container.raw.get("targetContainerName")
        if isinstance(target, str) and is_reserved(target):
            message = f"{container} targets {shown(target)}, whose processes it would see"
            yield Finding(InjectionCode.SIDECAR_TARGETED, message, "target an application container, or none")
    yield from _of_new(pod, new)


def _of_new(pod: Pod, new: tuple[Container, ...]) -> Iterator[Finding]:
    """What would keep a pod with such a container from starting keeps the container from joining it."""
    if new:
        alone = replace(pod, containers=(), init_containers=(), ephemeral_containers=new, volumes=())
        yield from dangers_of(alone)
        yield from reserved_uses(alone)
        used = {name for one in new for name in (*(mount.volume for mount in one.mounts), *one.devices)}
        # Which Secrets are sources' is not known here.
        seen = replace(alone, volumes=tuple(volume for volume in pod.volumes if volume.name in used))
        yield from exposures_of(seen, PodNeeds())


def _command(review: Review) -> Iterator[Finding]:
    """Without a name the API server takes the pod's only container, and the sidecar never is that."""
    name = (review.object or {}).get("container")
    if isinstance(name, str) and is_reserved(name):
        yield Finding(
            InjectionCode.SIDECAR_TARGETED,
            f"{review.sub_resource} is meant for container {shown(name)}",
            "name an application container",
        )


# --- ConfigMaps ----------------------------------------------------------------------------------


def _config_map(review: Review, own_account: str) -> Iterator[Finding]:
    if review.user == own_account or (review.operation == "DELETE" and review.user in _CLEANERS):
        return
    # Reviews of a collection that is deleted name nothing but in the object.
    names = {review.name, _name(review.object), _name(review.old_object)}
    for name in sorted(names & _OURS):
        yield Finding(
            InjectionCode.RESERVED_CONFIG_MAP,
            f"only podkey writes the ConfigMap {shown(name)}",
            "change the AccessPolicies and CredentialSources it is made from",
        )


def _name(config_map: Raw | None) -> str:
    metadata = (config_map or {}).get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
