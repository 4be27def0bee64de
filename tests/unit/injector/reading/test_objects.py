import base64
from typing import Any

import pytest

from injector.core.api import ObjectKey
from injector.core.cluster import Namespace
from injector.reading.objects import (
    Lease,
    ObjectFault,
    read_document,
    read_kubelet,
    read_lease,
    read_meta,
    read_namespace,
    read_secret,
)
from tests.canary import Canary

Raw = dict[str, Any]


def test_a_namespace_keeps_all_its_labels() -> None:
    labels = {"podkey.io/inject": "enabled", "team": "ml"}
    raw = {"metadata": {"name": "ml", "labels": labels, "managedFields": [1]}, "spec": {"finalizers": ["x"]}}
    assert read_namespace(raw) == Namespace("ml", labels)
    assert read_namespace({"metadata": {"name": "bare", "labels": None}}) == Namespace("bare", {})


def test_a_document_keeps_what_it_says_and_nothing_of_the_servers() -> None:
    spec, status = {"grants": [{"odd": None}]}, {"observedGeneration": 2}
    raw = {
        "apiVersion": "podkey.io/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": {
            "name": "p",
            "namespace": "ml",
            "uid": "u",
            "generation": 3,
            "resourceVersion": "17",
            "managedFields": [{"much": "of it"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "all of it again"},
        },
        "spec": spec,
        "status": status,
    }
    read = read_document(raw, "AccessPolicy")
    assert (read.kind, read.namespace, read.name) == ("AccessPolicy", "ml", "p")
    assert (read.uid, read.generation, read.resource_version) == ("u", 3, "17")
    assert read.document == {
        "apiVersion": "podkey.io/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": {"name": "p", "namespace": "ml"},
        "spec": spec,
        "status": status,
    }


def test_a_document_without_a_spec_is_left_to_who_reads_policies() -> None:
    read = read_document({"metadata": {"name": "p", "namespace": "ml"}}, "AccessPolicy")
    assert read.document == {"metadata": {"name": "p", "namespace": "ml"}}
    assert read.generation == 0


def test_a_secret_is_decoded_and_not_shown(canary: Canary) -> None:
    key = canary.secret("key").encode()
    data = {"tls.key": base64.b64encode(key).decode(), "empty": ""}
    raw = {"metadata": {"name": "ca", "namespace": "podkey-system", "resourceVersion": "5"}, "data": data}
    read = read_secret(raw)
    assert read.data == {"tls.key": key, "empty": b""}
    assert (read.key, read.resource_version) == (ObjectKey("podkey-system", "ca"), "5")
    canary.search(repr(read), "repr")


def test_a_secret_without_data_is_empty() -> None:
    assert read_secret({"metadata": {"name": "ca"}}).data == {}


@pytest.mark.parametrize("text", ["=", "a", "ä", "a b="])
def test_a_secret_that_is_no_base64_is_a_fault_without_its_text(text: str) -> None:
    with pytest.raises(ObjectFault, match=r"^data\.k is not base64$"):
        read_secret({"metadata": {"name": "ca"}, "data": {"k": text}})


def test_a_lease_is_read() -> None:
    spec = {
        "holderIdentity": "pod_1",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 2,
        "acquireTime": "2026-01-01T00:00:00.000001Z",
        "renewTime": "2026-01-01T00:00:09.000001Z",
    }
    raw = {"metadata": {"name": "lead", "resourceVersion": "9"}, "spec": spec}
    assert read_lease(raw) == Lease(
        "9", "pod_1", 15, 2, "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:09.000001Z"
    )


@pytest.mark.parametrize("spec", [{}, None, {"holderIdentity": None, "leaseDurationSeconds": None}])
def test_a_lease_that_says_nothing_is_held_by_nobody(spec: Raw | None) -> None:
    assert read_lease({"metadata": {"name": "lead", "resourceVersion": "9"}, "spec": spec}) == Lease("9")


def node(version: object, **labels: str) -> Raw:
    return {"metadata": {"name": "n", "labels": labels}, "status": {"nodeInfo": {"kubeletVersion": version}}}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v1.29.3-eks-a18cd3a", (1, 29)),
        ("v1.30.1+k3s1", (1, 30)),
        ("1.28.0", (1, 28)),
        ("v1.9", (1, 9)),
        ("v1.34.1-gke.2909000", (1, 34)),
    ],
)
def test_a_kubelets_version_is_read_whoever_built_it(version: str, expected: tuple[int, int]) -> None:
    assert read_kubelet(node(version)) == expected


@pytest.mark.parametrize("version", ["", None, "azure", "v1", "v1.x", "v1.99999", "x1.29.0"])
def test_a_kubelet_without_a_version_is_a_fault(version: str | None) -> None:
    with pytest.raises(ObjectFault, match="kubeletVersion"):
        read_kubelet(node(version))


def test_a_node_of_windows_has_no_say() -> None:
    assert read_kubelet(node("v1.20.0", **{"kubernetes.io/os": "windows"})) is None


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (None, "the object is not an object"),
        ([], "the object is not an object"),
        ({"metadata": 1}, "metadata is not an object"),
        ({}, "metadata.name is missing"),
        ({"metadata": {"name": ""}}, "metadata.name is missing"),
        ({"metadata": {"name": 1}}, "name is not text"),
        ({"metadata": {"name": "a", "namespace": []}}, "namespace is not text"),
        ({"metadata": {"name": "a", "labels": "x"}}, "labels is not an object"),
        ({"metadata": {"name": "a", "labels": {"x": 1}}}, "labels has values that are not text"),
        ({"metadata": {"name": "a", "resourceVersion": 5}}, "resourceVersion is not text"),
    ],
)
def test_metadata_of_a_wrong_type_is_a_fault_that_names_it(raw: object, why: str) -> None:
    with pytest.raises(ObjectFault, match=f"^{why}$"):
        read_meta(raw)


def test_an_object_of_another_kind_is_a_fault_and_one_that_does_not_say_is_none() -> None:
    raw = {"kind": "ConfigMap", "metadata": {"name": "a"}}
    for read in (read_namespace, read_secret, read_lease, lambda raw: read_document(raw, "AccessPolicy")):
        with pytest.raises(ObjectFault, match=r"^it is no (Namespace|Secret|Lease|AccessPolicy)$"):
            read(raw)
        read({"metadata": {"name": "a"}})


def test_a_number_of_a_wrong_type_is_a_fault() -> None:
    with pytest.raises(ObjectFault, match="leaseDurationSeconds is not a number"):
        read_lease({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": True}})


def test_a_generation_that_is_none_counts_as_none() -> None:
    assert read_meta({"metadata": {"name": "a", "generation": "7"}}).generation == 0
