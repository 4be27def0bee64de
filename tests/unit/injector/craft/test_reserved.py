from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.outcome import Finding
from injector.craft.reserved import (
    is_named_our_volume,
    is_reserved,
    normal_path,
    reserved_uses,
    secret_volume_number,
)
from proxy.core.injection_codes import InjectionCode
from tests.sample_pods import sample_pod

TRUST = {"name": "podkey-trust", "mountPath": "/etc/podkey/ca", "readOnly": True}


def uses(*containers: dict[str, Any], **spec: Any) -> list[Finding]:
    return list(reserved_uses(sample_pod(*containers, **spec)))


def mounting(path: str, volume: str = "data", **more: Any) -> dict[str, Any]:
    return {"volumeMounts": [{"name": volume, "mountPath": path, **more}]}


# --- containers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["podkey-other", "podkey-", "podkey-redirect"])
def test_an_application_container_of_a_reserved_name_is_refused(name: str) -> None:
    (found,) = uses({"name": name})
    assert found.code is InjectionCode.RESERVED_CONTAINER
    assert f"`{name}`" in found.message


@pytest.mark.parametrize("name", ["app", "podkeys", "my-podkey", "Podkey", ""])
def test_other_names_are_anybodys(name: str) -> None:
    assert uses({"name": name}) == []


def test_an_ephemeral_container_is_never_ours() -> None:
    (found,) = uses(ephemeralContainers=[{"name": "podkey"}])
    assert found.code is InjectionCode.RESERVED_CONTAINER


def test_where_ours_would_stand_the_content_decides_and_not_the_name() -> None:
    assert uses(initContainers=[{"name": "podkey-redirect"}, {"name": "podkey"}]) == []
    assert uses({"name": "podkey"}) == []


def test_two_of_one_of_our_names_are_one_too_many() -> None:
    (found,) = uses({"name": "podkey"}, initContainers=[{"name": "podkey"}])
    assert found.code is InjectionCode.RESERVED_CONTAINER
    assert found.message.count("`podkey`") == 2  # what is reserved, and what was found


# --- volumes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["podkey", "podkey-mine", "podkey-secret-", "podkey-secret-x", "podkey-secret-99999"]
)
def test_a_volume_of_a_reserved_name_that_we_never_write_is_refused(name: str) -> None:
    (found,) = uses(volumes=[{"name": name, "emptyDir": {}}])
    assert found.code is InjectionCode.RESERVED_VOLUME
    assert not is_named_our_volume(name)
    assert is_reserved(name)


@pytest.mark.parametrize(
    "name",
    ["podkey-state", "podkey-trust", "podkey-tokens", "podkey-policy", "podkey-pod", "podkey-secret-0"],
)
def test_a_volume_of_a_name_that_we_write_is_judged_by_its_content_elsewhere(name: str) -> None:
    assert uses(volumes=[{"name": name, "emptyDir": {}}]) == []
    assert is_named_our_volume(name)


@pytest.mark.parametrize(
    "mount",
    [
        {"name": "podkey-state", "mountPath": "/x"},
        {"name": "podkey-tokens", "mountPath": "/x", "readOnly": True},
        {"name": "podkey-secret-0", "mountPath": "/var/run/podkey/secrets/x"},
        {"name": "podkey-none", "mountPath": "/x"},
        # Ours is read-only, whole, and where it belongs.
        {**TRUST, "readOnly": False},
        {**TRUST, "mountPath": "/elsewhere"},
        {**TRUST, "subPath": "ca.pem"},
        {**TRUST, "subPathExpr": "$(X)"},
    ],
)
@pytest.mark.parametrize("place", ["containers", "initContainers", "ephemeralContainers"])
def test_an_application_mounts_none_of_our_volumes(place: str, mount: dict[str, Any]) -> None:
    found = uses(**{place: [{"name": "app", "volumeMounts": [mount]}]})
    assert [finding.code for finding in found] == [InjectionCode.RESERVED_VOLUME]


def test_nor_has_it_one_as_a_device() -> None:
    found = uses({"volumeDevices": [{"name": "podkey-state", "devicePath": "/dev/x"}]})
    assert [finding.code for finding in found] == [InjectionCode.RESERVED_VOLUME]


