"""Every golden case and every captured pod: as expected, valid for Kubernetes, the same when asked twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from injector.core.cluster import Namespace
from injector.core.outcome import Inject
from injector.engine.mutate import is_new_pod, mutate
from injector.reading.reviews import Review, read_review
from proxy.core.contract import INJECT
from proxy.core.injection_codes import InjectionCode
from tests.admission_world import ALL, CAPTURED, a_review, a_world, captured, outcome_of, patched
from tests.cluster_policies import policy, source
from tests.golden.cases import CASES, case_text, expected, given, made
from tests.injected_pods import defaulted
from tests.pod_schemas import OPENAPI, VERSIONS, faults, pod_schema, served_schema

# What no pod that is given to the command can lead to.
NOT_OF_PODS = {
    InjectionCode.NOT_A_NEW_POD,
    InjectionCode.NAMESPACE_UNKNOWN,
    InjectionCode.SIDECAR_TARGETED,
    InjectionCode.RESERVED_CONFIG_MAP,
}
INJECTED = [path for path in CASES if any("patched" in result for result in expected(path))]


def name(path: Path) -> str:
    return path.stem


def pods_of_case(path: Path) -> list[dict[str, Any]]:
    return [result["patched"] for result in expected(path) if "patched" in result]


# --- the golden cases ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=name)
def test_the_command_makes_what_the_case_expects(path: Path) -> None:
    assert case_text(path) == path.read_text(), "run `make golden` and look at what changed"


def test_every_reason_and_warning_has_its_case() -> None:
    told = {
        finding.partition(":")[0]
        for path in CASES
        for result in expected(path)
        for finding in (*result["reasons"], *result.get("warnings", ()))
    }

    assert told == {code.value for code in InjectionCode if code not in NOT_OF_PODS}
    assert len(CASES) >= 40


@pytest.mark.parametrize("path", INJECTED, ids=name)
def test_the_pods_of_a_case_change_no_more_when_they_are_given_again(path: Path) -> None:
    pods = pods_of_case(path)
    between = [defaulted(pod) for pod in pods]

    for again in (pods, between):
        results = made(given(path)._replace(objects=again))
        assert [(result["outcome"], result["patch"]) for result in results] == [("inject", [])] * len(pods)
        assert [result["patched"] for result in results] == again


# Older versions write a claim otherwise.
SINCE = {"resourceClaimTemplateName": "1.31"}


@pytest.mark.parametrize("path", INJECTED, ids=name)
def test_the_pods_of_a_case_are_valid(path: Path) -> None:
    since = max((version for word, version in SINCE.items() if word in path.read_text()), default="")
    versions = [version for version in VERSIONS if version >= since]
    for pod in pods_of_case(path):
        found = {version: faults(pod_schema(version), pod) for version in versions}
        assert {version: where for version, where in found.items() if where} == {}


# --- captured reviews ----------------------------------------------------------------------------


def real(review_name: str) -> Review:
    review = read_review(json.dumps(captured(review_name)).encode())
    assert isinstance(review, Review)
    return review


NEW_PODS = [review_name for review_name in CAPTURED if is_new_pod(real(review_name))]


def answered(review: Review, pod: Any = None, level: str = "privileged", *, native: bool = True) -> Any:
    labels = {**ALL, "pod-security.kubernetes.io/enforce": level}
    documents = (policy({"service": "openai", "credential": "one"}, accounts=["*"]), source())
    world = a_world(*documents, namespaces=[Namespace(review.namespace, labels)], native=native)
    again = review if pod is None else a_review(pod, namespace=review.namespace)
    return mutate(again, world, lambda alphabet, count: alphabet[1] * count)


def test_most_of_what_was_captured_are_new_pods() -> None:
    assert len(NEW_PODS) > 40


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("level", ["privileged", "restricted"])
@pytest.mark.parametrize("review_name", NEW_PODS)
def test_a_real_pod_is_injected_once_and_stays_valid(review_name: str, level: str, native: bool) -> None:  # noqa: FBT001
    review = real(review_name)
    answer = answered(review, level=level, native=native)
    if not isinstance(outcome_of(answer), Inject):
        assert answer.patch == b""
        return
    before = captured(review_name)["request"]["object"]
    after = patched(before, answer)

    for pod in (after, defaulted(after)):
        again = answered(review, pod, level, native=native)
        assert isinstance(outcome_of(again), Inject)
        assert again.patch == b""
    usual = native and level == "privileged"
    for version in VERSIONS if usual else (VERSIONS[0], VERSIONS[-1]):
        schema = pod_schema(version)
        if found := faults(schema, after):
            # Real pods have fields that older versions do not know, and one was not valid at all.
            assert found <= faults(schema, before)


# --- the API server's own schema -----------------------------------------------------------------


@pytest.mark.skipif(not OPENAPI.exists(), reason=f"{OPENAPI.name} of a real API server is not at hand")
def test_everything_is_valid_for_a_real_api_server() -> None:
    schema = served_schema()
    for path in INJECTED:
        for pod in pods_of_case(path):
            assert (path.stem, faults(schema, pod)) == (path.stem, set())
    for review_name in NEW_PODS:
        review = real(review_name)
        answer = answered(review)
        before = captured(review_name)["request"]["object"]
        if isinstance(outcome_of(answer), Inject):
            assert faults(schema, patched(before, answer)) <= faults(schema, before)


def test_the_schemas_notice_what_is_wrong() -> None:
    pod = pods_of_case(INJECTED[0])[0]
    pod["spec"]["hostNetwrk"] = True

    assert [len(faults(pod_schema(version), pod)) for version in VERSIONS] == [1] * len(VERSIONS)
    assert INJECT not in pod["metadata"]["annotations"]
