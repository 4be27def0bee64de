"""`podkey redirect`: loads, shows, proves and removes the rules that bring a pod's calls to the sidecar."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from proxy.cli.exit_status import OK, PROBLEMS, USAGE, MisusedError
from proxy.cli.terminal import Ink, printable
from proxy.core.contract import (
    CAPTURE_PORTS_VARIABLE,
    EXCLUDE_CIDRS_VARIABLE,
    EXCLUDE_PORTS_VARIABLE,
    FENCE_METADATA_VARIABLE,
    PROXY_UID_VARIABLE,
    REJECT_QUIC_VARIABLE,
    TRANSPARENT_PORT_VARIABLE,
)
from proxy.core.redirect import Redirect, render_ruleset
from proxy.documents.redirect_settings import read_redirect
from proxy.documents.setting_values import SettingProblem
from proxy.edge.redirect import RedirectError, apply_redirect, loaded_redirect, remove_redirect

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

    from proxy.edge.redirect_probes import Check

# Every setting is a flag as well: variable, what stands for its value, what it says.
SETTINGS: Final = (
    (PROXY_UID_VARIABLE, "UID", "the sidecar's user, whose calls are not captured"),
    (TRANSPARENT_PORT_VARIABLE, "PORT", "the loopback port on which the sidecar takes captured calls"),
    (CAPTURE_PORTS_VARIABLE, "PORT,…", "destination ports whose TCP calls are captured"),
    (EXCLUDE_PORTS_VARIABLE, "PORT,…", "ports that are left out of those"),
    (EXCLUDE_CIDRS_VARIABLE, "CIDR,…", "networks that are left alone; the metadata fence holds there, too"),
    (FENCE_METADATA_VARIABLE, "BOOL", "refuse the clouds' metadata addresses to everybody but the sidecar"),
    (REJECT_QUIC_VARIABLE, "BOOL", "refuse UDP to the captured ports, so that clients fall back to TCP"),
)

ACTIONS: Final = {
    "show": "print the rules that `apply` would load; with --live those that are loaded, with counters",
    "apply": "load the rules in one transaction, or replace them (needs the capability NET_ADMIN)",
    "verify": "try out as this user whether they hold; needs no privilege",
    "remove": "unload the rules, if there are any (needs NET_ADMIN)",
}


def describe(parser: "argparse.ArgumentParser") -> None:
    width = max(map(len, ACTIONS))
    parser.description = f"{parser.description}\n\n" + "\n".join(
        f"  {name:<{width}}  {what}" for name, what in ACTIONS.items()
    )
    parser.add_argument("action", choices=ACTIONS, help="see above")
    parser.add_argument(
        "--live", action="store_true", help="with `show`: what the kernel has (needs NET_ADMIN)"
    )
    parser.add_argument("--verify", action="store_true", help="with `apply`: also verify, in the same run")
    parser.add_argument("--output", choices=("text", "json"), help="of `verify`; default: text")
    settings = parser.add_argument_group("settings", "A flag wins over the environment variable.")
    for variable, metavar, what in SETTINGS:
        settings.add_argument(_flag(variable), dest=variable, metavar=metavar, help=f"{what} [{variable}]")
    parser.epilog = (
        "examples:\n"
        "  podkey redirect show\n"
        "  podkey redirect show --capture-ports 443,8443 --exclude-cidrs 10.0.0.0/8,fd00::/8\n"
        "  kubectl debug trainer-0 -it --image=PODKEY_IMAGE --custom=as-app.yaml -- podkey redirect verify\n"
        "\n"
        "In an init container: podkey redirect apply --verify\n"
    )


def execute(arguments: "argparse.Namespace") -> int:
    action = arguments.action
    if arguments.live and action != "show":
        raise MisusedError("--live goes with `show`")
    if arguments.verify and action != "apply":
        raise MisusedError("--verify goes with `apply`")
    if arguments.output and action != "verify":
        raise MisusedError("--output goes with `verify`")
    given = {name: text for name, _, _ in SETTINGS if (text := getattr(arguments, name)) is not None}
    return run(
        {**os.environ, **given},
        action,
        live=arguments.live,
        verify=arguments.verify or action == "verify",
        as_json=arguments.output == "json",
        given=frozenset(given),
    )


def run(
    variables: Mapping[str, str],
    action: str,
    *,
    live: bool = False,
    verify: bool = False,
    as_json: bool = False,
    given: frozenset[str] = frozenset(),
) -> int:
    """`given` are the variables that came as flags."""
    redirect = read_redirect(variables)
    if isinstance(redirect, list):
        return _print_problems(redirect, given)
    try:
        match action:
            case "show":
                print(loaded_redirect() if live else render_ruleset(redirect), end="")
            case "remove":
                remove_redirect()
                print("no redirect is loaded here now")
            case "apply":
                apply_redirect(redirect, meanwhile=_probes if verify else None)
                print(_summary(redirect))
    except RedirectError as error:
        print(f"podkey redirect {action}: {printable(error.message)}", file=sys.stderr)
        print(f"    fix: {printable(error.fix)}", file=sys.stderr)
        return PROBLEMS
    return _report(_probes().verify_redirect(redirect), as_json=as_json) if verify else OK


def _probes() -> "ModuleType":
    """Loaded when they are needed, or while `nft` waits for the kernel."""
    from proxy.edge import redirect_probes  # noqa: PLC0415

    return redirect_probes


def _flag(variable: str) -> str:
    return "--" + variable.removeprefix("PODKEY_").lower().replace("_", "-")


def _print_problems(problems: Sequence[SettingProblem], given: frozenset[str]) -> int:
    """All of them; a mistake in a flag is misuse, one in the environment a problem of the input."""
    for problem in problems:
        name = _flag(problem.name) if problem.name in given else problem.name
        print(f"podkey redirect: {name}: {printable(problem.message)}", file=sys.stderr)
        print(f"    fix: {printable(problem.fix)}", file=sys.stderr)
    return USAGE if any(problem.name in given for problem in problems) else PROBLEMS


def _summary(redirect: Redirect) -> str:
    ports = ", ".join(map(str, redirect.ports))
    lines = [f"TCP to {ports} goes to port {redirect.port}, but for user {redirect.proxy_uid}"]
    if redirect.reject_quic:
        lines.append(f"UDP to {ports} is refused")
    if redirect.fence_metadata:
        lines.append("metadata addresses are fenced")
    return "loaded: " + "; ".join(lines)


def _report(checks: "Sequence[Check]", *, as_json: bool) -> int:
    ok = all(check.ok for check in checks)
    if as_json:
        import json  # noqa: PLC0415 - an init container prints text

        answer = {"ok": ok, "checks": [{"ok": check.ok, **check._asdict()} for check in checks]}
        print(json.dumps(answer, indent=2))
        return OK if ok else PROBLEMS
    ink = Ink.on(sys.stdout)
    for check in checks:
        word = ink.good("ok    ") if check.ok else ink.bad("FAILED")
        print(f"{word}  {check.name}: {printable(check.detail)}")
        if check.fix:
            print(f"        fix: {printable(check.fix)}")
    return OK if ok else PROBLEMS
