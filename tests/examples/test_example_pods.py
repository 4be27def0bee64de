"""The pods of the examples: what the injector makes of each, and that Kubernetes takes every manifest.

Pods of a Job, a Deployment, a RayCluster and a RayJob come from the templates in their manifests, as their
controllers take them. Two controllers add more, which the webhook sees and a manifest does not show: pods of
KubeRay are in 05-ray/pods.json, and the one that KServe makes of an InferenceService is in
06-kserve/predictor-pod.json. Both are written by hand, from what the operators are known to do, and
shortened; none was recorded from one. Tests hold them to the manifests that they come from.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.core.contract import PLACEHOLDERS, REDIRECT_CONTAINER, SIDECAR_CONTAINER
from tests.command_line import podkey
from tests.example_manifests import (
    STORIES,
    Raw,
    is_of_kubernetes,
    manifest_files,
    objects_of,
    pods_in,
    schema_faults,
    story,
)
from tests.pod_schemas import VERSIONS, faults, pod_schema

AWS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"})
TRANSPARENT, CONFINED = "transparent", "endpoint,explicit"


@dataclass(frozen=True)
class Expected:
    """`placeholders`: of the services that the pod's policies name, and of no others."""

    placeholders: frozenset[str] = frozenset()
    capture: str = TRANSPARENT
    secrets: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    # Its other init containers, which start when the sidecar is ready.
    inits: tuple[str, ...] = ()
    ports: str = ""


AMAZON = ("sts.amazonaws.com",)
RAY = Expected(AWS, audiences=AMAZON)
# By story and file, the pods in their order; None is a pod that gets no sidecar.
EXPECTED: Mapping[tuple[str, str], tuple[Expected | None, ...]] = {
    ("02", "job"): (Expected(AWS | {"WANDB_API_KEY"}, secrets=("training-s3", "wandb")),),
    ("03", "deployment"): (Expected(frozenset({"OPENAI_API_KEY"}), CONFINED, secrets=("openai", "vectors")),),
    ("04", "job"): (Expected(frozenset({"HF_TOKEN"}), secrets=("huggingface",)),),
    ("05", "raycluster"): (RAY, RAY),
    ("05", "rayjob"): (RAY, RAY, None),
    ("05", "pods"): (RAY, Expected(AWS, audiences=AMAZON, inits=("wait-gcs-ready",))),
    ("06", "predictor-pod"): (Expected(AWS, secrets=("models-s3",), inits=("storage-initializer",)),),
    ("07", "job"): (Expected(AWS, secrets=("minio-indexer",), ports="80,443,9000"),),
    # A service that the catalogue does not know has no placeholder: its client is given no key at all.
    ("08", "job"): (Expected(audiences=("vault",)),),
    ("09", "job"): (Expected(AWS, audiences=AMAZON),),
    ("10", "before"): (
        Expected(frozenset({"OPENAI_API_KEY"}), secrets=("openai-of-podkey",), warnings=("variable_kept",)),
    ),
    ("10", "after"): (Expected(frozenset({"OPENAI_API_KEY"}), secrets=("openai-of-podkey",)),),
}
CASES = [
    pytest.param(number, name, expected, id=f"{number}-{name}")
    for (number, name), expected in EXPECTED.items()
]
FILES = [(folder, file) for folder in STORIES for file in manifest_files(folder)]
# What `podkey inject` cannot make pods of; the pod beside it stands for it.
NOT_WORKLOADS = {"namespace", "serviceaccount", "inferenceservice"}


def injected(number: str, name: str, capsys: pytest.CaptureFixture[str]) -> list[Raw]:
    folder = story(number)
    files = ["-f", str(folder / "namespace.json"), "-f", str(folder / f"{name}.json")]
    assert podkey("inject", *files, "--policies", str(folder), "--output", "json") == 0
    found: list[Raw] = json.loads(capsys.readouterr().out)
    return found


def test_every_workload_of_the_examples_is_expected_here() -> None:
    workloads = {(folder.name[:2], file.stem) for folder, file in FILES if file.stem not in NOT_WORKLOADS}

    assert workloads == set(EXPECTED)


