from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.cluster import PodNeeds
from injector.core.outcome import Finding
from injector.craft.exposure import NODE_FOLDERS, exposures_of, token_warnings
from injector.reading.pods import read_pod
from proxy.core.injection_codes import InjectionCode
from tests.sample_pods import raw_pod, sample_pod

NEEDS = PodNeeds(
    policies=("ml/train",),
    audiences=("sts.amazonaws.com",),
    secrets=(("hugging-face", ("token",)), ("wandb", ("api-key", "old-key"))),
)


def exposures(*containers: dict[str, Any], needs: PodNeeds = NEEDS, **spec: Any) -> list[Finding]:
    return list(exposures_of(sample_pod(*containers, **spec), needs))


def warnings(*containers: dict[str, Any], needs: PodNeeds = NEEDS, **spec: Any) -> list[InjectionCode]:
    return [finding.code for finding in token_warnings(sample_pod(*containers, **spec), needs)]


def host_path(path: str) -> list[dict[str, Any]]:
    return [{"name": "node", "hostPath": {"path": path}}]


def token(audience: str | None, name: str = "token") -> dict[str, Any]:
    source = {"path": "token"} | ({} if audience is None else {"audience": audience})
    return {"name": name, "projected": {"sources": [{"serviceAccountToken": source}]}}


def mounting(volume: str) -> dict[str, Any]:
    return {"volumeMounts": [{"name": volume, "mountPath": "/x"}]}


def test_a_plain_pod_exposes_nothing() -> None:
    assert exposures() == []
    assert warnings() == []


# --- the node -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *NODE_FOLDERS,
        *("/", "", ".", "//", "/var", "/var/", "/var/lib", "/var/lib/", "/etc", "/var/snap"),
        *("/proc/1", "/proc/1/root/", "//proc", "/./proc", "proc", "/opt/../proc", "/var/../proc/self"),
        *(
            "/var/run",
            "/var/run/",
            "/var/run/docker.sock",
            "/run/containerd/containerd.sock",
            "/var//run/crio",
            "/run",
            "/run/",
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
            "/var/run/user/1000/podman/podman.sock",
            "/run/systemd/private",
            "/run/spire/../docker.sock",
        ),
        *("/var/lib/kubelet/pods", "/var/lib/kubelet/", "/var/lib/kubelet/pods/../pods/x/volumes"),
        *("/var/lib/docker/overlay2", "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"),
        *(
            "/etc/rancher/k3s/k3s.yaml",
            "/etc/srv",
            "/srv",
            "/srv/kubernetes/pki",
            "/root",
            "/run/buildkit",
        ),
        *("/var/lib/rancher/k3s/agent", "/etc/kubernetes/manifests", "/var/lib/etcd/member", "/../var/lib"),
    ],
)
def test_a_host_path_that_shows_other_containers_is_refused_mounted_or_not(path: str) -> None:
    (found,) = exposures(volumes=host_path(path))
    assert found.code is InjectionCode.STATE_EXPOSED
    assert "`node`" in found.message
    assert exposures(mounting("node"), volumes=host_path(path)) == [found]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/data",
            "/mnt/datasets",
            "/dev/shm",
            "/dev/infiniband",
            "/etc/localtime",
            "/etc/ssl/certs",
            "/home",
        ),
        *("/var/lib/data", "/var/lib/kubelets", "/var/lib/kubelet-x", "/var/log/app", "/process", "/running"),
        *(
            "/sys/class/infiniband",
            "/opt/nvidia",
            "/procs/1",
            "/var/cache",
            "/lib/modules",
            "/usr/local/nvidia",
        ),
        # What other agents of the node offer.
        *(
            "/var/run/datadog",
            "/run/spire/agent-sockets",
            "/run/nvidia/mps",
            "/run/containerds",
            "/run/users",
        ),
        *("/run/udev", "/run/docker.sock.d", "/dev"),
        *("/etc/srv/kubernetess", "/srv/data", "/roots", "/etc/ranchers/x/y/z/u"),
    ],
)
def test_other_folders_of_the_node_are_the_users_affair(path: str) -> None:
    assert exposures(volumes=host_path(path)) == []


def test_a_volume_is_no_better_for_having_our_name() -> None:
    volumes = [{"name": "podkey-state", "hostPath": {"path": "/var/lib/kubelet"}}]
    assert [finding.code for finding in exposures(volumes=volumes)] == [InjectionCode.STATE_EXPOSED]


def test_a_path_of_a_million_segments_costs_as_much_as_one_of_five() -> None:
    assert exposures(volumes=host_path("/x" * 1_000_000)) == []
    assert exposures(volumes=host_path("/run/docker" + "/x" * 1_000_000))


SEGMENTS = st.lists(st.sampled_from(["", ".", "..", "var", "lib", "run", "kubelet", "proc", "x"]), max_size=8)


@given(SEGMENTS, st.sampled_from(NODE_FOLDERS))
def test_a_folder_of_the_node_is_found_under_all_its_names(detour: list[str], folder: str) -> None:
    # Away and back to the root, by any way; then to the folder.
    path = "/" + "/".join([*detour, *[".."] * len(detour)]) + folder
    assert exposures(volumes=host_path(path))


