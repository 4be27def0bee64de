"""What breaks in the real sidecar: no credential leaves it, none comes back, and other connections go on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proxy.core.arrival import LaneName
from tests.lab import HOST, Lab, lab
from tests.netns import MISSING
from tests.raw_client import ask, tls
from tests.sidecar_pod import SidecarPod, wait_for
from tests.upstreams import answering, reflect

# What was asked before need not be judged again: no two requests are alike.
NUMBERS = count()


def get(path: str) -> bytes:
    return f"GET {path}?{next(NUMBERS)} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


ROUTES = {
    "/v1/reflect": reflect,
    # Leaves no connection behind that the next request could take.
    "/v1/last": answering(200, b"ok", ("connection", "close")),
}

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
PLACES: dict[str, int | None] = {
    "proxy.transaction.engine:decide": 500,
    "proxy.transaction.engine:read_slots": 500,
    "proxy.transaction.attaching:placed": 500,
    "proxy.transaction.granted:clear_slots": 500,
    "proxy.edge.lease_keeper:LeaseKeeper.at_hand": 500,
    "proxy.edge.recorder:EdgeRecorder.decided": None,
}
# Of each lane. Behind the late ones the request is on its way already; what must not come back is the
# credential.
PLACES_OF: dict[LaneName, dict[str, int | None]] = {
    LaneName.FAST: {
        "proxy.lanes.fast.lane:FastLane._greeted": None,
        "proxy.lanes.fast.tls:ClientTls.context": None,
        "proxy.lanes.fast.conversation:recall": None,
        "proxy.lanes.fast.conversation:read_asked": None,
        "proxy.lanes.fast.conversation:OneRequest": None,
        "proxy.lanes.fast.upstreams:Upstreams.take": None,
        "proxy.lanes.fast.upstreams:Upstreams.connect": None,
        "proxy.lanes.fast.upstreams:shake_hands": None,
        "proxy.lanes.fast.one_request:request_head": None,
        "proxy.lanes.fast.side:Side.watch": None,
        "proxy.lanes.fast.side:Side.read": None,
        "proxy.lanes.fast.side:Side.write": None,
    },
    LaneName.MITMPROXY: {
        "proxy.lanes.mitm.handler:ConnectionInLane._handle": None,
        "proxy.lanes.mitm.servers:read_request_head": None,
        "proxy.lanes.mitm.streams:GuardedStream._write": None,
        "proxy.lanes.mitm.upstream_tls:UpstreamTls.connection": None,
    },
}
LATE_PLACES = (
    "proxy.lanes.exchange:edit_response",
    "proxy.transaction.redaction:Redactor.feed",
    "proxy.edge.recorder:EdgeRecorder.finished",
)
LATE_PLACES_OF: dict[LaneName, tuple[str, ...]] = {
    LaneName.FAST: (
        "proxy.lanes.fast.answer:read_response_head",
        "proxy.lanes.fast.answer:passed_head",
        "proxy.lanes.fast.answer:framed",
        "proxy.lanes.fast.upstreams:Upstreams.park",
    ),
    LaneName.MITMPROXY: (),
}
LANES = list(PLACES_OF)

Breakable = tuple[Lab, Path]
BREAKS = [(lane, *item) for lane in LANES for item in (PLACES | PLACES_OF[lane]).items()]
LATE_BREAKS = [(lane, place) for lane in LANES for place in (*LATE_PLACES, *LATE_PLACES_OF[lane])]


def _name(value: object) -> str | None:
    return value.value if isinstance(value, LaneName) else str(value) if isinstance(value, str) else None


@pytest.fixture(scope="module")
def breakable() -> Iterator[Callable[[LaneName], Breakable]]:
    """A sidecar for each lane, as soon as it is asked for."""
    if MISSING:
        pytest.skip(MISSING)
    with ExitStack() as stack:

        @cache
        def started(lane: LaneName) -> Breakable:
            return stack.enter_context(_breakable(lane))

        yield started


@contextmanager
def _breakable(lane: LaneName) -> Iterator[Breakable]:
    real = SidecarPod._command

    def command(pod: SidecarPod, argv: Any, uid: int, caps: Any = None) -> list[str]:
        if list(argv[-3:]) == ["-m", "proxy", "run"]:
            switches = pod.folder / "switches"
            switches.mkdir(exist_ok=True)
            switches.chmod(0o755)
            secret = str(pod.secrets_folder / "lab" / "token")
            places = [*PLACES, *PLACES_OF[lane], *LATE_PLACES, *LATE_PLACES_OF[lane]]
            argv = [sys.executable, "-O", "-c", RUNNER, str(switches), secret, *places]
        return real(pod, argv, uid, caps)

    fast = str(lane is LaneName.FAST).lower()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SidecarPod, "_command", command)
        one = lab(ROUTES, alpn=["http/1.1"], idle_timeout="2s", fast_lane=fast)
        with one as world:
            patch.undo()
            yield world, world.pod.folder / "switches"


@pytest.fixture
def broken(breakable: Callable[[LaneName], Breakable], lane: LaneName) -> Iterator[Breakable]:
    world, switches = breakable(lane)
    world.settle()
    yield world, switches
    for switch in switches.iterdir():
        switch.unlink()
    before = world.sidecar.audited()
    assert world.talk(get("/v1/last"), answers=1).only.status == 200
    assert world.new_audit(before)[-1]["lane"] == lane.value
    assert world.sidecar.metric("podkey_fail_open_total") == 0


@pytest.mark.parametrize(("lane", "place", "status"), BREAKS, ids=_name)
def test_whatever_raises_before_a_request_travels_keeps_it_here(
    broken: Breakable, place: str, status: int | None
) -> None:
    world, switches = broken
    (switches / place).touch()
    try:
        reply = world.talk(get("/v1/x"), answers=1)
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


@pytest.mark.parametrize(("lane", "place"), LATE_BREAKS, ids=_name)
def test_whatever_raises_when_the_answer_comes_shows_none_of_the_credential(
    broken: Breakable, place: str
) -> None:
    world, switches = broken
    before = len(_crashes(world))
    (switches / place).touch()
    reply = world.talk(get("/v1/reflect"), answers=1)
    assert reply.end != "timeout"
    assert world.pod.canary.find_in(reply.data) == []
    # The last word about a request is written after its answer was sent.
    wait_for(lambda: len(_crashes(world)) > before, f"{place} to crash")


@pytest.mark.parametrize("lane", LANES, ids=_name)
def test_a_crash_in_one_connection_is_told_and_touches_no_other(broken: Breakable) -> None:
    world, switches = broken
    with tls(world.pod, HOST) as sock:
        assert ask(sock, get("/v1/x")).status == 200
        (switches / "proxy.transaction.engine:decide").touch()
        assert world.talk(get("/v1/x"), answers=1).only.status == 500
        (switches / "proxy.transaction.engine:decide").unlink()
        assert ask(sock, get("/v1/x")).status == 200
    assert {line["error"].split()[0] for line in _crashes(world)} == {"RuntimeError"}


def _crashes(world: Lab) -> list[dict[str, Any]]:
    return [line for line in world.sidecar.log_lines() if line["event"] == "unexpected error"]
