"""`podkey run`: the sidecar."""

import gc
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxy.cli.exit_status import PROBLEMS
from proxy.cli.terminal import printable
from proxy.documents import settings_table as table
from proxy.documents.setting_kinds import flag_of
from proxy.documents.settings import read_settings

if TYPE_CHECKING:
    import argparse

# mitmproxy writes TLS session keys to the file that these name. Whoever can set our environment could then
# read what we send; nobody needs that of a sidecar.
KEY_LOGS = ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE")


def describe(parser: "argparse.ArgumentParser") -> None:
    for setting in table.SETTINGS:
        default = f" (default: {setting.default})" if setting.default else ""
        parser.add_argument(
            flag_of(setting.name),
            dest=setting.name,
            metavar="VALUE",
            help=f"{setting.doc}{default}".replace("%", "%%"),
        )
    parser.epilog = (
        "Each option has a variable of the same name: --policy-dir is PODKEY_POLICY_DIR. Options win.\n"
        "docs/settings.md says more. SIGTERM drains: what is on its way arrives, then the exit status is 0."
    )


def execute(arguments: "argparse.Namespace") -> int:
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    return run({**os.environ, **given})


def run(variables: Mapping[str, str]) -> int:
    settings = read_settings(variables)
    if isinstance(settings, tuple):
        for problem in settings:
            print(
                f"podkey run: {printable(str(problem))}\n    fix: {printable(problem.fix)}", file=sys.stderr
            )
        return PROBLEMS
    for name in KEY_LOGS:
        os.environ.pop(name, None)
    # Of what is loaded nothing is garbage; to look through it again and again is a tenth of a start.
    gc.disable()
    # From here on imports take a quarter of a second: problems of settings are told before.
    from proxy.edge.assembly import serve  # noqa: PLC0415

    return serve(settings)
