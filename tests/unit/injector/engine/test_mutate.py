import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.cluster import Namespace
from injector.core.outcome import Inject, Refuse, Skip
from injector.core.settings import NativeSidecars, PodRules
from injector.engine.happenings import EventKind, EventReason, Involved
from injector.engine.mutate import _plan, happening_of, judge, mutate
from injector.reading.pods import read_pod
from injector.reading.reviews import Answer, Review, read_review, render_answer
from proxy.core.contract import INJECT, INJECTED, PLACEHOLDERS
from proxy.core.injection_codes import InjectionCode
from proxy.core.structs import replace
from tests.admission_world import (
    ALL,
    CAPTURED,
    ENABLED,
    SETTINGS,
    a_review,
    a_world,
    asked,
    body,
    captured,
    codes,
    first,
    outcome_of,
    patched,
)
from tests.cluster_policies import policy, source
from tests.injected_pods import container, defaulted, environment
from tests.sample_pods import gpus, raw_pod

OPENAI = policy({"service": "openai", "credential": "one"}, accounts=["default"])
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "name": "train",
    "uid": "u-9",
    "controller": True,
}


def new_pod_of(**review: Any) -> Review:
    return a_review(raw_pod(), **review)


# --- the steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"operation": "CREATE", "object": None},
        {"operation": ""},
        {"subResource": "ephemeralcontainers"},
        {"kind": {"group": "apps", "version": "v1", "kind": "Pod"}},
        {"kind": {"group": "", "version": "v2", "kind": "Pod"}},
        {"kind": {"group": "", "version": "v1", "kind": "Service"}},
    ],
)
def test_anything_but_a_new_pod_is_let_through(other: dict[str, Any]) -> None:
    answer = asked(raw_pod(), a_world(), **other)

    assert codes(outcome_of(answer)) == ["skip: not_a_new_pod"]
    assert (answer.allowed, answer.patch) == (True, b"")


def test_what_is_let_through_is_named() -> None:
    answer = asked(raw_pod(), a_world(), operation="UPDATE", subResource="resize")

    assert (
        str(outcome_of(answer).reasons[0]) == "not_a_new_pod: the review is about `UPDATE` of `pods/resize`"
    )


def test_a_pod_of_a_namespace_that_nobody_has_seen_is_asked_about_again() -> None:
    answer = asked(raw_pod(), a_world(), namespace="new")
    status = json.loads(render_answer(answer))["response"]["status"]

    assert codes(outcome_of(answer)) == ["refuse: namespace_unknown"]
    assert (status["code"], status["details"]) == (503, {"retryAfterSeconds": 1})


@pytest.mark.parametrize("labels", [{}, {INJECT: "disabled"}])
@pytest.mark.parametrize("pod", [raw_pod(gpus()), raw_pod(annotations={INJECT: "enabled"})])
def test_a_label_that_only_the_api_server_has_seen_is_asked_about_again(
    labels: dict[str, str], pod: dict[str, Any]
) -> None:
    world = a_world(labels=labels)
    answer = asked(pod, replace(world, asked_by_selector=True))

    assert answer.message == (
        "namespace_unknown: the injector has not seen the label `podkey.io/inject` of namespace `ml` yet; "
        "try again in a moment"
    )
    assert answer.retry_after_seconds == 1
    assert codes(outcome_of(asked(pod, world))) == ["skip: namespace_not_enabled"]


def test_where_no_label_counts_none_is_waited_for() -> None:
    namespaces = [Namespace("kube-system", {})]
    world = replace(a_world(labels={}, namespaces=namespaces), asked_by_selector=True)

    protected = asked(raw_pod(), world, namespace="kube-system")
    assert codes(outcome_of(protected)) == ["skip: protected_namespace"]
    disabled = asked(raw_pod(annotations={INJECT: "disabled"}), world)
    assert codes(outcome_of(disabled)) == ["skip: disabled"]
    served = replace(a_world(labels=ENABLED), asked_by_selector=True)
    assert codes(outcome_of(asked(raw_pod(), served))) == ["skip: not_needed"]


def test_a_pod_that_cannot_be_read_is_refused_with_the_field() -> None:
    answer = asked(raw_pod(nodeSelector=[]), a_world())

    assert not answer.allowed
    assert answer.message == (
        "unreadable_pod: spec.nodeSelector is a list, where Kubernetes has an object; mend the field"
    )


def test_a_pod_that_needs_no_sidecar_is_left_as_it_is() -> None:
    answer = asked(raw_pod(), a_world(labels=ENABLED))

    assert codes(outcome_of(answer)) == ["skip: not_needed"]
    assert (answer.allowed, answer.patch) == (True, b"")


