"""The agreement with the sidecar: what the kubelet makes of the container is read by the sidecar itself."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from injector.core.intent import Intent, Wish
from injector.core.plan import Plan
from injector.core.settings import SidecarSettings
from injector.craft.endpoints import endpoints_of
from injector.craft.measures import measures_of
from injector.craft.sidecar import sidecar_container, with_token
from injector.reading.settled import SETTLED
from proxy.core import contract
from proxy.core.policy import Mode
from proxy.core.settings import Capture, Endpoint, ProxySettings
from proxy.documents.pod_files import read_images, read_labels, read_owner, read_placeholders
from proxy.documents.settings import read_settings
from tests.injected_pods import EXPLICIT, RULES, SETTINGS, TOKEN, a_plan, container, environment, injected
from tests.sample_pods import gpus, raw_pod, sample_pod

# What the kubelet knows of a pod.
FIELDS = {
    "metadata.namespace": "ml",
    "metadata.name": "train-0",
    "metadata.uid": "0b1c2d3e-0000-4000-8000-000000000000",
    "spec.serviceAccountName": "trainer",
    "spec.nodeName": "gpu-7",
    "status.podIP": "fd00::7",
}


def as_the_kubelet_sets_it(found: Mapping[str, Any]) -> dict[str, str]:
    sources = environment(found)
    return {
        name: source if isinstance(source, str) else FIELDS[source["fieldRef"]["fieldPath"]]
        for name, source in sources.items()
    }


def settings_of(found: Mapping[str, Any]) -> ProxySettings:
    read = read_settings(as_the_kubelet_sets_it(found))
    assert isinstance(read, ProxySettings), read
    return read


def files_of(pod: Mapping[str, Any]) -> dict[str, bytes]:
    """What the downward API writes, by path in the sidecar's file system."""
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == contract.POD_VOLUME)
    annotations = pod["metadata"]["annotations"]
    labels = "\n".join(f'{key}="{value}"' for key, value in sorted(pod["metadata"]["labels"].items()))
    contents = {f"metadata.annotations['{key}']": value for key, value in annotations.items()}
    contents["metadata.labels"] = labels
    return {
        f"{contract.POD_DIR}/{item['path']}": contents[item["fieldRef"]["fieldPath"]].encode()
        for item in volume["downwardAPI"]["items"]
    }


def test_the_sidecar_reads_what_is_written_and_it_means_what_was_planned() -> None:
    raw = raw_pod({"image": "registry.test/a:1", **gpus()}, labels={"app": "train"})
    plan = a_plan(
        "openai",
        "s3",
        accelerated=True,
        owner="Job/train",
        audiences=("sts.amazonaws.com",),
        secrets=(("keys", ("openai",)),),
    )
    pod = injected(raw, plan)
    settings = settings_of(container(pod, "podkey"))
    assert settings.pod.namespace == "ml"
    assert settings.pod.service_account == "trainer"
    assert (settings.pod.pod_name, settings.pod.node) == ("train-0", "gpu-7")
    assert settings.pod.pod_uid == FIELDS["metadata.uid"]
    assert settings.pod.cluster == "west"
    assert settings.pod.wants_gpu
    assert settings.pod.mode is Mode.ENFORCE
    assert settings.listeners.capture == {Capture.TRANSPARENT}
    assert settings.listeners.admin_address == "fd00::7"
    assert settings.listeners.admin_port == contract.ADMIN_PORT
    files = files_of(pod)
    assert settings.pod.labels_file
    assert settings.pod.owner_file
    assert settings.pod.images_file
    assert read_labels(files[settings.pod.labels_file]) == {"app": "train"}
    assert read_owner(files[settings.pod.owner_file]) == "Job/train"
    images = read_images(files[settings.pod.images_file])
    assert isinstance(images, tuple)
    assert [image.repository for image in images] == ["registry.test/a"]
    assert settings.folders.placeholders_file
    given = environment(container(pod, "app"))
    values = {given[name] for name in plan.placeholders if len(given[name]) >= 8}
    assert read_placeholders(files[settings.folders.placeholders_file]) == values


def test_each_folder_that_the_sidecar_uses_is_mounted() -> None:
    plan = a_plan(secrets=(("keys", ("openai",)),), audiences=("api://x",))
    pod = injected(raw_pod(), plan)
    sidecar = container(pod, "podkey")
    mounts = {mount["mountPath"]: mount for mount in sidecar["volumeMounts"]}
    settings = settings_of(sidecar)
    folders = settings.folders
    for folder in (folders.policy, folders.tokens, folders.state, folders.trust):
        assert folder in mounts
    assert f"{folders.secrets}/keys" in mounts
    for folder in (folders.state, folders.trust):
        assert "readOnly" not in mounts[folder]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    sources = volumes[mounts[folders.tokens]["name"]]["projected"]["sources"]
    tokens = {s["serviceAccountToken"]["path"] for s in sources if "serviceAccountToken" in s}
    assert tokens == {contract.token_file(a) for a in (settings.identity.audience, "api://x")} | {
        contract.CLUSTER_TOKEN_FILE
    }
    authority = PurePosixPath(settings.identity.discovery_ca_file or "")
    assert str(authority.relative_to(folders.tokens)) == sources[-1]["configMap"]["items"][0]["path"]


