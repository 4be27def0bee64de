"""`podkey reasons`: the page of a reason code, at the place where it was met."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Final

from proxy.cli.exit_status import OK, MisusedError
from proxy.cli.terminal import Ink
from proxy.core.injection_codes import INJECTION_CODES, CodeKind, InjectionCode
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import NOT_REFUSED, Reason
from proxy.documents.problems import did_you_mean

_OUTCOMES: Final = {
    CodeKind.INJECT: "the pod gets a sidecar",
    CodeKind.SKIP: "the pod starts without a sidecar",
    CodeKind.REFUSE: "the pod is refused",
    CodeKind.WARN: "a warning",
}


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", nargs="?", help="a reason code, such as path_not_granted; all without it")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = (
        "Codes of requests come from the sidecar, codes of pods from the admission webhook.\n\n"
        "examples:\n  podkey reasons\n  podkey reasons path_not_granted\n  podkey reasons host_network\n"
    )


def execute(arguments: argparse.Namespace) -> int:
    code = arguments.code
    known = {reason.value for reason in Reason} | {code.value for code in InjectionCode}
    if code is not None and code not in known:
        raise MisusedError(f"there is no reason code `{code}`; {did_you_mean(code, known)}")
    requests = [reason for reason in Reason if code in {None, reason.value}]
    pods = [one for one in InjectionCode if code in {None, one.value}]
    if arguments.output == "json":
        print(json.dumps([*map(_request_row, requests), *map(_pod_row, pods)], indent=2))
        return OK
    ink = Ink.on(sys.stdout)
    for title, lines in (*map(_request_lines, requests), *map(_pod_lines, pods)):
        print(ink.strong(title))
        for line in lines:
            print(f"  {line}")
    return OK


def _request_row(reason: Reason) -> dict[str, object]:
    page = REASONS[reason]
    return {
        "code": reason.value,
        "about": "request",
        "meaning": page.meaning,
        "actor": page.actor.value,
        "change": page.change,
        "status": None if reason in NOT_REFUSED else page.status,
    }


def _pod_row(code: InjectionCode) -> dict[str, object]:
    page = INJECTION_CODES[code]
    return {
        "code": code.value,
        "about": "pod",
        "meaning": page.meaning,
        "kinds": [kind.value for kind in page.kinds],
        "change": page.change,
    }


def _request_lines(reason: Reason) -> tuple[str, Iterator[str]]:
    page = REASONS[reason]

    def lines() -> Iterator[str]:
        yield page.meaning
        yield f"who acts: {page.actor.value}"
        yield f"what to change: {page.change}"
        if reason not in NOT_REFUSED:
            yield f"status: {page.status}"

    return reason.value, lines()


def _pod_lines(code: InjectionCode) -> tuple[str, Iterator[str]]:
    page = INJECTION_CODES[code]

    def lines() -> Iterator[str]:
        yield page.meaning
        yield f"what follows: {' or '.join(_OUTCOMES[kind] for kind in page.kinds)}"
        yield f"what to change: {page.change}"

    return code.value, lines()
