"""test_servers.py pours much through both sides; here are the limits by themselves."""

import pytest
from h2.events import ConnectionTerminated, RemoteSettingsChanged
from h2.settings import SettingCodes

from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.pacing import CLIENT_WINDOW, MAX_FRAME, MAX_TABLE, STREAMS_AT_ONCE, UPSTREAM_WINDOW
from tests.lane_world import H2Client, H2Upstream, Talk, Upstream, World


@pytest.fixture
def talk() -> Talk:
    return Talk(World(), alpn=HTTP2, upstream=Upstream(alpn=HTTP2))


def test_each_side_is_told_what_it_may_have_on_its_way(talk: Talk) -> None:
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    upstream = H2Upstream(talk)
    upstream.h2.send_headers(upstream.stream, [(b":status", b"200")])

    assert client.h2.local_flow_control_window(stream) == CLIENT_WINDOW
    assert upstream.h2.local_flow_control_window(upstream.stream) == UPSTREAM_WINDOW
    for side in (client, upstream):
        (settings,) = side.of(RemoteSettingsChanged)
        assert side.h2.max_outbound_frame_size == MAX_FRAME
        assert settings.changed_settings


def test_a_frame_above_the_limit_ends_the_connection(talk: Talk) -> None:
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    frame = (MAX_FRAME + 1).to_bytes(3, "big") + b"\0\0" + stream.to_bytes(4, "big") + bytes(MAX_FRAME + 1)

    talk.say(frame)

    assert client.of(ConnectionTerminated)
    assert talk.closed


def test_a_frame_above_the_limit_is_not_waited_for(talk: Talk) -> None:
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    talk.say((2**24 - 1).to_bytes(3, "big") + b"\0\0" + stream.to_bytes(4, "big"))

    talk.say(bytes(MAX_FRAME))
    assert not talk.closed
    talk.say(b"x")

    assert talk.closed


def test_a_window_opens_again_when_its_bytes_have_gone_on(talk: Talk) -> None:
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    upstream = H2Upstream(talk)
    upstream.h2.increment_flow_control_window(10_000_000)
    upstream.h2.increment_flow_control_window(10_000_000, upstream.stream)
    upstream.flush()

    for _ in range(5 * CLIENT_WINDOW // MAX_FRAME):
        client.h2.send_data(stream, b"x" * MAX_FRAME)
        client.flush()

    assert client.h2.local_flow_control_window(stream) > 0
    upstream.flush()
    assert talk.http.waiting_bytes == 0


def test_a_stream_that_is_refused_owes_nothing_to_the_connection(talk: Talk) -> None:
    client = H2Client(talk)
    stream = client.request(method=b"PUT", path=b"/other", end=False)
    assert client.head(stream)[":status"] == "403"

    for _ in range(4 * CLIENT_WINDOW // MAX_FRAME):
        if client.h2.local_flow_control_window(stream) < MAX_FRAME:
            break
        client.h2.send_data(stream, b"x" * MAX_FRAME)
        client.flush()

    assert client.h2.outbound_flow_control_window > (STREAMS_AT_ONCE - 1) * CLIENT_WINDOW
    assert not talk.http._server.owes  # type: ignore[union-attr]


def test_data_for_a_stream_without_a_head_ends_the_connection(talk: Talk) -> None:
    client = H2Client(talk)
    client.request()

    talk.say((3).to_bytes(3, "big") + b"\0\1" + (99).to_bytes(4, "big") + b"abc")

    assert talk.closed


def test_a_larger_table_than_ours_is_not_searched(talk: Talk) -> None:
    client = H2Client(talk)
    client.request()
    client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 1_000_000})
    client.flush()

    server = talk.http._server
    assert server.h2_conn.encoder.header_table_size == MAX_TABLE  # type: ignore[union-attr]
    assert not talk.closed


@pytest.mark.parametrize("end", ["goes away", "is gone", "is wrong"])
def test_after_the_end_nothing_is_settled(talk: Talk, end: str) -> None:
    client = H2Client(talk)
    talk.holds = True
    stream = client.request(method=b"PUT", end=False)
    for _ in range(2 * CLIENT_WINDOW // MAX_FRAME):
        if client.h2.local_flow_control_window(stream) >= MAX_FRAME:
            client.h2.send_data(stream, b"x" * MAX_FRAME)
            client.flush()
    assert talk.http._server.owes  # type: ignore[union-attr]

    if end == "goes away":
        client.h2.close_connection()
        client.flush()
    elif end == "is gone":
        talk.hang_up(talk.client)
    else:
        talk.say((2**24 - 1).to_bytes(3, "big") + bytes(6))
        talk.say(bytes(MAX_FRAME + 1))
    talk.judge()

    assert talk.closed
    assert talk.servers == []


def test_bytes_that_came_with_the_end_are_not_acknowledged(talk: Talk) -> None:
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    client.h2.send_data(stream, b"abc")
    client.h2.close_connection()

    client.flush()

    assert talk.closed


def test_a_window_that_a_peer_makes_negative_sends_nothing_and_ends_nothing(talk: Talk) -> None:
    """RFC 9113 §6.9.2. mitmproxy would count from the end of the data, and h2 end the connection."""
    client = H2Client(talk)
    stream = client.request()
    upstream = H2Upstream(talk)
    upstream.answer([(b":status", b"200"), (b"content-type", b"image/png")], b"x" * 10_000)
    for _ in range(3):
        upstream.h2.send_data(upstream.stream, b"x" * 10_000)
    upstream.flush()
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1_000})
    client.flush()
    upstream.h2.send_data(upstream.stream, b"y" * 10_000, end_stream=True)
    upstream.flush()

    assert not talk.closed
    assert len(client.body(stream)) == 40_000
    client.h2.increment_flow_control_window(200_000, stream)
    client.flush()
    assert len(client.body(stream)) == 50_000


def test_the_connection_has_a_window_of_its_own(talk: Talk) -> None:
    client = H2Client(talk)
    client.request()

    assert client.h2.outbound_flow_control_window <= STREAMS_AT_ONCE * CLIENT_WINDOW