def test_every_way_of_capturing_is_one_that_the_sidecar_starts_with() -> None:
    endpoint = frozenset({Capture.ENDPOINT, Capture.EXPLICIT})
    settings = settings_of(container(injected(raw_pod(), a_plan("openai", capture=endpoint)), "podkey"))
    assert settings.listeners.capture == endpoint
    assert settings.listeners.endpoints == (Endpoint(15101, "openai"),)
    assert settings.listeners.endpoint_token == TOKEN
    for services in ((), ("s3",)):
        pod = injected(raw_pod(), a_plan(*services, capture=frozenset({Capture.ENDPOINT})))
        assert settings_of(container(pod, "podkey")).listeners.capture == EXPLICIT


def test_a_pod_that_only_wants_to_be_observed_says_so() -> None:
    plan = a_plan(intent=Intent(wish=Wish.OBSERVE))
    assert settings_of(container(injected(raw_pod(), plan), "podkey")).pod.mode is Mode.OBSERVE
    everywhere = SidecarSettings(image="x", environment={"PODKEY_MODE": "observe"})
    assert (
        settings_of(container(injected(raw_pod(), a_plan(), everywhere), "podkey")).pod.mode is Mode.OBSERVE
    )


def test_the_platforms_settings_reach_the_sidecar_unless_the_injector_chooses() -> None:
    theirs = {
        "PODKEY_LOG_LEVEL": "debug",
        "PODKEY_DISCOVERY_CA_FILE": "/etc/other/ca.crt",
        "PODKEY_FENCE_METADATA": "false",
        **dict.fromkeys(SETTLED, "theirs"),
    }
    settings = SidecarSettings(image="x", environment=theirs)
    env = environment(container(injected(raw_pod(), a_plan(), settings), "podkey"))
    assert env["PODKEY_LOG_LEVEL"] == "debug"
    assert env["PODKEY_DISCOVERY_CA_FILE"] == "/etc/other/ca.crt"
    assert "PODKEY_FENCE_METADATA" not in env
    assert "theirs" not in env.values()
    assert "PODKEY_CLUSTER" not in env


def written(plan: Plan, resources: Mapping[str, Any]) -> Mapping[str, Any]:
    endpoints = endpoints_of(plan.services)
    return sidecar_container(measures_of(sample_pod({}), plan, endpoints, SETTINGS, RULES), resources)


def test_a_token_takes_its_place_and_changes_nothing_else() -> None:
    without = written(a_plan("openai", capture=frozenset({Capture.ENDPOINT})), {})
    found = with_token(without, TOKEN)
    assert environment(without)["PODKEY_ENDPOINT_TOKEN"] == ""
    assert environment(found) == {**environment(without), "PODKEY_ENDPOINT_TOKEN": TOKEN}
    assert {**found, "env": None} == {**without, "env": None}
    assert [entry["name"] for entry in found["env"]] == [entry["name"] for entry in without["env"]]


def test_everything_that_is_written_is_a_setting_that_is_settled_or_may_be_set() -> None:
    plan = a_plan("openai", capture=frozenset({Capture.ENDPOINT}), intent=Intent(wish=Wish.OBSERVE))
    found = written(plan, {})
    names = [entry["name"] for entry in found["env"]]
    assert len(names) == len(set(names))
    assert set(names) - SETTLED == {"PODKEY_DISCOVERY_CA_FILE", "PODKEY_MODE"}


@pytest.mark.parametrize("native", [True, False])
def test_it_is_probed_and_has_walls(*, native: bool) -> None:
    found = written(a_plan(native=native), {"limits": {}})
    assert found.get("restartPolicy") == ("Always" if native else None)
    assert "lifecycle" not in found
    assert "readinessProbe" not in found
    assert found["command"] == ["podkey", "run"]
    for name, path in (("startupProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert found[name]["httpGet"] == {"path": path, "port": contract.ADMIN_PORT, "scheme": "HTTP"}
    assert found["ports"][0]["containerPort"] == contract.ADMIN_PORT
    assert len(found["ports"][0]["name"]) <= 15
    assert found["securityContext"] == {
        "runAsUser": 1337,
        "runAsGroup": 1337,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
