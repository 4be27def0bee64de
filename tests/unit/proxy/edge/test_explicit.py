import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.core.arrival import LaneName
from proxy.core.settings import Capture
from proxy.edge.explicit import ESTABLISHED, ExplicitProxy
from proxy.edge.reception import Guest
from proxy.edge.routing import Lanes, Router
from proxy.lanes.interface import Accepted
from proxy.lanes.unopened import Unopened
from tests.lane_world import World, tcp_pair
from tests.wire_samples import real_hello

OWN_PORT = 15002
Resolve = Callable[[str, int], list[str]]


class Stop:
    """A lane that takes connections and does nothing with them."""

    def __init__(self, name: LaneName) -> None:
        self.name = name
        self.took: list[Accepted] = []

    async def serve(self, accepted: Accepted) -> None:
        self.took.append(accepted)


class House:
    """An explicit proxy, a resolver that is made up, and lanes that stop."""

    def __init__(self, patience: float = 5.0) -> None:
        self.world = World()
        self.relay, self.governed = Stop(LaneName.RELAY), Stop(LaneName.MITMPROXY)
        unopened = Unopened(self.world.lane_world)
        lanes = Lanes(self.relay, self.governed, self.governed, unopened)
        router = Router(lambda: self.world.pod, lanes, self.world.recorder, patience)
        self.proxy = ExplicitProxy(router, self.relay, unopened, frozenset({OWN_PORT, 15020}), patience)
        self.addresses: dict[str, list[str]] = {
            "api.example.com": ["192.0.2.7", "2001:db8::7"],
            "other.example.net": ["192.0.2.8"],
            "v6.example.net": ["2001:db8::9"],
            "rebound.example.net": ["192.0.2.8", "169.254.169.254"],
            "localhost": ["::1", "127.0.0.1"],
            "empty.example.net": [],
        }
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int, **_: object) -> list[object]:
        self.asked.append(host)
        if host not in self.addresses and not host[0].isdigit() and ":" not in host:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, port)) for address in self.addresses.get(host, [host])]

    @asynccontextmanager
    async def caller(self, data: bytes) -> AsyncIterator[tuple[socket.socket, asyncio.Task[None]]]:
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = self.resolve  # type: ignore[method-assign, assignment]
        theirs, ours = tcp_pair()
        theirs.setblocking(False)  # noqa: FBT003 - its name
        theirs.send(data)
        task = loop.create_task(self.proxy.serve(ours, Guest()))
        try:
            async with asyncio.timeout(5):
                yield theirs, task
        finally:
            theirs.close()
            await asyncio.wait([task])
            ours.close()

    def refused(self, data: bytes) -> tuple[int, str, str]:
        """Status, reason and message."""

        async def run() -> bytes:
            async with self.caller(data) as (sock, _):
                got = b""
                while piece := await asyncio.get_running_loop().sock_recv(sock, 65_536):
                    got += piece
                return got

        answer = asyncio.run(run())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.endswith(b"connection: close")
        error = json.loads(body)["error"]
        assert self.relay.took == self.governed.took == []
        return int(head.split()[1]), error["code"], error["message"]

    def taken(self, data: bytes, more: bytes = b"") -> bytes:
        """What the application got before its connection was with a lane."""

        async def run() -> bytes:
            async with self.caller(data) as (sock, task):
                got = b""
                loop = asyncio.get_running_loop()
                if more:
                    got = await loop.sock_recv(sock, 65_536)
                    await loop.sock_sendall(sock, more)
                await task
                return got

        return asyncio.run(run())


@pytest.fixture
def house() -> House:
    return House()


def connect(authority: str) -> bytes:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


# --- CONNECT -------------------------------------------------------------------------------------------


def test_a_tunnel_to_a_governed_host_is_opened_for_the_lane(house: House) -> None:
    assert house.taken(connect("api.example.com:443"), real_hello("api.example.com")) == ESTABLISHED

    (accepted,) = house.governed.took
    assert accepted.address == ("192.0.2.7", 443)
    assert (accepted.arrival.capture, accepted.arrival.asked) == (Capture.EXPLICIT, "")


def test_what_follows_the_head_is_the_tunnels(house: House) -> None:
    house.taken(connect("api.example.com:443") + real_hello("api.example.com"))

    assert len(house.governed.took) == 1


def test_a_tunnel_to_another_host_is_relayed(house: House) -> None:
    house.taken(connect("other.example.net:8443"), real_hello("other.example.net"))

    (accepted,) = house.relay.took
    assert accepted.address == ("192.0.2.8", 8443)
    assert accepted.first == b""


def test_another_name_in_tls_than_in_connect_is_noted(house: House) -> None:
    house.taken(connect("other.example.net:443"), real_hello("api.example.com"))

    assert house.governed.took[0].arrival.asked == "other.example.net"


