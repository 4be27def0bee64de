"""The images of the other architecture: `make images PLATFORM=…` makes them, and runs nothing of it."""

import json
import platform
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from proxy import __version__
from tests.built_images import INJECTOR, PROXY, configuration, engine, is_podman, why_no_engine

HERE: Final = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
OTHER: Final = {"amd64": "arm64", "arm64": "amd64"}.get(HERE, "")
# ELF's e_machine (System V ABI).
MACHINES: Final = {"amd64": 62, "arm64": 183}
EMULATOR: Final = {"arm64": "qemu-aarch64-static", "amd64": "qemu-x86_64-static"}.get(OTHER, "")
PROGRAMS: Final = {
    f"{PROXY}-{OTHER}": ("podkey", "proxy.edge.assembly"),
    f"{INJECTOR}-{OTHER}": ("podkey-injector", "injector.edge.assembly"),
}
EACH = pytest.mark.parametrize("image", PROGRAMS)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    reason = why_no_engine() or ("" if is_podman() else "looking into an image needs podman")
    for image in PROGRAMS:
        if not reason and engine("image", "inspect", image).returncode:
            reason = f"there is no {image}: run make images PLATFORM=linux/{OTHER}"
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def roots() -> Iterator[dict[str, Path]]:
    """Where their files can be read."""
    mounted = {image: engine("image", "mount", image) for image in PROGRAMS}
    if failed := next((done.stderr for done in mounted.values() if done.returncode), ""):
        pytest.skip(f"images cannot be mounted: {failed.strip()}")
    yield {image: Path(done.stdout.strip()) for image, done in mounted.items()}
    for image in PROGRAMS:
        engine("image", "unmount", image)


def machine_of(file: Path) -> int | None:
    """Of an ELF file."""
    with file.open("rb") as opened:
        head = opened.read(20)
    return struct.unpack_from("<H", head, 18)[0] if head[:4] == b"\x7fELF" else None


@EACH
def test_an_image_says_which_architecture_it_is_of(image: str) -> None:
    [found] = json.loads(engine("image", "inspect", image).stdout)
    assert (found["Os"], found["Architecture"]) == ("linux", OTHER)
    assert configuration(image)["Entrypoint"] == [PROGRAMS[image][0]]


@EACH
def test_every_program_and_library_is_of_that_architecture(image: str, roots: dict[str, Path]) -> None:
    files = [path for path in roots[image].rglob("*") if path.is_file() and not path.is_symlink()]
    machines = {path: machine for path in files if (machine := machine_of(path)) is not None}
    assert len([path for path in machines if "/opt/podkey/packages/" in str(path)]) > 5
    assert {str(path) for path, machine in machines.items() if machine != MACHINES[OTHER]} == set()


@EACH
def test_no_program_raises_its_rights(image: str, roots: dict[str, Path]) -> None:
    files = (path for path in roots[image].rglob("*") if path.is_file() and not path.is_symlink())
    assert [str(path) for path in files if path.stat().st_mode & 0o6000] == []


@EACH
def test_what_scripts_of_debian_make_is_there(image: str, roots: dict[str, Path]) -> None:
    root = roots[image]
    assert "root:x:0:0:" in (root / "etc/passwd").read_text()
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE") > 100
    nft = root / "usr/sbin/nft"
    assert nft.exists() == ("/proxy:" in image)


@EACH
def test_the_sbom_is_of_that_architecture(image: str, roots: dict[str, Path]) -> None:
    sbom = json.loads((roots[image] / "usr/share/podkey/sbom.cdx.json").read_text())
    found = [one["purl"] for one in sbom["components"] if one["purl"].startswith("pkg:deb/")]
    assert {purl.rpartition("arch=")[2] for purl in found} == {OTHER, "all"}
    assert any("/nftables@" in purl for purl in found) == ("/proxy:" in image)
    assert "mitmproxy" in {one["name"] for one in sbom["components"]} or "/injector:" in image


@EACH
def test_the_standard_library_and_ours_are_compiled(image: str, roots: dict[str, Path]) -> None:
    [library] = roots[image].glob("usr/lib/python3.*/json")
    for folder in (library, roots[image] / "opt/podkey/app/proxy/core"):
        sources = {path.stem for path in folder.glob("*.py")}
        compiled = {path.name.partition(".")[0] for path in folder.glob("__pycache__/*.opt-2.pyc")}
        assert sources == compiled
        # 1: found by a hash of the source that nobody checks (PEP 552).
        flags = {path.read_bytes()[4] for path in folder.glob("__pycache__/*.opt-2.pyc")}
        assert flags == {1}


@EACH
def test_it_runs(image: str, roots: dict[str, Path]) -> None:
    """By emulation; the modules that were compiled here are taken there."""
    if shutil.which(EMULATOR) is None:
        pytest.skip(f"{EMULATOR} is not installed. Debian: apt-get install qemu-user-static")
    root = roots[image]
    program, serves = PROGRAMS[image]
    paths = [str(root / "opt/podkey" / name) for name in ("app", "packages")]
    imports = f"import sys; sys.path[:0] = {paths!r}; "

    def python(*words: str) -> "subprocess.CompletedProcess[str]":
        # It finds its standard library beside itself.
        argv = [str(shutil.which(EMULATOR)), "-L", str(root), str(root / "usr/bin/python3"), "-ISOO", *words]
        return subprocess.run(argv, env={}, capture_output=True, text=True, timeout=280, check=False)

    module = "injector.cli.main" if program == "podkey-injector" else "proxy.cli.main"
    done = python("-c", f"{imports}sys.argv[1:] = ['--version']; from {module} import run; run()")
    assert (done.returncode, done.stdout) == (0, f"{program} {__version__}\n"), done.stderr
    done = python("-c", f"{imports}import {serves}, platform; print(platform.machine())")
    assert (done.returncode, done.stdout.strip()) == (0, EMULATOR.split("-")[1]), done.stderr
