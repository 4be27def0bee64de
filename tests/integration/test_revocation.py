"""What an upstream, or a new policy, takes away: leases that are worth nothing, and requests on their way."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import pytest

from tests.canary import Canary, shared_canary
from tests.netns import MISSING
from tests.raw_client import Answer, Reply, talk, tls
from tests.raw_h2 import Field, Http2
from tests.sidecar_pod import SidecarPod, sidecar_pod, wait_for
from tests.upstreams import Handler, Request, Upstream, tls_context, websocket

HOST: Final = "api.lab.example"
STORE: Final = "store.lab.example"
PROTOCOLS: Final = ("http/1.1", "h2")
# A mounted secret is read again after a second: until then a lease that is spent has no successor.
STALE_SECONDS: Final = 1.3
# From the new file to the end of what it takes away.
CUT_SECONDS: Final = 1.0

SOURCES: Final = """
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: lab, namespace: training}
spec: {mountedSecret: {secretName: lab, key: token}, attach: {bearer: {}}}
---
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: store}
spec:
  title: Store
  summary: It says with a code of S3 that a credential is spent.
  endpoints: [{hosts: [store.lab.example]}]
  attach: [{bearer: {}}]
  spent: [{status: 403, codes: [ExpiredToken]}]
"""


def policy(name: str, path: str, on_revoke: str = "finish", more: str = "") -> str:
    return f"""---
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {{name: {name}, namespace: training}}
spec:
  workloads: {{serviceAccounts: [trainer]}}
  onRevoke: {on_revoke}
  grants:
    - {{hosts: [api.lab.example], paths: ["{path}"], credential: lab}}
{more}
"""


STORE_GRANT: Final = "    - {service: store, credential: lab}"


class Tokens:
    """The one that counts, which the secret's file has; to replace it revokes the one before."""

    def __init__(self, pod: SidecarPod, canary: Canary) -> None:
        self._pod = pod
        self._canary = canary
        self.valid = canary.secret("a token")

    def rotate(self) -> None:
        self.valid = self._canary.secret("a token")
        self._pod.write_secret("lab", {"token": self.valid.encode()})


class Door:
    """Takes the token that counts. Told to revoke, it does so when the next request is there."""

    def __init__(self) -> None:
        self.tokens: Tokens | None = None
        self.revokes = False
        # Answers whatever token comes with this status and body.
        self.always: tuple[int, bytes] | None = None
        self.refusal: tuple[int, bytes] = (401, b'{"error": "token revoked"}')

    def __call__(self, request: Request) -> None:
        request.read()
        assert self.tokens is not None
        if self.always is not None:
            request.answer(*self.always)
            return
        if self.revokes:
            self.revokes = False
            self.tokens.rotate()
            # Until the sidecar looks into the file again.
            threading.Event().wait(STALE_SECONDS)
        if request.header("authorization") == [f"Bearer {self.tokens.valid}"]:
            request.answer(200, b'{"hello": "world"}')
        else:
            request.answer(*self.refusal)


