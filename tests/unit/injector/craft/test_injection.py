import copy
from ipaddress import ip_network
from typing import Any

import pytest

from injector.core.intent import Intent, Quantities
from injector.core.outcome import Refuse
from injector.core.plan import Plan
from injector.core.settings import SidecarSettings
from injector.craft.injection import Injected, fingerprint
from injector.craft.jsonpatch import pointer
from proxy.core.injection_codes import InjectionCode
from proxy.core.settings import Capture
from proxy.core.structs import replace
from tests.injected_pods import (
    EXPLICIT,
    RULES,
    SETTINGS,
    a_plan,
    container,
    defaulted,
    environment,
    injected,
    theirs,
    try_inject,
)
from tests.sample_pods import raw_pod

FINGERPRINT = fingerprint(SETTINGS, RULES)

INIT = {"name": "fetch", "image": "registry.test/fetch:1"}
ENVOY = {"name": "envoy", "image": "registry.test/envoy:1"}


def names(pod: dict[str, Any], kind: str) -> list[str]:
    return [one["name"] for one in pod["spec"].get(kind, ())]


def codes(raw: dict[str, Any], plan: Plan) -> list[InjectionCode]:
    outcome = try_inject(raw, plan)
    return [
        finding.code for finding in (outcome.warnings if isinstance(outcome, Injected) else outcome.reasons)
    ]


def nothing_more(pod: dict[str, Any], plan: Plan, settings: SidecarSettings = SETTINGS) -> bool:
    outcome = try_inject(pod, plan, settings)
    assert isinstance(outcome, Injected), outcome
    return outcome.patch == ()


# --- the first call ----------------------------------------------------------------------------------


def test_ours_stand_before_everything_of_the_user() -> None:
    pod = injected(raw_pod(initContainers=[INIT, {**INIT, "name": "second"}]), a_plan())
    assert names(pod, "initContainers") == ["podkey-redirect", "podkey", "fetch", "second"]
    assert names(pod, "containers") == ["app"]
    assert all(environment(one)["SSL_CERT_FILE"] for one in theirs(pod))
    assert all(one["volumeMounts"][-1]["name"] == "podkey-trust" for one in theirs(pod))


def test_without_a_redirect_there_is_no_container_for_it() -> None:
    pod = injected(raw_pod(), a_plan(capture=EXPLICIT))
    assert names(pod, "initContainers") == ["podkey"]
    assert environment(container(pod, "app"))["HTTPS_PROXY"] == "http://127.0.0.1:15002"


def test_every_container_of_ours_has_requests_and_limits() -> None:
    pod = injected(raw_pod(), a_plan())
    for name in ("podkey", "podkey-redirect"):
        resources = container(pod, name)["resources"]
        assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def test_a_pod_with_nothing_at_all_gets_every_parent_that_it_lacks() -> None:
    pod = injected({"spec": {"containers": [{"name": "app", "image": "a"}]}}, a_plan("openai"))
    assert pod["metadata"]["annotations"]["podkey.io/injected"] == FINGERPRINT
    assert len(pod["spec"]["volumes"]) == 5
    outcome = try_inject({"metadata": {}, "spec": {"containers": [{"name": "a"}]}}, a_plan())
    assert isinstance(outcome, Injected)
    paths = [pointer(operation.path) for operation in outcome.patch]
    assert paths == [
        "/spec/containers/0/volumeMounts",
        "/spec/containers/0/env",
        "/spec/initContainers",
        "/spec/volumes",
        "/metadata/annotations",
    ]


def test_the_annotations_say_what_the_sidecar_is_to_know() -> None:
    raw = raw_pod(
        {"image": "b:1"}, {"name": "two", "image": "a:1"}, initContainers=[INIT], annotations={"x": "y"}
    )
    plan = a_plan("openai", owner="Job/train")
    assert injected(raw, plan)["metadata"]["annotations"] == {
        "x": "y",
        "podkey.io/injected": FINGERPRINT,
        "podkey.io/owner": "Job/train",
        "podkey.io/images": "registry.test/fetch:1 b:1 a:1",
        "podkey.io/placeholders": f"OPENAI_API_KEY={plan.placeholders['OPENAI_API_KEY']}",
    }


