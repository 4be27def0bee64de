import os

import pytest

from proxy.lanes.mitm.engine_options import lane_options


def test_no_connection_is_made_before_a_request_was_granted() -> None:
    assert lane_options(10.0).connection_strategy == "lazy"


def test_no_message_is_kept() -> None:
    options = lane_options(10.0)

    assert options.store_streamed_bodies is False
    assert options.websocket is False
    assert options.rawtcp is False


def test_what_comes_in_is_checked_by_mitmproxy_too() -> None:
    assert lane_options(10.0).validate_inbound_headers is True


def test_a_ping_of_ours_does_not_keep_a_stalled_upstream_alive() -> None:
    assert lane_options(10.0).http2_ping_keepalive == 0


@pytest.mark.parametrize(("idle", "seconds"), [(0.2, 1), (10.0, 10), (10.5, 11)])
def test_the_idle_time_is_a_whole_number_of_seconds_to_mitmproxy(idle: float, seconds: int) -> None:
    assert lane_options(idle).tcp_timeout == seconds


def test_no_environment_changes_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = lane_options(10.0)
    for name in dict(plain.items()):  # type: ignore[no-untyped-call]
        monkeypatch.setitem(os.environ, name.upper(), "x")
        monkeypatch.setitem(os.environ, f"MITMPROXY_{name.upper()}", "x")

    assert lane_options(10.0) == plain
