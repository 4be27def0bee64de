"""Lines leave in their order, and nobody waits for them."""

import threading

import pytest

from proxy.edge.outbox import MAX_TOGETHER, PLACE, Outbox

WAIT = 5.0


def test_lines_leave_in_their_order_whichever_way_they_go() -> None:
    written: list[bytes] = []
    outbox = Outbox()
    one = outbox.sink(lambda line: written.append(b"1" + line), lambda: None)
    two = outbox.sink(lambda line: written.append(b"2" + line), lambda: None)

    for send, line in ((one, b"a"), (two, b"b"), (one, b"c")):
        send(line)
    outbox.close(WAIT)

    assert written == [b"1a", b"2b", b"1c"]


def test_a_reader_that_stands_still_holds_nobody_up_and_what_is_too_much_is_counted() -> None:
    go_on, begun = threading.Event(), threading.Event()
    written: list[bytes] = []
    lost: list[None] = []

    def stand_still(line: bytes) -> None:
        begun.set()
        go_on.wait(WAIT)
        written.append(line)

    outbox = Outbox(max_lines=2)
    send = outbox.sink(stand_still, lambda: lost.append(None))
    send(b"first")
    assert begun.wait(WAIT)
    for line in (b"second", b"third", b"fourth", b"fifth"):
        send(line)

    assert (written, len(lost)) == ([], 2)
    outbox.close(0.0)  # there is no room for the end, and no time
    go_on.set()
    outbox.close(WAIT)
    assert written == [b"first", b"secondthird"]


def test_lines_of_one_way_go_out_together_up_to_a_size() -> None:
    go_on, begun = threading.Event(), threading.Event()
    written: list[bytes] = []

    def stand_still(line: bytes) -> None:
        begun.set()
        go_on.wait(WAIT)
        written.append(line)

    outbox = Outbox()
    send = outbox.sink(stand_still, lambda: None)
    send(b"first")
    assert begun.wait(WAIT)
    line = b"x" * (MAX_TOGETHER // 2)
    for _ in range(3):
        send(line)
    go_on.set()
    outbox.close(WAIT)

    assert written == [b"first", 2 * line, line]


def test_a_line_after_a_rest_is_written_without_another_one() -> None:
    written: list[bytes] = []
    seen = threading.Event()

    def write(line: bytes) -> None:
        written.append(line)
        seen.set()

    outbox = Outbox()
    send = outbox.sink(write, lambda: None)
    for line in (b"one", b"two", b"three"):
        while not outbox._asleep:
            threading.Event().wait(0.001)
        seen.clear()
        send(line)
        assert seen.wait(WAIT)
    outbox.close(WAIT)

    assert written == [b"one", b"two", b"three"]


def test_a_long_line_takes_the_place_of_several() -> None:
    go_on, begun = threading.Event(), threading.Event()
    written: list[bytes] = []
    lost: list[None] = []

    def stand_still(line: bytes) -> None:
        begun.set()
        go_on.wait(WAIT)
        written.append(line)

    outbox = Outbox(max_lines=100)
    send = outbox.sink(stand_still, lambda: lost.append(None))
    send(b"first")
    assert begun.wait(WAIT)
    line = b"x" * (15 * PLACE)
    for _ in range(100):
        send(line)
    kept = 100 - len(lost)
    go_on.set()
    outbox.close(WAIT)

    assert kept * len(line) <= (100 + 16) * PLACE
    assert b"".join(written) == b"first" + kept * line
    assert all(written)


@pytest.mark.parametrize("size", [PLACE, PLACE + 1, MAX_TOGETHER, 3 * MAX_TOGETHER])
def test_lines_of_every_length_leave_once_and_whole(size: int) -> None:
    written: list[bytes] = []
    outbox = Outbox()
    send = outbox.sink(written.append, lambda: None)
    line = b"x" * size
    for _ in range(3):
        send(line)
    outbox.close(WAIT)

    assert b"".join(written) == 3 * line
    assert all(written)


def test_a_bell_that_rang_for_the_end_too_early_is_not_waited_for_again() -> None:
    outbox = Outbox()
    clear = outbox._bell.clear
    ended = threading.Event()

    def close_first() -> None:
        if not ended.is_set():
            ended.set()
            outbox._closing.set()
            outbox._bell.set()
        clear()

    outbox._bell.clear = close_first  # type: ignore[method-assign]
    outbox._thread.join(WAIT)

    assert ended.is_set()
    assert not outbox._thread.is_alive()
