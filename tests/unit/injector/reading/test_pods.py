import json
from pathlib import Path
from typing import Any

import pytest

from injector.reading.pod_fields import PodFault
from injector.reading.pods import (
    ContainerKind,
    Owner,
    Pod,
    SecretUse,
    Security,
    read_pod,
)
from injector.reading.quantities import read_quantity
from tests.sample_pods import gpus, raw_pod, sample_pod

REVIEWS = Path(__file__).parents[3] / "data" / "k8s" / "admissionreviews"


def captured(name: str) -> Pod:
    request = json.loads((REVIEWS / f"{name}.json").read_text())["request"]
    return read_pod(request["object"], request["namespace"])


# --- as a real API server sends them -------------------------------------------------------------


def captured_pods() -> list[Path]:
    return sorted(REVIEWS.glob("*.json"))


def test_every_captured_pod_can_be_read() -> None:
    read = 0
    for path in captured_pods():
        request = json.loads(path.read_text())["request"]
        for raw in (request["object"], request["oldObject"]):
            if raw and raw["kind"] == "Pod":
                pod = read_pod(raw, request["namespace"])
                assert pod.defaulted
                assert pod.containers
                read += 1
    assert read > 50


def test_a_pod_of_a_job_has_a_beginning_of_a_name_and_an_owner() -> None:
    pod = captured("job")
    assert (pod.name, pod.namespace, str(pod)) == ("", "ml", f"ml/{pod.generate_name}…")
    assert pod.service_account == "trainer"
    assert isinstance(pod.owner, Owner)
    assert str(pod.owner) == "Job/train"
    assert pod.owner.api_version == "batch/v1"
    assert pod.owner.uid


def test_an_owner_may_be_any_resource_and_must_be_the_controller() -> None:
    assert str(captured("cr-owned-pytorchjob").owner) == "PyTorchJob/llm"
    assert captured("pod-bare").owner is None
    references = [{"kind": "A", "name": "a"}, {"kind": "B", "name": "b", "controller": True}]
    assert str(sample_pod(ownerReferences=references).owner) == "B/b"


def test_a_pod_without_annotations_volumes_or_mounts_is_one_with_none() -> None:
    assert captured("annotations-none").annotations == {}
    pod = captured("automount-serviceaccount-token-false")
    assert pod.volumes == ()
    assert pod.containers[0].mounts == ()
    assert pod.automount_token is False


def test_a_native_sidecar_is_told_from_the_other_init_containers() -> None:
    pod = captured("init-containers-native-sidecar")
    assert [container.sidecar for container in pod.init_containers] == [False, True, False]
    assert not sample_pod({"restartPolicy": "Always"}).containers[0].sidecar


def test_resources_and_claims_are_exact() -> None:
    container = captured("gpu-nvidia").containers[0]
    assert container.resources.limits["nvidia.com/gpu"] == read_quantity("8")
    assert container.resources.requests["memory"] == read_quantity("512Gi")
    pod = captured("dra-resourceclaims")
    assert pod.resource_claims == ("gpu", "shared")
    assert pod.containers[0].resources.claims == ("gpu", "shared")
    assert captured("pod-level-resources").resources.limits["cpu"] == read_quantity("2")


def test_every_kind_of_volume_shows_what_it_holds() -> None:
    volumes = {volume.name: volume for volume in captured("volumes-every-kind").volumes}
    assert volumes["sec"].secrets == (SecretUse("api-keys"),)
    assert volumes["tokens"].secrets == (SecretUse("api-keys", ("OPENAI_API_KEY",)),)
    assert volumes["tokens"].audiences == ("sts.amazonaws.com", "")
    assert volumes["data"].host_path == "/mnt/data"
    assert volumes["shm"].host_path is None
    assert volumes["cfg"].secrets == volumes["csi"].secrets == ()
    assert captured("volumes-every-kind").containers[0].devices == ("block",)


def test_variables_from_secrets_are_seen_also_where_a_later_one_replaces_them() -> None:
    container = captured("envfrom-secretref").containers[0]
    assert container.env_secrets == (SecretUse("api-keys", ("OPENAI_API_KEY",)), SecretUse("api-keys"))
    assert container.env["EXPANDED"]["value"] == "same name twice"
    assert "value" not in container.env["EMPTY_STRING"]
    assert len(container.env_from) == 2
    reference = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    twice = sample_pod({"env": [reference, {"name": "A", "value": "b"}]}).containers[0]
    assert twice.env["A"]["value"] == "b"
    assert twice.env_secrets == (SecretUse("s", ("k",)),)


def test_who_a_container_runs_as_is_read_at_both_levels() -> None:
    pod = captured("runasuser-pod-and-container")
    assert (pod.security.user, pod.security.group, pod.security.fs_group) == (1000, 100, 100)
    assert pod.security.supplemental_groups == (4000,)
    assert pod.security.non_root is True
    assert pod.containers[0].security == Security()
    assert pod.containers[1].security.user == 2000
    assert captured("capability-net-admin").containers[0].security.added_capabilities
    assert captured("privileged").containers[0].security.privileged


