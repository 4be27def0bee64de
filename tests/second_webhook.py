"""Somebody else's mutating webhook, as meshes and agents have one: a small HTTPS server.

    with second_webhook(server, 140, namespace, lambda pod: [{"op": "add", ...}]) as reviewed:
        ...                         # `reviewed` is the pods that it was asked about, as they came

Its configuration's name sorts after podkey's, so it is asked after it.
"""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from tests.api_server import ApiServer
from tests.api_server_client import Object

PORT: Final = 8443

type Patch = Callable[[Object], list[Object]]


@contextmanager
def second_webhook(server: ApiServer, number: int, namespace: str, patch: Patch) -> Iterator[list[Object]]:
    """For pods of the namespace alone; its Service lives there, too."""
    reviewed: list[Object] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            request = asked["request"]
            reviewed.append(request["object"])
            response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
            if operations := patch(request["object"]):
                coded = base64.b64encode(json.dumps(operations).encode()).decode()
                response |= {"patchType": "JSONPatch", "patch": coded}
            body = json.dumps({**asked, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    name, address = f"zz-{namespace}", server.service_address(number)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.keys.certificate(name, f"mesh.{namespace}.svc"))
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mesh"},
        "spec": {"clusterIP": address, "ports": [{"port": PORT}]},
    }
    assert server.admin.create(service, namespace).object
    assert server.admin.patch(
        "v1/namespaces", namespace, {"metadata": {"labels": {"mesh.test/of": namespace}}}
    ).ok
    with ThreadingHTTPServer((address, PORT), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert server.admin.create(_configuration(server, name, namespace)).object
            yield reviewed
        finally:
            server.admin.delete("admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", name)
            server.admin.delete("v1/services", "mesh", namespace=namespace)
            listening.shutdown()
            thread.join()


def _configuration(server: ApiServer, name: str, namespace: str) -> Object:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook = {
        "name": "pods.mesh.test",
        "clientConfig": {
            "service": {"namespace": namespace, "name": "mesh", "port": PORT},
            "caBundle": base64.b64encode(server.ca_file.read_bytes()).decode(),
        },
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"mesh.test/of": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
