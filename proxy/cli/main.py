"""`podkey`: finds the subcommand and hands over. Modules are imported when their command is run, so that
`podkey --help` answers at once."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from proxy import __version__
from proxy.cli.exit_status import INTERRUPTED, OK, UNWRITABLE, MisusedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Buffer

COMMANDS: Final = {
    "check": "read policy files and report every problem",
    "dev": "make keys and pod tokens for a laptop, never for production",
    "explain": "say what podkey would do with one request, and why",
    "leases": "show what credentials a running sidecar holds, and make it drop them",
    "reasons": "say what a reason code means and who should act",
    "redirect": "bring a pod's calls to the sidecar with nftables, and prove it",
    "run": "run the sidecar",
    "schema": "print the JSON Schema or the CRD of a kind of document",
    "services": "list the service catalogue, or show one entry",
    "version": "print the version",
}

# What the injector writes into a pod, which waits for both: to read it with argparse would be a sixth of the
# init container's time, and 15 ms of the sidecar's start.
INIT_CONTAINER: Final = ("redirect", "apply", "--verify")
SIDECAR: Final = ("run",)

# Where other programs of the distribution name theirs.
ENTRY_POINTS: Final = "podkey.commands"

EXIT_STATUSES: Final = """\
exit status:
  0   fine: no problems, or a verdict that lets the request go
  1   problems in documents or input
  2   the verdict is a refusal
  64  the command line was not understood
  74  the output could not be written"""

EXAMPLES: Final = """\
examples:
  podkey check examples/
  podkey explain --policies examples/03-inference --input examples/03-inference/request.json
  podkey services s3

"""


class Command(Protocol):
    """What a module in this package offers."""

    def describe(self, parser: "argparse.ArgumentParser") -> None: ...
    def execute(self, arguments: "argparse.Namespace") -> int: ...


class AddedCommand(Protocol):
    """What an entry point of the group names. It is light: the help loads it, and the command only later."""

    @property
    def summary(self) -> str: ...
    def load(self) -> Command: ...


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    if tuple(argv) == INIT_CONTAINER:
        from proxy.cli.redirect import run  # noqa: PLC0415 - as every command

        return run(os.environ, "apply", verify=True)
    if tuple(argv) == SIDECAR:
        from proxy.cli.run import run as serve  # noqa: PLC0415 - as every command

        return serve(os.environ)
    if argv and argv[0] == "help":
        argv = [*argv[1:2], "--help"]
    if argv and (found := _found(argv[0])) is not None:
        name, *rest = argv
        summary, command = found
        from proxy.cli.parsing import command_parser  # noqa: PLC0415 - see INIT_CONTAINER

        parser = command_parser(name, summary)
        command.describe(parser)
        try:
            return command.execute(parser.parse_args(rest))
        except MisusedError as misused:
            parser.error(str(misused))
    return _top(argv)


def _found(name: str) -> tuple[str, Command] | None:
    """A command's summary and its module. Other packages are asked only for a name that is not ours."""
    if name in COMMANDS:
        return COMMANDS[name], import_module(f"proxy.cli.{name}")
    # What looks like a flag needs no search.
    added = None if name.startswith("-") else _added_commands().get(name)
    return None if added is None else (added.summary, added.load())


def _added_commands() -> dict[str, AddedCommand]:
    """Commands of the other programs that are installed here: we import none of them (docs/adr/0014)."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - reads the metadata of every package

    found = {}
    for entry_point in entry_points(group=ENTRY_POINTS):
        # An image carries one program, and the metadata of both.
        with suppress(ModuleNotFoundError):
            found[entry_point.name] = entry_point.load()
    return found


def _top(argv: Sequence[str]) -> int:
    commands = COMMANDS | {name: added.summary for name, added in _added_commands().items()}
    width = max(map(len, commands))
    lines = "\n".join(f"  {name:<{width}}  {commands[name]}" for name in sorted(commands))
    from proxy.cli.parsing import top_parser  # noqa: PLC0415 - see INIT_CONTAINER

    epilog = f"commands:\n{lines}\n\n{EXAMPLES}{EXIT_STATUSES}\n\n`podkey COMMAND --help` says more."
    parser = top_parser(epilog, __version__)
    name = parser.parse_args(argv[:1]).command
    if name is None:
        parser.print_help()
        return OK
    from proxy.documents.problems import did_you_mean  # noqa: PLC0415 - only for a mistyped command

    return parser.error(f"there is no command `{name}`; {did_you_mean(name, commands)}")


class _Stdout(FileIO):
    """Its reader may go away (`podkey check . | head`), and the exit status stays the true one."""

    def write(self, data: "Buffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def run() -> NoReturn:
    """The entry point of the `podkey` script."""
    try:
        sys.stdout = TextIOWrapper(
            BufferedWriter(_Stdout(1, "wb", closefd=False)),
            encoding=sys.stdout.encoding,
            errors="backslashreplace",  # a terminal need not know every character
            line_buffering=sys.stdout.isatty(),
        )
        status = _status(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        # Files are read in the edge, which reports them; what is left is our own output. Python would try
        # to flush it once more at exit, and complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"podkey: cannot write the output: {error.strerror}", file=sys.stderr)
        status = UNWRITABLE
    sys.exit(status)


def _status(argv: Sequence[str]) -> int:
    try:
        return main(argv)
    except SystemExit as end:  # argparse: --help, --version, usage
        return end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        return INTERRUPTED
