from datetime import timedelta

import pytest
from h2.events import StreamReset
from h2.settings import SettingCodes
from h11 import Data, EndOfMessage
from mitmproxy.connection import ConnectionState

from proxy.core.audit import Ending
from proxy.core.structs import replace
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.clients import MAX_UNREAD, LimitedHttp1Client, PacedHttp2Client, WithoutTrailers
from proxy.lanes.mitm.events import CutStream, Forget
from tests.lane_world import NOON, POLICY, H2Client, H2Upstream, Talk, Upstream, World, live_lease, pod_of

HOST = b"Host: api.example.com\r\n"
GET = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world)


# --- interim responses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nLink: </y>\r\n\r\n",
        b"HTTP/1.0 102 \r\n\r\n",
        b"HTTP/1.1 100\r\n\r\n",
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 12, 10_000])
def test_interim_responses_are_skipped_however_they_come(talk: Talk, interim: bytes, cut: int) -> None:
    talk.say(GET)
    data = interim * 2 + OK

    got = talk.reply(data[:cut]) if cut else b""
    got += talk.reply(data[cut:]) if data[cut:] else b""

    assert got == OK


def test_an_upstream_that_ends_within_an_interim_response_has_failed(world: World, talk: Talk) -> None:
    talk.say(GET)
    talk.reply(b"HTTP/1.1 103 Early Hints\r\nLink")

    answer = talk.hang_up()

    assert b"podkey-reason: upstream_failed" in answer
    assert b"Link" not in answer


def test_a_response_that_nobody_asked_for_is_nobodys_answer(world: World, talk: Talk) -> None:
    """Else one request's answer would be searched for another request's credential."""
    talk.say(GET)
    talk.reply(OK)

    assert talk.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") == b""

    assert talk.servers[0].state is ConnectionState.CLOSED
    talk.say(GET)
    assert talk.reply(OK) == OK
    assert len(talk.servers) == 2


def test_a_second_answer_to_a_request_that_is_on_its_way_ends_the_connection(
    world: World, talk: Talk
) -> None:
    talk.say(b"PUT /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n01234")
    assert talk.reply(OK) == OK

    assert talk.reply(b"HTTP/1.1 100 Continue\r\n\r\n" + OK) == b""

    assert talk.servers[0].state is ConnectionState.CLOSED
    assert world.recorder.crashes == []


