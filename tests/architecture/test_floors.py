"""Higher floors import lower ones, and `proxy` does not know `injector`."""

from pathlib import Path

import pytest

from tests.architecture.conftest import AddLine
from tests.architecture_rules import (
    CROSSING,
    crossing_violations,
    cycle_violations,
    floor_violations,
    imports_of,
    modules_below,
)


def test_every_module_imports_downwards_only(root: Path) -> None:
    assert floor_violations(root) == []


def test_no_modules_import_each_other_in_a_circle(root: Path) -> None:
    assert cycle_violations(root) == []


def test_the_two_programs_cross_only_where_agreed(root: Path) -> None:
    assert crossing_violations(root) == []


# --- the rules notice ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "import proxy.judge.decide",
        "import proxy.judge.decide as verdicts",
        "from proxy.judge import decide",
        "from proxy.judge.decide import decide",
        "from ..judge import decide",
        "from ..judge.decide import decide",
        "def late() -> None: from proxy.judge.decide import decide",
        "def late() -> None: importlib.import_module('proxy.judge.decide')",
        "late = __import__('proxy.judge.decide')",
        "if TYPE_CHECKING: from proxy.judge.decide import decide",
    ],
)
def test_notices_an_import_upwards_in_every_form(scratch: Path, add_line: AddLine, statement: str) -> None:
    line = add_line("proxy/core/paths.py", statement)

    place = f"proxy/core/paths.py:{line}: proxy.core.paths"
    assert floor_violations(scratch) == [
        f"{place} imports proxy.judge.decide: proxy.judge is not below proxy.core"
    ]


@pytest.mark.parametrize(
    ("file", "target", "rooms"),
    [
        ("proxy/documents/reader.py", "proxy.services.loader", "proxy.services is not below proxy.documents"),
        ("proxy/judge/decide.py", "proxy.edge.doors", "proxy.edge is not below proxy.judge"),
        ("proxy/files/policy_files.py", "proxy.cli.main", "proxy.cli is not below proxy.files"),
        ("proxy/lanes/fast.py", "proxy.edge.doors", "proxy.edge is not below proxy.lanes"),
        ("proxy/cli/check.py", "proxy.__main__", "proxy.__main__ is not below proxy.cli"),
        ("proxy/__init__.py", "proxy.core.paths", "proxy.core is not below proxy"),
        ("injector/reading/x.py", "injector.engine.mutate", "injector.engine is not below injector.reading"),
        ("injector/craft/x.py", "injector.engine.mutate", "injector.engine is not below injector.craft"),
    ],
)
def test_notices_an_import_upwards_or_sideways_from_every_floor(
    scratch: Path, add_line: AddLine, file: str, target: str, rooms: str
) -> None:
    line = add_line(file, f"import {target}")
    importer = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    assert floor_violations(scratch) == [f"{file}:{line}: {importer} imports {target}: {rooms}"]


def test_notices_a_room_that_the_map_does_not_know(scratch: Path, add_line: AddLine) -> None:
    add_line("proxy/attic/boxes.py", "BOXES = 3")

    assert floor_violations(scratch) == [
        "proxy/attic/boxes.py:1: proxy.attic.boxes stands on no floor: add its room to FLOORS"
    ]


@pytest.mark.parametrize("call", ["import_module(name)", "import_module(f'{name}.x')", "__import__(name)"])
def test_notices_an_import_whose_target_the_code_does_not_tell(
    scratch: Path, add_line: AddLine, call: str
) -> None:
    line = add_line("proxy/core/paths.py", call)

    assert floor_violations(scratch) == [
        f"proxy/core/paths.py:{line}: proxy.core.paths imports something that cannot be read from the code"
    ]


def test_a_dynamic_import_counts_as_an_import_of_everything_it_may_reach(root: Path) -> None:
    known = modules_below(root)

    reached = {i.target for i in imports_of(known["proxy.cli.main"], known)}

    assert {name for name in known if name.startswith("proxy.cli.")} - reached == {"proxy.cli.main"}


def test_notices_a_circle_within_a_package(scratch: Path, add_line: AddLine) -> None:
    add_line("proxy/core/labels.py", "def late() -> None: from proxy.core.validity import Validity")
    add_line("proxy/core/validity.py", "from proxy.core import labels")

    assert cycle_violations(scratch) == [
        "modules import each other: proxy.core.labels -> proxy.core.validity -> proxy.core.labels"
    ]


def test_notices_a_command_that_imports_what_runs_it(scratch: Path, add_line: AddLine) -> None:
    add_line("proxy/cli/version.py", "from proxy.cli.main import main")

    assert cycle_violations(scratch) == [
        "modules import each other: proxy.cli.main -> proxy.cli.version -> proxy.cli.main"
    ]


def test_notices_that_the_proxy_knows_the_injector(scratch: Path, add_line: AddLine) -> None:
    line = add_line("proxy/cli/version.py", "import injector")

    place = f"proxy/cli/version.py:{line}: proxy.cli.version"
    assert crossing_violations(scratch) == [f"{place} imports injector: proxy may import nothing of injector"]


def test_notices_that_the_injector_takes_more_than_words_and_parsers(
    scratch: Path, add_line: AddLine
) -> None:
    for allowed in ("proxy.core.paths", "proxy.documents.reader", "proxy.services.loader"):
        add_line("injector/engine/x.py", f"import {allowed}")
    line = add_line("injector/engine/x.py", "from proxy.judge.decide import decide")

    place = f"injector/engine/x.py:{line}: injector.engine.x imports proxy.judge.decide"
    assert crossing_violations(scratch) == [
        f"{place}: injector may import {', '.join(sorted(CROSSING['injector']))} of proxy"
    ]
