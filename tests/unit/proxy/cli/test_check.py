import io
import json
import sys
from pathlib import Path

import pytest

from tests.command_line import EXAMPLES, INFERENCE, NOBODY, podkey


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    file = tmp_path / "nobody.yaml"
    file.write_text(NOBODY)
    return file


def test_says_what_it_read_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("check", INFERENCE) == 0
    assert capsys.readouterr() == (
        "ok: 3 documents in 1 file (1 AccessPolicy, 2 CredentialSource)\n",
        "",
    )


def test_prints_every_problem_with_place_code_and_fix(
    nobody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("check", str(nobody)) == 1

    first, fix, *rest, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{nobody}:5: spec.workloads.serviceAccounts: ")
    assert first.endswith(" [empty_selector]")
    assert fix.startswith("    fix: ")
    assert [line for line in rest if not line.startswith(("    fix: ", f"{nobody}:"))] == []
    assert last == f"{1 + len(rest) // 2} problems; read 1 document in 1 file"


def test_a_document_cannot_repaint_the_report(nobody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody.write_text(NOBODY.replace("name: nobody", 'name: "\\e[2Jgood\\u202E"'))

    assert podkey("check", str(nobody)) == 1

    out = capsys.readouterr().out
    assert "`\\x1b[2Jgood\\u202e`" in out
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("argv", "status", "documents"),
    [
        ((INFERENCE,), 0, {"AccessPolicy": 1, "CredentialSource": 2, "CatalogueEntry": 0}),
        (("nowhere",), 1, {"AccessPolicy": 0, "CredentialSource": 0, "CatalogueEntry": 0}),
    ],
)
def test_json_has_the_same_keys_whatever_comes_out(
    argv: tuple[str, ...], status: int, documents: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("check", *argv, "--output", "json") == status

    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["ok", "files", "documents", "problems"]
    assert (answer["ok"], answer["documents"]) == (status == 0, documents)


def test_a_problem_in_json_has_its_place_in_parts(nobody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    podkey("check", str(nobody), "--output", "json")

    problem = json.loads(capsys.readouterr().out)["problems"][0]
    assert list(problem) == ["file", "line", "path", "message", "fix", "code"]
    assert problem["file"] == str(nobody)
    assert problem["line"] == 5
    assert problem["path"] == "spec.workloads.serviceAccounts"
    assert problem["code"] == "empty_selector"


def test_a_path_that_is_missing_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("check", "nowhere") == 1
    assert capsys.readouterr().out == (
        "nowhere: cannot be read: No such file or directory [unreadable_file]\n"
        "    fix: check the path and its permissions\n"
        "1 problem; read 0 documents in 0 files\n"
    )


def test_a_folder_without_policies_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped folder must not look like a clean one."""
    (tmp_path / "notes.txt").write_text("apiVersion: podkey.io/v1alpha1\n")

    assert podkey("check", str(tmp_path)) == 1
    assert capsys.readouterr().out.startswith(
        f"{tmp_path}: the folder holds no policy files [no_documents]\n"
        "    fix: policy files end in .yaml or .yml\n"
    )


@pytest.mark.parametrize("text", ["", "# later\n", "---\n---\n"])
def test_files_without_a_document_are_a_problem(
    text: str, nobody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody.write_text(text)

    assert podkey("check", str(nobody)) == 1
    assert capsys.readouterr().out.startswith(
        f"{nobody}: there are no documents in it [no_documents]\n"
        "    fix: a document begins with `apiVersion: podkey.io/v1alpha1`\n"
    )


def test_an_empty_file_beside_documents_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "licence.yaml").write_text("# Apache-2.0\n")

    assert podkey("check", str(tmp_path), INFERENCE) == 0
    assert capsys.readouterr().out.startswith("ok: 3 documents in 2 files")


def test_a_file_of_one_byte_too_many_is_a_problem(nobody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody.write_bytes(b"#" * (1 << 20) + b"\n")

    assert podkey("check", str(nobody)) == 1
    assert capsys.readouterr().out.startswith(
        f"{nobody}: the file has more than 1,048,576 bytes, which is the limit [too_large]\n"
        "    fix: split the file\n"
    )


@pytest.mark.parametrize(
    ("text", "status"), [(NOBODY, 1), ((EXAMPLES / "03-inference/policy.yaml").read_text(), 0)]
)
def test_a_dash_reads_standard_input(
    text: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    assert podkey("check", "-") == status
    assert capsys.readouterr().out.startswith("<stdin>:5: " if status else "ok: 3 documents in 1 file ")
