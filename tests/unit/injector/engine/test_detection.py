from collections.abc import Iterable
from typing import Any

import pytest

from injector.core.cluster import Namespace
from injector.core.outcome import Finding, Inject, Outcome, Refuse, Skip
from injector.engine import detection as module
from injector.engine.detection import MOST_TOLD, Detection, Round, has_sidecar
from injector.engine.happenings import EventKind, EventReason, Happening, Involved
from proxy.core.injection_codes import InjectionCode

Raw = dict[str, Any]
ML = Namespace("ml")
INJECT = Inject((Finding(InjectionCode.ACCELERATOR, "it asks for a GPU"),))


def pod(name: str = "train", **more: Any) -> Raw:
    return {
        "metadata": {"name": name, "namespace": "ml", "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running"},
        **more,
    }


def of(outcome: Outcome = INJECT, policies: Iterable[str] = ()) -> Detection:
    return Detection(lambda _raw, _namespace: outcome, lambda _raw, _namespace: policies)


def test_a_pod_that_should_have_a_sidecar_is_told_of_once() -> None:
    detection = of()
    happening = detection.see(pod(), ML)
    assert isinstance(happening, Happening)
    assert happening.involved == Involved("v1", "Pod", "train", "uid-train")
    assert (happening.namespace, happening.kind, happening.reason) == (
        "ml",
        EventKind.WARNING,
        EventReason.MISSING,
    )
    assert "accelerator" in happening.message
    assert "restart it" in happening.message
    assert len(happening.message.encode()) < 1024
    detection.begin()
    assert detection.see(pod(), ML) is None
    assert detection.finish() == Round({"ml": 1}, {}, 1), "it is still counted"


def test_a_pod_that_was_made_again_is_told_of_again() -> None:
    detection = of()
    assert detection.see(pod(), ML)
    again = pod()
    again["metadata"]["uid"] = "another"
    assert detection.see(again, ML)


def test_a_pod_that_would_be_refused_now_is_told_of() -> None:
    reasons = tuple(Finding(InjectionCode.PRIVILEGED, f"container {n} is privileged") for n in "ab")
    happening = of(Refuse(reasons)).see(pod(), ML)
    assert happening is not None
    assert "would be refused (privileged)" in happening.message


def test_a_pod_that_needs_none_is_counted_nowhere() -> None:
    detection = of(Skip((Finding(InjectionCode.NOT_NEEDED, "not needed"),)))
    detection.enter(ML)
    assert detection.see(pod(), ML) is None
    assert detection.finish() == Round({"ml": 0}, {}, 1)


@pytest.mark.parametrize("containers", ["containers", "initContainers"])
def test_a_pod_with_a_sidecar_is_not_judged(containers: str) -> None:
    def judge(_raw: object, _namespace: Namespace) -> Outcome:
        raise AssertionError

    detection = Detection(judge, lambda _raw, _namespace: ("ml/p",))
    assert detection.see(pod(spec={containers: [{"name": "app"}, {"name": "podkey"}]}), ML) is None
    assert detection.finish() == Round({}, {"ml/p": 1}, 1)


@pytest.mark.parametrize(
    "over",
    [
        {"status": {"phase": "Succeeded"}},
        {"status": {"phase": "Failed"}},
        {"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)
def test_a_pod_that_is_over_is_not_looked_at(over: Raw) -> None:
    detection = of(policies=("ml/p",))
    assert detection.see(pod(**over), ML) is None
    assert detection.finish() == Round({}, {}, 0)


@pytest.mark.parametrize("raw", [None, [], {}, {"metadata": {"name": 5}}])
def test_what_is_no_pod_is_not_looked_at(raw: object) -> None:
    detection = of()
    assert detection.see(raw, ML) is None
    assert detection.finish().looked_at == 0


@pytest.mark.parametrize("status", [None, {}, {"phase": "Pending"}])
def test_a_pod_that_has_no_phase_yet_counts(status: object) -> None:
    assert of().see(pod(status=status), ML)


@pytest.mark.parametrize("spec", [None, "x", {}, {"containers": None}, {"containers": [None, {}]}])
def test_odd_specs_have_no_sidecar(spec: object) -> None:
    assert not has_sidecar({"spec": spec})


def test_policies_are_counted_by_the_pods_they_select() -> None:
    detection = of(policies=("ml/a", "podkey-system/b"))
    detection.see(pod("one"), ML)
    detection.see(pod("two"), ML)
    assert detection.finish().matched == {"ml/a": 2, "podkey-system/b": 2}
    detection.begin()
    assert detection.finish() == Round({}, {}, 0)


def test_one_round_tells_of_so_many_and_the_next_of_the_others() -> None:
    detection = of()
    pods = [pod(f"p{number}") for number in range(MOST_TOLD + 5)]
    assert sum(detection.see(one, ML) is not None for one in pods) == MOST_TOLD
    assert detection.finish().missing == {"ml": MOST_TOLD + 5}
    detection.begin()
    assert sum(detection.see(one, ML) is not None for one in pods) == 5


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 2)
    detection = of()
    for name in "abc":
        assert detection.see(pod(name), ML)
    assert detection.see(pod("c"), ML) is None
    assert detection.see(pod("a"), ML), "the oldest was forgotten"
