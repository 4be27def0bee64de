"""The one door for HTTP of credential sources and of identity. The doorman of `httpcore`.

What is asked here gets tokens and keys, and is sent secrets: only verified TLS, no redirect, no cookie, no
proxy from the environment, and an end to every size and time.

Of httpcore this uses one HTTP/1.1 connection at a time, not its pool. The pool never gives back the place of
a tunnel whose TLS failed (encode/httpcore#1023), nor of a call that was cancelled while it queued, and it
leaves a socket open when a handshake is cancelled: an hour of a broken source would use up all places.
"""

import asyncio
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import httpcore

from proxy.core.settings import EgressProxy, EgressSettings
from proxy.core.structs import Struct
from proxy.edge import outgoing_faults as faults
from proxy.edge.egress import called, proxy_authorization, tunnel_refused
from proxy.edge.outgoing_faults import UPSTREAM_CA_FIX, AskOutcome, OutgoingError
from proxy.edge.outgoing_requests import USER_AGENT, OutgoingRequest, Place, prepared
from proxy.edge.sockets import is_fenced
from proxy.sources.steps import MAX_ANSWER_BYTES, HttpCall, HttpReply, StepFailed

# From the call to the last byte. Requests of the application wait for this, and its SDKs for 60 s or less.
TOTAL_SECONDS: Final = 10.0
# Of that, for each step before the request: TCP, TLS, the proxy's tunnel. A lost SYN costs 1 s, two cost 3 s.
CONNECT_SECONDS: Final = 5.0
# At one time, and kept open. A pod has a handful of sources; the lease book asks each once at a time.
MAX_CONNECTIONS: Final = 16
# From a login to what it is for, not from one refresh to the next. Load balancers keep 60 s and more.
KEEP_ALIVE_SECONDS: Final = 30.0


class OutgoingCall(Struct, frozen=True):
    """What is counted of a call that was made."""

    outcome: AskOutcome
    seconds: float


class OutgoingLimits(Struct, frozen=True):
    total: float = TOTAL_SECONDS
    connect: float = CONNECT_SECONDS
    keep_alive: float = KEEP_ALIVE_SECONDS


LIMITS: Final = OutgoingLimits()


