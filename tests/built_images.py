"""The images that `make images` made, and what a container of one says about itself."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
REPOSITORY: Final = os.environ.get("REPOSITORY", "localhost/podkey")
TAG: Final = os.environ.get("TAG", "dev")
PROXY: Final = f"{REPOSITORY}/proxy:{TAG}"
INJECTOR: Final = f"{REPOSITORY}/injector:{TAG}"

# What pods run with: nothing may be written, nothing is allowed. podman would give /tmp and /run a tmpfs.
AS_IN_A_POD: Final = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def engine(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "images" / "engine", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@cache
def is_podman() -> bool:
    return "podman" in engine("--print").stdout.splitlines()


@cache
def why_no_engine() -> str:
    if not any(shutil.which(name) for name in ("podman", "docker")):
        return "neither podman nor docker is installed"
    if engine("version").returncode:
        return "podman or docker is installed, but does not answer (docker's daemon, or root for podman)"
    return ""


@cache
def why_missing() -> str:
    """Why there is nothing to test; empty when both images are there, and of this state of the tree."""
    if reason := why_no_engine():
        return reason
    tree = subprocess.run(
        [ROOT / "images" / "build", "tree"], capture_output=True, text=True, check=True
    ).stdout.strip()
    for image in (PROXY, INJECTOR):
        found = engine("image", "inspect", image)
        if found.returncode:
            return f"there is no {image}: run make images"
        if configuration(image)["Labels"].get("io.podkey.tree") != tree:
            return f"{image} was built from another state of the tree: run make images"
    return ""


def configuration(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine("image", "inspect", image).stdout)[0]["Config"]
    return found


def run(image: str, *arguments: str, program: str = "") -> "subprocess.CompletedProcess[str]":
    """A container as a pod would have it; `program` in place of the image's own."""
    tmpfs = ["--read-only-tmpfs=false"] if is_podman() else []
    entry = [f"--entrypoint={program}"] if program else []
    return engine("run", "--rm", *AS_IN_A_POD, *tmpfs, *entry, image, *arguments)


def ask_python(image: str, source: str) -> Any:
    """What a program says, in JSON, that the image's own Python runs."""
    done = run(image, "-ISc", source, program="python3")
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)
