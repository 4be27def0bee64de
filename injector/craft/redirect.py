"""The init container that loads the redirect: the only one of ours that has a capability, and it ends."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from injector.core.intent import Intent
from injector.core.outcome import Finding
from injector.core.settings import PodRules, SidecarSettings
from proxy.core import contract
from proxy.core.injection_codes import InjectionCode
from proxy.core.redirect import Redirect
from proxy.documents.redirect_settings import read_redirect
from proxy.documents.settings import REDIRECT

COMMAND: Final = ("podkey", "redirect", "apply", "--verify")
# NET_ADMIN is all that `nft` takes (docs/redirect.md), but as root: capabilities of another user are lost at
# the call of a program that has none on its file.
SECURITY: Final[Mapping[str, Any]] = {
    "runAsUser": 0,
    "runAsGroup": 0,
    "runAsNonRoot": False,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# The sidecar's own port and user are the same in every pod.
_SETTLED: Final = frozenset({contract.PROXY_UID_VARIABLE, contract.TRANSPARENT_PORT_VARIABLE})


def redirect_container(
    variables: Mapping[str, str], sidecar: SidecarSettings, resources: Mapping[str, Any]
) -> Mapping[str, Any]:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return {
        "name": contract.REDIRECT_CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": sidecar.image_pull_policy,
        "command": list(COMMAND),
        **({"env": env} if env else {}),
        **({"resources": resources} if resources else {}),
        "securityContext": SECURITY,
    }


def redirect_variables(intent: Intent, sidecar: SidecarSettings, rules: PodRules) -> Mapping[str, str]:
    """What differs from the defaults: the platform's settings, and what the pod's annotations say.

    A pod's own list of ports takes the place of the platform's; what is left out by either stays out.
    """
    given = sidecar.environment
    variables = {name: given[name] for name in REDIRECT if name in given and name not in _SETTLED}
    if intent.capture_ports:
        variables[contract.CAPTURE_PORTS_VARIABLE] = _joined("", map(str, intent.capture_ports))
    cluster = map(str, rules.cluster_cidrs) if rules.exclude_cluster else ()
    left_out = {
        contract.EXCLUDE_PORTS_VARIABLE: map(str, intent.exclude_ports),
        contract.EXCLUDE_CIDRS_VARIABLE: (*cluster, *map(str, intent.exclude_cidrs)),
    }
    for name, items in left_out.items():
        variables[name] = _joined(variables.get(name, ""), items)
    return {name: value for name, value in sorted(variables.items()) if value}


def _joined(text: str, items: Iterable[str]) -> str:
    return ",".join(dict.fromkeys((*(item.strip() for item in text.split(",") if item.strip()), *items)))


def redirect_means(variables: Mapping[str, str]) -> Redirect | tuple[Finding, ...]:
    """What the container will make of them, read as it reads them itself: one that fails at each start would
    keep the pod from starting, and say so only in its log."""
    read = read_redirect(variables)
    if isinstance(read, Redirect):
        return read
    return tuple(
        Finding(InjectionCode.BAD_ANNOTATION, f"the redirect could not be loaded: {problem}", problem.fix)
        for problem in read
    )
