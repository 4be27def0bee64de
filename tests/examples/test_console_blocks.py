"""The runner of the pages' commands notices what it is for."""

from pathlib import Path

import pytest

from tests.console_blocks import (
    Ran,
    a_checkout,
    console_blocks,
    faults,
    matches,
    needs_cluster,
    programs_of,
    run_block,
)


def ran(folder: Path, text: str) -> list[Ran]:
    page = folder / "page.md"
    page.write_text(f"# A page\n\n```console\n{text}```\n")
    (block,) = console_blocks(page)
    return run_block(block, folder)


def test_a_block_with_prompts_has_commands_and_their_outputs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n\n```console\n$ echo 1 \\\n    2\n1 2\n$ true\n```\n\n```yaml\n$ no\n```\n")

    (block,) = console_blocks(page)

    assert [(one.text, one.shown, one.line) for one in block.commands] == [
        ("echo 1 \\\n    2", "1 2", 4),
        ("true", "", 7),
    ]


def test_a_block_without_prompts_has_commands_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n# first\nmake test\n\npodkey check examples/\n```\n")

    (block,) = console_blocks(page)

    assert [one.text for one in block.commands] == ["make test", "podkey check examples/"]


def test_output_of_no_command_is_a_mistake_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\nlost\n$ true\n```\n")

    with pytest.raises(ValueError, match="line 2 is output of no command: lost"):
        console_blocks(page)


def test_a_here_document_without_an_end_is_a_mistake_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ cat <<EOF\na\n```\n")

    with pytest.raises(ValueError, match="line 2: the here-document has no end"):
        console_blocks(page)


def test_a_block_is_one_shell_with_here_documents(tmp_path: Path) -> None:
    text = "$ mkdir x; cd x\n$ cat > y <<'EOF'\n$ not a command\nEOF\n$ cut -c3- y\nnot a command\n"

    assert faults(ran(tmp_path, text)) == []
    assert (tmp_path / "x/y").read_text() == "$ not a command\n"


def test_a_shell_that_ends_early_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the shell ended early"):
        ran(tmp_path, "$ exit 0\n$ true\n")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("$ echo one\ntwo\n", "the page shows:\ntwo\nit says:\none"),
        ("$ echo one; echo two\none\n", "the page shows"),
        ("$ false\n", "ended with 1, of which the page says nothing"),
        ("$ (echo no; exit 1)\nno\n", "ended with 1"),
        ("$ (exit 2)\n", "ended with 2"),
        ("$ (exit 3)\n$ echo $?\n2\n", "the page shows:\n2\nit says:\n3"),
        ("$ podkey check nowhere\n", "ended with 1"),
        ("false\n", "ended with 1"),
    ],
)
def test_what_is_not_as_shown_is_found(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = faults(ran(tmp_path, text))

    assert fault in found
    assert found.startswith(f"{tmp_path.name}/page.md:")


@pytest.mark.parametrize(
    "text",
    [
        "$ echo one; echo two; echo three\none\n…\nthree\n",
        "$ echo one; echo two >&2\none\ntwo\n",
        "$ echo took 3.2 seconds\ntook … seconds\n",
        "$ echo any\n",
        "$ (echo refused; exit 2)\nrefused\n",
        "$ (exit 3)\n$ echo $?\n3\n",
        "$ printf 'no end of line'\nno end of line\n",
        "$ kubectl get pods\nNAME\n$ echo here\nhere\n",
        "kubectl get pods\n",
    ],
)
def test_what_is_as_shown_is_no_fault(tmp_path: Path, text: str) -> None:
    assert faults(ran(tmp_path, text)) == []


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("podkey check x", ["podkey"]),
        ("AWS_REGION=x aws s3 ls", ["aws"]),
        ("podkey inject -f x | kubectl apply -f -", ["podkey", "kubectl"]),
        ("cat <<EOF | podkey check -\nkubectl\nEOF", ["cat", "podkey"]),
        ("echo 'x | kubectl'", ["echo"]),
        ("true && helm install", ["true", "helm"]),
        ("podkey check x \\\n  --output json", ["podkey"]),
        ("x=$(kubectl get pods)", ["kubectl"]),
    ],
)
def test_the_programs_of_a_command_are_found(command: str, programs: list[str]) -> None:
    assert [one for one in programs_of(command) if "=" not in one and one != "x"] == programs
    assert needs_cluster(command) is not {"kubectl", "helm", "aws"}.isdisjoint(programs)


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a", "a\n", True),
        ("a ", "a", True),
        ("…", "", True),
        ("a\n…", "a\n", True),
        ("a\n…\nb", "a\nx\ny\nb\n", True),
        ("a…c", "ac", True),
        ("a…c", "a\nc", False),
        ("a.c", "abc", False),
        ("a", "a\nb\n", False),
    ],
)
def test_an_ellipsis_stands_for_anything(shown: str, output: str, same: bool) -> None:  # noqa: FBT001
    assert matches(shown, output) is same


def test_a_checkout_can_be_written_to_without_changing_this_one(tmp_path: Path) -> None:
    checkout = a_checkout(tmp_path)
    (checkout / "examples/new.yaml").touch()

    assert not (Path(__file__).parents[2] / "examples/new.yaml").exists()
    assert (checkout / ".venv/bin/podkey").exists()
