"""What performs stands on the upper floors, and some words stand nowhere."""

from pathlib import Path

import pytest

from tests.architecture.conftest import AddLine
from tests.architecture_rules import (
    MAX_LINES,
    assert_violations,
    forbidden_name_violations,
    io_violations,
    module_name_violations,
    size_violations,
)


def test_only_edge_and_entry_perform(root: Path) -> None:
    assert io_violations(root) == []


def test_nothing_reads_a_host_that_the_application_chose(root: Path) -> None:
    assert forbidden_name_violations(root) == []


def test_nothing_relies_on_assert_statements(root: Path) -> None:
    assert assert_violations(root) == []


def test_no_module_is_too_long_to_read(root: Path) -> None:
    assert size_violations(root) == []


def test_every_module_is_named_after_an_idea(root: Path) -> None:
    assert module_name_violations(root) == []


# --- the rules notice ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import socket", "socket"),
        ("import ssl as tls", "ssl"),
        ("from subprocess import run", "subprocess"),
        ("import os", "os"),
        ("from os import environ", "os"),
        ("import os.path", "os.path"),
        ("import random", "random"),
        ("def late() -> None: import asyncio", "asyncio"),
        ("from time import time", "time.time"),
        ("import time as t; NOW = t.time()", "time.time"),
        ("from time import monotonic as clock", "time.monotonic"),
        ("import datetime; NOW = datetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as dt; clock = dt.now", "datetime.datetime.now"),
        ("from datetime import date; TODAY = date.today()", "datetime.date.today"),
        ("import sys; TEXT = sys.stdin.read()", "sys.stdin"),
        ("from sys import stdout", "sys.stdout"),
        ("TEXT = open('file').read()", "open"),
        ("from pathlib import Path", "pathlib.Path"),
        ("import pathlib; TEXT = pathlib.Path('file').read_text()", "pathlib.Path"),
        ("from importlib.resources import files", "importlib.resources"),
    ],
)
def test_notices_input_and_output_below_the_edge(
    scratch: Path, add_line: AddLine, statement: str, name: str
) -> None:
    rooms = ("proxy/core/paths", "proxy/judge/decide", "injector/engine/x")
    lines = {room: add_line(f"{room}.py", statement) for room in rooms}

    assert io_violations(scratch) == [
        f"{room}.py:{line}: {room.replace('/', '.')} uses {name}: take it as an argument"
        for room, line in lines.items()
    ]


def test_the_edge_performs_and_only_the_command_line_prints(scratch: Path, add_line: AddLine) -> None:
    for room in ("proxy/files/policy_files", "proxy/lanes/relay", "proxy/cli/check", "injector/edge/x"):
        add_line(f"{room}.py", "import os, socket; TEXT = open(0).read(); HOME = os.environ['HOME']")
    add_line("proxy/cli/check.py", "print(TEXT)")
    line = add_line("proxy/files/policy_files.py", "print(TEXT)")

    assert io_violations(scratch) == [f"proxy/files/policy_files.py:{line}: proxy.files.policy_files prints"]


@pytest.mark.parametrize(
    "harmless",
    [
        "from datetime import datetime; EPOCH = datetime.fromtimestamp(0)",
        "from pathlib import PurePosixPath",
        "from sys import intern",
        "def close(open: bool) -> None: ...",
        "class Clock: now = 1",
        "from importlib import import_module",
    ],
)
def test_does_not_mistake_a_value_for_an_act(scratch: Path, add_line: AddLine, harmless: str) -> None:
    add_line("proxy/core/paths.py", harmless)

    assert io_violations(scratch) == []


@pytest.mark.parametrize(
    "statement",
    ["HOST = flow.request.pretty_host", "HOST = getattr(flow.request, 'pretty_host')", "pretty_host = 1"],
)
def test_notices_pretty_host(scratch: Path, add_line: AddLine, statement: str) -> None:
    line = add_line("proxy/files/policy_files.py", statement)

    place = f"proxy/files/policy_files.py:{line}: proxy.files.policy_files"
    assert forbidden_name_violations(scratch) == [f"{place} reads pretty_host, which the application chooses"]


def test_notices_an_assert_statement_but_not_assert_never(scratch: Path, add_line: AddLine) -> None:
    add_line("proxy/core/labels.py", "assert_never(x)")
    line = add_line("proxy/core/labels.py", "assert x")

    assert assert_violations(scratch) == [
        f"proxy/core/labels.py:{line}: proxy.core.labels asserts: -O drops it, so return or raise"
    ]


def test_notices_a_module_of_one_line_too_many(scratch: Path, add_line: AddLine) -> None:
    before = size_violations(scratch)
    add_line("proxy/core/long.py", "\n" * (MAX_LINES - 1))
    add_line("proxy/core/longer.py", "\n" * MAX_LINES)

    assert [violation for violation in size_violations(scratch) if violation not in before] == [
        "proxy/core/longer.py has 401 lines: split it by idea, 400 are the limit"
    ]


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "base", "types", "manager"])
def test_notices_a_name_that_says_nothing(scratch: Path, add_line: AddLine, name: str) -> None:
    add_line(f"proxy/core/{name}.py", "X = 1")
    add_line(f"proxy/edge/{name}/files.py", "X = 1")

    assert module_name_violations(scratch) == [
        f"proxy/core/{name}.py: `{name}` names no idea of the domain",
        f"proxy/edge/{name}/files.py: `{name}` names no idea of the domain",
    ]
