"""What is in the two images, seen from inside: `make images` made them, from this state of the tree."""

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy import __version__
from proxy.core import contract
from tests.built_images import INJECTOR, PROXY, ROOT, ask_python, configuration, engine, run, why_missing
from tests.images.test_dockerfile import copied

BOTH = pytest.mark.parametrize("image", [PROXY, INJECTOR])
PROGRAMS = {PROXY: "podkey", INJECTOR: "podkey-injector"}
# What a container's process is asked to load: all that the program needs when it serves.
SERVES = {PROXY: "proxy.edge.assembly", INJECTOR: "injector.edge.assembly"}
PATHS = "import sys; sys.path[:0] = ['/opt/podkey/app', '/opt/podkey/packages']; "

CONTENTS = """
import hashlib, json, os, re, stat
from importlib.metadata import distributions
from pathlib import Path
app = Path("/opt/podkey/app")
walked = [Path(folder, name) for folder, _, names in os.walk("/") if not folder.startswith(("/proc", "/sys"))
          for name in names]
files = [file for file in walked if file.is_file() and not file.is_symlink()]
status = Path("/var/lib/dpkg/status").read_text().split("\\n\\n")
packages = [dict(re.findall(r"^(Package|Version|Status): (.*)$", one, re.M)) for one in status]
print(json.dumps({
    "app": {str(file.relative_to(app)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in walked if file.is_relative_to(app) and "__pycache__" not in file.parts},
    "cached": sorted(str(file.relative_to(app)) for file in walked
                     if file.is_relative_to(app) and "__pycache__" in file.parts),
    "programs": sorted(file.name for file in walked if file.parent.name in ("bin", "sbin")),
    "modules": sorted(entry.name for entry in Path("/opt/podkey/packages").iterdir()),
    "privileged": [str(file) for file in files if file.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)],
    "ours": [str(file) for file in walked if file.lstat().st_uid == os.getuid()],
    "compiled": {str(file): int.from_bytes(file.read_bytes()[4:8], "little")
                 for file in files if file.suffix == ".pyc" and file.is_relative_to("/opt/podkey")},
    "sources": [str(file) for file in files if file.suffix == ".py" and file.is_relative_to("/opt/podkey")],
    "distributions": {one.metadata["Name"].lower().replace("_", "-").replace(".", "-"): one.version
                      for one in distributions(path=["/opt/podkey/packages"])},
    "debian": {one["Package"]: one["Version"] for one in packages
               if one.get("Status", "").endswith(" installed")},
}))
"""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if reason := why_missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def contents() -> dict[str, dict[str, Any]]:
    return {image: ask_python(image, CONTENTS) for image in PROGRAMS}


# --- what is in them, and what is not ----------------------------------------------------------------------


def test_the_sidecar_s_image_carries_no_injector_and_no_kubernetes_client(contents: dict[str, Any]) -> None:
    found = contents[PROXY]
    assert {file.partition("/")[0] for file in found["app"]} == {"proxy"}
    assert "mitmproxy" in found["modules"]
    assert not {"kubernetes", "aiohttp", "urllib3", "requests"} & {*found["modules"]}


def test_the_webhook_s_image_carries_no_mitmproxy_and_nothing_that_attaches(contents: dict[str, Any]) -> None:
    found = contents[INJECTOR]
    assert not [name for name in found["modules"] if name.startswith(("mitmproxy", "h2", "OpenSSL"))]
    assert "kubernetes" in found["modules"]
    rooms = {file.split("/")[1] for file in found["app"] if file.startswith("proxy/")}
    assert not rooms & {"attach", "judge", "lanes", "leasing", "sources", "transaction", "wire"}


@BOTH
def test_the_code_is_this_tree_s(image: str, contents: dict[str, Any]) -> None:
    for file, digest in contents[image]["app"].items():
        assert hashlib.sha256((ROOT / file).read_bytes()).hexdigest() == digest, file


@BOTH
def test_an_image_has_git_s_files_and_what_was_compiled_of_them(image: str, contents: dict[str, Any]) -> None:
    places = {PROXY: ["proxy"], INJECTOR: ["injector", *copied()]}[image]
    words = ["git", "ls-files", "--", *places]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout: there is nothing to compare with")
    found = contents[image]
    assert {*found["app"]} == {*listed.stdout.splitlines()}
    sources = {
        re.sub(r"__pycache__/(\w+)\.cpython-\d+\.opt-2\.pyc$", r"\1.py", file) for file in found["cached"]
    }
    assert sources == {file for file in found["app"] if file.endswith(".py")}
    assert len(found["cached"]) == len(sources)


@BOTH
def test_nothing_installs_or_compiles_packages_in_an_image(image: str, contents: dict[str, Any]) -> None:
    programs = {*contents[image]["programs"]}
    assert not {name for name in programs if name.startswith(("pip", "uv", "gcc", "cc", "mitm", "make"))}
    assert not {"pip", "setuptools", "wheel", "pytest"} & {*contents[image]["distributions"]}


def test_nft_is_where_the_redirect_is_loaded_and_nowhere_else(contents: dict[str, Any]) -> None:
    assert "nft" in contents[PROXY]["programs"]
    assert run(PROXY, "--version", program="nft").stdout.startswith("nftables v")
    assert "nft" not in contents[INJECTOR]["programs"]
    assert run(INJECTOR, "--version", program="nft").returncode != 0


@BOTH
def test_no_program_of_an_image_raises_its_rights(image: str, contents: dict[str, Any]) -> None:
    assert contents[image]["privileged"] == []


@BOTH
def test_the_user_of_an_image_owns_no_file_of_it(image: str, contents: dict[str, Any]) -> None:
    assert contents[image]["ours"] == []


