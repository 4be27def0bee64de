from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.cluster import Namespace, PodNeeds
from injector.core.outcome import Inject, Outcome, Refuse, Skip
from injector.core.settings import OnDanger, PodRules
from injector.craft.eligibility import PROTECTED_NAMESPACES, decide
from proxy.core.contract import INJECT
from proxy.core.injection_codes import INJECTION_CODES, CodeKind, InjectionCode
from tests.sample_pods import gpus, sample_pod

SELECTED = PodNeeds(policies=("ml/train",))
RULES = PodRules()


def namespace(label: str | None, name: str = "ml") -> Namespace:
    return Namespace(name, {} if label is None else {INJECT: label})


def decided(
    *containers: dict[str, Any],
    label: str | None = "enabled",
    name: str = "ml",
    annotation: str | None = None,
    needs: PodNeeds = SELECTED,
    rules: PodRules = RULES,
    **spec: Any,
) -> Outcome:
    annotations = spec.pop("annotations", {}) | ({} if annotation is None else {INJECT: annotation})
    return decide(
        sample_pod(*containers, annotations=annotations, **spec), namespace(label, name), needs, rules
    )


def told(outcome: Outcome) -> str:
    """`inject asked accelerator`: what becomes of it and why."""
    kind = {Inject: "inject", Skip: "skip", Refuse: "refuse"}[type(outcome)]
    return " ".join([kind, *(finding.code.value for finding in outcome.reasons)])


# --- the truth table ------------------------------------------------------------------------------

# For each label of the namespace and annotation of the pod: what becomes of a pod that asks for nothing, for
# an accelerator, that a policy selects, and both. A dash is a label or an annotation that is not there.
TABLE = """
-         -         skip namespace_not_enabled | = | = | =
-         enabled   skip namespace_not_enabled | = | = | =
-         observe   skip namespace_not_enabled | = | = | =
-         disabled  skip disabled | = | = | =
-         true      skip namespace_not_enabled | = | = | =
disabled  -         skip namespace_not_enabled | = | = | =
disabled  enabled   skip namespace_not_enabled | = | = | =
disabled  observe   skip namespace_not_enabled | = | = | =
disabled  disabled  skip disabled | = | = | =
disabled  true      skip namespace_not_enabled | = | = | =
enabled   -         skip not_needed | inject accelerator | inject policy_selects | inject accelerator policy_selects
enabled   enabled   inject asked | inject asked accelerator | inject asked policy_selects | inject asked accelerator policy_selects
enabled   observe   inject asked | inject asked accelerator | inject asked policy_selects | inject asked accelerator policy_selects
enabled   disabled  skip disabled | = | = | =
enabled   true      refuse bad_annotation | = | = | =
all       -         inject every_pod | inject every_pod accelerator | inject every_pod policy_selects | inject every_pod accelerator policy_selects
all       enabled   inject asked every_pod | inject asked every_pod accelerator | inject asked every_pod policy_selects | inject asked every_pod accelerator policy_selects
all       observe   inject asked every_pod | inject asked every_pod accelerator | inject asked every_pod policy_selects | inject asked every_pod accelerator policy_selects
all       disabled  skip disabled | = | = | =
all       true      refuse bad_annotation | = | = | =
yes       -         refuse bad_namespace_label | = | = | =
yes       enabled   refuse bad_namespace_label | = | = | =
yes       observe   refuse bad_namespace_label | = | = | =
yes       disabled  skip disabled | = | = | =
yes       true      refuse bad_namespace_label bad_annotation | = | = | =
"""  # noqa: E501 - a table

LABELS = (None, "disabled", "enabled", "all", "yes")
ANNOTATIONS = (None, "enabled", "observe", "disabled", "true")
WANTS = ((False, False), (True, False), (False, True), (True, True))


def rows() -> dict[tuple[str | None, str | None, bool, bool], str]:
    table = {}
    for line in TABLE.strip().splitlines():
        label, annotation, outcomes = line.split(maxsplit=2)
        first, *others = (cell.strip() for cell in outcomes.split("|"))
        cells = [first, *(first if cell == "=" else cell for cell in others)]
        for (accelerator, policy), cell in zip(WANTS, cells, strict=True):
            key = (
                None if label == "-" else label,
                None if annotation == "-" else annotation,
                accelerator,
                policy,
            )
            table[key] = cell
    return table


def test_the_table_has_every_row() -> None:
    every = {(label, said, *wants) for label, said, wants in product(LABELS, ANNOTATIONS, WANTS)}
    assert rows().keys() == every


