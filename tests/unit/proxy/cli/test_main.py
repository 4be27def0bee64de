import argparse
import io
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

import pytest

from injector.craft import sidecar
from injector.craft.redirect import COMMAND
from proxy import __version__
from proxy.cli import leases
from proxy.cli.exit_status import PROBLEMS
from proxy.cli.main import COMMANDS, INIT_CONTAINER, SIDECAR, _status
from tests.command_line import (
    CHAT,
    INFERENCE,
    NOBODY,
    ROOT,
    arguments_of,
    example_lines,
    podkey,
    run_podkey,
    stdin_of,
)

# It goes on until it is told to stop: its help has no example that a test could run.
SERVING = {"run"}
# Those of another package, by entry point.
ADDED = {"inject"}
HELPS = [("--help",), *((name, "--help") for name in (*COMMANDS, *ADDED) if name not in SERVING)]


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command_and_exit_status(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey(*argv) == 0

    out = capsys.readouterr().out
    listed = out.partition("commands:\n")[2].partition("\n\n")[0].splitlines()
    statuses = out.partition("exit status:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == sorted({*COMMANDS, *ADDED})
    assert [line.split()[0] for line in statuses] == ["0", "1", "2", "64", "74"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module_and_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"proxy.cli.{name}")

    assert podkey(name, "--help") == podkey("help", name) == 0

    out = capsys.readouterr().out
    assert callable(module.describe)
    assert callable(module.execute)
    assert out.startswith(f"usage: podkey {name} ")
    assert out[: len(out) // 2] == out[len(out) // 2 :]  # both ways say the same
    assert (example_lines(out) == []) is (name in SERVING)


@pytest.mark.parametrize("argv", HELPS)
def test_every_example_of_every_help_runs(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    # No sidecar runs here.
    monkeypatch.setattr(leases, "ask", lambda *_: {"leases": [], "failing": [], "dropped": 0})
    podkey(*argv)
    examples = example_lines(capsys.readouterr().out)

    statuses = {}
    for line in examples:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin_of(line))))
        if (words := arguments_of(line)) is not None:
            statuses[line] = podkey(*words)

    assert statuses != {}
    assert {line: status for line, status in statuses.items() if status not in {0, 2}} == {}


def test_examples_that_need_a_cluster_are_the_only_ones_that_do_not_run() -> None:
    assert arguments_of("kubectl get accesspolicy train -o yaml | podkey check -") is None
    assert arguments_of("podkey check - < policy.yaml") == ["check", "-"]
    assert arguments_of("podkey schema AccessPolicy > schema.json") == ["schema", "AccessPolicy"]
    assert arguments_of("podkey schema AccessPolicy --output crd | kubectl apply -f -") == [
        "schema",
        "AccessPolicy",
        "--output",
        "crd",
    ]
    with pytest.raises(ValueError, match="neither podkey nor kubectl"):
        arguments_of("rm -rf .")


@dataclass(frozen=True)
class AddedCommand:
    """As `injector.cli.commands` has one."""

    summary: str = "brew coffee"

    def load(self) -> "AddedCommand":
        return self

    def describe(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--strong", action="store_true")

    def execute(self, arguments: argparse.Namespace) -> int:
        return 2 if arguments.strong else 0


class Missing:
    """The entry point of a package that this image does not carry."""

    name = "missing"

    def load(self) -> None:
        raise ModuleNotFoundError


def test_commands_of_other_packages_are_found_and_those_that_are_not_installed_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Brew:
        name = "brew"

        def load(self) -> AddedCommand:
            return AddedCommand()

    installed = {"podkey.commands": [Missing(), Brew()]}
    monkeypatch.setattr(metadata, "entry_points", lambda group: installed[group])

    assert (podkey("brew"), podkey("brew", "--strong"), podkey("missing")) == (0, 2, 64)
    assert podkey("--help") == podkey("brew", "--help") == 0
    out = capsys.readouterr().out
    assert "  brew      brew coffee\n" in out
    assert "missing" not in out
    assert out.count("Brew coffee.") == 1


def test_other_packages_are_asked_only_for_names_that_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(metadata, "entry_points")

    assert podkey("version") == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("chekc",), "podkey: there is no command `chekc`; did you mean `check`?"),
        (("help", "chekc"), "podkey: there is no command `chekc`; did you mean `check`?"),
        (("--colour",), "podkey: unrecognized arguments: --colour"),
        (("check",), "podkey check: the following arguments are required: PATH"),
        (("check", ".", "--outptu", "json"), "podkey check: unrecognized arguments: --outptu json"),
        # Abbreviations would break when a flag is added.
        (("check", ".", "--out", "json"), "podkey check: unrecognized arguments: --out json"),
        (("check", ".", "--output", "xml"), "podkey check: argument --output: invalid choice: 'xml'"),
    ],
)
def test_misuse_is_status_64_with_usage_and_a_hint_on_stderr(
    argv: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey(*argv) == 64

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: podkey")
    assert f"\n{message}" in err
    assert err.endswith(" --help\n")


def test_the_version_flag_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("--version") == 0
    assert capsys.readouterr().out == f"podkey {__version__}\n"


def test_help_starts_without_the_modules_that_commands_need() -> None:
    code = "import sys; from proxy.cli.main import main; main([]); print({'yaml', 'idna'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.endswith("\nset()\n")


# --- as a program --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("check", "examples"), 0),
        (("check", "examples/nowhere"), 1),
        (("explain", "--policies", INFERENCE, "--input", f"{INFERENCE}/request.json"), 0),
        (("explain", "GET", "https://api.openai.com/v1/models", *CHAT), 2),
        (("brew",), 64),
    ],
)
def test_the_exit_status_of_the_program_says_what_came_out(argv: tuple[str, ...], status: int) -> None:
    assert run_podkey(*argv).returncode == status