@pytest.mark.parametrize("place", ["containers", "initContainers", "ephemeralContainers"])
def test_nor_does_it_read_variables_from_one(place: str) -> None:
    def reading(volume: str) -> dict[str, Any]:
        reference = {"volumeName": volume, "path": "x", "key": "K"}
        env = [{"name": "A", "valueFrom": {"fileKeyRef": reference}}, {"name": "A", "value": "x"}]
        return {place: [{"name": "app", "env": env}]}

    (found,) = uses(**reading("podkey-state"))
    assert found.code is InjectionCode.RESERVED_VOLUME
    assert "(`podkey-state`)" in found.message
    assert uses(**reading("podkey-trust"))
    assert uses(**reading("data")) == []


def test_the_trust_bundle_as_we_mount_it_is_fine() -> None:
    assert uses({"volumeMounts": [TRUST]}, initContainers=[{"name": "init", "volumeMounts": [TRUST]}]) == []


def test_our_own_containers_mount_what_they_need() -> None:
    state = {"name": "podkey-state", "mountPath": "/var/run/podkey/state"}
    assert uses(initContainers=[{"name": "podkey", "volumeMounts": [state]}]) == []


def test_only_a_name_that_we_write_has_a_number() -> None:
    assert [secret_volume_number(f"podkey-secret-{text}") for text in ("0", "12", "9999")] == [0, 12, 9999]
    strange = (
        "0",
        "podkey-secret-",
        "podkey-secret-10000",
        f"podkey-secret-{'9' * 5000}",
        "podkey-secret-\u0663",
    )
    assert [secret_volume_number(name) for name in strange] == [None] * 5


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/podkey", "/etc/podkey/", "/etc/podkey/ca", "/etc/podkey/ca/ca.pem"),
        *(
            "//etc//podkey",
            "/etc/./podkey/x",
            "/tmp/../etc/podkey",
            "etc/podkey",
            "///etc/podkey",
            "/../etc/podkey",
        ),
        *("/var/run/podkey", "/run/podkey", "/run/podkey/state", "/var//run/./podkey/"),
        *("/var/run/podkey/tokens/..", "/opt/../../run/podkey/state/x"),
    ],
)
@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_nothing_is_mounted_at_or_below_our_paths(place: str, path: str) -> None:
    found = uses(**{place: [{"name": "app", **mounting(path)}]})
    assert [finding.code for finding in found] == [InjectionCode.RESERVED_PATH]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/data",
            "/etc/podkeys",
            "/etc/podkey-x",
            "/etc/ssl/certs",
            "/var/run/secrets/kubernetes.io/serviceaccount",
        ),
        *(
            "/run/secrets",
            "/var/lib/x",
            "/var/running",
            "/runs",
            "/dev/shm",
            "/etc/Podkey",
            "/home/run/podkey",
        ),
        # Above ours: nginx writes below /run, and roots that are read-only have emptyDirs there.
        *("/run", "/var/run", "/var//run/", "/var", "/etc", "/../etc", "/etc/podkey/..", "/", ""),
    ],
)
def test_other_paths_are_anybodys(path: str) -> None:
    assert uses(mounting(path)) == []


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("a/b", "/a/b"),
        ("/var/run", "/run"),
        ("/var/run/../x", "/var/x"),
        ("/var/runx", "/var/runx"),
    ],
)
def test_a_path_has_one_name(path: str, normal: str) -> None:
    assert normal_path(path) == normal


SEGMENTS = st.lists(st.sampled_from(["", ".", "..", "var", "run", "etc", "podkey", "x"]), max_size=8)


@given(SEGMENTS)
def test_a_normal_path_is_absolute_and_stays_as_it_is(segments: list[str]) -> None:
    path = normal_path("/".join(segments))
    assert path.startswith("/")
    assert not path.startswith("//")
    assert ".." not in path.split("/")
    assert normal_path(path) == path
    assert not f"{path}/".startswith("/var/run/")


def test_the_uses_come_in_one_order_and_each_once() -> None:
    bad = {
        "volumeMounts": [
            {"name": "podkey-state", "mountPath": "/x"},
            {"name": "y", "mountPath": "/etc/podkey"},
        ]
    }
    containers = [{"name": f"podkey-{index}", **bad} for index in range(30)]
    found = uses(*containers, volumes=[{"name": "podkey-mine"}])
    assert [finding.code for finding in found] == [
        InjectionCode.RESERVED_CONTAINER,
        InjectionCode.RESERVED_VOLUME,
        InjectionCode.RESERVED_VOLUME,
        InjectionCode.RESERVED_PATH,
    ]
    assert all(len(str(finding)) < 600 for finding in found)
