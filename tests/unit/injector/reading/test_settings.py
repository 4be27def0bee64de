from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.cluster import PodSecurity
from injector.core.intent import Quantities
from injector.core.settings import (
    CertificateSettings,
    InjectorSettings,
    NativeSidecars,
    OnDanger,
    PodRules,
    ServingSettings,
    SidecarSettings,
)
from injector.reading.settings import injector_settings_page, read_injector_settings
from injector.reading.settings_table import PREFIX, SETTINGS
from injector.reading.settled import SETTLED
from proxy.core.settings import LogFormat, LogLevel
from proxy.documents import settings_table as sidecar
from proxy.documents.setting_values import SettingProblem

REQUIRED = {"NAMESPACE": "podkey-system", "POD_NAME": "podkey-injector-x", "IMAGE": "podkey:1"}


def read(**variables: str) -> InjectorSettings | tuple[SettingProblem, ...]:
    return read_injector_settings(
        {f"{PREFIX}{name}": value for name, value in (REQUIRED | variables).items()}
    )


def settings(**variables: str) -> InjectorSettings:
    found = read(**variables)
    assert isinstance(found, InjectorSettings), found
    return found


def problems(**variables: str) -> list[str]:
    found = read(**variables)
    assert isinstance(found, tuple), "it has no problems"
    assert all(problem.fix for problem in found)
    return [str(problem).removeprefix(PREFIX) for problem in found]


def test_every_field_has_its_variable() -> None:
    found = settings(
        IMAGE_PULL_POLICY="Always",
        CLUSTER="prod-1",
        SIDECAR_ENVIRONMENT="PODKEY_LOG_LEVEL=debug\nPODKEY_IDLE_TIMEOUT=1h",
        SIDECAR_RESOURCES="cpu-request=200m",
        SIDECAR_RESOURCES_LEAST="memory-limit=100Mi",
        SIDECAR_RESOURCES_MOST="cpu-request=2",
        TOKEN_LIFETIME="20m",
        ACCELERATORS="example.com/npu example.com/dsp-*",
        ON_DANGER="warn",
        NATIVE_SIDECARS="never",
        DEFAULT_POD_SECURITY="baseline",
        CLUSTER_CIDRS="10.0.0.0/8,10.96.0.0/12",
        EXCLUDE_CLUSTER="true",
        NO_PROXY=".internal.example",
        CLUSTER_DOMAIN="k8s.example",
        WEBHOOK_ADDRESS="10.1.1.1",
        WEBHOOK_PORT="9443",
        ADMIN_ADDRESS="127.0.0.1",
        ADMIN_PORT="9090",
        MAX_CONCURRENT="8",
        MAX_CONNECTIONS="99",
        LINGER="0s",
        CERTIFICATE_DIR="/etc/tls",
        SERVICE="webhook",
        CA_SECRET="ca",
        MUTATING_WEBHOOK="mutate",
        VALIDATING_WEBHOOK="validate",
        RESYNC="5m",
        DETECTOR_PERIOD="2m",
        SERVICE_ACCOUNT="webhooks",
        LOG_LEVEL="error",
        LOG_FORMAT="console",
    )

    assert found == InjectorSettings(
        sidecar=SidecarSettings(
            image="podkey:1",
            image_pull_policy="Always",
            cluster="prod-1",
            environment={"PODKEY_LOG_LEVEL": "debug", "PODKEY_IDLE_TIMEOUT": "1h"},
            resources=Quantities(200, 1000, 128 << 20, 512 << 20),
            least=Quantities(10, 10, 96 << 20, 100 << 20),
            most=Quantities(2000, 8000, 4 << 30, 8 << 30),
            token_seconds=1200,
        ),
        pods=PodRules(
            accelerators=("example.com/npu", "example.com/dsp-*"),
            on_danger=OnDanger.WARN,
            native_sidecars=NativeSidecars.NEVER,
            default_pod_security=PodSecurity.BASELINE,
            cluster_cidrs=(IPv4Network("10.0.0.0/8"), IPv4Network("10.96.0.0/12")),
            exclude_cluster=True,
            no_proxy=(".internal.example",),
            cluster_domain="k8s.example",
            own_namespace="podkey-system",
        ),
        serving=ServingSettings("10.1.1.1", 9443, "127.0.0.1", 9090, 8, 99, 0),
        certificates=CertificateSettings("/etc/tls", "webhook", "ca", "mutate", "validate"),
        identity="podkey-injector-x",
        service_account="webhooks",
        resync_seconds=300,
        detector_seconds=120,
        log_level=LogLevel.ERROR,
        log_format=LogFormat.CONSOLE,
    )


def test_all_problems_are_told_at_once() -> None:
    assert problems(IMAGE="", WEBHOOK_PORT="80", ON_DANGER="ignore", PORTS="1") == [
        "PORTS: the injector has no such setting",
        "IMAGE: it is not set",
        "ON_DANGER: `ignore` is not `refuse` or `warn`",
        "WEBHOOK_PORT: `80` is not a port from 1024 to 65535",
    ]


