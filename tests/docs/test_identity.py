"""The page about identity tells of every fault, and of nothing else."""

import re
from pathlib import Path

from proxy.cli.dev import SESSION
from proxy.tokens.faults import TokenFaultCode

PAGE = (Path(__file__).parents[2] / "docs/identity.md").read_text()


def test_every_fault_of_a_token_has_its_row_in_the_order_of_the_checks() -> None:
    _, _, rest = PAGE.partition("## When a token is refused")
    rows = [line.split("|")[1] for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `")]

    codes = [code for row in rows for code in re.findall(r"`(\w+)`", row)]
    assert codes == [code.value for code in TokenFaultCode]


def test_the_commands_for_a_laptop_are_those_of_the_help() -> None:
    commands = re.findall(r"^podkey dev .*$", PAGE, re.MULTILINE)

    assert len(commands) == 2
    assert set(commands) <= {line.strip() for line in SESSION.splitlines()}
