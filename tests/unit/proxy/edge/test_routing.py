import asyncio
import socket

import pytest

from proxy.core.arrival import LaneName
from proxy.core.settings import Capture
from proxy.edge import routing
from proxy.edge.reception import Guest
from proxy.edge.routing import Lanes, Router
from proxy.lanes.interface import Accepted, Address
from proxy.lanes.unopened import Unopened
from proxy.transaction.pod import PodState
from tests.lane_world import POLICY, World, pod_of, tcp_pair
from tests.wire_samples import real_hello, records

GOVERNED = "api.example.com"
UPSTREAM = ("192.0.2.7", 443)
RELAY, FAST = LaneName.RELAY, LaneName.FAST
TRANSPARENT, EXPLICIT = Capture.TRANSPARENT, Capture.EXPLICIT


class Stop:
    """A lane that takes connections and does nothing with them."""

    def __init__(self, name: LaneName) -> None:
        self.name = name
        self.took: list[tuple[Accepted, bytes]] = []

    async def serve(self, accepted: Accepted) -> None:
        try:
            first = accepted.sock.recv(100_000, socket.MSG_PEEK)
        except BlockingIOError:
            first = b""
        self.took.append((accepted, first))


class Crossing:
    def __init__(self, patience: float = 5.0, *, fast: bool = True) -> None:
        self.world = World()
        self.relay, self.governed, self.mitmproxy = map(Stop, (RELAY, FAST, LaneName.MITMPROXY))
        lanes = Lanes(
            self.relay, self.governed if fast else None, self.mitmproxy, Unopened(self.world.lane_world)
        )
        self.router = Router(lambda: self.world.pod, lanes, self.world.recorder, patience)

    def route(
        self,
        data: bytes,
        capture: Capture = TRANSPARENT,
        asked: str = "",
        address: Address = UPSTREAM,
        *,
        ends: bool = False,
    ) -> bytes:
        """What the application reads, if it was answered."""

        async def run() -> bytes:
            theirs, ours = tcp_pair()
            theirs.setblocking(False)  # noqa: FBT003 - its name
            theirs.send(data)
            if ends:
                theirs.shutdown(socket.SHUT_WR)
            guest = Guest()
            loop = asyncio.get_running_loop()
            routed = loop.create_task(self.router.route(ours, guest, address, capture, asked))
            answered = loop.create_task(loop.sock_recv(theirs, 65_536))
            async with asyncio.timeout(5):
                await asyncio.wait([routed, answered], return_when=asyncio.FIRST_COMPLETED)
                answer = answered.result() if answered.done() else b""
                answered.cancel()
                await asyncio.wait([answered])
                theirs.close()
                await routed
            ours.close()
            for took, _ in (*self.relay.took, *self.governed.took, *self.mitmproxy.took):
                assert guest.accepted is took
            return answer

        return asyncio.run(run())


@pytest.fixture
def crossing() -> Crossing:
    return Crossing()


def test_a_governed_host_is_opened_with_what_its_client_offers(crossing: Crossing) -> None:
    hello = real_hello(GOVERNED, ["h2", "http/1.1"])

    crossing.route(hello)

    ((accepted, first),) = crossing.governed.took
    assert crossing.relay.took == []
    assert first == hello
    assert accepted.alpn == (b"h2", b"http/1.1")
    assert accepted.address == UPSTREAM
    arrival = accepted.arrival
    assert (arrival.name, arrival.port, arrival.capture) == (GOVERNED, 443, TRANSPARENT)
    assert (arrival.lane, arrival.upstream, arrival.asked) == (FAST, "192.0.2.7:443", "")


@pytest.mark.parametrize(
    ("offered", "lane"),
    [
        ((), FAST),
        (("http/1.1",), FAST),
        (("h2", "http/1.1"), FAST),
        (("http/1.1", "h2"), FAST),
        (("http/1.0", "http/1.1"), FAST),
        # gRPC, and whoever speaks nothing that we know: mitmproxy decides.
        (("h2",), LaneName.MITMPROXY),
        (("spdy/3",), LaneName.MITMPROXY),
    ],
)
def test_who_offers_http1_or_nothing_gets_the_fast_lane(offered: tuple[str, ...], lane: LaneName) -> None:
    crossing = Crossing()

    crossing.route(real_hello(GOVERNED, list(offered)))

    took = {one.name: one.took for one in (crossing.governed, crossing.mitmproxy)}
    ((accepted, _),) = took.pop(lane)
    assert accepted.arrival.lane is lane
    assert list(took.values()) == [[]]


@pytest.mark.parametrize("offered", [(), ("http/1.1",), ("h2", "http/1.1"), ("h2",)])
def test_without_a_fast_lane_mitmproxy_serves_all(offered: tuple[str, ...]) -> None:
    crossing = Crossing(fast=False)

    crossing.route(real_hello(GOVERNED, list(offered)))

    ((accepted, _),) = crossing.mitmproxy.took
    assert accepted.arrival.lane is LaneName.MITMPROXY


