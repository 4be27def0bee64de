"""Which lane serves a connection: the one decision of the edge, and it is the policy's.

A host that a grant names is decrypted, by the lane that speaks what the client offers. Everything else is
relayed as it is.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.arrival import Arrival, LaneName
from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.reasons import Reason
from proxy.core.settings import Capture
from proxy.core.structs import Struct, replace
from proxy.edge.peeking import peek
from proxy.edge.reception import Guest, Refusals
from proxy.edge.sockets import is_fenced, original_destination, reset
from proxy.lanes.interface import Accepted, Address, Lane, shown
from proxy.lanes.unopened import Unopened
from proxy.transaction.pod import PodState
from proxy.wire.authority import read_authority
from proxy.wire.client_hello import ClientHello, NotTls, read_client_hello
from proxy.wire.outcomes import NeedMore
from proxy.wire.request_head import RequestHead, read_request_head

NOBODY: Final = Hostname("")
# RFC 7301 §6.
HTTP1: Final = b"http/1.1"


class Lanes(Struct, frozen=True):
    """`fast` and `mitmproxy` serve the hosts that a grant names."""

    relay: Lane
    # None: it is switched off.
    fast: Lane | None
    mitmproxy: Lane
    unopened: Unopened

    def governed(self, alpn: Sequence[bytes]) -> Lane:
        """By what the client offers: HTTP/1.1 wherever it does, or offers nothing. Who offers both loses
        nothing by the older one; gRPC, which offers only `h2`, meets upstreams that speak it."""
        offers_http1 = not alpn or HTTP1 in alpn
        return self.fast if self.fast is not None and offers_http1 else self.mitmproxy


class Router:
    def __init__(
        self, pod: Callable[[], PodState], lanes: Lanes, told: Refusals, header_timeout: float
    ) -> None:
        self._pod = pod
        self._lanes = lanes
        self._told = told
        self._patience = header_timeout

    def governs(self, name: Hostname) -> bool:
        pod = self._pod()
        return pod.policies.for_pod(pod.identity).rules_for(name).outside is None

    async def redirected(self, sock: socket.socket, guest: Guest) -> None:
        """A connection that nft sent here."""
        address = original_destination(sock)
        if address is None:
            # Somebody connected to the port itself. To serve that would be to call ourselves in a circle.
            self._turn_away(sock, "direct")
        elif is_fenced(address[0]):
            self._turn_away(sock, "fenced")
        else:
            await self.route(sock, guest, address, Capture.TRANSPARENT)

    async def route(
        self, sock: socket.socket, guest: Guest, address: Address, capture: Capture, asked: str = ""
    ) -> None:
        """Serve a connection whose first byte is the application's, meant for `address`.

        `asked` is the host that CONNECT named.
        """
        first = await peek(sock, _read_first, self._patience)
        match first:
            case ClientHello(server_name=str(text)) if (name := parse_hostname(text)) is not None:
                await self._tls(sock, guest, address, capture, asked, name, first)
            case RequestHead() if (name := _named(first)) is not None and self.governs(name):
                arrival = _arrival(name, address, capture, LaneName.RELAY)
                await self._lanes.unopened.refuse(sock, arrival, Reason.CLEARTEXT, first)
            case _:
                # No name, not TLS, or silence: a server that speaks first (SSH on 443) is waited for too.
                await self._relay(sock, guest, address, capture, parse_hostname(asked) or NOBODY)

    async def _tls(  # noqa: PLR0917 - what was found on the way
        self,
        sock: socket.socket,
        guest: Guest,
        address: Address,
        capture: Capture,
        asked: str,
        name: Hostname,
        hello: ClientHello,
    ) -> None:
        if not self.governs(name):
            await self._relay(sock, guest, address, capture, name)
            return
        lane = self._lanes.governed(hello.alpn)
        arrival = _arrival(name, address, capture, lane.name)
        # CONNECT may name an address; what it names by name must be what TLS names.
        if (parse_hostname(asked) or name) != name:
            arrival = replace(arrival, asked=asked)
        guest.accepted = Accepted(sock, arrival, address, hello.alpn)
        await lane.serve(guest.accepted)

    async def _relay(
        self, sock: socket.socket, guest: Guest, address: Address, capture: Capture, name: Hostname
    ) -> None:
        arrival = _arrival(name, address, capture, LaneName.RELAY)
        guest.accepted = Accepted(sock, arrival, address, None)
        await self._lanes.relay.serve(guest.accepted)

    def _turn_away(self, sock: socket.socket, reason: str) -> None:
        reset(sock)
        self._told.refused_connection(reason)


def _arrival(name: Hostname, address: Address, capture: Capture, lane: LaneName) -> Arrival:
    return Arrival(name, address[1], capture, lane, shown(address))


def _read_first(data: bytes) -> "ClientHello | RequestHead | NotTls | NeedMore | Opaque":
    """What the first bytes are: a TLS hello, the head of a request in cleartext, or nothing that we know."""
    hello = read_client_hello(data)
    if not isinstance(hello, NotTls):
        return hello
    head = read_request_head(data)
    return head if isinstance(head, RequestHead | NeedMore) else Opaque()


class Opaque(Struct, frozen=True):
    """Bytes of some other protocol."""


def _named(head: RequestHead) -> Hostname | None:
    """The host of a cleartext request. It decides a refusal only; no credential depends on it."""
    values = [value for name, value in head.headers if name.lower() == "host"]
    authority = read_authority(values[0]) if values else None
    return parse_hostname(authority.host) if authority is not None else None
