import subprocess
import sys

from proxy import __version__
from tests.command_line import ROOT


def test_python_dash_m_injector_is_podkey_injector() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "injector", "--version"], cwd=ROOT, capture_output=True, check=False
    )

    assert (done.stdout.decode(), done.returncode) == (f"podkey-injector {__version__}\n", 0)
