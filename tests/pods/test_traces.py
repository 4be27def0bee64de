"""A whole pod leaves nothing behind: no container, no mount, no rule, no folder."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.pod_lab import Lab
from tests.podman_pod import PREFIX, WholePod, engine, sweep, what_is_missing


def names(kind: str) -> set[str]:
    shown = {
        "pod": ["pod", "ls", "--format", "{{.Name}}"],
        "container": ["ps", "-a", "--format", "{{.Names}}"],
    }
    return set(engine(*shown[kind]).stdout.decode().split())


def test_a_pod_leaves_nothing_behind_also_when_a_test_fails(lab: Lab) -> None:
    left: list[WholePod] = []

    def fail() -> None:
        with lab.playing("standing.yaml") as pod:
            left.append(pod)
            assert pod.name in names("pod")
            assert any(str(pod.folder) in line for line in mounts())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    (pod,) = left
    assert pod.name not in names("pod")
    assert not any(one.startswith(pod.name) for one in names("container"))
    assert not any(str(pod.folder) in line for line in mounts())
    assert not pod.folder.exists()
    rules = ["nsenter", f"--net=/run/netns/{lab.pod.network.pod}", "nft", "list", "ruleset"]
    assert subprocess.run(rules, capture_output=True, check=True).stdout == b""


def mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def test_what_a_killed_test_left_is_swept_away() -> None:
    if missing := what_is_missing():
        pytest.skip(missing)
    gone = subprocess.Popen(["true"])
    gone.wait()
    orphan = f"{PREFIX}-{gone.pid}-1"
    engine("pod", "create", "--network", "none", orphan)
    own = f"{PREFIX}-{os.getpid()}-sweep"
    engine("pod", "create", "--network", "none", own)
    try:
        sweep()
        assert orphan not in names("pod")
        assert own in names("pod")
    finally:
        engine("pod", "rm", "--force", "--ignore", orphan)
        engine("pod", "rm", "--force", "--ignore", own)
