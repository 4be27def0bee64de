"""A review of a new pod becomes an answer, in seven steps:

1. Anything but a new pod is let through.
2. Its namespace has to be known: whether its pods get a sidecar stands in its labels.
3. The pod is read.
4. What the policies that select it need is looked up, and it is decided whether it gets a sidecar.
5. What it gets is settled: how it is captured, whether the sidecar is native, its placeholders.
6. The patch is made. A pod that has everything already has an empty one.
7. The answer says what became of it, with all reasons and warnings.

It never raises, whatever stands in the review, and nothing in it waits.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from injector.core.cluster import Namespace, PodNeeds
from injector.core.outcome import Finding, Inject, Outcome, Refuse, Skip
from injector.core.plan import Plan
from injector.core.settings import InjectorSettings, NativeSidecars
from injector.craft.adoption import Existing, already, sidecar_of
from injector.craft.eligibility import decide
from injector.craft.injection import Injected, fingerprint, inject
from injector.craft.levels import capture_of
from injector.craft.patch_text import patch_text
from injector.craft.placeholders import Choose, draw, read_placeholders
from injector.engine.happenings import EventKind, EventReason, Happening, Involved, about_namespace
from injector.engine.world import World
from injector.reading.annotations import INJECTOR_ANNOTATIONS, read_intent
from injector.reading.pod_fields import PodFault, listed, shown
from injector.reading.pods import Pod, read_pod
from injector.reading.reviews import Answer, GroupVersionName, Review, answer_of
from proxy.core.contract import INJECT, INJECTED
from proxy.core.injection_codes import InjectionCode
from proxy.core.services import ALPHABETS, Service
from proxy.core.settings import Capture

_POD: Final = GroupVersionName("", "v1", "Pod")
# A watch is behind by milliseconds, and clients of Kubernetes wait in whole seconds.
_RETRY_SECONDS: Final = 1
# What is found of containers and volumes of ours that are not as we write them.
_OF_OURS: Final = frozenset({InjectionCode.RESERVED_CONTAINER, InjectionCode.RESERVED_VOLUME})
# 128 bits, as `podkey run` draws one where nobody gave it any.
_TOKEN_LENGTH: Final = 32


def mutate(review: Review, world: World, choose: Choose) -> Answer:
    """`choose` is chance."""
    # 1.
    if not is_new_pod(review) or review.object is None:
        message = f"the review is about {_subject(review)}"
        return answer_of(review, Skip((Finding(InjectionCode.NOT_A_NEW_POD, message),)))
    # 2.
    namespace = world.namespaces.get(review.namespace)
    if namespace is None:
        return _not_seen(review, f"namespace {shown(review.namespace)}")
    # 3.
    try:
        pod = read_pod(review.object, review.namespace)
    except PodFault as fault:
        return answer_of(review, _unreadable(fault))
    # 4.
    needs = _needs(pod, namespace, world)
    outcome = decide(pod, namespace, needs, world.settings.pods)
    if world.asked_by_selector and _has_no_label(outcome):
        # The API server has one, or it would not have asked.
        return _not_seen(review, f"the label `{INJECT}` of namespace {shown(review.namespace)}")
    if not isinstance(outcome, Inject):
        return answer_of(review, outcome)
    # 5.
    accelerated = any(finding.code is InjectionCode.ACCELERATOR for finding in outcome.reasons)
    plan = _plan(pod, namespace, needs, world, choose, accelerated=accelerated)
    # 6.
    settings = world.settings
    made = inject(pod, plan, settings.sidecar, settings.pods) if isinstance(plan, Plan) else plan
    warnings = (*outcome.warnings, *made.warnings)
    # 7.
    if not isinstance(made, Injected):
        retry = _RETRY_SECONDS if _is_of_another_release(pod, made, settings) else 0
        return answer_of(review, Refuse(made.reasons, warnings), retry_after_seconds=retry)
    return answer_of(review, Inject(outcome.reasons, warnings), _rendered(made))


def judge(raw: object, namespace: Namespace, world: World) -> Outcome:
    """Whether the pod would get a sidecar, were it made now: steps 3 and 4 alone, for the detector."""
    try:
        pod = read_pod(raw, namespace.name)
    except PodFault as fault:
        return _unreadable(fault)
    return decide(pod, namespace, _needs(pod, namespace, world), world.settings.pods)


def _not_seen(review: Review, what: str) -> Answer:
    message = f"the injector has not seen {what} yet"
    finding = Finding(InjectionCode.NAMESPACE_UNKNOWN, message, "try again in a moment")
    return answer_of(review, Refuse((finding,)), retry_after_seconds=_RETRY_SECONDS)


def _is_of_another_release(pod: Pod, made: Refuse, settings: InjectorSettings) -> bool:
    """Between two calls the API server came from a replica with other settings to us. The next attempt begins
    with the pod as its author wrote it."""
    written = pod.annotations.get(INJECTED)
    return (
        sidecar_of(pod) is not None
        and written not in {None, fingerprint(settings.sidecar, settings.pods)}
        and all(finding.code in _OF_OURS for finding in made.reasons)
    )


def _has_no_label(outcome: Outcome) -> bool:
    return any(finding.code is InjectionCode.NAMESPACE_NOT_ENABLED for finding in outcome.reasons)


def is_new_pod(review: Review) -> bool:
    return review.kind == _POD and review.operation == "CREATE" and not review.sub_resource


def _subject(review: Review) -> str:
    sub_resource = f"/{review.sub_resource}" if review.sub_resource else ""
    return f"{shown(review.operation)} of {shown(review.resource.name + sub_resource)}"


def _unreadable(fault: PodFault) -> Refuse:
    return Refuse((Finding(InjectionCode.UNREADABLE_POD, fault.message, "mend the field"),))


def _needs(pod: Pod, namespace: Namespace, world: World) -> PodNeeds:
    return world.book.needs(namespace, pod.service_account, pod.labels)


# --- what it gets --------------------------------------------------------------------------------


def _plan(
    pod: Pod, namespace: Namespace, needs: PodNeeds, world: World, choose: Choose, *, accelerated: bool
) -> Plan | Refuse:
    rules, catalogue = world.settings.pods, world.book.catalogue
    intent = read_intent(pod.annotations)
    if isinstance(intent, tuple):
        return Refuse(intent)
    services = tuple(catalogue[name] for name in needs.services)
    capture = capture_of(namespace, intent, services, rules)
    placeholders = _placeholders(pod, already(pod), services, world, choose)
    if isinstance(capture, Finding) or isinstance(placeholders, Finding):
        return Refuse(tuple(one for one in (capture, placeholders) if isinstance(one, Finding)))
    endpoints = Capture.ENDPOINT in capture
    return Plan(
        intent=intent,
        needs=needs,
        services=services,
        capture=capture,
        native=_is_native(world),
        accelerated=accelerated,
        owner=str(pod.owner or ""),
        placeholders=placeholders,
        endpoint_token=choose(ALPHABETS["hex"], _TOKEN_LENGTH) if endpoints else "",
    )


def _placeholders(
    pod: Pod, existing: Existing | None, services: tuple[Service, ...], world: World, choose: Choose
) -> Mapping[str, str] | Finding:
    """Drawn for the pod, or what an earlier call has drawn for it."""
    if existing is not None:
        return read_placeholders(existing.placeholders, world.book.catalogue)
    if brought := sorted(INJECTOR_ANNOTATIONS & pod.annotations.keys()):
        message = f"the pod brings {listed(brought, shown)}, and no sidecar"
        fix = "take it out: the injector writes it"
        return Finding(InjectionCode.RESERVED_ANNOTATION, message, fix)
    return draw(services, choose)


def _is_native(world: World) -> bool:
    native = world.settings.pods.native_sidecars
    if native is NativeSidecars.AUTO:
        return world.facts.native_sidecars
    return native is NativeSidecars.ALWAYS


def _rendered(made: Injected) -> bytes:
    return patch_text(made.patch).encode() if made.patch else b""


# --- what is told of it --------------------------------------------------------------------------

_NAMED: Final = ("initContainers", "containers", "ephemeralContainers", "volumes")
# RFC 1123, as Kubernetes wants it of their names.
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch
# Skipped although something wants a sidecar for it. The other skips are what somebody has asked for.
_SKIPS_TOLD: Final = frozenset({InjectionCode.HOST_NETWORK, InjectionCode.HOST_PID, InjectionCode.WINDOWS})


def happening_of(review: Review, answer: Answer) -> Happening | None:
    """The Event about a pod: None for a dry run, for what is asked again, and where there is nothing to tell,
    or nobody who asked: an API server always says who.

    A second call about the same pod has an empty patch, and was told of by the first. Messages have no names
    of pods in them: what one owner's pods have in common is one Event.
    """
    outcome = answer.outcome
    if answer.dry_run or answer.retry_after_seconds or outcome is None or not review.user:
        return None
    match outcome:
        case Inject(reasons, warnings) if answer.patch:
            kind = EventKind.WARNING if warnings else EventKind.NORMAL
            reason, what = EventReason.INJECTED, "podkey's sidecar was added"
        case Refuse(reasons, warnings):
            kind, reason, what = EventKind.WARNING, EventReason.REFUSED, "podkey refused a pod"
        case Skip(reasons, warnings) if any(finding.code in _SKIPS_TOLD for finding in reasons):
            kind, reason, what = EventKind.NORMAL, EventReason.SKIPPED, "podkey's sidecar was not added"
        case _:
            return None
    findings = (*reasons, *warnings)
    # The API server checks names after us. An Event is no place for a text of anybody's choice.
    named = all(map(_LABEL, _names(review)))
    message = f"{what}: {' | '.join(str(one) if named else one.code.value for one in findings)}"
    return Happening(review.namespace, _involved(review), kind, reason, message)


def _names(review: Review) -> Iterator[str]:
    """What findings call containers and volumes."""
    spec: Any = (review.object or {}).get("spec")
    for field in _NAMED if isinstance(spec, dict) else ():
        parts = spec.get(field)
        for part in parts if isinstance(parts, list) else ():
            name = part.get("name") if isinstance(part, dict) else None
            if isinstance(name, str):
                yield name


def _involved(review: Review) -> Involved:
    """The pod's controller; the pod itself where it has none; its namespace where it has no name yet."""
    metadata: Any = (review.object or {}).get("metadata")
    references = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    for reference in references if isinstance(references, list) else ():
        match reference:
            case {"controller": True, "apiVersion": str(version), "kind": str(kind), "name": str(name)}:
                return Involved(version, kind, name, str(reference.get("uid") or ""))
            case _:
                pass
    return Involved("v1", "Pod", review.name) if review.name else about_namespace(review.namespace)
