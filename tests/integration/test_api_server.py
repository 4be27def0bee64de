"""The API server that the injector's tests stand on: that it is one, and what of it they may rely on."""

import base64
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from tests.api_server import ETCD, MISSING, ApiServer, kubernetes
from tests.api_server_client import Object
from tests.sidecar_process import wait_for

ROOT: Final = Path(__file__).parents[2]
CRDS: Final = sorted(ROOT.joinpath("charts", "podkey", "crds").glob("*.yaml"))
POLICY: Final = ROOT / "examples" / "02-training-job" / "policy.yaml"
CONTAINERS: Final = [{"name": "app", "image": "app.test/app:1"}]

type Review = Callable[[Object], Object]


def pod(name: str, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": CONTAINERS, **spec},
    }


def template(app: str, **spec: object) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": CONTAINERS, **spec}}


# --- its controllers ---


def test_a_job_becomes_a_pod_that_has_its_token_as_newer_servers_give_it(api_server: ApiServer) -> None:
    namespace = api_server.new_namespace()
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train"},
        "spec": {"template": template("train", restartPolicy="Never")},
    }
    assert api_server.admin.create(job, namespace).status == 201
    (made,) = api_server.admin.wait_items("v1/pods", namespace=namespace, labels="job-name=train")
    assert made["metadata"]["generateName"] == "train-"
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Job"
    (volume,) = made["spec"]["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert "serviceAccountToken" in volume["projected"]["sources"][0]


def test_a_deployment_becomes_pods(api_server: ApiServer) -> None:
    namespace = api_server.new_namespace()
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "serve"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "serve"}}, "template": template("serve")},
    }
    assert api_server.admin.create(deployment, namespace).ok
    made = api_server.admin.wait_items("v1/pods", 2, namespace=namespace, labels="app=serve")
    assert {one["metadata"]["ownerReferences"][0]["kind"] for one in made} == {"ReplicaSet"}


def test_a_pod_of_an_account_that_is_not_there_is_refused(api_server: ApiServer) -> None:
    namespace = api_server.new_namespace()
    answer = api_server.admin.create(pod("train", serviceAccountName="trainer"), namespace)
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert '"trainer" not found' in answer.message


# --- who asks ---


def test_an_account_may_do_what_it_was_given_and_nothing_else(api_server: ApiServer) -> None:
    namespace = api_server.new_namespace()
    api_server.admin.install(
        [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "reader", "namespace": namespace},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "reader", "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "default"}],
            },
        ]
    )
    client = api_server.client_of(namespace, "default")
    wait_for(lambda: client.listing("v1/pods", namespace=namespace).ok, "the role")
    assert client.listing("v1/secrets", namespace=namespace).status == 403
    assert client.create(pod("train"), namespace).reason == "Forbidden"
    assert api_server.anonymous().listing("v1/pods", namespace=namespace).status == 403
    assert api_server.admin.impersonating("jane").listing("v1/pods", namespace=namespace).status == 403


