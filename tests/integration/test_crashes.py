"""What breaks in the real sidecar: no credential leaves it, none comes back, and other connections go on."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import HOST, Lab, lab
from tests.netns import MISSING
from tests.raw_client import ask, tls
from tests.sidecar_pod import SidecarPod, wait_for
from tests.upstreams import reflect


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


# Runs the sidecar with a switch at each of some functions: while a file of its name lies in the folder, it
# raises, with the secret in its text.
RUNNER = """
import sys
from importlib import import_module
from pathlib import Path
switches, secret, *places = sys.argv[1:]
def guard(place):
    module, _, name = place.partition(":")
    *path, last = name.split(".")
    owner = import_module(module)
    for part in path:
        owner = getattr(owner, part)
    real = getattr(owner, last)
    def guarded(*arguments, **named):
        if Path(switches, place).exists():
            raise RuntimeError("this is " + Path(secret).read_text())
        return real(*arguments, **named)
    setattr(owner, last, guarded)
for place in places:
    guard(place)
sys.argv = ["podkey", "run"]
from proxy.cli.main import run
sys.exit(run())
"""
# What raises, and how the client is answered. Without an answer its connection ends.
PLACES = {
    "proxy.transaction.engine:decide": 500,
    "proxy.transaction.engine:read_slots": 500,
    "proxy.transaction.attaching:place": 500,
    "proxy.transaction.granted:clear_slots": 500,
    "proxy.edge.lease_keeper:LeaseKeeper.lease": 500,
    "proxy.edge.recorder:EdgeRecorder.decided": None,
    "proxy.lanes.mitm.handler:ConnectionInLane._handle": None,
    "proxy.lanes.mitm.servers:read_request_head": None,
    "proxy.lanes.mitm.streams:GuardedStream._write": None,
    "proxy.lanes.mitm.upstream_tls:UpstreamTls.connection": None,
}
# Behind these the request is on its way already; what must not come back is the credential.
LATE_PLACES = {
    "proxy.lanes.exchange:edit_response": None,
    "proxy.transaction.redaction:Redactor.feed": None,
    "proxy.edge.recorder:EdgeRecorder.finished": None,
}


@pytest.fixture(scope="module")
def breakable() -> Iterator[tuple[Lab, Path]]:
    if MISSING:
        pytest.skip(MISSING)
    real = SidecarPod._command

    def command(pod: SidecarPod, argv: Any, uid: int, caps: Any = None) -> list[str]:
        if list(argv[-3:]) == ["-m", "proxy", "run"]:
            switches = pod.folder / "switches"
            switches.mkdir(exist_ok=True)
            switches.chmod(0o755)
            secret = str(pod.secrets_folder / "lab" / "token")
            argv = [sys.executable, "-O", "-c", RUNNER, str(switches), secret, *PLACES, *LATE_PLACES]
        return real(pod, argv, uid, caps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SidecarPod, "_command", command)
        with lab({"/v1/reflect": reflect}, idle_timeout="2s") as one:
            yield one, one.pod.folder / "switches"


@pytest.fixture
def broken(breakable: tuple[Lab, Path]) -> Iterator[tuple[Lab, Path]]:
    world, switches = breakable
    world.settle()
    yield breakable
    for switch in switches.iterdir():
        switch.unlink()
    assert world.talk(request("/v1/x"), answers=1).only.status == 200
    assert world.sidecar.metric("podkey_fail_open_total") == 0


@pytest.mark.parametrize(("place", "status"), PLACES.items(), ids=PLACES)
def test_whatever_raises_before_a_request_travels_keeps_it_here(
    broken: tuple[Lab, Path], place: str, status: int | None
) -> None:
    world, switches = broken
    (switches / place).touch()
    try:
        reply = world.talk(request("/v1/x"), answers=1)
    except OSError:
        reply = None  # not even a handshake
    if status is not None:
        assert reply is not None
        assert (reply.only.status, reply.only.reason) == (status, "internal_error")
    else:
        assert reply is None or reply.end != "timeout"
        assert reply is None or [one for one in reply.answers if one.status < 400] == []
    assert world.upstream.requests == []
    assert not world.upstream.seen(world.token)


@pytest.mark.parametrize("place", LATE_PLACES)
def test_whatever_raises_when_the_answer_comes_shows_none_of_the_credential(
    broken: tuple[Lab, Path], place: str
) -> None:
    world, switches = broken
    before = len(_crashes(world))
    (switches / place).touch()
    reply = world.talk(request("/v1/reflect"), answers=1)
    assert reply.end != "timeout"
    assert world.pod.canary.find_in(reply.data) == []
    # The last word about a request is written after its answer was sent.
    wait_for(lambda: len(_crashes(world)) > before, f"{place} to crash")


def test_a_crash_in_one_connection_is_told_and_touches_no_other(broken: tuple[Lab, Path]) -> None:
    world, switches = broken
    with tls(world.pod, HOST) as sock:
        assert ask(sock, request("/v1/x")).status == 200
        (switches / "proxy.transaction.engine:decide").touch()
        assert world.talk(request("/v1/x"), answers=1).only.status == 500
        (switches / "proxy.transaction.engine:decide").unlink()
        assert ask(sock, request("/v1/x")).status == 200
    assert {line["error"].split()[0] for line in _crashes(world)} == {"RuntimeError"}


def _crashes(world: Lab) -> list[dict[str, Any]]:
    return [line for line in world.sidecar.log_lines() if line["event"] == "unexpected error"]
