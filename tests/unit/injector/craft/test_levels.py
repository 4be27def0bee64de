import pytest

from injector.core.cluster import ENFORCE_LABEL, Namespace, PodSecurity
from injector.core.intent import Intent
from injector.core.outcome import Finding
from injector.core.settings import PodRules
from injector.craft.levels import capture_of
from proxy.core.hosts import HostTemplate
from proxy.core.injection_codes import InjectionCode
from proxy.core.services import BaseUrl, Endpoint, Service
from proxy.core.settings import Capture

RULES = PodRules()
T, X, E = Capture.TRANSPARENT, Capture.EXPLICIT, Capture.ENDPOINT
PLAIN = Service("plain", "Plain", "", (Endpoint((HostTemplate("api.plain.test"),)),), ())
WITH_URL = Service(
    "openai",
    "OpenAI",
    "",
    (Endpoint((HostTemplate("api.openai.test"),)),),
    (),
    base_urls=(BaseUrl("OPENAI_BASE_URL"),),
)


def captured(
    level: str | None,
    *asked: Capture,
    services: tuple[Service, ...] = (PLAIN, WITH_URL),
    rules: PodRules = RULES,
) -> frozenset[Capture] | Finding:
    labels = {} if level is None else {ENFORCE_LABEL: level}
    return capture_of(Namespace("ml", labels), Intent(capture=frozenset(asked)), services, rules)


@pytest.mark.parametrize(
    ("level", "services", "expected"),
    [
        ("privileged", (WITH_URL,), {T}),
        ("privileged", (), {T}),
        (None, (WITH_URL,), {T}),
        ("baseline", (PLAIN, WITH_URL), {X, E}),
        ("restricted", (PLAIN, WITH_URL), {X, E}),
        ("baseline", (PLAIN,), {X}),
        ("restricted", (), {X}),
        ("unknown", (WITH_URL,), {X, E}),
    ],
)
def test_the_level_chooses_where_the_pod_does_not(
    level: str | None, services: tuple[Service, ...], expected: set[Capture]
) -> None:
    assert captured(level, services=services) == expected


def test_a_namespace_without_a_level_has_the_clusters() -> None:
    assert captured(None, rules=PodRules(default_pod_security=PodSecurity.RESTRICTED)) == {X, E}


@pytest.mark.parametrize(
    ("level", "asked", "services", "expected"),
    [
        ("privileged", {X}, (WITH_URL,), {X}),
        ("privileged", {T, E}, (WITH_URL,), {T, E}),
        ("privileged", {T, X, E}, (PLAIN,), {T, X}),
        ("restricted", {E}, (WITH_URL,), {E}),
        # A sidecar must have some way for a call to come to it.
        ("restricted", {E}, (PLAIN,), {X}),
        ("privileged", {E}, (), {X}),
    ],
)
def test_what_the_pod_asks_for_goes_before_it(
    level: str, asked: set[Capture], services: tuple[Service, ...], expected: set[Capture]
) -> None:
    assert captured(level, *asked, services=services) == expected


@pytest.mark.parametrize("level", ["baseline", "restricted", "nonsense"])
@pytest.mark.parametrize("asked", [{T}, {T, X}, {T, E}])
def test_a_redirect_where_the_level_forbids_its_capability_is_refused(
    level: str, asked: set[Capture]
) -> None:
    found = captured(level, *asked)
    assert isinstance(found, Finding)
    assert found.code is InjectionCode.CAPTURE_NOT_ALLOWED
    assert "NET_ADMIN" in found.message
    assert "`ml`" in found.message
