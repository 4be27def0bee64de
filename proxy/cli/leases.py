"""`podkey leases`: what a running sidecar holds, and how to make it let go. Never a value."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proxy.cli.exit_status import OK, PROBLEMS, MisusedError
from proxy.cli.terminal import Ink, plural, printable
from proxy.core.contract import CONTROL_SOCKET, STATE_DIR
from proxy.edge.control import ControlError, ask

STATE_VARIABLE: Final = "PODKEY_STATE_DIR"
# A session policy of AWS has up to 2,048 characters; `--output json` has it whole.
SHOWN_SCOPE: Final = 60

EXAMPLES: Final = """\
examples:
  kubectl exec POD -c podkey -- podkey leases
  podkey leases --output json
  podkey leases drop training/s3-data
  podkey leases drop --all
"""


def describe(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description} For root and the sidecar's own user, beside the sidecar. What is dropped is "
        "fetched anew by the next request."
    )
    parser.add_argument(
        "action", nargs="?", choices=("list", "drop"), default="list", help="list (default), or drop"
    )
    parser.add_argument(
        "credential",
        nargs="?",
        metavar="NAMESPACE/NAME",
        help="the CredentialSource whose leases are dropped",
    )
    parser.add_argument("--all", action="store_true", help="drop the leases of all sources")
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        help=f"the sidecar's state folder (default: ${STATE_VARIABLE}, {STATE_DIR})",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = EXAMPLES


def execute(arguments: argparse.Namespace) -> int:
    folder = arguments.state_dir or os.environ.get(STATE_VARIABLE) or STATE_DIR
    request = _request(arguments)
    try:
        answer = ask(Path(folder) / CONTROL_SOCKET, request)
    except ControlError as error:
        print(f"podkey: {printable(str(error))}", file=sys.stderr)
        return PROBLEMS
    if arguments.output == "json":
        print(json.dumps(answer, indent=2))
    elif arguments.action == "drop":
        print(f"{plural(answer['dropped'], 'lease')} dropped; the next request fetches anew")
    else:
        for line in lines(answer, Ink.on(sys.stdout)):
            print(line)
    return OK


def _request(arguments: argparse.Namespace) -> Mapping[str, Any]:
    name = arguments.credential
    if arguments.action == "list":
        if name is not None or arguments.all:
            raise MisusedError("`list` takes no name; it shows all")
        return {"command": "list"}
    if arguments.all == (name is not None):
        raise MisusedError("name one CredentialSource as NAMESPACE/NAME, or say --all")
    if name is not None and name.count("/") != 1:
        raise MisusedError(f"`{name}` is not NAMESPACE/NAME")
    return {"command": "drop", "credential": name}


def lines(answer: Mapping[str, Any], ink: Ink) -> Iterator[str]:
    """Leases as a table, then the sources that give none."""
    rows = [_row(lease) for lease in answer["leases"]]
    head = ("CREDENTIAL", "KIND", "LEASE", "AGE", "EXPIRES", "LAST USE", "SCOPE")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    if rows:
        yield ink.strong(_joined(head, widths))
    for row in rows:
        yield _joined(row, widths)
    if not rows:
        yield "no live leases: none was asked for yet, or no source gives one"
    for failing in answer["failing"]:
        yield f"{ink.bad('failing')}  {printable(failing['credential'])}: {printable(failing['why'])}"


def _joined(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def _row(lease: Mapping[str, Any]) -> tuple[str, ...]:
    unused = lease["unusedSeconds"]
    scope = printable(lease["scope"])
    return (
        printable(lease["credential"]),
        lease["kind"],
        lease["lease"],
        _span(lease["ageSeconds"]),
        lease["expires"] or "when its files change",
        "never" if unused is None else f"{_span(unused)} ago",
        scope if len(scope) <= SHOWN_SCOPE else scope[: SHOWN_SCOPE - 1] + "…",
    )


def _span(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
