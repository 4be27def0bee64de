from typing import Any

import pytest

from injector.engine.config_maps import (
    DIGEST_ANNOTATION,
    Create,
    Recreate,
    Replace,
    difference,
    is_ours,
    policy_config_map,
    trust_config_map,
    written_policy,
)
from proxy.core.contract import MANAGED_BY, MANAGED_BY_LABEL, POLICY_KEY

TEXT = "a: b\n"


def there(**changes: Any) -> dict[str, Any]:
    """What we wrote, as the API server gives it back; `changes` are keys of the object or of its metadata."""
    written = dict(policy_config_map("ml", TEXT))
    metadata = {**written["metadata"], "resourceVersion": "7", "uid": "u", "creationTimestamp": "t"}
    top = {key: changes.pop(key) for key in ("data", "binaryData", "immutable") if key in changes}
    return {**written, "metadata": {**metadata, **changes}, **top}


def test_the_policy_says_whose_it_is_and_what_it_was_when_we_wrote_it() -> None:
    written = policy_config_map("ml", TEXT)
    assert written["metadata"]["namespace"] == "ml"
    assert written["metadata"]["name"] == "podkey-policy"
    assert written["metadata"]["labels"] == {MANAGED_BY_LABEL: MANAGED_BY}
    assert written["data"] == {POLICY_KEY: TEXT}
    assert is_ours(written)
    assert written_policy(written) == TEXT


def test_the_trust_variables_are_the_data_as_it_is() -> None:
    written = trust_config_map("ml", {"SSL_CERT_FILE": "/etc/podkey/ca/ca.pem"})
    assert written["metadata"]["name"] == "podkey-trust"
    assert written["data"] == {"SSL_CERT_FILE": "/etc/podkey/ca/ca.pem"}


@pytest.mark.parametrize(
    "existing",
    [
        {},
        {"metadata": None, "data": None},
        {"metadata": [], "data": "policy.yaml"},
        {"metadata": {"labels": 7, "annotations": []}, "data": {POLICY_KEY: 7}},
        there(labels={}),
        there(annotations={}),
        there(annotations={DIGEST_ANNOTATION: "of another text"}),
        there(data={POLICY_KEY: "edited"}),
        there(data={}),
    ],
)
def test_a_text_that_we_did_not_leave_like_this_is_not_ours(existing: dict[str, Any]) -> None:
    assert written_policy(existing) is None


def test_what_is_absent_is_created() -> None:
    desired = policy_config_map("ml", TEXT)
    assert difference(None, desired) == Create(desired)


def test_what_is_there_is_left_alone() -> None:
    desired = policy_config_map("ml", TEXT)
    others = {"labels": {MANAGED_BY_LABEL: MANAGED_BY, "team": "a"}}
    assert difference(there(), desired) is None
    assert difference(there(**others), desired) is None
    assert difference(there(immutable=False), desired) is None


@pytest.mark.parametrize(
    "existing",
    [
        there(data={POLICY_KEY: "edited"}),
        there(data={POLICY_KEY: TEXT, "more": "x"}),
        there(data=None),
        there(binaryData={"x": "eA=="}),
        there(annotations={}),
        there(ownerReferences=[{"uid": "x"}]),
        there(finalizers=["example.com/never"]),
        there(labels={MANAGED_BY_LABEL: MANAGED_BY, "odd": 7}, data={}),
    ],
)
def test_what_differs_is_replaced_as_we_saw_it(existing: dict[str, Any]) -> None:
    desired = policy_config_map("ml", TEXT)
    write = difference(existing, desired)
    assert isinstance(write, Replace)
    assert not write.taken_over
    metadata = write.config_map["metadata"]
    assert write.config_map["data"] == desired["data"]
    assert (metadata["resourceVersion"], metadata["uid"]) == ("7", "u")
    assert metadata.keys() == {"name", "namespace", "labels", "annotations", "resourceVersion", "uid"}


def test_the_labels_and_annotations_of_others_stay() -> None:
    existing = there(labels={"team": "a", MANAGED_BY_LABEL: MANAGED_BY}, annotations={"note": "x"})
    write = difference(existing, policy_config_map("ml", TEXT))
    assert isinstance(write, Replace)
    metadata = write.config_map["metadata"]
    assert metadata["labels"] == {"team": "a", MANAGED_BY_LABEL: MANAGED_BY}
    assert metadata["annotations"].keys() == {"note", DIGEST_ANNOTATION}


def test_once_replaced_there_is_nothing_to_do() -> None:
    desired = policy_config_map("ml", "new")
    write = difference(there(labels={"team": "a"}, binaryData={"x": "eA=="}), desired)
    assert isinstance(write, Replace)
    assert difference(write.config_map, desired) is None


def test_a_stranger_of_our_name_is_taken_over() -> None:
    write = difference(there(labels={MANAGED_BY_LABEL: "Helm"}), policy_config_map("ml", TEXT))
    assert isinstance(write, Replace)
    assert write.taken_over
    assert is_ours(write.config_map)


def test_what_cannot_be_changed_is_made_anew() -> None:
    desired = policy_config_map("ml", "new")
    assert difference(there(immutable=True), desired) == Recreate(desired, "u", taken_over=False)
    assert difference(there(immutable=True, labels={}), policy_config_map("ml", TEXT)) == Recreate(
        policy_config_map("ml", TEXT), "u", taken_over=True
    )
    assert difference(there(immutable=True), policy_config_map("ml", TEXT)) is None


def test_an_object_without_versions_is_replaced_without_them() -> None:
    write = difference({"data": {}}, policy_config_map("ml", TEXT))
    assert isinstance(write, Replace)
    assert write.taken_over
    assert "resourceVersion" not in write.config_map["metadata"]
