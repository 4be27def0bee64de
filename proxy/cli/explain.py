"""`podkey explain`: one request against a set of policies, with every reason on the way."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from proxy.attach.bodies import BodyFault
from proxy.attach.presigned import read_signed_url
from proxy.cli.exit_status import OK, PROBLEMS, REFUSED, MisusedError
from proxy.cli.terminal import Ink, printable, problem_lines
from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.credentials import scheme_name
from proxy.core.identity import WorkloadIdentity
from proxy.core.queries import Query
from proxy.core.reason_pages import REASONS
from proxy.core.request import ClientCredential, RequestFacts
from proxy.core.selection import resolved
from proxy.core.services import Catalogue, Dialect
from proxy.core.structs import replace, to_builtins
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse, Verdict
from proxy.documents.explain_input import ExplainInput, read_explain_input
from proxy.documents.host_names import display_name
from proxy.documents.problems import Problem
from proxy.documents.reader import read_documents
from proxy.files.policy_files import STDIN, read_input_file, read_policy_files
from proxy.judge.explain import Explanation, PolicyConsidered, explain
from proxy.judge.index import PolicyIndex
from proxy.services.loader import built_in_catalogue

# The flags are read as the document that `--input` would hold; its places, as the person typed them.
FLAGS: Final = {
    "identity.namespace": "--namespace",
    "identity.serviceAccount": "--service-account",
    "identity.labels": "--label",
    "identity.images": "--image",
    "namespaceLabels": "--namespace-label",
    "request.method": "METHOD",
    "request.url": "URL",
    "request.headers": "--header",
    "request.deleteKeys": "--delete-key",
    "at": "--at",
}


MADE_HERE: Final = (
    "the URL is judged as one that this pod presigned; --client-credential foreign asks as somebody else's"
)

# What `--input` stands for.
GIVEN: Final = (
    "method",
    "url",
    "namespace",
    "namespace_label",
    "service_account",
    "label",
    "image",
    "gpu",
    "header",
    "client_credential",
    "delete_key",
    "at",
)


def describe(parser: argparse.ArgumentParser) -> None:
    parser.usage = "podkey explain (METHOD URL | --input FILE) --policies PATH [OPTION ...]"
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
    pod.add_argument(
        "--namespace-label", action="append", metavar="KEY=VALUE", help="of its namespace; several times"
    )
    pod.add_argument("--image", action="append", metavar="IMAGE", help="may be given several times")
    pod.add_argument("--gpu", action="store_true", default=None, help="the pod asks for an accelerator")
    request = parser.add_argument_group("the request")
    request.add_argument("--header", action="append", metavar="NAME:VALUE", help="may be given several times")
    request.add_argument(
        "--client-credential",
        choices=("absent", "placeholder", "foreign"),
        help="what the application sends as its credential, or presigned the URL with; default: placeholder",
    )
    request.add_argument(
        "--delete-key",
        action="append",
        metavar="KEY",
        help="a key in the body of an S3 DeleteObjects; may be given several times",
    )
    request.add_argument(
        "--at", metavar="TIME", help="the moment, such as 2026-12-31T18:00:00Z; default: now"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = (
        "examples:\n"
        "  podkey explain GET https://api.openai.com/v1/models --policies examples/03-inference"
        " -n inference --service-account chat\n"
        "  podkey explain PUT https://s3.eu-central-1.amazonaws.com/acme-checkpoints/resnet/step-100.pt"
        " --policies examples/02-training-job -n training --service-account trainer --gpu"
        " --label app=train-resnet --image registry.acme.example/ml/resnet:v4\n"
        "  podkey explain --policies examples/04-finetune-huggingface"
        " --input examples/04-finetune-huggingface/request.json\n"
        "\nThe status is 0 when the request goes out (attach, pass_through), 2 when it is refused, and 1 when"
        "\nthe question has problems, or leaves out what the verdict lies in (read_body).\n"
    )


def execute(arguments: argparse.Namespace) -> int:
    _check_use(arguments)
    files, problems = read_policy_files(arguments.policies)
    built_in = built_in_catalogue()
    result = read_documents(files, built_in)
    asked = _from_flags(arguments) if arguments.input is None else _from_file(arguments.input)
    if isinstance(asked, list):
        problems = [*problems, *asked]
    problems = [*problems, *result.problems]
    if problems or isinstance(asked, list):
        # Not on standard output: who waits for an answer there, as JSON or not, finds none.
        for line in problem_lines(problems, Ink.on(sys.stderr)):
            print(line, file=sys.stderr)
        return PROBLEMS
    documents = result.documents
    catalogue = Catalogue.of((*built_in.values(), *documents.services))
    namespace = asked.identity.namespace
    labels = {NAMESPACE_NAME_LABEL: namespace, **dict(asked.namespace_labels)}
    policies = [resolved(policy, namespace, labels) for policy in documents.policies]
    index = PolicyIndex(policies, documents.sources, catalogue)
    explanation = _explained(index, asked.identity, asked.request, asked.at or datetime.now(UTC))
    if arguments.output == "json":
        print(json.dumps(_as_json(explanation), indent=2))
    else:
        print("\n".join(_lines(explanation, asked.identity, asked.request, Ink.on(sys.stdout))))
    return _status(explanation.verdict)


def _status(verdict: Verdict) -> int:
    if isinstance(verdict, ReadBody):
        return PROBLEMS
    return REFUSED if isinstance(verdict, Refuse) else OK


def _check_use(arguments: argparse.Namespace) -> None:
    if arguments.input is None:
        if arguments.url is None:
            raise MisusedError("give METHOD and URL, or --input FILE")
        return
    if any(getattr(arguments, name) is not None for name in GIVEN):
        raise MisusedError("--input holds the pod and the request; leave out METHOD, URL and the other flags")
    if STDIN in {arguments.input} & {*arguments.policies}:
        raise MisusedError("--policies and --input cannot both be standard input")


def _from_file(path: str) -> ExplainInput | list[Problem]:
    found = read_input_file(path)
    if isinstance(found, Problem):
        return [found]
    name, data = found
    return read_explain_input(data, name)


def _from_flags(arguments: argparse.Namespace) -> ExplainInput | list[Problem]:
    identity = {
        "namespace": arguments.namespace,
        "serviceAccount": arguments.service_account,
        "labels": _pairs("--label", "KEY=VALUE", arguments.label or ()),
        "images": arguments.image or [],
        "gpu": arguments.gpu,
    }
    request = {
        "method": arguments.method,
        "url": arguments.url,
        "headers": _pairs("--header", "NAME:VALUE", arguments.header or ()),
        "clientCredential": arguments.client_credential,
        "deleteKeys": arguments.delete_key,
    }
    document = {
        "identity": _given(identity),
        "request": _given(request),
        "at": arguments.at,
        "namespaceLabels": _pairs("--namespace-label", "KEY=VALUE", arguments.namespace_label or ()),
    }
    # Characters stay themselves: JSON writes an emoji as two escapes, which YAML does not read.
    text = json.dumps(_given(document), ensure_ascii=False)
    if not text.isprintable():
        raise MisusedError("an argument holds a control character, or bytes that are no text in this locale")
    asked = read_explain_input(text.encode(), "")
    if isinstance(asked, list):
        return [problem._replace(file=_flag(problem), line=0, path="") for problem in asked]
    return asked


def _flag(problem: Problem) -> str:
    flags = (flag for path, flag in FLAGS.items() if problem.path.startswith(path))
    return next(flags, "the command line")  # too long as a whole, say


def _pairs(flag: str, form: str, texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    separator = ":" if ":" in form else "="
    for text in texts:
        key, found, value = text.partition(separator)
        if not found:
            raise MisusedError(f"{flag} {text}: write {form}")
        if pairs.setdefault(key.strip(), value.strip()) != value.strip():
            raise MisusedError(f"{flag} {key.strip()} has two values")
    return pairs


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


# --- presigned URLs ------------------------------------------------------------------------------


class _EveryKey:
    """Stands for the pod's placeholders, which nobody has at hand who asks."""

    def __contains__(self, _: object) -> bool:
        return True