def test_a_pod_that_a_policy_selects_gets_a_sidecar_and_placeholders_of_its_services() -> None:
    pod = raw_pod()
    answer = asked(pod, a_world(OPENAI, source(), labels=ENABLED))
    made = patched(pod, answer)

    assert codes(outcome_of(answer)) == ["inject: policy_selects"]
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["podkey-redirect", "podkey"]
    key = environment(container(made, "app"))["OPENAI_API_KEY"]
    assert made["metadata"]["annotations"][PLACEHOLDERS] == f"OPENAI_API_KEY={key}"


def test_all_reasons_and_warnings_are_in_the_answer() -> None:
    pod = raw_pod({**gpus(), "securityContext": {}, "env": [{"name": "SSL_CERT_FILE", "value": "/x"}]})
    answer = asked(pod, a_world())

    assert codes(outcome_of(answer)) == [
        "inject: every_pod",
        "inject: accelerator",
        "warn: user_unknown",
        "warn: no_policy",
        "warn: variable_kept",
    ]
    assert answer.audit == {"outcome": "inject", "reasons": "accelerator,every_pod"}


def test_what_cannot_be_made_is_refused_with_the_warnings_so_far() -> None:
    pod = raw_pod(annotations={"podkey.io/sidecar-memory-limit": "99Gi"})
    answer = asked(pod, a_world())

    assert codes(outcome_of(answer)) == ["refuse: resources_out_of_bounds", "warn: no_policy"]
    assert answer.patch == b""


def test_a_redirect_that_the_namespace_forbids_is_refused() -> None:
    labels = {**ALL, "pod-security.kubernetes.io/enforce": "restricted"}
    answer = asked(raw_pod(annotations={"podkey.io/capture": "transparent"}), a_world(labels=labels))

    assert codes(outcome_of(answer)) == ["refuse: capture_not_allowed", "warn: no_policy"]


def test_annotations_that_only_the_injector_writes_are_refused_on_a_pod_without_sidecar() -> None:
    answer = asked(raw_pod(annotations={INJECTED: "true", PLACEHOLDERS: ""}), a_world())

    assert answer.message == (
        "reserved_annotation: the pod brings `podkey.io/injected`, `podkey.io/placeholders`, and no sidecar; "
        "take it out: the injector writes it"
    )


def test_bad_annotations_are_refused_wherever_they_are_noticed() -> None:
    pod = raw_pod(annotations={INJECT: "true"})
    world = a_world()
    namespace = world.namespaces["ml"]
    needs = world.book.needs(namespace, "default", {})
    plan = _plan(read_pod(pod, "ml"), namespace, needs, world, first, accelerated=False)

    assert isinstance(plan, Refuse)
    assert {finding.code for finding in plan.reasons} == {InjectionCode.BAD_ANNOTATION}
    assert codes(outcome_of(asked(pod, world)))[0] == "refuse: bad_annotation"


@pytest.mark.parametrize(
    ("setting", "kubelets", "native"),
    [
        (NativeSidecars.AUTO, True, True),
        (NativeSidecars.AUTO, False, False),
        (NativeSidecars.ALWAYS, False, True),
        (NativeSidecars.NEVER, True, False),
    ],
)
def test_the_sidecar_is_native_where_every_kubelet_knows_them_or_as_the_setting_says(
    setting: NativeSidecars,
    kubelets: bool,  # noqa: FBT001
    native: bool,  # noqa: FBT001
) -> None:
    pod = raw_pod()
    made = patched(pod, asked(pod, a_world(rules=PodRules(native_sidecars=setting), native=kubelets)))
    names = [one["name"] for one in made["spec"]["containers"]]

    assert names == (["app"] if native else ["podkey", "app"])


def test_base_urls_hold_a_token_that_was_drawn() -> None:
    labels = {**ALL, "pod-security.kubernetes.io/enforce": "baseline"}
    pod = raw_pod()
    world = a_world(OPENAI, source(), labels=labels)
    made = patched(pod, asked(pod, world))

    assert environment(container(made, "app"))["OPENAI_BASE_URL"] == (
        f"http://127.0.0.1:15101/podkey-{'0' * 32}/v1"
    )
    assert environment(container(made, "podkey"))["PODKEY_ENDPOINT_TOKEN"] == "0" * 32


