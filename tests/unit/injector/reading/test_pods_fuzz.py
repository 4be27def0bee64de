import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.reading.pod_fields import PodFault
from injector.reading.pods import Pod, read_pod

# Every key that the reader knows, so that arbitrary JSON gets past the first level.
KEYS = [
    *("metadata", "spec", "name", "generateName", "namespace", "labels", "annotations", "ownerReferences"),
    *("controller", "kind", "uid", "containers", "initContainers", "ephemeralContainers", "env", "envFrom"),
    *("value", "valueFrom", "secretKeyRef", "secretRef", "key", "items", "secret", "secretName", "projected"),
    *(
        "sources",
        "serviceAccountToken",
        "audience",
        "hostPath",
        "path",
        "volumes",
        "volumeMounts",
        "mountPath",
    ),
    *("readOnly", "volumeDevices", "ports", "containerPort", "resources", "limits", "requests", "claims"),
    *("resourceClaims", "securityContext", "runAsUser", "runAsGroup", "capabilities", "add", "fsGroup"),
    *("supplementalGroups", "procMount", "privileged", "os", "nodeSelector", "restartPolicy", "hostNetwork"),
]

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1", "/", "x"]),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
    max_leaves=60,
)
SOUND: dict[str, Any] = {
    "metadata": {"labels": {"a": "b"}, "ownerReferences": [{"kind": "Job", "name": "x", "controller": True}]},
    "spec": {
        "containers": [
            {
                "name": "app",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "envFrom": [{"secretRef": {"name": "s"}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"nvidia.com/gpu": "1"}, "claims": [{"name": "c"}]},
                "securityContext": {"runAsUser": 1000, "capabilities": {"add": ["NET_ADMIN"]}},
            }
        ],
        "volumes": [
            {"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}]}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "a"}}]}},
            {"name": "h", "hostPath": {"path": "/"}},
        ],
        "securityContext": {"fsGroup": 1, "supplementalGroups": [2]},
        "resourceClaims": [{"name": "c"}],
    },
}


def reads_or_faults(raw: object) -> None:
    message = ""
    try:
        assert isinstance(read_pod(raw, "ml"), Pod)
    except PodFault as fault:
        message = fault.message
    assert len(message) < 500
    assert message.isprintable()


@given(JSON)
def test_any_json_is_a_pod_or_a_fault(raw: object) -> None:
    reads_or_faults(raw)


def places(value: object) -> list[tuple[Any, ...]]:
    """The paths of everything in a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *below) for key, part in parts for below in places(part))]


@given(st.sampled_from(places(SOUND)[1:]), JSON)
def test_a_sound_pod_with_anything_in_any_place_is_a_pod_or_a_fault(
    place: tuple[Any, ...], new: object
) -> None:
    raw = deepcopy(SOUND)
    holder: Any = raw
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = new
    reads_or_faults(raw)


@given(JSON)
def test_reading_changes_nothing(raw: object) -> None:
    before = json.dumps(raw)
    reads_or_faults(raw)
    assert json.dumps(raw) == before
