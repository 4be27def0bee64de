from datetime import UTC, datetime, timedelta
from itertools import pairwise
from string import hexdigits

from proxy.edge.clock import SystemClock, new_request_id


def test_now_is_now_and_says_in_which_zone() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


def test_its_seconds_never_go_back() -> None:
    clock = SystemClock()

    assert all(one <= other for one, other in pairwise(clock.monotonic() for _ in range(100)))


def test_request_ids_differ() -> None:
    ids = {new_request_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(len(one) == 16 and set(one) <= set(hexdigits) for one in ids)