def test_a_windows_pod_says_so_itself_or_by_its_node() -> None:
    assert captured("windows-os").windows
    assert sample_pod(nodeSelector={"kubernetes.io/os": "windows"}).windows
    assert not sample_pod(os={"name": "linux"}, nodeSelector={"kubernetes.io/os": "windows"}).windows
    # The kubelet of a Linux node ignores them.
    assert not sample_pod(securityContext={"windowsOptions": {"hostProcess": True}}).windows


def test_the_flags_of_the_pod() -> None:
    assert captured("hostnetwork").host_network
    assert captured("shareprocessnamespace").share_processes
    assert sample_pod(hostPID=True).host_pid
    assert sample_pod(restartPolicy="Never").restart_policy == "Never"
    pod = sample_pod(annotations={"kubernetes.io/config.mirror": ""})
    assert pod.mirror
    assert not sample_pod().mirror


# --- before anybody has validated them -----------------------------------------------------------


def test_two_containers_of_one_name_and_no_image_are_read() -> None:
    names = [(c.name, bool(c.image)) for c in captured("annotations-invalid-key").containers]
    assert names == [("app", True), ("app", False)]


@pytest.mark.parametrize("raw", [{}, {"metadata": None, "spec": None}, {"spec": {"containers": None}}])
def test_a_pod_may_have_nothing_at_all(raw: dict[str, Any]) -> None:
    pod = read_pod(raw, "")
    assert pod.all_containers == ()
    assert (pod.namespace, pod.service_account, pod.name) == ("default", "default", "")
    assert not pod.defaulted


def test_the_reviews_namespace_counts_and_the_pods_own_only_without_one() -> None:
    raw = {"metadata": {"namespace": "theirs"}}
    assert read_pod(raw, "ml").namespace == "ml"
    assert read_pod(raw, "").namespace == "theirs"


def test_the_account_may_stand_under_its_old_name() -> None:
    assert sample_pod(serviceAccount="old").service_account == "old"
    assert sample_pod(serviceAccount="old", serviceAccountName="new").service_account == "new"


def test_ephemeral_containers_are_seen_at_creation_though_nobody_may_bring_them() -> None:
    pod = sample_pod({"name": "a"}, initContainers=[{"name": "b"}], ephemeralContainers=[{"name": "c"}])
    assert [str(c) for c in pod.all_containers] == [
        "init container `b`",
        "container `a`",
        "ephemeral container `c`",
    ]
    assert [c.path for c in pod.all_containers] == [
        "spec.initContainers[0]",
        "spec.containers[0]",
        "spec.ephemeralContainers[0]",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        (ContainerKind.INIT, "podkey", True),
        (ContainerKind.APP, "podkey", True),
        (ContainerKind.EPHEMERAL, "podkey", False),
        (ContainerKind.INIT, "podkey-redirect", True),
        (ContainerKind.APP, "podkey-redirect", False),
        (ContainerKind.APP, "podkey-other", False),
        (ContainerKind.APP, "app", False),
    ],
)
def test_our_names_count_only_where_one_of_ours_would_stand(
    kind: ContainerKind, name: str, *, expected: bool
) -> None:
    pod = read_pod({"spec": {kind.value: [{"name": name}]}}, "ml")
    assert pod.all_containers[0].is_named_ours is expected


def test_a_quantity_may_be_a_number_in_yaml() -> None:
    for amount in (1, 1.0, "1", "1000m"):
        limits = sample_pod(gpus(amount)).containers[0].resources.limits
        assert limits == {"nvidia.com/gpu": 10**9}
    assert sample_pod(gpus(None)).containers[0].resources.limits == {"nvidia.com/gpu": 0}


