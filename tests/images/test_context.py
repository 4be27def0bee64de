"""What of a checkout goes into an image: what git has of the folders that .dockerignore names."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.built_images import ROOT, engine, why_no_engine

# Neither git nor a build may see these; the last two are in folders that .dockerignore does not name.
STRAYS = (
    "proxy/.coverage.secrets",
    "proxy/.env",
    "proxy/id_rsa",
    "proxy/cli/key.pem",
    "proxy/cli/__pycache__/planted.py",
    "proxy/services/catalogue/.mine.yaml.swp",
    "injector/settings.yaml",
    "images/notes.txt",
    "proxy/data/dump.py",
    "bench/results/answers.json",
)
IGNORED = "\n".join((*STRAYS, "planted.py", ".hidden.py", "*.sock.py/", "images/.*/")) + "\n"


def git(folder: Path, *words: str) -> str:
    """Apart from what this machine or a hook that runs the tests has set."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=a test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *who, *words], cwd=folder, env=quiet, capture_output=True, text=True, check=True
    ).stdout


def packages(folder: Path) -> str:
    """Unpacked by the real uv; what was said to it."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools" / "bin"))
    if uv is None:
        pytest.skip("uv is not installed: run make setup")
    path = f"{Path(uv).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [folder / "images" / "build", "packages", "amd64"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode and re.search(r"error sending request|dns error|Connection refused", done.stderr):
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr
    return done.stderr


def build(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [folder / "images" / "build", *words], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def plant(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("PLANTED = 1\n")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git has of the tree, committed elsewhere, with its own list of what is ignored."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: there is nothing to compare with")
    folder = tmp_path / "checkout"
    places = ("proxy", "injector", "images", "requirements", "LICENSE", ".dockerignore", ".ci")
    for name in git(ROOT, "ls-files", *places).splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".gitignore").write_text(IGNORED)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all of it")
    return folder


def test_what_is_not_named_changes_neither_the_tree_nor_the_revision(checkout: Path) -> None:
    tree = build(checkout, "tree")
    for name in STRAYS:
        plant(checkout, name)
    assert git(checkout, "status", "--porcelain") == ""
    assert build(checkout, "tree") == tree
    assert build(checkout, "revision") == git(checkout, "rev-parse", "HEAD").strip()


@pytest.mark.parametrize(
    "name",
    [
        "proxy/core/planted.py",
        "injector/.hidden.py",
        # a folder that is named as a module goes in whole
        "proxy/edge/listener.sock.py/key",
    ],
)
def test_a_file_that_goes_in_and_is_not_git_s_is_dirty_also_where_git_ignores_it(
    checkout: Path, name: str
) -> None:
    tree = build(checkout, "tree")
    plant(checkout, name)
    assert git(checkout, "status", "--porcelain") == ""
    assert build(checkout, "tree") != tree
    assert build(checkout, "revision").endswith("-dirty")


@pytest.mark.parametrize(
    "name", ["proxy/core/globs.py", "proxy/services/catalogue/s3.yaml", "images/assemble.py"]
)
def test_a_changed_file_changes_the_tree_and_is_dirty(checkout: Path, name: str) -> None:
    tree = build(checkout, "tree")
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    assert build(checkout, "tree") != tree
    assert build(checkout, "revision").endswith("-dirty")


def test_the_engine_is_given_git_s_files_and_none_beside_them(checkout: Path, tmp_path: Path) -> None:
    if reason := why_no_engine():
        pytest.skip(reason)
    for name in STRAYS:
        plant(checkout, name)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    out = tmp_path / "out"
    done = engine(
        "build", "--output", f"type=local,dest={out}", "--file", str(tmp_path / "Dockerfile"), str(checkout)
    )
    assert done.returncode == 0, done.stderr
    taken = {str(file.relative_to(out)) for file in out.rglob("*") if not file.is_dir()}
    named = git(checkout, "ls-files", "proxy", "injector", "LICENSE", "images/assemble.py").splitlines()
    assert taken == {*named}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "certifi.py").write_text("PLANTED = 2\n"), id="bytes"),
        pytest.param(lambda folder: (folder / "sitecustomize.py").write_text(""), id="a file more"),
        pytest.param(lambda folder: (folder / "certifi.py").unlink(), id="a file less"),
        pytest.param(lambda folder: (folder / "certifi.py").rename(folder / "other.py"), id="a name"),
        pytest.param(lambda folder: (folder / "certifi.py").chmod(0o755), id="a mode"),
        pytest.param(lambda folder: (folder / "link.py").symlink_to("certifi.py"), id="a link"),
        pytest.param(lambda folder: (folder / "empty").mkdir(), id="an empty folder"),
    ],
)
def test_the_digest_of_the_packages_tells_of_each_change(
    checkout: Path, change: Callable[[Path], object]
) -> None:
    for program in ("proxy", "injector"):
        folder = checkout / "images" / ".packages" / program / "amd64"
        plant(folder, "certifi.py")
        before = build(checkout, "digest", program, "amd64")
        assert build(checkout, "digest", program, "amd64") == before
        change(folder)
        assert build(checkout, "digest", program, "amd64") != before


def test_debian_s_packages_belong_to_the_image_that_has_nft(checkout: Path) -> None:
    before = [build(checkout, "digest", program, "amd64") for program in ("proxy", "injector")]
    plant(checkout, "images/.debs/amd64/nftables.deb")
    after = [build(checkout, "digest", program, "amd64") for program in ("proxy", "injector")]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]


def test_packages_that_were_touched_are_unpacked_again_and_others_are_left_alone(checkout: Path) -> None:
    packages(checkout)
    both = [checkout / "images" / ".packages" / program / "amd64" for program in ("proxy", "injector")]
    inodes = [folder.stat().st_ino for folder in both]
    digests = [build(checkout, "digest", program, "amd64") for program in ("proxy", "injector")]

    assert "made anew" not in packages(checkout)
    assert [folder.stat().st_ino for folder in both] == inodes

    with (both[0] / "certifi" / "__init__.py").open("a") as file:
        file.write("PLANTED = 1\n")
    plant(both[1], "sitecustomize.py")
    said = packages(checkout)
    assert said.count("is not what was unpacked there: it is made anew") == len(both)
    assert not (both[1] / "sitecustomize.py").exists()
    assert [build(checkout, "digest", program, "amd64") for program in ("proxy", "injector")] == digests
