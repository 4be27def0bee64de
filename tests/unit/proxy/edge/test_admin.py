import ast
import asyncio
import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy import __version__
from proxy.edge import admin
from proxy.edge.admin import MAX_CONNECTIONS, MAX_HEAD, PARTS, AdminServer, Readiness
from proxy.edge.metrics import Metrics

CANARY = secrets.token_urlsafe(24)
READY = Readiness()
for _part in PARTS:
    READY.ok(_part)


def request(target: str = "/", method: str = "GET", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: 10.0.0.1:15020\r\n{more}\r\n".encode()


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes; an abort is seen as an end or as a reset."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def serving(
    scenario: Callable[[int], Awaitable[None]],
    readiness: Readiness = READY,
    exposition: Callable[[], tuple[bytes, str]] = lambda: (b"podkey_up 1\n", "text/plain; version=0.0.4"),
) -> None:
    async def run() -> None:
        server = AdminServer(readiness, exposition)
        port = await server.start("127.0.0.1", 0)
        try:
            await scenario(port)
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def ask(data: bytes, readiness: Readiness = READY) -> tuple[str, dict[str, str], bytes]:
    """Status line, fields and body of the answer."""
    answers = []

    async def scenario(port: int) -> None:
        answers.append(await exchange(port, data))

    serving(scenario, readiness)
    head, _, body = answers[0].partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status.removeprefix("HTTP/1.1 "), dict(line.split(": ", 1) for line in lines), body


# --- readiness ------------------------------------------------------------------------------------


def test_it_is_ready_when_every_part_is() -> None:
    readiness = Readiness()
    for part in PARTS:
        assert part in readiness.missing()
        readiness.ok(part)

    assert readiness.missing() == {}


def test_a_part_may_fail_and_be_mended() -> None:
    readiness = Readiness()
    for part in PARTS:
        readiness.ok(part)

    readiness.failed("policy", "the folder is empty")
    assert readiness.missing() == {"policy": "the folder is empty"}

    readiness.ok("policy")
    assert readiness.missing() == {}


def test_a_drain_makes_it_unready_for_good() -> None:
    readiness = Readiness()
    for part in PARTS:
        readiness.ok(part)

    readiness.draining()
    assert readiness.missing() == {"draining": "the sidecar is shutting down"}


# --- pages ----------------------------------------------------------------------------------------


def test_the_index_names_the_pages() -> None:
    status, fields, body = ask(request("/"))

    assert status == "200 OK"
    assert body.decode().startswith(f"podkey {__version__}\n")
    assert all(page in body for page in (b"/healthz", b"/readyz", b"/metrics"))
    assert fields == {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }


def test_it_is_alive_before_it_is_ready() -> None:
    status, _, body = ask(request("/healthz"), Readiness())

    assert (status, body) == ("200 OK", b"ok\n")


def test_what_is_not_ready_is_listed_with_its_reason() -> None:
    readiness = Readiness()
    for part in ("authority", "pod", "identity"):
        readiness.ok(part)
    readiness.failed("policy", 'a.yaml:3: there is no service "opnai"')

    status, fields, body = ask(request("/readyz"), readiness)

    assert status == "503 Service Unavailable"
    assert fields["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "ready": False,
        "missing": [
            {"condition": "policy", "reason": 'a.yaml:3: there is no service "opnai"'},
            {"condition": "listener", "reason": "pending"},
        ],
    }


def test_ready_is_200() -> None:
    status, _, body = ask(request("/readyz?verbose"))

    assert (status, json.loads(body)) == ("200 OK", {"ready": True, "missing": []})


def test_metrics_are_what_telemetry_exposes() -> None:
    status, fields, body = ask(request("/metrics"))

    assert (status, body) == ("200 OK", b"podkey_up 1\n")
    assert fields["Content-Type"] == "text/plain; version=0.0.4"


def test_head_is_get_without_the_body() -> None:
    status, fields, body = ask(request("/healthz", "HEAD"))

    assert (status, body) == ("200 OK", b"")
    assert fields["Content-Length"] == "3"


@pytest.mark.parametrize(
    "target", ["/config_dump", "/healthz/", "//healthz", "http://x/healthz", "/debug/pprof"]
)
def test_there_is_no_other_page(target: str) -> None:
    assert ask(request(target))[0] == "404 Not Found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "QUITQUITQUIT"])
