"""What breaks around the real sidecar, and in it: no credential leaves, and everybody else goes on."""

import os
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from proxy.core.hosts import Hostname
from proxy.x509.certificates import certificate_pem, key_pem, new_key, read_certificates, read_key, sign_leaf
from tests.canary import Canary
from tests.lab import HOST, POLICY, SECOND, Lab, lab
from tests.netns import INTERNET_V4, MISSING
from tests.raw_client import Answer, ask, is_closed, tls
from tests.raw_h2 import PREFACE, Http2
from tests.sidecar_pod import in_namespace, wait_for
from tests.upstreams import Gate, Handler, discard, drip, hang_up, produce, raw, reflect, stall

# Short enough to wait for, long enough for a busy machine.
IDLE = 2.0
CONNECT = 1.0
HEADER = 1.0
TIMEOUTS: dict[str, Any] = {
    "idle_timeout": f"{IDLE:g}s",
    "connect_timeout": f"{CONNECT:g}s",
    "header_timeout": f"{HEADER:g}s",
}
NAME = Hostname("new.more.lab.example")
HOUR = timedelta(hours=1)
IDLE_CONNECTIONS = 2000
MIB = 1024**2

gate = Gate(reflect)
ROUTES: dict[str, Handler] = {
    "/v1/stall": stall,
    "/v1/drip": drip(6, IDLE / 4),
    "/v1/gone": hang_up,
    "/v1/half": raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-type: text/plain\r\n\r\n", b"half\n"
    ),
    "/v1/half-chunked": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nhalf\n\r\n"),
    "/v1/half-head": raw(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "/v1/nonsense": raw(b"\x00\x01\x02 nonsense\r\n\r\n"),
    "/v1/two-lengths": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    "/v1/both": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "/v1/switch": raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n", b"anything"),
    "/v1/more": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"HTTP/1.1 200 OK\r\n\r\nsmuggled"),
    "/v1/discard": discard,
    "/v1/bytes": produce,
    "/v1/reflect": reflect,
    "/v1/held": gate,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    if MISSING:
        pytest.skip(MISSING)
    with lab(ROUTES, **TIMEOUTS) as one:
        yield one
        one.check_health()


@pytest.fixture
def world(shared: Lab) -> Iterator[Lab]:
    shared.settle()
    yield shared
    # Whatever it was: the sidecar goes on, for everybody else.
    assert shared.talk(request("/v1/x"), answers=1).only.status == 200


def request(path: str, *lines: str, method: str = "GET", host: str = HOST) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


# --- upstreams that prove another name, or none ------------------------------------------------------------


def call_second(world: Lab, path: str = "/v1/x") -> Answer:
    return world.talk(request(path, host=NAME), name=NAME, address=SECOND, answers=1).only


CERTIFICATES: dict[str, tuple[tuple[str, ...], dict[str, bool]]] = {
    "another name": (("other.more.lab.example",), {}),
    "a name above": (("more.lab.example",), {}),
    "a wildcard of another level": (("*.lab.example",), {}),
    "its address": ((SECOND,), {}),
    "expired": ((NAME,), {"expired": True}),
    "of an unknown authority": ((NAME,), {"other_ca": True}),
}


