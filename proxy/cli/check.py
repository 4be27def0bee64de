"""`podkey check`: all problems of a set of policy files at once."""

import argparse
import json
import sys
from collections.abc import Sequence

from proxy.cli.exit_status import OK, PROBLEMS
from proxy.cli.terminal import Ink, plural, problem_lines
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import Documents, read_documents
from proxy.files.policy_files import STDIN, read_policy_files
from proxy.services.loader import built_in_catalogue


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help=f"a file, a folder (every .yaml and .yml file below it), or {STDIN} for standard input",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = (
        "examples:\n"
        "  podkey check examples/\n"
        "  podkey check examples/02-training-job examples/03-inference/policy.yaml --output json\n"
        "  podkey check - < examples/03-inference/policy.yaml\n"
        "  kubectl get accesspolicies,credentialsources -o yaml | podkey check -\n"
    )


def execute(arguments: argparse.Namespace) -> int:
    files, problems = read_policy_files(arguments.paths)
    result = read_documents(files, built_in_catalogue())
    problems = [*problems, *result.problems]
    if files and not result.counted and not problems:
        fix = "a document begins with `apiVersion: podkey.io/v1alpha1`"
        message = "there are no documents in it"
        problems = [Problem(file, 0, "", message, fix, ProblemCode.NO_DOCUMENTS) for file in files]
    if arguments.output == "json":
        print(json.dumps(_as_json(files, result.documents, problems), indent=2))
    else:
        _print_text(files, result.documents, result.counted, problems)
    return PROBLEMS if problems else OK


def _counts(documents: Documents) -> dict[str, int]:
    return {
        "AccessPolicy": len(documents.policies),
        "CredentialSource": len(documents.sources),
        "CatalogueEntry": len(documents.services),
    }


def _as_json(files: dict[str, bytes], documents: Documents, problems: Sequence[Problem]) -> dict[str, object]:
    return {
        "ok": not problems,
        "files": len(files),
        "documents": _counts(documents),
        "problems": [{**problem._asdict(), "code": problem.code.value} for problem in problems],
    }


def _print_text(
    files: dict[str, bytes], documents: Documents, counted: int, problems: Sequence[Problem]
) -> None:
    ink = Ink.on(sys.stdout)
    for line in problem_lines(problems, ink):
        print(line)
    read = f"{plural(counted, 'document')} in {plural(len(files), 'file')}"
    if problems:
        print(ink.bad(f"{plural(len(problems), 'problem')}; read {read}"))
    else:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in _counts(documents).items() if count)
        print(ink.good(f"ok: {read} ({kinds})"))
