"""Against a server on the loopback interface that answers what a test says, by HTTP or TLS."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from injector.core.api import (
    BAD_ANSWER,
    NAMESPACES,
    TIMED_OUT,
    TOO_LARGE,
    UNCONFIGURED,
    UNREACHABLE,
    ClusterFault,
    Page,
)
from injector.edge import cluster as module
from injector.edge.cluster import Cluster
from tests.api_server_keys import ClusterKeys
from tests.canary import Canary
from tests.injector_world import until

PATH = NAMESPACES.path()
Reply = Callable[["Handler"], None]


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass
class Server:
    http: ThreadingHTTPServer
    reply: Reply
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    def answers(self, body: object, status: int = 200, **headers: str) -> None:
        def reply(handler: Handler) -> None:
            handler.send(status, json.dumps(body).encode(), headers)

        self.reply = reply


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    house: Server

    def setup(self) -> None:
        super().setup()
        self.house.connections += 1

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _do(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): text for name, text in self.headers.items()}
        self.house.asked.append(Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
        self.house.reply(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - as the base class calls them


def serve(trust: ssl.SSLContext | None = None) -> Iterator[Server]:
    handler = type("OwnHandler", (Handler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    if trust is not None:
        http.socket = trust.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    house = Server(http, lambda handler: handler.send(200, b"{}", {}))
    handler.house = house  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield house
    house.ended.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve()


def kubeconfig(folder: Path, url: str, user: Mapping[str, str], **cluster: str) -> str:
    file = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "u", "user": dict(user)}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(config))
    return str(file)


@pytest.fixture
def token(canary: Canary) -> str:
    return canary.secret("the cluster's token")


@pytest.fixture
def cluster(server: Server, tmp_path: Path, token: str) -> Iterator[Cluster]:
    made = Cluster.of_kubeconfig(kubeconfig(tmp_path, f"http://127.0.0.1:{server.port}", {"token": token}))
    yield made
    made.close()


def fault(call: Callable[[], object]) -> ClusterFault:
    with pytest.raises(ClusterFault) as told:
        call()
    return told.value


# --- what is sent ---------------------------------------------------------------------------------


def test_every_call_says_who_we_are(server: Server, cluster: Cluster, token: str) -> None:
    server.answers({"metadata": {"name": "ml"}})
    assert cluster.get(NAMESPACES.path(name="ml")) == {"metadata": {"name": "ml"}}
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.query, asked.body) == ("GET", "/api/v1/namespaces/ml", {}, None)
    assert asked.headers["authorization"] == f"Bearer {token}"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"] == "podkey-injector"


def test_writes_say_what_they_are(server: Server, cluster: Cluster) -> None:
    cluster.create("/x", {"a": 1})
    cluster.replace("/x/n", {"a": 2})
    cluster.merge_patch("/x/n", {"a": None})
    cluster.json_patch("/x/n", [{"op": "remove", "path": "/a"}])
    cluster.json_patch("/x/n", [])
    seen = [(one.method, one.headers["content-type"], one.body) for one in server.asked]
    assert seen == [
        ("POST", "application/json", {"a": 1}),
        ("PUT", "application/json", {"a": 2}),
        ("PATCH", "application/merge-patch+json", {"a": None}),
        ("PATCH", "application/json-patch+json", [{"op": "remove", "path": "/a"}]),
        ("PATCH", "application/json-patch+json", []),
    ]
    assert {one.query["fieldManager"] for one in server.asked} == {"podkey-injector"}


def test_a_deletion_may_be_about_one_object_only(server: Server, cluster: Cluster) -> None:
    cluster.delete("/x/n", uid="u", resource_version="5")
    cluster.delete("/x/n")
    assert [one.body["preconditions"] for one in server.asked] == [{"uid": "u", "resourceVersion": "5"}, {}]


def test_a_page_is_asked_for_and_read(server: Server, cluster: Cluster) -> None:
    server.answers({"items": [{"a": 1}], "metadata": {"resourceVersion": "7", "continue": "more"}})
    page = cluster.list_page(PATH, limit=5, label_selector="a=b", field_selector="c!=d", resource_version="0")
    assert page == Page([{"a": 1}], "more", "7")
    cluster.list_page(PATH, limit=5, continue_token="more", resource_version="0")
    assert [one.query for one in server.asked] == [
        {"limit": "5", "labelSelector": "a=b", "fieldSelector": "c!=d", "resourceVersion": "0"},
        {"limit": "5", "continue": "more"},
    ]


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_is_one(server: Server, cluster: Cluster, items: object) -> None:
    server.answers({"items": items, "metadata": {"resourceVersion": "7"}})
    page = cluster.list_page(PATH, limit=5)
    assert (list(page.items), page.continue_token) == ([], "")


@pytest.mark.parametrize(
    "body",
    [{}, {"items": []}, {"items": {}, "metadata": {"resourceVersion": "1"}}, {"items": [], "metadata": {}}],
)
def test_what_is_no_list_is_a_fault(server: Server, cluster: Cluster, body: object) -> None:
    server.answers(body)
    assert fault(lambda: cluster.list_page(PATH, limit=5)).reason == BAD_ANSWER


def test_connections_are_used_again(server: Server, cluster: Cluster) -> None:
    cluster.get("/x")
    server.answers({}, 404)
    assert fault(lambda: cluster.get("/x")).is_missing
    server.answers({})
    cluster.create("/x", {})
    assert server.connections == 1


# --- watches --------------------------------------------------------------------------------------


def test_a_watch_asks_for_bookmarks_and_shows_each_event_as_it_comes(
    server: Server, cluster: Cluster
) -> None:
    go = threading.Event()

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b'{"type": "ADDED", "object": {}}\n{"type": "MODI')
        go.wait()
        handler.chunk(b'FIED", "object": {}}\n')
        handler.chunk(b"")

    server.reply = reply
    stream = iter(cluster.watch(PATH, resource_version="7", seconds=150.4, field_selector="a=b"))
    assert next(stream)["type"] == "ADDED"
    go.set()
    assert [event["type"] for event in stream] == ["MODIFIED"]
    assert server.asked[0].query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "7",
        "timeoutSeconds": "150",
        "fieldSelector": "a=b",
    }


def test_a_watch_that_waits_is_ended_from_another_thread(server: Server, cluster: Cluster) -> None:
    def reply(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b'{"type": "ADDED", "object": {}}\n')
        server.ended.wait()

    server.reply = reply
    stream = cluster.watch(PATH, resource_version="7", seconds=3600)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.extend(stream))
    thread.start()
    stream_read = stream._answer
    until(lambda: stream_read is not None)
    stream.close()
    thread.join(10)
    assert not thread.is_alive()
    stream.close()


def test_a_watch_that_is_cut_is_a_fault(server: Server, cluster: Cluster) -> None:
    def reply(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b'{"type": "ADDED", "object": {}}\n')
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    server.reply = reply
    stream = cluster.watch(PATH, resource_version="7", seconds=10)
    seen = []
    with pytest.raises(ClusterFault) as told:
        seen.extend(stream)
    assert told.value.reason == UNREACHABLE


def test_a_watch_that_is_refused_is_a_fault(server: Server, cluster: Cluster) -> None:
    server.answers({"reason": "Expired", "message": "too old resource version"}, 410)
    told = fault(lambda: cluster.watch(PATH, resource_version="7", seconds=10))
    assert told.is_expired
    assert told.message == "watch /api/v1/namespaces: 410 Expired: too old resource version"


def test_a_server_that_hangs_in_a_watch_is_given_up(
    server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_GRACE", -0.95)

    def reply(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b"\n")
        server.ended.wait()

    server.reply = reply
    stream = cluster.watch(PATH, resource_version="7", seconds=1)
    with pytest.raises(ClusterFault) as told:
        list(stream)
    assert told.value.reason == TIMED_OUT


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_server_that_hangs_is_given_up(server: Server, cluster: Cluster) -> None:
    server.reply = lambda _handler: server.ended.wait()  # type: ignore[assignment,return-value]
    told = fault(lambda: cluster.get("/x", seconds=0.05))
    assert (told.status, told.reason) == (None, TIMED_OUT)
    assert told.message == f"GET /x: 127.0.0.1:{server.port} did not answer in time"


def test_a_server_that_drips_is_given_up(server: Server, cluster: Cluster) -> None:
    def reply(handler: Handler) -> None:
        handler.begin_stream()
        while not server.ended.wait(0.01):
            handler.chunk(b" ")

    server.reply = reply
    assert fault(lambda: cluster.get("/x", seconds=0.1)).reason == TIMED_OUT


def test_an_answer_that_is_too_large_is_not_read(
    server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 1000)
    server.answers({"a": "x" * 1000})
    assert fault(lambda: cluster.get("/x")).reason == TOO_LARGE


def test_nobody_there_is_a_fault_that_says_so(tmp_path: Path, token: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = Cluster.of_kubeconfig(kubeconfig(tmp_path, f"http://127.0.0.1:{port}", {"token": token}))
    told = fault(lambda: cluster.get("/x"))
    assert told.reason == UNREACHABLE
    assert told.message == f"GET /x: 127.0.0.1:{port} cannot be reached: Connection refused"


def test_a_connection_that_is_closed_in_place_of_an_answer_is_a_fault(
    server: Server, cluster: Cluster
) -> None:
    def reply(handler: Handler) -> None:
        handler.close_connection = True

    server.reply = reply
    told = fault(lambda: cluster.get("/x"))
    assert told.reason == UNREACHABLE
    assert len(server.asked) == 1, "who called decides about another try"


def test_a_redirect_is_not_followed_with_our_token(server: Server, cluster: Cluster) -> None:
    server.answers({}, 302, Location="http://127.0.0.1:1/elsewhere")
    assert fault(lambda: cluster.get("/x")).status == 302


def test_a_server_that_is_busy_says_for_how_long(server: Server, cluster: Cluster) -> None:
    server.answers({"reason": "TooManyRequests"}, 429, Retry_After="3")
    told = fault(lambda: cluster.get("/x"))
    assert told.retry_after == 3.0
    assert len(server.asked) == 1


# --- who we are -----------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> ClusterKeys:
    return ClusterKeys(tmp_path / "keys", "127.0.0.1")


@pytest.fixture
def tls_server(keys: ClusterKeys) -> Iterator[Server]:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(keys.serving)
    yield from serve(trust)


def pod(folder: Path, keys: ClusterKeys, token: str) -> Path:
    account = folder / "serviceaccount"
    account.mkdir()
    (account / "ca.crt").write_bytes(keys.file.read_bytes())
    (account / "token").write_text(token)
    return account


def environment(server: Server) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}


def test_in_a_pod_it_is_the_service_account_and_the_cluster_is_verified(
    tls_server: Server, keys: ClusterKeys, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    account = pod(tmp_path, keys, f"{token}\n")
    cluster = Cluster.in_pod(environment(tls_server), str(account))
    cluster.get("/x")
    assert tls_server.asked[0].headers["authorization"] == f"bearer {token}"
    cluster.close()


def test_a_token_that_was_renewed_is_used(
    tls_server: Server, keys: ClusterKeys, tmp_path: Path, token: str, canary: Canary
) -> None:
    account = pod(tmp_path, keys, token)
    cluster = Cluster.in_pod(environment(tls_server), str(account))
    cluster.get("/x")
    renewed = canary.secret("the renewed token")
    (account / "token").write_text(renewed)
    cluster.get("/x")
    loader = cluster._configuration.refresh_api_key_hook.__closure__[0].cell_contents
    # The package reads it once a minute.
    loader.token_expires_at -= loader._token_refresh_period
    cluster.get("/x")
    seen = [asked.headers["authorization"] for asked in tls_server.asked]
    assert seen == [f"bearer {token}", f"bearer {token}", f"bearer {renewed}"]
    tls_server.answers({"reason": "Unauthorized"}, 401)
    told = fault(lambda: cluster.get("/x"))
    canary.search(told.message, "message")
    assert "is read again each minute" in told.message
    cluster.close()


def test_a_token_that_cannot_be_read_any_more_is_a_fault(
    tls_server: Server, keys: ClusterKeys, tmp_path: Path, token: str
) -> None:
    account = pod(tmp_path, keys, token)
    cluster = Cluster.in_pod(environment(tls_server), str(account))
    loader = cluster._configuration.refresh_api_key_hook.__closure__[0].cell_contents
    for change in ((account / "token").unlink, lambda: (account / "token").write_text("")):
        change()
        loader.token_expires_at -= loader._token_refresh_period * 2
        assert fault(lambda: cluster.get("/x")).reason == UNCONFIGURED
    cluster.close()


def test_another_clusters_certificate_is_refused(tls_server: Server, tmp_path: Path, token: str) -> None:
    account = pod(tmp_path, ClusterKeys(tmp_path / "other", "127.0.0.1"), token)
    cluster = Cluster.in_pod(environment(tls_server), str(account))
    told = fault(lambda: cluster.get("/x"))
    assert told.reason == UNREACHABLE
    assert "TLS with 127.0.0.1" in told.message
    assert "certificate" in told.message
    assert not tls_server.asked
    cluster.close()


@pytest.mark.parametrize("missing", ["token", "ca.crt", "host"])
def test_outside_a_pod_it_says_what_to_do(missing: str, tmp_path: Path, token: str) -> None:
    account = pod(tmp_path, ClusterKeys(tmp_path / "keys", "127.0.0.1"), token)
    names = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    if missing == "host":
        names = {}
    else:
        (account / missing).unlink()
    told = fault(lambda: Cluster.in_pod(names, str(account)))
    assert told.reason == UNCONFIGURED
    assert "give it a kubeconfig" in told.message


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"contexts": 5}', '{"current-context": "x", "contexts": []}']
)
def test_a_kubeconfig_that_is_none_is_a_fault(text: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    told = fault(lambda: Cluster.of_kubeconfig(str(file)))
    assert told.reason == UNCONFIGURED
    assert str(file) in told.message


def test_the_package_is_loaded_without_its_models() -> None:
    """They would take 75 MiB of the 120 that an injector may have."""
    program = (
        "import sys\n"
        "from injector.edge.cluster import Cluster\n"
        "from injector.core.api import ClusterFault\n"
        "for load in (lambda: Cluster.in_pod({}), lambda: Cluster.of_kubeconfig('/nowhere')):\n"
        "    try: load()\n"
        "    except ClusterFault as fault: print(fault.reason)\n"
        "print(sum(name.startswith('kubernetes.client.models') for name in sys.modules))\n"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=root,
        env={"PATH": os.defpath, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["Unconfigured", "Unconfigured", "0"]


def test_a_package_that_somebody_loaded_whole_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    client = sys.modules.get("kubernetes.client")
    if client is None:
        module._only_what_we_use()
        client = sys.modules["kubernetes.client"]
    monkeypatch.setattr(client, "ApiClient", "whole", raising=False)
    module._only_what_we_use()
    assert client.ApiClient == "whole"  # type: ignore[attr-defined]


def test_a_package_that_is_not_installed_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGES", ("podkey_has_no_such_package",))
    assert fault(module._only_what_we_use).reason == UNCONFIGURED