# --- tokens ---------------------------------------------------------------------------------------


def test_the_token_that_proves_the_pod_is_for_the_sidecar_alone() -> None:
    (found,) = exposures(volumes=[token("podkey")])
    assert found.code is InjectionCode.STATE_EXPOSED
    assert "`token`" in found.message
    assert exposures(volumes=[token("podkey", "podkey-tokens")]) == []
    assert exposures(volumes=[token("podkeys"), token(None), token("")]) == []


@pytest.mark.parametrize("place", ["containers", "initContainers", "ephemeralContainers"])
def test_a_token_that_a_source_exchanges_deserves_a_word_where_an_application_mounts_it(place: str) -> None:
    volumes = [token("sts.amazonaws.com")]
    spec = {place: [{"name": "x", **mounting("token")}]}
    assert warnings(**spec, volumes=volumes) == [InjectionCode.TOKEN_IN_APPLICATION]
    assert warnings(**spec, volumes=[token("vault")]) == []
    assert warnings(volumes=volumes) == []


def test_the_sidecar_mounts_such_tokens_itself() -> None:
    ours = [{"name": "podkey", "volumeMounts": [{"name": "podkey-tokens"}, {"name": "token"}]}]
    volumes = [token("sts.amazonaws.com", "podkey-tokens"), token(None)]
    assert warnings(initContainers=ours, volumes=volumes) == []


@pytest.mark.parametrize(
    "audience", [None, "", "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"]
)
def test_an_application_that_may_ask_the_api_server_could_read_the_secret(audience: str | None) -> None:
    volumes = [token(audience, "kube-api-access-x")]
    (found,) = token_warnings(sample_pod(mounting("kube-api-access-x"), volumes=volumes), NEEDS)
    assert found.code is InjectionCode.API_TOKEN
    assert "`default`" in found.message
    assert "`hugging-face`, `wandb`" in found.message
    assert warnings(mounting("kube-api-access-x"), volumes=volumes, needs=PodNeeds()) == []


@pytest.mark.parametrize(("automount", "expected"), [(None, True), (True, True), (False, False)])
def test_before_the_api_server_has_mounted_the_token_the_pod_itself_says_whether_it_will(
    *, automount: bool | None, expected: bool
) -> None:
    raw = raw_pod(automountServiceAccountToken=automount)
    # As it was seen by the API server: then it is mounted, or never will be.
    assert not list(token_warnings(read_pod(raw, "ml"), NEEDS))
    del raw["spec"]["schedulerName"]
    assert bool(list(token_warnings(read_pod(raw, "ml"), NEEDS))) is expected


# --- secrets --------------------------------------------------------------------------------------


def volume(secret: str, *keys: str) -> dict[str, Any]:
    items = {"items": [{"key": key, "path": key} for key in keys]} if keys else {}
    return {"name": "v", "secret": {"secretName": secret, **items}}


def projected(secret: str) -> dict[str, Any]:
    return {
        "name": "v",
        "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": secret}}]},
    }


def variable(secret: str, key: str) -> dict[str, Any]:
    return {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}]}


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [volume("wandb")]},
        {"volumes": [volume("wandb", "other", "old-key")]},
        {"volumes": [projected("hugging-face")]},
        {"containers": [{"name": "a", **variable("wandb", "api-key")}]},
        {"initContainers": [{"name": "a", **variable("hugging-face", "token")}]},
        {"containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "wandb"}}]}]},
        {
            "ephemeralContainers": [
                {"name": "a", "envFrom": [{"prefix": "X_", "secretRef": {"name": "wandb"}}]}
            ]
        },
    ],
)
def test_a_secret_of_a_source_must_not_be_in_the_application_as_well(spec: dict[str, Any]) -> None:
    (found,) = exposures(**spec)
    assert found.code is InjectionCode.SECRET_IN_APPLICATION
    assert "wandb" in found.message or "hugging-face" in found.message


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [volume("other")]},
        {"volumes": [volume("wandb", "project")]},
        {"containers": [{"name": "a", **variable("wandb", "project")}]},
        {"containers": [{"name": "a", **variable("other", "api-key")}]},
        {"containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "wandb"}}]}]},
        # Pulled with, by the kubelet; never shown.
        {"imagePullSecrets": [{"name": "wandb"}]},
        {"volumes": [{"name": "v", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "wandb"}}}]},
        # The sidecar's own.
        {"volumes": [{**volume("wandb"), "name": "podkey-secret-0"}]},
        {"initContainers": [{"name": "podkey", **variable("wandb", "api-key")}]},
    ],
)
def test_other_secrets_other_keys_and_our_own_volumes_are_fine(spec: dict[str, Any]) -> None:
    assert exposures(**spec) == []


def test_a_source_that_names_no_keys_means_all_of_them() -> None:
    assert exposures(variable("s", "anything"), needs=PodNeeds(secrets=(("s", ()),)))


def test_without_policies_no_secret_is_ours() -> None:
    assert exposures(variable("wandb", "api-key"), needs=PodNeeds()) == []


def test_one_secret_in_many_containers_is_told_once() -> None:
    many = [{"name": f"c{index}", **variable("wandb", "api-key")} for index in range(100)]
    (found,) = exposures(*many)
    assert "and 95 more" in found.message
