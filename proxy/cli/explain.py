"""`podkey explain`: one request against a set of policies, with every reason on the way."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from proxy.cli.main import OK, PROBLEMS, REFUSED
from proxy.cli.terminal import Ink
from proxy.core.credentials import scheme_name
from proxy.core.identity import WorkloadIdentity
from proxy.core.reasons import REASONS
from proxy.core.request import RequestFacts
from proxy.core.services import Catalogue
from proxy.core.verdict import Attach, PassThrough, Refuse, Verdict
from proxy.documents.explain_input import read_explain_input
from proxy.documents.host_names import display_name
from proxy.documents.problems import Problem
from proxy.documents.reader import read_documents
from proxy.edge.policy_files import read_policy_files
from proxy.judge.explain import Explanation, PolicyConsidered, explain
from proxy.judge.index import PolicyIndex
from proxy.services.loader import built_in_catalogue

COMMAND_LINE: Final = "the command line"


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", nargs="?", metavar="METHOD", help="the HTTP method")
    parser.add_argument("url", nargs="?", metavar="URL", help="the URL as the application would call it")
    parser.add_argument(
        "--policies",
        action="append",
        required=True,
        metavar="PATH",
        help="a file or folder of policies; may be given several times",
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="identity and request from a JSON file (- for standard input) instead of flags",
    )
    pod = parser.add_argument_group("the pod")
    pod.add_argument("-n", "--namespace", metavar="NAME", help="default: default")
    pod.add_argument("--service-account", metavar="NAME", help="default: default")
    pod.add_argument("--label", action="append", metavar="KEY=VALUE", help="may be given several times")
    pod.add_argument("--image", action="append", metavar="IMAGE", help="may be given several times")
    pod.add_argument("--gpu", action="store_true", default=None, help="the pod asks for an accelerator")
    request = parser.add_argument_group("the request")
    request.add_argument("--header", action="append", metavar="NAME:VALUE", help="may be given several times")
    request.add_argument(
        "--client-credential",
        choices=("absent", "placeholder", "foreign"),
        help="what the application sends as its credential; default: placeholder",
    )
    request.add_argument(
        "--at", metavar="TIME", help="the moment, such as 2026-12-31T18:00:00Z; default: now"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = (
        "examples:\n"
        "  podkey explain GET https://api.openai.com/v1/models --policies examples/03-inference"
        " -n inference --service-account chat\n"
        "  podkey explain PUT https://s3.eu-central-1.amazonaws.com/acme-checkpoints/run-7/step-100.pt"
        " --policies examples/02-training-job -n training --service-account trainer --gpu\n"
        "  podkey explain --policies examples/04-finetune-huggingface"
        " --input examples/04-finetune-huggingface/request.json\n"
        "\nThe status is 0 when the request goes out (attach, pass_through) and 2 when it is refused.\n"
    )


def execute(arguments: argparse.Namespace) -> int:
    files, problems = read_policy_files(arguments.policies)
    built_in = built_in_catalogue()
    result = read_documents(files, built_in)
    problems = [*problems, *result.problems]
    name, data = COMMAND_LINE, b""
    if arguments.input is None:
        data = json.dumps(_from_flags(arguments)).encode()
    else:
        inputs, faults = read_policy_files([arguments.input])
        problems.extend(faults)
        name, data = next(iter(inputs.items()), (name, data))
    asked = read_explain_input(data, name)
    if isinstance(asked, list):
        problems.extend(asked)
    if problems or isinstance(asked, list):
        _print_problems(problems)
        return PROBLEMS
    documents = result.documents
    catalogue = Catalogue.of((*built_in.values(), *documents.services))
    index = PolicyIndex(documents.policies, documents.sources, catalogue)
    explanation = explain(index, asked.identity, asked.request, asked.at or datetime.now(UTC))
    if arguments.output == "json":
        print(json.dumps(_as_json(explanation), indent=2))
    else:
        print("\n".join(_lines(explanation, asked.identity, asked.request, Ink.for_stdout())))
    return REFUSED if isinstance(explanation.verdict, Refuse) else OK


def _from_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags as the document that `--input` would hold: they are checked in one place."""
    identity = {
        "namespace": arguments.namespace,
        "serviceAccount": arguments.service_account,
        "labels": dict(_pair(text, "=") for text in arguments.label or ()),
        "images": arguments.image or [],
        "gpu": arguments.gpu,
    }
    request = {
        "method": arguments.method,
        "url": arguments.url,
        "headers": dict(_pair(text, ":") for text in arguments.header or ()),
        "clientCredential": arguments.client_credential,
    }
    asked = {"identity": _given(identity), "request": _given(request), "at": arguments.at}
    return _given(asked)


