from typing import Any

import pytest

from injector.reading.pod_fields import PodFault
from injector.reading.pod_limits import MAX_ANNOTATIONS, MAX_CONTAINERS, MAX_IN_CONTAINERS, MAX_VOLUMES
from injector.reading.pods import read_pod
from tests.sample_pods import raw_pod


def test_there_may_be_so_many_containers_and_no_more() -> None:
    many = raw_pod(*({"name": f"c{index}"} for index in range(MAX_CONTAINERS)))
    assert len(read_pod(many, "ml").containers) == MAX_CONTAINERS
    many["spec"]["initContainers"] = [{"name": "one-more"}]
    with pytest.raises(PodFault, match="751 containers, and may have 750"):
        read_pod(many, "ml")


def test_there_may_be_so_many_volumes_and_no_more() -> None:
    many = raw_pod({}, volumes=[{"name": f"v{index}"} for index in range(MAX_VOLUMES)])
    assert len(read_pod(many, "ml").volumes) == MAX_VOLUMES
    many["spec"]["volumes"].append({})
    with pytest.raises(PodFault, match="1001 volumes, and may have 1000"):
        read_pod(many, "ml")


def test_there_may_be_so_many_annotations_and_no_more() -> None:
    many = raw_pod({}, annotations={f"a{index}": "" for index in range(MAX_ANNOTATIONS)})
    assert len(read_pod(many, "ml").annotations) == MAX_ANNOTATIONS
    many["metadata"]["annotations"]["one-more"] = ""
    with pytest.raises(PodFault, match="10001 annotations, and may have 10000"):
        read_pod(many, "ml")


ENTRIES: dict[str, dict[str, Any]] = {
    "env": {"name": "A"},
    "envFrom": {},
    "ports": {},
    "volumeDevices": {},
    "volumeMounts": {},
}


@pytest.mark.parametrize("key", MAX_IN_CONTAINERS)
def test_what_containers_have_counts_in_all_of_them_together(key: str) -> None:
    most = MAX_IN_CONTAINERS[key]
    half = [ENTRIES[key]] * (most // 2)
    pod = raw_pod({key: half}, initContainers=[{"name": "init", key: half}])
    assert len(read_pod(pod, "ml").all_containers) == 2
    pod["spec"]["ephemeralContainers"] = [{"name": "more", key: [ENTRIES[key]]}]
    with pytest.raises(PodFault, match=rf"has {most + 1} `{key}` in its containers, and may have {most}"):
        read_pod(pod, "ml")


def test_a_pod_with_too_much_is_told_before_any_of_it_is_looked_at() -> None:
    # The second of them is of the wrong type.
    many = raw_pod({}, volumes=[{}, "x"] * MAX_VOLUMES)
    with pytest.raises(PodFault, match="2000 volumes"):
        read_pod(many, "ml")