def _explained(
    index: PolicyIndex, identity: WorkloadIdentity, request: RequestFacts, now: datetime
) -> Explanation:
    """S3's URLs are judged without what signs them; whose signature it is, the client credential says."""
    rules = index.for_pod(identity).rules_for(request.host)
    if not any(service.dialect is Dialect.S3_XML for service in rules.services):
        return explain(index, identity, request, now)
    made_here = request.client_credential is ClientCredential.PLACEHOLDER
    url = read_signed_url(request.query.raw, _EveryKey() if made_here else (), now)
    if url is None or (isinstance(url, BodyFault) and rules.observed):
        return explain(index, identity, request, now)
    if isinstance(url, BodyFault):
        return Explanation(Refuse(url.reason), (), (url.message,))
    meant = replace(
        request,
        query=Query.parse(url.query),
        headers={**request.headers, **dict(url.headers)},
        client_credential=ClientCredential.ABSENT,
        signed_elsewhere=not made_here,
    )
    found = explain(index, identity, meant, now)
    return replace(found, notes=(MADE_HERE, *found.notes)) if made_here else found


# --- words ---------------------------------------------------------------------------------------


def _kind(verdict: Verdict) -> str:
    match verdict:
        case Attach():
            return "attach"
        case PassThrough():
            return "pass_through"
        case Refuse():
            return "refuse"
        case ReadBody():
            return "read_body"
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
        yield f"         {ink.faint(printable(note))}"
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
        lacks = printable(grant.lacks)
        if grant.covers:
            yield f"  {ink.good('+')} {name}: covers the request"
        elif grant.reason is None:
            yield f"  {ink.faint('-')} {name}: {lacks}"
        else:
            yield f"  {ink.bad('-')} {name}: {lacks} [{grant.reason.value}]"


