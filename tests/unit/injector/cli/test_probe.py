import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from injector.cli import probe
from injector.cli.main import main
from injector.core.api import MUTATING_WEBHOOKS, UNREACHABLE, VALIDATING_WEBHOOKS, ClusterFault
from injector.edge.cluster import Cluster
from injector.edge.tls import server_context
from injector.engine.authority import Rest, Store, advance, read_state
from injector.engine.leaf import renewed_leaf
from injector.reading.reviews import Review, read_review
from proxy.cli.exit_status import OK, PROBLEMS, USAGE
from proxy.core.hosts import Hostname
from proxy.x509.certificates import new_key

HOST = "podkey-injector.podkey-system.svc"


class Authority:
    """podkey's own, and a certificate of it."""

    def __init__(self, host: str = HOST) -> None:
        from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - only here

        now = datetime.now(UTC)
        secret: dict[str, bytes] = {}
        bundle = b""
        while not isinstance(step := advance(secret or None, [bundle], now, new_key), Rest):
            if isinstance(step, Store):
                secret = dict(step.data)
            else:
                bundle = step.bundle
        state = read_state(secret)
        self.bundle = base64.b64encode(bundle).decode()
        leaf = renewed_leaf(None, state, seen=timedelta(), names=[Hostname(host)], now=now, draw=new_key)
        assert leaf is not None
        self.context = server_context(leaf.chain_pem, leaf.key_pem)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, text = self.server.answer(body)  # type: ignore[attr-defined]
        self.server.asked.append((self.path, self.headers["Host"], read_review(body)))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        pass


