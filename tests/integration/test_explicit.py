"""The sidecar as a proxy that applications are told of by `HTTPS_PROXY`, where nothing can be redirected."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from proxy.core.contract import ADMIN_PORT, EXPLICIT_PORT, METADATA_ADDRESSES, TRANSPARENT_PORT
from tests.canary import shared_canary
from tests.netns import INTERNET_V4, requires_netns
from tests.pod_world import policy, recv_all, secret, serving, upstream_for
from tests.sidecar_pod import SidecarPod, sidecar_pod
from tests.upstreams import Upstream

pytestmark = requires_netns

API, OTHER_API, FILES, PLAIN = (
    "api.openai.com",
    "eu.api.openai.com",
    "files.example.net",
    "plain.example.net",
)

REQUESTS = """
import sys, requests
answer = requests.get(sys.argv[1], timeout=10)
print(answer.status_code)
"""
HTTPX = """
import sys, httpx
answer = httpx.get(sys.argv[1], timeout=10)
print(answer.status_code)
"""
CURL = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}\\n"]


class World:
    def __init__(self, pod: SidecarPod, api: Upstream, key: str) -> None:
        self.pod = pod
        self.api = api
        self.key = key
        self.cleartext: list[bytes] = []


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with shared_canary() as canary, sidecar_pod(canary) as pod, ExitStack() as stack:
        api = stack.enter_context(upstream_for(pod, API, OTHER_API, FILES))
        pod.resolve(PLAIN)
        world = World(pod, api, canary.secret("openai key"))

        def answer(sock: socket.socket) -> None:
            data = b""
            while b"\r\n\r\n" not in data and (more := sock.recv(65_536)):
                data += more
            world.cleartext.append(data)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
            recv_all(sock)

        stack.enter_context(serving(pod.listen(80), answer))
        grant = {"service": "openai", "paths": ["/v1/models"]}
        pod.start_sidecar(policy(grant), secret(world.key), capture="explicit")
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.pod.sidecar.wait_idle()
    shared.api.clear()
    shared.cleartext.clear()
    return shared


def ask(world: World, head: str) -> bytes:
    """What the proxy's port answers to the head of one request, up to its end."""
    with world.pod.dial("127.0.0.1", EXPLICIT_PORT) as sock:
        sock.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return recv_all(sock)


def tunnel(world: World, target: str) -> socket.socket:
    sock = world.pod.dial("127.0.0.1", EXPLICIT_PORT)
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    assert sock.recv(100) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    return sock


@pytest.mark.parametrize("client", [CURL, REQUESTS, HTTPX], ids=["curl", "requests", "httpx"])
def test_clients_that_are_told_of_the_proxy_get_the_credential(world: World, client: list[str] | str) -> None:
    before = world.pod.sidecar.audited()

    done = world.pod.run_app(client, f"https://{API}/v1/models")

    assert (done.stdout, done.stderr) == ("200\n", "")
    assert world.api.requests[0].header("authorization") == [f"Bearer {world.key}"]
    record = world.pod.sidecar.wait_audit(before + 1)[-1]
    assert (record["verdict"], record["capture"], record["host"]) == ("attach", "explicit", API)


def test_without_the_proxy_nothing_is_attached(world: World) -> None:
    """Nothing is redirected here: to unset the variable is to go around, without a credential."""
    without = {"HTTPS_PROXY": None, "https_proxy": None}
    done = world.pod.run_app([*CURL, f"https://{API}/v1/models"], env=without)

    assert done.stdout == "200\n"
    assert world.api.requests[0].header("authorization") == []


