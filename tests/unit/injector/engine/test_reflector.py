from typing import Any

import pytest

from injector.core.api import BAD_ANSWER, TOO_LARGE, TOO_MANY, ClusterFault, ObjectKey, Page
from injector.engine.reflector import (
    CEILING,
    LEAST_GAP,
    LONGEST_WISH,
    PAGE,
    WATCH_SECONDS,
    ListPage,
    Reflector,
    Remove,
    Replace,
    Unreadable,
    Upsert,
    Wait,
    Watch,
    retry_after,
)
from injector.reading.objects import ObjectFault

Raw = dict[str, Any]
RESYNC = 600.0


def read(raw: Any) -> str:
    if raw.get("kind", "Thing") != "Thing":
        raise ObjectFault("it is no Thing")
    if "spec" not in raw:
        raise ObjectFault("it has no spec")
    return str(raw["spec"])


def thing(name: str, spec: str | None = "s", version: str = "1", **more: object) -> Raw:
    raw: Raw = {"metadata": {"name": name, "namespace": "ml", "resourceVersion": version}, **more}
    return raw if spec is None else raw | {"spec": spec}


def event(what: str, raw: object) -> Raw:
    return {"type": what, "object": raw}


def key(name: str) -> ObjectKey:
    return ObjectKey("ml", name)


def made(**more: Any) -> Reflector[str]:
    return Reflector("things", read, resync_seconds=RESYNC, **more)


def watching(version: str = "10", *things: Raw, **more: Any) -> Reflector[str]:
    reflector = made(**more)
    assert isinstance(reflector.next(0), ListPage)
    assert isinstance(reflector.listed(Page(things, "", version), 0, 0.5), list)
    assert isinstance(reflector.next(0), Watch)
    return reflector


# --- lists ----------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_and_put_in_place_as_a_whole() -> None:
    reflector = made(page=2)
    assert reflector.next(0) == ListPage("", 2)
    assert reflector.listed(Page([thing("a"), thing("b")], "more", "10"), 0, 0.5) == []
    assert reflector.next(0) == ListPage("more", 2)
    assert reflector.listed(Page([thing("c")], "", "10"), 0, 0.5) == [
        Replace({key("a"): "s", key("b"): "s", key("c"): "s"})
    ]
    assert reflector.next(0) == Watch("10", WATCH_SECONDS)


def test_an_object_that_cannot_be_read_is_kept_out_and_told() -> None:
    reflector = made()
    page = Page([thing("a", None), {"metadata": {}}, thing("b"), thing("c", kind="Other")], "", "10")
    assert reflector.listed(page, 0, 0.5) == [
        Unreadable(key("a"), "it has no spec"),
        Unreadable(None, "metadata.name is missing"),
        Unreadable(key("c"), "it is no Thing"),
        Replace({key("b"): "s"}),
    ]


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_page_whose_token_is_worth_nothing_begins_the_list_again(status: int) -> None:
    reflector = made()
    reflector.listed(Page([thing("a")], "more", "10"), 0, 0.5)
    reflector.failed(ClusterFault(status, "Expired", ""), 0, 0)
    assert reflector.next(0) == ListPage("", PAGE)
    assert reflector.listed(Page([thing("b")], "", "11"), 0, 0.5) == [Replace({key("b"): "s"})]


def test_a_page_that_failed_otherwise_is_asked_for_again() -> None:
    reflector = made()
    reflector.listed(Page([thing("a")], "more", "10"), 0, 0.5)
    reflector.failed(ClusterFault(503, "ServiceUnavailable", ""), 0, 0)
    assert reflector.next(0) == ListPage("more", PAGE)
    assert reflector.listed(Page([], "", "10"), 0, 0.5) == [Replace({key("a"): "s"})]


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones_and_only_this_list() -> None:
    reflector = made(page=20)
    too_large = ClusterFault(None, TOO_LARGE, "")
    seen = []
    for _ in range(4):
        step = reflector.next(1000)
        assert isinstance(step, ListPage)
        seen.append(step.limit)
        reflector.failed(too_large, 0, 0)
    assert seen == [20, 5, 1, 1]
    reflector.listed(Page([thing("a")], "", "10"), 1000, 0.5)
    reflector.failed(ClusterFault(410, "Expired", ""), 1000, 0)
    assert reflector.next(2000) == ListPage("", 20)


