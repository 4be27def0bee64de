"""`podkey-injector serve`: the admission webhooks."""

import argparse
import os
import sys

from injector.reading.settings import read_injector_settings
from injector.reading.settings_table import SETTINGS, flag_of
from proxy.cli.exit_status import PROBLEMS
from proxy.cli.terminal import printable


def describe(parser: argparse.ArgumentParser) -> None:
    for setting in SETTINGS:
        default = f" (default: {setting.default})" if setting.default else ""
        parser.add_argument(
            flag_of(setting.name),
            dest=setting.name,
            metavar="VALUE",
            help=f"{setting.doc}{default}".replace("%", "%%"),
        )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="for a cluster that this process does not run in (default: the pod's service account)",
    )
    parser.epilog = (
        "Each option has a variable of the same name: --image is PODKEY_INJECTOR_IMAGE. Options win.\n"
        "docs/injector-settings.md says more. SIGTERM drains: reviews are answered for a while, then the\n"
        "exit status is 0."
    )


def execute(arguments: argparse.Namespace) -> int:
    options = {setting.name for setting in SETTINGS}
    given = {name: value for name, value in vars(arguments).items() if name in options and value is not None}
    settings = read_injector_settings({**os.environ, **given})  # noqa: TID251 - the entry
    if isinstance(settings, tuple):
        for problem in settings:
            text = f"podkey-injector serve: {printable(str(problem))}\n    fix: {printable(problem.fix)}"
            print(text, file=sys.stderr)
        return PROBLEMS
    # From here on imports take a while: problems of settings are told before.
    from injector.edge.assembly import serve  # noqa: PLC0415

    return serve(settings, os.environ, arguments.kubeconfig)  # noqa: TID251 - the entry
