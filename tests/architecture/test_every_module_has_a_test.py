"""A module and its test are found from each other's path."""

from pathlib import Path

from tests.architecture.conftest import AddLine
from tests.architecture_rules import orphan_test_violations, untested_violations


def test_every_module_has_a_test_at_the_mirrored_path(root: Path) -> None:
    assert untested_violations(root) == []


def test_every_test_file_has_its_module(root: Path) -> None:
    assert orphan_test_violations(root) == []


# --- the rules notice ----------------------------------------------------------------------------


def test_notices_a_module_without_a_test(scratch: Path, add_line: AddLine) -> None:
    before = untested_violations(scratch)
    add_line("proxy/cli/brew.py", "COFFEE = 1")
    add_line("proxy/kettle/__init__.py", "def boil() -> None: ...")

    assert [violation for violation in untested_violations(scratch) if violation not in before] == [
        "proxy/cli/brew.py has no test: write tests/unit/proxy/cli/test_brew.py",
        "proxy/kettle/__init__.py has no test: write tests/unit/proxy/kettle/test___init__.py",
    ]


def test_a_package_that_only_says_what_it_is_needs_no_test(scratch: Path, add_line: AddLine) -> None:
    before = untested_violations(scratch)
    add_line("proxy/kettle/__init__.py", '"""Boils water."""\nHEAT: int = 3')

    assert untested_violations(scratch) == before


def test_notices_a_test_without_a_module(scratch: Path, add_line: AddLine) -> None:
    before = orphan_test_violations(scratch)
    add_line("tests/unit/proxy/cli/test_brew.py", "")

    assert [violation for violation in orphan_test_violations(scratch) if violation not in before] == [
        "tests/unit/proxy/cli/test_brew.py tests proxy/cli/brew.py, which does not exist"
    ]


def test_a_fuzz_file_and_a_catalogue_entry_have_their_subject(scratch: Path, add_line: AddLine) -> None:
    before = orphan_test_violations(scratch)
    add_line("tests/unit/proxy/core/test_paths_fuzz.py", "")
    add_line("tests/unit/proxy/core/test_paths_properties.py", "")
    add_line("tests/unit/proxy/services/catalogue/test_s3.py", "")

    assert orphan_test_violations(scratch) == before
