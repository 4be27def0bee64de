"""`podkey-injector`: the program of the webhook's image."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from injector.cli import serve
from proxy import __version__
from proxy.cli.exit_status import INTERRUPTED, OK, USAGE

_EXIT_STATUSES: Final = """\
exit status:
  0   drained after SIGTERM
  1   problems in settings, or it could not go on
  64  the command line was not understood

`podkey inject` shows offline what the webhook would do with a pod."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n  see: {self.prog} --help\n")


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    parser = _Parser(
        prog="podkey-injector",
        description="Gives GPU pods the sidecar that holds their credentials.",
        epilog=_EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"podkey-injector {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serving = commands.add_parser(
        "serve",
        help="answer admission reviews",
        description="Answer admission reviews.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a flag that is added later must not break a manifest
    )
    serve.describe(serving)
    return serve.execute(parser.parse_args(argv))


def run() -> NoReturn:
    """The entry point of the `podkey-injector` script."""
    try:
        status = main(sys.argv[1:])
    except SystemExit as end:  # argparse: --help, --version, usage
        status = end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
