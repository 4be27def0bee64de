"""What may come to the webhook besides what anybody would send: from bytes to the bytes of the answer."""

import copy
import json
import time
from base64 import b64decode
from typing import Any

import pytest

from injector.engine.mutate import mutate
from injector.reading.reviews import ReviewFault, read_review, render_answer
from tests.admission_world import REVIEWS, a_world, body, captured, first
from tests.cluster_policies import policy, source
from tests.sample_pods import raw_pod

WORLD = a_world(policy({"service": "openai", "credential": "one"}, accounts=["default"]), source())


def response(data: bytes) -> dict[str, Any]:
    review = read_review(data)
    assert not isinstance(review, ReviewFault), review.message
    answer: dict[str, Any] = json.loads(render_answer(mutate(review, WORLD, first)))["response"]
    return answer


def fault(data: bytes) -> str:
    read = read_review(data)
    assert isinstance(read, ReviewFault)
    return read.message


def paths(answer: dict[str, Any]) -> list[str]:
    return [operation["path"] for operation in json.loads(b64decode(answer["patch"]))]


def test_a_pod_without_annotations_and_volumes_gets_the_maps_and_lists_first() -> None:
    pod = captured("automount-serviceaccount-token-false")["request"]["object"]
    assert "annotations" not in pod["metadata"]
    assert "volumes" not in pod["spec"]
    found = paths(response(body(pod)))

    assert "/metadata/annotations" in found
    assert "/spec/volumes" in found
    assert not [path for path in found if path.startswith(("/metadata/annotations/", "/spec/volumes/"))]


def test_a_pod_of_250_containers_is_answered() -> None:
    pod = raw_pod(*({"name": f"c{number}"} for number in range(250)))
    answer = response(body(pod))

    assert answer["allowed"]
    assert sum("/volumeMounts" in path for path in paths(answer)) == 250


def test_a_body_of_3_mb_is_answered_long_before_the_api_server_gives_up() -> None:
    env = [{"name": f"NAME_{number}", "value": "x" * 900} for number in range(3000)]
    pod = raw_pod({"env": env})
    # As the API server sends it: every name once more.
    fields = {f'k:{{"name":"{entry["name"]}"}}': {".": {}, "f:name": {}, "f:value": {}} for entry in env}
    pod["metadata"]["managedFields"] = [{"fieldsV1": {"f:spec": {"f:env": fields}}}]
    data = body(pod)
    begun = time.process_time()
    answer = response(data)

    assert len(data) > 3_000_000
    assert answer["allowed"]
    # Of the five seconds that the webhook configuration allows.
    assert time.process_time() - begun < 2.5


def test_unknown_fields_stay_where_they_are() -> None:
    pod = raw_pod({"aFieldOfTomorrow": {"x": [1.5, None]}}, aFieldOfTomorrow=[{"y": {}}])
    answer = response(body(pod))

    assert answer["allowed"]
    assert not [path for path in paths(answer) if "Tomorrow" in path]


@pytest.mark.parametrize("name", ["dryrun-create", "dryrun-generatename"])
def test_a_dry_run_is_answered_like_any_other(name: str) -> None:
    review = captured(name)
    wet = copy.deepcopy(review)
    wet["request"]["dryRun"] = False

    assert response(json.dumps(review).encode()) == response(json.dumps(wet).encode())


@pytest.mark.parametrize(
    "name",
    [
        "binding-create",
        "delete-by-garbage-collector",
        "delete-by-kubelet",
        "delete-by-user",
        "ephemeralcontainers-update",
        "eviction-create",
        "exec-connect",
        "portforward-connect",
        "resize-update",
        "update-image",
        "update-job-finalizer-removed-by-controller",
        "update-labels",
    ],
)
def test_other_requests_are_let_through_untouched(name: str) -> None:
    answer = response(json.dumps(captured(name)).encode())

    assert answer["allowed"]
    assert "patch" not in answer
    assert answer["auditAnnotations"] == {"outcome": "skip", "reasons": "not_a_new_pod"}


@pytest.mark.parametrize("name", ["annotations-many", "job", "pod-bare"])
def test_the_bytes_of_a_real_api_server_are_read_like_the_same_values(name: str) -> None:
    data = (REVIEWS / f"{name}.raw").read_bytes()

    assert response(data) == response(json.dumps(captured(name)).encode())
    assert response(data)["uid"] == captured(name)["request"]["uid"]


def test_an_older_version_of_reviews_is_told_what_to_configure() -> None:
    assert "admissionReviewVersions" in fault(
        body(raw_pod()).replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1")
    )


@pytest.mark.parametrize("cut", [1, 10, 100, 500])
def test_a_body_that_ends_too_soon_is_no_review(cut: int) -> None:
    assert fault(body(raw_pod())[:-cut]).startswith("the body is not JSON")


def test_a_pod_that_the_server_refuses_later_has_an_answer_now() -> None:
    # Webhooks see pods before validation: a bad annotation key, two containers of one name, no image.
    assert response(json.dumps(captured("annotations-invalid-key")).encode())["allowed"]
