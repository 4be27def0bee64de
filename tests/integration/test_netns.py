"""The helper that other integration tests stand on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns import (
    APP_UID,
    INTERNET_V4,
    NAMESPACES,
    ROOT,
    pod_network,
    podkey_command,
    requires_netns,
    run_as,
    run_in,
    sweep_leftovers,
)

pytestmark = requires_netns


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_namespaces_are_gone_however_a_test_ends(error: type[BaseException]) -> None:
    context = pod_network()
    network = context.__enter__()
    assert (NAMESPACES / network.pod).exists()

    assert not context.__exit__(error, error(), None)

    assert not (NAMESPACES / network.pod).exists()
    assert not (NAMESPACES / network.net).exists()


def test_namespaces_of_a_killed_process_are_swept_and_those_of_others_stay() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = f"podkey-{ended.pid}-1-pod"
    ours = f"podkey-{os.getpid()}-0-pod"
    for name in (left, ours):
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        sweep_leftovers()

        assert not (NAMESPACES / left).exists()
        assert (NAMESPACES / ours).exists()
    finally:
        subprocess.run(["ip", "netns", "delete", ours], check=True)


def test_two_networks_do_not_see_each_other() -> None:
    with pod_network() as one, pod_network() as other:
        run_in(one.pod, ["ip", "addr", "add", "198.51.100.1/32", "dev", "lo"], check=True)

        assert b"198.51.100.1" not in run_in(other.pod, ["ip", "addr"]).stdout
        assert run_in(other.pod, ["ip", "route", "get", INTERNET_V4], uid=APP_UID).returncode == 0


def test_another_user_runs_our_python_and_has_no_capability() -> None:
    script = "import os; print(os.getuid(), os.getgid(), os.getcwd(), open('/proc/self/status').read())"

    done = run_as(APP_UID, [sys.executable, "-c", script])

    ids, _, status = done.stdout.decode().partition("Name:")
    assert ids.split() == [str(APP_UID), str(APP_UID), str(ROOT)], done.stderr
    assert "CapEff:\t0000000000000000" in status
    assert run_as(APP_UID, podkey_command("version")).returncode == 0


def test_what_is_closed_is_shown_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """As deep and as closed as it may be; pytest's own folders are 0700 already."""
    inner = tmp_path / "closed one" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    (inner / "file").write_text("text")
    (tmp_path / "other").write_text("other")
    modes = [path.stat().st_mode for path in (tmp_path, *tmp_path.parents)]

    assert run_as(APP_UID, ["cat", str(inner / "file")]).returncode == 1
    assert run_as(APP_UID, ["cat", str(inner / "file")], readable=[inner]).stdout == b"text"
    assert run_as(APP_UID, ["cat", str(inner / "file")], readable=[tmp_path]).stdout == b"text"
    assert run_as(APP_UID, ["cat", str(tmp_path / "other")], readable=[inner]).returncode == 1

    assert [path.stat().st_mode for path in (tmp_path, *tmp_path.parents)] == modes
    assert (inner / "file").read_text() == "text"
