import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from proxy.core.arrival import LaneName
from proxy.lanes.interface import Accepted
from proxy.lanes.late import LateLane
from tests.lane_world import Recorder, arrival_of


class Served:
    """A lane that remembers whom it served."""

    name = LaneName.MITMPROXY

    def __init__(self) -> None:
        self.served: list[Accepted] = []

    async def serve(self, accepted: Accepted) -> None:
        self.served.append(accepted)


def accepted() -> Accepted:
    ours, theirs = socket.socketpair()
    theirs.close()
    return Accepted(ours, arrival_of(), ("192.0.2.7", 443), None)


def test_it_is_loaded_once_and_in_another_thread() -> None:
    lane, threads = Served(), []

    def load() -> Served:
        threads.append(threading.current_thread())
        return lane

    async def scenario() -> None:
        late = LateLane(LaneName.MITMPROXY, load, Recorder())
        guests = [accepted() for _ in range(3)]
        await asyncio.gather(*map(late.serve, guests))
        assert lane.served == guests
        for guest in guests:
            guest.sock.close()

    asyncio.run(scenario())
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_who_waits_is_served_when_it_is_there() -> None:
    lane, go = Served(), threading.Event()

    def load() -> Served:
        go.wait(10)
        return lane

    async def scenario() -> None:
        late = LateLane(LaneName.MITMPROXY, load, Recorder())
        impatient, patient = accepted(), accepted()
        first, second = (asyncio.create_task(late.serve(one)) for one in (impatient, patient))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert impatient.sock.fileno() < 0
        assert lane.served == []
        go.set()
        await second
        assert lane.served == [patient]
        patient.sock.close()

    asyncio.run(scenario())


def test_without_its_lane_a_connection_ends_and_it_is_told_once() -> None:
    def load() -> Served:
        raise ImportError("mitmproxy")

    async def scenario() -> Recorder:
        recorder = Recorder()
        late = LateLane(LaneName.MITMPROXY, load, recorder)
        guests = [accepted(), accepted()]
        for guest in guests:
            await late.serve(guest)
        assert all(guest.sock.fileno() < 0 for guest in guests)
        return recorder

    ((where, error),) = asyncio.run(scenario()).crashes
    assert where == "loading a lane"
    assert isinstance(error, ImportError)


def test_nothing_of_mitmproxy_is_there_before_it_is_needed() -> None:
    program = "import sys; import proxy.edge.assembly; print([m for m in sys.modules if 'mitmproxy' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
