import os
import pty
import subprocess
import sys

import pytest

from proxy.cli.terminal import Ink, plural, printable, problem_lines
from proxy.documents.problems import Problem, ProblemCode
from tests.command_line import ROOT, environment


def on_a_terminal(*argv: str, **env: str) -> str:
    """What `podkey` writes to a terminal."""
    ours, theirs = pty.openpty()
    # Less than a terminal's buffer, so it can be read when all is written.
    subprocess.run(
        [sys.executable, "-m", "proxy", *argv],
        cwd=ROOT,
        stdout=theirs,
        env=environment(**{"TERM": "xterm", **env}),
        check=True,
    )
    text = os.read(ours, 4096).decode().replace("\r\n", "\n")
    os.close(theirs)
    os.close(ours)
    return text


def test_a_terminal_gets_colour() -> None:
    assert on_a_terminal("check", "examples/03-inference").startswith("\x1b[32mok: 3 documents")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_none_gets_none(env: dict[str, str]) -> None:
    assert on_a_terminal("check", "examples/03-inference", **env).startswith("ok: 3 documents")


def test_an_empty_no_color_says_nothing() -> None:
    """https://no-color.org: present and not an empty string."""
    assert "\x1b[32m" in on_a_terminal("check", "examples/03-inference", NO_COLOR="")


def test_a_pipe_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert Ink.on(sys.stdout) == Ink(coloured=False)


@pytest.mark.parametrize(("mark", "code"), [("strong", "1"), ("good", "32"), ("bad", "31"), ("faint", "2")])
def test_marks_end_where_the_text_ends(mark: str, code: str) -> None:
    assert getattr(Ink(coloured=True), mark)("text") == f"\x1b[{code}mtext\x1b[0m"
    assert getattr(Ink(coloured=False), mark)("text") == "text"


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (10_000, "10,000 files")]
)
def test_counts_agree_with_their_noun(count: int, expected: str) -> None:
    assert plural(count, "file") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("gr\u00fcn \u65e5\u672c", "gr\u00fcn \u65e5\u672c"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("\udcff.yaml", "\\udcff.yaml"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_an_escape(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (
            Problem("a.yaml", 3, "spec.grants[0]", "is wrong", "mend it", ProblemCode.BAD_VALUE),
            ["a.yaml:3: spec.grants[0]: is wrong [bad_value]", "    fix: mend it"],
        ),
        (
            Problem("a: b.yaml", 0, "", "is \x1b[1mwrong", "mend \x07it", ProblemCode.NO_DOCUMENTS),
            ["a: b.yaml: is \\x1b[1mwrong [no_documents]", "    fix: mend \\x07it"],
        ),
    ],
)
def test_a_problem_has_its_place_its_code_and_its_fix(problem: Problem, expected: list[str]) -> None:
    assert list(problem_lines([problem], Ink(coloured=False))) == expected


def test_the_place_of_a_problem_stands_out() -> None:
    problem = Problem("a.yaml", 3, "spec", "is wrong", "mend it", ProblemCode.BAD_VALUE)

    first = next(problem_lines([problem], Ink(coloured=True)))

    assert first == "\x1b[1ma.yaml:3\x1b[0m: spec: is wrong \x1b[2m[bad_value]\x1b[0m"
