"""Policies in a real cluster: refused or compiled, told of, and never taken out of force by a bad edit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from proxy.core.contract import (
    INJECT,
    POLICY_CONFIG_MAP,
    SECRET_VOLUME,
    SIDECAR_CONTAINER,
    TOKENS_VOLUME,
    TRUST_CONFIG_MAP,
)
from tests.api_server import ApiServer
from tests.api_server_client import Answer, Object
from tests.helm_chart import MISSING as NO_HELM
from tests.helm_chart import NAMESPACE as OWN
from tests.injector_objects import (
    PATIENCE,
    POLICIES,
    SOURCES,
    compiled,
    condition,
    container,
    document,
    enabled,
    exchange,
    grant,
    has_sidecar,
    pod,
    policy,
    source,
    wait_compiled,
)
from tests.injector_process import NAME, RunningInjector, injector, objects
from tests.sidecar_process import wait_for

pytestmark = pytest.mark.skipif(bool(NO_HELM), reason=NO_HELM)

VALIDATING: Final = "admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
ADDED: Final = {"spec": {"grants": [grant(), grant("more.example.com")]}}


@pytest.fixture(scope="module")
def running(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInjector]:
    with injector(api_server, tmp_path_factory.mktemp("injector")) as made:
        enabled(made)
        yield made
        log = made.log_file.read_text()
    assert '"level":"error"' not in log
    assert "orbidden" not in log, "the chart's roles are enough"


@pytest.fixture
def namespace(running: RunningInjector) -> str:
    return running.server.new_namespace(labels={INJECT: "enabled"})


def apply(running: RunningInjector, namespace: str, *documents: Object) -> None:
    for one in documents:
        assert running.server.admin.create(one, namespace).object


def until(running: RunningInjector, resource: str, name: str, namespace: str, **words: str) -> Object:
    """Until its conditions say so; then its status."""

    def look() -> bool:
        return all(condition(running, resource, name, namespace, kind) == one for kind, one in words.items())

    wait_for(look, f"{name}: {words}", PATIENCE)
    status: Object = running.server.admin.get(resource, name, namespace=namespace).object["status"]
    return status


# --- as they are written --------------------------------------------------------------------------


def test_a_policy_that_does_not_read_is_refused_with_every_problem(
    running: RunningInjector, namespace: str
) -> None:
    grants = [grant("https://api.example.com"), grant("10.0.0.1"), {"service": "openia", "credential": "t"}]
    answer = running.server.admin.create(policy("bad", *grants), namespace)
    assert answer.status == 403
    assert 'webhook "policies.injector.podkey.io" denied the request' in answer.message
    assert "has 3 problems" in answer.message
    for place in ("spec.grants[0]", "spec.grants[1]", "spec.grants[2]"):
        assert place in answer.message
    assert "openai" in answer.message, "what was meant"


@pytest.mark.parametrize(("key", "typed"), [("methods", "methds"), ("paths", "path"), ("ports", "prots")])
def test_a_mistyped_key_is_refused_and_is_not_a_wider_grant(
    running: RunningInjector, namespace: str, key: str, typed: str
) -> None:
    """Also from clients that ask for no validation of fields: Helm, and whoever speaks to the API itself."""
    narrow = {"methods": ["GET"], "paths": ["/v1/**"], "ports": [443], **grant("api.example.com")}
    mistyped = {typed if name == key else name: value for name, value in narrow.items()}
    answer = running.server.admin.create(policy("mistyped", mistyped), namespace)
    assert answer.status == 403, answer.message
    assert f"unknown key `{typed}` in a grant; did you mean `{key}`?" in answer.message
    below_the_spec = policy("mistyped", narrow)
    below_the_spec["spec"]["mod"] = "observe"
    answer = running.server.admin.create(below_the_spec, namespace)
    assert answer.status == 403, answer.message
    assert "unknown key `mod`" in answer.message


def test_a_policy_is_compiled_and_says_so(running: RunningInjector, namespace: str) -> None:
    apply(running, namespace, policy("train"), source())
    text = wait_compiled(running, namespace, "name: train", "name: token", "api.example.com")
    assert running.server.admin.get("v1/configmaps", TRUST_CONFIG_MAP, namespace=namespace).ok
    for resource, name in ((POLICIES, "train"), (SOURCES, "token")):
        status = until(running, resource, name, namespace, Accepted="True Sound", Compiled="True InForce")
        assert status["observedGeneration"] == 1
        assert "problems" not in status
    admin = running.server.admin
    assert admin.patch(POLICIES, "train", ADDED, namespace=namespace).ok
    assert wait_compiled(running, namespace, "more.example.com") != text
    status = until(running, POLICIES, "train", namespace, Compiled="True InForce")
    assert status["observedGeneration"] == 2


def test_what_goes_out_of_order_warns_and_comes_into_force(running: RunningInjector, namespace: str) -> None:
    """`kubectl apply -f` of a folder begins with the policy as often as with its source."""
    answer = running.server.admin.create(policy("early"), namespace)
    assert answer.ok
    assert any("token" in text for text in answer.warnings)
    status = until(running, POLICIES, "early", namespace, Compiled="False LeftOut")
    assert "token" in status["problems"][0]["message"]
    apply(running, namespace, source())
    until(running, POLICIES, "early", namespace, Compiled="True InForce")


def test_a_source_that_is_used_goes_with_a_warning_and_its_policy_with_it(
    running: RunningInjector, namespace: str
) -> None:
    apply(running, namespace, policy("train"), source())
    wait_compiled(running, namespace, "name: train")
    answer = running.server.admin.delete(SOURCES, "token", namespace=namespace)
    assert answer.ok
    assert any("`train`" in text or "train" in text for text in answer.warnings)
    wait_compiled(running, namespace, without=["name: train"])
    until(running, POLICIES, "train", namespace, Accepted="True Sound", Compiled="False LeftOut")


# --- what pods get of them ------------------------------------------------------------------------


def volume(found: Object, name: str) -> Object:
    (one,) = (one for one in found["spec"]["volumes"] if one["name"] == name)
    return one


def wait_pod(running: RunningInjector, namespace: str) -> Object:
    """As a pod would be now, when a policy selects it."""
    create = running.server.admin.create

    def look() -> Object | None:
        found = create(pod("worker"), namespace, dry_run=True).object
        return found if has_sidecar(found) else None

    return wait_for(look, f"a sidecar in {namespace}", PATIENCE)  # type: ignore[return-value]


def test_a_pod_gets_what_the_policies_that_select_it_need(running: RunningInjector, namespace: str) -> None:
    assert not has_sidecar(running.server.admin.create(pod("before"), namespace).object), "nothing selects it"
    grants = (grant(), grant("sts.example.com", "sts"))
    apply(running, namespace, source(), exchange("sts", "just-for-tests"), policy("train", *grants))
    found = wait_pod(running, namespace)
    assert volume(found, f"{SECRET_VOLUME}0")["secret"]["secretName"] == "api-token"
    parts = volume(found, TOKENS_VOLUME)["projected"]["sources"]
    tokens = [part.get("serviceAccountToken", {}).get("audience") for part in parts]
    assert "just-for-tests" in tokens
    mounts = {mount["name"] for mount in container(found, "app")["volumeMounts"]}
    assert not mounts & {f"{SECRET_VOLUME}0", TOKENS_VOLUME}


def test_pods_are_counted(running: RunningInjector, namespace: str) -> None:
    apply(running, namespace, policy("train"), policy("idle", serviceAccounts=["nobody"]), source())
    wait_pod(running, namespace)
    for number in range(2):
        apply(running, namespace, pod(f"worker-{number}"))

    def counts() -> list[Any]:
        admin = running.server.admin
        found = [admin.get(POLICIES, name, namespace=namespace).object for name in ("train", "idle")]
        return [one.get("status", {}).get("matchedPods") for one in found]

    wait_for(lambda: counts() == [2, 0], "the count", PATIENCE)


# --- without the webhook --------------------------------------------------------------------------


@contextmanager
def webhook_away(running: RunningInjector) -> Iterator[None]:
    """Somebody deletes the configuration, and puts it back as the chart has it: without a bundle."""
    admin = running.server.admin
    assert admin.delete(VALIDATING, NAME).ok
    try:
        yield
    finally:
        (mine,) = (one for one in objects(running.server) if one["kind"] == "ValidatingWebhookConfiguration")
        admin.install([mine])
        wait_for(lambda: all(bundles(running)), "the leader to write the bundle", PATIENCE)


def bundles(running: RunningInjector) -> list[str]:
    found = running.server.admin.get(VALIDATING, NAME).object["webhooks"]
    return [one["clientConfig"].get("caBundle", "") for one in found]


def wait_allowed(ask: Any) -> Answer:
    """A configuration that is gone is asked for some moments more."""

    def look() -> Answer | None:
        answer: Answer = ask()
        return answer if answer.ok else None

    return wait_for(look, "nobody to forbid it", PATIENCE)  # type: ignore[return-value]


def test_a_bad_edit_that_slips_in_replaces_nothing(running: RunningInjector, namespace: str) -> None:
    admin = running.server.admin
    apply(running, namespace, policy("train"), source())
    text = wait_compiled(running, namespace, "name: train")
    bad = {"spec": {"grants": [grant("https://api.example.com")]}}
    tampered = {"data": {"policy.yaml": "# nothing\n"}}
    assert admin.patch(POLICIES, "train", bad, namespace=namespace).status == 403
    answer = admin.patch("v1/configmaps", POLICY_CONFIG_MAP, tampered, namespace=namespace)
    assert answer.status == 403
    assert "reserved_config_map" in answer.message
    assert admin.delete("v1/configmaps", TRUST_CONFIG_MAP, namespace=namespace).status == 403
    with webhook_away(running):
        wait_allowed(lambda: admin.patch(POLICIES, "train", bad, namespace=namespace))
        status = until(
            running,
            POLICIES,
            "train",
            namespace,
            Accepted="False Unsound",
            Compiled="False OlderVersionInForce",
        )
        assert status["observedGeneration"] == 2
        assert "spec.grants[0]" in status["problems"][0]["path"]
        assert compiled(running, namespace) == text

        # What others wrote into the ConfigMap, or took away, is undone with the next change.
        assert admin.patch("v1/configmaps", POLICY_CONFIG_MAP, tampered, namespace=namespace).ok
        assert admin.delete("v1/configmaps", TRUST_CONFIG_MAP, namespace=namespace).ok
        apply(running, namespace, source("another"))
        assert "name: train" in wait_compiled(running, namespace, "name: another")
        found = admin.get("v1/configmaps", TRUST_CONFIG_MAP, namespace=namespace)
        assert found.object["data"]["SSL_CERT_FILE"]
    wait_for(
        lambda: admin.patch(POLICIES, "train", bad, namespace=namespace, dry_run=True).ok,
        "an update that changes nothing",
        PATIENCE,
    )
    assert admin.patch(POLICIES, "train", ADDED, namespace=namespace).ok
    wait_compiled(running, namespace, "more.example.com")
    until(running, POLICIES, "train", namespace, Accepted="True Sound", Compiled="True InForce")


def test_a_namespace_that_wants_no_sidecars_loses_its_config_maps(
    running: RunningInjector, namespace: str
) -> None:
    admin = running.server.admin
    apply(running, namespace, policy("train"), source())
    wait_compiled(running, namespace, "name: train")
    assert admin.patch("v1/namespaces", namespace, {"metadata": {"labels": {INJECT: None}}}).ok
    for name in (POLICY_CONFIG_MAP, TRUST_CONFIG_MAP):
        wait_for(
            lambda n=name: admin.get("v1/configmaps", n, namespace=namespace).status == 404,  # type: ignore[misc]
            f"{name} to be swept",
            PATIENCE,
        )
    until(running, POLICIES, "train", namespace, Compiled="False NoNamespace")
    assert admin.patch("v1/namespaces", namespace, {"metadata": {"labels": {INJECT: "all"}}}).ok
    wait_compiled(running, namespace, "name: train")


def test_a_namespace_that_is_deleted_leaves_nothing_to_do(running: RunningInjector, namespace: str) -> None:
    admin = running.server.admin
    apply(running, namespace, policy("train"), source())
    wait_compiled(running, namespace, "name: train")
    failed = running.metric("podkey_injector_compile_total", outcome="failed")
    assert admin.delete("v1/namespaces", namespace).ok
    wait_for(lambda: admin.get("v1/namespaces", namespace).status == 404, "its end", PATIENCE)
    assert running.metric("podkey_injector_compile_total", outcome="failed") == failed


# --- of the platform team -------------------------------------------------------------------------


@pytest.fixture
def platform(running: RunningInjector) -> Iterator[Any]:
    """Writes into podkey's own namespace, and takes it away again."""
    written: list[Object] = []

    def write(*documents: Object) -> None:
        for one in documents:
            assert running.server.admin.create(one, OWN).object
            written.append(one)

    yield write
    for one in reversed(written):
        resource = POLICIES if one["kind"] == "AccessPolicy" else SOURCES
        running.server.admin.delete(resource, one["metadata"]["name"], namespace=OWN)


