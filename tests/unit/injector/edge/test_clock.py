from datetime import UTC

from injector.edge.clock import SystemClock


def test_it_tells_the_time_with_its_zone() -> None:
    assert SystemClock.now().tzinfo is UTC


def test_its_other_clocks_do_not_go_back() -> None:
    assert SystemClock.monotonic() <= SystemClock.monotonic()
    assert SystemClock.since_boot() <= SystemClock.since_boot()
    assert SystemClock.since_boot() + 0.001 >= SystemClock.monotonic()
