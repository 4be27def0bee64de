"""Over generated pods: what is not ours stays, nothing stands twice, and patching twice is patching once."""

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.plan import Plan
from injector.craft.injection import Injected
from injector.craft.trust_variables import JAVA_OPTIONS, JAVA_VARIABLE, TRUST_VARIABLES
from proxy.core.settings import Capture
from tests.injected_pods import a_plan, containers, defaulted, injected, theirs, try_inject

NAMES = [
    "A",
    "SSL_CERT_FILE",
    "OPENAI_API_KEY",
    "HTTPS_PROXY",
    "no_proxy",
    JAVA_VARIABLE,
    "OPENAI_BASE_URL",
    "PATH",
]
ENTRIES = st.builds(
    lambda name, rest: {"name": name, **rest},
    st.sampled_from(NAMES),
    st.sampled_from(
        [
            {},
            {"value": "x"},
            {"value": "-Xmx1g"},
            {"value": "-Djavax.net.ssl.trustStore=/mine"},
            {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"value": TRUST_VARIABLES["SSL_CERT_FILE"]},
        ]
    ),
)
ENV_FROM = st.sampled_from(
    [
        {"secretRef": {"name": "keys"}},
        {"prefix": "OPENAI_", "configMapRef": {"name": "c"}},
        {"configMapRef": {"name": "podkey-trust", "optional": True}},
    ]
)
RESOURCES = st.sampled_from(
    [
        {},
        {"limits": {"cpu": "1", "memory": "1Gi"}},
        {"limits": {"nvidia.com/gpu": "8"}, "requests": {"cpu": "1"}},
    ]
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Each there, or null, or not at all."""
    return st.fixed_dictionaries({}, optional={name: st.none() | field for name, field in fields.items()})


def named(prefix: str, most: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = optional(
        image=st.sampled_from(["a:1", "b", "Odd/Image"]),
        env=st.lists(ENTRIES, max_size=4),
        envFrom=st.lists(ENV_FROM, max_size=2),
        volumeMounts=st.just([{"name": "d", "mountPath": "/d"}]) | st.just([]),
        resources=RESOURCES,
        command=st.just(["sleep"]),
        futureField=st.just({"x": [1]}),
        restartPolicy=st.just("Always") if prefix == "init" else st.nothing(),
    )
    # No pod is without a container.
    return st.lists(one, min_size=prefix == "app", max_size=most).map(
        lambda items: [{"name": f"{prefix}-{index}", **item} for index, item in enumerate(items)]
    )


PODS = st.builds(
    lambda metadata, spec, containers, extra: {
        "apiVersion": "v1",
        "kind": "Pod",
        **metadata,
        "spec": {"containers": containers, **spec},
        **extra,
    },
    optional(
        metadata=optional(
            annotations=st.dictionaries(st.sampled_from(["a/b", "c~d"]), st.just("x"), max_size=2),
            labels=st.just({"app": "x"}),
            managedFields=st.just([{"manager": "kubectl"}]),
        )
    ),
    optional(
        initContainers=named("init", 2),
        volumes=st.just([{"name": "d", "emptyDir": {}}]) | st.just([]),
        securityContext=st.just({"fsGroup": 7}),
        resources=RESOURCES,
        restartPolicy=st.just("Never"),
        tolerations=st.just([{"operator": "Exists"}]),
    ),
    named("app", 3),
    optional(status=st.just({})),
)
PLANS = st.builds(
    a_plan,
    st.sampled_from(["openai", "s3", "huggingface"]),
    capture=st.sampled_from([frozenset({way}) for way in Capture] + [frozenset(Capture)]),
    native=st.booleans(),
    accelerated=st.booleans(),
    owner=st.sampled_from(["", "Job/train"]),
    secrets=st.sampled_from([(), (("s", ("k",)), ("t", ()))]),
    audiences=st.sampled_from([(), ("sts.amazonaws.com", "api://x")]),
)


def without_ours(pod: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The pod when everything that podkey adds is taken out again, with the parents that it made."""
    found = copy.deepcopy(pod)
    spec = found["spec"]
    for kind in ("initContainers", "containers"):
        spec[kind] = [one for one in spec.get(kind) or [] if one["name"].partition("-")[0] != "podkey"]
        originals = before["spec"].get(kind) or []
        for one, original in zip(spec[kind], originals, strict=True):
            _strip(one, original)
    spec["volumes"] = [v for v in spec.get("volumes") or [] if not v["name"].startswith("podkey-")]
    annotations = found["metadata"]["annotations"]
    ours = ("podkey.io/", "kubectl.kubernetes.io/default-container")
    found["metadata"]["annotations"] = {k: v for k, v in annotations.items() if not k.startswith(ours)}
    return found


def _strip(one: dict[str, Any], original: dict[str, Any]) -> None:
    count = len(original.get("env") or [])
    one["env"] = (one.get("env") or [])[:count]
    for entry, first in zip(one["env"], original.get("env") or [], strict=True):
        if entry["name"] == JAVA_VARIABLE and entry != first:
            entry["value"] = entry["value"].removesuffix(JAVA_OPTIONS).rstrip()
    one["volumeMounts"] = [m for m in one.get("volumeMounts") or [] if m["name"] != "podkey-trust"]
    extra = len(one.get("envFrom") or []) - len(original.get("envFrom") or [])
    one["envFrom"] = (one.get("envFrom") or [])[extra:]


def plain(value: Any) -> Any:
    """Without what Kubernetes takes for absent."""
    if isinstance(value, dict):
        members = {name: plain(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, {}, [], "")}
    return [plain(item) for item in value] if isinstance(value, list) else value


@given(PODS, PLANS)
def test_what_is_not_ours_is_as_it_was_and_in_its_order(raw: dict[str, Any], plan: Plan) -> None:
    assert plain(without_ours(injected(raw, plan), raw)) == plain(raw)


@given(PODS, PLANS)
def test_patching_twice_is_patching_once(raw: dict[str, Any], plan: Plan) -> None:
    pod = injected(raw, plan)
    for later in (pod, defaulted(pod)):
        outcome = try_inject(later, plan)
        assert isinstance(outcome, Injected)
        assert outcome.patch == ()


@given(PODS, PLANS)
def test_the_patch_is_json_that_another_implementation_applies(raw: dict[str, Any], plan: Plan) -> None:
    outcome = try_inject(raw, plan)
    assert isinstance(outcome, Injected)
    written = json.loads(json.dumps([operation.to_json() for operation in outcome.patch]))
    # Parsed anew: where one list stands at two places, as with an anchor in YAML, it changes both.
    assert jsonpatch.apply_patch(json.loads(json.dumps(raw)), written) == injected(raw, plan)


@given(PODS, PLANS)
def test_no_name_stands_twice_that_did_not(raw: dict[str, Any], plan: Plan) -> None:
    pod = injected(raw, plan)
    for found in ([one["name"] for one in containers(pod)], [v["name"] for v in pod["spec"]["volumes"]]):
        assert len(found) == len(set(found))
    for one in containers(pod):
        added = [entry["name"] for entry in one.get("env") or []]
        original = next((c for c in containers(raw) if c["name"] == one["name"]), {})
        before = [entry["name"] for entry in original.get("env") or []]
        assert len(added) - len(set(added)) == len(before) - len(set(before))
        paths = [mount["mountPath"] for mount in one.get("volumeMounts") or []]
        assert len(paths) == len(set(paths))


@given(PODS, PLANS)
def test_no_container_of_the_user_can_write_or_see_what_is_the_sidecars(
    raw: dict[str, Any], plan: Plan
) -> None:
    for one in theirs(injected(raw, plan)):
        for mount in one.get("volumeMounts") or []:
            if mount["name"].startswith("podkey-"):
                assert mount == {"name": "podkey-trust", "mountPath": "/etc/podkey/ca", "readOnly": True}


@given(PODS, PLANS, PODS)
def test_the_second_call_keeps_what_the_first_wrote_whatever_comes_in_between(
    raw: dict[str, Any], plan: Plan, other: dict[str, Any]
) -> None:
    pod = defaulted(injected(raw, plan))
    for kind in ("initContainers", "containers"):
        there = pod["spec"][kind] = pod["spec"].get(kind) or []
        for index, one in enumerate(copy.deepcopy(other["spec"].get(kind) or [])):
            one["name"] = f"other-{one['name']}"
            there.insert(0 if index % 2 else len(there), one)
    again = injected(pod, plan)
    order = [one["name"] for one in containers(pod)]
    assert [one["name"] for one in containers(again)] == order
    outcome = try_inject(defaulted(again), plan)
    assert isinstance(outcome, Injected)
    assert outcome.patch == ()


@pytest.mark.parametrize("count", [250])
def test_many_containers_are_patched_alike(count: int) -> None:
    raw = {"spec": {"containers": [{"name": f"c-{i}", "image": "a"} for i in range(count)]}}
    plan = a_plan("openai")
    pod = injected(raw, plan)
    assert len(json.dumps(pod)) < count * 2048
    outcome = try_inject(pod, plan)
    assert isinstance(outcome, Injected)
    assert outcome.patch == ()