class Outgoing:
    """Calls of sources become replies. For one event loop."""

    def __init__(
        self,
        context: ssl.SSLContext,
        egress: EgressSettings,
        observe: Callable[[OutgoingCall], None],
        *,
        trust_fix: str = UPSTREAM_CA_FIX,
        limits: OutgoingLimits = LIMITS,
    ) -> None:
        self._context = context
        self._egress = egress
        self._observe = observe
        self._trust_fix = trust_fix
        self._limits = limits
        self._network = httpcore.AnyIOBackend()
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._lines: list[_Line] = []
        self._is_closed = False

    async def call(self, call: HttpCall) -> HttpReply | StepFailed:
        """The reply, or why there is none. Raises nothing but CancelledError."""
        request = prepared(call)
        if isinstance(request, StepFailed):
            return request
        began = monotonic()
        try:
            async with asyncio.timeout(self._limits.total):
                reply = await self._answer(request)
        except OutgoingError as error:
            failure = error
        except TimeoutError:
            failure = faults.too_slow(str(request.place), self._limits.total)
        except Exception as error:  # noqa: BLE001 - its text may quote what was sent, so only its type is told
            why = f"could not be asked, by a defect of podkey ({type(error).__name__})"
            failure = faults.malformed(str(request.place), why)
        else:
            self._observe(OutgoingCall(_outcome(reply), monotonic() - began))
            return reply
        self._observe(OutgoingCall(failure.outcome, monotonic() - began))
        return StepFailed(failure.message)

    async def close(self) -> None:
        """Ends what is under way, too."""
        self._is_closed = True
        while self._lines:
            await self._drop(self._lines[0])

    # --- one call ---

    async def _answer(self, request: OutgoingRequest) -> HttpReply:
        async with self._places:
            line = await self._kept(request.place)
            if line is not None:
                try:
                    return await self._asked(line, request)
                except _HungUpError:
                    # It was open when it was taken. Whether the other side closed it before the request came
                    # there cannot be told, so only what is safe is sent again (RFC 9110 §9.2.2).
                    if not request.is_safe:
                        fix = "it is not sent twice, so the next attempt has to show"
                        raise faults.hung_up(str(line.place), "before it answered", fix) from None
            line = await self._dialled(request.place)
            if self._is_closed:
                await self._drop(line)
                raise OutgoingError(AskOutcome.UNREACHABLE, f"{line.place} is not asked: podkey is stopping")
            try:
                return await self._asked(line, request)
            except _HungUpError:
                fix = "check what answers at that host and port"
                raise faults.hung_up(str(line.place), "before it answered", fix) from None

    async def _asked(self, line: "_Line", request: OutgoingRequest) -> HttpReply:
        who = str(line.place)
        line.largest_answer = request.largest_answer
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=b"https", host=line.place.host.encode(), port=line.place.port, target=request.target
            ),
            headers=request.headers,
            content=request.body,
        )
        try:
            response = await line.http.handle_async_request(outgoing)
            reply = await _read(who, response)
        except httpcore.RemoteProtocolError:
            why = (
                "broke its answer off"
                if line.has_ended
                else "answered what is no HTTP/1.1, or has a huge head"
            )
            raise faults.malformed(who, why) from None
        except ssl.SSLError as error:
            # With TLS 1.3 a server says only now that it wanted a certificate of ours.
            raise faults.not_trusted(who, error, self._trust_fix) from None
        finally:
            # Also when cancelled: what was not read to its end is not kept.
            if line.http.is_idle() and not line.has_leftover and not self._is_closed:
                line.is_busy = False
            else:
                await self._drop(line)
        return reply

    # --- connections ---

    async def _kept(self, place: Place) -> "_Line | None":
        """A connection that waits for this, and that nobody has closed as far as the kernel knows."""
        for line in [line for line in self._lines if not line.is_busy and line.http.has_expired()]:
            await self._drop(line)
        free = [line for line in self._lines if not line.is_busy]
        for line in free:
            if line.place == place and not line.http.has_expired():
                line.is_busy = True
                return line
        if free and len(self._lines) >= MAX_CONNECTIONS:
            await self._drop(free[0])
        return None

    async def _drop(self, line: "_Line") -> None:
        if line in self._lines:
            self._lines.remove(line)
        await line.aclose()

    async def _dialled(self, place: Place) -> "_Line":
        proxy = self._egress.proxy_for(place.host)
        first = Place(proxy.host, proxy.port) if proxy else place
        stream = await self._connected(first, called(proxy) if proxy else str(place))
        try:
            if proxy:
                if proxy.tls:
                    stream = await self._secured(stream, proxy.host, called(proxy))
                stream = await self._tunnelled(stream, proxy, place)
            stream = await self._secured(stream, place.host, str(place))
        except BaseException:
            await stream.aclose()
            raise
        line = _Line(stream, place, self._limits.keep_alive)
        self._lines.append(line)
        return line

    async def _connected(self, place: Place, who: str) -> httpcore.AsyncNetworkStream:
        try:
            stream = await self._network.connect_tcp(place.host, place.port, self._limits.connect)
        except httpcore.ConnectTimeout:
            raise faults.not_connected_in_time(who, self._limits.connect) from None
        except httpcore.ConnectError as error:
            raise faults.not_connected(who, _cause(error)) from None
        peer = stream.get_extra_info("server_addr")
        if peer is None or is_fenced(peer[0]):
            await stream.aclose()
            why = "leads to a metadata service" if peer else "broke the connection off"
            raise OutgoingError(
                AskOutcome.UNREACHABLE, f"{who} {why}: check the host, and who answers for it in DNS"
            )
        return stream

    async def _secured(
        self, stream: httpcore.AsyncNetworkStream, host: str, who: str
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await stream.start_tls(self._context, host, self._limits.connect)
        except httpcore.ConnectTimeout:
            why = f"within {self._limits.connect:g} s: check that its port speaks TLS"
            raise OutgoingError(
                AskOutcome.UNREACHABLE, f"{who} did not finish the TLS handshake {why}"
            ) from None
        except httpcore.ConnectError as error:
            cause = _cause(error)
            if isinstance(cause, ssl.SSLError):
                raise faults.not_trusted(who, cause, self._trust_fix) from None
            fix = "check that its port speaks TLS, and that nothing between cuts it"
            raise faults.hung_up(who, "in the TLS handshake", fix) from None

    async def _tunnelled(
        self, stream: httpcore.AsyncNetworkStream, proxy: EgressProxy, place: Place
    ) -> httpcore.AsyncNetworkStream:
        target = place.with_port.encode()
        headers = [(b"Host", target), (b"User-Agent", USER_AGENT.encode())]
        secret = proxy_authorization(self._egress.auth_file)
        if secret is not None:
            headers.append((b"Proxy-Authorization", secret.reveal()))
        # The scheme is that of the proxy's own words, and is not looked at.
        origin = httpcore.Origin(b"http", proxy.host.encode(), proxy.port)
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target)
        patience = {"timeout": {"read": self._limits.connect}}
        request = httpcore.Request(b"CONNECT", url, headers=headers, extensions=patience)
        try:
            response = await httpcore.AsyncHTTP11Connection(origin, stream).handle_async_request(request)
        except httpcore.ReadTimeout:
            why = f"opened no tunnel to {place} within {self._limits.connect:g} s: look at its log"
            raise OutgoingError(AskOutcome.UNREACHABLE, f"{called(proxy)} {why}") from None
        except (httpcore.ReadError, httpcore.RemoteProtocolError, ssl.SSLError):
            fix = "check PODKEY_EGRESS_PROXY, its scheme and port"
            raise faults.hung_up(called(proxy), "or spoke no HTTP when asked for a tunnel", fix) from None
        if not 200 <= response.status < 300:
            raise tunnel_refused(proxy, str(place), response.status, with_credentials=secret is not None)
        tunnel: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
        return tunnel