def test_more_objects_than_are_kept_leave_what_was_known_in_place() -> None:
    reflector = watching("10", thing("a"), most=2)
    reflector.failed(ClusterFault(410, "Expired", ""), 0, 0)
    page = Page([thing("a"), thing("b"), thing("c")], "", "11")
    outcome = reflector.listed(page, 0, 0)
    assert isinstance(outcome, ClusterFault)
    assert outcome.reason == TOO_MANY
    assert "more than 2 things" in outcome.message
    assert isinstance(reflector.next(0), ListPage)


def test_one_object_too_many_in_a_watch_is_a_failure_too() -> None:
    reflector = watching("10", thing("a"), most=1)
    outcome = reflector.happened(event("ADDED", thing("b", version="11")), 0, 0)
    assert isinstance(outcome, ClusterFault)
    assert outcome.reason == TOO_MANY
    assert isinstance(reflector.next(0), ListPage)


def test_a_new_list_is_due_after_a_while_and_not_for_all_at_once() -> None:
    due = []
    for dice in (0.0, 0.999):
        reflector = made()
        reflector.listed(Page([], "", "10"), 0, dice)
        reflector.next(0)
        reflector.ended(500, 0)
        step = reflector.next(535)
        assert isinstance(step, Watch)
        due.append(535 + step.seconds)
        assert step.seconds < WATCH_SECONDS, "it ends when the list is due"
        assert isinstance(reflector.next(due[-1]), ListPage)
    assert due == pytest.approx([RESYNC * 0.9, RESYNC * 1.1], rel=0.01)


def test_a_watch_lasts_a_second_at_least() -> None:
    reflector = made()
    reflector.listed(Page([], "", "10"), 0, 0.5)
    assert reflector.next(RESYNC - 0.1) == Watch("10", 1.0)


# --- watches --------------------------------------------------------------------------------------


def test_events_change_the_copy_and_move_on() -> None:
    reflector = watching("10", thing("a"))
    assert reflector.happened(event("ADDED", thing("b", "1", "11")), 0, 0) == [Upsert(key("b"), "1")]
    assert reflector.happened(event("MODIFIED", thing("b", "2", "12")), 0, 0) == [Upsert(key("b"), "2")]
    assert reflector.happened(event("DELETED", thing("a", "s", "13")), 0, 0) == [Remove(key("a"))]
    reflector.ended(5, 0)
    assert reflector.next(5) == Watch("13", WATCH_SECONDS)


def test_what_was_seen_already_changes_nothing() -> None:
    """A list or a watch of one version has all that came before it."""
    reflector = watching("10", thing("a"))
    assert reflector.happened(event("DELETED", thing("a", "s", "9")), 0, 0) == []
    assert reflector.happened(event("ADDED", thing("z", "s", "10")), 0, 0) == []
    assert reflector.happened(event("MODIFIED", thing("a", "new", "12")), 0, 0) != []
    assert reflector.happened(event("MODIFIED", thing("a", "old", "11")), 0, 0) == []


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    reflector = watching("v-b")
    assert reflector.happened(event("ADDED", thing("a", "s", "v-a")), 0, 0) == [Upsert(key("a"), "s")]
    assert reflector.happened(event("ADDED", thing("b", "s", "9" * 21)), 0, 0) == [Upsert(key("b"), "s")]
    assert reflector.happened(event("ADDED", thing("c", "s", "")), 0, 0) == [Upsert(key("c"), "s")]
    reflector.ended(5, 0)
    assert reflector.next(5) == Watch("9" * 21, WATCH_SECONDS)


@pytest.mark.parametrize(
    "bookmark",
    [
        {},
        None,
        {"metadata": None},
        {"metadata": {"resourceVersion": 12}},
        {"metadata": {"resourceVersion": ""}},
    ],
)
def test_a_bookmark_without_a_version_says_nothing(bookmark: object) -> None:
    reflector = watching("10")
    assert reflector.happened(event("BOOKMARK", bookmark), 0, 0) == []
    reflector.ended(5, 0)
    assert reflector.next(5) == Watch("10", WATCH_SECONDS)


def test_a_bookmark_moves_on_but_never_back() -> None:
    reflector = watching("10")
    for version in ("20", "15"):
        reflector.happened(event("BOOKMARK", {"metadata": {"resourceVersion": version}}), 0, 0)
    reflector.ended(5, 0)
    assert reflector.next(5) == Watch("20", WATCH_SECONDS)


