"""What the chart renders: all of it by default, and for each other file of values what differs."""

from pathlib import Path
from typing import Any, Final

from tests.golden.cases import written
from tests.helm_chart import VALUES, Manifest, render, values_of

FOLDER: Final = Path(__file__).parent / "chart"
DEFAULT: Final = "default"
# An old cluster: no matchConditions, no ValidatingAdmissionPolicies.
OLD: Final = "kubernetes-1.27"
CASES: Final = [*VALUES, OLD]
_HEAD: Final = "# Made by `make golden`; do not edit. {}\n"


def path_of(case: str) -> Path:
    return FOLDER / f"{case}.yaml"


def chart_text(case: str) -> str:
    """The file as it should be."""
    if case == DEFAULT:
        return _text("Everything that the chart makes when nothing is set.", render())
    found = render(kubernetes="1.27.0") if case == OLD else render(values_of(case))
    usual = {_name(one): one for one in render()}
    changed = [one for one in found if usual.get(_name(one)) != one]
    missing = sorted(usual.keys() - {_name(one) for one in found})
    about = "What differs from default.yaml." + "".join(f"\n# Not there: {one}" for one in missing)
    return _text(about, changed)


def _name(one: Manifest) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def _text(about: str, manifests: list[Manifest]) -> str:
    return _HEAD.format(about) + "".join(f"---\n{written(_plain(one))}" for one in manifests)


def _plain(value: Any) -> Any:
    """A dashboard has a file of its own: here it is enough that it is there."""
    if isinstance(value, dict):
        return {
            key: f"({len(one.encode())} bytes)" if key.endswith(".json") else _plain(one)
            for key, one in value.items()
        }
    return [_plain(one) for one in value] if isinstance(value, list) else value
