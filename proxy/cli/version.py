"""`podkey version`."""

import argparse

from proxy import __version__
from proxy.cli.exit_status import OK
from proxy.core.contract import API_VERSION


def describe(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  podkey version\n"


def execute(_arguments: argparse.Namespace) -> int:
    print(f"podkey {__version__} (documents: {API_VERSION})")
    return OK