@pytest.mark.parametrize(
    "authority",
    [
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        "[::ffff:169.254.169.254]:80",
        "0.0.0.0:443",
        "[::]:443",
        "rebound.example.net:443",
    ],
)
def test_a_tunnel_to_a_fenced_address_is_refused(house: House, authority: str) -> None:
    status, reason, _ = house.refused(connect(authority))

    assert (status, reason) == (403, "fenced_address")


@pytest.mark.parametrize("authority", [f"127.0.0.1:{OWN_PORT}", "localhost:15020", f"[::1]:{OWN_PORT}"])
def test_a_tunnel_to_ourselves_is_refused(house: House, authority: str) -> None:
    assert house.refused(connect(authority))[1] == "fenced_address"


def test_a_tunnel_to_another_port_of_the_pod_is_its_own_affair(house: House) -> None:
    house.taken(connect("localhost:8080"), b"SSH-2.0-x\r\n")

    assert house.relay.took[0].address == ("::1", 8080)


@pytest.mark.parametrize("host", ["unknown.example.net", "empty.example.net"])
def test_a_name_without_an_address_is_told(house: House, host: str) -> None:
    status, reason, _ = house.refused(connect(f"{host}:443"))

    assert (status, reason) == (502, "upstream_unreachable")
    assert house.world.recorder.failures[0][1] == "upstream_unreachable"


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(patience=0.05)

    async def never(*_: object, **__: object) -> list[object]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(house, "resolve", never)

    assert house.refused(connect("api.example.com:443"))[1] == "upstream_unreachable"


def test_nothing_is_resolved_for_a_head_that_cannot_be_read(house: House) -> None:
    for data in (
        b"CONNECT api.example.com HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        b"GET http://a b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"GET http://x/#f HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        assert house.refused(data)[:2] == (400, "malformed_request")
    assert house.asked == []


# --- absolute http:// URLs -------------------------------------------------------------------------------


def test_cleartext_to_a_governed_host_is_refused(house: House) -> None:
    status, reason, _ = house.refused(
        b"GET http://API.example.com/v1/models HTTP/1.1\r\nHost: other.example.net\r\n\r\n"
    )

    assert (status, reason) == (403, "cleartext")
    assert house.world.recorder.record.host == "api.example.com"
    assert house.asked == []


def test_cleartext_to_another_host_is_forwarded_once_and_without_what_concerns_proxies(house: House) -> None:
    request = (
        b"POST http://other.example.net/a?b=c HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n"
        b"Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive\r\n"
        b"TE: trailers\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n"
    )

    house.taken(request + b"abc")

    (accepted,) = house.relay.took
    assert accepted.address == ("192.0.2.8", 80)
    assert accepted.first == (
        b"POST /a?b=c HTTP/1.1\r\nHost: other.example.net\r\nAccept: */*\r\nContent-Length: 3\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert (accepted.arrival.name, accepted.arrival.upstream) == ("other.example.net", "192.0.2.8:80")


def test_only_the_head_is_taken_from_the_connection(house: House) -> None:
    class Reads(Stop):
        body = b""

        async def serve(self, accepted: Accepted) -> None:
            await super().serve(accepted)
            Reads.body = accepted.sock.recv(100)

    house.proxy = ExplicitProxy(
        house.proxy.router, Reads(LaneName.RELAY), house.proxy.unopened, frozenset(), 5.0
    )

    house.taken(b"POST http://other.example.net/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")

    assert Reads.body == b"abc"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://other.example.net:8080/", "other.example.net:8080"),
        ("http://192.0.2.9/", "192.0.2.9"),
        ("http://[2001:db8::9]:8080/", "[2001:db8::9]:8080"),
    ],
)
def test_the_host_is_that_of_the_url(house: House, url: str, host: str) -> None:
    house.taken(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert f"\r\nHost: {host}\r\n".encode() in house.relay.took[0].first


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://rebound.example.net/"])
def test_cleartext_to_a_fenced_address_is_refused(house: House, url: str) -> None:
    assert house.refused(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())[1] == "fenced_address"


# --- everything else ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: localhost:15002\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost:15002\r\n\r\n",
        b"GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    ],
)
def test_whoever_takes_it_for_a_server_is_told_that_it_is_a_proxy(house: House, head: bytes) -> None:
    status, reason, message = house.refused(head)

    assert (status, reason) == (400, "malformed_request")
    assert "this port is a proxy: it takes CONNECT, and absolute http:// URLs" in message


def test_a_client_that_says_nothing_is_left() -> None:
    house = House(patience=0.05)

    assert house.taken(b"CONNECT") == b""

    assert house.relay.took == []
    assert house.world.recorder.records == []