@pytest.mark.parametrize(("number", "name", "expected"), CASES)
def test_the_pods_get_what_they_should_and_nothing_else(
    number: str, name: str, expected: tuple[Expected | None, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    results = injected(number, name, capsys)

    assert [told(result) for result in results] == list(expected)
    # Injected by the policy, and not only for an accelerator.
    codes = [{reason["code"] for reason in result["reasons"]} for result in results]
    assert ["policy_selects" in one for one in codes] == [one is not None for one in expected]


def told(result: Raw) -> Expected | None:
    if result["outcome"] == "skip":
        assert result["patch"] == []
        return None
    assert result["outcome"] == "inject"
    spec = result["patched"]["spec"]
    inits = {one["name"]: one for one in spec["initContainers"]}
    sidecar = inits[SIDECAR_CONTAINER]
    capture = plain(sidecar)["PODKEY_CAPTURE"]
    written = result["patched"]["metadata"]["annotations"].get(PLACEHOLDERS, "")
    placeholders = {line.partition("=")[0] for line in written.splitlines()}
    for one in (*theirs(inits), *spec["containers"]):
        assert placeholders <= {entry["name"] for entry in one.get("env", ())}
    # Native, and first but for the redirect: all other containers wait until it is ready.
    first = [REDIRECT_CONTAINER, SIDECAR_CONTAINER] if capture == TRANSPARENT else [SIDECAR_CONTAINER]
    assert list(inits)[: len(first)] == first
    assert (sidecar["restartPolicy"], sidecar["startupProbe"]["httpGet"]["path"]) == ("Always", "/readyz")
    redirect = plain(inits[REDIRECT_CONTAINER]) if REDIRECT_CONTAINER in inits else {}
    return Expected(
        frozenset(placeholders),
        ",".join(sorted(capture.split(","))),
        tuple(sorted(one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one)),
        audiences(spec),
        tuple(warning["code"] for warning in result["warnings"]),
        tuple(list(inits)[len(first) :]),
        redirect.get("PODKEY_CAPTURE_PORTS", ""),
    )


def plain(container: Raw) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}


def theirs(inits: Mapping[str, Raw]) -> list[Raw]:
    return [one for name, one in inits.items() if name not in {REDIRECT_CONTAINER, SIDECAR_CONTAINER}]


def audiences(spec: Raw) -> tuple[str, ...]:
    """Of the tokens that the sources need; podkey's own and the API server's are everywhere."""
    sources = [one for volume in spec["volumes"] for one in volume.get("projected", {}).get("sources", ())]
    tokens = [one["serviceAccountToken"] for one in sources if "serviceAccountToken" in one]
    return tuple(sorted({token.get("audience", "podkey") for token in tokens} - {"podkey"}))


@pytest.mark.parametrize(("number", "name", "expected"), CASES)
def test_the_injected_pods_are_valid(
    number: str, name: str, expected: tuple[Expected | None, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    pods = [result["patched"] for result in injected(number, name, capsys)]

    assert len(pods) == len(expected)
    found = {version: [faults(pod_schema(version), pod) for pod in pods] for version in VERSIONS}
    assert {version: where for version, where in found.items() if any(where)} == {}


@pytest.mark.parametrize(("number", "name", "expected"), CASES)
def test_no_value_of_a_secret_stands_in_a_manifest(
    number: str, name: str, expected: tuple[Expected | None, ...]
) -> None:
    """Secrets are made by hand, as each README says; the namespaces and what runs in them can go to git."""
    kinds = {one["kind"] for file in manifest_files(story(number)) for one in objects_of(file)}

    assert "Secret" not in kinds
    assert expected, name


# --- manifests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "file"), FILES, ids=lambda path: path.stem)
def test_kubernetes_takes_every_manifest(folder: Path, file: Path) -> None:
    namespace = folder_namespace(folder)
    for one in objects_of(file):
        own = one["metadata"].get("namespace", one["metadata"].get("name"))
        assert own == namespace
        if is_of_kubernetes(one):
            assert [fault for version in VERSIONS for fault in schema_faults(one, version)] == []


def folder_namespace(folder: Path) -> str:
    (namespace,) = objects_of(folder / "namespace.json")
    return str(namespace["metadata"]["name"])


def test_a_manifest_with_a_typo_is_not_taken() -> None:
    (job,) = objects_of(story("02") / "job.json")
    wrong = copy.deepcopy(job)
    wrong["spec"]["template"]["spec"]["serviceAcountName"] = "trainer"

    assert schema_faults(job, "1.37") == []
    assert "serviceAcountName" in str(schema_faults(wrong, "1.37"))


@pytest.mark.parametrize("folder", STORIES[1:], ids=lambda path: path.name)
def test_every_account_of_a_workload_is_made_with_its_namespace(folder: Path) -> None:
    objects = [one for file in manifest_files(folder) for one in objects_of(file)]
    made = {one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount"} | {"default"}
    pods = [pod for one in objects for pod in pods_in(one)]

    assert pods
    assert {pod["spec"]["serviceAccountName"] for pod in pods} <= made


# --- pods that an operator makes --------------------------------------------------------------------


def within(smaller: Any, larger: Any) -> bool:
    """Whether all that one says stands in the other, which may say more."""
    match smaller, larger:
        case dict(), dict():
            return all(key in larger and within(value, larger[key]) for key, value in smaller.items())
        case list(), list():
            return all(any(within(one, other) for other in larger) for one in smaller)
        case _:
            return bool(smaller == larger)


def test_the_pods_of_ray_are_those_of_its_templates_and_what_kuberay_adds() -> None:
    (cluster,) = objects_of(story("05") / "raycluster.json")
    made = list(objects_of(story("05") / "pods.json"))

    for template, pod in zip(pods_in(cluster), made, strict=True):
        assert within(template["metadata"]["labels"], pod["metadata"]["labels"])
        assert within(template["spec"], pod["spec"])
        assert not within(pod["spec"], template["spec"])
        assert pod["metadata"]["labels"]["ray.io/cluster"] == cluster["metadata"]["name"]


def test_the_ray_job_starts_the_same_cluster() -> None:
    (cluster,) = objects_of(story("05") / "raycluster.json")
    (job,) = objects_of(story("05") / "rayjob.json")

    assert job["spec"]["rayClusterSpec"] == cluster["spec"]
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        assert group["rayStartParams"] is not None
        assert group["template"]["spec"]["containers"]


def test_the_pod_of_kserve_is_that_of_the_inference_service() -> None:
    (service,) = objects_of(story("06") / "inferenceservice.json")
    (pod,) = objects_of(story("06") / "predictor-pod.json")
    predictor = service["spec"]["predictor"]
    model = predictor["model"]
    (downloader,), (server,) = pod["spec"]["initContainers"], pod["spec"]["containers"]

    assert pod["metadata"]["labels"]["serving.kserve.io/inferenceservice"] == service["metadata"]["name"]
    assert within(predictor["labels"], pod["metadata"]["labels"])
    for key in ("serviceAccountName", "securityContext"):
        assert pod["spec"][key] == predictor[key]
    assert downloader["args"][0] == model["storageUri"]
    for key in ("args", "resources", "securityContext"):
        assert within(model[key], server[key])


# --- what goes wrong, as the READMEs say ---------------------------------------------------------------


def secret_key(name: str, key: str) -> Raw:
    return {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def reads_the_secret_of_the_source(spec: Raw) -> None:
    spec["initContainers"][0]["env"] = [secret_key("models-s3", "access-key-id")]


def downloads_as_the_sidecars_user(spec: Raw) -> None:
    spec["initContainers"][0]["securityContext"]["runAsUser"] = 1337


def keeps_the_key_that_the_source_has(spec: Raw) -> None:
    spec["containers"][0]["env"] = [secret_key("openai-of-podkey", "api-key")]


def has_another_account(spec: Raw) -> None:
    spec["serviceAccountName"] = "default"


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (("06", "predictor-pod"), reads_the_secret_of_the_source, ("refuse", "secret_in_application")),
        (("06", "predictor-pod"), downloads_as_the_sidecars_user, ("refuse", "proxy_uid")),
        (("10", "before"), keeps_the_key_that_the_source_has, ("refuse", "secret_in_application")),
        (("05", "pods"), has_another_account, ("inject", "no_policy")),
    ],
)
def test_a_pod_that_goes_wrong_is_told_by_the_code_in_the_readme(
    place: tuple[str, str],
    change: Callable[[Raw], None],
    expected: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = story(place[0])
    *_, pod = (pod for one in objects_of(folder / f"{place[1]}.json") for pod in pods_in(one))
    wrong = copy.deepcopy(pod)
    change(wrong["spec"])
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(wrong))

    files = ["-f", str(folder / "namespace.json"), "-f", str(file)]
    podkey("inject", *files, "--policies", str(folder), "--output", "json")

    (result,) = json.loads(capsys.readouterr().out)
    outcome, code = expected
    assert result["outcome"] == outcome
    assert code in {one["code"] for one in (*result["reasons"], *result["warnings"])}
    assert f"`{code}`" in (folder / "README.md").read_text()
