import asyncio
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.edge.http_messages import Head, Reply
from injector.edge.serving import DEFAULT_TIMEOUT, MAX_HELD_BODIES, MAX_TIMEOUT, Turns, timeout_of
from tests.injector_serving_world import PATH, Counts, HandClock, echo, review_site


def head(
    path: str = PATH, method: str = "POST", kind: str = "application/json", *, plain: bool = True
) -> Head:
    return Head(method, path, "timeout=5s", kind, plain=plain, length=2)


def asked(asked_head: Head, *, ready: bool = True) -> tuple[Reply | None, Counts]:
    counts = Counts()

    async def ask() -> Reply | None:
        return await review_site(counts, ready=lambda: ready).admit(asked_head)

    return asyncio.run(ask()), counts


def test_a_review_is_answered_by_the_handler_of_its_path() -> None:
    counts, clock = Counts(), HandClock()
    seen: list[tuple[bytes, datetime]] = []

    def handler(body: bytes, now: datetime) -> tuple[int, bytes]:
        seen.append((body, now))
        return 200, b"answer"

    async def ask() -> Reply:
        site = review_site(counts, {PATH: handler}, clock=clock)
        assert await site.admit(head()) is None
        reply = await site.answer(head(), b"body", clock.monotonic())
        site.leave(head())
        return reply

    assert asyncio.run(ask()) == Reply(200, b"answer")
    assert seen == [(b"body", clock.now())]
    assert counts.seen == {"began": 1, "took": 1, "ended": 1}


@pytest.mark.parametrize(
    ("refused", "status", "why"),
    [
        (head(path="/"), 404, "path"),
        (head(path="/mutate/"), 404, "path"),
        (head(method="GET"), 405, "method"),
        (head(kind="application/yaml"), 415, "media_type"),
        (head(kind=""), 415, "media_type"),
        (head(plain=False), 415, "media_type"),
    ],
)
def test_what_is_no_review_is_refused_before_its_body(refused: Head, status: int, why: str) -> None:
    reply, counts = asked(refused)

    assert reply is not None
    assert reply.status == status
    assert reply.media_type.startswith("text/plain")
    assert counts.seen == {why: 1}


def test_a_cold_cache_judges_nobody_and_asks_to_come_again() -> None:
    reply, counts = asked(head(), ready=False)

    assert reply is not None
    assert reply.status == 503
    assert reply.more == (("Retry-After", "1"),)
    assert counts.seen == {"not_ready": 1}


def test_a_handler_that_breaks_is_answered_for_without_its_words() -> None:
    counts, clock = Counts(), HandClock()
    told: list[tuple[str, Exception]] = []

    def broken(_body: bytes, _now: datetime) -> tuple[int, bytes]:
        raise ValueError("a word of the pod")

    async def ask() -> Reply:
        site = review_site(counts, {PATH: broken}, clock=clock, failed=lambda *what: told.append(what))
        return await site.answer(head(), b"", clock.monotonic())

    reply = asyncio.run(ask())

    assert reply.status == 500
    assert b"a word of" not in reply.body
    assert reply.more == ()
    assert counts.seen == {"failed": 1}
    assert [(path, type(error)) for path, error in told] == [(PATH, ValueError)]


def test_what_a_handler_refuses_is_a_text_that_api_servers_show() -> None:
    async def ask() -> Reply:
        site = review_site(Counts(), {PATH: lambda _body, _now: (400, b"no review")})
        return await site.answer(head(), b"", 100.0)

    assert asyncio.run(ask()) == Reply(400, b"no review", "text/plain; charset=utf-8")


def test_a_review_that_nobody_waits_for_is_not_worked_on() -> None:
    counts, clock = Counts(), HandClock()

    async def ask() -> Reply:
        return await review_site(counts, clock=clock).answer(head(), b"", clock.monotonic() - 5.1)

    assert asyncio.run(ask()).status == 503
    assert counts.seen == {"too_late": 1}


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("timeout=5s", 5),
        ("timeout=1s", 1),
        ("a=b&timeout=10s&c=d", 10),
        ("timeout=500s", MAX_TIMEOUT),
        ("", DEFAULT_TIMEOUT),
        ("timeout=-1s", DEFAULT_TIMEOUT),
        ("timeout=1h", DEFAULT_TIMEOUT),
        ("xtimeout=1s", DEFAULT_TIMEOUT),
    ],
)
def test_the_api_server_says_how_long_it_waits(query: str, seconds: float) -> None:
    assert timeout_of(query) == seconds