def test_annotations_ask_for_resources() -> None:
    intent = Intent(sidecar=Quantities(cpu_request=250, memory_limit=1 << 30))
    resources = container(injected(raw_pod(), a_plan(intent=intent)), "podkey")["resources"]
    assert resources == {
        "requests": {"cpu": "250m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }


def test_the_quality_of_service_of_a_guaranteed_pod_is_kept() -> None:
    whole = {"cpu": "8", "memory": "64Gi"}
    raw = raw_pod({"resources": {"limits": whole, "requests": whole}})
    pod = injected(raw, a_plan())
    for one in (container(pod, "podkey"), container(pod, "podkey-redirect")):
        assert one["resources"]["requests"] == one["resources"]["limits"]


def test_a_pod_with_a_budget_of_its_own_is_not_overdrawn() -> None:
    raw = raw_pod(resources={"limits": {"cpu": "2", "memory": "2Gi"}})
    pod = injected(raw, a_plan())
    assert "resources" not in container(pod, "podkey")
    assert "resources" not in container(pod, "podkey-redirect")
    assert nothing_more(defaulted(pod), a_plan())


# --- old kubelets ------------------------------------------------------------------------------------


def test_on_old_kubelets_the_sidecar_is_the_first_container() -> None:
    pod = injected(raw_pod(initContainers=[INIT]), a_plan(native=False))
    assert names(pod, "initContainers") == ["fetch", "podkey-redirect"]
    assert names(pod, "containers") == ["podkey", "app"]
    assert "restartPolicy" not in container(pod, "podkey")
    assert pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "app"


def test_on_old_kubelets_init_containers_find_no_variable_that_leads_nowhere() -> None:
    """They run before there is a bundle, or anybody at the proxy's port."""
    pod = injected(raw_pod(initContainers=[INIT]), a_plan("openai", native=False))
    assert container(pod, "fetch") == INIT
    assert "OPENAI_API_KEY" in environment(container(pod, "app"))


def test_the_users_choice_of_a_default_container_stays() -> None:
    chosen = {"kubectl.kubernetes.io/default-container": "second"}
    pod = injected(raw_pod(annotations=chosen), a_plan(native=False))
    assert pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "second"
    assert (
        "kubectl.kubernetes.io/default-container"
        not in injected(raw_pod(), a_plan())["metadata"]["annotations"]
    )


@pytest.mark.parametrize(
    ("owner", "policy", "ends"),
    [
        ("Job/train", None, True),
        ("", "OnFailure", True),
        ("", "Never", True),
        ("ReplicaSet/a", "Always", False),
    ],
)
def test_on_old_kubelets_a_pod_that_should_end_is_warned_of(
    owner: str, policy: str | None, *, ends: bool
) -> None:
    raw = raw_pod(restartPolicy=policy)
    expected = [InjectionCode.OLD_KUBELETS, *([InjectionCode.JOB_WILL_NOT_END] if ends else [])]
    assert codes(raw, a_plan(native=False, owner=owner)) == expected
    assert codes(raw, a_plan(owner=owner)) == []


# --- what is told and refused --------------------------------------------------------------------------


def test_a_port_that_is_not_captured_is_told() -> None:
    plan = a_plan(ports=(443, 6333))
    outcome = try_inject(raw_pod(), plan)
    assert isinstance(outcome, Injected)
    (warning,) = outcome.warnings
    assert str(warning) == (
        "not_captured: policies name hosts on ports that are not captured: 6333; annotate the pod with "
        "podkey.io/capture-ports: 443,80,6333"
    )
    assert codes(raw_pod(), replace(plan, capture=EXPLICIT)) == []
    assert codes(raw_pod(), replace(plan, intent=Intent(capture_ports=(443, 6333)))) == []


def test_everything_that_annotations_ask_for_wrongly_is_refused_at_once() -> None:
    intent = Intent(sidecar=Quantities(cpu_request=1), exclude_ports=(443, 80))
    assert codes(raw_pod(), a_plan(intent=intent)) == [
        InjectionCode.RESOURCES_OUT_OF_BOUNDS,
        InjectionCode.BAD_ANNOTATION,
    ]
    assert codes(raw_pod(), a_plan(intent=intent, capture=EXPLICIT)) == [
        InjectionCode.RESOURCES_OUT_OF_BOUNDS
    ]


def test_what_a_container_keeps_is_told_for_each() -> None:
    entry = {"env": [{"name": "SSL_CERT_FILE", "value": "/mine"}]}
    raw = raw_pod(entry, {**entry, "name": "two"})
    assert codes(raw, a_plan()) == [InjectionCode.VARIABLE_KEPT] * 2


def test_a_container_of_our_name_that_is_not_ours_is_refused() -> None:
    raw = raw_pod({}, {"name": "podkey", "image": "evil.test/x"})
    assert set(codes(raw, a_plan())) == {InjectionCode.RESERVED_CONTAINER}


def test_a_sidecar_beside_no_application_is_refused_even_where_it_is_as_ours() -> None:
    pod = defaulted(injected(raw_pod(), a_plan(native=False)))
    assert nothing_more(pod, a_plan(native=False))
    pod["spec"]["containers"] = [container(pod, "podkey")]
    outcome = try_inject(pod, a_plan())
    assert isinstance(outcome, Refuse)
    (found,) = outcome.reasons
    assert found.code is InjectionCode.RESERVED_CONTAINER
    assert found.message == "`containers` has none but podkey's own `podkey`"
    # Nor does a pod become one by ours alone.
    pod = {"spec": {"containers": []}}
    assert codes(pod, a_plan(native=False)) == [InjectionCode.RESERVED_CONTAINER]
    assert codes(pod, a_plan()) == []


# --- the second call -----------------------------------------------------------------------------------


CAPTURES = [
    frozenset({Capture.TRANSPARENT}),
    EXPLICIT,
    frozenset({Capture.EXPLICIT, Capture.ENDPOINT}),
    frozenset(Capture),
]


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("native", [True, False])
def test_a_second_call_changes_nothing(capture: frozenset[Capture], *, native: bool) -> None:
    plan = a_plan("openai", "s3", capture=capture, native=native, audiences=("v",), secrets=(("s", ("k",)),))
    raw = raw_pod({"envFrom": [{"secretRef": {"name": "x"}}]}, {"name": "b"}, initContainers=[INIT])
    pod = injected(raw, plan)
    assert nothing_more(pod, plan)
    assert nothing_more(defaulted(pod), plan)
    assert nothing_more(injected(defaulted(pod), plan), plan)


@pytest.mark.parametrize("native", [True, False])
def test_what_another_webhook_has_added_in_between_is_equipped_too(*, native: bool) -> None:
    plan = a_plan("openai", native=native)
    pod = defaulted(injected(raw_pod(), plan))
    pod["spec"]["containers"].append(copy.deepcopy(ENVOY))
    pod["spec"].setdefault("initContainers", []).append({**INIT, "name": "late"})
    again = injected(defaulted(pod), plan)
    assert "OPENAI_API_KEY" in environment(container(again, "envoy"))
    assert ("OPENAI_API_KEY" in environment(container(again, "late"))) is native
    images = again["metadata"]["annotations"]["podkey.io/images"].split()
    assert sorted(images) == ["registry.test/app:1", "registry.test/envoy:1", "registry.test/fetch:1"]
    assert nothing_more(again, plan)


def test_what_another_webhook_has_put_in_front_stays_there_and_is_not_equipped() -> None:
    plan = a_plan("openai")
    pod = defaulted(injected(raw_pod(initContainers=[INIT]), plan))
    first = {"name": "istio-init", "image": "registry.test/istio:1"}
    pod["spec"]["initContainers"].insert(0, copy.deepcopy(first))
    again = injected(pod, plan)
    assert names(again, "initContainers") == ["istio-init", "podkey-redirect", "podkey", "fetch"]
    assert container(again, "istio-init") == first
    assert nothing_more(again, plan)


def test_what_somebody_has_taken_away_is_put_back_in_its_place() -> None:
    plan = a_plan()
    whole = defaulted(injected(raw_pod(initContainers=[INIT]), plan))
    whole["spec"]["initContainers"].insert(0, {"name": "other", "image": "a"})
    for gone in ("podkey", "podkey-redirect"):
        pod = copy.deepcopy(whole)
        pod["spec"]["initContainers"] = [c for c in pod["spec"]["initContainers"] if c["name"] != gone]
        pod["spec"]["volumes"] = [v for v in pod["spec"]["volumes"] if v["name"] != "podkey-policy"]
        again = injected(pod, plan)
        assert names(again, "initContainers") == ["other", "podkey-redirect", "podkey", "fetch"]
        assert sorted(names(again, "volumes")) == sorted(names(whole, "volumes"))
        assert nothing_more(again, plan)


def test_an_accelerator_that_comes_or_goes_in_between_is_noted() -> None:
    pod = defaulted(injected(raw_pod(), a_plan()))
    with_gpu = a_plan(accelerated=True)
    again = injected(pod, with_gpu)
    assert environment(container(again, "podkey"))["PODKEY_GPU"] == "true"
    assert nothing_more(again, with_gpu)
    assert environment(container(injected(again, a_plan()), "podkey"))["PODKEY_GPU"] == "false"


def test_a_replica_that_knows_less_or_more_leaves_the_pod_as_it_is() -> None:
    first = a_plan("openai", capture=frozenset({Capture.EXPLICIT, Capture.ENDPOINT}), audiences=("a",))
    pod = defaulted(injected(raw_pod(), first))
    other = a_plan("s3", audiences=("b",), secrets=(("s", ("k",)),), native=False)
    assert nothing_more(pod, replace(other, placeholders=first.placeholders))


def test_another_release_of_ours_does_not_pass_for_this_one() -> None:
    pod = defaulted(injected(raw_pod(), a_plan()))
    outcome = try_inject(pod, a_plan(), SidecarSettings(image="registry.test/podkey:2", cluster="west"))
    assert isinstance(outcome, Refuse)
    assert [finding.message.partition(" of ")[0] for finding in outcome.reasons] == [
        "spec.initContainers[0].image",
        "spec.initContainers[1].image",
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"image": "registry.test/podkey:2"},
        {"cluster": "east"},
        {"environment": {"PODKEY_LOG_LEVEL": "debug"}},
        {"token_seconds": 600},
    ],
)
def test_a_fingerprint_tells_sidecars_of_other_settings_apart(other: dict[str, Any]) -> None:
    assert fingerprint(replace(SETTINGS, **other), RULES) != FINGERPRINT


def test_a_fingerprint_is_the_same_where_the_containers_are() -> None:
    two = [{"PODKEY_A": "1", "PODKEY_B": "2"}, {"PODKEY_B": "2", "PODKEY_A": "1"}]
    assert len({fingerprint(replace(SETTINGS, environment=one), RULES) for one in two}) == 1
    networks = replace(RULES, cluster_cidrs=(ip_network("10.0.0.0/8"),))
    assert fingerprint(SETTINGS, networks) == FINGERPRINT
    assert fingerprint(SETTINGS, replace(networks, exclude_cluster=True)) != FINGERPRINT
