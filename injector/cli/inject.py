"""`podkey inject`: what the webhook would make of a pod, without a cluster, with every reason."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.outcome import Finding, Inject, Outcome, Refuse, Skip
from injector.core.settings import InjectorSettings
from injector.edge.chance import Chance
from injector.engine.rehearsal import Rehearsed, rehearsal_world, rehearse
from injector.engine.world import World
from injector.reading import settings_table as table
from injector.reading.objects import read_document
from injector.reading.reviews import outcome_name
from injector.reading.settings import read_injector_settings
from injector.reading.settings_table import flag_of
from injector.reading.templates import PodOfWorkload, pods_of
from proxy.cli.exit_status import OK, PROBLEMS, REFUSED, MisusedError
from proxy.cli.terminal import Ink, printable, problem_lines
from proxy.core.contract import ACCESS_POLICY, CREDENTIAL_SOURCE, DEFAULT_NAMESPACE, INJECT
from proxy.core.services import Catalogue
from proxy.documents.manifests import Manifest, read_manifests
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import read_documents
from proxy.documents.yaml_nodes import write_documents
from proxy.files.policy_files import STDIN, read_policy_files
from proxy.services.loader import built_in_catalogue

# What the webhook's settings say of pods; the rest is about how it serves.
_SETTINGS: Final = (*table.SECTIONS["The sidecar"], *table.SECTIONS["Pods"])
# Where nobody says which image: it stands for one.
_IMAGE: Final = "registry.example.com/podkey"
_OWN_NAMESPACE: Final = "podkey-system"
_REPLICA: Final = "offline"

# Documents that the cluster has as objects; catalogue entries are the injector's own files.
_KINDS: Final = frozenset({ACCESS_POLICY, CREDENTIAL_SOURCE})
_OUTPUTS: Final = ("pod", "patch", "json", "reasons")


def describe(parser: argparse.ArgumentParser) -> None:
    parser.usage = "podkey inject -f FILE [--policies PATH ...] [OPTION ...]"
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="pods, or workloads with pod templates: a file, a folder, or - for standard input",
    )
    parser.add_argument(
        "--policies",
        action="append",
        default=[],
        metavar="PATH",
        help="a file or folder of policies; may be given several times",
    )
    parser.add_argument("--output", choices=_OUTPUTS, default="pod", help="default: pod")
    parser.add_argument(
        "--placeholders",
        choices=("random", "fixed"),
        default="random",
        help="fixed: the same each time, for files that are compared; default: random",
    )
    cluster = parser.add_argument_group("the cluster")
    cluster.add_argument(
        "-n", "--namespace", default=DEFAULT_NAMESPACE, metavar="NAME", help="where the file names none"
    )
    cluster.add_argument(
        "--namespace-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"of namespaces that are not in the file; {INJECT}=enabled is added",
    )
    cluster.add_argument(
        "--own-namespace", default=_OWN_NAMESPACE, metavar="NAME", help=f"podkey's; default: {_OWN_NAMESPACE}"
    )
    cluster.add_argument(
        "--old-kubelets", action="store_true", help="a node runs a kubelet before Kubernetes 1.29"
    )
    settings = parser.add_argument_group("settings of the injector", "docs/injector.md says more.")
    for setting in _SETTINGS:
        default = f" (default: {setting.default})" if setting.default else ""
        settings.add_argument(
            flag_of(setting.name),
            dest=setting.name,
            metavar="VALUE",
            help=f"{setting.doc}{default}".replace("%", "%%"),
        )
    parser.epilog = (
        "examples:\n"
        "  podkey inject -f examples/02-training-job/job.json --policies examples/02-training-job\n"
        "  podkey inject -f examples/02-training-job/job.json --output reasons\n"
        "  kubectl get pod train-0 -o yaml | podkey inject -f - --output patch\n"
        "\nIt prints pods as they would be stored, and says on standard error why. The status is 0 when every"
        "\npod may start, 2 when one is refused, and 1 when the input has problems.\n"
    )


def execute(arguments: argparse.Namespace) -> int:
    if STDIN in {*arguments.filename} & {*arguments.policies}:
        raise MisusedError("--filename and --policies cannot both be standard input")
    settings = _settings(arguments)
    labels = _labels(arguments.namespace_label)
    documents, catalogue, problems = _policies(arguments.policies)
    manifests, more = _manifests(arguments.filename)
    pods, left = _pods(manifests, arguments.namespace)
    problems = [*problems, *more]
    if not pods and not problems:
        problems = left or [_nothing(name) for name in arguments.filename]
    ink = Ink.on(sys.stderr)
    if problems:
        for line in problem_lines(problems, ink):
            print(line, file=sys.stderr)
        return PROBLEMS
    namespaces = {namespace.name: namespace for namespace in _namespaces(manifests)}
    for name in sorted({one.namespace for one in pods} - namespaces.keys()):
        namespaces[name] = Namespace(name, {INJECT: "enabled", **labels})
        if INJECT not in labels:
            note = f"namespace {name} is taken for one with the label {INJECT}=enabled (--namespace-label)"
            print(ink.faint(printable(f"note     {note}")), file=sys.stderr)
    facts = ClusterFacts(native_sidecars=not arguments.old_kubelets)
    world = rehearsal_world(documents, catalogue, namespaces.values(), settings, facts)
    choose = Chance() if arguments.placeholders == "random" else _first
    rehearsed = [(one, rehearse(one.pod, one.namespace, world, choose)) for one in pods]
    for problem in left:
        print(ink.faint(f"note     {printable(f'{problem}: left out')}"), file=sys.stderr)
    _print(arguments.output, rehearsed, world)
    refused = any(isinstance(made.answer.outcome, Refuse) for _, made in rehearsed)
    return REFUSED if refused else OK


def _first(alphabet: str, count: int) -> str:
    return alphabet[0] * count


# --- what is given -------------------------------------------------------------------------------


def _settings(arguments: argparse.Namespace) -> InjectorSettings:
    chosen = {setting.name: getattr(arguments, setting.name) for setting in _SETTINGS}
    given = {
        table.IMAGE.name: _IMAGE,
        table.NAMESPACE.name: arguments.own_namespace,
        table.POD_NAME.name: _REPLICA,
        **{name: value for name, value in chosen.items() if value is not None},
    }
    settings = read_injector_settings(given)
    if isinstance(settings, InjectorSettings):
        return settings
    flags = {table.NAMESPACE.name: "--own-namespace"}
    told = (f"{flags.get(p.name, flag_of(p.name))}: {p.message}; {p.fix}" for p in settings)
    raise MisusedError("\n  ".join(told))


def _labels(texts: Iterable[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, found, value = text.partition("=")
        if not found:
            raise MisusedError(f"--namespace-label {text}: write KEY=VALUE")
        labels[key] = value
    return labels


def _policies(paths: Iterable[str]) -> tuple[list[RawDocument], Catalogue, list[Problem]]:
    """Read twice: by the parser of policies, which finds every problem, and as a cluster would have them."""
    files, problems = read_policy_files(paths)
    catalogue = built_in_catalogue()
    result = read_documents(files, catalogue)
    problems = [*problems, *result.problems]
    documents = []
    if not problems:
        for name, data in sorted(files.items()):
            for manifest in read_manifests(data, name)[0]:
                if (kind := manifest.value.get("kind")) in _KINDS:
                    value = _with_namespace(manifest.value)
                    documents.append(read_document(value, str(kind)))
    return documents, Catalogue.of((*catalogue.values(), *result.documents.services)), problems


def _with_namespace(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": DEFAULT_NAMESPACE, **document["metadata"]}
    return {**document, "metadata": metadata}


def _manifests(paths: Iterable[str]) -> tuple[list[Manifest], list[Problem]]:
    files, problems = read_policy_files(paths)
    found: list[Manifest] = []
    for name, data in files.items():
        manifests, more = read_manifests(data, name)
        found += manifests
        problems = [*problems, *more]
    return found, problems


def _pods(manifests: Iterable[Manifest], namespace: str) -> tuple[list[PodOfWorkload], list[Problem]]:
    """All pods, and the objects that make none."""
    pods: list[PodOfWorkload] = []
    left: list[Problem] = []
    for manifest in manifests:
        found = pods_of(manifest.value, namespace)
        if isinstance(found, tuple):
            pods += found
        elif manifest.value.get("kind") not in {"Namespace", *_KINDS}:
            fix = "give a Pod, or a workload with a pod template"
            left.append(Problem(manifest.file, manifest.line, "", found, fix, ProblemCode.UNKNOWN_KIND))
    return pods, left


def _nothing(file: str) -> Problem:
    fix = "give a Pod, or a workload with a pod template"
    return Problem(file, 0, "", "there are no pods in it", fix, ProblemCode.NO_DOCUMENTS)


def _namespaces(manifests: Iterable[Manifest]) -> Iterator[Namespace]:
    for manifest in manifests:
        match manifest.value:
            case {"kind": "Namespace", "metadata": {"name": str(name), **metadata}}:
                labels = metadata.get("labels")
                given = labels.items() if isinstance(labels, dict) else ()
                yield Namespace(name, {key: str(value) for key, value in given})
            case _:
                pass


# --- what is said --------------------------------------------------------------------------------


def _print(output: str, rehearsed: list[tuple[PodOfWorkload, Rehearsed]], world: World) -> None:
    if output == "json":
        print(json.dumps([_as_json(one, made) for one, made in rehearsed], indent=2))
        return
    stream = sys.stdout if output == "reasons" else sys.stderr
    ink = Ink.on(stream)
    for number, (one, made) in enumerate(rehearsed):
        if number:
            print(file=stream)
        print("\n".join(_lines(one, made, world, ink)), file=stream)
    allowed = [made for _, made in rehearsed if made.answer.allowed]
    if output == "patch":
        print(json.dumps(_only([made.patch for made in allowed]), indent=2))
    elif output == "pod" and allowed:
        print(write_documents([made.pod for made in allowed]), end="")


def _only(patches: list[list[dict[str, Any]]]) -> list[Any]:
    """One patch as it is sent; of several pods, one after the other."""
    return patches[0] if len(patches) == 1 else patches


def _lines(one: PodOfWorkload, made: Rehearsed, world: World, ink: Ink) -> Iterator[str]:
    outcome = _outcome(made)
    paint: Callable[[str], str] = ink.bad if isinstance(outcome, Refuse) else ink.good
    label = world.namespaces[one.namespace].labels.get(INJECT)
    yield f"pod      {printable(one.title)} (namespace {INJECT}: {printable(str(label))})"
    yield f"outcome  {paint(outcome_name(outcome).value)}"
    mark = ink.bad("-") if isinstance(outcome, Refuse) else ink.good("+")
    for finding in outcome.reasons:
        yield from _finding_lines(finding, ink.faint("-") if isinstance(outcome, Skip) else mark)
    for finding in outcome.warnings:
        yield from _finding_lines(finding, ink.strong("!"))
    if isinstance(outcome, Inject) and not made.patch:
        yield "         it has everything already"


def _finding_lines(finding: Finding, mark: str) -> Iterator[str]:
    yield f"       {mark} {printable(finding.message)} [{finding.code.value}]"
    if finding.fix:
        yield f"         {printable(finding.fix)}"


def _as_json(one: PodOfWorkload, made: Rehearsed) -> dict[str, Any]:
    outcome = _outcome(made)
    return {
        "pod": one.title,
        "namespace": one.namespace,
        "outcome": outcome_name(outcome).value,
        "reasons": [_finding_json(finding) for finding in outcome.reasons],
        "warnings": [_finding_json(finding) for finding in outcome.warnings],
        "patch": made.patch,
        "patched": made.pod if made.answer.allowed else None,
    }


def _finding_json(finding: Finding) -> dict[str, str]:
    return {"code": finding.code.value, "message": finding.message, "fix": finding.fix}


def _outcome(made: Rehearsed) -> Outcome:
    """A pod was judged, so there is one."""
    return made.answer.outcome or Skip(())