def _verdict_lines(verdict: Verdict, ink: Ink) -> Iterator[str]:
    if isinstance(verdict, ReadBody):
        yield f"verdict  {ink.bad(_kind(verdict))}"
        yield f"         granted as far as its head says, by {verdict.granted.rule}"
        yield "         its body names the keys: give them with --delete-key (in --input: deleteKeys)"
        return
    paint = ink.bad if isinstance(verdict, Refuse) else ink.good
    yield f"verdict  {paint(_kind(verdict))} [{verdict.reason.value}]"
    match verdict:
        case Attach():
            yield f"         by {verdict.rule}"
            yield f"         credential {verdict.credential}, as {scheme_name(verdict.scheme)}"
        case PassThrough(would=None):
            yield f"         {REASONS[verdict.reason].meaning}"
        case PassThrough(would=Attach() | Refuse() as would):
            yield f"         enforced, it would be: {_kind(would)} [{would.reason.value}]"
        case Refuse():
            yield f"         {REASONS[verdict.reason].meaning}"
            if verdict.rule is not None:
                yield f"         nearest grant: {verdict.rule}"
            yield f"         what to change: {REASONS[verdict.reason].change}"


def _as_json(explanation: Explanation) -> dict[str, Any]:
    verdict, policies = _verdict_json(explanation.verdict), to_builtins(explanation.policies)
    return {"verdict": verdict, "notes": explanation.notes, "policies": policies}


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The same keys for every verdict, null where one does not apply."""
    rule = credential = attach = would = None
    match verdict:
        case Attach():
            rule, credential = str(verdict.rule), str(verdict.credential)
            attach = scheme_name(verdict.scheme)
        case PassThrough():
            would = _verdict_json(verdict.would) if verdict.would else None
        case Refuse():
            rule = str(verdict.rule) if verdict.rule else None
        case ReadBody():
            rule = str(verdict.granted.rule)
        case _:
            assert_never(verdict)
    return {
        "verdict": _kind(verdict),
        "reason": None if isinstance(verdict, ReadBody) else verdict.reason.value,
        "rule": rule,
        "credential": credential,
        "attach": attach,
        "would": would,
    }
