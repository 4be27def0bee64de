"""Bodies of any size in little memory, events without delay, and no credential that comes back."""

import gzip
import hashlib
import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.lab import HOST, Lab, lab
from tests.netns import MISSING
from tests.raw_client import Answer, ask, tls
from tests.raw_h2 import Field, Http2, push
from tests.upstreams import FORMS, Events, Gate, Gone, Handler, Request, discard, echo, produce, raw, reflect

GIB = 1024**3
MIB = 1024**2
PEAK = 150 * MIB
MAX_DELAY = 0.05
TRIES = 3

TEXT_TYPES = ["application/json", "application/problem+json", "text/html; charset=utf-8", "nonsense"]
NOISE = random.Random(1).randbytes(300_000)
events = Events()
unread = Gate(discard)
# What the test wants a text answer to be.
texts: list[bytes] = []


def packed(request: Request) -> None:
    """Compressed, whatever it was asked for."""
    request.read()
    body = gzip.compress(NOISE)
    fields = (
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("content-length", str(len(body))),
    )
    request.start(200, *fields)
    request.send(body)
    request.end()


def noise(request: Request) -> None:
    request.read()
    request.answer(200, NOISE, request.query["type"])


def text(request: Request) -> None:
    request.read()
    request.start(200, ("content-type", "text/plain"))
    for piece in texts:
        request.send(piece)
    request.end()


def cut(request: Request) -> None:
    """Breaks off in the middle of the credential."""
    request.read()
    secret = request.header("authorization")[0].partition(" ")[2]
    request.start(200, ("content-type", "text/plain"), ("content-length", "1000"))
    request.send(b"you sent " + secret.encode()[:-1])
    raise Gone


ROUTES: dict[str, Handler] = {
    "/v1/bytes": produce,
    "/v1/discard": discard,
    "/v1/echo": echo,
    "/v1/unread": unread,
    "/v1/events": events,
    "/v1/reflect": reflect,
    "/v1/noise": noise,
    "/v1/packed": packed,
    "/v1/text": text,
    "/v1/cut": cut,
    "/v1/hints": raw(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        closes=False,
    ),
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
    return shared


@pytest.fixture(scope="module")
def bulk() -> Iterator[Lab]:
    """A sidecar of its own, whose peak of memory is of these transfers and no others."""
    if MISSING:
        pytest.skip(MISSING)
    with lab(ROUTES) as one:
        yield one
        one.check_health()


def request(path: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines, "", ""]).encode()


# --- size ----------------------------------------------------------------------------------------------