def test_the_installed_script_and_the_module_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("podkey")
    done = subprocess.run([script, "version"], capture_output=True, check=True)

    assert done.stdout == run_podkey("version").stdout


@pytest.mark.parametrize(
    ("argv", "stdin", "status"),
    [
        (("services",), "", 0),
        (("--help",), "", 0),
        (("--version",), "", 0),
        (("check", "-"), NOBODY, 1),
        (("reasons",), "", 0),  # more than a buffer
        (("explain", "GET", "https://api.openai.com/v1/models", *CHAT), "", 2),
    ],
)
@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_reader_that_goes_away_changes_nothing(
    argv: tuple[str, ...], stdin: str, status: int, env: dict[str, str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does, only sooner
    with os.fdopen(writing, "wb") as pipe:
        done = run_podkey(*argv, stdin=stdin.encode(), stdout=pipe, env=env)

    assert (done.stderr, done.returncode) == (b"", status)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("name", ["services", "reasons"])
def test_a_full_disk_is_said_and_is_no_problem_of_a_policy(name: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_podkey(name, stdout=full)

    assert done.stderr == b"podkey: cannot write the output: No space left on device\n"
    assert done.returncode == 74


def test_a_closed_output_is_said_too() -> None:
    command = f"{shlex.quote(sys.executable)} -m proxy services >&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, stderr=subprocess.PIPE, check=False)

    assert done.stderr == b"podkey: cannot write the output: Bad file descriptor\n"
    assert done.returncode == 74


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class InterruptedInput:
        @property
        def buffer(self) -> "InterruptedInput":
            return self

        def read(self, _size: int) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", InterruptedInput())

    assert _status(["check", "-"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "encoding", "shown"),
    [
        ("gr\u00fcn.yaml".encode(), "ascii:strict", b"gr\\xfcn.yaml"),
        ("gr\u00fcn.yaml".encode(), "utf-8:strict", "gr\u00fcn.yaml".encode()),
        (b"\xff.yaml", "utf-8:strict", b"\\udcff.yaml"),
    ],
)
def test_a_file_name_that_cannot_be_written_is_shown_with_escapes(
    name: bytes, encoding: str, shown: bytes, tmp_path: Path
) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_text(NOBODY)

    done = run_podkey("check", path, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"})

    assert (done.stderr, done.returncode) == (b"", 1)
    assert shown + b":5: spec.workloads" in done.stdout


def test_json_is_whole_and_alone_on_standard_output() -> None:
    done = run_podkey("check", "-", "--output", "json", stdin=NOBODY.encode())

    assert json.loads(done.stdout)["ok"] is False
    assert done.stderr == b""


# --- what a pod waits for ----------------------------------------------------------------------------


def test_an_init_container_s_command_is_read_without_argparse() -> None:
    """A mistake in its settings ends it before it loads anything, and is told as ever."""
    program = (
        "import sys; from proxy.cli.main import INIT_CONTAINER, main\n"
        "status = main(INIT_CONTAINER); assert 'argparse' not in sys.modules; sys.exit(status)"
    )
    environment = {"PODKEY_TRANSPARENT_PORT": "no port", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == PROBLEMS, done.stderr
    assert done.stderr.startswith("podkey redirect: PODKEY_TRANSPARENT_PORT")
    assert "fix: " in done.stderr


def test_an_init_container_loads_nothing_heavy_while_its_pod_waits() -> None:
    """Each of these takes milliseconds: the whole command should need less than a tenth of a second."""
    program = (
        "import socket, sys, typing\n"
        "theirs = {*sys.modules}\n"  # of which Python 3.12 has more
        "from proxy.edge import redirect, redirect_probes\n"
        "redirect._found = lambda: 'nft'\n"
        "redirect._run = lambda *_: (0, '', '')\n"
        "redirect_probes.verify_redirect = lambda _: []\n"
        "from proxy.cli.main import INIT_CONTAINER, main\n"
        "status = main(INIT_CONTAINER)\n"
        "print(*sorted({*sys.modules} - theirs))\n"
        "sys.exit(status)\n"
    )
    environment = {"PODKEY_EXCLUDE_CIDRS": "10.0.0.0/8", "PYTHONPATH": str(ROOT)}
    # -S: site loads what a virtual environment adds.
    words = [sys.executable, "-S", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    loaded, modules = done.stdout.splitlines()
    heavy = "argparse ast dataclasses datetime hashlib inspect json logging pathlib re subprocess threading"
    assert loaded.startswith("loaded: TCP to 443, 80 goes to port 15001")
    assert "proxy.edge.redirect_probes" in modules.split()
    assert {*heavy.split()} & {*modules.split()} == set()


def test_the_sidecar_s_command_is_read_without_argparse() -> None:
    program = (
        "import sys; from proxy.cli.main import SIDECAR, main\n"
        "status = main(SIDECAR); assert 'argparse' not in sys.modules; sys.exit(status)"
    )
    environment = {"PODKEY_ADMIN_PORT": "many", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == PROBLEMS, done.stderr
    assert "podkey run: PODKEY_ADMIN_PORT" in done.stderr
    assert "fix: " in done.stderr


def test_the_injector_writes_those_commands() -> None:
    assert ("podkey", *INIT_CONTAINER) == COMMAND
    assert ("podkey", *SIDECAR) == sidecar.COMMAND
