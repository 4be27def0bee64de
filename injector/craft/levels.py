"""How a pod's calls come to its sidecar: as its namespace's Pod Security level allows, or as it asks for."""

from collections.abc import Iterable
from typing import Final

from injector.core.cluster import ALLOWS_REDIRECT, Namespace
from injector.core.intent import Intent
from injector.core.outcome import Finding
from injector.core.settings import PodRules
from injector.craft.endpoints import has_endpoint
from injector.reading.annotations import CAPTURE
from injector.reading.namespaces import pod_security_of
from injector.reading.pod_fields import shown
from proxy.core.injection_codes import InjectionCode
from proxy.core.services import Service
from proxy.core.settings import Capture

# What needs no capability. Endpoints catch what never asks for a proxy: an SDK with a transport of its own.
_WITHOUT_REDIRECT: Final = frozenset({Capture.EXPLICIT, Capture.ENDPOINT})


def capture_of(
    namespace: Namespace, intent: Intent, services: Iterable[Service], rules: PodRules
) -> frozenset[Capture] | Finding:
    level = pod_security_of(namespace, rules.default_pod_security)
    redirects = level in ALLOWS_REDIRECT
    if Capture.TRANSPARENT in intent.capture and not redirects:
        return Finding(
            InjectionCode.CAPTURE_NOT_ALLOWED,
            f"`{CAPTURE}` asks for a redirect, and namespace {shown(namespace.name)} enforces the Pod "
            f"Security level `{level.value}`, which forbids NET_ADMIN",
            "leave the annotation out, or write `explicit,endpoint`",
        )
    wanted = intent.capture or (frozenset({Capture.TRANSPARENT}) if redirects else _WITHOUT_REDIRECT)
    # The sidecar does not start with endpoints for nothing, nor without any way for a call to come to it.
    if Capture.ENDPOINT in wanted and not any(has_endpoint(service) for service in services):
        wanted -= {Capture.ENDPOINT}
    return wanted or frozenset({Capture.EXPLICIT})
