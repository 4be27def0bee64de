"""How long the redirect takes by itself: without the engine, and with what its container may use of a CPU."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
import yaml

from tests.pod_lab import FIGURES, Lab, inject
from tests.podman_pod import PROXY, engine

TIMES: Final = 3
# Inside of the container, so that starting that is not counted.
TIMED: Final = """
import json, os, subprocess, sys, time
wall, cpu = [], []
for _ in range(int(sys.argv[1])):
    began, used = time.perf_counter(), os.times()
    subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
    now = os.times()
    wall.append(time.perf_counter() - began)
    cpu.append(now.children_user + now.children_system - used.children_user - used.children_system)
print(json.dumps([wall, cpu]))
"""


@pytest.fixture(scope="module")
def redirect() -> dict[str, Any]:
    pod = yaml.safe_load(inject("job.yaml", "--image", PROXY))
    found: dict[str, Any] = pod["spec"]["initContainers"][0]
    return found


@pytest.fixture
def network(lab: Lab) -> Iterator[str]:
    ns = lab.pod.network.pod
    yield ns
    image = ["run", "--rm", "--network", "host", "--user", "0:0", "--cap-add", "NET_ADMIN"]
    engine(*image, PROXY, "redirect", "remove", ns=ns)


def measured(ns: str, command: Sequence[str], *options: str) -> tuple[list[float], list[float]]:
    """On the clock, and of a CPU, `nft` with it."""
    argv = ["run", "--rm", "--network", "host", "--read-only", "--user", "0:0"]
    argv += ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--entrypoint", "python3", *options]
    done = engine(*argv, PROXY, "-c", TIMED, str(TIMES), *command, ns=ns)
    wall, cpu = json.loads(done.stdout)
    return wall, cpu


def test_the_redirect_loads_within_its_limits(network: str, lab: Lab, redirect: dict[str, Any]) -> None:
    command, limit = redirect["command"], redirect["resources"]["limits"]["cpu"]
    cpus = float(limit[:-1]) / 1000 if limit.endswith("m") else float(limit)

    alone, used = measured(network, command)
    limited, _ = measured(network, command, f"--cpus={cpus}")

    FIGURES[f"`{' '.join(command)}`, by itself"] = alone
    FIGURES["its CPU"] = used
    FIGURES[f"the same with {cpus} CPU, which its container has"] = limited
    assert len(alone) == len(limited) == TIMES
