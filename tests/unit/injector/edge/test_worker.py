import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from injector.edge import worker as module
from injector.edge.worker import Worker, ask, hand_to
from tests.injector_world import Lines, Loop, until


@contextmanager
def running(turn: Callable[[], float], log: Lines | None = None) -> Iterator[Worker]:
    worker = Worker("test", turn, log or Lines())
    worker.start()
    yield worker
    worker.stop()
    assert worker.join()


def test_it_turns_until_it_is_stopped() -> None:
    turns: list[int] = []

    def turn() -> float:
        turns.append(1)
        return 0.0

    with running(turn):
        until(lambda: len(turns) > 3)
    count = len(turns)
    assert len(turns) == count


def test_a_rest_ends_when_it_is_woken_and_when_it_is_stopped() -> None:
    turns: list[int] = []

    def turn() -> float:
        turns.append(1)
        return 3600.0

    with running(turn) as worker:
        until(lambda: len(turns) == 1)
        worker.wake()
        until(lambda: len(turns) == 2)


def test_being_woken_before_the_rest_is_not_missed() -> None:
    turns: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def turn() -> float:
        turns.append(1)
        begun.set()
        go.wait()
        return 3600.0

    with running(turn) as worker:
        begun.wait()
        worker.wake()
        go.set()
        until(lambda: len(turns) == 2)


def test_what_nobody_foresaw_is_logged_and_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAULT_SECONDS", 0.001)
    log, turns = Lines(), []

    def turn() -> float:
        turns.append(1)
        if len(turns) == 1:
            raise KeyError
        return 3600.0

    with running(turn, log):
        until(lambda: len(turns) == 2)
    assert log.events("error") == ["a thread failed and goes on"]


def test_a_call_that_hangs_does_not_hold_up_who_stops_it() -> None:
    go, begun = threading.Event(), threading.Event()

    def turn() -> float:
        begun.set()
        go.wait()
        return 0.0

    worker = Worker("test", turn, Lines())
    worker.start()
    begun.wait()
    worker.stop()
    assert not worker.join(0.01)
    assert worker.is_stopping
    go.set()
    assert worker.join()


def test_what_never_began_has_ended() -> None:
    assert Worker("test", lambda: 0.0, Lines()).join()


def test_handing_over_is_done_on_the_loop_and_forgotten_when_it_is_closed() -> None:
    seen: list[str] = []

    async def run() -> None:
        hand = hand_to(asyncio.get_running_loop())
        done = asyncio.Event()

        def arrived() -> None:
            seen.append(threading.current_thread().name)
            done.set()

        await asyncio.to_thread(hand, arrived)
        await done.wait()

    asyncio.run(run())
    assert seen == [threading.current_thread().name]
    loop = asyncio.new_event_loop()
    loop.close()
    hand_to(loop)(lambda: seen.append("never"))
    assert len(seen) == 1


def test_a_thread_gets_what_the_loop_answers_or_raises() -> None:
    loop = Loop()
    answers: list[object] = []

    def work() -> None:
        answers.append(ask(loop.hand, lambda: 5))
        try:
            ask(loop.hand, lambda: {}["no"])
        except KeyError as error:
            answers.append(error.args)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run_until(lambda: len(answers) == 2)
    thread.join()
    assert answers == [5, ("no",)]


def test_a_loop_that_has_ended_answers_nobody() -> None:
    with pytest.raises(TimeoutError):
        ask(lambda _call: None, lambda: 5, 0.001)
