import subprocess
import sys

from injector.cli import inject
from injector.cli.commands import INJECT


def test_the_command_is_found_by_what_the_distribution_names() -> None:
    assert INJECT.load() is inject
    assert INJECT.summary == "print a pod as the admission webhook would change it, with every reason"


def test_the_help_needs_nothing_of_what_the_command_needs() -> None:
    code = "import sys, injector.cli.commands; print([m for m in sys.modules if m.startswith('injector.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "['injector.cli', 'injector.cli.commands']\n"
