"""`make demo` is the README's second command: it tells the story, in either mode, and cleans up."""

import subprocess
import sys

import pytest

from tests.netns import NAMESPACES, ROOT, requires_netns

DEMO = ROOT / "examples" / "01-laptop" / "demo.py"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param([], marks=requires_netns), ["--explicit"]])
def test_the_demo_shows_the_main_job_and_cleans_up(mode: list[str]) -> None:
    before = set(NAMESPACES.glob("podkey-*"))

    done = subprocess.run(
        [sys.executable, str(DEMO), *mode], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "chat:      The sidecar does." in done.stdout
    assert "refused:   Error code: 403 - podkey refused GET https://" in done.stdout
    assert "the keys were found 0 times" in done.stdout
    assert "podkey_fail_open_total 0.0" in done.stdout
    assert set(NAMESPACES.glob("podkey-*")) <= before