def test_what_cannot_be_read_any_more_is_taken_out() -> None:
    reflector = watching("10", thing("a"))
    assert reflector.happened(event("MODIFIED", thing("a", None, "11")), 0, 0) == [
        Unreadable(key("a"), "it has no spec"),
        Remove(key("a")),
    ]
    assert reflector.happened(event("MODIFIED", thing("a", "s", "12", kind="Other")), 0, 0) == [
        Unreadable(key("a"), "it is no Thing"),
        Remove(key("a")),
    ]
    assert reflector.happened(event("MODIFIED", thing("a", "well", "13")), 0, 0) == [Upsert(key("a"), "well")]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"type": "ADDED"},
        {"type": "RENAMED", "object": thing("a", version="11")},
        {"type": 5, "object": {}},
        event("ADDED", None),
        event("DELETED", {"metadata": {}}),
        event("ADDED", {"kind": "Status", "code": 500}),
    ],
)
def test_an_event_that_makes_no_sense_may_have_been_a_change(odd: Raw) -> None:
    reflector = watching("10", thing("a"))
    outcome = reflector.happened(odd, 0, 0)
    assert isinstance(outcome, ClusterFault)
    assert outcome.reason == BAD_ANSWER
    assert isinstance(reflector.next(0), ListPage)


@pytest.mark.parametrize("status", [{"code": 410, "reason": "Expired"}, {"code": 410}, {"reason": "Gone"}])
def test_a_version_that_is_forgotten_begins_with_a_list(status: Raw) -> None:
    reflector = watching("10")
    outcome = reflector.happened(event("ERROR", status), 0, 0)
    assert isinstance(outcome, ClusterFault)
    assert outcome.is_expired
    assert isinstance(reflector.next(0), ListPage)


@pytest.mark.parametrize(
    "status",
    [{"code": 500, "reason": "InternalError"}, {"code": "x", "reason": ""}, {"reason": 1}, None, "no"],
)
def test_another_error_goes_on_where_it_was(status: object) -> None:
    reflector = watching("10")
    assert isinstance(reflector.happened(event("ERROR", status), 0, 0), ClusterFault)
    assert reflector.next(0) == Watch("10", WATCH_SECONDS)


@pytest.mark.parametrize(
    ("fault", "begins_anew"),
    [
        (ClusterFault(410, "Gone", ""), True),
        (ClusterFault(400, "BadRequest", ""), True),
        (ClusterFault(404, "NotFound", "the kind was deleted"), True),
        (ClusterFault(429, "TooManyRequests", ""), False),
        (ClusterFault(401, "Unauthorized", ""), False),
        (ClusterFault(500, "InternalError", ""), False),
        (ClusterFault(None, "TimedOut", ""), False),
        (ClusterFault(None, TOO_LARGE, "one event"), False),
    ],
)
def test_a_watch_that_was_not_answered_goes_on_unless_the_server_cannot(
    fault: ClusterFault, begins_anew: object
) -> None:
    reflector = watching("10")
    reflector.failed(fault, 0, 0)
    assert isinstance(reflector.next(0), ListPage if begins_anew else Watch)


# --- patience -------------------------------------------------------------------------------------


def test_failures_are_followed_by_longer_and_longer_waits_that_have_an_end() -> None:
    assert [retry_after(n, None, 1.0) for n in (1, 2, 3, 9, 5000)] == [1, 2, 4, CEILING, CEILING]
    assert retry_after(9, None, 0.0) == 0


def test_a_servers_own_wish_is_a_floor_with_a_limit() -> None:
    assert retry_after(1, 7.0, 0.5) == 7.0
    assert retry_after(1, 1e9, 0.5) == LONGEST_WISH
    reflector = watching("10")
    reflector.failed(ClusterFault(429, "TooManyRequests", "", 7.0), 100, 0.5)
    assert reflector.next(102) == Wait(5.0)
    assert isinstance(reflector.next(107), Watch)


def test_a_watch_that_brings_something_ends_the_row_of_failures() -> None:
    reflector = watching("10")
    for _ in range(3):
        reflector.failed(ClusterFault(500, "", ""), 0, 0)
    assert reflector.failures == 3
    reflector.happened(event("ADDED", thing("a", version="11")), 0, 0)
    assert reflector.failures == 0


def test_a_server_that_ends_each_watch_at_once_is_left_in_peace_longer_and_longer() -> None:
    reflector = watching("10")
    reflector.ended(LEAST_GAP / 2, 0.999)
    assert reflector.failures == 1
    assert isinstance(reflector.next(LEAST_GAP / 2), Wait)


def test_watches_that_bring_something_begin_once_a_second_at_most() -> None:
    reflector = watching("10")
    reflector.happened(event("ADDED", thing("a", version="11")), 0.1, 0)
    reflector.ended(0.2, 0.999)
    assert reflector.next(0.2) == Wait(LEAST_GAP - 0.2)
    assert reflector.next(LEAST_GAP) == Watch("11", WATCH_SECONDS)
