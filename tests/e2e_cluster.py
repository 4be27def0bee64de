"""A cluster that podkey is installed in by Helm: a real one, or the local API server in its place.

What is done with it is in tests/e2e_steps.py.
"""

import json
import os
import secrets
import ssl
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from injector.edge.cluster import Cluster as EdgeCluster
from tests.api_server_client import ApiClient
from tests.helm_chart import CHART, HELM, NAMESPACE
from tests.sidecar_process import wait_for

RELEASE: Final = "podkey"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
# Images are pulled, nodes are busy.
ROLLOUT: Final = 300


@dataclass
class Cluster:
    """`kubelets`: whether pods really run. `metrics` is what a pod's sidecar shows of itself."""

    admin: ApiClient
    kubeconfig: str
    injector_image: str
    proxy_image: str
    app_image: str
    kubelets: bool = True
    chart: Path = CHART
    namespaces: list[str] = field(default_factory=list)
    # By time.monotonic().
    installed_at: float = 0.0
    # What is to be told in the report.
    measured: list[str] = field(default_factory=list)

    @property
    def server(self) -> "Cluster":
        """As helpers in tests/injector_objects.py have it."""
        return self

    @property
    def version(self) -> tuple[int, int]:
        """Some vendors write `31+`."""
        found = self.admin.call("GET", "/version").object
        return int(found["major"]), int(found["minor"].rstrip("+"))

    @property
    def is_native(self) -> bool:
        """Whether the sidecar is a native one, on nodes that are no older than the server."""
        return self.kubelets and self.version >= (1, 29)

    def new_namespace(self, prefix: str = "podkey-e2e", labels: Mapping[str, str] = NOTHING) -> str:
        name = f"{prefix}-{secrets.token_hex(3)}"
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}
        assert self.admin.create(made).object
        self.namespaces.append(name)
        account = "v1/serviceaccounts"
        wait_for(lambda: self.admin.get(account, "default", namespace=name).ok, f"accounts of {name}", 60)
        return name

    def metrics(self, namespace: str, pod: str, port: int) -> str:
        """Through the API server: nothing is run in the pod."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics"
        return str(self.admin.call("GET", path).body)

    # --- Helm ---

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        done = subprocess.run(
            [HELM, *arguments, "--namespace", NAMESPACE],
            input=None if values is None else json.dumps(values),
            env={"PATH": os.defpath, "HOME": os.environ.get("HOME", "/"), "KUBECONFIG": self.kubeconfig},
            capture_output=True,
            text=True,
            timeout=ROLLOUT + 60,
            check=False,
        )
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stderr}"
        return done.stdout

    def install(self) -> None:
        values = {
            "injector": {"image": _image(self.injector_image)},
            "sidecar": {"image": _image(self.proxy_image)},
        }
        waits = ["--wait", "--timeout", f"{ROLLOUT}s"] if self.kubelets else []
        self.installed_at = time.monotonic()
        self.helm("install", RELEASE, str(self.chart), "--create-namespace", "-f", "-", *waits, values=values)

    def uninstall(self) -> None:
        self.helm("uninstall", RELEASE)

    def clean(self) -> None:
        """All that tests made; the definitions of our kinds stay, as Helm leaves them."""
        for name in self.namespaces:
            self.admin.delete("v1/namespaces", name)
        if self.admin.get("apps/v1/deployments", "podkey-injector", namespace=NAMESPACE).ok:
            self.uninstall()
        self.admin.delete("v1/namespaces", NAMESPACE)


def _image(name: str) -> dict[str, str]:
    """As the chart's values have it."""
    repository, is_digest, digest = name.partition("@")
    if is_digest:
        return {"repository": repository, "digest": digest}
    head, colon, tag = name.rpartition(":")
    # A registry may have a port.
    return (
        {"repository": head, "tag": tag}
        if colon and "/" not in tag
        else {"repository": name, "tag": "latest"}
    )


# --- a real one -----------------------------------------------------------------------------------


def of_kubeconfig(path: str, environment: Mapping[str, str]) -> Cluster:
    """`environment` has the images; each that is missing is named."""
    names = ("INJECTOR_IMAGE", "PROXY_IMAGE", "APP_IMAGE")
    missing = [name for name in names if not environment.get(name)]
    assert not missing, f"say which images the cluster can pull: {' '.join(f'{name}=…' for name in missing)}"
    injector, proxy, app = (environment[name] for name in names)
    return Cluster(client_of(path), path, injector, proxy, app)


def client_of(path: str) -> ApiClient:
    """With whatever way of proving who we are the kubeconfig's current context has, as it is now."""
    found = EdgeCluster.of_kubeconfig(path)._configuration
    place = urlsplit(found.host)
    assert place.scheme == "https", f"{path}: the server is not asked by HTTPS"
    assert place.path in {"", "/"}, f"{path}: these tests know no server below a path ({place.path})"
    trust = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if not found.verify_ssl:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    if found.cert_file:
        trust.load_cert_chain(found.cert_file, found.key_file)
    token = found.auth_settings().get("BearerToken")
    headers = [("Authorization", str(token["value"]).strip())] if token else []
    return ApiClient((place.hostname or "", place.port or 443), trust, headers)