@pytest.mark.parametrize(("row", "expected"), list(rows().items()), ids=str)
def test_each_row_of_the_truth_table(row: tuple[str | None, str | None, bool, bool], expected: str) -> None:
    label, annotation, accelerator, policy = row
    containers = [gpus()] if accelerator else []
    needs = SELECTED if policy else PodNeeds()
    assert told(decided(*containers, label=label, annotation=annotation, needs=needs)) == expected


@pytest.mark.parametrize(("label", "annotation", "wants"), list(product(LABELS, ANNOTATIONS, WANTS)))
def test_protected_namespaces_and_mirror_pods_are_skipped_whatever_is_asked(
    label: str | None, annotation: str | None, wants: tuple[bool, bool]
) -> None:
    containers = [gpus()] if wants[0] else []
    needs = SELECTED if wants[1] else PodNeeds()
    disabled = "skip disabled" if annotation == "disabled" else None
    for name in sorted({*PROTECTED_NAMESPACES, RULES.own_namespace}):
        outcome = decided(*containers, label=label, name=name, annotation=annotation, needs=needs)
        assert told(outcome) == (disabled or "skip protected_namespace")
    mirror = {"kubernetes.io/config.mirror": "0123"}
    outcome = decided(*containers, label=label, annotation=annotation, needs=needs, annotations=mirror)
    assert told(outcome) == (disabled or "skip mirror_pod")


def test_podkeys_own_namespace_is_a_setting() -> None:
    rules = PodRules(own_namespace="secrets")
    assert told(decided(name="secrets", rules=rules)) == "skip protected_namespace"
    assert told(decided(name="podkey-system", rules=rules)) == "inject policy_selects"


ELSEWHERE = [
    ({"hostNetwork": True}, "host_network"),
    ({"hostPID": True}, "host_pid"),
    ({"os": {"name": "windows"}}, "windows"),
    ({"hostNetwork": True, "hostPID": True, "os": {"name": "windows"}}, "host_network host_pid windows"),
]


@pytest.mark.parametrize(("spec", "codes"), ELSEWHERE)
@pytest.mark.parametrize("label", ["enabled", "all"])
def test_where_no_sidecar_can_be_only_those_who_asked_are_refused(
    label: str, spec: dict[str, Any], codes: str
) -> None:
    assert told(decided(gpus(), label=label, **spec)) == f"skip {codes}"
    for annotation in ("enabled", "observe"):
        assert told(decided(gpus(), label=label, annotation=annotation, **spec)) == f"refuse {codes}"
    assert told(decided(gpus(), label=label, annotation="disabled", **spec)) == "skip disabled"
    wrong = {"podkey.io/nonsense": ""}
    assert told(decided(label=label, annotations=wrong, **spec)) == "refuse bad_annotation"
    assert told(decided(needs=PodNeeds(), **spec)) == "skip not_needed"


def test_a_wrong_annotation_is_refused_also_where_nothing_else_wants_a_sidecar() -> None:
    """It could be the one that asks for it."""
    outcome = decided(needs=PodNeeds(), annotations={"podkey.io/injct": "enabled"})
    assert told(outcome) == "refuse bad_annotation"


# --- what breaks the promise ----------------------------------------------------------------------

WORST = {
    "name": "podkey-x",
    "securityContext": {"runAsUser": 1337, "privileged": True, "capabilities": {"add": ["ALL"]}},
    "volumeMounts": [{"name": "podkey-state", "mountPath": "/x"}, {"name": "v", "mountPath": "/etc/podkey"}],
    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
}
WORST_SPEC: dict[str, Any] = {
    "shareProcessNamespace": True,
    "hostPID": True,
    "volumes": [{"name": "node", "hostPath": {"path": "/"}}],
    "annotations": {"podkey.io/capture": "sideways"},
}
WORST_NEEDS = PodNeeds(policies=("ml/train",), secrets=(("s", ("k",)),))


def test_everything_that_is_wrong_is_told_at_once_and_in_one_order() -> None:
    outcome = decided(WORST, annotation="enabled", needs=WORST_NEEDS, **WORST_SPEC)
    assert told(outcome) == (
        "refuse bad_annotation host_pid reserved_container reserved_volume reserved_path proxy_uid "
        "shared_processes privileged capability state_exposed secret_in_application"
    )
    assert outcome == decided(WORST, annotation="enabled", needs=WORST_NEEDS, **WORST_SPEC)


