"""The searches find what is there: a secret is planted in each place."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.canary import Canary
from tests.pod_lab import Lab
from tests.pod_thefts import file_system, memory, sight, volumes
from tests.podman_pod import WholePod
from tests.sidecar_process import wait_for

# It has the secret in a variable, in its memory alone under another name, and in files; then it crashes.
LEAK: Final = """
import base64, os, resource, sys, threading
held = base64.b64decode(os.environ["LEAK"])
for path in ("/tmp/leaked", "/scratch/leaked"):
    open(path, "wb").write(bytes(10_000_000) + held)
os.chdir("/scratch")
if "--crash" in sys.argv:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.abort()
threading.Event().wait()
"""


@dataclass
class Planted:
    pod: WholePod
    # Not one that the pod may not have: it is looked for by these tests alone.
    canary: Canary


@pytest.fixture(scope="module")
def planted(lab: Lab) -> Iterator[Planted]:
    own = Canary()
    secret = own.secret("planted")
    with lab.playing("standing.yaml") as pod:
        leak = ["--env", f"LEAK={b64encode(secret.encode()).decode()}"]
        pod.exec("train", ["python3", "-c", LEAK], "--detach", *leak)
        work = pod.kubelet.volumes["work"]
        wait_for((work / "leaked").is_file, "the secret to be planted")
        assert pod.exec("train", ["python3", "-c", LEAK, "--crash"], *leak).returncode == 128 + 6
        yield Planted(pod, own)


def test_a_search_of_the_file_system_finds_it(planted: Planted) -> None:
    found = file_system(planted.pod, "train", planted.canary).findings

    assert found == ["planted (as it is) in tmp/leaked"]


def test_a_search_of_the_volumes_finds_it_in_files_and_cores(planted: Planted) -> None:
    found = volumes(planted.pod, "train", planted.canary)

    places = {one.partition(" in ")[2] for one in found["work"].findings}
    assert "leaked" in places
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith("core"):
        assert any(one.startswith("core") for one in places)
    assert found["podkey-trust"].findings == []


def test_what_the_application_sees_has_it(planted: Planted) -> None:
    found = sight(planted.pod, "train", planted.canary).searched.findings

    held = "as it is"
    for wanted in ("base64", "/environ"), (held, "/mem/"), (held, "/tmp/leaked"), (held, "/scratch/"):
        assert any(all(word in one for word in wanted) for one in found), wanted


def test_a_search_of_memory_finds_it(planted: Planted) -> None:
    looked = memory(planted.pod, "train", planted.canary)

    (found,) = (one for name, one in looked.items() if "train.py" not in name)
    assert any("planted (as it is)" in one for one in found.findings)
