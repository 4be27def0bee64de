"""The search for leaked secrets finds them, and fails the test that leaked them."""

import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.canary import Canary
from tests.netns import ROOT

LEAKS = """
import logging, sys
from pathlib import Path
import pytest
from tests.canary import Canary, shared_canary

@pytest.fixture
def shared():
    with shared_canary() as canary:
        yield canary

def test_prints(canary: Canary) -> None:
    print(canary.secret("the key"))

def test_prints_on_standard_error(canary: Canary) -> None:
    sys.stderr.write(canary.secret("the key").encode().hex())

def test_logs(canary: Canary) -> None:
    logging.getLogger("x").warning("with %s", canary.secret("the key"))

def test_writes_what_is_watched(canary: Canary, tmp_path: Path) -> None:
    canary.watch(tmp_path, "the folder")
    (tmp_path / "file").write_text(canary.secret("the key"))

def test_prints_a_secret_of_the_module(shared: Canary) -> None:
    print(shared.secret("the key"))

def test_fails_and_prints(canary: Canary) -> None:
    print(canary.secret("the key"))
    raise ValueError("for another reason")

def test_keeps_it(canary: Canary, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print(canary.secret("the key")[:8])
    print(canary.secret("another"))
    assert capsys.readouterr().out
    canary.watch(tmp_path, "the folder")
"""


def test_a_test_that_leaks_a_secret_fails_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "test_leaks.py"
    file.write_text(LEAKS)
    argv = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest"]

    done = subprocess.run(
        [*argv, "-q", "-rA", "--tb=short", str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "PASSED" in next(line for line in done.stdout.splitlines() if "test_keeps_it" in line)
    told = {line for line in done.stdout.splitlines() if line.startswith("the key (")}
    assert told == {
        "the key (as it is): Captured stdout call",
        "the key (hexadecimal): Captured stderr call",
        "the key (as it is): Captured log call",
        "the key (as it is) in file: the folder",
    }
    assert "ValueError: for another reason" in done.stdout
    assert "<the key (as it is)>" in done.stdout  # in place of the value


@pytest.mark.parametrize(
    "encode",
    [
        str,
        lambda text: text.encode().hex(),
        lambda text: text.encode().hex().upper(),
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
        lambda text: b64encode(text.encode()).decode(),
        lambda text: b64encode(f"u:{text}".encode()).decode(),
        lambda text: b64encode(f"user:{text}:more".encode()).decode(),
        lambda text: urlsafe_b64encode(f"me:{text}\n".encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_form(encode: Callable[[str], str]) -> None:
    canary = Canary()
    leak = f"before {encode(canary.secret('the key', 'sk-'))} after"

    for place in (leak, leak.encode()):
        (hit,) = {found.partition(" (")[0] for found in canary.find_in(place)}
        assert hit == "the key"
    assert canary.find_in(canary.blot(leak)) == []


def test_a_secret_is_found_in_every_file_of_a_folder(tmp_path: Path) -> None:
    canary = Canary()
    value = canary.secret("the key")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text(f"key={value}")
    (tmp_path / "other").write_text("nothing")

    assert canary.find_in(tmp_path) == ["the key (as it is) in file"]
    assert canary.find_in(tmp_path / "other") == []
    assert canary.find_in(tmp_path / "gone") == []


def test_secrets_differ_and_are_safe_in_a_header() -> None:
    canary = Canary()
    made = {canary.secret("a key") for _ in range(100)}

    assert len(made) == 100
    assert all(value.isascii() and value.isprintable() and " " not in value for value in made)


def test_what_is_too_short_is_not_looked_for() -> None:
    with pytest.raises(ValueError, match="too short"):
        Canary().remember("hunter2", "a password")