# --- the second call -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["privileged", "restricted"])
@pytest.mark.parametrize("native", [True, False])
def test_a_second_call_changes_nothing_and_is_told_to_nobody(level: str, native: bool) -> None:  # noqa: FBT001
    labels = {**ALL, "pod-security.kubernetes.io/enforce": level}
    world = a_world(OPENAI, source(), labels=labels, native=native)
    pod = raw_pod({"envFrom": [{"configMapRef": {"name": "x"}}]}, {"name": "other"})
    made = defaulted(patched(pod, asked(pod, world)))
    review = a_review(made)
    again = mutate(review, world, lambda alphabet, count: alphabet[-1] * count)

    assert isinstance(again.outcome, Inject)
    assert again.patch == b""
    assert happening_of(review, again) is None


def test_a_pod_that_a_replica_of_another_release_has_written_into_is_asked_about_again() -> None:
    pod = raw_pod()
    made = defaulted(patched(pod, asked(pod, a_world())))
    newer = replace(SETTINGS, sidecar=replace(SETTINGS.sidecar, image="registry.test/podkey:2"))
    answer = asked(made, a_world(settings=newer))

    assert (answer.allowed, answer.retry_after_seconds) == (False, 1)
    assert set(codes(outcome_of(answer))) == {"refuse: reserved_container", "warn: no_policy"}
    assert happening_of(a_review(made), answer) is None


def test_containers_of_another_kind_under_our_name_are_refused_for_good() -> None:
    pod = raw_pod()
    world = a_world()
    made = defaulted(patched(pod, asked(pod, world)))
    container(made, "podkey")["image"] = "other"
    assert asked(made, world).retry_after_seconds == 0
    del made["metadata"]["annotations"][INJECTED]
    assert asked(made, world).retry_after_seconds == 0
    brought = raw_pod({"name": "podkey"}, annotations={INJECTED: "1"})
    assert not asked(brought, world).allowed


def test_a_fingerprint_is_mended_where_the_containers_are_the_same() -> None:
    pod = raw_pod()
    world = a_world()
    made = defaulted(patched(pod, asked(pod, world)))
    right = made["metadata"]["annotations"][INJECTED]
    made["metadata"]["annotations"][INJECTED] = "true"

    assert patched(made, asked(made, world))["metadata"]["annotations"][INJECTED] == right


def test_placeholders_that_nobody_drew_are_refused() -> None:
    pod = raw_pod()
    world = a_world(OPENAI, source())
    made = patched(pod, asked(pod, world))
    made["metadata"]["annotations"][PLACEHOLDERS] = "LD_PRELOAD=/x"

    assert codes(outcome_of(asked(made, world)))[0] == "refuse: reserved_annotation"


# --- the detector's question ---------------------------------------------------------------------


def test_a_running_pod_is_judged_as_if_it_were_made_now() -> None:
    world = a_world(labels=ENABLED)
    namespace = world.namespaces["ml"]

    assert codes(judge(raw_pod(gpus()), namespace, world)) == ["inject: accelerator", "warn: no_policy"]
    assert codes(judge(raw_pod(), namespace, world)) == ["skip: not_needed"]
    assert codes(judge([], namespace, world)) == ["refuse: unreadable_pod"]


# --- Events --------------------------------------------------------------------------------------


def told(pod: dict[str, Any], world: Any, **request: Any) -> Any:
    review = a_review(pod, **request)
    return happening_of(review, mutate(review, world, first))


def test_an_injection_is_told_on_the_owner() -> None:
    world = a_world(OPENAI, source(), labels=ENABLED)
    happening = told(raw_pod(ownerReferences=[{**JOB, "controller": False, "name": "x"}, JOB]), world)

    assert happening.namespace == "ml"
    assert happening.involved == Involved("batch/v1", "Job", "train", "u-9")
    assert (happening.kind, happening.reason) == (EventKind.NORMAL, EventReason.INJECTED)
    assert happening.message == ("podkey's sidecar was added: policy_selects: it is selected by `ml/p`")


def test_warnings_make_it_a_warning() -> None:
    happening = told(raw_pod(), a_world())

    assert happening.kind is EventKind.WARNING
    assert happening.message.endswith(" | no_policy: no AccessPolicy selects the pod: nothing is granted")


