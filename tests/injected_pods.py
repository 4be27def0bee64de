"""Plans for pods, and what others do to a pod between the two calls of the API server."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from injector.core.cluster import PodNeeds
from injector.core.intent import Intent
from injector.core.outcome import Refuse
from injector.core.plan import Plan
from injector.core.settings import PodRules, SidecarSettings
from injector.craft.injection import Injected, inject
from injector.craft.jsonpatch import apply
from injector.craft.placeholders import draw
from injector.reading.pods import read_pod
from proxy.core.contract import REDIRECT_CONTAINER, SIDECAR_CONTAINER
from proxy.core.settings import Capture
from proxy.services.loader import built_in_catalogue

SETTINGS: Final = SidecarSettings(image="registry.test/podkey:1", cluster="west")
RULES: Final = PodRules()
TOKEN: Final = "0123456789abcdef" * 2
TRANSPARENT: Final = frozenset({Capture.TRANSPARENT})
EXPLICIT: Final = frozenset({Capture.EXPLICIT})


def a_plan(
    *services: str,
    capture: frozenset[Capture] = TRANSPARENT,
    intent: Intent | None = None,
    native: bool = True,
    accelerated: bool = False,
    owner: str = "",
    **needs: Any,
) -> Plan:
    catalogue = built_in_catalogue()
    chosen = tuple(catalogue[name] for name in services)
    return Plan(
        intent=intent or Intent(),
        needs=PodNeeds(services=services, **needs),
        services=chosen,
        capture=capture,
        native=native,
        accelerated=accelerated,
        owner=owner,
        placeholders=draw(chosen, lambda alphabet, count: alphabet[7] * count),
        endpoint_token=TOKEN if Capture.ENDPOINT in capture else "",
    )


def try_inject(
    raw: Mapping[str, Any],
    plan: Plan,
    settings: SidecarSettings = SETTINGS,
    rules: PodRules = RULES,
) -> Injected | Refuse:
    before = copy.deepcopy(raw)
    outcome = inject(read_pod(raw, "ml"), plan, settings, rules)
    assert raw == before
    return outcome


def injected(
    raw: Mapping[str, Any],
    plan: Plan,
    settings: SidecarSettings = SETTINGS,
    rules: PodRules = RULES,
) -> dict[str, Any]:
    """The pod as it is after the patch."""
    outcome = try_inject(raw, plan, settings, rules)
    assert isinstance(outcome, Injected), outcome
    pod: dict[str, Any] = copy.deepcopy(apply(raw, outcome.patch))
    return pod


def containers(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In the order of starting."""
    yield from pod["spec"].get("initContainers") or ()
    yield from pod["spec"].get("containers") or ()


def container(pod: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in containers(pod) if one["name"] == name)


def environment(found: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values; of others, where they come from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom", "")) for entry in found.get("env") or ()}


def theirs(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in containers(pod) if one["name"] not in {SIDECAR_CONTAINER, REDIRECT_CONTAINER}]


# --- what happens between the calls --------------------------------------------------------------------


def defaulted(pod: Mapping[str, Any]) -> dict[str, Any]:
    """As the API server and its own plugins leave it (seen in recorded reviews)."""
    found: dict[str, Any] = copy.deepcopy(dict(pod))
    spec = found["spec"]
    access = {"name": "kube-api-access-x7k2p", "projected": {"sources": [], "defaultMode": 420}}
    names = {volume["name"] for volume in spec.get("volumes") or ()}
    if access["name"] not in names:
        spec["volumes"] = [*(spec.get("volumes") or ()), access]
    for volume in spec["volumes"]:
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                volume[kind].setdefault("defaultMode", 420)
        for item in volume.get("downwardAPI", {}).get("items", ()):
            item["fieldRef"].setdefault("apiVersion", "v1")
    for one in containers(found):
        one.setdefault("terminationMessagePath", "/dev/termination-log")
        one.setdefault("terminationMessagePolicy", "File")
        one.setdefault("imagePullPolicy", "IfNotPresent")
        one.setdefault("resources", {})
        for name in ("startupProbe", "livenessProbe"):
            if name in one:
                one[name].setdefault("successThreshold", 1)
        for entry in one.get("env") or ():
            if "fieldRef" in entry.get("valueFrom", {}):
                entry["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
        path = "/var/run/secrets/kubernetes.io/serviceaccount"
        mount = {"name": access["name"], "readOnly": True, "mountPath": path}
        if path not in {m["mountPath"] for m in one.get("volumeMounts") or ()}:
            one["volumeMounts"] = [*(one.get("volumeMounts") or ()), mount]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    found.setdefault("metadata", {})
    return found
