"""What must be so for any pod: nothing of the user's changes, and a second call finds nothing to do."""

import copy
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.core.outcome import Inject
from injector.craft.trust_variables import JAVA_OPTIONS
from injector.engine.world import World
from injector.reading.annotations import INJECTOR_ANNOTATIONS
from tests.admission_world import asked, outcome_of, patched
from tests.injected_pods import containers, theirs
from tests.injector_pods import pods, touched, worlds

OUR_DEFAULT = "kubectl.kubernetes.io/default-container"


def injected(pod: dict[str, Any], world: World) -> dict[str, Any]:
    answer = asked(pod, world)
    assert isinstance(outcome_of(answer), Inject), answer.message
    return patched(pod, answer)


def without_ours(made: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The pod again, as far as it was somebody else's; lists and maps that we made are gone."""
    pod = copy.deepcopy(made)
    annotations = pod["metadata"]["annotations"]
    given = before["metadata"].get("annotations") or {}
    for name in INJECTOR_ANNOTATIONS | {OUR_DEFAULT}:
        if name not in given:
            annotations.pop(name, None)
    spec = pod["spec"]
    spec["volumes"] = [one for one in spec["volumes"] if not one["name"].startswith("podkey-")]
    for kind in ("containers", "initContainers"):
        spec[kind] = [one for one in spec.get(kind) or [] if one["name"] not in {"podkey", "podkey-redirect"}]
    for one, old in zip(containers(pod), containers(before), strict=True):
        one["volumeMounts"] = [m for m in one.get("volumeMounts") or [] if m["name"] != "podkey-trust"]
        trust = {"configMapRef": {"name": "podkey-trust", "optional": True}}
        one["envFrom"] = [entry for entry in one.get("envFrom") or [] if entry != trust]
        # Ours stand behind all of theirs.
        one["env"] = (one.get("env") or [])[: len(old.get("env") or [])]
        for entry in one["env"]:
            if entry["name"] == "JAVA_TOOL_OPTIONS" and "value" in entry:
                entry["value"] = entry["value"].removesuffix(JAVA_OPTIONS).removesuffix(" ")
    return pod


def emptied(value: Any) -> Any:
    """Absent, null and empty are the same to Kubernetes."""
    if isinstance(value, dict):
        kept = {key: emptied(child) for key, child in value.items()}
        return {key: child for key, child in kept.items() if child not in (None, [], {}, "")}
    return [emptied(child) for child in value] if isinstance(value, list) else value


def names(listed: list[dict[str, Any]] | None, key: str = "name") -> Counter[str]:
    return Counter(one[key] for one in listed or ())


@given(pods(), worlds())
def test_property_nothing_of_the_users_is_touched_moved_or_set_twice(
    pod: dict[str, Any], world: World
) -> None:
    made = injected(pod, world)

    assert emptied(without_ours(made, pod)) == emptied(pod)
    assert [one["name"] for one in theirs(made)] == [one["name"] for one in containers(pod)]
    assert max(names(made["spec"]["volumes"]).values()) == 1
    assert max(names(list(containers(made))).values()) == 1
    for one in containers(made):
        assert max(names(one.get("volumeMounts"), "mountPath").values(), default=1) == 1
    for one, old in zip(theirs(made), containers(pod), strict=True):
        added = names(one.get("env")) - names(old.get("env"))
        assert max(added.values(), default=1) == 1
        assert not added & names(old.get("env"))


@given(pods(), worlds())
def test_property_twice_is_once(pod: dict[str, Any], world: World) -> None:
    made = injected(pod, world)
    again = asked(made, world)

    assert isinstance(outcome_of(again), Inject)
    assert again.patch == b""


@given(pods(), worlds(), st.data())
def test_property_what_others_do_between_two_calls_is_kept_and_the_third_call_does_nothing(
    pod: dict[str, Any], world: World, data: st.DataObject
) -> None:
    between = data.draw(touched(injected(pod, world)))
    made = injected(between, world)

    assert [one["name"] for one in theirs(made)] == [one["name"] for one in theirs(between)]
    assert max(names(made["spec"]["volumes"]).values()) == 1
    assert max(names(list(containers(made))).values()) == 1
    third = data.draw(touched(made)) if names(list(containers(made)))["mesh"] == 0 else made
    last = injected(third, world)
    assert asked(last, world).patch == b""
    if third is made:
        assert last == made