class _HungUpError(Exception):
    """The other side closed the connection without a byte of an answer."""


class _Line(httpcore.AsyncNetworkStream):
    """A verified connection to a place. As a stream it counts what one answer brings."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, place: Place, keep_alive: float) -> None:
        self._inner = inner
        self._received = 0
        self.largest_answer = MAX_ANSWER_BYTES
        self.place = place
        self.is_busy = True
        self.has_ended = False
        origin = httpcore.Origin(b"https", place.host.encode(), place.port)
        self.http = httpcore.AsyncHTTP11Connection(origin, self, keep_alive)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        try:
            data = await self._inner.read(max_bytes, timeout)
        except httpcore.ReadError:
            # Not as an end: it would complete an answer that has no length.
            if self._received:
                raise faults.malformed(str(self.place), "broke its answer off") from None
            data = b""
        self.has_ended = not data
        if self.has_ended and not self._received:
            raise _HungUpError
        self._received += len(data)
        if self._received > self.largest_answer:
            raise faults.too_large(str(self.place), self.largest_answer)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        self._received = 0  # a request begins
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        """Whether an idle connection `is_readable` decides on its life: nothing but its end can come."""
        found = self._inner.get_extra_info(info)
        return found or self._ends_within() if info == "is_readable" else found

    @property
    def has_leftover(self) -> bool:
        """Whether more came than the answer: the next request would be given it for its own."""
        return bool(self.http._h11_state.trailing_data[0])  # noqa: SLF001 - httpcore has no public way

    def _ends_within(self) -> bool:
        """Whether the end came with the last answer, and so waits in the TLS layer and not in the kernel."""
        try:
            self._inner.get_extra_info("ssl_object").read(1)
        except ssl.SSLError as error:
            return not isinstance(error, ssl.SSLWantReadError)
        return True


async def _read(who: str, response: httpcore.Response) -> HttpReply:
    try:
        outcome = faults.by_status(response.status)
        if outcome is AskOutcome.REDIRECTED:
            # All of 3xx: no request of ours has conditions (304), and no source chooses (300).
            raise faults.redirected(who)
        if outcome is None:
            raise faults.malformed(who, f"answered with the status {response.status}, which HTTP has not")
        headers: dict[str, str] = {}
        for raw_name, raw_value in response.headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if "content-length" in headers and "transfer-encoding" in headers:
            # RFC 9112 §6.3: it ought to be an error, because somebody between may read it otherwise.
            raise faults.malformed(who, "gave its answer two lengths")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise faults.malformed(who, "compressed its answer, which nobody asked for")
        body = b"".join([part async for part in response.aiter_stream()])
        return HttpReply(response.status, headers, body)
    finally:
        await response.aclose()


def _outcome(reply: HttpReply) -> AskOutcome:
    return faults.by_status(reply.status) or AskOutcome.MALFORMED


def _cause(error: httpcore.ConnectError) -> object:
    """What httpcore's own exception was made from."""
    return error.args[0] if error.args else None
