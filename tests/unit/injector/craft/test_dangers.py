from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.outcome import Finding
from injector.craft.dangers import (
    DANGEROUS_CAPABILITIES,
    dangerous_capabilities,
    dangers_of,
    user_of,
    users_unknown,
)
from injector.reading.pods import Pod
from proxy.core.injection_codes import InjectionCode
from tests.sample_pods import sample_pod


def dangers(*containers: dict[str, Any], **spec: Any) -> list[Finding]:
    return list(dangers_of(sample_pod(*containers, **spec)))


def codes(*containers: dict[str, Any], **spec: Any) -> list[InjectionCode]:
    return [finding.code for finding in dangers(*containers, **spec)]


def secured(**security: Any) -> dict[str, Any]:
    return {"securityContext": security}


def test_a_plain_pod_is_no_danger() -> None:
    assert dangers() == []


# --- who it runs as -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pod",
    [
        sample_pod(secured(runAsUser=1337)),
        sample_pod(secured(), securityContext={"runAsUser": 1337}),
        sample_pod(secured(runAsUser=None), securityContext={"runAsUser": 1337}),
        sample_pod(initContainers=[{"name": "init", **secured(runAsUser=1337)}]),
        sample_pod(ephemeralContainers=[{"name": "debug", **secured(runAsUser=1337)}]),
        # Every container has another user, but one that is added later would inherit it.
        sample_pod(secured(runAsUser=1000), securityContext={"runAsUser": 1337}),
    ],
)
def test_the_sidecars_user_is_refused_wherever_it_stands(pod: Pod) -> None:
    (found,) = dangers_of(pod)
    assert found.code is InjectionCode.PROXY_UID
    assert "user 1337" in found.message


@pytest.mark.parametrize("user", [0, 1, 1336, 1338, -1337, 65534, 2**31 - 1])
def test_other_users_are_not(user: int) -> None:
    assert dangers(secured(runAsUser=user)) == []


def test_the_containers_user_goes_before_the_pods() -> None:
    pod = sample_pod(secured(runAsUser=0), secured(), securityContext={"runAsUser": 7})
    assert [user_of(pod, container) for container in pod.containers] == [0, 7]
    assert user_of(sample_pod(secured()), sample_pod(secured()).containers[0]) is None


def test_the_sidecar_itself_may_have_its_user() -> None:
    ours = [{"name": "podkey", **secured(runAsUser=1337, runAsGroup=1337)}]
    assert dangers(initContainers=ours) == []
    # Not as an ephemeral container, which the injector never writes.
    assert dangers(ephemeralContainers=ours) != []


@pytest.mark.parametrize(
    ("container", "pod"),
    [
        (secured(runAsUser=1, runAsGroup=1337), {}),
        ({}, {"runAsGroup": 1337}),
        ({}, {"fsGroup": 1337}),
        ({}, {"supplementalGroups": [5, 1337]}),
    ],
)
def test_the_sidecars_group_is_refused_in_all_four_places(
    container: dict[str, Any], pod: dict[str, Any]
) -> None:
    (found,) = dangers(container, securityContext=pod)
    assert found.code is InjectionCode.PROXY_UID
    assert "group 1337" in found.message


def test_other_groups_are_fine() -> None:
    assert dangers(securityContext={"runAsGroup": 0, "fsGroup": 100, "supplementalGroups": [1, 2]}) == []


def test_istios_proxy_has_our_user_and_is_told_how_to_stay_out() -> None:
    (found,) = dangers({}, {"name": "istio-proxy", **secured(runAsUser=1337)})
    assert "sidecar.istio.io/inject" in found.fix


