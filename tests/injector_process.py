"""The real injector beside a real API server: the chart's objects, its service account, its process.

    with injector(api_server, folder) as running:
        namespace = running.server.new_namespace(labels={"podkey.io/inject": "enabled"})
        pod = running.server.admin.create(POD, namespace).object      # has its sidecar

What a kubelet would do (the Deployment) is done by this process; all else is applied as the chart renders it.
"""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.api_server import ApiServer
from tests.helm_chart import CHART, NAMESPACE, Manifest, is_hook, render
from tests.netns import ROOT
from tests.sidecar_process import wait_for

NAME: Final = "podkey-injector"
# The webhook's Service, of which no kube-proxy knows: the injector listens on its address itself.
SERVICE_NUMBER: Final = 100
ADMIN_PORT: Final = 8080
# What port 443 of the Service leads to in a cluster; here the API server goes to it straight.
WEBHOOK_PORT: Final = 8443
WAIT_SECONDS: Final = 60.0
# Twice what its own deadlines add up to beside an API server that hangs.
END_SECONDS: Final = 30.0


class RunningInjector:
    """One replica."""

    def __init__(
        self, server: ApiServer, process: subprocess.Popen[bytes], address: str, log: Path, pod_name: str
    ) -> None:
        self.server = server
        self.process = process
        self.address = address
        self.log_file = log
        self.pod_name = pod_name

    def probe(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.address}:{ADMIN_PORT}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = 0.0
        for line in self.probe("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(one in series for one in wanted):
                found += float(value)
        return found

    def wait_ready(self) -> None:
        def look() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the injector ended:\n{self.log_file.read_text()}")
            return self.probe("/readyz")[0] == 200

        wait_for(look, "the injector to be ready", WAIT_SECONDS)

    def stop(self) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)  # twice: it does not linger
        return self._ended()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self._ended()

    def _ended(self) -> int:
        """Its exit status. One that does not end is ended, and the test says what it was at."""
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            last = "\n".join(self.log_file.read_text(errors="replace").splitlines()[-40:])
            raise AssertionError(f"the injector did not end within {END_SECONDS:.0f} s:\n{last}") from None


def objects(server: ApiServer, values: Mapping[str, Any] | None = None) -> list[Manifest]:
    """What the chart brings, as far as a cluster of 1.20 without kubelets has it."""
    found = [
        one
        for one in render(values, "1.21.0")
        if one["kind"] not in {"Deployment", "PodDisruptionBudget", "NetworkPolicy"} and not is_hook(one)
    ]
    for one in found:
        if one["kind"] == "Service":
            one["spec"]["clusterIP"] = server.service_address(SERVICE_NUMBER)
            one["spec"]["ports"] = [{"name": "https", "port": WEBHOOK_PORT}]
        for webhook in one.get("webhooks", []):
            webhook["clientConfig"]["service"]["port"] = WEBHOOK_PORT
    return found


def install(server: ApiServer, values: Mapping[str, Any] | None = None) -> None:
    """The chart without its Deployment."""
    import yaml  # noqa: PLC0415 - only here

    if not server.admin.get("v1/namespaces", NAMESPACE).ok:
        server.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    crds = [yaml.safe_load(file.read_text()) for file in sorted((CHART / "crds").glob("*.yaml"))]
    made = objects(server, values)
    if server.admin.get("v1/services", NAME, namespace=NAMESPACE).ok:
        # Made anew it would be refused for its own address, and not for its name.
        made = [one for one in made if one["kind"] != "Service"]
    server.admin.install([*crds, *made])


def start(server: ApiServer, folder: Path, number: int = 0, **settings: str) -> RunningInjector:
    """A replica; the first listens where the Service leads. `settings` without `PODKEY_INJECTOR_`."""
    address = server.service_address(SERVICE_NUMBER + number)
    pod_name = f"{NAME}-{number}"
    log = folder / f"{pod_name}-{len(list(folder.glob(f'{pod_name}-*.log')))}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PODKEY_INJECTOR_NAMESPACE": NAMESPACE,
        "PODKEY_INJECTOR_POD_NAME": pod_name,
        "PODKEY_INJECTOR_IMAGE": "registry.test/podkey/proxy:1",
        "PODKEY_INJECTOR_WEBHOOK_ADDRESS": address,
        "PODKEY_INJECTOR_ADMIN_ADDRESS": address,
        "PODKEY_INJECTOR_ADMIN_PORT": str(ADMIN_PORT),
        "PODKEY_INJECTOR_LINGER": "0s",
        "PODKEY_INJECTOR_DETECTOR_PERIOD": "10s",
        # It has no nodes, and would drop `restartPolicy` of an init container without a word.
        "PODKEY_INJECTOR_NATIVE_SIDECARS": "never",
        **{f"PODKEY_INJECTOR_{name.upper()}": value for name, value in settings.items()},
    }
    command = [
        sys.executable,
        "-O",
        "-m",
        "injector",
        "serve",
        "--kubeconfig",
        str(server.kubeconfig_for(NAMESPACE, NAME)),
        "--webhook-port",
        str(WEBHOOK_PORT),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return RunningInjector(server, process, address, log, pod_name)


@contextmanager
def injector(server: ApiServer, folder: Path, **settings: str) -> Iterator[RunningInjector]:
    """Installed and ready; gone with its webhooks at the end."""
    install(server)
    running = start(server, folder, **settings)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()
        for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            server.admin.delete(f"admissionregistration.k8s.io/v1/{kind}", NAME)
