"""What the README tells to type is typed, and says what the README shows."""

from pathlib import Path
from typing import Final

import pytest

from tests.console_blocks import Block, a_checkout, console_blocks, faults, needs_cluster, run_block
from tests.readme import README, policy_of_the_readme

BLOCKS: Final = console_blocks(README)
# Commands that need no cluster and are not run here, by their first two words, and who runs them.
ELSEWHERE: Final = {
    "make setup": "tests/docs/test_newcomer.py types it in an empty home",
    "make demo": "so does the same test; tests/integration/test_demo.py compares what it says",
    "make images": "it builds for minutes; .ci/run types it",
}


def left_out(command: str) -> bool:
    return needs_cluster(command) or _first_words(command) in ELSEWHERE


def _first_words(command: str) -> str:
    return " ".join(command.split()[:2])


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if not all(left_out(c.text) for c in b.commands)], ids=str
)
def test_the_commands_of_the_readme_say_what_it_shows(block: Block, tmp_path: Path) -> None:
    checkout = a_checkout(tmp_path)
    (checkout / "policy.yaml").write_text(policy_of_the_readme())

    assert faults(run_block(block, checkout, left_out=left_out)) == []


def test_no_exception_is_about_nothing() -> None:
    typed = {_first_words(command.text) for block in BLOCKS for command in block.commands}

    assert set(ELSEWHERE) <= typed


def test_most_of_the_readme_is_typed_here() -> None:
    here = [command for block in BLOCKS for command in block.commands if not left_out(command.text)]

    assert {command.text.split()[1] for command in here if command.text.startswith("podkey ")} >= {
        "check",
        "explain",
    }
