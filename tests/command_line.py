"""How tests run `podkey`: in this process where its answer is enough, else as a program."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO

from proxy.cli.main import main

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
INFERENCE = str(EXAMPLES / "03-inference")
TRAINING = str(EXAMPLES / "02-training-job")

# The pod of examples/03-inference, in flags.
CHAT = ("--policies", INFERENCE, "--namespace", "inference", "--service-account", "chat")
COMPLETIONS = "https://api.openai.com/v1/chat/completions"

UNWANTED = frozenset({"NO_COLOR", "PYTHONIOENCODING", "PYTHONUNBUFFERED", "PYTHONUTF8", "TERM"})

# One document, and one problem: nobody is selected.
NOBODY = """\
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: nobody}
spec:
  workloads: {serviceAccounts: []}
  grants:
    - {hosts: [api.acme.example], credential: acme}
"""


def podkey(*argv: str) -> int:
    """The exit status; what was written is in `capsys`."""
    try:
        return main(argv)
    except SystemExit as end:
        return int(end.code or 0)


def environment(**changes: str) -> dict[str, str]:
    """Ours, but for what a developer may have set that changes how programs write."""
    inherited = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**inherited, **changes}


def run_podkey(
    *argv: str | bytes,
    stdin: bytes = b"",
    stdout: int | IO[bytes] = subprocess.PIPE,
    env: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[bytes]:
    """As a program of its own, in the repository's root."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", *argv],
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(**env),
        check=False,
    )


def example_lines(text: str) -> list[str]:
    """The indented lines below `examples:` in a help text."""
    _, _, rest = text.partition("\nexamples:\n")
    block = rest.partition("\n\n")[0]
    return [line.strip() for line in block.splitlines()]


def arguments_of(example: str) -> list[str] | None:
    """What `podkey` is given in an example line.

    A line that begins with `kubectl` needs a cluster, so there is nothing to run. Redirections and what
    follows a pipe are the shell's, not ours.
    """
    if example.startswith("kubectl "):
        return None
    program, *words = shlex.split(example)
    if program != "podkey":
        raise ValueError(f"an example that is neither podkey nor kubectl: {example}")
    ends = [words.index(word) for word in ("|", "<", ">") if word in words]
    return words[: min(ends, default=len(words))]


def stdin_of(example: str) -> bytes:
    """What the shell would hand to `podkey` in an example line."""
    name = example.partition(" < ")[2]
    return (ROOT / name).read_bytes() if name else b""
