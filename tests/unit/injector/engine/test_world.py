from injector.core.cluster import ClusterFacts
from tests.admission_world import a_world


def test_kubelets_are_new_until_somebody_has_seen_an_old_one() -> None:
    assert a_world().facts == ClusterFacts() == ClusterFacts(native_sidecars=True)
