"""The late way out, with the real Outgoing behind it."""

import asyncio
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

from proxy.core.settings import DIRECT
from proxy.edge.late_door import LateDoor
from proxy.edge.outgoing import OutgoingCall
from proxy.edge.outgoing_trust import tls_context
from proxy.sources.steps import HttpCall, StepFailed
from tests.command_line import ROOT

# Nobody listens there, and no name has to be looked up.
CALL = HttpCall("GET", "https://127.0.0.1:1/")


def live(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(run())


class Roots:
    """Counts who asks for a context, and where."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.faults = 0

    def __call__(self) -> ssl.SSLContext:
        self.threads.append(threading.current_thread())
        if self.faults:
            self.faults -= 1
            raise OSError("a text that nobody should read")
        return tls_context([])


class House:
    def __init__(self) -> None:
        self.roots = Roots()
        self.counted: list[OutgoingCall] = []
        self.door = LateDoor(self.roots, DIRECT, self.counted.append)


@pytest.fixture
def house() -> House:
    return House()


def test_nothing_is_made_before_somebody_asks(house: House) -> None:
    live(house.door.close)

    assert house.roots.threads == []


def test_the_first_call_makes_it_beside_the_loop_and_all_others_share_it(house: House) -> None:
    async def work() -> None:
        replies = await asyncio.gather(*(house.door.call(CALL) for _ in range(3)))
        replies.append(await house.door.call(CALL))
        await house.door.close()
        assert all(isinstance(reply, StepFailed) and "127.0.0.1" in reply.message for reply in replies)

    live(work)

    (thread,) = house.roots.threads
    assert thread is not threading.main_thread()
    assert len(house.counted) == 4


def test_what_cannot_be_made_is_told_without_its_text_and_tried_again(house: House) -> None:
    house.roots.faults = 1

    async def work() -> None:
        failed = await house.door.call(CALL)
        assert failed == StepFailed("nobody can be asked, by a defect of podkey (OSError)")
        again = await house.door.call(CALL)
        assert isinstance(again, StepFailed)
        assert "defect" not in again.message
        await house.door.close()

    live(work)

    assert len(house.roots.threads) == 2


def test_who_gives_up_waiting_does_not_take_it_from_the_others(house: House) -> None:
    async def work() -> None:
        impatient = asyncio.create_task(house.door.call(CALL))
        patient = asyncio.create_task(house.door.call(CALL))
        await asyncio.sleep(0)
        impatient.cancel()
        assert isinstance(await patient, StepFailed)
        assert impatient.cancelled()
        await house.door.close()

    live(work)

    assert len(house.roots.threads) == 1


def test_after_the_end_nobody_is_asked(house: House) -> None:
    async def work() -> None:
        await house.door.close()
        assert await house.door.call(CALL) == StepFailed("nobody is asked: podkey is stopping")

    live(work)

    assert house.roots.threads == []


def test_who_is_still_waiting_at_the_end_is_told_that_it_is_the_end(house: House) -> None:
    async def work() -> None:
        waiting = asyncio.create_task(house.door.call(CALL))
        await asyncio.sleep(0)
        await house.door.close()
        assert isinstance(await waiting, StepFailed)

    live(work)


def test_the_end_comes_also_where_it_could_not_be_made(house: House) -> None:
    house.roots.faults = 1

    async def work() -> None:
        waiting = asyncio.create_task(house.door.call(CALL))
        await asyncio.sleep(0)
        await house.door.close()
        assert isinstance(await waiting, StepFailed)

    live(work)


def test_a_start_loads_no_http_client() -> None:
    program = "import sys, proxy.edge.assembly; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"httpcore", "anyio", "h2", "argparse", "mitmproxy"} & {*done.stdout.split()} == set()