class Pour:
    """A body without an end, until the test ends it, piece by piece."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        # How each of them ended for the upstream.
        self.ended: list[str] = []

    def __call__(self, request: Request) -> None:
        request.read()
        request.start(200, ("content-type", "application/octet-stream"))
        reset = getattr(request, "reset", request.connection.ended)
        how = "cut"
        try:
            while not self.stop.wait(0.02) and not reset.is_set():
                request.send(b"x" * 1000)
            if not reset.is_set():
                request.send(b"the end")
                request.end()
                how = "whole"
        finally:
            self.ended.append(f"{request.path} {how}")


door, pour = Door(), Pour()
ROUTES: Final[dict[str, Handler]] = {
    "/v1/door": door,
    "/v1/pour": pour,
    "/v2/pour": pour,
    "/v1/socket": websocket,
}


class World:
    def __init__(self, pod: SidecarPod, upstream: Upstream, tokens: Tokens) -> None:
        self.pod = pod
        self.upstream = upstream
        self.tokens = tokens
        self._before = 0
        self._policy = SOURCES + GRANTS

    def settle(self) -> None:
        self.pod.sidecar.wait_idle()
        self._before = self.pod.sidecar.audited()
        self.upstream.clear()

    def records(self, count: int = 1) -> list[dict[str, Any]]:
        return self.pod.sidecar.wait_audit(self._before + count)[self._before :]

    def replace(self, *policies: str, sources: str = SOURCES) -> float:
        """When the new files were there."""
        self._policy = sources + "".join(policies)
        self.pod.write_policy(self._policy)
        return time.monotonic()

    def apply(self, *policies: str) -> None:
        """And wait until they are in force."""
        if self._policy != SOURCES + "".join(policies):
            count = sum(line["event"] == "policy applied" for line in self.pod.sidecar.log_lines())
            self.replace(*policies)
            self.pod.sidecar.wait_log("policy applied", count=count + 1)

    def ask(self, protocol: str, method: str, path: str, body: bytes = b"", host: str = HOST) -> Answer:
        if protocol == "h2":
            client = Http2(window=2**24)
            client.open(1, fields(method, path, host), ends=not body)
            for start in range(0, len(body), 16_384):
                client.data(1, body[start : start + 16_384], ends=start + 16_384 >= len(body))
            reply = self._talk(client.sent, host, alpn=["h2"], streams=1)
            answer = client.read(reply.data)[1]
            assert isinstance(answer, Answer), answer
            return answer
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        return self._talk(head.encode() + body, host, answers=1, methods=[method]).only

    def _talk(self, data: bytes, host: str, **options: Any) -> Reply:
        return talk(self.pod, data, name=host, **options)

    def sent(self) -> list[tuple[str, bytes, bool]]:
        """Method, body and whether the token counts by now, of each request that came."""
        good = [f"Bearer {self.tokens.valid}"]
        return [(one.method, one.body, one.header("authorization") == good) for one in self.upstream.requests]


def fields(method: str, path: str, host: str = HOST) -> list[Field]:
    pairs = [(":method", method), (":scheme", "https"), (":path", path), (":authority", host)]
    return [(name.encode(), value.encode()) for name, value in pairs]


GRANTS: Final = policy("lab", "/v1/**", "finish", STORE_GRANT)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    if MISSING:
        pytest.skip(MISSING)
    with shared_canary() as canary, sidecar_pod(canary) as pod:
        pod.resolve(HOST, STORE)
        context = tls_context(*pod.upstream_certificate(HOST, STORE), alpn=("h2", "http/1.1"))
        with Upstream(context, ROUTES, ns=pod.network.net) as upstream:
            tokens = door.tokens = Tokens(pod, canary)
            pod.start_sidecar(SOURCES + GRANTS, {"lab": {"token": tokens.valid.encode()}})
            yield World(pod, upstream, tokens)
            assert pod.sidecar.metric("podkey_fail_open_total") == 0
            errors = [line for line in pod.sidecar.log_lines() if line["event"] == "unexpected error"]
            assert not errors, errors


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    door.revokes, door.always, door.refusal = False, None, (401, b'{"error": "token revoked"}')
    pour.stop.clear()
    pour.ended.clear()
    shared.apply(GRANTS)
    shared.settle()
    yield shared
    pour.stop.set()


# --- leases that the upstream calls spent ----------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_token_that_was_revoked_is_replaced_and_the_application_sees_one_200(
    world: World, protocol: str
) -> None:
    before = world.pod.sidecar.metric("podkey_leases_spent_total", retried="true")
    door.revokes = True

    answer = world.ask(protocol, "GET", "/v1/door")

    assert (answer.status, answer.body) == (200, b'{"hello": "world"}')
    assert world.sent() == [("GET", b"", False), ("GET", b"", True)]
    (record,) = world.records()
    assert (record["retried"], record["status"], record["verdict"]) == (True, 200, "attach")
    assert record["receivedBytes"] == len(answer.body)
    assert world.pod.sidecar.metric("podkey_leases_spent_total", retried="true") == before + 1
    # Both tries went over one connection; in HTTP/2 they are two streams of it.
    assert len(world.upstream.carriers) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_small_upload_is_sent_again_byte_for_byte(world: World, protocol: str) -> None:
    body = bytes(range(256)) * 200
    door.revokes = True

    answer = world.ask(protocol, "PUT", "/v1/door", body)

    assert answer.status == 200
    assert world.sent() == [("PUT", body, False), ("PUT", body, True)]
    assert world.records()[0]["sentBytes"] == len(body)


# The client of HTTP/2 sends all at once, which must fit into a stream's window.
@pytest.mark.parametrize(
    ("protocol", "method", "size"),
    [
        ("http/1.1", "POST", 2),
        ("h2", "POST", 2),
        ("http/1.1", "PUT", 1024 * 1024),
        ("h2", "PUT", 200_000),
    ],
)
def test_what_must_not_be_repeated_gets_the_refusal_as_it_is(
    world: World, protocol: str, method: str, size: int
) -> None:
    door.revokes = True

    answer = world.ask(protocol, method, "/v1/door", b"x" * size)

    assert (answer.status, answer.body) == door.refusal
    assert [one.body_size for one in world.upstream.requests] == [size]
    assert world.records()[0]["retried"] is False


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_second_refusal_is_final(world: World, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    door.revokes = True
    door.refusal = (401, b"no")
    rotate = world.tokens.rotate

    def in_vain() -> None:
        """Who comes with the next one is not let in, either."""
        rotate()
        door.always = (401, b"never")

    monkeypatch.setattr(world.tokens, "rotate", in_vain)
    answer = world.ask(protocol, "GET", "/v1/door")

    assert (answer.status, answer.body) == (401, b"never")
    assert len(world.upstream.requests) == 2
    (record,) = world.records()
    assert (record["retried"], record["status"]) == (True, 401)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("code", "tries"), [("ExpiredToken", 2), ("AccessDenied", 1)])
def test_of_two_codes_of_a_403_only_one_means_the_credential(
    world: World, protocol: str, code: str, tries: int
) -> None:
    door.revokes = True
    door.refusal = (403, f"<?xml version='1.0'?>\n<Error><Code>{code}</Code></Error>".encode())

    answer = world.ask(protocol, "GET", "/v1/door", host=STORE)

    assert answer.status == (200 if tries == 2 else 403)
    assert len(world.upstream.requests) == tries
    if tries == 1:
        assert answer.body == door.refusal[1]


def test_an_upstream_that_always_refuses_costs_the_source_nothing(world: World) -> None:
    """The lease is young, so the refusal means something else: it is not tried again, and passes as it is."""
    door.always = (401, b"you are nobody")
    began = time.monotonic()

    answers = [world.ask("http/1.1", "GET", "/v1/door") for _ in range(20)]

    assert {(answer.status, answer.body) for answer in answers} == {(401, b"you are nobody")}
    assert len(world.upstream.requests) == 20
    assert time.monotonic() - began < 10


# --- grants that are taken away ----------------------------------------------------------------------------


class Download:
    """A request of the application that is on its way, read by a thread."""

    def __init__(self, world: World, protocol: str, *paths: str) -> None:
        self._sock = tls(world.pod, HOST, [protocol])
        self._client = Http2(window=2**24)
        if protocol == "h2":
            for index, path in enumerate(paths):
                self._client.open(2 * index + 1, fields("GET", path))
            self._sock.sendall(self._client.sent)
        else:
            self._sock.sendall(f"GET {paths[0]} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        self.data = bytearray()
        self.ended: float | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while more := self._sock.recv(65_536):
                self.data += more
        except OSError:
            pass
        self.ended = time.monotonic()

    def outcome(self) -> dict[int, Answer | str]:
        """Of each stream, so far. To be asked once."""
        return self._client.read(bytes(self.data))

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._sock.close()


@pytest.fixture
def download(world: World) -> Iterator[Callable[..., Download]]:
    made: list[Download] = []

    def start(protocol: str, *paths: str) -> Download:
        made.append(Download(world, protocol, *paths))
        wait_for(lambda: len(made[-1].data) > 3000, "the first bytes")
        return made[-1]

    yield start
    for one in made:
        one.close()
    pour.stop.set()


def test_a_download_whose_grant_is_taken_away_ends_at_once_where_its_policy_says_so(
    world: World, download: Callable[..., Download]
) -> None:
    world.apply(policy("lab", "/v1/**", "cut", STORE_GRANT))
    before = world.pod.sidecar.metric("podkey_requests_cut_total")
    under_way = download("http/1.1", "/v1/pour")

    began = world.replace(policy("lab", "/v2/**", "finish", STORE_GRANT))

    ended = wait_for(lambda: under_way.ended, "the end of the download")
    assert ended - began < CUT_SECONDS
    assert not bytes(under_way.data).endswith(b"0\r\n\r\n")
    wait_for(lambda: pour.ended == ["/v1/pour cut"], "the upstream's end")
    (record,) = world.records()
    assert (record["ending"], record["status"], record["policy"]) == ("cut", 200, "training/lab")
    assert world.pod.sidecar.metric("podkey_requests_cut_total") == before + 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_download_whose_policy_says_nothing_of_it_is_finished(
    world: World, download: Callable[..., Download], protocol: str
) -> None:
    under_way = download(protocol, "/v1/pour")
    world.apply(policy("lab", "/v2/**", "cut", STORE_GRANT))

    pour.stop.set()

    wait_for(lambda: b"the end" in under_way.data, "the end of the download")
    assert pour.ended == ["/v1/pour whole"]
    assert world.records()[0]["ending"] == "completed"


def test_streams_of_other_grants_on_the_connection_live_on(
    world: World, download: Callable[..., Download]
) -> None:
    other = policy("other", "/v2/**", "cut")
    world.apply(policy("lab", "/v1/**", "cut", STORE_GRANT), other)
    under_way = download("h2", "/v1/pour", "/v2/pour")
    wait_for(lambda: len(world.upstream.requests) == 2, "both streams")

    began = world.replace(other)
    wait_for(lambda: pour.ended == ["/v1/pour cut"], "the end of one stream")
    assert time.monotonic() - began < CUT_SECONDS
    pour.stop.set()
    wait_for(lambda: len(pour.ended) == 2, "the end of the other")
    wait_for(lambda: b"the end" in under_way.data, "its last bytes")

    outcome = under_way.outcome()
    assert str(outcome[1]).startswith("reset")
    answer = outcome[3]
    assert isinstance(answer, Answer)
    assert answer.body.endswith(b"the end")
    assert len(world.upstream.carriers) == 1
    endings = {record["path"]: record["ending"] for record in world.records(2)}
    assert endings == {"/v1/pour": "cut", "/v2/pour": "completed"}


def test_a_source_that_is_taken_away_takes_its_requests_with_it(
    world: World, download: Callable[..., Download]
) -> None:
    world.apply(policy("lab", "/v1/**", "cut", STORE_GRANT))
    under_way = download("http/1.1", "/v1/pour")

    # Another secret by the same name.
    began = world.replace(
        policy("lab", "/v1/**", "cut", STORE_GRANT),
        sources=SOURCES.replace("secretName: lab", "secretName: elsewhere"),
    )

    ended = wait_for(lambda: under_way.ended, "the end of the download")
    assert ended - began < CUT_SECONDS


def test_a_websocket_is_closed_when_its_grant_is_taken_away(world: World) -> None:
    world.apply(policy("lab", "/v1/**", "cut", STORE_GRANT))
    with tls(world.pod, HOST) as sock:
        sock.sendall(
            f"GET /v1/socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 101 ")

        world.replace(policy("lab", "/v2/**", "finish", STORE_GRANT))

        sock.settimeout(CUT_SECONDS)
        assert _ends(sock)
    assert world.records()[0]["ending"] == "cut"


def _ends(sock: Any) -> bool:
    try:
        return not sock.recv(1000)
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_policy_that_still_grants_it_cuts_nothing(world: World, download: Callable[..., Download]) -> None:
    world.apply(policy("lab", "/v1/**", "cut", STORE_GRANT))
    under_way = download("http/1.1", "/v1/pour")

    world.apply(policy("renamed", "/v1/*", "cut", STORE_GRANT))
    pour.stop.set()

    wait_for(lambda: b"the end" in under_way.data, "the end of the download")
    assert pour.ended == ["/v1/pour whole"]
