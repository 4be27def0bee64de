"""Which pods a policy is about, and which namespaces."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.hosts import HostPattern
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.policy import AccessPolicy, Limits, WorkloadSelector
from proxy.core.selection import resolved, selects, selects_namespace

LABELS = {"team": "vision"}
SPACE = {NAMESPACE_NAME_LABEL: "ml", "tenant": "yes"}
VISION, SPEECH = (LabelSelector((("team", team),)) for team in ("vision", "speech"))
TENANTS = LabelSelector((("tenant", "yes"),))
BY_NAME = LabelSelector(((NAMESPACE_NAME_LABEL, "ml"),))
NOT_ML = LabelSelector((), (LabelRequirement(NAMESPACE_NAME_LABEL, Operator.NOT_IN, ("ml",)),))


def about(who: WorkloadSelector, namespace: str = "ml") -> AccessPolicy:
    return AccessPolicy(namespace, "p", who, ())


def selected(who: WorkloadSelector, namespace: str = "ml", labels: Mapping[str, str] = SPACE) -> bool:
    return selects(about(who, namespace), "ml", "trainer", LABELS, labels)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (WorkloadSelector(("trainer",)), True),
        (WorkloadSelector(("server", "trainer")), True),
        (WorkloadSelector(("*",)), True),
        (WorkloadSelector(("server",)), False),
        (WorkloadSelector(("Trainer",)), False),
        (WorkloadSelector((), VISION), True),
        (WorkloadSelector((), SPEECH), False),
        (WorkloadSelector(("trainer",), VISION), True),
        (WorkloadSelector(("trainer",), SPEECH), False),
        (WorkloadSelector(("server",), VISION), False),
        # What is empty selects nobody.
        (WorkloadSelector(), False),
        (WorkloadSelector((), LabelSelector()), False),
        (WorkloadSelector(("trainer",), LabelSelector()), False),
    ],
)
def test_service_account_and_labels_select_pods_of_the_policys_namespace(
    who: WorkloadSelector, *, expected: bool
) -> None:
    assert selected(who) is expected
    assert selected(who, "web") is False


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [(TENANTS, True), (BY_NAME, True), (NOT_ML, False), (LabelSelector(), False)],
)
@pytest.mark.parametrize("namespace", ["podkey-system", "ml"])
def test_a_namespace_selector_stands_in_place_of_the_policys_namespace(
    namespaces: LabelSelector, namespace: str, *, expected: bool
) -> None:
    assert selected(WorkloadSelector(("trainer",), namespaces=namespaces), namespace) is expected
    # It selects no pod by itself, and widens nothing else.
    assert selected(WorkloadSelector(namespaces=namespaces), namespace) is False
    assert selected(WorkloadSelector(("server",), namespaces=namespaces), namespace) is False
    assert selected(WorkloadSelector((), SPEECH, namespaces=namespaces), namespace) is False


def test_labels_that_the_namespace_does_not_have_select_nothing() -> None:
    who = WorkloadSelector(("*",), namespaces=TENANTS)
    assert not selected(who, labels={NAMESPACE_NAME_LABEL: "ml"})
    # The pod's own labels are something else.
    assert not selects(about(who), "ml", "trainer", {"tenant": "yes"}, {})


@pytest.mark.parametrize("who", [WorkloadSelector(namespaces=TENANTS), WorkloadSelector(("*",))])
def test_limits_are_about_namespaces_and_no_pod(who: WorkloadSelector) -> None:
    limits = AccessPolicy("ml", "l", who, (), limits=Limits((HostPattern("api.example.com"),)))
    assert not selects(limits, "ml", "trainer", LABELS, SPACE)
    assert selects_namespace(limits, "ml", SPACE)
    assert not selects_namespace(limits, "web", {"tenant": "no"})


_WHO = st.builds(
    WorkloadSelector,
    st.sampled_from(((), ("*",), ("trainer",))),
    st.none() | st.sampled_from((VISION, SPEECH)),
    namespaces=st.none() | st.sampled_from((TENANTS, BY_NAME, NOT_ML)),
)


@given(_WHO, st.sampled_from(("ml", "web")), st.sampled_from(("yes", "no")))
def test_property_what_is_resolved_selects_by_the_name_alone_what_it_selected_by_all_labels(
    who: WorkloadSelector, namespace: str, tenant: str
) -> None:
    policy = about(who, "podkey-system")
    name = {NAMESPACE_NAME_LABEL: namespace}
    labels = {**name, "tenant": tenant}
    known = resolved(policy, namespace, labels)
    if selects_namespace(policy, namespace, labels):
        assert selects(known, namespace, "trainer", LABELS, name) is selects(
            policy, namespace, "trainer", LABELS, labels
        )
        assert not selects(known, "elsewhere", "trainer", LABELS, {NAMESPACE_NAME_LABEL: "elsewhere"})
    else:
        assert known is policy
