"""A training job, whole: what the injector wrote, played by podman from the images that `make images` builds.

It reads and writes S3, pulls from a registry and calls an API, and holds nothing but placeholders. Then its
container is searched for the credentials.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest

from tests.pod_lab import ADVICE, REGISTRY, STORE, Lab
from tests.pod_thefts import file_system, volumes
from tests.podman_pod import WholePod


@dataclass
class Ended:
    lab: Lab
    pod: WholePod
    statuses: dict[str, int]

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.pod.log("train").splitlines()[-1])
        return told


@pytest.fixture(scope="module")
def job(lab: Lab) -> Iterator[Ended]:
    lab.clear()
    with lab.playing("job.yaml") as pod:
        pod.wait("train")
        yield Ended(lab, pod, pod.end())


def test_the_job_ends_and_the_pod_with_it(job: Ended) -> None:
    assert job.statuses == {"podkey-redirect": 0, "podkey": 0, "train": 0}, job.pod.log("train")
    assert not any(job.pod.state(name)["Running"] for name in job.statuses)


def test_its_containers_lived_in_the_order_of_native_sidecars(job: Ended) -> None:
    redirect, sidecar, app = (job.pod.state(name) for name in ("podkey-redirect", "podkey", "train"))

    assert redirect["FinishedAt"] <= sidecar["StartedAt"]
    (ready,) = (one["time"] for one in job.pod.records("podkey") if one.get("event") == "ready")
    assert ready[:23] <= app["StartedAt"][:23]  # both in UTC, to the millisecond
    assert app["FinishedAt"] <= sidecar["FinishedAt"]
    assert [one["event"] for one in job.pod.records("podkey") if "event" in one][-1] == "drained"


def test_it_read_its_dataset(job: Ended) -> None:
    assert job.told["dataset"] == {key: sha256(data).hexdigest() for key, data in job.lab.dataset.items()}


def test_it_wrote_its_checkpoint(job: Ended) -> None:
    written = job.lab.store.get("acme-checkpoints", "llama/step-10")

    assert written is not None
    assert job.told["checkpoint"] == sha256(written).hexdigest()


def test_it_pulled_its_model(job: Ended) -> None:
    assert job.told["weights"] == job.lab.weights_hash()
    pulled = [one for one in job.lab.registry.records() if "skopeo" in one.get("http.request.useragent", "")]
    assert {one["http.response.status"] for one in pulled if "http.response.status" in one} == {200}
    # The same without it:
    assert job.lab.registry.request("GET", "/v2/models/llama/manifests/1")[0] == 401


def test_it_called_the_api(job: Ended) -> None:
    assert job.told["advice"] == ADVICE
    # Who calls it with what the application has is sent away.
    key = job.pod.kubelet.environment("train")["OPENAI_API_KEY"]
    assert key.startswith("sk-podkey-")
    assert not job.lab.openai.seen(key)


def test_only_the_sidecars_key_reached_the_store(job: Ended) -> None:
    asked = [one for one in job.lab.store.requests() if one["key"] != job.lab.store.own.access_key_id]

    assert len(asked) > 5
    assert {one["key"] for one in asked} == {job.lab.key_id}
    hosts = {dict(one["headers"])["host"] for one in asked}
    assert hosts == {f"acme-datasets.{STORE.name}", f"acme-checkpoints.{STORE.name}"}


def test_every_request_was_judged_and_none_refused(job: Ended) -> None:
    audit = [one for one in job.pod.records("podkey") if "verdict" in one]

    assert {one["verdict"] for one in audit} == {"attach"}
    assert {one["host"] for one in audit} >= {REGISTRY, "api.openai.com"}
    assert {one["evidence"] for one in audit} == {"token"}


def test_its_variables_are_the_pods_and_hold_placeholders(job: Ended) -> None:
    given = dict(line.split("=", 1) for line in job.pod.inspect("train")["Config"]["Env"])

    assert given.items() >= job.pod.kubelet.environment("train").items()
    assert given.items() >= job.lab.placeholders(job.pod).items()
    assert not job.lab.canary.find_in(json.dumps(job.pod.inspect("train")))


def test_its_file_system_holds_no_credential(job: Ended) -> None:
    looked = file_system(job.pod, "train", job.lab.canary, also={"its own program": "acme-checkpoints"})

    assert looked.findings == []
    assert "app/train.py" in looked.seen["its own program"]
    assert looked.members > 5000


def test_its_volumes_hold_no_credential(job: Ended) -> None:
    looked = volumes(job.pod, "train", job.lab.canary, also={"weights": job.lab.weights_hash()})

    assert {one: found.findings for one, found in looked.items()} == {"work": [], "podkey-trust": []}
    assert "checkpoint.bin" in looked["work"].seen["weights"]
    # The authority, the bundle and the trust store of Java; the endpoints' file where there are some.
    assert looked["podkey-trust"].members >= 3


def test_no_log_of_the_pod_holds_one(job: Ended) -> None:
    for name in job.statuses:
        assert job.pod.log(name)
        assert not job.lab.canary.find_in(job.pod.log(name))