def test_a_setting_of_the_sidecar_is_none_of_the_injector() -> None:
    found = read_injector_settings({"PODKEY_LOG_LEVEL": "debug"})

    assert isinstance(found, tuple)
    assert found[0].name == "PODKEY_LOG_LEVEL"
    assert "PODKEY_INJECTOR_LOG_LEVEL" in found[0].fix


def test_what_kubernetes_sets_for_our_own_service_is_no_setting() -> None:
    settings(
        SERVICE_HOST="10.0.0.9",
        SERVICE_PORT="443",
        PORT="tcp://10.0.0.9:443",
        PORT_443_TCP="tcp://10.0.0.9:443",
        ADMIN_PORT="tcp://10.0.0.8:8080",
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("PODKEY_LOG_LEVL=debug", "PODKEY_LOG_LEVL is no setting of the sidecar"),
        ("AWS_REGION=eu-west-1", "AWS_REGION is no setting of the sidecar"),
        ("PODKEY_NAMESPACE=x", "the injector chooses PODKEY_NAMESPACE for each pod"),
        ("PODKEY_AUDIENCE=x", "the injector chooses PODKEY_AUDIENCE for each pod"),
        ("PODKEY_STATE_DIR=/tmp", "the injector chooses PODKEY_STATE_DIR for each pod"),
        ("PODKEY_LOG_LEVEL=loud", "PODKEY_LOG_LEVEL: `loud` is not"),
        ("PODKEY_AUDIT_FILE=$(PODKEY_NAMESPACE)", "PODKEY_AUDIT_FILE holds `$(`"),
        ("PODKEY_JWKS_FILE=/keys", "PODKEY_ISSUER: a file of keys does not say whose they are"),
        ("PODKEY_LOG_LEVEL", "a line is not `NAME=value`"),
    ],
)
def test_the_sidecars_settings_are_checked_before_any_pod_has_them(lines: str, words: str) -> None:
    (problem,) = problems(SIDECAR_ENVIRONMENT=lines)

    assert problem.startswith(f"SIDECAR_ENVIRONMENT: {words}")


def test_everything_that_is_wrong_with_the_sidecars_settings_is_told() -> None:
    found = problems(SIDECAR_ENVIRONMENT="PODKEY_GPU=true\nPODKEY_X=1\nPODKEY_LOG_FORMAT=xml")

    assert len(found) == 3


def test_each_setting_of_the_sidecar_is_free_or_chosen() -> None:
    """Whoever adds one to the sidecar decides whether a platform team may set it for all pods."""
    free = {setting.name for setting in sidecar.SETTINGS} - SETTLED

    assert free >= {"PODKEY_LOG_LEVEL", "PODKEY_EGRESS_PROXY", "PODKEY_UPSTREAM_CA_FILES"}
    assert not any(name.endswith(("_DIR", "_PORT")) for name in free)


def test_settings_of_the_redirect_may_be_set_for_all_pods() -> None:
    found = read(SIDECAR_ENVIRONMENT="PODKEY_FENCE_METADATA=false\nPODKEY_REJECT_QUIC=false")
    assert not isinstance(found, tuple)
    assert found.sidecar.environment["PODKEY_FENCE_METADATA"] == "false"
    (problem,) = problems(SIDECAR_ENVIRONMENT="PODKEY_FENCE_METADATA=perhaps")
    assert "PODKEY_FENCE_METADATA" in problem


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SIDECAR_RESOURCES": "cpu-request=2"}, "SIDECAR_RESOURCES: it asks for more cpu"),
        ({"SIDECAR_RESOURCES": "memory-request=1Gi"}, "SIDECAR_RESOURCES: it asks for more memory"),
        ({"SIDECAR_RESOURCES": "memory-request=64Mi"}, "SIDECAR_RESOURCES_LEAST: its memory-request is more"),
        ({"SIDECAR_RESOURCES": "cpu-limit=9"}, "SIDECAR_RESOURCES: its cpu-limit is more"),
        ({"ADMIN_PORT": "8443"}, "ADMIN_PORT: port 8443 is given to"),
        ({"EXCLUDE_CLUSTER": "true"}, "EXCLUDE_CLUSTER: there is no network"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(variables: dict[str, str], words: str) -> None:
    (problem,) = problems(**variables)

    assert problem.startswith(words)


def test_a_value_that_is_wrong_by_itself_is_told_once() -> None:
    wrong: dict[str, Any] = {"SIDECAR_RESOURCES": "cpu=1", "ADMIN_PORT": "x", "CLUSTER_CIDRS": "x"}

    assert len(problems(**wrong, EXCLUDE_CLUSTER="true")) == len(wrong)


def test_the_page_tells_of_every_setting() -> None:
    page = "\n".join(injector_settings_page())

    for setting in SETTINGS:
        assert f"| `{setting.name}` |" in page
    assert "| `PODKEY_INJECTOR_IMAGE` | **required** | an image |" in page
    assert "| `PODKEY_INJECTOR_CLUSTER` |  | a cluster's name |" in page


@given(st.dictionaries(st.sampled_from([setting.name for setting in SETTINGS]), st.text(max_size=30)))
def test_any_environment_is_read_or_refused_with_reasons(environment: dict[str, str]) -> None:
    found = read_injector_settings(environment)

    assert isinstance(found, InjectorSettings) or found