def test_an_image_decides_where_nobody_says_a_user() -> None:
    pod = sample_pod(
        secured(),
        {"name": "b", **secured(runAsNonRoot=True)},
        {"name": "c", **secured(runAsUser=5)},
        initContainers=[{"name": "d"}, {"name": "podkey"}],
    )
    (found,) = users_unknown(pod)
    assert found.code is InjectionCode.USER_UNKNOWN
    assert "init container `d`, container `app`, container `b`" in found.message
    assert "`c`" not in found.message
    assert "`podkey`" not in found.message
    assert list(users_unknown(sample_pod(secured(), securityContext={"runAsUser": 5}))) == []


# --- what it may do -------------------------------------------------------------------------------


def test_shared_processes() -> None:
    assert codes(shareProcessNamespace=True) == [InjectionCode.SHARED_PROCESSES]
    assert codes(shareProcessNamespace=False) == []


@pytest.mark.parametrize("place", ["containers", "initContainers", "ephemeralContainers"])
def test_privileged_containers_of_every_kind(place: str) -> None:
    pod = sample_pod(**{place: [{"name": "x", **secured(runAsUser=1, privileged=True)}]})
    assert [finding.code for finding in dangers_of(pod)] == [InjectionCode.PRIVILEGED]


def test_an_unmasked_proc_is_a_privilege() -> None:
    (found,) = dangers(secured(runAsUser=1, procMount="Unmasked"))
    assert found.code is InjectionCode.PRIVILEGED
    assert "procMount" in found.message
    assert dangers(secured(runAsUser=1, procMount="Default")) == []


@pytest.mark.parametrize("name", DANGEROUS_CAPABILITIES)
def test_a_capability_counts_in_any_spelling_that_a_runtime_takes(name: str) -> None:
    for spelled in (name, f"CAP_{name}", name.lower(), f"cap_{name.lower()}", name.title()):
        (found,) = dangers(secured(runAsUser=1, capabilities={"add": ["CHOWN", spelled]}))
        assert found.code is InjectionCode.CAPABILITY
        assert f"adds {name}" in found.message
        assert DANGEROUS_CAPABILITIES[name] in found.fix
        # Linkerd's and Consul's webhooks add containers that have some.
        assert found.fix.endswith(
            "where another webhook adds it: exempt the pod there, or set `onDanger: warn`"
        )


def test_what_containers_have_anyway_or_drop_is_no_danger() -> None:
    harmless = {
        "add": ["IPC_LOCK", "SETUID", "SETGID", "SYS_NICE", "NET_BIND_SERVICE"],
        "drop": ["ALL", "NET_RAW"],
    }
    assert dangers(secured(runAsUser=1, capabilities=harmless)) == []


def test_one_danger_of_many_containers_is_told_once() -> None:
    many = [{"name": f"c{i}", **secured(privileged=True, runAsUser=1337)} for i in range(200)]
    found = dangers(*many)
    assert [finding.code for finding in found] == [InjectionCode.PROXY_UID, InjectionCode.PRIVILEGED]
    assert all("and 195 more" in finding.message for finding in found)
    assert all(len(str(finding)) < 400 for finding in found)


def test_the_dangers_come_in_one_order() -> None:
    worst = secured(
        runAsUser=1337, runAsGroup=1337, privileged=True, procMount="Unmasked", capabilities={"add": ["ALL"]}
    )
    assert codes(worst, shareProcessNamespace=True) == [
        InjectionCode.PROXY_UID,
        InjectionCode.PROXY_UID,
        InjectionCode.SHARED_PROCESSES,
        InjectionCode.PRIVILEGED,
        InjectionCode.PRIVILEGED,
        InjectionCode.CAPABILITY,
    ]


@given(st.lists(st.text(max_size=12) | st.sampled_from(sorted(DANGEROUS_CAPABILITIES))))
def test_only_known_names_are_dangerous_capabilities(added: list[str]) -> None:
    container = sample_pod(secured(capabilities={"add": added})).containers[0]
    assert set(dangerous_capabilities(container)) <= DANGEROUS_CAPABILITIES.keys()
    assert set(added) & DANGEROUS_CAPABILITIES.keys() <= set(dangerous_capabilities(container))
