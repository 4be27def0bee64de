"""Each third-party package has one module that knows it."""

from pathlib import Path

import pytest

from tests.architecture.conftest import AddLine
from tests.architecture_rules import DOORMEN, doorman_violations, modules_below


def test_only_doormen_import_third_party_packages(root: Path) -> None:
    assert doorman_violations(root) == []


def test_every_doorman_exists(root: Path) -> None:
    assert {name for doormen in DOORMEN.values() for name in doormen} <= set(modules_below(root))


# --- the rule notices ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "statement", "expected"),
    [
        ("proxy/judge/index.py", "import yaml", "yaml: only proxy.documents.yaml_nodes may"),
        ("proxy/judge/index.py", "from yaml.nodes import Node", "yaml: only proxy.documents.yaml_nodes may"),
        ("proxy/documents/values.py", "import idna", "idna: only proxy.documents.host_names may"),
        (
            "proxy/services/loader.py",
            "def late() -> None: import publicsuffixlist",
            "publicsuffixlist: only proxy.documents.host_names may",
        ),
        ("proxy/core/hosts.py", "import idna", "idna: this room imports the standard library only"),
        ("proxy/files/policy_files.py", "import mitmproxy.http", "mitmproxy: only proxy.lanes.mitm may"),
        (
            "injector/__init__.py",
            "from kubernetes import client",
            "kubernetes: only injector.edge.cluster may",
        ),
        ("proxy/cli/main.py", "import requests", "requests: it is not in DOORMEN"),
        ("proxy/cli/main.py", "importlib.import_module('gevent')", "gevent: it is not in DOORMEN"),
        ("proxy/cli/main.py", "from tests.fakes import clock", "tests: it is not in DOORMEN"),
    ],
)
def test_notices_an_import_past_the_doorman(
    scratch: Path, add_line: AddLine, file: str, statement: str, expected: str
) -> None:
    line = add_line(file, statement)
    importer = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    assert doorman_violations(scratch) == [f"{file}:{line}: {importer} imports {expected}"]


def test_the_standard_library_needs_no_doorman(scratch: Path, add_line: AddLine) -> None:
    add_line("proxy/core/paths.py", "import xml.etree.ElementTree")

    assert doorman_violations(scratch) == []
