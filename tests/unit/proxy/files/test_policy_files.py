"""These tests touch files: that is what the module does."""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import MAX_FILE_BYTES
from proxy.files.policy_files import read_input_file, read_policy_files

NOBODY = 65534  # the user that owns nothing


def names_below(root: Path, *paths: str) -> list[str]:
    """What was read, as paths below the root."""
    files, problems = read_policy_files([str(root / path) for path in paths])

    assert problems == []
    return [str(Path(name).relative_to(root)) for name in files]


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# --- which files ---------------------------------------------------------------------------------


def test_reads_the_policy_files_below_a_folder_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "a.yml", "c/d.yaml", "c/a/z.yaml", "README.md", "e.json", "f.yaml.bak")

    assert names_below(tmp_path, "") == ["a.yml", "b.yaml", "c/a/z.yaml", "c/d.yaml"]


def test_reads_a_file_that_is_named_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path, "policy.txt", ".hidden")

    assert names_below(tmp_path, "policy.txt", ".hidden") == ["policy.txt", ".hidden"]


def test_gives_the_bytes_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xff\r\n\x00")

    assert read_policy_files([str(file)]) == ({str(file): b"\xff\r\n\x00"}, [])


def test_reads_a_mounted_config_map_once(tmp_path: Path) -> None:
    """The kubelet's layout: links into `..data`, which is a link to a folder named after the time."""
    version = "..2026_01_31_12_00_00.1234567890"
    write(tmp_path, f"{version}/policy.yaml", f"{version}/more.yaml")
    (tmp_path / "..data").symlink_to(version)
    for name in ("policy.yaml", "more.yaml"):
        (tmp_path / name).symlink_to(Path("..data", name))

    assert names_below(tmp_path, "") == ["more.yaml", "policy.yaml"]


def test_leaves_hidden_files_and_folders_out(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", ".b.yaml", ".git/c.yaml", "..data/d.yaml")

    assert names_below(tmp_path, "") == ["a.yaml"]


@pytest.mark.parametrize(
    "paths",
    [("a.yaml", "a.yaml"), ("", "a.yaml"), ("", ""), ("a.yaml", "../{root}/a.yaml"), ("", "b/../a.yaml")],
)
def test_reads_a_file_once_however_often_it_is_named(tmp_path: Path, paths: tuple[str, ...]) -> None:
    write(tmp_path, "a.yaml")
    (tmp_path / "b").mkdir()

    files, problems = read_policy_files([str(tmp_path / path.format(root=tmp_path.name)) for path in paths])

    assert (list(files.values()), problems) == ([b"a.yaml"], [])


def test_a_link_to_a_file_that_was_read_is_not_read_again(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    (tmp_path / "c.yaml").hardlink_to(tmp_path / "a.yaml")

    assert names_below(tmp_path, "") == ["a.yaml"]


def test_a_link_to_the_folder_above_is_an_end(tmp_path: Path) -> None:
    write(tmp_path, "a/b/policy.yaml")
    (tmp_path / "a/b/up").symlink_to(tmp_path)

    assert names_below(tmp_path, "") == ["a/b/policy.yaml"]


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    write(tmp_path, "shared/policy.yaml", "team/own.yaml")
    (tmp_path / "team/shared").symlink_to(tmp_path / "shared")

    assert names_below(tmp_path, "team") == ["team/own.yaml", "team/shared/policy.yaml"]


# --- how much of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MAX_FILE_BYTES, MAX_FILE_BYTES + 1])
def test_reads_up_to_one_byte_more_than_is_allowed(tmp_path: Path, size: int) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"#" * size)

    assert read_policy_files([str(file)]) == ({str(file): b"#" * size}, [])


def test_reads_no_more_of_a_file_that_is_larger(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: no disk is filled

    files, _ = read_policy_files([str(file)])

    assert len(files[str(file)]) == MAX_FILE_BYTES + 1


def test_reads_no_more_of_standard_input_either(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b"#" * (MAX_FILE_BYTES + 9))

    files, _ = read_policy_files(["-"])

    assert len(files["<stdin>"]) == MAX_FILE_BYTES + 1


def test_standard_input_is_read_once_however_often_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b"kind: x\n")

    assert read_policy_files(["-", "-"]) == ({"<stdin>": b"kind: x\n"}, [])


# --- what cannot be read -------------------------------------------------------------------------


def unreadable(path: Path, why: str) -> Problem:
    fix = "check the path and its permissions"
    return Problem(str(path), 0, "", f"cannot be read: {why}", fix, ProblemCode.UNREADABLE_FILE)


def test_a_missing_path_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")

    files, problems = read_policy_files([str(tmp_path / "nowhere"), str(tmp_path)])

    assert list(files) == [str(tmp_path / "a.yaml")]
    assert problems == [unreadable(tmp_path / "nowhere", "No such file or directory")]


def test_files_of_a_folder_that_cannot_be_opened_are_problems(tmp_path: Path) -> None:
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    (tmp_path / "nowhere.yaml").symlink_to("..data/nowhere.yaml")

    assert read_policy_files([str(tmp_path)]) == (
        {},
        [
            unreadable(tmp_path / "circle.yaml", "Too many levels of symbolic links"),
            unreadable(tmp_path / "nowhere.yaml", "No such file or directory"),
        ],
    )


@pytest.fixture
def forbidden() -> Iterator[Path]:
    """A folder with a file and a folder that may not be read, also not by us: root gives its rights away."""
    with TemporaryDirectory() as name:  # not tmp_path, whose parents only root may enter
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, "a.yaml", "b/c.yaml")
        (folder / "a.yaml").chmod(0)
        (folder / "b").chmod(0)
        user = os.geteuid()
        os.seteuid(user or NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            (folder / "b").chmod(0o700)


def test_a_file_and_a_folder_without_permission_are_problems(forbidden: Path) -> None:
    _, problems = read_policy_files([str(forbidden)])

    assert problems == [unreadable(forbidden / name, "Permission denied") for name in ("a.yaml", "b")]


def test_a_path_below_a_folder_without_permission_is_a_problem(forbidden: Path) -> None:
    path = forbidden / "b" / "c.yaml"

    assert read_policy_files([str(path)]) == ({}, [unreadable(path, "Permission denied")])


@pytest.mark.parametrize("names", [(), ("README.md",), (".hidden/a.yaml",), ("deep/er/a.txt",)])
def test_a_folder_without_policy_files_is_a_problem(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, *names)

    fix = "policy files end in .yaml or .yml"
    message = "the folder holds no policy files"
    assert read_policy_files([str(tmp_path)]) == (
        {},
        [Problem(str(tmp_path), 0, "", message, fix, ProblemCode.NO_DOCUMENTS)],
    )


def test_nothing_named_is_nothing_read() -> None:
    assert read_policy_files([]) == ({}, [])


# --- one file ------------------------------------------------------------------------------------


def test_an_input_file_is_its_name_and_its_bytes(tmp_path: Path) -> None:
    write(tmp_path, "request.json")

    path = str(tmp_path / "request.json")

    assert read_input_file(path) == (path, b"request.json")


def test_an_input_file_may_be_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b"{}")

    assert read_input_file("-") == ("<stdin>", b"{}")


def test_a_folder_is_no_input_file(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")

    assert read_input_file(str(tmp_path)) == unreadable(tmp_path, "Is a directory")


def test_a_missing_input_file_is_a_problem(tmp_path: Path) -> None:
    assert read_input_file(str(tmp_path / "x")) == unreadable(tmp_path / "x", "No such file or directory")
