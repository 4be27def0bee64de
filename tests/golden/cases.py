"""Golden cases of the injector: what is given, and what `podkey inject` makes of it (see __main__)."""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.command_line import podkey

FOLDER: Final = Path(__file__).parent / "injector"
CASES: Final = sorted(FOLDER.glob("*.yaml"))
MADE: Final = "--- # Made by `make golden`: what is above is yours, what is below is not.\n"


class Given(NamedTuple):
    options: list[str]
    namespace: dict[str, Any]
    policies: list[dict[str, Any]]
    objects: list[dict[str, Any]]

    @property
    def manifests(self) -> list[dict[str, Any]]:
        metadata = {"name": self.namespace["name"], "labels": self.namespace.get("labels") or {}}
        return [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, *self.objects]


class _Writer(yaml.CSafeDumper):
    """What is small stands in one line; text in several lines is a block, and so is a list of sentences."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def represent_list(self, data: list[Any]) -> yaml.Node:
        sentences = any(isinstance(item, str) and " " in item for item in data)
        flow = False if sentences else None
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)
_Writer.add_representer(list, _Writer.represent_list)


def written(value: object) -> str:
    return yaml.dump(
        value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None
    )


def given(path: Path) -> Given:
    case = next(yaml.safe_load_all(path.read_text()))
    return Given(case.get("options") or [], case["namespace"], case.get("policies") or [], case["objects"])


def expected(path: Path) -> list[dict[str, Any]]:
    _, found = yaml.safe_load_all(path.read_text())
    results: list[dict[str, Any]] = found
    return results


def made(case: Given) -> list[dict[str, Any]]:
    """By the command itself."""
    with tempfile.TemporaryDirectory() as folder:
        objects, policies = Path(folder, "objects.yaml"), Path(folder, "policies.yaml")
        objects.write_text(yaml.safe_dump_all(case.manifests, sort_keys=False))
        policies.write_text(yaml.safe_dump_all(case.policies, sort_keys=False))
        about = ["--policies", str(policies)] if case.policies else []
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = podkey(
                *("inject", "-f", str(objects), *about, "-n", case.namespace["name"]),
                *("--placeholders", "fixed", "--output", "json", *case.options),
            )
        if status not in {0, 2}:
            raise ValueError(errors.getvalue())
    results: list[dict[str, Any]] = json.loads(output.getvalue())
    return results


def case_text(path: Path) -> str:
    """The file as it should be."""
    head = path.read_text().partition(MADE)[0]
    results = [{key: value for key, value in one.items() if key != "patch"} for one in made(given(path))]
    return head + MADE + written([_short(one) for one in results])


def _short(result: dict[str, Any]) -> dict[str, Any]:
    """Without the pod where nothing is done to it."""
    short = {key: value for key, value in result.items() if value not in ("", [], None)}
    for key in ("reasons", "warnings"):
        if key in short:
            short[key] = [_sentence(finding) for finding in short[key]]
    if result["outcome"] != "inject":
        short.pop("patched", None)
    return short


def _sentence(finding: dict[str, str]) -> str:
    return f"{finding['code']}: {finding['message']}" + (f"; {finding['fix']}" if finding["fix"] else "")
