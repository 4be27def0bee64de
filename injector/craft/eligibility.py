"""Whether a pod gets a sidecar, is left as it is, or may not start. The first row that fits counts:

    what is so                                                           the outcome
    -------------------------------------------------------------------  ----------------------------------
 1  annotation `disabled`                                                Skip disabled
 2  namespace kube-system, kube-public, kube-node-lease, podkey's own    Skip protected_namespace
 3  mirror pod                                                           Skip mirror_pod
 4  namespace label of a value that we do not know                       Refuse bad_namespace_label
 5  namespace label absent or `disabled`, whatever the pod asks for      Skip namespace_not_enabled
 6  not wanted (see below), but an annotation of ours is wrong           Refuse bad_annotation
 7  not wanted                                                           Skip not_needed
 8  wanted but not asked for, where no sidecar can be; an annotation of  Refuse bad_annotation
    ours is wrong
 9  the same, with sound annotations                                     Skip host_network|host_pid|windows
10  wanted, and anything of 6 or 9, or something breaks the promise      Refuse, with all that is so
11  wanted                                                               Inject, with all that wants it

Wanted is a pod that asks for it (annotation `enabled` or `observe`), any pod of a namespace with the label
`all`, one that asks for an accelerator, and one that a policy selects.
"""

from collections.abc import Iterator
from typing import Final

from injector.core.cluster import Namespace, NamespaceInjection, PodNeeds
from injector.core.intent import Wish
from injector.core.outcome import Finding, Inject, Outcome, Refuse, Skip
from injector.core.settings import OnDanger, PodRules
from injector.craft.accelerators import accelerators_of
from injector.craft.dangers import dangers_of, users_unknown
from injector.craft.exposure import exposures_of, token_warnings
from injector.craft.reserved import reserved_uses
from injector.reading.annotations import read_intent, wish_of
from injector.reading.namespaces import injection_of
from injector.reading.pod_fields import listed, shown
from injector.reading.pods import Pod
from proxy.core.contract import INJECT
from proxy.core.injection_codes import INJECTION_CODES, CodeKind, InjectionCode

# Where a webhook that fails must never keep the cluster from mending itself; and podkey's own, which is a
# setting.
PROTECTED_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def decide(pod: Pod, namespace: Namespace, needs: PodNeeds, rules: PodRules) -> Outcome:
    """Reasons and warnings come in the same order each time."""
    wish = wish_of(pod.annotations)
    if wish is Wish.DISABLED:
        return _skip(InjectionCode.DISABLED, f"the pod's annotation `{INJECT}` is `disabled`")
    if namespace.name in PROTECTED_NAMESPACES or namespace.name == rules.own_namespace:
        return _skip(InjectionCode.PROTECTED_NAMESPACE, f"pods of {shown(namespace.name)} get no sidecar")
    if pod.mirror:
        return _skip(InjectionCode.MIRROR_POD, "the pod is the image of a static pod")
    injection = injection_of(namespace)
    intent = read_intent(pod.annotations)
    bad = intent if isinstance(intent, tuple) else ()
    if isinstance(injection, Finding):
        return Refuse((injection, *bad))
    if injection is NamespaceInjection.DISABLED:
        message = f"namespace {shown(namespace.name)} is not labelled `{INJECT}`"
        return _skip(
            InjectionCode.NAMESPACE_NOT_ENABLED, message, f"label it `{INJECT}=enabled`" if wish else ""
        )
    reasons = tuple(_wanted(pod, wish, injection, needs, rules))
    if not reasons:
        message = "the pod asks for no accelerator, and no policy selects it"
        return Refuse(bad) if bad else _skip(InjectionCode.NOT_NEEDED, message)
    elsewhere = tuple(_elsewhere(pod))
    if elsewhere and wish is None:
        return Refuse(bad) if bad else Skip(elsewhere)
    return _judged(reasons, (*bad, *elsewhere), pod, needs, rules)


def _wanted(
    pod: Pod, wish: Wish | None, injection: NamespaceInjection, needs: PodNeeds, rules: PodRules
) -> Iterator[Finding]:
    if wish is not None:
        yield Finding(InjectionCode.ASKED, f"the pod's annotation `{INJECT}` is `{wish.value}`")
    if injection is NamespaceInjection.ALL:
        yield Finding(InjectionCode.EVERY_POD, f"the namespace's label `{INJECT}` is `all`")
    if accelerators := accelerators_of(pod, rules.accelerators):
        yield Finding(InjectionCode.ACCELERATOR, f"the pod asks for {listed(accelerators, shown)}")
    if needs.policies:
        yield Finding(InjectionCode.POLICY_SELECTS, f"it is selected by {listed(needs.policies, shown)}")


def _elsewhere(pod: Pod) -> Iterator[Finding]:
    """Where a sidecar cannot stand between an application and the network."""
    fix = f"take it out, or annotate the pod with `{INJECT}: disabled`"
    if pod.host_network:
        yield Finding(InjectionCode.HOST_NETWORK, "`hostNetwork` is true", fix)
    if pod.host_pid:
        yield Finding(InjectionCode.HOST_PID, "`hostPID` is true", fix)
    if pod.windows:
        yield Finding(
            InjectionCode.WINDOWS, "the pod is for Windows", f"annotate it with `{INJECT}: disabled`"
        )


def _judged(
    reasons: tuple[Finding, ...], found: tuple[Finding, ...], pod: Pod, needs: PodNeeds, rules: PodRules
) -> Inject | Refuse:
    refusals, warnings = list(found), list[Finding]()
    for finding in (*reserved_uses(pod), *dangers_of(pod), *exposures_of(pod, needs)):
        tolerated = rules.on_danger is OnDanger.WARN and CodeKind.WARN in INJECTION_CODES[finding.code].kinds
        (warnings if tolerated else refusals).append(finding)
    warnings += [*users_unknown(pod), *token_warnings(pod, needs)]
    if not needs.policies:
        warnings.append(
            Finding(InjectionCode.NO_POLICY, "no AccessPolicy selects the pod: nothing is granted")
        )
    return Refuse(tuple(refusals), tuple(warnings)) if refusals else Inject(reasons, tuple(warnings))


def _skip(code: InjectionCode, message: str, fix: str = "") -> Skip:
    return Skip((Finding(code, message, fix),))
