from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.api import ClusterFault
from injector.engine.happenings import (
    LEAST_GAP,
    MAX_MESSAGE,
    MAX_NAME,
    MOST_REMEMBERED,
    MOST_WAITING,
    SAME_SECONDS,
    CountEvent,
    CreateEvent,
    EventBook,
    EventKind,
    EventReason,
    Happening,
    Involved,
    about_namespace,
)
from proxy.core.structs import replace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = Involved("batch/v1", "Job", "train", "uid-1")
INJECTED = Happening("ml", JOB, EventKind.NORMAL, EventReason.INJECTED, "A sidecar was added.")
GONE = ClusterFault(404, "NotFound", "")


def add(book: EventBook, happening: Happening = INJECTED, now: float = 0.0, token: str = "0a") -> None:
    book.add(happening, now, NOON + timedelta(seconds=now), token)


def create(book: EventBook, now: float = 0.0) -> CreateEvent:
    write = book.next(now)
    assert isinstance(write, CreateEvent)
    return write


def test_an_event_is_about_the_owner_and_says_who_tells_it() -> None:
    book = EventBook("podkey-injector-7d")
    add(book)
    assert create(book).event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "podkey-injector.0a", "namespace": "ml"},
        "involvedObject": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "namespace": "ml",
            "name": "train",
            "uid": "uid-1",
        },
        "type": "Normal",
        "reason": "PodkeyInjected",
        "message": "A sidecar was added.",
        "source": {"component": "podkey-injector"},
        "reportingComponent": "podkey-injector",
        "reportingInstance": "podkey-injector-7d",
        "firstTimestamp": "2026-01-01T12:00:00Z",
        "lastTimestamp": "2026-01-01T12:00:00Z",
        "count": 1,
    }
    assert book.next(0) is None


def test_without_an_owner_it_is_about_the_namespace_in_itself() -> None:
    book = EventBook("i")
    add(book, replace(INJECTED, involved=about_namespace("ml")))
    assert create(book).event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "namespace": "ml",
        "name": "ml",
    }


def test_the_same_thing_again_is_a_higher_count_of_the_same_event() -> None:
    book = EventBook("i")
    add(book)
    book.wrote(create(book))
    for second in (1, 2, 3):
        add(book, now=second, token="0b")
    assert book.next(3) == pytest.approx(LEAST_GAP - 3)
    assert book.next(LEAST_GAP) == CountEvent(
        INJECTED, "podkey-injector.0a", {"count": 4, "lastTimestamp": "2026-01-01T12:00:03Z"}, 4
    )
    assert book.next(LEAST_GAP) is None


def test_what_comes_while_it_waits_is_in_its_first_count() -> None:
    book = EventBook("i")
    for _ in range(5):
        add(book)
    assert create(book).event["count"] == 5


@pytest.mark.parametrize(
    "other",
    [
        replace(INJECTED, namespace="other"),
        replace(INJECTED, involved=replace(JOB, uid="uid-2")),
        replace(INJECTED, reason=EventReason.SKIPPED),
        replace(INJECTED, message="Another."),
    ],
)
def test_something_else_is_another_event(other: Happening) -> None:
    book = EventBook("i")
    add(book)
    add(book, other, token="0b")
    assert create(book).happening == INJECTED
    assert create(book).happening == other


def test_after_ten_minutes_it_is_another_event() -> None:
    book = EventBook("i")
    add(book)
    book.wrote(create(book))
    add(book, now=SAME_SECONDS, token="0b")
    write = create(book, SAME_SECONDS)
    assert write.event["metadata"]["name"] == "podkey-injector.0b"
    assert write.event["count"] == 1


def test_what_waits_for_ten_minutes_is_not_forgotten() -> None:
    book = EventBook("i")
    add(book)
    add(book, now=SAME_SECONDS * 2, token="0b")
    assert create(book, SAME_SECONDS * 2).event["count"] == 2


