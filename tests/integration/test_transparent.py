"""Connections that nft brings to the real sidecar, without the application's knowledge."""

import hashlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.core.contract import METADATA_ADDRESSES, PROXY_UID, TRANSPARENT_PORT
from tests.canary import Canary, shared_canary
from tests.netns import INTERNET_V4, INTERNET_V6, POD_V4, POD_V6, requires_netns
from tests.pod_world import policy, recv_all, secret, serving
from tests.sidecar_pod import SidecarPod, in_namespace, sidecar_pod, wait_for
from tests.upstreams import Upstream, tls_context

pytestmark = requires_netns

API, FILES, PLAIN, SHELL, SLOW = (
    "api.openai.com",
    "files.example.net",
    "plain.example.net",
    "shell.example.net",
    "patient.example.net",
)
SHELL_V4, SLOW_V4 = "203.0.113.20", "203.0.113.30"
BANNER = b"SSH-2.0-OpenSSH_9.2\r\n"

# Prints the fingerprint of the certificate that it sees.
SHOW_CERTIFICATE = """
import hashlib, socket, ssl, sys
host = sys.argv[1]
context = ssl.create_default_context()
with context.wrap_socket(socket.create_connection((host, 443), 10), server_hostname=host) as tls:
    print(hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest())
"""

# Tries every address in one way, and prints the names of the errors.
TRY = """
import errno, json, socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
outcomes = []
for host, port in json.loads(sys.argv[2]):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as s:
        s.settimeout(5)
        try:
            s.connect((host, port))
            s.send(b"x")
            outcomes.append("sent")
        except OSError as error:
            outcomes.append(errno.errorcode.get(error.errno, str(error)))
print(json.dumps(outcomes))
"""


class World:
    """A pod whose sidecar is ready, and the servers that its application calls."""

    def __init__(self, pod: SidecarPod, api: Upstream, certificate: Path, key: str) -> None:
        self.pod = pod
        self.api = api
        self.key = key
        self.cleartext: list[bytes] = []
        # Of the certificate that the servers have.
        chain = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        self.fingerprint = hashlib.sha256(chain).hexdigest()


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with (
        shared_canary() as canary,
        sidecar_pod(canary, internet=(SHELL_V4, SLOW_V4)) as pod,
        ExitStack() as stack,
    ):
        certificate = pod.upstream_certificate(API, FILES)
        api = stack.enter_context(Upstream(tls_context(*certificate), ns=pod.network.net))
        world = World(pod, api, certificate.chain, canary.secret("openai key"))
        pod.resolve(API, FILES, PLAIN)
        pod.resolve(SHELL, to=[SHELL_V4])
        pod.resolve(SLOW, to=[SLOW_V4])

        def answer(sock: socket.socket) -> None:
            world.cleartext.append(sock.recv(65_536))
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain")

        def greet(sock: socket.socket) -> None:
            sock.sendall(BANNER)
            sock.sendall(b"you are " + sock.recv(1000))

        def count(sock: socket.socket) -> None:
            sock.sendall(b"%d bytes" % len(recv_all(sock)))

        for port, host, talk in (
            (80, INTERNET_V4, answer),
            (80, INTERNET_V6, answer),
            (443, SHELL_V4, greet),
            (443, SLOW_V4, count),
        ):
            stack.enter_context(serving(pod.listen(port, host), talk))
        grant = {"service": "openai", "paths": ["/v1/models"]}
        # A client that waits for the server to speak is waited for this long.
        pod.start_sidecar(policy(grant), secret(world.key), header_timeout="2s")
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.pod.sidecar.wait_idle()
    shared.api.clear()
    shared.cleartext.clear()
    return shared