def test_a_token_is_for_its_audience_and_its_pod(api_server: ApiServer) -> None:
    namespace = api_server.new_namespace()
    assert api_server.admin.create(pod("train"), namespace).ok
    token = api_server.token(namespace, "default", audiences=["podkey"], pod="train")

    def review(audience: str) -> Object:
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        status = api_server.admin.create(asked).object["status"]
        assert isinstance(status, dict)
        return status

    good = review("podkey")
    assert good["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert good["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["train"]
    assert "authenticated" not in review("sts.amazonaws.com")


# --- our documents ---


def test_our_crds_take_what_our_examples_say(api_server: ApiServer) -> None:
    api_server.admin.install([yaml.safe_load(file.read_text()) for file in CRDS])
    namespace = api_server.new_namespace()
    for made in yaml.safe_load_all(POLICY.read_text()):
        made["metadata"]["namespace"] = namespace
        assert api_server.admin.create(made).object["spec"] == made["spec"]
    policies = "podkey.io/v1alpha1/accesspolicies"
    changed = api_server.admin.patch(policies, "train-resnet", {"spec": {"grants": 7}}, namespace=namespace)
    assert (changed.status, changed.reason) == (422, "Invalid")
    assert "spec.grants" in changed.message


# --- webhooks ---


@contextmanager
def webhook(server: ApiServer, number: int, namespace: str, review: Review) -> Iterator[None]:
    """A Service whose address is on the loopback, and a server there."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            response = {"uid": asked["request"]["uid"], **review(asked["request"])}
            body = json.dumps({**asked, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    address = server.service_address(number)
    certificate = server.keys.certificate(f"webhook-{number}", f"webhook.{namespace}.svc")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "webhook"},
        "spec": {"clusterIP": address, "ports": [{"port": 443, "targetPort": 8443}]},
    }
    assert server.admin.create(service, namespace).object
    with ThreadingHTTPServer((address, 443), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            listening.shutdown()
            thread.join()


def configuration(server: ApiServer, namespace: str) -> Object:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "test.podkey.io",
                "clientConfig": {
                    "service": {"namespace": namespace, "name": "webhook", "path": "/mutate"},
                    "caBundle": base64.b64encode(server.ca_file.read_bytes()).decode(),
                },
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"podkey.io/test": namespace}},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 5,
            }
        ],
    }


def test_a_webhook_is_reached_by_the_name_of_its_service(api_server: ApiServer) -> None:
    asked: list[Any] = []

    def review(request: Object) -> Object:
        asked.append(request)
        if request["name"] == "bad":
            return {"allowed": False, "status": {"code": 403, "message": "not this one"}}
        patch = json.dumps([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}])
        coded = base64.b64encode(patch.encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": coded, "warnings": ["mind the gap"]}

    namespace = api_server.new_namespace()
    admin = api_server.admin
    label = {"metadata": {"labels": {"podkey.io/test": namespace}}}
    with webhook(api_server, 10, namespace, review):
        assert admin.create(configuration(api_server, namespace)).ok
        assert admin.patch("v1/namespaces", namespace, label).ok

        # A configuration is seen some time after it was written.
        wait_for(lambda: admin.create(pod("probe"), namespace, dry_run=True).warnings, "the webhook")
        good = admin.create(pod("good"), namespace)
        bad = admin.create(pod("bad"), namespace)
    assert good.object["metadata"]["labels"] == {"seen": "yes"}
    assert good.warnings == ("mind the gap",)
    assert (bad.status, bad.message) == (
        403,
        'admission webhook "test.podkey.io" denied the request: not this one',
    )
    assert [one["dryRun"] for one in asked if one["name"] in {"good", "bad"}] == [False, False]

    # Nobody listens now, and its policy is to fail.
    late = admin.create(pod("late"), namespace)
    assert late.status == 500
    assert "failed calling webhook" in late.message
    assert admin.delete("admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", namespace).ok


# --- its life ---


def test_an_outage_loses_nothing_but_what_was_forgotten(tmp_path: Path) -> None:
    if MISSING:
        pytest.skip(MISSING)
    with kubernetes(tmp_path / "server", controllers=False) as server:
        namespace = server.new_namespace()
        assert server.admin.create(pod("train"), namespace).ok
        version = server.admin.listing("v1/pods").object["metadata"]["resourceVersion"]
        assert server.admin.patch("v1/namespaces", namespace, {"metadata": {"labels": {"a": "b"}}}).ok
        with server.down():
            with pytest.raises(ConnectionRefusedError):
                server.admin.listing("v1/pods")
            server.compact()
        assert server.admin.get("v1/pods", "train", namespace=namespace).ok
        (event,) = server.admin.watched("v1/pods", version)
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        running = list(server._running.values())
    assert len(running) == 2
    assert None not in [process.returncode for process in running]


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    if MISSING:
        pytest.skip(MISSING)
    folder = tmp_path / "server"
    cannot = kubernetes(folder, arguments=["--no-such-flag"])
    with pytest.raises(AssertionError, match="unknown flag: --no-such-flag"):
        cannot.__enter__()
    config = json.loads(folder.joinpath("admin.kubeconfig").read_text())
    address = urlsplit(config["clusters"][0]["cluster"]["server"]).hostname
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, ETCD))
