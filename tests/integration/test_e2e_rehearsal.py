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
from tests.audited_rights import Right, asked_for, audit_arguments, covers, granted
from tests.e2e_cluster import Cluster, client_of
from tests.e2e_steps import NAME, STEPS, Step
from tests.helm_chart import CHART, NAMESPACE, is_hook, render
from tests.helm_chart import MISSING as NO_HELM
from tests.injector_process import SERVICE_NUMBER, WEBHOOK_PORT, RunningInjector, start

pytestmark = pytest.mark.skipif(bool(MISSING or NO_HELM), reason=MISSING or NO_HELM)

HTTPS: Final = 443
ACCOUNT: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"
# What it is granted for days that are not like this one.
RARE: Final = {
    # An Event that happens again is counted on.
    Right("patch", "", "events", "", ""),
    # The variables changed with a version, or somebody changed the ConfigMap.
    Right("update", "", "configmaps", "podkey-trust", ""),
}


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
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, RunningInjector, Path]]:
    """With the folder where the audit log is."""
    folder = tmp_path_factory.mktemp("e2e")
    audit = audit_arguments(folder, ACCOUNT)
    with kubernetes(folder / "server", arguments=audit) as server:
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
                yield made, running, folder
        finally:
            running.stop()
            made.clean()


@pytest.fixture(scope="module")
def cluster(rehearsed: tuple[Cluster, RunningInjector, Path]) -> Cluster:
    return rehearsed[0]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_on_the_local_api_server(cluster: Cluster, step: Step) -> None:
    step(cluster)


def test_the_roles_hold_what_was_asked_for_in_all_of_it_and_nothing_else(
    rehearsed: tuple[Cluster, RunningInjector, Path],
) -> None:
    _, running, folder = rehearsed
    # What goes on, a watch, is logged when it ends.
    running.stop()
    asked = asked_for(folder)
    roles = [one for one in render() if not is_hook(one)]
    grants = set(granted(roles))
    assert len(asked) > 30
    refused = {right for right in asked if not any(covers(grant, right) for grant in grants)}
    assert refused == set(), "asked for, and not granted"
    unused = {grant for grant in grants if not any(covers(grant, right) for right in asked)}
    assert unused == RARE, "granted, and not asked for"