def test_a_refusal_reaches_the_client_through_the_tunnel(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", f"https://{API}/v1/files"])

    assert "podkey refused GET https://api.openai.com/v1/files" in done.stdout
    assert "training/llm" in done.stdout
    assert world.api.requests == []


def test_a_tunnel_to_a_host_that_no_grant_names_is_relayed(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", f"https://{FILES}/x", "-H", "Authorization: Bearer mine"])

    assert done.returncode == 0, done.stderr
    assert world.api.requests[0].header("authorization") == ["Bearer mine"]
    assert world.api.requests[0].connection.sni == FILES


# --- cleartext -----------------------------------------------------------------------------------


def test_a_plain_request_to_a_governed_host_is_refused(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", "-i", f"http://{API}/v1/models"])

    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert "podkey-reason: cleartext" in done.stdout
    assert world.cleartext == []


def test_a_plain_request_to_another_host_is_served_in_origin_form(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", f"http://{PLAIN}/x?y=1"])

    assert (done.stdout, done.stderr) == ("plain", "")
    (sent,) = world.cleartext
    assert sent.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert b"proxy-connection" not in sent.lower()


# --- where no tunnel leads -----------------------------------------------------------------------


@pytest.mark.parametrize("address", METADATA_ADDRESSES)
def test_no_tunnel_leads_to_the_clouds_metadata(world: World, address: str) -> None:
    target = f"[{address}]:80" if ":" in address else f"{address}:80"

    answer = ask(world, f"CONNECT {target} HTTP/1.1\nHost: {target}")

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"podkey-reason: fenced_address" in answer


def test_no_plain_request_leads_to_the_clouds_metadata(world: World) -> None:
    """Who takes it out of NO_PROXY, where the injector has it."""
    asked = ["curl", "-sS", "-i", "http://169.254.169.254/latest/meta-data/"]
    done = world.pod.run_app(asked, env={"NO_PROXY": None, "no_proxy": None})

    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert "podkey-reason: fenced_address" in done.stdout


def test_a_name_that_leads_to_the_metadata_is_refused_as_well(world: World) -> None:
    world.pod.resolve("innocent.example.net", to=[INTERNET_V4, "169.254.169.254"])

    answer = ask(world, "CONNECT innocent.example.net:443 HTTP/1.1\nHost: innocent.example.net:443")

    assert b"podkey-reason: fenced_address" in answer


@pytest.mark.parametrize(
    "target",
    [
        f"127.0.0.1:{EXPLICIT_PORT}",
        f"[::1]:{EXPLICIT_PORT}",
        f"localhost:{ADMIN_PORT}",
        f"[::ffff:127.0.0.1]:{TRANSPARENT_PORT}",
        f"127.1.2.3:{ADMIN_PORT}",
        f"0.0.0.0:{ADMIN_PORT}",
    ],
)
def test_no_tunnel_leads_back_into_the_sidecar(world: World, target: str) -> None:
    answer = ask(world, f"CONNECT {target} HTTP/1.1\nHost: {target}")

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"podkey-reason: fenced_address" in answer


def test_a_name_that_nobody_knows_is_an_unreachable_upstream(world: World) -> None:
    target = "nowhere.example.net:443"

    answer = ask(world, f"CONNECT {target} HTTP/1.1\nHost: {target}")

    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"podkey-reason: upstream_unreachable" in answer


def test_the_pod_port_is_no_website(world: World) -> None:
    answer = ask(world, "GET / HTTP/1.1\nHost: 127.0.0.1")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"podkey-reason: malformed_request" in answer


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [FILES, OTHER_API])
def test_a_tunnel_is_for_the_name_that_it_was_asked_for(world: World, asked: str) -> None:
    before = world.pod.sidecar.audited()
    context = ssl.create_default_context(cafile=str(world.pod.bundle))
    with tunnel(world, f"{asked}:443") as sock, context.wrap_socket(sock, server_hostname=API) as tls:
        tls.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n".encode())
        answer = recv_all(tls)

    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"podkey-reason: name_mismatch" in answer
    assert world.api.received == 0
    assert world.pod.sidecar.wait_audit(before + 1)[-1]["reason"] == "name_mismatch"


def test_a_tunnel_to_an_address_serves_the_name_that_tls_names(world: World) -> None:
    context = ssl.create_default_context(cafile=str(world.pod.bundle))
    with tunnel(world, f"{INTERNET_V4}:443") as sock, context.wrap_socket(sock, server_hostname=API) as tls:
        tls.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n".encode())
        answer = recv_all(tls)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert world.api.requests[0].header("authorization") == [f"Bearer {world.key}"]
