"""The sidecar's life: it starts with what it needs, says what it lacks, and ends when all has arrived."""

import os
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from proxy.core.contract import ADMIN_PORT, EXPLICIT_PORT, PROXY_UID, TRANSPARENT_PORT
from tests.canary import Canary
from tests.netns import INTERNET_V4, ROOT, requires_netns
from tests.pod_world import Session, fetch, policy, recv_all, secret, serving, upstream_for
from tests.sidecar_pod import SidecarPod, in_namespace, wait_for
from tests.upstreams import Events, discard, stall

API = "api.openai.com"
GRANT = policy({"service": "openai", "paths": ["/v1/models", "/v1/files", "/v1/events"]})

# Sends the first piece of a body, and the second when it is told to.
UPLOAD = """
import sys, requests
def body():
    yield b"first"
    sys.stdin.readline()
    yield b"second"
print(requests.post("https://api.openai.com/v1/files", data=body(), timeout=30).text)
"""


# --- it begins -----------------------------------------------------------------------------------


def test_all_problems_of_the_settings_are_told_at_once() -> None:
    environment = {
        "PODKEY_NAMESPACE": "Training",
        "PODKEY_ADMIN_PORT": "80",
        "PODKEY_CAPTURE": "magic",
        "PODKEY_DRAIN_TIMEOUT": "soon",
    }
    done = subprocess.run(
        [sys.executable, "-O", "-m", "proxy", "run"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    for name in (*environment, "PODKEY_SERVICE_ACCOUNT"):
        assert f"podkey run: {name}: " in done.stderr
    assert done.stderr.count("    fix: ") == len(environment) + 1


@requires_netns
def test_it_waits_for_its_policy_and_says_so(pod: SidecarPod, canary: Canary) -> None:
    sidecar = pod.start_sidecar(secrets=secret(canary.secret("openai key")), ready=False)

    (line,) = sidecar.wait_log("not ready")
    assert (line["part"], line["level"]) == ("policy", "error")
    status, body = sidecar.get("/readyz")
    assert status == 503
    assert "policy" in body
    assert str(pod.policy_folder) in body
    assert sidecar.get("/healthz")[0] == 200
    assert sidecar.metric("podkey_ready") == 0
    # Until then what is redirected is refused, and not let through.
    with pytest.raises(ConnectionRefusedError):
        pod.dial(INTERNET_V4, 443)

    pod.write_policy(GRANT)

    pod.wait_ready()
    assert sidecar.metric("podkey_ready") == 1
    with upstream_for(pod, API):
        assert fetch(pod, API, "/v1/models").status == 200


@requires_netns
def test_it_does_not_begin_with_a_bad_policy(pod: SidecarPod, canary: Canary) -> None:
    sidecar = pod.start_sidecar(
        GRANT.replace("/v1/models", "v1/models"), secret(canary.secret("openai key")), ready=False
    )

    (line,) = sidecar.wait_log("not ready")
    assert "policy.yaml" in line["why"]
    assert sidecar.get("/readyz")[0] == 503

    pod.write_policy(GRANT)
    pod.wait_ready()


@requires_netns
def test_it_starts_on_volumes_as_the_kubelet_makes_them(pod: SidecarPod) -> None:
    """An emptyDir belongs to root and is open to all."""
    for folder in (pod.state, pod.trust):
        os.chown(folder, 0, 0)
        folder.chmod(0o777)

    pod.start_sidecar(GRANT)

    (key,) = pod.state.rglob("ca-key.pem")
    assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (PROXY_UID, 0o600)
    assert pod.bundle.stat().st_mode & 0o777 == 0o644


@requires_netns
def test_it_waits_for_a_folder_that_it_can_write(pod: SidecarPod) -> None:
    os.chown(pod.trust, 0, 0)
    sidecar = pod.start_sidecar(GRANT, ready=False)

    (line,) = sidecar.wait_log("not ready")
    assert (line["part"], str(pod.trust) in line["why"]) == ("authority", True)

    os.chown(pod.trust, PROXY_UID, PROXY_UID)
    pod.wait_ready()


@requires_netns
def test_it_waits_for_a_port_that_somebody_holds(pod: SidecarPod) -> None:
    place = ("127.0.0.1", TRANSPARENT_PORT)
    with in_namespace(pod.network.pod, lambda: socket.create_server(place)):
        sidecar = pod.start_sidecar(GRANT, ready=False)

        (line,) = sidecar.wait_log("not ready")
        assert line["part"] == "listener"
        assert sidecar.get("/readyz")[0] == 503
    pod.wait_ready()


@requires_netns
def test_it_can_be_ended_while_it_waits(pod: SidecarPod) -> None:
    sidecar = pod.start_sidecar(ready=False)
    sidecar.wait_log("not ready")

    assert sidecar.stop() == 0


@requires_netns
def test_it_holds_no_capability_and_cannot_gain_one(pod: SidecarPod) -> None:
    sidecar = pod.start_sidecar(GRANT)

    text = sidecar.status_text()
    assert "CapEff:\t0000000000000000\n" in text
    assert "CapBnd:\t0000000000000000\n" in text
    assert "Uid:\t1337\t1337\t1337\t1337\n" in text


@requires_netns
def test_the_admin_port_shows_health_metrics_and_nothing_else(pod: SidecarPod, canary: Canary) -> None:
    sidecar = pod.start_sidecar(GRANT, secret(canary.secret("openai key")))
    with upstream_for(pod, API):
        assert fetch(pod, API, "/v1/models").status == 200

    wait_for(lambda: sidecar.metric("podkey_requests_total", service="openai", verdict="attach"), "the count")
    pages = {
        path: sidecar.get(path) for path in ("/healthz", "/readyz", "/metrics", "/", "/debug", "/metrics/x")
    }
    assert [status for status, _ in pages.values()] == [200, 200, 200, 200, 404, 404]
    for path, (_, body) in pages.items():
        canary.watch(body, f"the admin page {path}")


@requires_netns
def test_garbage_on_one_connection_harms_no_other(pod: SidecarPod, canary: Canary) -> None:
    events = Events()
    with upstream_for(pod, API, routes={"/v1/events": events}) as upstream:
        pod.start_sidecar(GRANT, secret(canary.secret("openai key")), capture="transparent,explicit")
        with Session(pod, API) as session:
            session.sock.sendall(f"GET /v1/events HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
            upstream.wait_until(lambda: len(upstream.requests) == 1)
            events.release("before")
            assert b"before" in _until(session.sock, b"before")

            for garbage in (
                b"\x16\x03\x01\xff\xff" + bytes(70_000),
                b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
            ):
                with pod.dial(INTERNET_V4, 443) as sock, suppress(OSError):
                    sock.sendall(garbage)
                    sock.shutdown(socket.SHUT_WR)
                    recv_all(sock)
            with pod.dial("127.0.0.1", EXPLICIT_PORT) as sock, suppress(OSError):
                sock.sendall(b"CONNECT \xff\x00 HTTP/9\r\n\r\n")
                recv_all(sock)
            with Session(pod, API) as other, suppress(OSError):
                other.sock.sendall(b"\x00\xff" * 40_000 + b"\r\n\r\n")
                recv_all(other.sock)

            events.release("after")
            assert b"after" in _until(session.sock, b"after")
            events.finish()

        assert fetch(pod, API, "/v1/models").status == 200
    assert [line for line in pod.sidecar.log_lines() if line["event"] == "unexpected error"] == []


# --- it begins again -----------------------------------------------------------------------------


@requires_netns
def test_a_restart_keeps_the_authority_that_applications_have_read(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API):
        pod.start_sidecar(GRANT, secret(canary.secret("openai key")))
        first = pod.ca.read_bytes()
        pod.sidecar.kill()  # as the kernel does when memory is short

        # What is redirected has nowhere to go: it does not pass.
        with pytest.raises(ConnectionRefusedError):
            pod.dial(INTERNET_V4, 443)

        pod.start_sidecar()

        assert pod.ca.read_bytes() == first
        assert fetch(pod, API, "/v1/models").status == 200
    assert sorted(path.stat().st_mode & 0o777 for path in pod.state.rglob("*key*")) == [0o600]


# --- it ends -------------------------------------------------------------------------------------


@requires_netns
def test_a_drain_waits_for_an_upload_and_for_nothing_else(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API, routes={"/v1/files": discard}) as upstream:
        sidecar = pod.start_sidecar(
            GRANT, secret(canary.secret("openai key")), capture="transparent,explicit"
        )
        upload = pod.start_app(UPLOAD, env={"HTTPS_PROXY": None})
        wait_for(lambda: any(one.body == b"first" for one in upstream.requests), "the first piece")
        with Session(pod, API) as idle:
            assert idle.get("/v1/models").status == 200

            sidecar.terminate()

            assert idle.sock.recv(1) == b""  # closed at once
        sidecar.wait_log("draining")
        assert sidecar.get("/readyz")[0] == 503
        for host, port in ((INTERNET_V4, 443), ("127.0.0.1", TRANSPARENT_PORT), ("127.0.0.1", EXPLICIT_PORT)):
            with pytest.raises(ConnectionRefusedError):
                pod.dial(host, port)
        assert sidecar.process.poll() is None

        out, _ = upload.communicate(b"go on\n", timeout=20)

        assert out == b'{"length": 11}\n'
        assert sidecar.wait() == 0
    assert sidecar.wait_log("drained")[0]["cut"] == 0
    assert [(one["path"], one["ending"]) for one in sidecar.audit()][-1] == ("/v1/files", "completed")


@requires_netns
def test_a_drain_waits_for_what_is_relayed_unopened(pod: SidecarPod) -> None:
    def count(sock: socket.socket) -> None:
        sock.sendall(b"%d bytes" % len(recv_all(sock)))

    with serving(pod.listen(443), count):
        sidecar = pod.start_sidecar(GRANT)
        with pod.dial(INTERNET_V4, 443) as sock:
            sock.sendall(b"\x00" * 1000)
            wait_for(lambda: sidecar.metric("podkey_connections_open", lane="relay"), "the connection")

            sidecar.terminate()
            sidecar.wait_log("draining")
            sock.sendall(b"\x00" * 1000)
            sock.shutdown(socket.SHUT_WR)

            assert recv_all(sock) == b"2000 bytes"
        assert sidecar.wait() == 0
    assert sidecar.wait_log("drained")[0]["cut"] == 0


@requires_netns
def test_a_drain_ends_with_what_stands_still(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API, routes={"/v1/files": stall}) as upstream:
        sidecar = pod.start_sidecar(GRANT, secret(canary.secret("openai key")), drain_timeout="1s")
        with Session(pod, API) as session:
            session.sock.sendall(f"GET /v1/files HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
            upstream.wait_until(lambda: len(upstream.requests) == 1)

            assert sidecar.stop() == 0

    assert sidecar.wait_log("drained")[0]["cut"] == 1
    assert [(one["path"], one["ending"]) for one in sidecar.audit()] == [("/v1/files", "cut")]


@requires_netns
def test_with_nothing_on_its_way_it_ends_at_once(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API):
        sidecar = pod.start_sidecar(GRANT, secret(canary.secret("openai key")))
        with Session(pod, API) as session, pod.dial(INTERNET_V4, 443) as silent:
            assert session.get("/v1/models").status == 200

            sidecar.terminate()

            assert sidecar.wait(5) == 0  # the default is to wait for 25 s
            assert silent.fileno() >= 0
    assert "unexpected error" not in sidecar.log()
    with pytest.raises(ConnectionRefusedError):
        pod.dial("127.0.0.1", ADMIN_PORT)


def _until(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data and (more := sock.recv(65_536)):
        data += more
    return data
