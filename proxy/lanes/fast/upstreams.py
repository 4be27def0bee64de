"""Connections to upstreams, shared by all connections of the application.

By the name that their certificates were verified for, and by the address that the application connected to:
pods behind one name may hold different shards, and only the application knows which it meant.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Final

from proxy.core.hosts import Hostname
from proxy.core.reasons import Reason
from proxy.lanes import faults
from proxy.lanes.fast.handshakes import shake_hands
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.tls import UpstreamTls
from proxy.lanes.interface import Address, shown
from proxy.lanes.relay import connect

# Kept idle for one name: a data loader of 128 workers finds its connections again. With less than an
# application uses at a time, nearly every request would pay for a handshake. One costs some 40 KiB here and a
# slot at the upstream.
MOST_IDLE: Final = 128
# And for all names together.
MOST_IDLE_IN_ALL: Final = 256
# S3 closes an idle connection after some 5 to 20 s, most API gateways after 60: what is older is rarely
# alive.
IDLE_SECONDS: Final = 15.0
# Open to one name at a time. Each serves one request, so this is how many may be under way; an application
# with more of them has a mistake, or an upstream that stands still.
MOST_OPEN: Final = 1024
# Of an endpoint's name, how many addresses are tried.
MOST_ADDRESSES: Final = 8
# A session stands for a certificate that was verified: after an hour it is looked at again.
SESSION_SECONDS: Final = 3600.0

Origin = tuple[Hostname, Address]


class Upstream:
    """One connection, verified for `name`. It serves one request at a time."""

    __slots__ = ("discard", "idle_since", "name", "origin", "peer", "served", "side", "since")

    def __init__(self, origin: Origin, side: Side, peer: str, since: float) -> None:
        self.origin = origin
        self.name = origin[0]
        self.side = side
        # What it is connected to, for records.
        self.peer = peer
        # How many requests it has carried to their end.
        self.served = 0
        # When its certificate was looked at.
        self.since = since
        self.idle_since = 0.0
        # Who is told of what it says while it is idle.
        self.discard: Callable[[], object] | None = None


class Upstreams:
    """`shook_hands` is told of each new connection."""

    def __init__(
        self,
        tls: UpstreamTls,
        connect_timeout: float,
        monotonic: Callable[[], float],
        shook_hands: Callable[[ssl.SSLSocket], object] = lambda _: None,
    ) -> None:
        self._tls = tls
        self._patience = connect_timeout
        self._monotonic = monotonic
        self._shook_hands = shook_hands
        # The one that was used last stands last, and is taken first: the others may grow old.
        self._idle: dict[Origin, deque[Upstream]] = {}
        self._open: dict[Origin, int] = {}
        # The last session of each name, so that the next handshake is a short one (RFC 8446 §2.2).
        self._sessions: dict[Origin, tuple[float, ssl.SSLSession]] = {}
        self.idle = 0

    def take(self, origin: Origin) -> Upstream | None:
        """One that is open and idle, as far as anybody knows."""
        waiting = self._idle.get(origin)
        while waiting:
            upstream = waiting.pop()
            self.idle -= 1
            side = upstream.side
            side.on_news = None
            if side.is_quiet():
                return upstream
            self.end(upstream)
        return None

    async def connect(self, origin: Origin) -> Upstream | faults.Fault:
        """A new one. Nothing is sent on it before its certificate has proved the name."""
        name, _ = origin
        if self._open.get(origin, 0) >= MOST_OPEN:
            return Reason.OVERLOADED, f"{MOST_OPEN} requests to {name} are under way"
        self._open[origin] = self._open.get(origin, 0) + 1
        made: Upstream | None = None
        try:
            async with asyncio.timeout(self._patience):
                made = await self._connect(origin)
        except TimeoutError:
            return faults.too_slow(name)
        except ssl.SSLCertVerificationError:
            return faults.untrusted(name, faults.UNVERIFIED)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return faults.unreachable(name)
        except ssl.SSLError:
            return faults.untrusted(name, faults.NO_TLS)
        except (OSError, UnicodeError):
            return faults.unreachable(name)
        finally:
            if made is None:
                self._left(origin)
        return made

    async def _connect(self, origin: Origin) -> Upstream:
        name, address = origin
        # As bytes: `ssl` would load the tables of IDNA 2003 for a text, which has no need of them.
        spelled = name.encode("ascii")
        plain = await _connected(address)
        try:
            peer = plain.getpeername()
            sock = self._tls.context.wrap_socket(
                plain,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
                server_hostname=spelled,
                session=self._session(origin),
            )
        except BaseException:
            plain.close()
            raise
        try:
            await shake_hands(sock)
            self._shook_hands(sock)
        except BaseException:
            sock.close()
            raise
        return Upstream(origin, Side(sock), shown(peer[:2]), self._monotonic())

    def park(self, upstream: Upstream) -> None:
        """Its request is over, and it may serve another one."""
        side = upstream.side
        if side.is_over or side.unread_size or side.unsent:
            self.end(upstream)
            return
        upstream.served += 1
        if upstream.served == 1:
            self._remember(upstream)
        waiting = self._idle.get(upstream.origin)
        if waiting is None:
            waiting = self._idle[upstream.origin] = deque()
        if len(waiting) >= MOST_IDLE or self.idle >= MOST_IDLE_IN_ALL:
            self.end(upstream)
            return
        upstream.idle_since = self._monotonic()
        waiting.append(upstream)
        self.idle += 1
        # An answer that nobody asked for would be taken for the next one's.
        if upstream.discard is None:
            upstream.discard = partial(self._discard, upstream)
        side.on_news = upstream.discard
        side.watch()

    def _session(self, origin: Origin) -> ssl.SSLSession | None:
        verified, session = self._sessions.get(origin, (0.0, None))
        return session if self._monotonic() < verified + SESSION_SECONDS else None

    def _remember(self, upstream: Upstream) -> None:
        """Its session: over TLS 1.3 the ticket comes after the handshake, with the first answer."""
        sock, origin = upstream.side.sock, upstream.origin
        # One that goes on with another session was verified when that was.
        if isinstance(sock, ssl.SSLSocket) and not sock.session_reused and sock.session is not None:
            self._sessions[origin] = (upstream.since, sock.session)
            if len(self._sessions) > MOST_IDLE_IN_ALL:
                del self._sessions[next(iter(self._sessions))]

    def _discard(self, upstream: Upstream) -> None:
        """It ended while it was idle, or said something out of turn."""
        waiting = self._idle.get(upstream.origin)
        if waiting is not None and upstream in waiting:
            waiting.remove(upstream)
            self.idle -= 1
            self.end(upstream)

    def end(self, upstream: Upstream) -> None:
        """It serves nothing any more."""
        upstream.side.on_news = upstream.discard = None
        upstream.side.drop()
        self._left(upstream.origin)

    def _left(self, origin: Origin) -> None:
        left = self._open[origin] - 1
        if left:
            self._open[origin] = left
        else:
            del self._open[origin]
            self._idle.pop(origin, None)

    def sweep(self) -> None:
        """To be called every second or so: what was idle for long is let go."""
        oldest = self._monotonic() - IDLE_SECONDS
        for waiting in list(self._idle.values()):
            while waiting and waiting[0].idle_since <= oldest:
                self.idle -= 1
                self.end(waiting.popleft())


async def _connected(address: Address) -> socket.socket:
    """To an address; where it is a name, to the first of its addresses that answers."""
    last: OSError = OSError("it has no address")
    for place in await _places(address):
        try:
            return await connect(place)
        except OSError as error:
            last = error
    raise last


async def _places(address: Address) -> list[Address]:
    host, port = address
    try:
        ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(str(place[0]), port) for *_, place in found[:MOST_ADDRESSES]]
    return [address]
