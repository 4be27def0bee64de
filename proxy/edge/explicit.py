"""The explicit proxy: what `HTTPS_PROXY` points to, where nothing may be redirected."""

import asyncio
import socket
from typing import Final

from proxy.core.arrival import Arrival, LaneName
from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.reasons import Reason
from proxy.core.settings import Capture
from proxy.core.structs import Struct, replace
from proxy.edge.peeking import peek
from proxy.edge.reception import Guest
from proxy.edge.routing import NOBODY, Router
from proxy.edge.sockets import is_fenced, is_loopback
from proxy.lanes.interface import Accepted, Address, Lane, shown
from proxy.lanes.unopened import Unopened
from proxy.transaction.forwarding import HOP_BY_HOP
from proxy.wire.authority import Authority
from proxy.wire.outcomes import BadHead
from proxy.wire.request_head import RequestHead, read_request_head
from proxy.wire.targets import AbsoluteForm, AuthorityForm, split_target

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
HTTP_PORT: Final = 80


class ExplicitProxy(Struct, frozen=True):
    router: Router
    relay: Lane
    unopened: Unopened
    own_ports: frozenset[int]
    header_timeout: float

    async def serve(self, sock: socket.socket, guest: Guest) -> None:
        head: RequestHead | BadHead | None = await peek(sock, read_request_head, self.header_timeout)
        if head is None:
            return
        if isinstance(head, BadHead):
            await self._refuse(sock, NOBODY, 0, Reason.MALFORMED_REQUEST, None, head.detail)
            return
        match split_target(head):
            case AuthorityForm(host=host, port=port):
                await self._connect(sock, guest, head, host, port)
            case AbsoluteForm(scheme="http", authority=authority, target=target):
                await self._cleartext(sock, guest, head, authority, target)
            case BadHead(detail=detail):
                await self._refuse(sock, NOBODY, 0, Reason.MALFORMED_REQUEST, None, detail)
            case _:
                why = "this port is a proxy: it takes CONNECT, and absolute http:// URLs"
                await self._refuse(sock, NOBODY, 0, Reason.MALFORMED_REQUEST, None, why)

    async def _connect(
        self, sock: socket.socket, guest: Guest, head: RequestHead, host: str, port: int
    ) -> None:
        name = parse_hostname(host) or NOBODY
        address = await self._resolve(host, port)
        if isinstance(address, Reason):
            await self._refuse(sock, name, port, address, head)
            return
        loop = asyncio.get_running_loop()
        sock.recv(head.size)  # exactly the head; what follows is the tunnel's
        await loop.sock_sendall(sock, ESTABLISHED)
        await self.router.route(sock, guest, address, Capture.EXPLICIT, host)

    async def _cleartext(
        self, sock: socket.socket, guest: Guest, head: RequestHead, authority: Authority, target: str
    ) -> None:
        """A plain http:// request, as proxies have always served it. Never with a credential."""
        host, port = authority.host, authority.port or HTTP_PORT
        name = parse_hostname(host) or NOBODY
        if name and self.router.governs(name):
            await self._refuse(sock, name, port, Reason.CLEARTEXT, head)
            return
        address = await self._resolve(host, port)
        if isinstance(address, Reason):
            await self._refuse(sock, name, port, address, head)
            return
        sock.recv(head.size)
        arrival = replace(_arrival(name, port), upstream=shown(address))
        guest.accepted = Accepted(sock, arrival, address, None, _origin_form(head, authority, target))
        await self.relay.serve(guest.accepted)

    async def _resolve(self, host: str, port: int) -> Address | Reason:
        """An address to connect to, or why there is none."""
        try:
            async with asyncio.timeout(self.header_timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return Reason.UPSTREAM_UNREACHABLE
        # The resolver has sorted them: what can be reached comes first (RFC 6724).
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        if not addresses:
            return Reason.UPSTREAM_UNREACHABLE
        # One fenced address among several is no accident either: the name is refused as a whole.
        if any(is_fenced(address) for address in addresses):
            return Reason.FENCED_ADDRESS
        if port in self.own_ports and any(map(is_loopback, addresses)):
            return Reason.FENCED_ADDRESS
        return addresses[0], port

    async def _refuse(  # noqa: PLR0917 - a refusal's parts
        self,
        sock: socket.socket,
        name: Hostname,
        port: int,
        reason: Reason,
        head: RequestHead | None,
        why: str = "",
    ) -> None:
        await self.unopened.refuse(sock, _arrival(name, port), reason, head, why)


def _arrival(name: Hostname, port: int) -> Arrival:
    return Arrival(name, port, Capture.EXPLICIT, LaneName.RELAY)


def _origin_form(head: RequestHead, authority: Authority, target: str) -> bytes:
    """The head for the origin server: one request, then the connection ends, so that no second one on it can
    go to a host that the first did not name. Its own Host counts for nothing (RFC 9112 §3.2.2)."""
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    if authority.port is not None:
        host = f"{host}:{authority.port}"
    dropped = HOP_BY_HOP | {"host"}
    kept = [f"{name}: {value}" for name, value in head.headers if name.lower() not in dropped]
    lines = [f"{head.method} {target} HTTP/1.1", f"Host: {host}", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
