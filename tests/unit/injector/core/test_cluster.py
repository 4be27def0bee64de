import pytest

from injector.core.cluster import ALLOWS_REDIRECT, ClusterFacts, Namespace, PodNeeds, PodSecurity


def test_only_the_privileged_level_allows_the_capability_that_a_redirect_takes() -> None:
    assert {PodSecurity.PRIVILEGED} == ALLOWS_REDIRECT


def test_what_is_not_known_of_a_cluster_is_that_it_is_of_today() -> None:
    assert ClusterFacts().native_sidecars


def test_values_are_compared_by_what_they_hold_and_cannot_be_changed() -> None:
    namespace = Namespace("ml", {"a": "b"})
    assert namespace == Namespace("ml", {"a": "b"})
    assert PodNeeds() == PodNeeds((), (), (), (), ())
    with pytest.raises(AttributeError):
        namespace.name = "other"  # type: ignore[misc]