class Server(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever does not trust us hangs up."""


def allowed(body: bytes) -> tuple[int, bytes]:
    uid = json.loads(body)["request"]["uid"]
    return 200, json.dumps({"kind": "AdmissionReview", "response": {"uid": uid, "allowed": True}}).encode()


@contextmanager
def serving(context: ssl.SSLContext, answer: Any = allowed) -> Iterator[Any]:
    server: Any = Server(("127.0.0.1", 0), Handler)
    server.answer, server.asked = answer, []
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configuration(bundle: str | None, *paths: str) -> dict[str, Any]:
    service = {"name": "podkey-injector", "namespace": "podkey-system"}
    return {
        "webhooks": [
            {
                "name": f"{path.strip('/')}.injector.podkey.io",
                "clientConfig": {"service": {**service, "path": path}}
                | ({"caBundle": bundle} if bundle is not None else {}),
                "failurePolicy": "Fail",
                "rules": [{"operations": ["CREATE"], "resources": ["pods"]}],
            }
            for path in paths
        ]
    }


def found(bundle: str | None, port: int = 1) -> list[str]:
    def get(path: str) -> dict[str, Any]:
        return configuration(bundle, *(["/mutate"] if "/mutating" in path else ["/validate", "/guard"]))

    return list(probe.look(get, "podkey-injector", ("127.0.0.1", port)))


def test_every_webhook_is_asked_as_an_api_server_asks(authority: Authority) -> None:
    with serving(authority.context) as server:
        assert found(authority.bundle, server.server_port) == []
    assert [path for path, _, _ in server.asked] == [
        f"/{one}?timeout=5s" for one in ("mutate", "validate", "guard")
    ]
    for _, host, review in server.asked:
        assert host == HOST
        assert isinstance(review, Review)
        assert (review.operation, review.dry_run, review.namespace) == ("CREATE", True, "podkey-system")


def test_a_certificate_of_somebody_else_is_told(authority: Authority) -> None:
    with serving(Authority().context) as server:
        told = found(authority.bundle, server.server_port)
    assert len(told) == 3
    assert "does not vouch for: " in told[0]
    assert told[0].startswith("mutate.injector.podkey.io: 127.0.0.1:")


def test_a_certificate_for_another_name_is_told(authority: Authority) -> None:
    other = Authority("podkey-injector.elsewhere.svc")
    with serving(other.context) as server:
        assert "does not vouch for: " in found(other.bundle, server.server_port)[0]


@pytest.mark.parametrize("bundle", [None, "", "!", base64.b64encode(b"nothing").decode()])
def test_a_bundle_that_is_empty_or_none_is_told(bundle: str | None) -> None:
    assert "its caBundle is empty or cannot be read" in found(bundle)[0]


def test_nobody_there_is_told(authority: Authority) -> None:
    with serving(authority.context) as server:
        port = server.server_port
    assert "are replicas ready?" in found(authority.bundle, port)[0]


@pytest.mark.parametrize(
    "answer",
    [
        (503, b"podkey: not ready"),
        (200, b"<html>"),
        (200, b'{"kind": "AdmissionReview", "response": {"uid": "another", "allowed": true}}'),
        (200, b'{"kind": "AdmissionReview", "response": {"uid": "podkey-probe", "allowed": false}}'),
        (200, b"[]"),
    ],
)
def test_an_answer_that_is_none_is_told(authority: Authority, answer: tuple[int, bytes]) -> None:
    with serving(authority.context, lambda _: answer) as server:
        assert f"answers {answer[0]} and no review" in found(authority.bundle, server.server_port)[0]


def test_a_configuration_that_is_missing_or_not_readable_is_told() -> None:
    def get(path: str) -> Any:
        if "mutating" in path:
            raise ClusterFault(404, "NotFound", "GET: not found")
        raise ClusterFault(None, UNREACHABLE, "GET: cannot be reached")

    missing = "podkey is not installed, or named otherwise"
    assert list(probe.look(get, "podkey-injector", None)) == [
        f"there is no `podkey-injector` of the {MUTATING_WEBHOOKS.plural}: {missing}",
        "GET: cannot be reached",
    ]


def test_without_another_place_it_is_the_services_own() -> None:
    webhook = probe.webhook_of(configuration("x", "/mutate")["webhooks"][0])
    assert webhook is not None
    assert (webhook.host, webhook.port, webhook.path) == (HOST, 443, "/mutate")


@pytest.mark.parametrize("empty", [{}, {"webhooks": []}, {"webhooks": None}])
def test_a_configuration_without_webhooks_is_told(empty: dict[str, Any]) -> None:
    told = list(probe.look(lambda _: empty, "podkey-injector", None))
    assert [one.partition(":")[0] for one in told] == [
        f"`podkey-injector` of the {kind.plural} has no webhooks"
        for kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
    ]


def faults(server: Any, authority: Authority, path: str, **changed: Any) -> list[str]:
    (webhook,) = configuration(authority.bundle, path)["webhooks"]
    return list(probe.faults_of(webhook | changed, ("127.0.0.1", server.server_port)))


def test_a_webhook_that_leads_elsewhere_is_told_and_not_asked(authority: Authority) -> None:
    with serving(authority.context) as server:
        client = {"url": "https://other.example/mutate", "caBundle": authority.bundle}
        (told,) = faults(server, authority, "/mutate", clientConfig=client)
    assert told.startswith("API servers ask https://other.example/mutate, which is no Service")
    assert server.asked == []


@pytest.mark.parametrize("policy", ["Ignore", None])
def test_pods_that_start_while_nobody_answers_are_told(authority: Authority, policy: str | None) -> None:
    with serving(authority.context) as server:
        (told,) = faults(server, authority, "/mutate", failurePolicy=policy)
        assert told.startswith(f"its failurePolicy is {policy}: while it is away pods start")
        # The chart has others that may be away.
        assert faults(server, authority, "/guard", failurePolicy=policy) == []


@pytest.mark.parametrize("rules", [[], None])
@pytest.mark.parametrize("path", ["/mutate", "/validate"])
def test_a_webhook_that_is_asked_about_nothing_is_told(
    authority: Authority, path: str, rules: list[Any] | None
) -> None:
    with serving(authority.context) as server:
        (told,) = faults(server, authority, path, rules=rules)
    assert told.startswith("it has no rules")


# --- the command ---------------------------------------------------------------------------------


class Api:
    source = "kubeconfig"

    def get(self, path: str) -> Any:
        return {}


def test_the_command_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = [["a: no", "b: no"], ["b: no"], []]
    monkeypatch.setattr(Cluster, "of_kubeconfig", lambda path: Api())
    monkeypatch.setattr(probe, "look", lambda get, name, connect: iter(rounds.pop(0)))
    monkeypatch.setattr(probe, "PAUSE_SECONDS", 0.0)

    assert main(["probe", "--kubeconfig", "x", "--connect", "[::1]:8443"]) == OK
    assert "every webhook answers" in capsys.readouterr().out

    rounds[:] = [["a: no", "b: no"]]
    assert main(["probe", "--kubeconfig", "x", "--wait", "0"]) == PROBLEMS
    assert capsys.readouterr().err.splitlines() == [f"podkey-injector probe: {one}: no" for one in "ab"]


def test_outside_of_a_cluster_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["probe"]) == PROBLEMS
    assert "no service account" in capsys.readouterr().err
    assert main(["probe", "--kubeconfig", str(tmp_path / "none")]) == PROBLEMS


@pytest.mark.parametrize("place", ["8443", ":8443", "host:https"])
def test_a_place_has_a_host_and_a_port(place: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["probe", "--connect", place])
    assert ended.value.code == USAGE
