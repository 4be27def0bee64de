"""What tests take out of the README: its policy, and where it goes on to a cluster."""

import re
from pathlib import Path
from typing import Final

from tests.console_blocks import Block, console_blocks

README: Final = Path(__file__).resolve().parents[1] / "README.md"


def policy_of_the_readme() -> str:
    """The block that the reader is told to save as `policy.yaml`."""
    found = re.search(
        r"^Save this as `policy\.yaml`.*?^```yaml\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise AssertionError("the README does not say what to save as `policy.yaml`")
    return found[1]


def _install() -> Block:
    return next(
        b for b in console_blocks(README) if any(c.text.startswith("helm install") for c in b.commands)
    )


# What stands before it needs no cluster.
INSTALL: Final = _install()