def test_ports_are_numbers_and_a_port_without_one_is_none() -> None:
    ports = [{"containerPort": 8080}, {"name": "x"}]
    assert sample_pod({"ports": ports}).containers[0].ports == (8080,)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"name": 5}, "spec.containers[0].name is a number, where Kubernetes has a text: write it in quotes"),
        ({"env": {}}, "spec.containers[0].env is an object, where Kubernetes has a list"),
        ({"env": [None]}, "spec.containers[0].env[0] is null, where"),
        ({"env": [{"name": 1}]}, "spec.containers[0].env[0].name is a number, where"),
        ({"env": [{"name": "A", "value": True}]}, "spec.containers[0].env[0].value is true or false, where"),
        ({"env": [{"name": "A", "value": 5}]}, "spec.containers[0].env[0].value is a number, where"),
        ({"env": [{"name": "A", "valueFrom": []}]}, "spec.containers[0].env[0].valueFrom is a list, where"),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": 1}}}]},
            "spec.containers[0].env[0].valueFrom.secretKeyRef.name is a number, where",
        ),
        ({"envFrom": [{"secretRef": "s"}]}, "spec.containers[0].envFrom[0].secretRef is a text, where"),
        ({"volumeMounts": [[]]}, "spec.containers[0].volumeMounts[0] is a list, where"),
        (
            {"volumeMounts": [{"readOnly": "true"}]},
            "spec.containers[0].volumeMounts[0].readOnly is a text, where",
        ),
        ({"ports": [{"containerPort": "80"}]}, "spec.containers[0].ports[0].containerPort is a text, where"),
        (
            {"securityContext": {"runAsUser": 1337.0}},
            "spec.containers[0].securityContext.runAsUser is a number, where Kubernetes has a whole number",
        ),
        (
            {"securityContext": {"runAsUser": "1337"}},
            "spec.containers[0].securityContext.runAsUser is a text, where",
        ),
        (
            {"securityContext": {"runAsUser": float("inf")}},
            "spec.containers[0].securityContext.runAsUser is a number, where",
        ),
        ({"securityContext": []}, "spec.containers[0].securityContext is a list, where"),
        (
            {"securityContext": {"capabilities": {"add": [1]}}},
            "spec.containers[0].securityContext.capabilities.add[0] is a number, where",
        ),
        (
            {"securityContext": {"supplementalGroups": [None]}},
            "spec.containers[0].securityContext.supplementalGroups[0] is null, where",
        ),
        (
            {"resources": {"limits": {"nvidia.com/gpu": "one"}}},
            "spec.containers[0].resources.limits[`nvidia.com/gpu`] is not a quantity",
        ),
        (
            {"resources": {"limits": {"cpu": float("inf")}}},
            "spec.containers[0].resources.limits.cpu is not a quantity",
        ),
        (
            {"resources": {"limits": {"cpu": False}}},
            "spec.containers[0].resources.limits.cpu is true or false",
        ),
        ({"resources": {"limits": {"cpu": []}}}, "spec.containers[0].resources.limits.cpu is a list"),
        # Python refuses to write an int of so many digits.
        ({"resources": {"limits": {"cpu": 10**5000}}}, "spec.containers[0].resources.limits.cpu is a number"),
        ({"resources": {"claims": [5]}}, "spec.containers[0].resources.claims[0] is a number, where"),
    ],
)
def test_a_field_of_another_type_is_a_fault_with_its_place(container: dict[str, Any], message: str) -> None:
    with pytest.raises(PodFault) as raised:
        sample_pod(container)
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "the pod is null"),
        ([], "the pod is a list"),
        ({"spec": "x"}, "spec is a text"),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a is a number"),
        (
            {"metadata": {"ownerReferences": [{"controller": "yes"}]}},
            "metadata.ownerReferences[0].controller is",
        ),
        ({"spec": {"hostNetwork": "false"}}, "spec.hostNetwork is a text"),
        ({"spec": {"containers": {"name": "x"}}}, "spec.containers is an object"),
        ({"spec": {"volumes": [{"projected": {"sources": [{"secret": 1}]}}]}}, "spec.volumes[0].projected."),
        ({"spec": {"volumes": [{"hostPath": "/"}]}}, "spec.volumes[0].hostPath is a text"),
        ({"spec": {"resourceClaims": [{"name": 1}]}}, "spec.resourceClaims[0].name is a number"),
        ({"spec": {"os": "windows"}}, "spec.os is a text"),
    ],
)
def test_so_is_one_of_the_pod(raw: object, message: str) -> None:
    with pytest.raises(PodFault) as raised:
        read_pod(raw, "ml")
    assert raised.value.message.startswith(message)


def test_a_host_path_without_a_path_is_one_all_the_same() -> None:
    assert sample_pod(volumes=[{"name": "a", "hostPath": {}}]).volumes[0].host_path == ""


def test_references_without_a_name_show_nothing() -> None:
    pod = sample_pod(
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {}}}], "envFrom": [{"secretRef": {}}, {}]},
        volumes=[{"name": "v", "secret": {"optional": True}}],
    )
    assert pod.containers[0].env_secrets == ()
    assert pod.volumes[0].secrets == ()


def test_volumes_that_variables_are_read_from_are_those_of_all_entries() -> None:
    def file(volume: str | None) -> dict[str, Any]:
        return {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": volume, "path": "x", "key": "K"}}}

    pod = sample_pod({"env": [file("one"), file(None), file("two"), {"name": "A", "value": "x"}]}, {})
    assert [container.env_volumes for container in pod.containers] == [("one", "two"), ()]


def test_unknown_fields_are_left_alone() -> None:
    raw = raw_pod({"newField": {"deep": [1]}}, somethingNew=[None])
    assert read_pod(raw, "ml").raw is raw
