"""`podkey dev`: what a laptop needs where a pod has a cluster. Nothing here belongs into production."""

import argparse
import sys
from pathlib import Path
from typing import Final

from proxy.cli.exit_status import OK, PROBLEMS, MisusedError
from proxy.cli.terminal import printable
from proxy.core.contract import IDENTITY_AUDIENCE
from proxy.core.signing import SigningAlgorithm
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import lifetime
from proxy.edge.dev_issuer import (
    DISCOVERY_FILE,
    JWKS_FILE,
    KEY_FILE,
    DevIssuerError,
    drop_old_keys,
    issue_token,
    make_issuer,
    rotate_key,
    write_token,
)
from proxy.tokens.dev_issuer import DEFAULT_ISSUER, DevPod

# The shortest lets a renewal be watched; the longest is what a verifier accepts.
LIFETIME: Final = lifetime("1s", "365d")

WARNING: Final = (
    "For laptops and tests only: whoever can read DIR can be any pod to a sidecar that trusts its keys.\n"
    "On Kubernetes the API server issues the tokens, and there is nothing to run."
)

SESSION: Final = """\
a session:
  podkey dev issuer init issuer
  podkey dev issuer token issuer --namespace ml --service-account trainer --pod train-0 --output tokens/podkey
  podkey dev issuer rotate issuer
  podkey dev issuer token issuer --namespace ml --service-account trainer --pod train-0 --output tokens/podkey
  podkey dev issuer rotate issuer --drop-old
"""


def describe(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{parser.description}\n\n{WARNING}"
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    issuer = _described(tools, "issuer", "play the cluster's token issuer from a folder")
    actions = issuer.add_subparsers(dest="action", required=True, metavar="ACTION")

    init = _described(actions, "init", f"make {KEY_FILE}, {JWKS_FILE} and {DISCOVERY_FILE} in DIR")
    _folder(init)
    init.add_argument("--issuer", metavar="URL", default=DEFAULT_ISSUER, help="default: %(default)s")
    algorithms = [algorithm.value for algorithm in SigningAlgorithm]
    init.add_argument("--algorithm", choices=algorithms, default="ES256", help="default: %(default)s")
    init.add_argument("--force", action="store_true", help="replace an issuer that is there")

    token = _described(actions, "token", "print a token as the kubelet would mount it")
    _folder(token)
    token.add_argument("--namespace", metavar="N", required=True, help="the pod's namespace")
    token.add_argument("--service-account", metavar="S", required=True, help="the pod's service account")
    token.add_argument("--pod", metavar="P", help="the pod's name; without it the token is bound to no pod")
    token.add_argument("--uid", metavar="U", help="the pod's uid; default: always the same for one name")
    token.add_argument("--node", metavar="NODE", help="the pod's node; default: laptop")
    token.add_argument("--audience", metavar="A", default=IDENTITY_AUDIENCE, help="default: %(default)s")
    token.add_argument("--lifetime", metavar="TIME", default="1h", help="such as 10m; default: %(default)s")
    token.add_argument("--output", metavar="FILE", help="write it there (mode 0600) and print nothing")

    rotate = _described(actions, "rotate", "sign with a new key; the older public keys stay in the JWKS")
    _folder(rotate)
    rotate.add_argument(
        "--drop-old", action="store_true", help="make no key, and publish only the one that signs"
    )
    parser.epilog = f"{SESSION}\nexamples:\n  podkey dev issuer --help\n  podkey dev issuer token --help\n"


# argparse has no public name for what `add_subparsers` returns.
type _Group = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


def _described(group: _Group, name: str, what: str) -> argparse.ArgumentParser:
    return group.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.\n\n{WARNING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="the issuer's folder")


def execute(arguments: argparse.Namespace) -> int:
    try:
        match arguments.action:
            case "init":
                _init(arguments)
            case "token":
                _token(arguments)
            case _:
                _rotate(arguments)
    except DevIssuerError as error:
        print(f"podkey dev issuer {arguments.action}: {printable(error.message)}", file=sys.stderr)
        print(f"    fix: {printable(error.fix)}", file=sys.stderr)
        return PROBLEMS
    return OK


def _init(arguments: argparse.Namespace) -> None:
    issuer = arguments.issuer
    if not issuer.startswith("https://") or not issuer.isprintable() or " " in issuer:
        raise MisusedError("--issuer is an https URL, as Kubernetes demands")
    algorithm = SigningAlgorithm(arguments.algorithm)
    key_id = make_issuer(arguments.folder, issuer, algorithm, replace=arguments.force)
    print(f"{printable(str(arguments.folder))}: an issuer for laptops and tests")
    print(f"  issuer  {issuer}")
    print(f"  key     {key_id} ({algorithm.value})")


def _token(arguments: argparse.Namespace) -> None:
    if not arguments.pod and (arguments.uid or arguments.node):
        raise MisusedError("--uid and --node go with --pod")
    try:
        span = LIFETIME.parse(arguments.lifetime)
    except Fault as fault:
        raise MisusedError(f"--lifetime: {fault.message}; {fault.fix}") from None
    pod = DevPod(
        namespace=arguments.namespace,
        service_account=arguments.service_account,
        name=arguments.pod or "",
        uid=arguments.uid or "",
        node=arguments.node or "laptop",
    )
    token = issue_token(arguments.folder, pod, arguments.audience, span)
    if arguments.output:
        write_token(Path(arguments.output), token)
    else:
        # What the command is for; a token of this issuer opens nothing but a developer's sidecar.
        print(token.reveal().decode())


def _rotate(arguments: argparse.Namespace) -> None:
    if arguments.drop_old:
        print(f"published: {drop_old_keys(arguments.folder)} alone")
    else:
        print(f"signs: {rotate_key(arguments.folder)}; the older keys stay published until --drop-old")
