"""The injector's engine without a cluster: a world to judge by, reviews to ask with, and answers applied."""

import copy
import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jsonpatch

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.outcome import Inject, Outcome, Refuse, Skip
from injector.core.settings import InjectorSettings, PodRules, SidecarSettings
from injector.craft.jsonpatch import Op, Operation, apply
from injector.engine.mutate import mutate
from injector.engine.world import World
from injector.reading.reviews import Answer, Review, read_review, render_answer
from proxy.core.contract import INJECT
from tests.cluster_policies import book

REVIEWS: Final = Path(__file__).parent / "data" / "k8s" / "admissionreviews"
CAPTURED: Final = sorted(path.stem for path in REVIEWS.glob("*.json"))

SETTINGS: Final = InjectorSettings(SidecarSettings(image="registry.test/podkey:1"))
ALL: Final = {INJECT: "all"}
ENABLED: Final = {INJECT: "enabled"}


def first(alphabet: str, count: int) -> str:
    """Stands for chance."""
    return alphabet[0] * count


def a_world(
    *documents: RawDocument,
    labels: Mapping[str, str] | None = None,
    namespaces: Iterable[Namespace] = (),
    settings: InjectorSettings | None = None,
    rules: PodRules | None = None,
    native: bool = True,
) -> World:
    """`labels` are those of the namespaces `ml` and `team-a`, where the captured pods are."""
    known = [Namespace(name, ALL if labels is None else labels) for name in ("ml", "team-a")]
    return World(
        namespaces={namespace.name: namespace for namespace in (*known, *namespaces)},
        book=book(*documents),
        settings=settings
        or (SETTINGS if rules is None else InjectorSettings(sidecar=SETTINGS.sidecar, pods=rules)),
        facts=ClusterFacts(native_sidecars=native),
    )


def captured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REVIEWS / f"{name}.json").read_bytes())
    return found


def body(pod: object, *, namespace: str = "ml", **request: Any) -> bytes:
    """As an API server sends it. Fields of the request that are `...` are left out."""
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    fields = {
        "uid": "7a7ca8a1-7e4b-4d8b-8b4f-0e1d3f8f2c11",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": metadata.get("name") if isinstance(metadata, dict) else None,
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {"username": "alice"},
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        **request,
    }
    given = {key: value for key, value in fields.items() if value is not ...}
    whole = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": given}
    return json.dumps(whole).encode()


def a_review(pod: object, **request: Any) -> Review:
    read = read_review(body(pod, **request))
    assert isinstance(read, Review), read
    return read


def asked(pod: object, world: World, **request: Any) -> Answer:
    return mutate(a_review(pod, **request), world, first)


def outcome_of(answer: Answer) -> Outcome:
    assert answer.outcome is not None
    return answer.outcome


def codes(outcome: Outcome) -> list[str]:
    """`inject: accelerator`, and the warnings as `warn: user_unknown`."""
    name = {Inject: "inject", Skip: "skip", Refuse: "refuse"}[type(outcome)]
    reasons = [f"{name}: {finding.code.value}" for finding in outcome.reasons]
    return [*reasons, *(f"warn: {finding.code.value}" for finding in outcome.warnings)]


def patched(pod: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """By two implementations of RFC 6902, from the bytes that the API server gets."""
    response = json.loads(render_answer(answer))["response"]
    assert response["allowed"], response
    patch = json.loads(b64decode(response["patch"])) if "patch" in response else []
    before = copy.deepcopy(pod)
    theirs: dict[str, Any] = jsonpatch.apply_patch(pod, patch)
    ours = apply(pod, [operation(one) for one in patch])
    assert pod == before
    assert ours == theirs
    return copy.deepcopy(theirs)


def operation(written: Mapping[str, Any]) -> Operation:
    path = written["path"].split("/")[1:]
    tokens = (token.replace("~1", "/").replace("~0", "~") for token in path)
    return Operation(Op(written["op"]), tuple(tokens), written.get("value"))
