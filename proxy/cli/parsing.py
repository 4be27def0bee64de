"""How command lines are read: argparse, with an exit status of its own for usage and a hint where to look."""

import argparse
import sys
from typing import NoReturn

from proxy.cli.exit_status import USAGE


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n  see: {self.prog} --help\n")


def command_parser(name: str, summary: str) -> Parser:
    return Parser(
        prog=f"podkey {name}",
        description=summary[0].upper() + summary[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a flag that is added later must not break a script
    )


def top_parser(epilog: str, version: str) -> Parser:
    parser = Parser(
        prog="podkey",
        usage="podkey COMMAND [ARGUMENT ...]",
        description="Credentials for GPU pods that never hold a secret: check and explain policies.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"podkey {version}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    return parser