@pytest.mark.parametrize(("names", "how"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_an_upstream_that_proves_no_name_gets_no_byte(
    world: Lab, names: tuple[str, ...], how: dict[str, bool]
) -> None:
    certificate = world.pod.upstream_certificate(*names, **how)
    with world.second(NAME, certificate=certificate) as upstream:
        answer = call_second(world)
        assert (answer.status, answer.reason) == (502, "upstream_unverified")
        assert (upstream.received, upstream.requests) == (0, [])
        # It was asked for the right name, all the same.
        assert [one.sni for one in upstream.connections] == [NAME]


def test_an_upstream_that_our_own_authority_certified_gets_no_byte(world: Lab) -> None:
    # The application could have such a certificate from us: by asking for the name.
    certificate = world.pod.upstream_certificate(NAME)
    with world.second(NAME, certificate=certificate) as upstream:
        upstream._context = _our_own(world)
        answer = call_second(world)
        assert (answer.status, answer.reason) == (502, "upstream_unverified")
        assert upstream.received == 0


def _our_own(world: Lab) -> ssl.SSLContext:
    """What the sidecar itself would show for the name."""
    files = [path.read_bytes() for path in world.pod.state.rglob("*") if path.is_file()]
    (key,) = filter(None, map(read_key, files))
    (authority,), _ = read_certificates(world.pod.ca.read_bytes())
    own, now = new_key(), datetime.now(UTC)
    leaf = sign_leaf(NAME, own, authority, key, begins=now - HOUR, ends=now + HOUR)
    file = world.pod.folder / "own.pem"
    file.write_bytes(certificate_pem(leaf) + key_pem(own))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    file.unlink()
    return context


# --- upstreams that do not answer --------------------------------------------------------------------------


def test_an_upstream_that_is_not_there_is_told_at_once(world: Lab) -> None:
    world.pod.resolve(NAME, to=[SECOND])
    answer = call_second(world)
    assert (answer.status, answer.reason) == (502, "upstream_unreachable")


def test_an_upstream_without_a_handshake_is_given_up_within_the_connect_timeout(world: Lab) -> None:
    with world.second(NAME, speaks_tls=False) as upstream:
        reply = world.talk(request("/v1/x", host=NAME), name=NAME, address=SECOND, answers=1)
        assert (reply.only.status, reply.only.reason) == (502, "upstream_unreachable")
        upstream.wait_until(upstream.connections[0].ended.is_set)
        # A ClientHello, and no more.
        assert b"Bearer" not in upstream.connections[0].kept


def test_an_upstream_that_speaks_no_tls_gets_no_byte(world: Lab) -> None:
    world.pod.resolve(NAME, to=[SECOND])
    with world.pod.listen(443, SECOND) as listener:
        heard: list[bytes] = []

        def answer_in_cleartext() -> None:
            sock, _ = listener.accept()
            with sock:
                heard.append(sock.recv(65_536))
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                with suppress(OSError):
                    heard.append(sock.recv(65_536))

        thread = threading.Thread(target=answer_in_cleartext)
        thread.start()
        answer = call_second(world)
        thread.join()
    assert (answer.status, answer.reason) == (502, "upstream_unverified")
    assert world.token.encode() not in b"".join(heard)


def test_an_upstream_that_never_answers_is_told_to_have_stalled(world: Lab) -> None:
    before = world.sidecar.audited()
    answer = world.talk(request("/v1/stall"), answers=1).only
    assert (answer.status, answer.reason) == (504, "upstream_stalled")
    (connection,) = world.upstream.carriers
    world.upstream.wait_until(connection.ended.is_set)
    assert world.new_audit(before)[0]["reason"] == "upstream_stalled"


def test_an_h2_upstream_that_never_answers_is_told_to_have_stalled(world: Lab) -> None:
    client = Http2()
    path, method = (b":path", b"/v1/stall"), (b":method", b"GET")
    client.open(1, (method, (b":scheme", b"https"), path, (b":authority", HOST.encode())))
    answer = client.read(world.talk(client.sent, alpn=["h2"], streams=1).data)[1]
    assert isinstance(answer, Answer)
    assert (answer.status, answer.reason) == (504, "upstream_stalled")


def test_a_slow_answer_takes_as_long_as_it_moves(world: Lab) -> None:
    reply = world.talk(request("/v1/drip"), answers=1)
    assert (reply.only.body, reply.only.whole) == (b"." * 6, True)
    assert reply.seconds > IDLE


# --- upstreams that break off ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["gone", "half-head", "nonsense", "two-lengths", "both", "switch"])
def test_an_answer_that_cannot_be_read_is_ours_to_give(world: Lab, path: str) -> None:
    answer = world.talk(request(f"/v1/{path}"), answers=1).only
    assert (answer.status, answer.reason) == (502, "upstream_failed")
    assert answer.whole


@pytest.mark.parametrize("path", ["/v1/half", "/v1/half-chunked"])
def test_half_an_answer_is_seen_to_be_half(world: Lab, path: str) -> None:
    before = world.sidecar.audited()
    reply = world.talk(request(path))
    assert (reply.only.status, reply.only.body, reply.only.whole) == (200, b"half\n", False)
    assert reply.end in {"eof", "reset"}
    assert world.new_audit(before)[0]["ending"] == "upstream_failed"


def test_what_an_upstream_says_unasked_is_nobody_s_answer(world: Lab) -> None:
    with tls(world.pod, HOST) as sock:
        assert ask(sock, request("/v1/more")).body == b"ok"
        assert b"smuggled" not in ask(sock, request("/v1/x")).body


# --- clients that go away ----------------------------------------------------------------------------------


def test_a_client_that_leaves_during_its_upload_takes_its_upstream_along(world: Lab) -> None:
    before = world.sidecar.audited()
    with tls(world.pod, HOST) as sock:
        sock.sendall(request("/v1/discard", "Content-Length: 1000000", method="PUT") + bytes(100_000))
        world.upstream.wait_until(lambda: world.upstream.received > 100_000)
    (connection,) = world.upstream.carriers
    world.upstream.wait_until(connection.ended.is_set)
    record = world.new_audit(before)[0]
    assert (record["ending"], record["sentBytes"]) == ("client_gone", 100_000)
    assert not world.upstream.requests[0].complete


def test_a_client_that_leaves_during_its_download_takes_its_upstream_along(world: Lab) -> None:
    before = world.sidecar.audited()
    with tls(world.pod, HOST) as sock:
        sock.sendall(request("/v1/bytes?bytes=1000000000"))
        assert sock.recv(1000)
    (connection,) = world.upstream.carriers
    world.upstream.wait_until(connection.ended.is_set)
    assert world.new_audit(before)[0]["ending"] == "client_gone"


def test_a_client_that_resets_its_connection_ends_only_that(world: Lab) -> None:
    before = world.sidecar.audited()
    gate.open.clear()
    sock = tls(world.pod, HOST)
    sock.sendall(request("/v1/held"))
    world.upstream.wait_until(lambda: len(world.upstream.requests) == 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    try:
        assert world.new_audit(before)[0]["ending"] == "client_gone"
    finally:
        gate.open.set()


# --- garbage -----------------------------------------------------------------------------------------------


def test_garbage_after_the_handshake_is_answered_and_the_connection_ended(world: Lab) -> None:
    reply = world.talk(os.urandom(5000).replace(b"\r", b"x"))
    assert (reply.only.status, reply.end) == (400, "eof")
    assert (world.upstream.connections, world.upstream.received) == ([], 0)


def test_garbage_in_h2_ends_the_connection(world: Lab) -> None:
    reply = world.talk(PREFACE + bytes(range(256)) * 20, alpn=["h2"])
    assert reply.end in {"eof", "reset"}
    assert (world.upstream.connections, world.upstream.received) == ([], 0)


def test_garbage_in_place_of_a_hello_is_relayed_and_gets_no_credential(world: Lab) -> None:
    # Not TLS and not HTTP: some other protocol, which is none of our business.
    with world.pod.dial(INTERNET_V4, 443) as sock:
        sock.sendall(b"\x80" * 3000)
        assert is_closed(sock) or sock.recv(100)
    assert world.upstream.received == 0


@pytest.mark.parametrize("began", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /v1/x HT"])
def test_whoever_does_not_go_on_is_cut_off_after_the_header_timeout(world: Lab, began: bytes) -> None:
    with world.pod.dial(INTERNET_V4, 443) as sock:
        if began:
            sock.sendall(began)
        sock.settimeout(HEADER + IDLE + 4)
        with suppress(ConnectionResetError):
            while sock.recv(1000):
                pass


def test_a_head_that_does_not_go_on_is_cut_off_after_the_header_timeout(world: Lab) -> None:
    reply = world.talk(b"GET /v1/x HTTP/1.1\r\nHost: api.la")
    assert reply.end in {"eof", "reset"}
    assert (world.upstream.connections, world.upstream.received) == ([], 0)


# --- secrets and policies that change ----------------------------------------------------------------------


BAD_SECRETS: list[tuple[dict[str, bytes], str]] = [
    ({"token": b""}, "credential_unavailable"),
    ({"token": b"two\nlines"}, "credential_unusable"),
    ({"other": b"x"}, "credential_unavailable"),
]


def test_a_secret_that_is_empty_or_broken_or_gone_is_a_refusal_until_it_is_back(world: Lab) -> None:
    try:
        for files, reason in BAD_SECRETS:
            world.pod.write_secret("lab", files)
            wait_for(partial(_tells, world, (502, reason)), reason)
            world.upstream.clear()
            assert _tells(world, (502, reason))
            assert (world.upstream.connections, world.upstream.received) == ([], 0)
    finally:
        world.pod.write_secret("lab", {"token": world.token.encode()})
        wait_for(partial(_tells, world, (200, None)), "the secret")


def _tells(world: Lab, wanted: tuple[int, str | None]) -> bool:
    answer = world.talk(request("/v1/discard"), answers=1).only
    return (answer.status, answer.reason) == wanted


def test_a_secret_that_changes_in_flight_is_blotted_out_in_its_old_form(world: Lab) -> None:
    gate.open.clear()
    old, new = world.token, world.pod.canary.secret("a newer token")
    try:
        with tls(world.pod, HOST) as sock:
            sock.sendall(request("/v1/held"))
            world.upstream.wait_until(lambda: len(world.upstream.requests) == 1)
            world.pod.write_secret("lab", {"token": new.encode()})
            wait_for(lambda: _attached(world) == new, "the new secret")
            gate.open.set()
            answer = ask(sock, b"")
            assert answer.body.startswith(b"you sent <***")
            assert old.encode() not in answer.body
            # The connection goes on with what is valid now.
            assert ask(sock, request("/v1/reflect")).status == 200
            assert world.upstream.requests[-1].header("authorization") == [f"Bearer {new}"]
    finally:
        gate.open.set()
        world.pod.write_secret("lab", {"token": old.encode()})
        wait_for(lambda: _attached(world) == old, "the old secret")


def _attached(world: Lab) -> str:
    world.talk(request("/v1/x"), answers=1)
    (value,) = world.upstream.requests[-1].header("authorization")
    return value.removeprefix("Bearer ")


GARBAGE = {
    "no yaml": "\x00\x01 {{{",
    "an unknown field": POLICY.replace("methods:", "metods:"),
    "a credential that is not there": POLICY.replace("credential: lab", "credential: nothing"),
}


def test_a_policy_that_is_replaced_by_garbage_stays_in_force_under_load(world: Lab) -> None:
    pod, sidecar = world.pod, world.sidecar
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        with tls(pod, HOST) as sock:
            while not stop.is_set():
                statuses.append(ask(sock, request("/v1/x")).status)
                statuses.append(ask(sock, request("/nowhere")).status)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number, text in enumerate(GARBAGE.values(), 1):
            pod.write_policy(text)
            sidecar.wait_log("policy rejected, the old one stays in force", count=number)
        count = len(statuses)
        wait_for(lambda: len(statuses) > count + 20, "more requests")
    finally:
        pod.write_policy(POLICY)
        stop.set()
        thread.join()
    assert statuses == [200, 403] * (len(statuses) // 2)
    assert sidecar.metric("podkey_policy_reloads_total", outcome="rejected") == len(GARBAGE)


# --- many that do nothing ----------------------------------------------------------------------------------


def test_two_thousand_idle_connections_hold_up_nobody(canary: Canary) -> None:
    if MISSING:
        pytest.skip(MISSING)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 3 * IDLE_CONNECTIONS:
        pytest.skip(f"at most {before[1]} files may be open here")
    # The sidecar starts with the soft limit of whoever starts it, as in a container.
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        with lab(ROUTES, canary=canary, idle_timeout="5m", header_timeout="2m") as world, ExitStack() as idle:
            _hold(world, idle)
            at_most = world.sidecar.rss_bytes()
            reply = world.talk(request("/v1/x"), answers=1)
            assert reply.only.status == 200
            assert at_most < 200 * MIB, f"{at_most / MIB:.0f} MiB"
            idle.close()
            wait_for(lambda: world.sidecar.metric("podkey_connections_open") == 0, "all to be closed")
            world.check_health()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _hold(world: Lab, idle: ExitStack) -> None:
    """Most of them say nothing at all, a quarter have had their handshake with us."""
    context = ssl.create_default_context(cafile=world.pod.ca)

    def dial() -> None:
        plain.extend(
            idle.enter_context(socket.create_connection((INTERNET_V4, 443), 30))
            for _ in range(IDLE_CONNECTIONS)
        )

    plain: list[socket.socket] = []
    in_namespace(world.pod.network.pod, dial)
    for sock in plain[::4]:
        idle.enter_context(context.wrap_socket(sock, server_hostname=HOST))
    open_now = world.sidecar.metric("podkey_connections_open")
    assert open_now == IDLE_CONNECTIONS / 4
