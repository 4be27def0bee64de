from injector.core.cluster import ClusterFacts, Namespace
from injector.engine.rehearsal import rehearsal_world, rehearse
from proxy.core.contract import INJECTED
from proxy.services.loader import built_in_catalogue
from tests.admission_world import ALL, SETTINGS, codes, first, outcome_of
from tests.cluster_policies import limits, policy, source
from tests.sample_pods import raw_pod

ML = Namespace("ml", {**ALL, "team": "vision"})


def world(*documents: object) -> object:
    return rehearsal_world(documents, built_in_catalogue(), [ML], SETTINGS, ClusterFacts())  # type: ignore[arg-type]


def test_a_rehearsal_is_what_the_webhook_answers_and_what_the_server_makes_of_it() -> None:
    made = rehearse(raw_pod(), "ml", world(), first)  # type: ignore[arg-type]

    assert codes(outcome_of(made.answer)) == ["inject: every_pod", "warn: no_policy"]
    assert {operation["op"] for operation in made.patch} == {"add"}
    assert made.pod["metadata"]["annotations"][INJECTED]


def test_a_pod_that_is_left_alone_has_no_patch() -> None:
    for pod in (raw_pod(hostNetwork=True), {"metadata": {"name": "x"}, "spec": 7}, {"metadata": []}):
        made = rehearse(pod, "ml", world(), first)  # type: ignore[arg-type]
        assert (made.patch, made.pod) == ([], pod)


def test_policies_are_in_force_as_far_as_the_platform_lets_them() -> None:
    openai = policy({"service": "openai", "credential": "one"}, accounts=["default"])
    free, limited = (
        rehearse(raw_pod(), "ml", world(openai, source(), *more), first)  # type: ignore[arg-type]
        for more in ((), (limits(services=["huggingface"]),))
    )

    assert codes(outcome_of(free.answer)) == ["inject: every_pod", "inject: policy_selects"]
    assert codes(outcome_of(limited.answer)) == ["inject: every_pod", "warn: no_policy"]
