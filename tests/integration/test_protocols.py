"""HTTP/1.1, HTTP/2, gRPC and WebSocket through the real sidecar, by real clients where there is one."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import HOST, SECOND, Lab, lab
from tests.netns import INTERNET_V6, MISSING
from tests.raw_client import Answer, ask, tls
from tests.raw_h2 import Field, Http2
from tests.upstreams import Gate, Handler, answering, echo, produce, raw, websocket
from tests.upstreams_grpc import GrpcUpstream

GRPC_NAME = "grpc.more.lab.example"
HEAD_ONLY = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-type: text/plain\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok"

gate = Gate(echo)
ROUTES: dict[str, Handler] = {
    "/v1/bytes": produce,
    "/v1/socket": websocket,
    "/v1/held": gate,
    "/v1/none": answering(204),
    "/v1/same": answering(304, b"", ("etag", '"1"'), ("content-length", "1000")),
    "/v1/head": raw(HEAD_ONLY, closes=False),
    "/v1/hints": raw(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", OK, closes=False),
    "/v1/hurry": raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, closes=False),
    "/v1/old": raw(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n", b"until the end"),
    "/v1/sections": raw(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/plain\r\n\r\n",
        b"2\r\nok\r\n0\r\nx-checksum: 1\r\n\r\n",
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


def request(path: str, *lines: str, method: str = "GET", host: str = HOST) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def credentials(world: Lab) -> list[str]:
    """What reached the upstream, of all requests."""
    return [value for one in world.upstream.requests for value in one.header("authorization")]


# --- HTTP/1.1 ----------------------------------------------------------------------------------------


def test_one_connection_serves_many_requests_and_keeps_one_upstream(world: Lab) -> None:
    with tls(world.pod, HOST) as sock:
        for number in range(20):
            assert ask(sock, request(f"/v1/{number}")).status == 200
    assert [one.target for one in world.upstream.requests] == [f"/v1/{number}" for number in range(20)]
    assert len(world.upstream.carriers) == 1
    assert {*credentials(world)} == {f"Bearer {world.token}"}


def test_pipelined_requests_are_answered_in_their_order(world: Lab) -> None:
    sent = [
        request("/v1/1"),
        request("/v1/2", "Content-Length: 5", method="POST") + b"hello",
        request("/nowhere"),
        request("/v1/3"),
    ]
    reply = world.talk(b"".join(sent), answers=4)
    assert [answer.status for answer in reply.answers] == [200, 200, 403, 200]
    assert [one.target for one in world.upstream.requests] == ["/v1/1", "/v1/2", "/v1/3"]
    assert world.upstream.requests[1].body == b"hello"


def test_a_request_in_single_bytes_is_one_request(world: Lab) -> None:
    sent = request("/v1/slow", "Content-Length: 3", method="POST") + b"abc"
    reply = world.talk(*(bytes([byte]) for byte in sent), answers=1)
    assert reply.only.status == 200
    assert world.upstream.requests[0].body == b"abc"


def test_ipv6_is_like_ipv4(world: Lab) -> None:
    before = world.sidecar.audited()
    assert world.talk(request("/v1/x"), answers=1, address=INTERNET_V6).only.status == 200
    assert world.new_audit(before)[0]["upstream"] == f"[{INTERNET_V6}]:443"


def test_a_chunked_upload_arrives_in_chunks_and_whole(world: Lab) -> None:
    body = bytes(range(256)) * 4000
    pieces = [body[at : at + 30_000] for at in range(0, len(body), 30_000)]
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    head = request("/v1/up", "Transfer-Encoding: chunked", method="POST")
    answer = world.talk(head, *chunks, b"0\r\n\r\n", answers=1).only
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
    assert world.upstream.requests[0].header("transfer-encoding") == ["chunked"]
    assert world.upstream.requests[0].header("content-length") == []


@pytest.mark.parametrize(
    ("method", "path", "status", "length"),
    [("HEAD", "/v1/head", 200, "1000"), ("GET", "/v1/none", 204, None), ("GET", "/v1/same", 304, "1000")],
)
def test_an_answer_without_a_body_leaves_the_connection_in_order(
    world: Lab, method: str, path: str, status: int, length: str | None
) -> None:
    reply = world.talk(request(path, method=method) + request("/v1/x"), answers=2, methods=[method, "GET"])
    first, second = reply.answers
    assert (first.status, first.header("content-length"), first.body) == (status, length, b"")
    assert second.status == 200


def test_a_refused_head_has_no_body_either(world: Lab) -> None:
    reply = world.talk(
        request("/nowhere", method="HEAD") + request("/v1/x"), answers=2, methods=["HEAD", "GET"]
    )
    first, second = reply.answers
    assert (first.status, first.reason, second.status) == (403, "path_not_granted", 200)


@pytest.mark.parametrize("path", ["/v1/hints", "/v1/hurry"])
def test_what_an_upstream_announces_before_its_answer_is_not_taken_for_it(world: Lab, path: str) -> None:
    reply = world.talk(request(path) + request("/v1/x"), answers=2)
    assert [answer.status for answer in reply.final] == [200, 200]
    assert reply.final[0].body == b"ok"


def test_a_body_that_ends_with_its_connection_arrives_whole(world: Lab) -> None:
    reply = world.talk(request("/v1/old"))
    assert (reply.only.body, reply.end) == (b"until the end", "eof")


def test_an_answer_with_trailers_arrives_without_them(world: Lab) -> None:
    reply = world.talk(request("/v1/sections") + request("/v1/x"), answers=2)
    first, second = reply.answers
    assert (first.body, first.trailers, second.status) == (b"ok", (), 200)


# --- which protocol ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2", "http/1.1"], "http/1.1"),
        (["http/1.1", "h2"], "http/1.1"),
        (["http/1.1"], "http/1.1"),
        (["h2"], "h2"),
        ([], None),
    ],
)
def test_http1_is_chosen_wherever_the_client_speaks_it(
    world: Lab, offered: list[str], chosen: str | None
) -> None:
    with tls(world.pod, HOST, offered) as sock:
        assert sock.selected_alpn_protocol() == chosen
        if chosen != "h2":
            assert ask(sock, request("/v1/x")).status == 200
            (connection,) = world.upstream.carriers
            assert connection.alpn == "http/1.1"


# --- HTTP/2 ------------------------------------------------------------------------------------------


def fields(path: str, method: str = "GET", authority: str = HOST) -> list[Field]:
    pairs = [(":method", method), (":scheme", "https"), (":path", path), (":authority", authority)]
    return [(name.encode(), value.encode()) for name, value in pairs]


def statuses(outcome: dict[int, Answer | str]) -> dict[int, int | str]:
    return {number: one.status if isinstance(one, Answer) else one for number, one in outcome.items()}


def test_streams_of_one_h2_connection_are_judged_each_for_itself_and_share_an_upstream(world: Lab) -> None:
    client = Http2()
    client.open(1, fields("/v1/a", "POST"), ends=False)
    client.open(3, fields("/nowhere"))
    client.open(5, fields("/v1/b"))
    client.open(7, fields("/v1/c", "DELETE"))
    client.open(9, fields("/v1/d", "POST"), ends=False)
    client.data(9, b"dd")
    client.data(1, b"a", ends=False)
    client.data(1, b"aa")
    reply = world.talk(client.sent, alpn=["h2"], streams=5)
    outcome = client.read(reply.data)
    assert statuses(outcome) == {1: 200, 3: 403, 5: 200, 7: 403, 9: 200}
    lengths = {one.path: one.body_size for one in world.upstream.requests}
    assert lengths == {"/v1/a": 3, "/v1/b": 0, "/v1/d": 2}
    assert {one.version for one in world.upstream.requests} == {"HTTP/2"}
    assert {*credentials(world)} == {f"Bearer {world.token}"}
    assert len(world.upstream.connections) == 1
    refused = outcome[3]
    assert isinstance(refused, Answer)
    assert refused.reason == "path_not_granted"
    assert b"podkey explain" in refused.body


def test_a_stream_that_waits_holds_up_no_other(world: Lab) -> None:
    gate.open.clear()
    client = Http2()
    client.open(1, fields("/v1/held"))
    client.open(3, fields("/v1/b"))
    reply = world.talk(client.sent, alpn=["h2"], streams=1)
    gate.open.set()
    assert statuses(client.read(reply.data)) == {3: 200}


def test_an_h2_client_at_an_http1_upstream_is_refused_before_any_byte_of_its_body(world: Lab) -> None:
    name = "old.more.lab.example"
    with world.second(name, alpn=["http/1.1"]) as upstream:
        client = Http2()
        client.open(1, fields("/v1/a", "POST", name), ends=False)
        client.data(1, b"hello")
        outcome = client.read(world.talk(client.sent, name=name, alpn=["h2"], streams=1, address=SECOND).data)
        answer = outcome[1]
        assert isinstance(answer, Answer)
        assert (answer.status, answer.reason) == (502, "upstream_failed")
        assert upstream.received == 0


HTTPX = """
import asyncio, hashlib, httpx, json, os, ssl
class OnlyHttp2(ssl.SSLContext):
    def set_alpn_protocols(self, _protocols):
        # httpx offers http/1.1 even where it is told not to speak it.
        super().set_alpn_protocols(["h2"])
