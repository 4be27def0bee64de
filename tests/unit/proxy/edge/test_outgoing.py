"""The door for HTTP of sources, against real TLS servers on the loopback."""

import asyncio
import errno
import gc
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

import pytest

from proxy.core.secret import Secret
from proxy.core.settings import DIRECT, EgressProxy, EgressSettings
from proxy.edge import outgoing as module
from proxy.edge import sockets
from proxy.edge.metrics import Metrics
from proxy.edge.outgoing import MAX_CONNECTIONS, Outgoing, OutgoingCall, OutgoingLimits
from proxy.edge.outgoing_faults import AskOutcome
from proxy.edge.outgoing_trust import tls_context
from proxy.sources.steps import MAX_ANSWER_BYTES, HttpCall, HttpReply, StepFailed
from proxy.x509.certificates import read_certificates
from tests.canary import Canary
from tests.source_servers import (
    LOOPBACK,
    Answer,
    Asked,
    EgressProxyServer,
    SourceServer,
    answering,
    saying,
    silent,
)
from tests.upstream_authority import UpstreamAuthority
from tests.upstreams import tls_context as server_context

PATIENT = OutgoingLimits()
IMPATIENT = OutgoingLimits(total=0.2)
# Long enough that a busy machine connects within it.
HASTY = OutgoingLimits(connect=0.5)
OK = answering()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> UpstreamAuthority:
    return UpstreamAuthority(tmp_path_factory.mktemp("internet") / "authority")


@pytest.fixture(scope="module")
def serving(authority: UpstreamAuthority) -> ssl.SSLContext:
    return server_context(*authority.certificate("localhost", LOOPBACK))


@pytest.fixture(scope="module")
def trusting(authority: UpstreamAuthority) -> ssl.SSLContext:
    return tls_context(read_certificates(authority.file.read_bytes())[0])


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    """What a connection or a generator leaves behind warns when it is collected, and warnings are errors."""
    yield
    gc.collect()