def test_a_governed_hosts_client_without_alpn_has_none(crossing: Crossing) -> None:
    crossing.route(real_hello(GOVERNED))

    assert crossing.governed.took[0][0].alpn == ()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        pytest.param(real_hello("other.example.net"), "other.example.net", id="another host"),
        pytest.param(real_hello(None), "", id="no server name"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", "", id="another protocol"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", "", id="cleartext elsewhere"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n", "", id="cleartext to an address"),
        pytest.param(b"GET /\r\n\r\n", "", id="a head that cannot be read"),
        pytest.param(b"\x16\x03\x01\x00\x05hello", "", id="TLS that cannot be read"),
    ],
)
def test_what_nobody_governs_is_relayed_as_it_is(crossing: Crossing, data: bytes, name: str) -> None:
    assert crossing.route(data) == b""

    ((accepted, first),) = crossing.relay.took
    assert crossing.governed.took == []
    assert first == data
    assert accepted.first == b""
    assert (accepted.arrival.name, accepted.arrival.lane) == (name, LaneName.RELAY)
    assert crossing.world.recorder.records == []


def test_silence_is_relayed_for_servers_that_speak_first() -> None:
    crossing = Crossing(patience=0.05)

    crossing.route(b"")

    assert len(crossing.relay.took) == 1


def test_a_client_that_ends_at_once_is_relayed(crossing: Crossing) -> None:
    crossing.route(b"", ends=True)

    assert len(crossing.relay.took) == 1


def test_a_hello_in_fragments_is_read_whole(crossing: Crossing) -> None:
    hello = real_hello(GOVERNED)
    handshake = hello[5:]

    crossing.route(records(handshake, 40))

    assert crossing.governed.took[0][0].arrival.name == GOVERNED


def test_cleartext_to_a_governed_host_is_refused(crossing: Crossing) -> None:
    answer = crossing.route(
        b"GET /v1/models HTTP/1.1\r\nHost: API.example.com:80\r\n\r\n", address=("192.0.2.7", 80)
    )

    assert b"podkey-reason: cleartext" in answer
    assert crossing.relay.took == crossing.governed.took == []
    record = crossing.world.recorder.record
    assert (record.host, record.port, record.path) == (GOVERNED, 80, "/v1/models")


@pytest.mark.parametrize(
    ("asked", "noted"),
    [
        (GOVERNED, ""),
        ("192.0.2.7", ""),
        ("other.example.com", "other.example.com"),
        ("api.example.com.", ""),
    ],
)
def test_what_connect_named_by_name_must_be_what_tls_names(
    crossing: Crossing, asked: str, noted: str
) -> None:
    crossing.route(real_hello(GOVERNED), EXPLICIT, asked)

    arrival = crossing.governed.took[0][0].arrival
    assert (arrival.name, arrival.asked, arrival.capture) == (GOVERNED, noted, EXPLICIT)


def test_a_tunnel_for_something_else_is_relayed_under_the_name_it_was_asked_by(crossing: Crossing) -> None:
    crossing.route(b"SSH-2.0-x\r\n", EXPLICIT, "git.example.net")

    assert crossing.relay.took[0][0].arrival.name == "git.example.net"


def test_addresses_of_ipv6_are_shown_in_brackets(crossing: Crossing) -> None:
    crossing.route(real_hello(GOVERNED), address=("2001:db8::7", 443))

    assert crossing.governed.took[0][0].arrival.upstream == "[2001:db8::7]:443"


def test_a_policy_that_is_replaced_counts_for_the_next_connection(crossing: Crossing) -> None:
    crossing.world.pod = World(pod=routing_pod("other.example.net")).pod

    crossing.route(real_hello(GOVERNED))

    assert len(crossing.relay.took) == 1


def routing_pod(host: str) -> PodState:
    return pod_of(POLICY.replace(GOVERNED, host))


# --- redirected ----------------------------------------------------------------------------------------


def redirected(crossing: Crossing, monkeypatch: pytest.MonkeyPatch, address: Address | None) -> socket.socket:
    monkeypatch.setattr(routing, "original_destination", lambda _sock: address)

    async def run() -> socket.socket:
        theirs, ours = tcp_pair()
        theirs.send(real_hello(GOVERNED))
        async with asyncio.timeout(5):
            await crossing.router.redirected(ours, Guest())
        ours.close()
        return theirs

    return asyncio.run(run())


def test_a_redirected_connection_goes_where_it_was_meant_to(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirected(crossing, monkeypatch, ("192.0.2.9", 8443)).close()

    accepted = crossing.governed.took[0][0]
    assert (accepted.address, accepted.arrival.port) == (("192.0.2.9", 8443), 8443)


@pytest.mark.parametrize(
    ("address", "reason"),
    [(None, "direct"), (("169.254.169.254", 80), "fenced"), (("::ffff:169.254.169.254", 80), "fenced")],
)
def test_a_connection_to_the_port_itself_and_to_metadata_is_reset(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, address: Address | None, reason: str
) -> None:
    theirs = redirected(crossing, monkeypatch, address)

    with theirs, pytest.raises(ConnectionResetError):
        theirs.recv(1)
    assert crossing.world.recorder.rejected == [reason]
    assert crossing.governed.took == crossing.relay.took == []
