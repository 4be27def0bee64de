import pytest

from injector.core.api import (
    ACCESS_POLICIES,
    EVENTS,
    LEASES,
    NAMESPACE_ENDS,
    NAMESPACES,
    ClusterFault,
    ObjectKey,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (NAMESPACES.path(), "/api/v1/namespaces"),
        (NAMESPACES.path(name="ml"), "/api/v1/namespaces/ml"),
        (EVENTS.path("ml"), "/api/v1/namespaces/ml/events"),
        (LEASES.path("ml", "lead"), "/apis/coordination.k8s.io/v1/namespaces/ml/leases/lead"),
        (
            ACCESS_POLICIES.path("ml", "p", "status"),
            "/apis/podkey.io/v1alpha1/namespaces/ml/accesspolicies/p/status",
        ),
    ],
)
def test_a_path_names_what_is_asked_for(path: str, expected: str) -> None:
    assert path == expected


def test_no_name_leads_elsewhere() -> None:
    assert EVENTS.path("../x", "a/b?c", "../status") == (
        "/api/v1/namespaces/..%2Fx/events/a%2Fb%3Fc/..%2Fstatus"
    )


def test_a_key_reads_as_kubectl_shows_it() -> None:
    assert str(ObjectKey("ml", "train")) == "ml/train"
    assert str(ObjectKey("", "ml")) == "ml"


def test_a_fault_says_what_it_is() -> None:
    missing = ClusterFault(404, "NotFound", "it is not there")
    assert (missing.is_missing, missing.is_conflict, missing.is_expired) == (True, False, False)
    assert ClusterFault(403, NAMESPACE_ENDS, "").is_missing, "as good as gone"
    assert not ClusterFault(403, "Forbidden", "").is_missing
    assert ClusterFault(409, "Conflict", "").is_conflict
    assert ClusterFault(410, "Gone", "").is_expired
    assert ClusterFault(500, "Expired", "").is_expired, "as an ERROR event of an old server has it"
    assert str(missing) == missing.message == "it is not there"
