"""`podkey-injector`: the program of the webhook's image."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from injector.cli import probe, serve
from proxy import __version__
from proxy.cli.exit_status import INTERRUPTED, OK, USAGE

_EXIT_STATUSES: Final = """\
exit status:
  0   drained after SIGTERM
  1   problems in settings, or it could not go on; probe: a webhook does not answer
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
    serving.set_defaults(execute=serve.execute)
    probing = commands.add_parser(
        "probe",
        help="ask the webhooks of a cluster as its API servers do",
        description="Ask every webhook as API servers do: through its Service, trusting its caBundle.",
        allow_abbrev=False,
    )
    probe.describe(probing)
    probing.set_defaults(execute=probe.execute)
    arguments = parser.parse_args(argv)
    execute: Callable[[argparse.Namespace], int] = arguments.execute
    return execute(arguments)


def run() -> NoReturn:
    """The entry point of the `podkey-injector` script."""
    try:
        status = main(sys.argv[1:])
    except SystemExit as end:  # argparse: --help, --version, usage
        status = end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