def curl(world: Lab, *arguments: str) -> str:
    told = "%{http_code} %{http_version} %{size_download} %{size_upload}"
    argv = ["curl", "-sS", "-o", "/dev/null", "-w", told, "--max-time", "110", *arguments]
    done = world.pod.run_app(argv, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_download_of_2_gib_takes_little_memory(bulk: Lab) -> None:
    found = curl(bulk, f"https://{HOST}/v1/bytes?bytes={2 * GIB}")
    assert found == f"200 1.1 {2 * GIB} 0"
    assert bulk.sidecar.peak_rss_bytes() <= PEAK
    assert bulk.sidecar.wait_audit(1)[-1]["receivedBytes"] == 2 * GIB


@pytest.mark.slow
def test_an_upload_of_2_gib_takes_little_memory(bulk: Lab) -> None:
    before = bulk.sidecar.audited()
    file = bulk.pod.home / "checkpoint"
    _sparse(file, 2 * GIB)
    found = curl(bulk, "-T", str(file), "-H", "Expect:", f"https://{HOST}/v1/discard")
    assert found.startswith("200 1.1 ")
    assert found.endswith(f" {2 * GIB}")
    assert bulk.upstream.requests[-1].body_size == 2 * GIB
    assert bulk.sidecar.peak_rss_bytes() <= PEAK
    assert [(one["path"], one["sentBytes"]) for one in bulk.new_audit(before)] == [("/v1/discard", 2 * GIB)]


def _sparse(file: Path, size: int) -> None:
    with file.open("wb") as handle:
        handle.truncate(size)


@pytest.mark.slow
def test_a_refused_upload_of_1_gib_is_answered_and_not_held(bulk: Lab) -> None:
    bulk.upstream.clear()
    block = bytes(MIB)
    with tls(bulk.pod, HOST) as sock:
        sock.sendall(request("/nowhere", f"Content-Length: {GIB}", method="PUT"))
        for _ in range(1024):
            sock.sendall(block)
        # It was there from the first byte on, and the connection is still in order.
        answer = ask(sock, b"")
        assert (answer.status, answer.reason) == (403, "path_not_granted")
        assert ask(sock, request("/v1/echo")).status == 200
    assert bulk.sidecar.peak_rss_bytes() <= PEAK
    assert [one.path for one in bulk.upstream.requests] == ["/v1/echo"]


# Far below what would be read within the second in which nobody takes it.
GROWTH = 50 * MIB
OFFERED = 400 * MIB


def _grows_little(world: Lab, before: int) -> None:
    """Whoever waits for it to grow waits in vain: it has stopped to take what it cannot pass on."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert world.sidecar.rss_bytes() - before < GROWTH
        time.sleep(0.05)


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_a_slow_reader_holds_back_its_upstream_and_not_our_memory(world: Lab, protocol: str) -> None:
    before, records = world.sidecar.rss_bytes(), world.sidecar.audited()
    path = f"/v1/bytes?bytes={OFFERED}"
    with tls(world.pod, HOST, [protocol]) as sock:
        if protocol == "h2":
            client = Http2(window=2**31 - 1)
            client.open(1, fields(path))
            sock.sendall(client.sent)
        else:
            sock.sendall(request(path))
        assert sock.recv(1024)
        _grows_little(world, before)
    record = world.new_audit(records)[0]
    assert record["receivedBytes"] < GROWTH
    assert record["ending"] == "client_gone"


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_a_slow_upstream_holds_back_its_client_and_not_our_memory(world: Lab, protocol: str) -> None:
    unread.open.clear()
    before = world.sidecar.rss_bytes()
    with tls(world.pod, HOST, [protocol]) as sock:
        sock.settimeout(1.0)
        if protocol == "h2":
            taken = push(sock, fields("/v1/unread", "PUT"), OFFERED)
        else:
            sock.sendall(request("/v1/unread", f"Content-Length: {OFFERED}", method="PUT"))
            taken = 0
            with suppress(TimeoutError):
                while taken < OFFERED:
                    taken += sock.send(bytes(MIB))
        assert taken < GROWTH
        _grows_little(world, before)
    unread.open.set()


# --- time ----------------------------------------------------------------------------------------------


def test_a_server_sent_event_arrives_within_50_ms_of_being_sent(world: Lab) -> None:
    # Its end is the beginning of the credential; a reader that waits for more would wait for the next event.
    tail = world.token[:10]
    maxima = []
    for _ in range(TRIES):
        delays = _delays(world, tail, 40)
        maxima.append(max(delays))
        if maxima[-1] <= MAX_DELAY:
            break
    assert min(maxima) <= MAX_DELAY, f"slowest of 40 events in each try: {maxima} s"


def _delays(world: Lab, tail: str, count: int) -> list[float]:
    delays = []
    with tls(world.pod, HOST) as sock:
        sock.sendall(request("/v1/events", "Accept: text/event-stream"))
        stream = sock.makefile("rb")
        for _ in range(count):
            events.release(tail)
            # The event's own line; those before it are the head's and the chunk's.
            while not (line := stream.readline()).startswith(b"data: "):
                assert line, "the stream ended"
            now = time.monotonic()
            told = json.loads(line[6:])
            assert told["text"] == tail
            delays.append(now - told["sent"])
        events.finish()
        assert b"".join(iter(stream.readline, b"0\r\n")).strip() == b""
        stream.close()
    return delays


# --- what comes back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_credential_is_blotted_out_of_a_text_wherever_it_is_cut(world: Lab, form: str) -> None:
    shown = FORMS[form](world.token.encode())
    with tls(world.pod, HOST) as sock:
        for place in range(len(shown) + 1):
            answer = ask(sock, request(f"/v1/reflect?form={form}&cut={place}"))
            assert answer.status == 200
            _assert_blotted(world, answer, len(shown))


def _assert_blotted(world: Lab, answer: Answer, size: int) -> None:
    assert world.pod.canary.find_in(answer.body + str(answer.fields).encode()) == []
    # All else is there, and every length that was told stays true.
    assert answer.body.startswith(b"you sent <")
    assert answer.body.endswith(b">, and nothing else")
    assert len(answer.body) == len(b"you sent <>, and nothing else") + size
    assert b"***" in answer.body


@pytest.mark.parametrize(
    "kind", ["application/json", "application/problem+json", "text/html; charset=utf-8", ""]
)
@pytest.mark.parametrize("status", [200, 401, 500])
def test_error_bodies_of_every_text_type_are_looked_through(world: Lab, status: int, kind: str) -> None:
    answer = world.talk(request(f"/v1/reflect?status={status}&type={quote(kind)}"), answers=1).only
    assert answer.status == status
    _assert_blotted(world, answer, len(world.token))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ["header", "trailer", "early"])
def test_the_credential_is_blotted_out_of_fields(world: Lab, where: str, form: str) -> None:
    reply = world.talk(request(f"/v1/reflect?where={where}&form={form}"), answers=1)
    assert reply.final[-1].body == b"you sent <it>, and nothing else"
    assert world.pod.canary.find_in(reply.data) == []
    if where == "header":
        assert (reply.final[-1].header("x-debug") or "").startswith("you sent <")


@pytest.mark.parametrize("where", ["body", "header", "trailer", "early"])
def test_the_credential_is_blotted_out_of_h2_answers_too(world: Lab, where: str) -> None:
    client = Http2()
    for index, form in enumerate(FORMS):
        client.open(2 * index + 1, fields(f"/v1/reflect?where={where}&form={form}"))
    reply = world.talk(client.sent, alpn=["h2"], streams=len(FORMS))
    outcome = client.read(reply.data)
    assert len(outcome) == len(FORMS)
    for answer in outcome.values():
        assert isinstance(answer, Answer)
        assert answer.status == 200
        assert answer.body.startswith(b"you sent <")
        told = answer.body + str(answer.fields).encode() + str(answer.trailers).encode()
        assert world.pod.canary.find_in(told) == []
        if where == "trailer":
            assert answer.trailers


def fields(path: str, method: str = "GET") -> list[Field]:
    pairs = [(":method", method), (":scheme", "https"), (":path", path), (":authority", HOST)]
    return [(name.encode(), value.encode()) for name, value in pairs]


def test_a_credential_that_is_cut_off_with_its_connection_is_no_gift(world: Lab) -> None:
    reply = world.talk(request("/v1/cut"))
    assert not reply.only.whole
    assert world.token[:-1].encode() not in reply.data


def test_a_redaction_is_counted_and_told_in_the_audit(world: Lab) -> None:
    before = world.sidecar.metric("podkey_redactions_total")
    records = world.sidecar.audited()
    world.talk(request("/v1/reflect?where=header"), answers=1)
    world.talk(request("/v1/reflect"), answers=1)
    assert [one["redactions"] for one in world.new_audit(records, 2)] == [1, 1]
    assert world.sidecar.metric("podkey_redactions_total") == before + 2


def test_text_that_only_begins_like_the_credential_is_passed_on_as_it_is(world: Lab) -> None:
    token = world.token.encode()
    texts[:] = [token[:size] + bytes([gap]) for size in range(1, len(token)) for gap in b"\n."]
    answer = world.talk(request("/v1/text"), answers=1).only
    assert answer.body == b"".join(texts)


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "application/x-tar", "text/plain"])
def test_bytes_arrive_as_they_were_sent(world: Lab, kind: str) -> None:
    answer = world.talk(request(f"/v1/noise?type={kind}"), answers=1).only
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(NOISE).digest()


def test_upstreams_are_asked_for_plain_bytes_and_their_gzip_is_passed_on(world: Lab) -> None:
    answer = world.talk(request("/v1/packed", "Accept-Encoding: gzip, br"), answers=1).only
    assert world.upstream.requests[0].header("accept-encoding") == ["identity"]
    assert gzip.decompress(answer.body) == NOISE
