"""The patch that gives a pod its sidecar, as a fixpoint: what is there already and is ours is left alone.

    first       podkey-redirect, podkey, then the user's init containers in their order: a native sidecar is
                started, and has answered /readyz, before what stands behind it
    old nodes   the user's init containers, podkey-redirect; podkey is the first of the containers. The user's
                init containers run before there is anybody to ask, so nothing is written into them

The API server calls again when another webhook has changed the pod. Containers that it put in front of ours
stay there: the order of others is theirs, and a container of ours is never moved.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from injector.core.outcome import Finding, Refuse
from injector.core.plan import Plan
from injector.core.settings import PodRules, SidecarSettings
from injector.craft.adoption import adopted
from injector.craft.coverage import bounded, container_faults, not_expected, volume_faults
from injector.craft.environment import equip, variables_of
from injector.craft.jsonpatch import Editor, Operation
from injector.craft.measures import measures_of
from injector.craft.outfit import outfit_of
from injector.craft.owners import images_text, owner_text
from injector.craft.placeholders import render_placeholders
from injector.craft.reserved import is_named_our_volume
from injector.craft.sidecar import with_token
from injector.reading.pod_fields import listed
from injector.reading.pods import Container, ContainerKind, Pod
from proxy.core import contract
from proxy.core.injection_codes import InjectionCode
from proxy.core.redirect import Redirect
from proxy.core.settings import Capture
from proxy.core.structs import Struct
from proxy.documents.settings_table import GPU

type Raw = Mapping[str, Any]

# Which container `kubectl logs` and `kubectl exec` mean where none is named: not the sidecar.
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_JOB: Final = "Job/"
# Restart policies of pods that are meant to end.
_ENDING: Final = frozenset({"OnFailure", "Never"})
_INITS: Final = ("spec", ContainerKind.INIT.value)
_APPS: Final = ("spec", ContainerKind.APP.value)


class Injected(Struct, frozen=True):
    patch: tuple[Operation, ...]
    warnings: tuple[Finding, ...] = ()


def inject(pod: Pod, plan: Plan, sidecar: SidecarSettings, rules: PodRules) -> Injected | Refuse:
    plan, endpoints = adopted(plan, pod)
    outfit = outfit_of(measures_of(pod, plan, endpoints, sidecar, rules))
    if isinstance(outfit, Refuse):
        return outfit
    expected = outfit.containers
    if Capture.ENDPOINT in plan.capture:
        expected = (*expected[:-1], with_token(expected[-1], plan.endpoint_token))
    ours = _ours(pod)
    wrong_volumes = bounded(_volume_faults(pod, outfit.volumes), "spec.volumes")
    if faults := (*_container_faults(pod, ours, plan, expected), *wrong_volumes):
        return Refuse(faults)

    editor = Editor(pod.raw)
    given = variables_of(plan, endpoints, rules)
    warnings = [finding for one in _after_sidecar(pod, ours, plan) for finding in equip(editor, one, given)]
    _mend(editor, ours, plan)
    # Behind what has been written into containers by their index.
    _place(editor, ours, plan, expected)
    there = {volume.name for volume in pod.volumes}
    editor.extend(("spec", "volumes"), [volume for volume in outfit.volumes if volume["name"] not in there])
    annotations = {contract.INJECTED: fingerprint(sidecar, rules), **_annotations(pod, plan)}
    editor.update(("metadata", "annotations"), annotations)
    return Injected(editor.operations, (*_told(pod, plan, outfit.redirect), *warnings))


@lru_cache(maxsize=8)  # the settings are the same for the whole life of the injector; tests have several
def fingerprint(sidecar: SidecarSettings, rules: PodRules) -> str:
    """Of all that makes two replicas write other containers for the same pod: while one release takes the
    place of another, a pod may come to both."""
    made_of = (
        sidecar.image,
        sidecar.image_pull_policy,
        sidecar.cluster,
        sorted(sidecar.environment.items()),
        sidecar.token_seconds,
        [str(cidr) for cidr in rules.cluster_cidrs if rules.exclude_cluster],
    )
    return sha256(json.dumps(made_of).encode()).hexdigest()[:12]


# --- what is there already -----------------------------------------------------------------------------


type Ours = Mapping[str, Container]


def _ours(pod: Pod) -> Ours:
    return {one.name: one for one in (*pod.init_containers, *pod.containers) if one.is_named_ours}


def _container_faults(pod: Pod, ours: Ours, plan: Plan, expected: Sequence[Raw]) -> Iterator[Finding]:
    by_name = {container["name"]: container for container in expected}
    if not plan.native and all(one.is_named_ours for one in pod.containers):
        # Somebody else has written it; or the API server would refuse the pod, were it not for our container.
        message = f"`{_APPS[-1]}` has none but podkey's own `{contract.SIDECAR_CONTAINER}`"
        yield Finding(InjectionCode.RESERVED_CONTAINER, message, "add the application's")
    for name, found in ours.items():
        if name in by_name:
            yield from container_faults(found, by_name[name])
        else:
            yield not_expected(InjectionCode.RESERVED_CONTAINER, found.path, name)


def _volume_faults(pod: Pod, expected: tuple[Raw, ...]) -> Iterator[Finding]:
    by_name = {volume["name"]: volume for volume in expected}
    for found in pod.volumes:
        if found.name in by_name:
            yield from volume_faults(found, by_name[found.name])
        elif is_named_our_volume(found.name):
            yield not_expected(InjectionCode.RESERVED_VOLUME, f"spec.volumes[{found.index}]", found.name)


def _after_sidecar(pod: Pod, ours: Ours, plan: Plan) -> Iterator[Container]:
    """The user's containers that start when the sidecar is ready. In those before it, a variable that names a
    file which is not there yet makes most programs fail."""
    if plan.native:
        behind = max((container.index for container in ours.values()), default=-1)
        yield from (one for one in pod.init_containers if one.index > behind)
    yield from (one for one in pod.containers if not one.is_named_ours)


# --- what is written -------------------------------------------------------------------------------------


def _place(editor: Editor, ours: Ours, plan: Plan, expected: Sequence[Raw]) -> None:
    """Those of ours that are missing, beside the one that is there, or in front."""
    missing = [container for container in expected if container["name"] not in ours]
    if plan.native:
        redirect = ours.get(contract.REDIRECT_CONTAINER)
        front = next((container.index for container in ours.values()), 0)
        editor.insert(_INITS, front + (redirect is not None), missing)
        return
    for container in missing:
        if container["name"] == contract.SIDECAR_CONTAINER:
            editor.insert(_APPS, 0, [container])
        else:
            editor.extend(_INITS, [container])


def _mend(editor: Editor, ours: Ours, plan: Plan) -> None:
    """Another webhook may have added an accelerator, or taken it away, since the sidecar was written."""
    sidecar = ours.get(contract.SIDECAR_CONTAINER)
    if sidecar is None:
        return
    value = "true" if plan.accelerated else "false"
    for index, entry in enumerate(sidecar.raw["env"]):
        if entry.get("name") == GPU.name and entry.get("value") != value:
            editor.put(("spec", sidecar.kind.value, sidecar.index, "env", index, "value"), value)


def _annotations(pod: Pod, plan: Plan) -> dict[str, str]:
    theirs = [one for one in (*pod.init_containers, *pod.containers) if not one.is_named_ours]
    annotations = {
        contract.OWNER: owner_text(plan.owner),
        contract.IMAGES: images_text(theirs),
        contract.PLACEHOLDERS: render_placeholders(plan.placeholders),
    }
    if not plan.native and DEFAULT_CONTAINER not in pod.annotations:
        annotations[DEFAULT_CONTAINER] = next(one.name for one in pod.containers if not one.is_named_ours)
    return annotations


# --- what is said ----------------------------------------------------------------------------------------


def _told(pod: Pod, plan: Plan, redirect: Redirect) -> Iterator[Finding]:
    if not plan.native:
        message = "the sidecar is an ordinary container, for a node runs a kubelet before 1.29"
        yield Finding(InjectionCode.OLD_KUBELETS, message, "upgrade the nodes")
        if plan.owner.startswith(_JOB) or pod.restart_policy in _ENDING:
            message = "the pod goes on running when its own containers have ended"
            fix = "upgrade the nodes, or set `activeDeadlineSeconds`"
            yield Finding(InjectionCode.JOB_WILL_NOT_END, message, fix)
    left_out = [port for port in plan.needs.ports if port not in redirect.ports]
    if Capture.TRANSPARENT in plan.capture and left_out:
        message = f"policies name hosts on ports that are not captured: {listed(left_out)}"
        ports = ",".join(map(str, (*redirect.ports, *left_out)))
        fix = f"annotate the pod with {contract.API_GROUP}/capture-ports: {ports}"
        yield Finding(InjectionCode.NOT_CAPTURED, message, fix)