async def main():
    context = OnlyHttp2(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(os.environ["SSL_CERT_FILE"])
    async with httpx.AsyncClient(http2=True, verify=context, timeout=20) as client:
        async def call(number):
            body = bytes([number]) * 300_000
            answer = await client.post("https://api.lab.example/v1/up", content=body)
            down = await client.get("https://api.lab.example/v1/bytes?bytes=300000")
            same = answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
            return [answer.http_version, answer.status_code, same, len(down.content)]
        found = await asyncio.gather(*(call(number) for number in range(8)))
    print(json.dumps(found))
asyncio.run(main())
"""


def test_httpx_moves_bodies_both_ways_in_many_h2_streams_at_once(world: Lab) -> None:
    done = world.pod.run_app(HTTPX)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["HTTP/2", 200, True, 300_000]] * 8
    assert len(world.upstream.connections) == 1


# --- gRPC --------------------------------------------------------------------------------------------

GRPC = """
import grpc, json
found = {}
def told(call):
    return {"code": call.code().name, "details": call.details(),
            "trailers": {k: v for k, v in call.trailing_metadata() or ()},
            "initial": {k: v for k, v in call.initial_metadata() or ()}}
with grpc.secure_channel("grpc.more.lab.example:443", grpc.ssl_channel_credentials()) as channel:
    def failing(method):
        try:
            channel.unary_unary(f"/podkey.Echo/{method}")(b"x", timeout=10)
        except grpc.RpcError as error:
            return told(error)
    answer, call = channel.unary_unary("/podkey.Echo/Unary").with_call(
        b"hello" * 20000, timeout=10, metadata=[("authorization", "Bearer mine"), ("x-mine", "1")])
    found["unary"] = [len(answer), told(call)]
    stream = channel.unary_stream("/podkey.Echo/Download")(b"50", timeout=10)
    found["download"] = [message.decode() for message in stream]
    found["upload"] = channel.stream_unary("/podkey.Echo/Upload")(
        iter([b"x" * 1000] * 300), timeout=10).decode()
    # Each message is an answer to the one before: nothing is held back in either direction.
    import queue
    wanted = queue.SimpleQueue()
    talk = channel.stream_stream("/podkey.Echo/Talk")(iter(wanted.get, None), timeout=10)
    said = b"0"
    found["talk"] = []
    for number in range(5):
        wanted.put(said)
        said = next(talk)
        found["talk"].append(said.decode())
    wanted.put(None)
    found["end of talk"] = [list(talk), told(talk)]
    found["fail"] = failing("Fail")
    found["refused"] = failing("Secret")
    refused = channel.stream_stream("/podkey.Echo/Other")(iter([b"a"] * 3), timeout=10)
    try:
        list(refused)
    except grpc.RpcError as error:
        found["refused stream"] = told(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def grpc_calls(shared: Lab) -> Iterator[tuple[dict[str, Any], list[tuple[str, dict[str, str]]]]]:
    pod = shared.pod
    pod.resolve(GRPC_NAME, to=[SECOND])
    certificate = pod.upstream_certificate(GRPC_NAME)
    with GrpcUpstream(*certificate, ns=pod.network.net, address=SECOND) as server:
        done = pod.run_app(GRPC, env={"PYTHONWARNINGS": None})
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout), server.calls


Calls = tuple[dict[str, Any], list[tuple[str, dict[str, str]]]]


def test_a_unary_call_keeps_its_trailers_and_gets_our_credential(grpc_calls: Calls, shared: Lab) -> None:
    size, told = grpc_calls[0]["unary"]
    assert (size, told["code"], told["trailers"]["x-trailer"]) == (100_000, "OK", "after Unary")
    method, metadata = grpc_calls[1][0]
    assert (method, metadata["authorization"], metadata["x-mine"]) == ("Unary", f"Bearer {shared.token}", "1")


def test_streams_of_messages_flow_in_both_directions(grpc_calls: Calls) -> None:
    found = grpc_calls[0]
    assert found["download"] == [str(number) for number in range(50)]
    assert found["upload"] == "300000"
    assert found["talk"] == ["re: " * count + "0" for count in range(1, 6)]
    rest, told = found["end of talk"]
    assert (rest, told["code"], told["trailers"]["x-trailer"]) == ([], "OK", "after Talk")


def test_an_error_of_the_server_reaches_the_client_as_it_is(grpc_calls: Calls) -> None:
    told = grpc_calls[0]["fail"]
    assert (told["code"], told["details"]) == ("RESOURCE_EXHAUSTED", "no more of this")
    assert told["trailers"]["x-trailer"] == "after Fail"


@pytest.mark.parametrize("which", ["refused", "refused stream"])
def test_a_refused_call_is_permission_denied_with_our_message(grpc_calls: Calls, which: str) -> None:
    told = grpc_calls[0][which]
    assert told["code"] == "PERMISSION_DENIED"
    assert told["details"].startswith("podkey refused POST https://grpc.more.lab.example/podkey.Echo/")
    assert "podkey explain" in told["details"]
    assert "path_not_granted" in {told["initial"].get("podkey-reason"), told["trailers"].get("podkey-reason")}
    assert {method for method, _ in grpc_calls[1]} == {"Unary", "Download", "Upload", "Talk", "Fail"}


# --- WebSocket ---------------------------------------------------------------------------------------

WEBSOCKET = """
import json, sys, time
from websockets.sync.client import connect
from websockets.exceptions import InvalidStatus
found = {}
own = {"Authorization": "Bearer mine"}
with connect("wss://api.lab.example/v1/socket", additional_headers=own) as socket:
    socket.send("hello")
    found["text"] = socket.recv(timeout=10)
    socket.send(b"x" * 1_000_000)
    found["binary"] = len(socket.recv(timeout=10))
    for number in range(100):
        socket.send(str(number))
    found["many"] = [socket.recv(timeout=10) for _ in range(100)] == [str(number) for number in range(100)]
    found["pong"] = socket.ping().wait(10)
    time.sleep(float(sys.argv[1]))
    socket.send("still there")
    found["after a while"] = socket.recv(timeout=10)
found["close"] = socket.close_code
try:
    connect("wss://api.lab.example/nowhere").__enter__()
except InvalidStatus as error:
    found["refused"] = [error.response.status_code, error.response.headers["podkey-reason"]]
print(json.dumps(found))
"""


def test_a_websocket_gets_the_credential_once_and_then_passes_frames_both_ways(world: Lab) -> None:
    before = world.sidecar.audited()
    done = world.pod.run_app(WEBSOCKET, "0.5")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "text": "hello",
        "binary": 1_000_000,
        "many": True,
        "pong": True,
        "after a while": "still there",
        "close": 1000,
        "refused": [403, "path_not_granted"],
    }
    (handshake,) = world.upstream.requests
    assert handshake.header("authorization") == [f"Bearer {world.token}"]
    (connection,) = world.upstream.carriers
    assert connection.received > 1_000_000
    assert bytes(connection.kept).count(world.token.encode()) == 1
    world.upstream.wait_until(connection.ended.is_set)
    records = {record["status"]: record for record in world.new_audit(before, 2)}
    assert records[101]["ending"] == "completed"
    assert min(records[101]["sentBytes"], records[101]["receivedBytes"]) > 1_000_000
    assert records[403]["ending"] == "refused"
