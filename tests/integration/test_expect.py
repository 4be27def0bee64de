"""`Expect: 100-continue`, end to end: a body begins when the upstream says so, or by itself; what the
upstream answers before that ends the matter."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import h2.connection
import h2.events
import pytest

from tests.lab import HOST, Lab, lab
from tests.netns import MISSING
from tests.raw_client import PATIENCE, is_closed, read_answers, tls
from tests.upstreams import Handler, Request, echo
from tests.upstreams_h2 import Stream

# Nothing came within this: on the way through two processes of one machine something takes a millisecond.
SILENCE = 0.3
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Asked:
    """Says 100 when the test says so, then echoes."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def __call__(self, request: Request) -> None:
        assert self.gate.wait(PATIENCE)
        request.start(103, ("link", "</a>"))
        request.start(100)
        request.start(100)
        echo(request)


def moved(request: Request) -> None:
    """Another region, before any of the body: as S3 does it."""
    request.start(307, ("location", f"https://{HOST}/v1/there"), ("content-length", "0"))
    request.end()
    with suppress(OSError):
        request.wait_for_end()


def forbidden(request: Request) -> None:
    request.answer(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
    with suppress(OSError):
        request.wait_for_end()


asked = Asked()
ROUTES: dict[str, Handler] = {
    "/v1/asked": asked,
    "/v1/moved": moved,
    "/v1/forbidden": forbidden,
    "/v1/silent": echo,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    if MISSING:
        pytest.skip(MISSING)
    with lab(ROUTES) as one:
        yield one
        one.check_health()


@pytest.fixture
def world(shared: Lab) -> Lab:
    shared.settle()
    asked.gate.clear()
    return shared


def put(path: str, size: int = 5, *lines: str) -> bytes:
    fields = [f"Host: {HOST}", f"Content-Length: {size}", "Expect: 100-continue", *lines]
    return "\r\n".join([f"PUT {path} HTTP/1.1", *fields, "", ""]).encode()


def silent(sock: ssl.SSLSocket) -> bool:
    """Tickets of TLS are no data."""
    sock.settimeout(SILENCE)
    try:
        sock.recv(65_536)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)
    return False


def read(sock: ssl.SSLSocket, until: bytes = b"\r\n\r\n") -> bytes:
    data = b""
    while until not in data:
        more = sock.recv(65_536)
        if not more:
            raise AssertionError(f"it ended after {data!r}")
        data += more
    return data


# --- HTTP/1 ----------------------------------------------------------------------------------------------


def test_the_body_begins_when_the_upstream_says_so(world: Lab) -> None:
    before = world.sidecar.audited()
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/asked"))
        world.upstream.wait_until(lambda: len(world.upstream.requests) == 1)
        assert silent(sock)

        asked.gate.set()
        assert read(sock) == GO_ON
        assert silent(sock)
        sock.sendall(b"hello")
        answers = read_answers(read(sock, b"}"))

        assert [answer.status for answer in answers] == [200]
        # The connection serves the next request.
        sock.sendall(put("/v1/silent").replace(b"Expect: 100-continue\r\n", b"") + b"again")
        assert read_answers(read(sock, b"}"))[0].status == 200
    first, second = world.upstream.requests
    assert first.header("expect") == ["100-continue"]
    assert first.body == b"hello"
    assert second.body == b"again"
    assert len(world.upstream.carriers) == 1
    assert [record["sentBytes"] for record in world.new_audit(before, 2)] == [5, 5]


def test_a_body_that_is_not_waited_for_any_longer_flows(world: Lab) -> None:
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/silent"))
        assert silent(sock)

        sock.sendall(b"hello")

        assert json.loads(read_answers(read(sock, b"}"))[0].body)["length"] == 5


def test_a_body_that_comes_with_its_head_is_not_told_to_come(world: Lab) -> None:
    asked.gate.set()
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/asked") + b"hello")

        data = read(sock, b"}")

    assert [answer.status for answer in read_answers(data)] == [200]


@pytest.mark.parametrize(
    ("path", "status", "end"), [("/v1/moved", 307, b"\r\n\r\n"), ("/v1/forbidden", 403, b"</Error>")]
)
def test_an_answer_that_comes_first_is_the_last_on_both_connections(
    world: Lab, path: str, status: int, end: bytes
) -> None:
    before = world.sidecar.audited()
    with tls(world.pod, HOST) as sock:
        sock.sendall(put(path))

        (answer,) = read_answers(read(sock, end))
        assert answer.status == status
        assert answer.header("connection") == "close"
        (connection,) = world.upstream.carriers
        world.upstream.wait_until(connection.ended.is_set)
        # A late body, with a request in it: nobody reads it as one.
        with suppress(OSError):
            sock.sendall(b"hello" + put("/v1/silent").replace(b"Expect: 100-continue\r\n", b"") + b"again")
        assert is_closed(sock)

    assert [request.path for request in world.upstream.requests] == [path]
    assert not world.upstream.seen(b"hello")
    (record,) = world.new_audit(before)
    assert (record["status"], record["ending"], record["sentBytes"]) == (status, "completed", 0)


def test_who_is_refused_is_not_told_to_go_on(world: Lab) -> None:
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/nowhere"))

        (answer,) = read_answers(read(sock, b"}}"))

        assert (answer.status, answer.reason) == (403, "path_not_granted")
        assert answer.header("connection") == "close"
        assert is_closed(sock)
    assert world.upstream.requests == []


def test_curl_waits_and_is_told(world: Lab) -> None:
    asked.gate.set()
    size = 3_000_000
    argv = ["curl", "-sS", "--http1.1", "-X", "PUT", "--data-binary", "@-", "-H", "Expect: 100-continue"]
    argv += ["--expect100-timeout", "8", "-w", "%{time_total}", "-o", "/dev/null"]

    done = world.pod.run_app([*argv, f"https://{HOST}/v1/asked"], stdin=bytes(size))

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 8
    assert world.upstream.requests[0].header("expect") == ["100-continue"]
    assert world.upstream.requests[0].body_size == size


# --- HTTP/2 ----------------------------------------------------------------------------------------------


class H2:
    """One stream of a client that speaks HTTP/2 only."""

    def __init__(self, sock: ssl.SSLSocket, path: str) -> None:
        self._sock = sock
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()
        fields = [
            (":method", "PUT"), (":path", path), (":scheme", "https"), (":authority", HOST),
            ("content-length", "5"), ("expect", "100-continue"),
        ]  # fmt: skip
        self._h2.send_headers(1, fields)
        self.seen: list[h2.events.Event] = []
        self._flush()

    def send(self, data: bytes) -> None:
        self._h2.send_data(1, data, end_stream=True)
        self._flush()

    def wait_for(self, kind: type[h2.events.Event]) -> h2.events.Event:
        while True:
            for event in self.seen:
                if isinstance(event, kind):
                    return event
            came = self._sock.recv(65_536)
            assert came, f"the connection ended before {kind.__name__} came: {self.seen}"
            self.seen += self._h2.receive_data(came)
            self._flush()

    def _flush(self) -> None:
        self._sock.sendall(self._h2.data_to_send())


def fields_of(event: h2.events.Event) -> dict[bytes, bytes]:
    assert isinstance(event, h2.events.ResponseReceived | h2.events.InformationalResponseReceived)
    return {bytes(name): bytes(value) for name, value in event.headers or ()}


def test_over_http2_the_body_begins_when_the_upstream_says_so(world: Lab) -> None:
    with tls(world.pod, HOST, ["h2"]) as sock:
        client = H2(sock, "/v1/asked")
        world.upstream.wait_until(lambda: len(world.upstream.requests) == 1)

        asked.gate.set()
        assert fields_of(client.wait_for(h2.events.InformationalResponseReceived)) == {b":status": b"100"}
        client.send(b"hello")

        assert fields_of(client.wait_for(h2.events.ResponseReceived))[b":status"] == b"200"
        client.wait_for(h2.events.StreamEnded)
    told = [event for event in client.seen if isinstance(event, h2.events.InformationalResponseReceived)]
    assert len(told) == 1
    (request,) = world.upstream.requests
    assert request.header("expect") == ["100-continue"]
    assert request.body == b"hello"


def test_over_http2_an_answer_that_comes_first_resets_the_upstreams_stream(world: Lab) -> None:
    with tls(world.pod, HOST, ["h2"]) as sock:
        client = H2(sock, "/v1/forbidden")

        assert fields_of(client.wait_for(h2.events.ResponseReceived))[b":status"] == b"403"
        client.wait_for(h2.events.StreamEnded)
        (request,) = world.upstream.requests
        assert isinstance(request, Stream)
        world.upstream.wait_until(request.reset.is_set)

    assert not any(isinstance(event, h2.events.InformationalResponseReceived) for event in client.seen)