def pins(image: str) -> set[tuple[str, str]]:
    program = {PROXY: "proxy", INJECTOR: "injector"}[image]
    text = (ROOT / "requirements" / f"{program}.txt").read_text()
    return {*re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE)}


@BOTH
def test_the_packages_of_an_image_are_the_pinned_ones(image: str, contents: dict[str, Any]) -> None:
    installed, pinned = contents[image]["distributions"], pins(image)
    assert {*installed.items()} <= pinned
    # What is left out is for other systems, or other Pythons.
    others = {"mitmproxy-macos", "mitmproxy-windows", "pydivert", "typing-extensions"}
    assert {name for name, _ in pinned} - {*installed} <= others


# --- how they start ----------------------------------------------------------------------------------------


@BOTH
def test_a_program_runs_below_a_read_only_root_as_nobody_in_particular(image: str) -> None:
    done = run(image, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{PROGRAMS[image]} {__version__}\n", "")
    assert run(image).stdout.startswith(f"usage: {PROGRAMS[image]} ")
    who = ask_python(image, "import json, os; print(json.dumps([os.getuid(), os.getgid()]))")
    assert who == {PROXY: [contract.PROXY_UID] * 2, INJECTOR: [65532, 65532]}[image]


def test_the_words_of_pods_name_programs_of_the_image() -> None:
    assert run(PROXY, "version", program="podkey").stdout.startswith(f"podkey {__version__} ")
    # As the redirect's container calls it, here with nothing that it may do.
    assert run(PROXY, "redirect", "show", program="podkey").stdout.startswith("table inet")
    assert run(INJECTOR, "serve", "--help", program="podkey-injector").returncode == 0


def test_a_command_of_the_other_program_is_not_known_here() -> None:
    done = run(PROXY, "inject")
    assert done.returncode == 64
    assert "Traceback" not in done.stderr


@BOTH
def test_every_module_that_is_loaded_was_compiled_when_the_image_was_built(image: str) -> None:
    done = run(image, "-ISOOvc", f"{PATHS}import {SERVES[image]}", program="python3")
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = [
        line.rpartition("code object from ")[2]
        for line in done.stderr.splitlines()
        if "code object from " in line
    ]
    assert len(loaded) > 300
    assert [one for one in loaded if not one.strip("'").endswith(".opt-2.pyc")] == []


@BOTH
def test_compiled_modules_are_taken_as_they_are(image: str, contents: dict[str, Any]) -> None:
    """1: found by a hash of the source that nobody checks (PEP 552)."""
    compiled = contents[image]["compiled"]
    assert {*compiled.values()} == {1}
    assert len(compiled) > 0.99 * len(contents[image]["sources"])


@BOTH
def test_a_program_takes_no_module_from_its_surroundings(image: str) -> None:
    [first] = ask_python(
        image,
        f"import json; print(json.dumps([open('/usr/local/bin/{PROGRAMS[image]}').readline().strip()]))",
    )
    assert first.endswith("/python3 -ISOO")


# --- what they say about themselves ------------------------------------------------------------------------


@BOTH
def test_the_labels_say_what_it_is_and_where_it_is_from(image: str) -> None:
    found = configuration(image)
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in found["Labels"].items()
    }
    assert labels["title"] == {PROXY: "podkey proxy", INJECTOR: "podkey injector"}[image]
    assert labels["version"] == __version__
    assert labels["licenses"] == "Apache-2.0"
    assert {"description", "revision", "created", "base.name"} <= {
        name for name, value in labels.items() if value
    }
    assert found["User"] == {PROXY: "1337:1337", INJECTOR: "65532:65532"}[image]
    assert found["Entrypoint"] == [PROGRAMS[image]]


@BOTH
def test_the_digests_of_the_labels_are_of_what_was_copied(image: str) -> None:
    labels = configuration(image)["Labels"]
    program = {PROXY: "proxy", INJECTOR: "injector"}[image]
    arch = json.loads(engine("image", "inspect", image).stdout)[0]["Architecture"]
    for label, words in {"tree": ["tree"], "packages": ["digest", program, arch]}.items():
        done = subprocess.run([ROOT / "images" / "build", *words], capture_output=True, text=True, check=True)
        assert labels[f"io.podkey.{label}"] == done.stdout.strip()


@BOTH
def test_the_sbom_lists_exactly_what_is_installed(image: str, contents: dict[str, Any]) -> None:
    sbom = json.loads(run(image, configuration(image)["Labels"]["io.podkey.sbom"], program="cat").stdout)
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert (sbom["metadata"]["component"]["name"], sbom["metadata"]["component"]["version"]) == (
        PROGRAMS[image],
        __version__,
    )
    listed: dict[str, dict[str, str]] = {"pypi": {}, "deb": {}, "generic": {}}
    for component in sbom["components"]:
        kind = component["purl"].removeprefix("pkg:").partition("/")[0]
        name = component["purl"].partition("@")[0].rpartition("/")[2]
        listed[kind][name] = component["version"]
    assert listed["pypi"] == contents[image]["distributions"]
    assert listed["deb"] == contents[image]["debian"]
    assert ("nftables" in listed["deb"]) == (image == PROXY)


def test_the_sbom_beside_the_build_is_the_one_in_the_image() -> None:
    arch = json.loads(engine("image", "inspect", PROXY).stdout)[0]["Architecture"]
    for image, program in PROGRAMS.items():
        beside = Path(ROOT, "images", ".built", f"{program}-{arch}.cdx.json").read_text()
        assert beside == run(image, "/usr/share/podkey/sbom.cdx.json", program="cat").stdout
