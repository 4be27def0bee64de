import asyncio
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.edge.http_messages import Head, Reply
from injector.edge.serving import BREATH_SECONDS, DEFAULT_TIMEOUT, MAX_TIMEOUT, timeout_of
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
        site.leave()
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


def test_above_the_limit_of_whole_reviews_they_are_told_to_come_again() -> None:
    counts = Counts()

    async def ask() -> list[Reply]:
        clock = HandClock()
        site = review_site(counts, {PATH: echo}, clock=clock, max_concurrent=3)
        asking = (site.answer(head(), b"{}", clock.monotonic()) for _ in range(5))
        return await asyncio.gather(*asking)

    replies = asyncio.run(ask())
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 503]
    assert replies[-1].more == (("Retry-After", "1"),)
    assert counts.seen == {"took": 4, "busy": 1}


def test_between_two_reviews_the_loop_sees_to_others() -> None:
    told: list[str] = []

    def handler(_body: bytes, _now: datetime) -> tuple[int, bytes]:
        told.append("review")
        asyncio.get_running_loop().call_soon(told.append, "other")
        return 200, b""

    async def ask() -> None:
        site = review_site(Counts(), {PATH: handler})
        await asyncio.gather(*(site.answer(head(), b"", 100.0) for _ in range(2)))

    asyncio.run(ask())
    assert told[:3] == ["review", "other", "review"]


def test_a_review_that_comes_by_itself_does_not_wait_for_a_round_of_the_loop() -> None:
    async def ask() -> list[bool]:
        clock = HandClock()
        site, left = review_site(Counts(), {PATH: echo}, clock=clock), []
        for _ in range(2):
            clock.time += BREATH_SECONDS
            asking = site.answer(head(), b"{}", clock.monotonic())
            try:
                asking.send(None)
            except StopIteration:
                left.append(True)
        return left

    assert asyncio.run(ask()) == [True, True]


def test_a_review_that_waited_too_long_for_its_turn_is_not_worked_on() -> None:
    counts, clock = Counts(), HandClock()

    def slow(_body: bytes, _now: datetime) -> tuple[int, bytes]:
        clock.time += 6
        return 200, b""

    async def ask() -> list[int]:
        site = review_site(counts, {PATH: slow}, clock=clock)
        replies = await asyncio.gather(*(site.answer(head(), b"", 100.0) for _ in range(2)))
        return [reply.status for reply in replies]

    assert asyncio.run(ask()) == [200, 503]
    assert counts.seen == {"took": 1, "too_late": 1}


def test_who_is_cut_while_waiting_keeps_nobody_from_his_turn() -> None:
    async def ask() -> Reply:
        site = review_site(Counts(), max_concurrent=2)
        cut = [asyncio.ensure_future(site.answer(head(), b"", 100.0)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return await site.answer(head(), b"", 100.0)

    assert asyncio.run(ask()).status == 200
