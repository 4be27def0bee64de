"""The steps of `make e2e` against the local API server: real Helm, real objects, a real injector; no kubelet.

What the kubelet and kube-proxy would do for the injector is done here: its process runs, and the port of the
chart's own Service leads to it. Steps about running pods skip.
"""

import re
import select
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Final

import pytest

from tests.api_server import MISSING, kubernetes
from tests.e2e_cluster import Cluster, client_of
from tests.e2e_steps import NAME, STEPS, Step
from tests.helm_chart import CHART, NAMESPACE
from tests.helm_chart import MISSING as NO_HELM
from tests.injector_process import SERVICE_NUMBER, WEBHOOK_PORT, start

pytestmark = pytest.mark.skipif(bool(MISSING or NO_HELM), reason=MISSING or NO_HELM)

HTTPS: Final = 443


class Relay(BaseRequestHandler):
    """A connection to the Service's port, handed on to the one that the injector listens on."""

    def handle(self) -> None:
        with socket.create_connection((self.server.server_address[0], WEBHOOK_PORT)) as there:
            ways = {self.request: there, there: self.request}
            while True:
                for one in select.select(list(ways), [], [])[0]:
                    data = one.recv(65_536)
                    if not data:
                        return
                    ways[one].sendall(data)


@contextmanager
def service_port(address: str) -> Iterator[None]:
    with Relays((address, HTTPS), Relay) as relays:
        thread = Thread(target=relays.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            relays.shutdown()
            thread.join()


class Relays(ThreadingTCPServer):
    daemon_threads = True
    # Connections that are kept open end with the test.
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever is cut off knows it."""


def for_1_20(folder: Path) -> Path:
    """The chart is for 1.21 and later, which have policy/v1."""
    shutil.copytree(CHART, folder)
    about = folder / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^kubeVersion:.*$", "", about.read_text()))
    (folder / "templates" / "poddisruptionbudget.yaml").unlink()
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("e2e")
    with kubernetes(folder / "server") as server:
        pinned = f"registry.test/proxy@sha256:{'0' * 64}"
        images = ("registry.test:5000/injector:1", pinned, "registry.test/app")
        config, chart = str(server.kubeconfig), for_1_20(folder / "chart")
        made = Cluster(client_of(config), config, *images, kubelets=False, chart=chart)
        made.install()
        service = server.admin.get("v1/services", NAME, namespace=NAMESPACE).object
        number = int(service["spec"]["clusterIP"].rpartition(".")[2])
        running = start(server, folder, number - SERVICE_NUMBER)
        try:
            running.wait_ready()
            with service_port(running.address):
                yield made
        finally:
            running.stop()
            made.clean()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_on_the_local_api_server(cluster: Cluster, step: Step) -> None:
    step(cluster)
