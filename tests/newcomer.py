"""Somebody who has the README and nothing else: a user of their own, an empty home, little environment.

    with newcomer() as anna:
        anna.terminal([f"git clone {anna.served} podkey"])
        anna.terminal(["make setup", "podkey check policy.yaml"], anna.clone)

The user's number belongs to nobody, so nothing of this machine's users can be read or written by chance. The
checkout is served as a repository of its own, as it stands on the disk: what is not committed counts, too.
Where Python lies in a home that is closed to others (pyenv in root's), a private mount namespace shows of it
the Python alone. Packages come from where this machine's settings say: they are handed on, not known here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
UID: Final = 54321
TOOLS: Final = ("git", "make", "mount", "setpriv", "unshare", "bash")
# The whole of it takes half a minute, on a busy machine some; more is a hang.
SECONDS: Final = 600.0
MARK: Final = "--podkey-newcomer--"
# Where to get packages is the machine's business, and never written down here.
_INDEX_PREFIXES: Final = ("PIP_", "UV_")
_INDEX_VARIABLES: Final = frozenset(
    {
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "https_proxy",
        "http_proxy",
        "no_proxy",
    }
)
_INDEX_FILES: Final = (".config/pip/pip.conf", ".pip/pip.conf", ".config/uv/uv.toml")
# What pip says where nothing can be reached, whatever is asked for.
_NO_NETWORK: Final = (
    "Temporary failure in name resolution",
    "Network is unreachable",
    "dns error",
    "No route to host",
)

# $1 is Python's folder, $2 the closed home, $3 a folder of ours; then the command.
_ENTER: Final = """
set -eu
python=$1 closed=$2 hold=$3; shift 3
mount --make-rprivate /
mount --bind "$python" "$hold"
mount -t tmpfs -o mode=755,size=1m tmpfs "$closed"
mkdir -p "$python"
mount --move "$hold" "$python"
exec "$@"
"""


def what_is_missing() -> str:
    """Why there can be no newcomer here; empty where there can."""
    if os.geteuid() != 0:
        return "another user's account needs root"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"`{tool}` is not installed"
    if not (ROOT / ".git").exists():
        return "this is no clone: there is nothing to clone"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


MISSING: Final = what_is_missing()


@dataclass(frozen=True)
class Answer:
    command: str
    status: int
    output: str


@dataclass(frozen=True)
class Newcomer:
    home: Path
    served: Path
    prefix: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def clone(self) -> Path:
        return self.home / "podkey"

    def terminal(self, commands: Sequence[str], folder: Path | None = None) -> list[Answer]:
        """One shell in which they are typed one after the other, whatever becomes of each."""
        script = "".join(
            f"{{ {one}\n}} </dev/null; s=$?; echo; echo {MARK} $s; (exit $s)\n" for one in commands
        )
        done = subprocess.run(
            [*self.prefix, "bash", "-c", script],
            cwd=folder or self.home,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        pieces = done.stdout.split(f"\n{MARK} ")
        outputs = [pieces[0], *(piece.partition("\n")[2] for piece in pieces[1:])]
        statuses = [int(piece.partition("\n")[0]) for piece in pieces[1:]]
        if len(statuses) != len(commands):
            raise AssertionError(f"the shell ended early:\n{done.stdout}")
        return [Answer(*one) for one in zip(commands, statuses, outputs, strict=False)]

    def write(self, name: str, text: str) -> Path:
        """As an editor of theirs would."""
        path = self.clone / name
        path.write_text(text)
        os.chown(path, UID, UID)
        return path


def skip_without_network(answer: Answer) -> None:
    if answer.status and any(sign in answer.output for sign in _NO_NETWORK):
        pytest.skip("no package index can be reached from here")


@contextmanager
def newcomer() -> Iterator[Newcomer]:
    # Not below pytest's own folder, which each session closes to others.
    with tempfile.TemporaryDirectory(prefix="podkey-newcomer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home, served, hold = folder / "home", folder / "served", folder / "hold"
        for one in (home, served, hold):
            one.mkdir()
        _serve(served)
        _hand_on_index_files(home)
        # Git does not clone what belongs to somebody else.
        subprocess.run(["chown", "-R", f"{UID}:{UID}", home, served], check=True)
        python = Path(sys.base_prefix)
        environment = {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": f"{python / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            **{name: value for name, value in os.environ.items() if _tells_the_index(name)},
        }
        become = ("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups")
        yield Newcomer(home, served, (*_entering(python, hold), *become), environment)


def _entering(python: Path, hold: Path) -> tuple[str, ...]:
    """Nothing where anybody can run that Python."""
    closed = next((one for one in reversed(python.parents) if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return ()
    return ("unshare", "--mount", "bash", "-c", _ENTER, "enter", str(python), str(closed), str(hold))


def _hand_on_index_files(home: Path) -> None:
    for name in _INDEX_FILES:
        if (Path.home() / name).exists():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path.home() / name, home / name)


def _tells_the_index(name: str) -> bool:
    return name.startswith(_INDEX_PREFIXES) or name in _INDEX_VARIABLES


def _serve(served: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():  # not so what was deleted and is not committed
            (served / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, served / name, follow_symlinks=False)
    me = ("-c", "user.name=somebody", "-c", "user.email=somebody@acme.example", "-c", "commit.gpgsign=false")
    for arguments in (
        ("init", "--quiet"),
        ("add", "--all", "--force"),
        ("commit", "--quiet", "--message", "All of it"),
    ):
        subprocess.run(["git", *me, *arguments], cwd=served, capture_output=True, check=True)