@given(st.text(max_size=60))
def test_any_query_has_a_timeout(query: str) -> None:
    assert 0 <= timeout_of(query) <= MAX_TIMEOUT


def test_who_finds_no_turn_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    monkeypatch.setattr("injector.edge.serving.Turns.take", lambda _self, _size: _no())

    async def _no() -> bool:
        return False

    async def ask() -> Reply | None:
        return await review_site(counts, {PATH: echo}, max_concurrent=1).admit(head())

    reply = asyncio.run(ask())
    assert reply is not None
    assert (reply.status, reply.more) == (503, (("Retry-After", "1"),))
    assert counts.seen == {"busy": 1}


# --- turns ----------------------------------------------------------------------------------------


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    async def scenario() -> list[int]:
        turns, came = Turns(1, MAX_HELD_BODIES), []

        async def wait(number: int) -> None:
            assert await turns.take(1)
            came.append(number)
            turns.give(1)

        assert await turns.take(1)
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(wait(number))
            await asyncio.sleep(0)
            turns.give(1)
        return came

    assert asyncio.run(scenario()) == [0, 1, 2, 3, 4]


def test_a_large_body_waits_for_room_and_small_ones_behind_it_do_not_pass() -> None:
    async def scenario() -> list[str]:
        turns, came = Turns(9, 10), []

        async def wait(name: str, size: int) -> None:
            assert await turns.take(size)
            came.append(name)

        assert await turns.take(5)
        async with asyncio.TaskGroup() as group:
            group.create_task(wait("large", 8))
            group.create_task(wait("small", 1))
            await asyncio.sleep(0)
            assert came == []
            turns.give(5)
        return came

    assert asyncio.run(scenario()) == ["large", "small"]


def test_who_waits_too_long_gets_none_and_those_behind_do() -> None:
    async def scenario() -> None:
        turns = Turns(2, 10)
        assert await turns.take(8)
        impatient = asyncio.ensure_future(turns.take(9, patience=0))
        behind = asyncio.ensure_future(turns.take(1))

        assert not await impatient
        assert await behind

    asyncio.run(scenario())


def test_a_turn_is_not_given_to_whoever_is_just_being_cut() -> None:
    async def scenario() -> None:
        turns = Turns(1, 10)
        assert await turns.take(1)
        cut, behind = (asyncio.ensure_future(turns.take(1)) for _ in range(2))
        await asyncio.sleep(0)
        cut.cancel()
        turns.give(1)

        assert await behind
        assert cut.cancelled()

    asyncio.run(scenario())


def test_who_is_cut_while_waiting_takes_no_turn_with_him() -> None:
    async def scenario() -> None:
        turns = Turns(1, 10)
        assert await turns.take(1)
        for granted in (False, True):
            waits = asyncio.ensure_future(turns.take(1))
            await asyncio.sleep(0)
            if granted:
                turns.give(1)  # in the very moment in which it is cut
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
        assert await turns.take(10)

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), max_size=30))
def test_there_are_never_more_than_there_should_be(acts: list[tuple[bool, int]]) -> None:
    async def scenario() -> None:
        turns, inside, waiting = Turns(3, 20), [], []

        async def enter(size: int) -> None:
            if await turns.take(size):
                inside.append(size)

        for takes, size in acts:
            if takes:
                waiting.append(asyncio.ensure_future(enter(size)))
            elif inside:
                turns.give(inside.pop())
            for _ in range(4):
                await asyncio.sleep(0)
            assert len(inside) <= 3
            assert sum(inside) <= 20
        while not all(task.done() for task in waiting):
            turns.give(inside.pop())
            for _ in range(4):
                await asyncio.sleep(0)
        assert len(inside) <= 3

    asyncio.run(scenario())
