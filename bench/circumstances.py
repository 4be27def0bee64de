"""On what the figures depend: the machine, the versions, and which Python ours is."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.ground import LOAD_CORES, PROXY_CORE
from bench.peers import envoy, podkey
from tests.netns import MISSING as NO_NAMESPACES

NEEDED: Final = ("nginx", "wrk", "curl", "taskset")


# What each says in a line of its own, behind a word or two.
VERSIONS: Final = (
    ("Envoy", (str(envoy.BINARY), "--version")),
    ("nginx", ("nginx", "-v")),
    ("HAProxy", ("haproxy", "-v")),
)


def why_not() -> str:
    """Why nothing can be measured here; empty when it can."""
    if NO_NAMESPACES:
        return f"{NO_NAMESPACES}; the lanes are measured in network namespaces of their own"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install nginx wrk curl util-linux)"
    return ""


def circumstances() -> dict[str, str]:
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in facts if line.startswith("model name")), "?")
    load = ", ".join(map(str, sorted(LOAD_CORES)))
    checkout = "this checkout, whose Python is slower than the image's (make images)"
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{model}, {os.cpu_count()} cores, Linux {platform.release()}",
        "cores": f"the subject on {PROXY_CORE}, load and upstream on {load}",
        "podkey": "the image of this tree" if podkey.image_root() else checkout,
        **dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name, command in VERSIONS:
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            line = (done.stdout + done.stderr).strip().splitlines()[0]
            yield name, line.rpartition("version: ")[2]