@pytest.mark.parametrize(
    ("metadata", "involved"),
    [
        ({"name": "x"}, Involved("v1", "Pod", "x")),
        ({"generateName": "x-"}, Involved("v1", "Namespace", "ml")),
        ({"name": "x", "ownerReferences": {}}, Involved("v1", "Pod", "x")),
        ({"name": "x", "ownerReferences": ["y"]}, Involved("v1", "Pod", "x")),
        ({"name": "x", "ownerReferences": [{**JOB, "controller": False}]}, Involved("v1", "Pod", "x")),
        ([], Involved("v1", "Namespace", "ml")),
    ],
)
def test_a_pod_without_controller_is_told_of_itself_or_on_its_namespace(
    metadata: Any, involved: Involved
) -> None:
    happening = told({"metadata": metadata, "spec": {"shareProcessNamespace": True}}, a_world())

    assert happening.involved == involved
    assert (happening.kind, happening.reason) == (EventKind.WARNING, EventReason.REFUSED)
    assert happening.message.startswith("podkey refused a pod: ")


PRIVILEGED = {"securityContext": {"privileged": True}}
CHOSEN = "YOUR CLUSTER IS BROKEN: run x|sh"


@pytest.mark.parametrize(
    ("pod", "text"),
    [
        (raw_pod({**PRIVILEGED, "name": CHOSEN}), CHOSEN),
        (raw_pod(PRIVILEGED, initContainers=[{"name": "a\nb", "image": "x"}]), "podkey.io"),
        (raw_pod(PRIVILEGED, volumes=[{"name": CHOSEN, "hostPath": {"path": "/run"}}]), CHOSEN),
        (raw_pod(PRIVILEGED, initContainers=["x"], volumes=[{}, {"name": "a." * 40}]), "a."),
    ],
)
def test_an_event_has_no_name_in_it_that_kubernetes_would_not_take(pod: dict[str, Any], text: str) -> None:
    happening = told(pod, a_world())

    assert happening.message.startswith("podkey refused a pod: ")
    assert text not in happening.message
    assert ";" not in happening.message
    assert "`" in told(raw_pod(PRIVILEGED), a_world()).message


def test_a_pod_that_wanted_a_sidecar_and_can_have_none_is_told_of() -> None:
    happening = told(raw_pod(hostNetwork=True), a_world())

    assert (happening.kind, happening.reason) == (EventKind.NORMAL, EventReason.SKIPPED)
    assert happening.message.startswith("podkey's sidecar was not added: host_network: ")


@pytest.mark.parametrize(
    ("pod", "request_fields"),
    [
        (raw_pod(), {"dryRun": True}),
        (raw_pod(), {"namespace": "new"}),
        (raw_pod(), {"userInfo": {"username": ""}}),
        (raw_pod(), {"userInfo": ...}),
        (raw_pod(), {"operation": "UPDATE"}),
        (raw_pod(annotations={INJECT: "disabled"}), {}),
    ],
)
def test_a_dry_run_and_what_nobody_waits_for_are_not_told(
    pod: dict[str, Any], request_fields: dict[str, Any]
) -> None:
    assert told(pod, a_world(), **request_fields) is None
    assert happening_of(a_review(pod), Answer("u-1")) is None


def test_a_dry_run_has_the_same_answer() -> None:
    dry, wet = (asked(raw_pod(), a_world(), dryRun=dry) for dry in (True, False))

    assert (dry.dry_run, wet.dry_run) == (True, False)
    assert dry.patch == wet.patch


# --- whatever comes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAPTURED)
def test_every_captured_review_has_an_answer(name: str) -> None:
    review = read_review(json.dumps(captured(name)).encode())
    assert isinstance(review, Review)

    answer = mutate(review, a_world(OPENAI, source(), namespaces=[Namespace(review.namespace, ALL)]), first)
    response = json.loads(render_answer(answer))["response"]

    assert response["uid"] == captured(name)["request"]["uid"]
    assert isinstance(outcome_of(answer), Inject | Skip | Refuse)
    assert response["allowed"] is not isinstance(outcome_of(answer), Refuse)


# Any value in the place of any other of a pod that has much in it.
RICH = ("volumes-every-kind", "init-containers-native-sidecar", "gpu-nvidia", "deployment-replicaset")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("podkey"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in items for place in places(child, (*path, key)))]


@given(st.data())
def test_fuzz_any_pod_has_an_answer_twice(data: st.DataObject) -> None:
    pod = captured(data.draw(st.sampled_from(RICH)))["request"]["object"]
    world = a_world(OPENAI, source())
    if data.draw(st.booleans()):
        pod = patched(pod, asked(pod, world))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(places(pod)[1:]))
        holder = pod
        for key in above:
            holder = holder[key]
        holder[last] = data.draw(JSON)
    read = read_review(body(pod, name="x"))
    assert isinstance(read, Review)
    answer = mutate(read, world, first)

    if isinstance(answer.outcome, Inject):
        again = asked(made := patched(pod, answer), world, name="x")
        assert (again.patch, patched(made, again)) == (b"", made)