def test_there_is_no_other_method(method: str) -> None:
    status, fields, _ = ask(request("/healthz", method))

    assert status == "405 Method Not Allowed"
    assert fields["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", "400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 Bad Request"),  # a ClientHello
        (b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (request(more="A: " + "a" * MAX_HEAD.max_bytes + "\r\n"), "431 Request Header Fields Too Large"),
        (request("/" + "a" * MAX_HEAD.max_line), "431 Request Header Fields Too Large"),
        (request(more="A: a\r\n" * 51), "431 Request Header Fields Too Large"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, status: str) -> None:
    assert ask(data)[0] == status


# --- clients that misbehave -----------------------------------------------------------------------


def test_a_head_may_come_in_pieces() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in request("/healthz"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"\r\n\r\nok\n")
        writer.close()

    serving(scenario)


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "TIMEOUT", 0.01)

    async def scenario(port: int) -> None:
        assert await exchange(port, b"GET / HT") == b""

    serving(scenario)


def test_a_client_that_leaves_is_no_news() -> None:
    async def scenario(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET")
        writer.write_eof()
        writer.transport.abort()
        assert (await exchange(port, request("/healthz"))).endswith(b"ok\n")

    serving(scenario)


def test_whoever_sits_on_connections_does_not_keep_the_kubelet_out() -> None:
    async def scenario(port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]

        assert (await exchange(port, request("/healthz"))).endswith(b"ok\n")

        assert await rest(idle[0][0]) == b""
        for _, writer in idle:
            writer.transport.abort()

    serving(scenario)


def test_a_scrape_that_fails_breaks_its_own_connection_only() -> None:
    def broken() -> tuple[bytes, str]:
        raise OSError(5, "Input/output error")

    async def scenario(port: int) -> None:
        assert await exchange(port, request("/metrics")) == b""
        assert (await exchange(port, request("/healthz"))).endswith(b"ok\n")

    serving(scenario, exposition=broken)


def test_closing_does_not_wait_for_a_client() -> None:
    async def run() -> None:
        server = AdminServer(READY, lambda: (b"", ""))
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange(port, request())  # by now the first connection is served, too
        await server.close()
        assert await rest(reader) == b""
        writer.transport.abort()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_server_that_never_started_can_be_closed() -> None:
    asyncio.run(AdminServer(READY, lambda: (b"", "")).close())


# --- addresses ------------------------------------------------------------------------------------


def test_two_colons_mean_every_address_of_both_families() -> None:
    async def run() -> None:
        server = AdminServer(READY, lambda: (b"", ""))
        port = await server.start("::", 0)
        try:
            assert (await exchange(port, request("/healthz"))).endswith(b"ok\n")
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_without_ipv6_two_colons_mean_every_address_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = socket.create_server

    def create(address: tuple[str, int], **more: object) -> socket.socket:
        asked.append(address[0])
        if ":" in address[0]:
            raise OSError(97, "Address family not supported by protocol")
        return real(("127.0.0.1", 0))

    monkeypatch.setattr("proxy.edge.admin.socket.create_server", create)

    admin._bound("::", 0).close()

    assert asked == ["::", "0.0.0.0"]


def test_an_address_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for address in ("127.0.0.1", "::"):
            with pytest.raises(OSError, match="in use"):
                admin._bound(address, port)


# --- nothing to find out --------------------------------------------------------------------------


def test_the_module_reaches_nothing_that_knows_a_credential() -> None:
    tree = ast.parse(Path(admin.__file__).read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    ours = {name for name in imported if name and name.startswith("proxy")}

    assert ours == {"proxy", "proxy.core.structs", "proxy.wire.outcomes", "proxy.wire.request_head"}
    assert not imported & {"os", "pathlib", "sys", "inspect", "gc", "traceback", "faulthandler"}


@pytest.mark.parametrize(
    "data",
    [
        request(f"/{CANARY}"),
        request(f"/metrics?token={CANARY}"),
        request("/metrics", more=f"Authorization: Bearer {CANARY}\r\n"),
        request("/", CANARY.replace("-", "A").upper()[:20]),
        request("/", more=f"{CANARY}\r\n"),
        f"{CANARY}\r\n\r\n".encode(),
    ],
    # Names of their own: those of two processes must be the same.
    ids=["path", "query", "header", "method", "no header", "no request"],
)
def test_nothing_that_a_client_sends_comes_back(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODKEY_CANARY", CANARY)
    metrics = Metrics()
    answers = []

    async def scenario(port: int) -> None:
        answers.append(await exchange(port, data))

    serving(scenario, exposition=metrics.exposition)

    assert answers[0].startswith(b"HTTP/1.1 ")
    assert CANARY[:16].lower().encode() not in answers[0].lower()