class Door:
    """An Outgoing, and what it counted."""

    def __init__(
        self,
        context: ssl.SSLContext,
        egress: EgressSettings = DIRECT,
        limits: OutgoingLimits = PATIENT,
    ) -> None:
        self.counted: list[OutgoingCall] = []
        self.outgoing = Outgoing(context, egress, self.counted.append, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.outgoing.close()

    async def get(self, url: str) -> HttpReply | StepFailed:
        return await self.outgoing.call(HttpCall("GET", url))

    async def post(self, url: str, body: bytes = b"grant_type=x") -> HttpReply | StepFailed:
        return await self.outgoing.call(HttpCall("POST", url, body=Secret(body)))

    async def fails(self, url: str, outcome: AskOutcome) -> str:
        """Why; and that it was counted so."""
        result = await self.get(url)
        assert isinstance(result, StepFailed), result
        assert [one.outcome for one in self.counted[-1:]] == [outcome]
        return result.message

    @property
    def outcomes(self) -> list[str]:
        return [one.outcome.value for one in self.counted]


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work

    asyncio.run(bounded())


def url(server: SourceServer, path: str = "/token", host: str = "localhost") -> str:
    return f"https://{host}:{server.port}{path}"


# --- what is sent, and what comes back -----------------------------------------------------------


def test_a_request_arrives_as_it_was_meant(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        reply_headers = {"Date": "Sat, 21 Nov 2026 15:50:54 GMT", "X-Two": "a"}
        async with (
            SourceServer(serving, answering(201, b"hello", reply_headers)) as server,
            Door(trusting) as door,
        ):
            call = HttpCall(
                "POST",
                url(server, "/token?x=1"),
                (("Content-Type", "text/plain"), ("Authorization", Secret(b"Bearer t"))),
                Secret(b"body"),
            )
            reply = await door.outgoing.call(call)

            assert isinstance(reply, HttpReply)
            assert (reply.status, reply.body) == (201, b"hello")
            assert reply.headers["date"] == reply_headers["Date"]
            [asked] = server.requests
            assert (asked.method, asked.target, asked.body) == ("POST", "/token?x=1", b"body")
            assert asked.headers == {
                "host": f"localhost:{server.port}",
                "user-agent": module.USER_AGENT,
                "accept-encoding": "identity",
                "content-type": "text/plain",
                "authorization": "Bearer t",
                "content-length": "4",
            }
            assert door.outcomes == ["ok"]
            assert 0 < door.counted[0].seconds < 30

    run(work())


def test_an_address_is_verified_as_an_address(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as server, Door(trusting) as door:
            assert isinstance(await door.get(url(server, host=LOOPBACK)), HttpReply)

    run(work())


@pytest.mark.parametrize(("status", "outcome"), [(200, "ok"), (204, "ok"), (401, "refused"), (503, "failed")])
def test_an_answer_is_a_reply_whatever_the_server_thinks_of_the_request(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, status: int, outcome: str
) -> None:
    async def work() -> None:
        async with SourceServer(serving, answering(status, b"")) as server, Door(trusting) as door:
            reply = await door.get(url(server))

            assert isinstance(reply, HttpReply)
            assert reply.status == status
            assert door.outcomes == [outcome]

    run(work())


def test_a_header_that_comes_twice_is_one_list(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        raw = b"HTTP/1.1 200 OK\r\nWarning: one\r\nWARNING: two\r\nContent-Length: 0\r\n\r\n"
        async with SourceServer(serving, saying(raw)) as server, Door(trusting) as door:
            reply = await door.get(url(server))

            assert isinstance(reply, HttpReply)
            assert reply.headers["warning"] == "one, two"

    run(work())


def test_a_call_that_is_refused_is_not_sent_and_not_counted(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as server, Door(trusting) as door:
            plain = url(server).replace("https://", "http://")
            split = HttpCall("GET", url(server), (("X", "a\r\nHost: b"),))
            for call in (HttpCall("GET", plain), split):
                assert isinstance(await door.outgoing.call(call), StepFailed)

            assert (server.connections, door.counted) == (0, [])

    run(work())


# --- answers that are none -----------------------------------------------------------------------


async def _endless(_: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        await writer.drain()


async def _dripping(_: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0)


async def _resetting(_: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of an answer without a length")
    await writer.drain()
    # Linger 0: a reset in place of an end.
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4)
    )
    writer.transport.abort()
    return False


BAD_ANSWERS: list[tuple[str, Answer, AskOutcome, str]] = [
    *(
        (
            f"redirect {status}",
            answering(status, b"", {"Location": "https://evil.example/?code=1"}),
            AskOutcome.REDIRECTED,
            "answered with a redirect, which podkey does not follow: name the final host in the source",
        )
        for status in (300, 301, 302, 303, 304, 307, 308)
    ),
    ("endless", _endless, AskOutcome.TOO_LARGE, f"larger than {MAX_ANSWER_BYTES} bytes"),
    ("one over", answering(200, bytes(MAX_ANSWER_BYTES)), AskOutcome.TOO_LARGE, "larger than"),
    ("dripping", _dripping, AskOutcome.TOO_SLOW, "did not answer within 0.2 s"),
    ("silent", silent, AskOutcome.TOO_SLOW, "did not answer within 0.2 s"),
    (
        "compressed",
        answering(200, b"x", {"Content-Encoding": "gzip"}),
        AskOutcome.MALFORMED,
        "compressed its answer, which nobody asked for",
    ),
    ("no HTTP", saying(b"SSH-2.0-OpenSSH\r\n\r\n"), AskOutcome.MALFORMED, "answered what is no HTTP/1.1"),
    (
        "lengths that differ",
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        AskOutcome.MALFORMED,
        "answered what is no HTTP/1.1",
    ),
    (
        "huge head",
        saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 150_000, stays=True),
        AskOutcome.MALFORMED,
        "or has a huge head",
    ),
    (
        "many headers",
        saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000, stays=True),
        AskOutcome.MALFORMED,
        "or has a huge head",
    ),
    (
        "unknown status",
        saying(b"HTTP/1.1 799 What\r\nContent-Length: 0\r\n\r\n"),
        AskOutcome.MALFORMED,
        "answered with the status 799, which HTTP has not",
    ),
    (
        "cut body",
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
        AskOutcome.MALFORMED,
        "broke its answer",
    ),
    ("cut head", saying(b"HTTP/1.1 200 OK\r\nConte"), AskOutcome.MALFORMED, "broke its answer off"),
    ("reset", _resetting, AskOutcome.MALFORMED, "broke its answer off"),
    ("nothing", saying(b""), AskOutcome.UNREACHABLE, "closed the connection before it answered"),
]


@pytest.mark.parametrize(
    ("answer", "outcome", "why"), [case[1:] for case in BAD_ANSWERS], ids=[case[0] for case in BAD_ANSWERS]
)
def test_an_answer_that_is_none_has_its_reason_and_leaves_no_connection(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, answer: Answer, outcome: AskOutcome, why: str
) -> None:
    async def work() -> None:
        limits = IMPATIENT if outcome is AskOutcome.TOO_SLOW else PATIENT
        async with SourceServer(serving, answer) as server, Door(trusting, limits=limits) as door:
            message = await door.fails(url(server, "/secret-path?code=1"), outcome)

            assert message.startswith(("localhost:", "the answer of localhost:"))
            assert why in message
            assert not any(word in message for word in ("secret-path", "code=1", "evil"))
            # It is closed by us at once, and not with the door.
            await server.is_alone.wait()

    run(work())


def test_the_largest_answer_is_read(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        body = bytes(MAX_ANSWER_BYTES - 200)  # and its head
        async with SourceServer(serving, answering(200, body)) as server, Door(trusting) as door:
            reply = await door.get(url(server))

            assert isinstance(reply, HttpReply)
            assert reply.body == body

    run(work())


def test_a_call_may_expect_a_larger_answer_and_the_next_on_its_connection_may_not(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        body = bytes(2 * MAX_ANSWER_BYTES)
        async with SourceServer(serving, answering(200, body)) as server, Door(trusting) as door:
            large = HttpCall("GET", url(server), largest_answer=3 * MAX_ANSWER_BYTES)
            reply = await door.outgoing.call(large)

            assert isinstance(reply, HttpReply)
            assert reply.body == body
            await door.fails(url(server), AskOutcome.TOO_LARGE)

    run(work())


def test_what_came_behind_an_answer_is_no_answer_to_the_next_call(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def twice(_: Asked, writer: asyncio.StreamWriter) -> bool:
        answers = (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body for body in (b"first", b"other"))
        writer.write(b"".join(answers))
        return True

    async def work() -> None:
        async with SourceServer(serving, twice) as server, Door(trusting) as door:
            for _ in range(2):
                reply = await door.get(url(server))
                assert isinstance(reply, HttpReply)
                assert reply.body == b"first"
            assert server.connections == 2

    run(work())


def test_an_answer_with_two_lengths_is_none(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def ambiguous(_: Asked, writer: asyncio.StreamWriter) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"5\r\nfirst\r\n0\r\n\r\n")
        return True

    async def work() -> None:
        async with SourceServer(serving, ambiguous) as server, Door(trusting) as door:
            assert "two lengths" in await door.fails(url(server), AskOutcome.MALFORMED)

    run(work())


def test_a_huge_body_is_cut_long_before_its_end(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        sent = 0

        async def gushing(_: Asked, writer: asyncio.StreamWriter) -> bool:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            for _ in range(1_000_000_000 // 65_536):
                writer.write(bytes(65_536))
                await writer.drain()
                sent += 65_536
            return False

        async with SourceServer(serving, gushing) as server, Door(trusting) as door:
            await door.fails(url(server), AskOutcome.TOO_LARGE)
            await server.is_alone.wait()

        # What the kernel's buffers took besides.
        assert sent < 32 * 1024 * 1024

    run(work())


def test_where_a_redirect_leads_nobody_is_asked(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as target:
            there = {"Location": url(target)}
            async with SourceServer(serving, answering(307, b"", there)) as server, Door(trusting) as door:
                await door.fails(url(server), AskOutcome.REDIRECTED)

            assert (target.connections, target.requests) == (0, [])

    run(work())


def test_a_defect_of_ours_is_a_failure_without_its_text(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("Bearer hunter2")

    async def work() -> None:
        monkeypatch.setattr(module, "_read", broken)
        async with SourceServer(serving, OK) as server, Door(trusting) as door:
            message = await door.fails(url(server), AskOutcome.MALFORMED)

            assert "by a defect of podkey (ValueError)" in message
            assert "hunter2" not in message
            await server.is_alone.wait()

    run(work())


# --- no connection -------------------------------------------------------------------------------


def _resolving(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Awaitable[Any]]) -> None:
    async def getaddrinfo(*_: object, **__: object) -> Any:
        return await answer()

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (socket.EAI_NONAME, "idp.example is not a name that the pod's DNS knows"),
        (socket.EAI_AGAIN, "idp.example cannot be resolved: the pod's DNS does not answer"),
    ],
)
def test_a_name_without_an_address_is_said_to_be_one(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, code: int, why: str
) -> None:
    async def nobody() -> None:
        raise socket.gaierror(code, "no such name")

    async def work() -> None:
        _resolving(monkeypatch, nobody)
        async with Door(trusting) as door:
            assert why in await door.fails("https://idp.example/token", AskOutcome.UNREACHABLE)

    run(work())


def test_a_closed_port_refuses(trusting: ssl.SSLContext) -> None:
    async def work() -> None:
        with closing(socket.socket()) as unused:
            unused.bind((LOOPBACK, 0))
            port = unused.getsockname()[1]
            async with Door(trusting) as door:
                for host in (LOOPBACK, "localhost"):
                    message = await door.fails(f"https://{host}:{port}/", AskOutcome.UNREACHABLE)
                    assert message.startswith(f"{host}:{port} refuses the connection")

    run(work())


def test_a_port_that_never_accepts_is_given_up(trusting: ssl.SSLContext) -> None:
    async def work() -> None:
        with (
            closing(socket.socket()) as full,
            closing(socket.socket()) as one,
            closing(socket.socket()) as two,
        ):
            full.bind((LOOPBACK, 0))
            full.listen(0)
            for client in (one, two):  # they fill its queue, so further SYNs go unanswered
                client.settimeout(0)
                assert client.connect_ex(full.getsockname()) in {0, errno.EINPROGRESS}
            async with Door(trusting, limits=HASTY) as door:
                where = f"{LOOPBACK}:{full.getsockname()[1]}"
                message = await door.fails(f"https://{where}/", AskOutcome.UNREACHABLE)
                assert message.startswith(f"{where} took no connection within 0.5 s")

    run(work())


def test_a_name_that_leads_to_a_metadata_service_is_not_asked(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(sockets, "_METADATA", frozenset(ip_network(f"{LOOPBACK}/32")))
        async with SourceServer(serving, OK) as server, Door(trusting) as door:
            message = await door.fails(url(server), AskOutcome.UNREACHABLE)

            assert "leads to a metadata service" in message
            assert server.requests == []

    run(work())


# --- TLS -----------------------------------------------------------------------------------------


DISTRUST = (
    "showed a certificate that is not trusted (unable to get local issuer certificate): "
    "if it is your own, add the authority that signed it to PODKEY_UPSTREAM_CA_FILES"
)


@pytest.mark.parametrize(
    ("names", "options", "why"),
    [
        (("other.example",), {}, "showed a certificate for another name"),
        (("localhost",), {"expired": True}, "showed a certificate that has expired"),
        (
            ("localhost",),
            {"stranger": True},
            DISTRUST,
        ),
    ],
)
def test_a_certificate_that_proves_nothing_gets_no_request(
    trusting: ssl.SSLContext,
    authority: UpstreamAuthority,
    names: tuple[str, ...],
    options: dict[str, bool],
    why: str,
) -> None:
    async def work() -> None:
        context = server_context(*authority.certificate(*names, **options))
        async with SourceServer(context, OK) as server, Door(trusting) as door:
            message = await door.fails(url(server), AskOutcome.UNTRUSTED)

            assert message.startswith(f"localhost:{server.port} {why}")
            assert server.requests == []

    run(work())


def test_a_certificate_that_signs_itself_is_not_trusted(
    trusting: ssl.SSLContext, tmp_path: Path, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as server:
            # Nobody is trusted who is not named: also not by a context that trusts somebody else.
            stranger = read_certificates(UpstreamAuthority(tmp_path / "other").file.read_bytes())[0]
            async with Door(tls_context(stranger)) as door:
                await door.fails(url(server), AskOutcome.UNTRUSTED)
            async with Door(tls_context([])) as door:
                await door.fails(url(server), AskOutcome.UNTRUSTED)
            assert server.requests == []

    run(work())


def test_whoever_trusts_other_files_says_so_in_the_fix(authority: UpstreamAuthority) -> None:
    async def work() -> None:
        counted: list[OutgoingCall] = []
        context = server_context(*authority.certificate("localhost"))
        async with SourceServer(context, OK) as server:
            outgoing = Outgoing(tls_context([]), DIRECT, counted.append, trust_fix="mount the cluster's CA")
            result = await outgoing.call(HttpCall("GET", url(server)))
            await outgoing.close()

            assert isinstance(result, StepFailed)
            assert result.message.endswith(": mount the cluster's CA")

    run(work())


def test_a_server_that_wants_a_certificate_of_ours_is_not_satisfied(
    trusting: ssl.SSLContext, authority: UpstreamAuthority
) -> None:
    async def work() -> None:
        context = server_context(*authority.certificate(LOOPBACK))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.file)

        async def alerting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # By hand, because asyncio's own server cuts the connection without the alert.
            incoming, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, out, server_side=True)
            while data := await reader.read(65_536):
                incoming.write(data)
                with suppress(ssl.SSLError):
                    tls.do_handshake()
                writer.write(out.read())
            writer.close()

        server = await asyncio.start_server(alerting, LOOPBACK, 0)
        async with Door(trusting) as door:
            port = server.sockets[0].getsockname()[1]
            message = await door.fails(f"https://{LOOPBACK}:{port}/", AskOutcome.UNTRUSTED)
            assert re.search(r"there is no TLS with 127.0.0.1:\d+ \(.*CERTIFICATE_REQUIRED\)", message)
        server.close()

    run(work())


def test_a_port_that_speaks_no_tls_is_said_to_be_one(trusting: ssl.SSLContext) -> None:
    async def work() -> None:
        async def spoken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        for served, outcome, why in (
            (spoken, AskOutcome.UNTRUSTED, "there is no TLS with"),
            (cut, AskOutcome.UNREACHABLE, "closed the connection in the TLS handshake"),
        ):
            server = await asyncio.start_server(served, LOOPBACK, 0)
            async with Door(trusting) as door:
                port = server.sockets[0].getsockname()[1]
                assert why in await door.fails(f"https://{LOOPBACK}:{port}/", outcome)
            server.close()

    run(work())


def test_a_handshake_that_stands_still_is_given_up(trusting: ssl.SSLContext) -> None:
    async def work() -> None:
        with closing(socket.create_server((LOOPBACK, 0))) as mute:
            port = mute.getsockname()[1]
            for limits, outcome, why in (
                (HASTY, AskOutcome.UNREACHABLE, "did not finish the TLS handshake within 0.5 s"),
                (IMPATIENT, AskOutcome.TOO_SLOW, "did not answer within 0.2 s"),
            ):
                async with Door(trusting, limits=limits) as door:
                    assert why in await door.fails(f"https://{LOOPBACK}:{port}/", outcome)

    run(work())


# --- connections are kept ------------------------------------------------------------------------


def test_one_connection_serves_calls_that_follow_each_other(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as server, Door(trusting) as door:
            for _ in range(3):
                assert isinstance(await door.post(url(server)), HttpReply)
                assert isinstance(await door.get(url(server)), HttpReply)

            assert (server.connections, len(server.requests)) == (1, 6)

    run(work())


def test_a_connection_is_for_one_host_and_port(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        async with (
            SourceServer(serving, OK) as one,
            SourceServer(serving, OK) as two,
            Door(trusting) as door,
        ):
            for server in (one, two, one, two):
                await door.get(url(server))
            await door.get(url(one, host=LOOPBACK))  # the same server by another name

            assert (one.connections, two.connections) == (2, 1)

    run(work())


def test_calls_at_the_same_time_are_bounded_and_all_answered(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        most = now = 0
        together = asyncio.Event()

        async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            nonlocal most, now
            now += 1
            most = max(most, now)
            if now == MAX_CONNECTIONS:
                together.set()
            await together.wait()
            now -= 1
            return await OK(asked, writer)

        async with SourceServer(serving, slowly) as server, Door(trusting) as door:
            replies = await asyncio.gather(*(door.get(url(server)) for _ in range(3 * MAX_CONNECTIONS)))

            assert all(isinstance(reply, HttpReply) for reply in replies)
            assert (most, server.connections) == (MAX_CONNECTIONS, MAX_CONNECTIONS)

    run(work())


def test_connections_that_wait_make_room_for_another_host(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as one, SourceServer(serving, OK) as two, Door(trusting) as door:
            together = asyncio.Barrier(MAX_CONNECTIONS)

            async def meeting(asked: Asked, writer: asyncio.StreamWriter) -> bool:
                await together.wait()
                return await OK(asked, writer)

            one._answer = meeting
            await asyncio.gather(*(door.get(url(one)) for _ in range(MAX_CONNECTIONS)))
            assert isinstance(await door.get(url(two)), HttpReply)

            assert len(door.outgoing._lines) == MAX_CONNECTIONS

    run(work())


def test_a_connection_that_waited_too_long_is_not_used(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        limits = OutgoingLimits(keep_alive=-1.0)
        async with SourceServer(serving, OK) as server, Door(trusting, limits=limits) as door:
            await door.get(url(server))
            await door.get(url(server))

            assert server.connections == 2
            assert len(door.outgoing._lines) == 1

    run(work())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_was_closed_while_it_waited_is_not_noticed(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, method: str
) -> None:
    async def work() -> None:
        async def answer_and_close_later(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            await OK(asked, writer)  # says nothing of closing
            await closes.wait()
            return False

        closes = asyncio.Event()
        async with SourceServer(serving, answer_and_close_later) as server, Door(trusting) as door:
            for _ in range(3):
                closes.clear()
                call = HttpCall(method, url(server), body=Secret(b"x") if method == "POST" else None)
                assert isinstance(await door.outgoing.call(call), HttpReply)
                closes.set()
                await server.is_alone.wait()

            assert server.connections == 3
            assert door.outcomes == ["ok"] * 3

    run(work())


def test_an_end_that_came_with_the_answer_is_seen(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    """In one segment, the kernel has nothing more to read: asyncio's servers wait for our own end."""

    async def work() -> None:
        async def answer_and_close(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            await OK(asked, writer)
            return False

        async with SourceServer(serving, answer_and_close) as server, Door(trusting) as door:
            for number in range(1, 6):
                assert isinstance(await door.post(url(server)), HttpReply)
                assert len(server.requests) == number
            assert server.connections == 5

    run(work())


def _closing_on_the_second(method: str) -> Answer:
    """Keeps a connection open, and closes it when another request comes on it."""
    seen: set[int] = set()

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if asked.method == method and id(writer) in seen:
            return False
        seen.add(id(writer))
        return await OK(asked, writer)

    return answer


def test_a_get_that_met_a_dying_connection_is_sent_once_more(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        async with SourceServer(serving, _closing_on_the_second("GET")) as server, Door(trusting) as door:
            await door.get(url(server))
            assert isinstance(await door.get(url(server)), HttpReply)

            assert (server.connections, len(server.requests)) == (2, 3)
            assert door.outcomes == ["ok", "ok"]

    run(work())


def test_a_post_is_never_sent_twice(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        async with SourceServer(serving, _closing_on_the_second("POST")) as server, Door(trusting) as door:
            await door.get(url(server))
            result = await door.post(url(server), b"once")

            assert isinstance(result, StepFailed)
            assert "closed the connection before it answered: it is not sent twice" in result.message
            assert [asked.body for asked in server.requests] == [b"", b"once"]
            assert isinstance(await door.post(url(server)), HttpReply)

    run(work())


def test_a_get_is_sent_once_more_and_not_again(trusting: ssl.SSLContext, serving: ssl.SSLContext) -> None:
    async def work() -> None:
        requests = 0

        async def first_only(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            nonlocal requests
            requests += 1
            return await OK(asked, writer) if requests == 1 else False

        async with SourceServer(serving, first_only) as server, Door(trusting) as door:
            await door.get(url(server))
            assert "closed the connection" in await door.fails(url(server), AskOutcome.UNREACHABLE)
            assert requests == 3

    run(work())


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [silent, _dripping], ids=["before the answer", "within its body"])
def test_a_cancelled_call_leaves_nothing_half_read(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, answer: Answer
) -> None:
    async def work() -> None:
        came = asyncio.Event()

        async def first_badly(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            if came.is_set():
                return await OK(asked, writer)
            came.set()
            return await answer(asked, writer)

        async with SourceServer(serving, first_badly) as server, Door(trusting) as door:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(door.get(url(server)))
                await came.wait()
                task.cancel()
            assert task.cancelled()
            await server.is_alone.wait()

            reply = await door.get(url(server))
            assert isinstance(reply, HttpReply)
            assert reply.body == b"{}"
            assert server.connections == 2

    run(work())


def test_calls_that_are_cancelled_while_they_wait_take_no_place(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        come: list[str] = []
        full, on = asyncio.Event(), asyncio.Event()

        async def held(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            come.append(asked.target)
            if len(come) == MAX_CONNECTIONS:
                full.set()
            await on.wait()
            return await OK(asked, writer)

        async with SourceServer(serving, held) as server, Door(trusting) as door:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(door.get(url(server))) for _ in range(3 * MAX_CONNECTIONS)]
                await full.wait()
                for task in tasks:
                    task.cancel()
            on.set()
            for _ in range(MAX_CONNECTIONS + 1):
                assert isinstance(await door.get(url(server)), HttpReply)

    run(work())


def test_closing_ends_what_is_under_way_and_what_comes_after(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        came = asyncio.Event()

        async def held(asked: Asked, writer: asyncio.StreamWriter) -> bool:
            came.set()
            return await silent(asked, writer)

        async with SourceServer(serving, held) as server, Door(trusting) as door:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(door.get(url(server)))
                await came.wait()
                await door.outgoing.close()
            assert isinstance(task.result(), StepFailed)
            await server.is_alone.wait()
            assert "podkey is stopping" in await door.fails(url(server), AskOutcome.UNREACHABLE)
            await server.is_alone.wait()

    run(work())


# --- the egress proxy ----------------------------------------------------------------------------


def egress(
    port: int, *, tls: bool = False, auth_file: str | None = None, no_proxy: str = ""
) -> EgressSettings:
    entries = tuple(ip_network(text) if text[:1].isdigit() else text for text in no_proxy.split(",") if text)
    return EgressSettings(EgressProxy("localhost", port, tls=tls), auth_file, entries)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_tls_to_the_source_runs_within_the_proxys_tunnel(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, authority: UpstreamAuthority, scheme: str
) -> None:
    async def work() -> None:
        tls = scheme == "https"
        inner = server_context(*authority.certificate("idp.example"))
        async with (
            SourceServer(inner, OK) as server,
            EgressProxyServer(serving if tls else None, to_port=server.port) as proxy,
            Door(trusting, egress(proxy.port, tls=tls)) as door,
        ):
            for _ in range(2):
                # A name that only the proxy can resolve.
                assert isinstance(await door.post("https://idp.example/token"), HttpReply)

            [asked] = proxy.asked
            assert (asked.method, asked.target) == ("CONNECT", "idp.example:443")
            assert asked.headers == {"host": "idp.example:443", "user-agent": module.USER_AGENT}
            assert (server.connections, len(server.requests)) == (1, 2)
            assert server.requests[0].headers["host"] == "idp.example"

    run(work())


def test_the_source_behind_a_proxy_is_verified_by_its_own_name(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    """And a proxy that breaks such tunnels off takes no place for ever (encode/httpcore#1023)."""

    async def work() -> None:
        async with (
            SourceServer(serving, OK) as server,
            EgressProxyServer(to_port=server.port) as proxy,
            Door(trusting, egress(proxy.port)) as door,
        ):
            for _ in range(MAX_CONNECTIONS + 1):
                message = await door.fails("https://idp.example/", AskOutcome.UNTRUSTED)
                assert message.startswith("idp.example showed a certificate for another name")
            assert isinstance(await door.get(url(server)), HttpReply)
            assert len(server.requests) == 1

    run(work())


def test_a_proxy_that_speaks_tls_is_verified_itself(
    trusting: ssl.SSLContext, authority: UpstreamAuthority
) -> None:
    async def work() -> None:
        context = server_context(*authority.certificate("other.example"))
        async with (
            EgressProxyServer(context) as proxy,
            Door(trusting, egress(proxy.port, tls=True)) as door,
        ):
            message = await door.fails("https://idp.example/", AskOutcome.UNTRUSTED)

            assert message.startswith(
                f"the egress proxy localhost:{proxy.port} showed a certificate for another"
            )
            assert proxy.asked == []

    run(work())


def test_a_source_that_needs_no_proxy_is_asked_straight(
    trusting: ssl.SSLContext, serving: ssl.SSLContext
) -> None:
    async def work() -> None:
        async with (
            SourceServer(serving, OK) as server,
            EgressProxyServer() as proxy,
            Door(trusting, egress(proxy.port, no_proxy="localhost,127.0.0.0/8")) as door,
        ):
            await door.get(url(server))
            await door.get(url(server, host=LOOPBACK))

            assert (len(server.requests), proxy.connections) == (2, 0)

    run(work())


def test_the_environments_proxy_is_not_asked(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with SourceServer(serving, OK) as server, EgressProxyServer() as proxy, Door(trusting) as door:
            for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://localhost:{proxy.port}")
            await door.get(url(server))

            assert (len(server.requests), proxy.connections) == (1, 0)

    run(work())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            "answered 403 to a tunnel to idp.example: have the host allowed there",
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "answered 502 to a tunnel to idp.example: it cannot reach the host",
        ),
        (
            b"HTTP/1.1 407 Who\r\n\r\n",
            "it wants credentials; name a file of them in PODKEY_EGRESS_PROXY_AUTH_FILE",
        ),
        (b"220 smtp.example ESMTP\r\n\r\n", "closed the connection or spoke no HTTP when asked for a tunnel"),
        (b"", "opened no tunnel to idp.example within 0.5 s"),
    ],
    ids=["403", "502", "407", "no HTTP", "silence"],
)
def test_a_proxy_that_opens_no_tunnel_is_named_with_its_reason(
    trusting: ssl.SSLContext, answer: bytes, why: str
) -> None:
    async def work() -> None:
        async with (
            EgressProxyServer(answer=answer) as proxy,
            Door(trusting, egress(proxy.port), HASTY) as door,
        ):
            message = await door.fails("https://idp.example/?code=1", AskOutcome.UNREACHABLE)

            assert message.startswith(f"the egress proxy localhost:{proxy.port} ")
            assert why in message
            await proxy.is_alone.wait()

    run(work())


def test_a_proxy_that_is_not_there_is_named(trusting: ssl.SSLContext) -> None:
    async def work() -> None:
        with closing(socket.socket()) as unused:
            unused.bind((LOOPBACK, 0))
            port = unused.getsockname()[1]
            async with Door(trusting, egress(port)) as door:
                message = await door.fails("https://idp.example/", AskOutcome.UNREACHABLE)
                assert message.startswith(f"the egress proxy localhost:{port} refuses the connection")

    run(work())


def test_the_proxys_credentials_are_read_anew_and_shown_to_the_proxy_alone(
    trusting: ssl.SSLContext, serving: ssl.SSLContext, tmp_path: Path
) -> None:
    async def work() -> None:
        file = tmp_path / "proxy-user"
        async with (
            SourceServer(serving, OK) as server,
            EgressProxyServer() as proxy,
            Door(trusting, egress(proxy.port, auth_file=str(file))) as door,
        ):
            assert "PODKEY_EGRESS_PROXY_AUTH_FILE" in await door.fails(url(server), AskOutcome.UNREACHABLE)
            assert proxy.asked == []
            file.write_text("user:password\n")
            assert isinstance(await door.get(url(server)), HttpReply)

            assert proxy.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNzd29yZA=="
            assert "proxy-authorization" not in server.requests[0].headers

    run(work())


# --- nothing leaks -------------------------------------------------------------------------------


def test_what_is_sent_and_answered_stands_in_no_message_metric_or_log(
    trusting: ssl.SSLContext,
    serving: ssl.SSLContext,
    canary: Canary,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        metrics = Metrics()
        password = tmp_path / "proxy-user"
        password.write_text(f"user:{canary.secret('proxy password')}")
        token, key, answered = (canary.secret(name) for name in ("token", "key", "answer"))
        results: list[object] = []
        settings: list[EgressSettings] = [DIRECT]
        async with EgressProxyServer(answer=b"HTTP/1.1 407 No\r\n\r\n") as proxy:
            settings.append(egress(proxy.port, auth_file=str(password)))
            for answer in (*(case[1] for case in BAD_ANSWERS), answering(401, answered.encode())):
                async with SourceServer(serving, answer) as server:
                    for setting in settings:
                        outgoing = Outgoing(
                            trusting,
                            setting,
                            lambda one: metrics.source_asked(one.outcome, one.seconds),
                            limits=IMPATIENT,
                        )
                        for header in (f"Bearer {key}", f"Bearer {key}\r\nX: y"):
                            call = HttpCall(
                                "POST",
                                url(server, f"/{key}?code={key}"),
                                (("Authorization", Secret(header.encode())),),
                                Secret(token.encode()),
                            )
                            results.append(await outgoing.call(call))
                        await outgoing.close()

        canary.watch("\n".join(map(repr, results)), "messages")
        canary.watch(metrics.exposition()[0], "metrics")
        canary.watch(caplog.text, "logs")

    run(work())
    assert canary.findings() == []