def test_what_waits_its_turn_does_not_hold_up_others() -> None:
    book = EventBook("i")
    add(book)
    book.wrote(create(book))
    add(book, now=1)
    other = replace(INJECTED, message="Another.")
    add(book, other, now=1, token="0b")
    assert create(book, 1).happening == other
    third = replace(INJECTED, message="A third.")
    add(book, third, now=1, token="0c")
    assert create(book, 1).happening == third
    add(book, other, now=2)
    assert book.next(2) == pytest.approx(LEAST_GAP - 2), "the soonest of those that wait"


def test_an_event_that_was_deleted_is_written_anew() -> None:
    book = EventBook("i")
    add(book)
    book.wrote(create(book))
    add(book, now=20)
    count = book.next(20)
    assert isinstance(count, CountEvent)
    book.failed(count, GONE)
    assert create(book, 20).event["count"] == 2
    assert book.lost == 0


def test_what_the_server_refuses_is_lost_and_counted() -> None:
    book = EventBook("i")
    add(book)
    book.failed(create(book), ClusterFault(403, "Forbidden", ""))
    assert book.lost == 1
    assert book.next(0) is None
    add(book, now=20)
    assert create(book, 20).event["count"] == 2, "the next one counts on, and is created"
    add(book, replace(INJECTED, namespace="gone"), now=20)
    book.failed(create(book, 20), GONE)
    assert book.lost == 2


def test_what_does_not_fit_is_lost_and_counted() -> None:
    book = EventBook("i")
    for number in range(MOST_WAITING + 10):
        add(book, replace(INJECTED, message=f"{number}"))
    assert book.lost == 10
    add(book, replace(INJECTED, message="0"))
    assert book.lost == 10, "what waits already is counted on"
    assert create(book).event["count"] == 2


def test_only_what_begins_to_wait_is_news() -> None:
    book, wall = EventBook("i"), NOON
    assert book.add(INJECTED, 0, wall, "0a")
    assert not book.add(INJECTED, 0, wall, "0b"), "it waits already"
    create(book)
    assert book.add(INJECTED, 1, wall, "0c"), "it waits again"
    for number in range(MOST_WAITING):
        news = book.add(replace(INJECTED, message=f"{number}"), 1, wall, f"{number}")
    assert not news, "it did not fit"


def test_what_is_remembered_has_a_limit() -> None:
    book = EventBook("i")
    add(book)
    first = create(book)
    waiting = replace(INJECTED, message="waits")
    for number in range(MOST_REMEMBERED + 10):
        add(book, replace(INJECTED, message=f"{number}"))
        last = create(book)
        if not number:
            add(book, waiting)
            book.next(0)
            add(book, waiting)
    book.wrote(last)
    assert len(book._told) == MOST_REMEMBERED
    assert waiting in book._told, "what waits is not forgotten"
    book.wrote(first)
    book.failed(first, GONE)
    assert book.lost == 1


def test_a_long_message_is_cut_between_characters() -> None:
    book = EventBook("i")
    add(book, replace(INJECTED, message="ä" * 3000))
    message: str = create(book).event["message"]
    assert message.endswith("ä…")
    assert MAX_MESSAGE - 2 <= len(message.encode()) <= MAX_MESSAGE


@given(st.text(max_size=3000), st.text(max_size=400))
def test_texts_fit_whatever_somebody_calls_things(message: str, name: str) -> None:
    book = EventBook("i")
    involved = Involved(name, name, name, name)
    add(book, Happening("ml", involved, EventKind.WARNING, EventReason.REFUSED, message))
    event: Any = create(book).event
    assert len(event["message"].encode()) <= MAX_MESSAGE
    whole = message.encode("utf-8", "replace").decode()
    assert event["message"] == whole or whole.startswith(event["message"][:-1])
    assert all(len(text) <= MAX_NAME for text in event["involvedObject"].values())
