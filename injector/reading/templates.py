"""The pods that a workload's controller will make, as far as its manifest tells: for `podkey inject`.

The webhook sees pods only, whoever makes them. Here is one place that knows where workloads keep theirs.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.core.contract import DEFAULT_NAMESPACE
from proxy.core.structs import Struct

type Raw = Mapping[str, Any]

# The same in all workloads of one operator.
_TEMPLATE: Final = ("spec.template",)
_RAY: Final = ("headGroupSpec.template", "workerGroupSpecs.*.template")

# Where pod templates are, by API group and kind; a star is every member of a list or object.
TEMPLATES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("batch", "CronJob"): ("spec.jobTemplate.spec.template",),
    ("batch", "Job"): _TEMPLATE,
    ("argoproj.io", "Rollout"): _TEMPLATE,
    ("batch.volcano.sh", "Job"): ("spec.tasks.*.template",),
    ("jobset.x-k8s.io", "JobSet"): ("spec.replicatedJobs.*.template.spec.template",),
    ("kubeflow.org", "JAXJob"): ("spec.jaxReplicaSpecs.*.template",),
    ("kubeflow.org", "MPIJob"): ("spec.mpiReplicaSpecs.*.template",),
    ("kubeflow.org", "Notebook"): _TEMPLATE,
    ("kubeflow.org", "PaddleJob"): ("spec.paddleReplicaSpecs.*.template",),
    ("kubeflow.org", "PyTorchJob"): ("spec.pytorchReplicaSpecs.*.template",),
    ("kubeflow.org", "TFJob"): ("spec.tfReplicaSpecs.*.template",),
    ("kubeflow.org", "XGBoostJob"): ("spec.xgbReplicaSpecs.*.template",),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): (
        "spec.leaderWorkerTemplate.leaderTemplate",
        "spec.leaderWorkerTemplate.workerTemplate",
    ),
    ("ray.io", "RayCluster"): tuple(f"spec.{place}" for place in _RAY),
    ("ray.io", "RayJob"): (
        *(f"spec.rayClusterSpec.{place}" for place in _RAY),
        "spec.submitterPodTemplate",
    ),
    ("ray.io", "RayService"): tuple(f"spec.rayClusterConfig.{place}" for place in _RAY),
}

# What stands between a workload and its pods, and so owns them. Its name is made when it is.
_BETWEEN: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("apps", "Deployment"): ("apps/v1", "ReplicaSet"),
    ("argoproj.io", "Rollout"): ("apps/v1", "ReplicaSet"),
    ("batch", "CronJob"): ("batch/v1", "Job"),
    ("jobset.x-k8s.io", "JobSet"): ("batch/v1", "Job"),
    ("kubeflow.org", "Notebook"): ("apps/v1", "StatefulSet"),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): ("apps/v1", "StatefulSet"),
    ("ray.io", "RayJob"): ("ray.io/v1", "RayCluster"),
    ("ray.io", "RayService"): ("ray.io/v1", "RayCluster"),
}
_NAMES_MADE: Final = "-0"

# Their pods come of more than their manifest: runtimes, other objects, templates in templates.
_MADE_OTHERWISE: Final = frozenset(
    {
        ("argoproj.io", "CronWorkflow"),
        ("argoproj.io", "Workflow"),
        ("serving.kserve.io", "InferenceService"),
        ("serving.kserve.io", "LLMInferenceService"),
        ("serving.knative.dev", "Service"),
        ("sparkoperator.k8s.io", "SparkApplication"),
        ("tekton.dev", "TaskRun"),
        ("tekton.dev", "PipelineRun"),
        ("trainer.kubeflow.org", "TrainJob"),
    }
)


class PodOfWorkload(Struct, frozen=True):
    """A pod as the API server will get it, before it has been there."""

    pod: dict[str, Any]
    namespace: str
    # Such as `Job ml/train`, and which of its pods: `PyTorchJob ml/train, pytorchReplicaSpecs.Worker`.
    title: str


def pods_of(manifest: Raw, namespace: str = DEFAULT_NAMESPACE) -> tuple[PodOfWorkload, ...] | str:
    """The pods, or why there are none. `namespace` is where the manifest names none."""
    kind = _text(manifest, "kind")
    if not kind:
        return "it has no `kind`"
    metadata = _mapping(manifest.get("metadata"))
    namespace = _text(metadata, "namespace") or namespace
    name = _text(metadata, "name") or _text(metadata, "generateName")
    title = f"{kind} {namespace}/{name}"
    group = _text(manifest, "apiVersion").rpartition("/")[0]
    if (group, kind) == ("", "Pod"):
        return (PodOfWorkload(dict(manifest), namespace, title),)
    if (group, kind) in _MADE_OTHERWISE:
        return (
            f"pods of {title} are made of more than its manifest: give the pods themselves, such as "
            f"`kubectl get pods -o yaml | podkey inject -f -`"
        )
    places = TEMPLATES.get((group, kind))
    if places is None:
        return f"{title} has no pod template that podkey knows of"
    found = [one for place in places for one in _at(manifest, place.split("."), ())]
    if not found:
        return f"{title} has no pod template at `{'`, `'.join(places)}`"
    owner = _owner(manifest, group, kind, name)
    return tuple(
        PodOfWorkload(
            _pod(template, name, namespace, owner), namespace, f"{title}, {role}" if role else title
        )
        for role, template in found
    )


def _at(value: object, place: list[str], named: tuple[str, ...]) -> Iterator[tuple[str, Raw]]:
    """What is at a place, and how it is called where there are several."""
    if not place:
        if isinstance(value, dict):
            yield ".".join(named), value
        return
    step, *rest = place
    match value:
        case dict() if step == "*":
            for key, child in value.items():
                yield from _at(child, rest, (*named, str(key)))
        case list() if step == "*":
            for index, child in enumerate(value):
                name = _first_text(child, "name", "groupName") or str(index)
                yield from _at(child, rest, (*named, name))
        case {**members} if step in members:
            # The workload's own way to its one template says nothing.
            says = (step,) if step not in {"spec", "template", "jobTemplate"} else ()
            yield from _at(members[step], rest, (*named, *says))
        case _:
            pass


def _owner(manifest: Raw, group: str, kind: str, name: str) -> Raw | None:
    if kind == "PodTemplate":
        return None
    version, owner_kind = _BETWEEN.get((group, kind), (_text(manifest, "apiVersion"), kind))
    made = name if owner_kind == kind else f"{name}{_NAMES_MADE}"
    return {"apiVersion": version, "kind": owner_kind, "name": made, "uid": "", "controller": True}


def _pod(template: Raw, name: str, namespace: str, owner: Raw | None) -> dict[str, Any]:
    metadata = {
        **_mapping(template.get("metadata")),
        "namespace": namespace,
        "generateName": f"{name}-",
    }
    metadata.pop("name", None)
    if owner is not None:
        metadata["ownerReferences"] = [dict(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec")}


def _mapping(value: object) -> Raw:
    return value if isinstance(value, dict) else {}


def _text(fields: Raw, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _first_text(value: object, *names: str) -> str:
    return next(filter(None, (_text(_mapping(value), name) for name in names)), "")