# --- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 103 Early Hints\r\nX: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_what_never_ends_is_not_kept_without_end(talk: Talk, start: bytes) -> None:
    talk.say(GET)
    talk.reply(start)

    for _ in range(MAX_UNREAD // 65_536 + 1):
        talk.reply(b"x" * 65_536)

    assert talk.servers[0].state is ConnectionState.CLOSED
    assert talk.closed or b"podkey-reason: upstream_failed" in talk.answer


# --- trailers ----------------------------------------------------------------------------------------------


def test_trailers_of_an_http1_response_are_dropped_and_its_connection_stays(world: World, talk: Talk) -> None:
    talk.say(GET)

    got = talk.reply(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Checksum: 1\r\n\r\n"
    )

    assert got.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert world.recorder.record.ending is Ending.COMPLETED
    talk.say(GET)
    assert talk.reply(OK) == OK
    assert len(talk.servers) == 1


def test_a_reader_says_the_same_without_trailers() -> None:
    told = [Data(b"x"), None, EndOfMessage(headers=[("x-checksum", "1")])]

    class Reader:
        def __call__(self, _data: object) -> object:
            return told.pop(0)

        def read_eof(self) -> object:
            return EndOfMessage(headers=[("x", "1")])

    reader = WithoutTrailers(Reader())  # type: ignore[arg-type]

    read = [reader(None) for _ in range(3)]  # type: ignore[arg-type]
    assert [type(event).__name__ for event in read] == ["Data", "NoneType", "EndOfMessage"]
    assert list(read[2].headers) == list(reader.read_eof().headers) == []  # type: ignore[attr-defined]


# --- the choice ----------------------------------------------------------------------------------------


def test_streams_share_one_connection(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    streams = [client.request() for _ in range(3)]
    upstream = H2Upstream(talk)

    assert len(talk.servers) == 1
    assert len(upstream.requests()) == 3
    for number in (1, 3, 5):
        upstream.h2.send_headers(number, [(b":status", b"204")], end_stream=True)
    upstream.flush()
    assert [client.head(stream)[":status"] for stream in streams] == ["204"] * 3


def test_streams_that_wait_for_one_connection_fail_together(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(error="no route"))
    client = H2Client(talk)

    streams = [client.request() for _ in range(2)]

    assert {client.head(stream)["podkey-reason"] for stream in streams} == {"upstream_unreachable"}
    talk.upstream = Upstream(alpn=HTTP2)
    client.request()
    assert H2Upstream(talk).requests()


def test_a_client_that_resets_its_stream_resets_the_upstreams(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request()
    upstream = H2Upstream(talk)

    client.h2.reset_stream(stream)
    client.flush()

    assert upstream.of(StreamReset)
    assert world.recorder.record.ending is Ending.CLIENT_GONE


# --- streams whose answer was the first of two -------------------------------------------------------------


def test_a_stream_that_was_never_sent_is_forgotten_without_a_word(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    H2Client(talk).request()
    (http,) = (http for _, http in talk.http._upstreams.values())
    assert isinstance(http.child, PacedHttp2Client)

    assert list(http.child.handle_event(Forget(99))) == []


# --- streams that wait for a place at the upstream ---------------------------------------------------------


class Crowded:
    """An upstream that takes one stream at a time, and a second request that waits for its place."""

    def __init__(self, world: World) -> None:
        self.world = world
        talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
        talk.conversation.cut_off = lambda exchange: talk.feed(CutStream(exchange))
        self.app = H2Client(talk)
        self.first = self.app.request()
        self.upstream = H2Upstream(talk)
        self.upstream.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        self.upstream.flush()
        self.second = self.app.request(path=b"/v1/second")
        assert self.paths == [b"/v1/models"]

    @property
    def paths(self) -> list[bytes]:
        return [request[b":path"] for request in self.upstream.requests()]

    def end_the_first(self) -> None:
        self.upstream.h2.send_headers(1, [(b":status", b"204")], end_stream=True)
        self.upstream.flush()


def test_a_stream_waits_for_its_place(world: World) -> None:
    crowded = Crowded(world)

    crowded.end_the_first()

    assert crowded.paths == [b"/v1/models", b"/v1/second"]


def test_a_stream_that_was_reset_while_it_waited_is_never_sent(world: World) -> None:
    crowded = Crowded(world)
    crowded.app.h2.reset_stream(crowded.second)
    crowded.app.flush()

    crowded.end_the_first()

    assert crowded.paths == [b"/v1/models"]
    assert [record.ending for record in world.recorder.records] == [Ending.CLIENT_GONE, Ending.COMPLETED]


def test_a_stream_whose_lease_ended_while_it_waited_is_never_sent(world: World) -> None:
    ends = NOON + timedelta(seconds=10)
    world.leases.reply = lambda credential: replace(live_lease(credential), expires=ends)
    crowded = Crowded(world)
    world.clock.passed = timedelta(seconds=10)

    crowded.end_the_first()

    assert crowded.paths == [b"/v1/models"]
    assert crowded.app.head(crowded.second)["podkey-reason"] == "upstream_failed"


def test_streams_that_are_cut_while_one_of_them_waits_are_never_sent(world: World) -> None:
    world.pod = pod_of(POLICY.replace("  grants:", "  onRevoke: cut\n  grants:"))
    crowded = Crowded(world)
    world.pod = pod_of("")

    assert world.lane_world.in_flight.recheck(world.pod) == 2

    crowded.app.flush()
    assert crowded.paths == [b"/v1/models"]
    assert {record.ending for record in world.recorder.records} == {Ending.CUT}


def test_a_request_over_http1_has_its_connection_to_itself(talk: Talk) -> None:
    talk.say(GET)
    (http,) = (http for _, http in talk.http._upstreams.values())
    assert isinstance(http.child, LimitedHttp1Client)

    assert list(http.child.handle_event(Forget(1))) == []
    assert talk.reply(OK) == OK