def _pair(text: str, separator: str) -> tuple[str, str]:
    key, _, value = text.partition(separator)
    return key.strip(), value.strip()


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _print_problems(problems: list[Problem]) -> None:
    for problem in problems:
        print(f"{problem}\n    fix: {problem.fix}")


# --- words ---------------------------------------------------------------------------------------


def _kind(verdict: Verdict) -> str:
    match verdict:
        case Attach():
            return "attach"
        case PassThrough():
            return "pass_through"
        case Refuse():
            return "refuse"
        case _:
            assert_never(verdict)


def _lines(
    explanation: Explanation, identity: WorkloadIdentity, request: RequestFacts, ink: Ink
) -> Iterator[str]:
    labels = ", ".join(f"{key}={value}" for key, value in identity.labels.items()) or "no labels"
    gpu = "asks for an accelerator" if identity.wants_gpu else "no accelerator"
    port = "" if request.port == 443 else f":{request.port}"
    yield f"pod      {identity.namespace}/{identity.service_account} ({labels}; {gpu})"
    host = display_name(request.host)
    yield f"request  {request.method} {host}{port}; credential sent: {request.client_credential.value}"
    for note in explanation.notes:
        yield f"         {ink.faint(note)}"
    for policy in explanation.policies:
        yield ""
        yield from _policy_lines(policy, ink)
    yield ""
    yield from _verdict_lines(explanation.verdict, ink)


def _policy_lines(policy: PolicyConsidered, ink: Ink) -> Iterator[str]:
    yield f"{ink.strong(f'policy {policy.namespace}/{policy.name}')} ({policy.mode})"
    if not policy.selects:
        yield f"  {ink.faint('-')} not about this pod: {policy.why}"
        return
    yield f"  {ink.good('+')} about this pod, by {policy.why}"
    for grant in policy.grants:
        name = f"grants[{grant.index}] {grant.target}"
        if grant.covers:
            yield f"  {ink.good('+')} {name}: covers the request"
        elif grant.reason is None:
            yield f"  {ink.faint('-')} {name}: {grant.lacks}"
        else:
            yield f"  {ink.bad('-')} {name}: {grant.lacks} [{grant.reason.value}]"


def _verdict_lines(verdict: Verdict, ink: Ink) -> Iterator[str]:
    paint = ink.bad if isinstance(verdict, Refuse) else ink.good
    yield f"verdict  {paint(_kind(verdict))} [{verdict.reason.value}]"
    match verdict:
        case Attach():
            yield f"         by {verdict.rule}"
            yield f"         credential {verdict.credential}, as {scheme_name(verdict.scheme)}"
        case PassThrough(would=None):
            yield f"         {REASONS[verdict.reason].meaning}"
        case PassThrough(would=would):
            yield f"         enforced, it would be: {_kind(would)} [{would.reason.value}]" if would else ""
        case Refuse():
            yield f"         {REASONS[verdict.reason].meaning}"
            if verdict.rule is not None:
                yield f"         nearest grant: {verdict.rule}"
            yield f"         what to change: {REASONS[verdict.reason].change}"


def _as_json(explanation: Explanation) -> dict[str, Any]:
    policies = [asdict(policy) for policy in explanation.policies]
    for policy in policies:
        for grant in policy["grants"]:
            grant["reason"] = grant["reason"].value if grant["reason"] else None
    return {"verdict": _verdict_json(explanation.verdict), "notes": explanation.notes, "policies": policies}


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    shown: dict[str, Any] = {"verdict": _kind(verdict), "reason": verdict.reason.value}
    match verdict:
        case Attach():
            shown |= {
                "rule": str(verdict.rule),
                "credential": str(verdict.credential),
                "attach": scheme_name(verdict.scheme),
            }
        case PassThrough(would=would):
            shown["would"] = _verdict_json(would) if would else None
        case Refuse():
            shown["rule"] = str(verdict.rule) if verdict.rule else None
        case _:
            assert_never(verdict)
    return shown
