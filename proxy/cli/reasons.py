"""`podkey reasons`: the page of a reason code, at the place where it was met."""

import argparse
import json
import sys

from proxy.cli.exit_status import OK, MisusedError
from proxy.cli.terminal import Ink
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import NOT_REFUSED, Reason
from proxy.documents.problems import did_you_mean


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", nargs="?", help="a reason code, such as path_not_granted; all without it")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = "examples:\n  podkey reasons\n  podkey reasons path_not_granted\n"


def execute(arguments: argparse.Namespace) -> int:
    pages = {reason.value: page for reason, page in REASONS.items()}
    if arguments.code is not None and arguments.code not in pages:
        hint = did_you_mean(arguments.code, pages)
        raise MisusedError(f"there is no reason code `{arguments.code}`; {hint}")
    chosen = [Reason(arguments.code)] if arguments.code else list(Reason)
    if arguments.output == "json":
        rows = [
            {
                "code": reason.value,
                "meaning": REASONS[reason].meaning,
                "actor": REASONS[reason].actor.value,
                "change": REASONS[reason].change,
                "status": None if reason in NOT_REFUSED else REASONS[reason].status,
            }
            for reason in chosen
        ]
        print(json.dumps(rows, indent=2))
        return OK
    ink = Ink.on(sys.stdout)
    for reason in chosen:
        page = REASONS[reason]
        print(ink.strong(reason.value))
        print(f"  {page.meaning}")
        print(f"  who acts: {page.actor.value}")
        print(f"  what to change: {page.change}")
        if reason not in NOT_REFUSED:
            print(f"  status: {page.status}")
    return OK
