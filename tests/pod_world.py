"""What stands around a pod in most tests: a policy, its secret, and servers of the internet.

    with upstream_for(pod, "api.openai.com") as upstream:
        pod.start_sidecar(policy({"service": "openai", "paths": ["/v1/**"]}), secret(key))

Policies are made for the identity that `SidecarPod` has. Each grant uses the credential `api-key` unless it
names another; each credential is the key `key` of a mounted secret of the same name.
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from typing import Any, Final, NamedTuple, Self

from tests.netns import INTERNET_V4, INTERNET_V6
from tests.sidecar_pod import ACCOUNT, NAMESPACE, SidecarPod
from tests.upstreams import Handler, Upstream, tls_context

CREDENTIAL: Final = "api-key"
API: Final = "podkey.io/v1alpha1"


def policy(*grants: Mapping[str, Any], workloads: Mapping[str, Any] | None = None) -> str:
    """An AccessPolicy with these grants, and a CredentialSource for each credential that they name."""
    whole = [{"credential": CREDENTIAL, **grant} for grant in grants]
    documents = [
        _document(
            "AccessPolicy",
            "llm",
            {"workloads": workloads or {"serviceAccounts": [ACCOUNT]}, "grants": whole},
        )
    ]
    for credential in sorted({grant["credential"] for grant in whole}):
        source = {"mountedSecret": {"secretName": credential, "key": "key"}}
        documents.append(_document("CredentialSource", credential, source))
    # JSON is YAML.
    return "\n---\n".join(json.dumps(document, indent=2) for document in documents)


def s3_policy(*buckets: str) -> str:
    """Reading and listing of these buckets, with keys in a mounted secret `s3`."""
    grant = {"service": "s3", "buckets": list(buckets), "access": ["read", "list"], "credential": "s3"}
    keys = {"accessKeyId": "access-key-id", "secretAccessKey": "secret-access-key"}
    documents = [
        _document("AccessPolicy", "data", {"workloads": {"serviceAccounts": [ACCOUNT]}, "grants": [grant]}),
        _document("CredentialSource", "s3", {"mountedSecret": {"secretName": "s3", "keys": keys}}),
    ]
    return "\n---\n".join(json.dumps(document, indent=2) for document in documents)


def _document(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def secret(value: str) -> dict[str, dict[str, bytes]]:
    """What `start_sidecar` takes as `secrets`, for the credential that `policy` names."""
    return {CREDENTIAL: {"key": value.encode()}}


def upstream_for(
    pod: SidecarPod,
    *names: str,
    routes: Mapping[str, Handler] | None = None,
    addresses: Sequence[str] = (INTERNET_V4, INTERNET_V6),
    port: int = 443,
) -> Upstream:
    """A TLS server out there that has a good certificate for these names; they lead to it."""
    pod.resolve(*names, to=addresses)
    context = tls_context(*pod.upstream_certificate(*names))
    return Upstream(context, routes or {}, ns=pod.network.net, addresses=addresses, port=port)


@contextmanager
def serving(listener: socket.socket, talk: Callable[[socket.socket], None]) -> Iterator[None]:
    """A server without TLS: `talk` has a thread for each connection."""
    threads: list[threading.Thread] = []
    taken: list[socket.socket] = []

    def run(sock: socket.socket) -> None:
        with sock, suppress(OSError):
            talk(sock)

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.settimeout(10)
                taken.append(sock)
                threads.append(threading.Thread(target=run, args=(sock,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in taken:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in (acceptor, *threads):
            thread.join(10)


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def fetch(pod: SidecarPod, host: str, path: str, *, port: int = 443, **headers: str) -> Answer:
    """A GET from inside the pod, as root, on a connection of its own; much cheaper than `run_app`."""
    with Session(pod, host, port=port) as session:
        return session.get(path, **headers)


class Session:
    """One TLS connection from inside the pod, kept open between requests."""

    def __init__(self, pod: SidecarPod, host: str, *, port: int = 443) -> None:
        self._connection = HTTPConnection(host, timeout=10)
        context = ssl.create_default_context(cafile=str(pod.bundle))
        self.sock = context.wrap_socket(pod.dial(INTERNET_V4, port), server_hostname=host)
        self._connection.sock = self.sock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        self._connection.request(
            "GET", path, headers={name.replace("_", "-"): headers[name] for name in headers}
        )
        answer = self._connection.getresponse()
        return Answer(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )


def recv_all(sock: socket.socket) -> bytes:
    """Everything up to the other side's end."""
    data = b""
    while more := sock.recv(65_536):
        data += more
    return data
