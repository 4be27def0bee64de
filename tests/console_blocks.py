"""What the console blocks of a page show is run, and its output compared.

    for block in console_blocks(ROOT / "examples/02-training-job/README.md"):
        ran = run_block(block, a_checkout(tmp_path))
        assert faults(ran) == []

How a block is read:

- Lines with `$ ` are commands, those below a command are its output. In a block without any `$ ` every line
  is a command whose output is not shown; there, lines with `#` are remarks.
- A command goes on behind a backslash, and to the end of its here-document (`<<EOF`).
- An output that is shown is compared: a line of `…` stands for any lines, also none, and `…` within a line
  for any text. Where nothing is shown, nothing is compared.
- A block is one shell: `cd` and variables last to its end.
- A command succeeds. If it does not, the page says so with `$ echo $?` behind it, or shows the output of a
  command that ends with 2, which is how podkey tells a refusal.
- A command with one of CLUSTER_PROGRAMS is left out: it needs a cluster, a cloud or a registry. A caller may
  leave out others (`left_out`).
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from types import MappingProxyType
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLUSTER_PROGRAMS: Final = frozenset(
    {"aws", "az", "docker", "eksctl", "gcloud", "gh", "helm", "kubectl", "mc", "podman", "vault"}
)
REFUSED: Final = 2
BLOCK_SECONDS: Final = 120.0
ANY: Final = "…"

_FENCED = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
# Where the shell takes a word for a program.
_PROGRAMS = re.compile(r"(?:^|[|;&(]|\bdo\b|\bthen\b)\s*(?:\w+=[^\s(]*\s+)*([\w./-]+)", re.MULTILINE)
_MARK: Final = "--podkey-console--"
# What stands in a checkout that commands of pages name, besides the examples, which they may change.
_LINKED: Final = (".venv", "Makefile", "charts", "docs", "injector", "proxy", "pyproject.toml", "tests")


@dataclass(frozen=True)
class Command:
    text: str
    # Nothing where the page shows no output.
    shown: str
    line: int


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    commands: tuple[Command, ...]

    def __str__(self) -> str:
        return f"{self.page.parent.name}/{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Ran:
    """`allowed`: the page reckons with a status that is not 0."""

    place: str
    command: Command
    status: int
    output: str
    allowed: bool


# --- reading -----------------------------------------------------------------------------------------


def console_blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for fenced in _FENCED.finditer(text):
        line = text.count("\n", 0, fenced.start(1)) + 1
        found.append(Block(page, line, tuple(_commands(fenced[1].splitlines(), line))))
    return found


def _commands(lines: list[str], first: int) -> Iterator[Command]:
    prompted = any(line.startswith("$ ") for line in lines)
    number = 0
    while number < len(lines):
        start, line = number, lines[number]
        number += 1
        if prompted and not line.startswith("$ "):
            raise ValueError(f"line {first + start} is output of no command: {line}")
        if not prompted and (not line.strip() or line.startswith("#")):
            continue
        text = [line.removeprefix("$ ")]
        while text[-1].endswith("\\") and number < len(lines):
            text.append(lines[number])
            number += 1
        if here := _HERE_DOCUMENT.search("\n".join(text)):
            while text[-1].strip() != here[2]:
                if number == len(lines):
                    raise ValueError(f"line {first + start}: the here-document has no end ({here[2]})")
                text.append(lines[number])
                number += 1
        shown = []
        while prompted and number < len(lines) and not lines[number].startswith("$ "):
            shown.append(lines[number])
            number += 1
        yield Command("\n".join(text), "\n".join(shown).strip("\n"), first + start)


def needs_cluster(command: str) -> bool:
    """A program of a cluster, or of a cloud, stands somewhere in it."""
    return not CLUSTER_PROGRAMS.isdisjoint(programs_of(command))


def programs_of(command: str) -> list[str]:
    """What the shell would start. Quotes and here-documents are not looked into."""
    here = _HERE_DOCUMENT.search(command)
    if here:
        first, _, _ = command.partition("\n")
        command = first
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "_", command.replace("\\\n", " "))
    return _PROGRAMS.findall(bare)


# --- running -----------------------------------------------------------------------------------------


def a_checkout(folder: Path) -> Path:
    """The checkout, for commands that write files: the examples are a copy, the rest are links."""
    checkout = folder / "podkey"
    checkout.mkdir()
    copytree(ROOT / "examples", checkout / "examples", ignore=ignore_patterns("__pycache__"))
    for name in _LINKED:
        (checkout / name).symlink_to(ROOT / name)
    return checkout


def run_block(
    block: Block,
    folder: Path,
    env: Mapping[str, str] = MappingProxyType({}),
    left_out: Callable[[str], bool] = needs_cluster,
) -> list[Ran]:
    """All commands but those that are left out, in one shell in `folder`. Colours are off."""
    chosen = [command for command in block.commands if not left_out(command.text)]
    script = "\n".join(f"{{ {one.text}\n}}; __s=$?; echo; echo {_MARK} $__s; (exit $__s)" for one in chosen)
    programs = Path(sys.executable).parent
    inherited = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    # Unbuffered: what a program says on its two ways stands in the order of a terminal.
    settings = {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**inherited, **settings, "PATH": f"{programs}:{os.environ['PATH']}", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BLOCK_SECONDS,
        check=False,
    )
    answers = re.split(rf"\n{_MARK} (\d+)\n", done.stdout)
    if len(answers) != 2 * len(chosen) + 1:
        raise AssertionError(f"{block}: the shell ended early:\n{done.stdout}")
    return list(_ran(block, chosen, answers))


def _ran(block: Block, chosen: list[Command], answers: list[str]) -> Iterator[Ran]:
    for number, command in enumerate(chosen):
        status = int(answers[2 * number + 1])
        told = [after.text.strip() for after in chosen[number + 1 : number + 2]] == ["echo $?"]
        allowed = told or (status == REFUSED and command.shown != "")
        place = f"{block.page.parent.name}/{block.page.name}:{command.line}"
        yield Ran(place, command, status, answers[2 * number], allowed)


# --- comparing ---------------------------------------------------------------------------------------


def faults(ran: list[Ran]) -> list[str]:
    """What is not as the page shows it; to be compared with []."""
    return [fault for one in ran for fault in _faults_of(one)]


def _faults_of(ran: Ran) -> Iterator[str]:
    where = f"{ran.place}: $ {ran.command.text}"
    if ran.status and not ran.allowed:
        yield f"{where}\nended with {ran.status}, of which the page says nothing:\n{ran.output}"
    if ran.command.shown and not matches(ran.command.shown, ran.output):
        yield f"{where}\nthe page shows:\n{ran.command.shown}\nit says:\n{ran.output}"


def matches(shown: str, output: str) -> bool:
    """Trailing blanks do not count: nobody sees them."""
    pattern = "".join(_line_pattern(line.rstrip()) for line in shown.splitlines())
    tidy = "".join(f"{line.rstrip()}\n" for line in output.strip("\n").splitlines())
    return re.fullmatch(pattern, tidy) is not None


def _line_pattern(line: str) -> str:
    if line.strip() == ANY:
        return r"(?:.*\n)*?"
    return ".*".join(re.escape(part) for part in line.split(ANY)) + r"\n"
