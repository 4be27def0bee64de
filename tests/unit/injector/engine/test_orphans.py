from typing import Any

import pytest

from injector.core.cluster import Namespace
from injector.engine.config_maps import policy_config_map, trust_config_map
from injector.engine.orphans import Orphan, is_served, orphans
from proxy.core.contract import INJECT

OWN = "podkey-system"


def namespace(name: str, label: str | None = None) -> Namespace:
    return Namespace(name, {} if label is None else {INJECT: label})


def listed(written: Any, **metadata: Any) -> dict[str, Any]:
    return {**written, "metadata": {**written["metadata"], "uid": "u", "resourceVersion": "7", **metadata}}


@pytest.mark.parametrize(
    ("of", "served"),
    [
        (namespace("ml", "enabled"), True),
        (namespace("ml", "all"), True),
        (namespace("ml", "disabled"), False),
        (namespace("ml"), False),
        (namespace("ml", "enabeld"), False),
        (namespace("kube-system", "all"), False),
        (namespace(OWN, "all"), False),
    ],
)
def test_a_namespace_is_served_where_its_label_says_so(of: Namespace, *, served: bool) -> None:
    assert is_served(of, OWN) is served


def test_what_a_namespace_without_sidecars_keeps_of_ours_is_swept() -> None:
    maps = [listed(trust_config_map("ml", {})), listed(policy_config_map("ml", "x"))]
    for label in (None, "disabled"):
        found = orphans(maps, {"ml": namespace("ml", label)}, OWN)
        assert found == (Orphan("ml", "podkey-policy", "u", "7"), Orphan("ml", "podkey-trust", "u", "7"))


@pytest.mark.parametrize("name", ["kube-system", OWN])
def test_where_no_sidecar_runs_nothing_of_ours_stays(name: str) -> None:
    for label in ("all", "enabeld", None):
        found = orphans([listed(policy_config_map(name, "x"))], {name: namespace(name, label)}, OWN)
        assert [orphan.namespace for orphan in found] == [name]


@pytest.mark.parametrize("label", ["enabled", "all", "enabeld", ""])
def test_a_served_namespace_and_a_mistyped_label_keep_their_policies(label: str) -> None:
    assert orphans([listed(policy_config_map("ml", "x"))], {"ml": namespace("ml", label)}, OWN) == ()


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": 7, "namespace": "ml"}},
        {"metadata": {"name": "podkey-policy", "namespace": ["ml"]}},
        listed(policy_config_map("ml", "x"), labels={}),
        listed(policy_config_map("ml", "x"), name="podkey-injector"),
        listed(policy_config_map("unknown", "x")),
    ],
)
def test_what_is_not_ours_is_not_touched(other: dict[str, Any]) -> None:
    assert orphans([other], {"ml": namespace("ml")}, OWN) == ()
