from typing import Any

import pytest

from injector.reading.templates import TEMPLATES, PodOfWorkload, pods_of

TEMPLATE = {"metadata": {"labels": {"app": "x"}, "name": "ignored"}, "spec": {"containers": []}}


def workload(api_version: str, kind: str, spec: Any, **metadata: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "train", **metadata}, "spec": spec}


def pods(manifest: dict[str, Any]) -> tuple[PodOfWorkload, ...]:
    found = pods_of(manifest, "ml")
    assert isinstance(found, tuple), found
    return found


def test_a_pod_is_itself() -> None:
    manifest = workload("v1", "Pod", {"containers": []}, namespace="team-a")

    assert pods(manifest) == (PodOfWorkload(manifest, "team-a", "Pod team-a/train"),)


def test_a_pod_of_a_job_is_as_the_job_controller_makes_it() -> None:
    [one] = pods(workload("batch/v1", "Job", {"template": TEMPLATE}))

    assert one.title == "Job ml/train"
    assert one.namespace == "ml"
    assert one.pod == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "labels": {"app": "x"},
            "namespace": "ml",
            "generateName": "train-",
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "", "controller": True}
            ],
        },
        "spec": {"containers": []},
    }
    assert TEMPLATE["metadata"]["name"] == "ignored"


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "owner"),
    [
        ("apps/v1", "Deployment", {"template": TEMPLATE}, "apps/v1 ReplicaSet/train-0"),
        ("apps/v1", "StatefulSet", {"template": TEMPLATE}, "apps/v1 StatefulSet/train"),
        ("batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": TEMPLATE}}}, "batch/v1 Job/train-0"),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            {"pytorchReplicaSpecs": {"Master": {"template": TEMPLATE}}},
            "kubeflow.org/v1 PyTorchJob/train",
        ),
        (
            "ray.io/v1",
            "RayJob",
            {"submitterPodTemplate": TEMPLATE},
            "ray.io/v1 RayCluster/train-0",
        ),
    ],
)
def test_the_owner_is_what_makes_the_pods(api_version: str, kind: str, spec: Any, owner: str) -> None:
    [one] = pods(workload(api_version, kind, spec))
    [reference] = one.pod["metadata"]["ownerReferences"]

    assert "{apiVersion} {kind}/{name}".format(**reference) == owner


def test_a_pod_template_has_no_owner() -> None:
    [one] = pods({"apiVersion": "v1", "kind": "PodTemplate", "template": TEMPLATE})

    assert "ownerReferences" not in one.pod["metadata"]


def test_several_templates_are_told_apart() -> None:
    spec = {
        "headGroupSpec": {"template": TEMPLATE},
        "workerGroupSpecs": [
            {"groupName": "gpus", "template": TEMPLATE},
            {"template": TEMPLATE},
            {"groupName": "none"},
            "odd",
        ],
    }

    assert [one.title for one in pods(workload("ray.io/v1", "RayCluster", spec))] == [
        "RayCluster ml/train, headGroupSpec",
        "RayCluster ml/train, workerGroupSpecs.gpus",
        "RayCluster ml/train, workerGroupSpecs.1",
    ]


def nested(steps: list[str]) -> Any:
    if not steps:
        return TEMPLATE
    step, *rest = steps
    return [{"name": "a", **nested(rest)}] if step == "*" else {step: nested(rest)}


@pytest.mark.parametrize(("group", "kind"), TEMPLATES)
def test_every_place_of_the_table_is_reached(group: str, kind: str) -> None:
    for place in TEMPLATES[group, kind]:
        manifest = {**workload(f"{group}/v1" if group else "v1", kind, {}), **nested(place.split("."))}
        assert [one.pod["spec"] for one in pods(manifest)] == [TEMPLATE["spec"]]


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({}, "it has no `kind`"),
        ({"kind": 7}, "it has no `kind`"),
        (workload("v1", "Service", {}), "Service ml/train has no pod template that podkey knows of"),
        (workload("example.com/v1", "Job", {}), "Job ml/train has no pod template that podkey knows of"),
        (workload("apps/v1", "Deployment", {}), "Deployment ml/train has no pod template at `spec.template`"),
        (workload("apps/v1", "Deployment", None), "Deployment ml/train has no pod template at"),
        (workload("apps/v1", "Deployment", {"template": []}), "Deployment ml/train has no pod template at"),
        (
            workload("kubeflow.org/v1", "PyTorchJob", {"pytorchReplicaSpecs": 7}),
            "PyTorchJob ml/train has no pod template at `spec.pytorchReplicaSpecs.*.template`",
        ),
        (
            workload("serving.kserve.io/v1beta1", "InferenceService", {}),
            "pods of InferenceService ml/train are made of more than its manifest: give the pods themselves",
        ),
    ],
)
def test_what_makes_no_pods_is_told_why(manifest: dict[str, Any], why: str) -> None:
    found = pods_of(manifest, "ml")

    assert isinstance(found, str)
    assert found.startswith(why)


def test_odd_metadata_is_no_name() -> None:
    assert pods_of({"apiVersion": "v1", "kind": "Pod", "metadata": []}) == (
        PodOfWorkload({"apiVersion": "v1", "kind": "Pod", "metadata": []}, "default", "Pod default/"),
    )