# --- governed hosts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "shown"), [("-4", f"{INTERNET_V4}:443"), ("-6", f"[{INTERNET_V6}]:443")], ids=["v4", "v6"]
)
def test_the_credential_is_attached_on_the_way(world: World, family: str, shown: str) -> None:
    before = world.pod.sidecar.audited()
    script = f'env; curl -sS {family} https://{API}/v1/models -H "Authorization: Bearer $OPENAI_API_KEY"'
    done = world.pod.run_app(["sh", "-c", script])

    assert done.returncode == 0, done.stderr
    (request,) = world.api.requests
    assert request.header("authorization") == [f"Bearer {world.key}"]
    assert not world.api.seen(world.pod.placeholders["OPENAI_API_KEY"])
    assert world.pod.placeholders["OPENAI_API_KEY"] in done.stdout  # the environment holds only this
    record = world.pod.sidecar.wait_audit(before + 1)[-1]
    told = {
        name: record[name] for name in ("verdict", "capture", "upstream", "status", "staticCredentialSeen")
    }
    assert told == {
        "verdict": "attach",
        "capture": "transparent",
        "upstream": shown,
        "status": 200,
        "staticCredentialSeen": False,
    }


def test_an_application_without_any_key_gets_the_credential_too(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", f"https://{API}/v1/models"])

    assert done.returncode == 0, done.stderr
    assert world.api.requests[0].header("authorization") == [f"Bearer {world.key}"]


def test_the_applications_own_key_never_arrives_and_is_reported(world: World, canary: Canary) -> None:
    own = canary.secret("the application's own key")
    sidecar = world.pod.sidecar
    before, seen = sidecar.audited(), sidecar.metric("podkey_static_credentials_seen_total")

    script = f'curl -sS https://{API}/v1/models -H "Authorization: Bearer $OWN" -o /dev/null'
    done = world.pod.run_app(["sh", "-c", script], env={"OWN": own})

    assert done.returncode == 0, done.stderr
    assert world.api.requests[0].header("authorization") == [f"Bearer {world.key}"]
    assert not world.api.seen(own)
    record = sidecar.wait_audit(before + 1)[-1]
    assert (record["verdict"], record["staticCredentialSeen"]) == ("attach", True)
    assert sidecar.metric("podkey_static_credentials_seen_total", service="openai") == seen + 1
    (line,) = sidecar.wait_log("the application sent a credential of its own")
    assert (line["host"], line["service"]) == (API, "openai")
    canary.watch(sidecar.log_file, "the sidecar's log")
    canary.watch(sidecar.audit_file, "the audit trail")


def test_what_no_grant_covers_is_refused_and_reaches_nobody(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", "-i", f"https://{API}/v1/files"])

    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert "podkey-reason: path_not_granted" in done.stdout
    assert "training/llm" in done.stdout
    assert world.api.requests == []


def test_a_client_that_does_not_trust_the_pod_ends_the_handshake(world: World) -> None:
    failures = world.pod.sidecar.metric("podkey_client_tls_failures_total", sign="said")

    done = world.pod.run_app(
        ["curl", "-sS", f"https://{API}/v1/models"], env={"CURL_CA_BUNDLE": None, "SSL_CERT_FILE": None}
    )

    assert done.returncode == 60, done.stderr  # peer certificate cannot be authenticated
    assert world.api.requests == []
    wait_for(
        lambda: world.pod.sidecar.metric("podkey_client_tls_failures_total", sign="said") == failures + 1,
        "the count",
    )


# --- everybody else ------------------------------------------------------------------------------


def test_a_host_that_no_grant_names_is_relayed_unopened(world: World) -> None:
    """The client itself sees the upstream's own certificate."""
    relayed = world.pod.sidecar.metric("podkey_connections_total", lane="relay")

    done = world.pod.run_app(SHOW_CERTIFICATE, FILES)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == world.fingerprint
    assert world.api.connections[-1].sni == FILES
    assert world.pod.sidecar.metric("podkey_connections_total", lane="relay") == relayed + 1


def test_a_governed_host_shows_the_pods_own_certificate(world: World) -> None:
    done = world.pod.run_app(SHOW_CERTIFICATE, API)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() != world.fingerprint
    assert (world.api.connections, world.api.received) == ([], 0)


def test_a_relayed_request_arrives_as_it_was_sent(world: World) -> None:
    done = world.pod.run_app(["curl", "-sS", f"https://{FILES}/data?x=1", "-H", "Authorization: Bearer mine"])

    assert done.returncode == 0, done.stderr
    (request,) = world.api.requests
    assert (request.target, request.header("authorization")) == ("/data?x=1", ["Bearer mine"])


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_cleartext_to_a_host_that_no_grant_names_is_relayed(world: World, family: str) -> None:
    done = world.pod.run_app(["curl", "-sS", family, f"http://{PLAIN}/"])

    assert (done.stdout, done.stderr) == ("plain", "")
    assert world.cleartext[0].startswith(b"GET / HTTP/1.1\r\n")


def test_cleartext_to_a_governed_host_is_refused(world: World) -> None:
    before = world.pod.sidecar.audited()

    done = world.pod.run_app(["curl", "-sS", "-i", f"http://{API}/v1/models"])

    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert "podkey-reason: cleartext" in done.stdout
    assert world.cleartext == []
    record = world.pod.sidecar.wait_audit(before + 1)[-1]
    assert (record["host"], record["port"], record["reason"]) == (API, 80, "cleartext")


def test_a_server_that_speaks_first_is_heard(world: World) -> None:
    with world.pod.dial(SHELL_V4, 443, timeout=20) as sock:
        assert _recv(sock, len(BANNER)) == BANNER
        sock.sendall(b"root")
        assert recv_all(sock) == b"you are root"


@pytest.mark.parametrize(
    "first", [b"\x00\x01binary", b"GET is how this protocol begins"], ids=["odd", "like http"]
)
def test_half_a_connection_may_end_before_the_other(world: World, first: bytes) -> None:
    with world.pod.dial(SLOW_V4, 443) as sock:
        sock.sendall(first)
        sock.sendall(bytes(200_000))
        sock.shutdown(socket.SHUT_WR)

        assert recv_all(sock) == b"%d bytes" % (len(first) + 200_000)


def test_a_refused_upstream_is_a_reset_to_the_client(world: World) -> None:
    with world.pod.dial("203.0.113.10", 443) as sock:  # the relay's address, with a name that nobody serves
        sock.sendall(b"\x00")
    world.pod.resolve("gone.example.net", to=["10.200.0.1"])  # the gateway listens on no port

    done = world.pod.run_app(["curl", "-sS", "https://gone.example.net/"])

    assert done.returncode == 35, done.stderr  # the TLS handshake broke
    assert "reset" in done.stderr


# --- what is fenced ------------------------------------------------------------------------------


def test_quic_is_refused_at_once(world: World) -> None:
    targets = [(host, 443) for host in (INTERNET_V4, INTERNET_V6)]

    assert _tried(world, "udp", targets) == ["EPERM", "EPERM"]


def test_nobody_reaches_the_clouds_metadata(world: World) -> None:
    targets = [(host, port) for host in METADATA_ADDRESSES for port in (80, 443)]

    assert set(_tried(world, "tcp", targets)) <= {"ECONNREFUSED", "EPERM"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_proxys_own_port_hangs_up_on_callers(world: World, host: str) -> None:
    refused = world.pod.sidecar.metric("podkey_connections_refused_total", reason="direct")

    with pytest.raises(ConnectionResetError), world.pod.dial(host, TRANSPARENT_PORT, timeout=5) as sock:
        sock.recv(1)

    wait_for(
        lambda: world.pod.sidecar.metric("podkey_connections_refused_total", reason="direct") == refused + 1,
        "the count",
    )


def test_the_proxys_user_is_not_captured(world: World) -> None:
    opened = world.pod.sidecar.metric("podkey_connections_total")

    done = world.pod.run_app(SHOW_CERTIFICATE, API, uid=PROXY_UID, env={"HOME": "/"})

    assert done.stdout.strip() == world.fingerprint, done.stderr
    assert world.pod.sidecar.metric("podkey_connections_total") == opened


@pytest.mark.parametrize("host", [POD_V4, POD_V6])
def test_nobody_outside_the_pod_reaches_the_proxy(world: World, host: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        in_namespace(world.pod.network.net, lambda: socket.create_connection((host, TRANSPARENT_PORT), 5))


def test_nothing_passed_unjudged(world: World) -> None:
    assert world.pod.sidecar.metric("podkey_fail_open_total") == 0
    assert world.pod.sidecar.metric("podkey_audit_write_errors_total") == 0


# --- helpers of this file ------------------------------------------------------------------------


def _recv(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def _tried(world: World, kind: str, targets: list[tuple[str, int]]) -> list[str]:
    done = world.pod.run_app(TRY, kind, json.dumps(targets))
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert isinstance(outcomes, list)
    return outcomes
