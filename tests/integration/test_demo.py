"""`make demo` is the README's second command: it tells the story, in either mode, and cleans up."""

import subprocess
import sys

import pytest

from tests.netns import NAMESPACES, ROOT, requires_netns

DEMO = ROOT / "examples" / "01-laptop" / "demo.py"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param([], marks=requires_netns), ["--explicit"]])
def test_the_demo_shows_the_main_job_and_cleans_up(mode: list[str]) -> None:
    command = [sys.executable, str(DEMO), *mode]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()

    assert process.returncode == 0, out + errors
    assert "chat:      The sidecar does." in out
    assert "refused:   Error code: 403 - podkey refused GET https://" in out
    assert "the keys were found 0 times" in out
    assert "podkey_fail_open_total 0.0" in out
    # Its own, which have its number: other tests make some meanwhile.
    assert list(NAMESPACES.glob(f"podkey-{process.pid}-*")) == []