def selecting(namespace: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"team": namespace}}}


def test_a_cluster_wide_policy_reaches_the_namespaces_that_it_selects(
    running: RunningInjector, namespace: str, platform: Any
) -> None:
    admin = running.server.admin
    wide = policy("wide", grant("api.example.com", "sts"), serviceAccounts=["*"], **selecting(namespace))
    platform(exchange("sts", "for-all"), wide)
    until(running, POLICIES, "wide", OWN, Accepted="True Sound", Compiled="False NoNamespace")
    assert admin.patch("v1/namespaces", namespace, {"metadata": {"labels": {"team": namespace}}}).ok
    text = wait_compiled(running, namespace, "name: wide", "name: sts")
    assert "team:" not in text, "labels are resolved: sidecars do not know them"
    until(running, POLICIES, "wide", OWN, Compiled="True InForce")
    until(running, SOURCES, "sts", OWN, Compiled="True InForce")
    found = wait_pod(running, namespace)
    sources = volume(found, TOKENS_VOLUME)["projected"]["sources"]
    assert "for-all" in [one.get("serviceAccountToken", {}).get("audience") for one in sources]
    assert has_sidecar(found)
    assert container(found, SIDECAR_CONTAINER)


def test_a_tenant_cannot_grant_itself_what_limits_forbid(
    running: RunningInjector, namespace: str, platform: Any
) -> None:
    admin = running.server.admin
    labels = {"metadata": {"labels": {"team": namespace}}}
    assert admin.patch("v1/namespaces", namespace, labels).ok
    apply(running, namespace, source(), policy("mine", grant("secret.example.com")))
    wait_compiled(running, namespace, "secret.example.com")
    limits = {"workloads": selecting(namespace), "limits": {"hosts": ["*.allowed.example.com"]}}
    platform(document("AccessPolicy", "limits", limits))
    wait_compiled(running, namespace, without=["secret.example.com"])
    status = until(running, POLICIES, "mine", namespace, Accepted="True Sound", Compiled="False LeftOut")
    assert "allowed" in str(status["problems"])
    answer = admin.create(policy("again", grant("secret.example.com")), namespace)
    assert answer.status == 403
    assert "limits" in answer.message
    assert admin.create(policy("fine", grant("a.allowed.example.com")), namespace).ok
    wait_compiled(running, namespace, "a.allowed.example.com")


def test_a_tenant_cannot_write_a_cluster_wide_policy(running: RunningInjector, namespace: str) -> None:
    wide = policy("wide", serviceAccounts=["*"], **selecting(namespace))
    answer = running.server.admin.create(wide, namespace)
    assert answer.status == 403
    assert "namespaceSelector" in answer.message