def test_a_setting_makes_warnings_of_what_the_promise_does_not_stand_on() -> None:
    rules = PodRules(on_danger=OnDanger.WARN)
    outcome = decided(WORST, annotation="enabled", needs=WORST_NEEDS, rules=rules, **WORST_SPEC)
    assert told(outcome) == (
        "refuse bad_annotation host_pid reserved_container reserved_volume reserved_path proxy_uid "
        "shared_processes state_exposed"
    )
    warned = [finding.code.value for finding in outcome.warnings]
    assert warned == ["privileged", "capability", "secret_in_application"]
    tolerable = {"securityContext": {"runAsUser": 1, "privileged": True}}
    assert told(decided(tolerable)) == "refuse privileged"
    outcome = decided(tolerable, rules=rules)
    assert told(outcome) == "inject policy_selects"
    assert [finding.code for finding in outcome.warnings] == [InjectionCode.PRIVILEGED]


def test_dangers_are_nobodys_business_in_a_pod_that_gets_no_sidecar() -> None:
    for outcome in (
        decided(WORST, annotation="disabled"),
        decided(WORST, needs=PodNeeds()),
        decided(WORST, label="disabled"),
        decided(WORST, hostNetwork=True),
    ):
        assert isinstance(outcome, Skip)


def test_warnings_go_with_what_is_injected() -> None:
    volumes = [
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": a}}]}} | {"name": n}
        for n, a in (("sts", "sts"), ("api", ""))
    ]
    mounts = [{"name": "sts", "mountPath": "/a"}, {"name": "api", "mountPath": "/b"}]
    container = {"securityContext": {}, "volumeMounts": mounts}
    needs = PodNeeds(audiences=("sts",), secrets=(("s", ("k",)),))
    outcome = decided(container, annotation="enabled", needs=needs, volumes=volumes)
    assert told(outcome) == "inject asked"
    assert [finding.code for finding in outcome.warnings] == [
        InjectionCode.USER_UNKNOWN,
        InjectionCode.TOKEN_IN_APPLICATION,
        InjectionCode.API_TOKEN,
        InjectionCode.NO_POLICY,
    ]


def test_a_pod_of_a_policy_with_nothing_to_say_gets_no_warning() -> None:
    assert decided().warnings == ()


def test_more_accelerators_are_a_setting() -> None:
    rules = PodRules(accelerators=("example.com/chip*",))
    pod = gpus("1", "example.com/chip-9")
    assert told(decided(pod, needs=PodNeeds())) == "skip not_needed"
    assert told(decided(pod, needs=PodNeeds(), rules=rules)) == "inject accelerator"


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "hostNetwork": st.booleans(),
        "hostPID": st.booleans(),
        "shareProcessNamespace": st.booleans(),
        "securityContext": st.sampled_from([{}, {"runAsUser": 1337}, {"fsGroup": 1337}]),
        "volumes": st.sampled_from([[], WORST_SPEC["volumes"], [{"name": "podkey-x"}]]),
        "annotations": st.sampled_from(
            [{}, {"podkey.io/capture": "x"}, {INJECT: "observe"}, {INJECT: "disabled"}]
        ),
    },
)


@given(
    st.lists(st.sampled_from([{}, gpus(), WORST, {"name": "podkey"}]), max_size=3),
    SPECS,
    st.sampled_from([*LABELS]),
    st.sampled_from([PodNeeds(), SELECTED, WORST_NEEDS]),
    st.sampled_from(OnDanger),
)
def test_whatever_the_pod_is_each_code_is_one_of_its_outcome(
    containers: list[dict[str, Any]],
    spec: dict[str, Any],
    label: str | None,
    needs: PodNeeds,
    on_danger: OnDanger,
) -> None:
    pod = sample_pod(*containers, **spec)
    outcome = decide(pod, namespace(label), needs, PodRules(on_danger=on_danger))
    kind = {Inject: CodeKind.INJECT, Skip: CodeKind.SKIP, Refuse: CodeKind.REFUSE}[type(outcome)]
    assert outcome.reasons
    assert all(kind in INJECTION_CODES[finding.code].kinds for finding in outcome.reasons)
    if isinstance(outcome, Inject):
        assert all(CodeKind.WARN in INJECTION_CODES[finding.code].kinds for finding in outcome.warnings)
    assert all(str(finding).isprintable() and len(str(finding)) < 1000 for finding in outcome.reasons)
