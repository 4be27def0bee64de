"""An example, run: its own manifests and policies, the injector's output, and a kubelet by hand.

    with example_pod(canary, story("02")) as pod:
        with upstream_for(pod, "api.wandb.ai", …) as wandb:
            kubelet = stack.enter_context(started(pod, "job", secrets={"wandb": {"api-key": …}}))
            done = kubelet.run_program("train.py")

What is taken from the example, unchanged: the namespace with its labels, the workload's pod, the policies,
and the program. What is the test's: names lead to servers of the test, whose authority is trusted as a
platform team makes a private one trusted; and the cluster's keys come from a file (`PODKEY_JWKS_FILE`).
"""

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from proxy.core.contract import (
    IDENTITY_AUDIENCE,
    POLICY_CONFIG_MAP,
    POLICY_KEY,
    REDIRECT_CONTAINER,
    SIDECAR_CONTAINER,
)
from tests.canary import Canary
from tests.command_line import run_podkey
from tests.example_manifests import Raw
from tests.hand_kubelet import UPSTREAM_CA, HandKubelet
from tests.netns import PodNetwork, pod_network
from tests.pod_tokens import ISSUER
from tests.sidecar_pod import NODE, POD_NAME, POD_UID, SidecarPod
from tests.warm_up import warm_up_sdks, warm_up_sidecar

# A file of the sidecar's image, as UPSTREAM_CA is.
JWKS_FILE: Final = "/etc/ssl/keys-of-this-cluster.json"
POLICY: Final = "policy.yaml"


class ExamplePod(SidecarPod):
    """A pod's place, with the identity of the example's workload."""

    def __init__(self, network: PodNetwork, folder: Path, canary: Canary, example: Path) -> None:
        self.example = example
        who = json.loads((example / "request.json").read_text())["identity"]
        self.who = {"namespace": who["namespace"], "account": who["serviceAccount"]}
        super().__init__(network, folder, canary)

    def new_token(self, audience: str = IDENTITY_AUDIENCE, **who: Any) -> bytes:
        return super().new_token(audience, **{**self.who, **who})


@contextmanager
def example_pod(canary: Canary, example: Path, *, internet: Sequence[str] = ()) -> Iterator[ExamplePod]:
    with ExitStack() as last:
        folder = Path(tempfile.mkdtemp(prefix="podkey-example-"))
        last.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        network = last.enter_context(pod_network(v6=True, internet=internet))
        pod = ExamplePod(network, folder, canary, example)
        last.callback(pod.close)
        yield pod


class ExampleKubelet(HandKubelet):
    pod: ExamplePod

    @property
    def app(self) -> str:
        """The first container that is the example's own."""
        return str(self.stored["spec"]["containers"][0]["name"])

    def run_program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The container's own command, whose program is the file of that name in the example's folder."""
        program, *rest = self.container(self.app)["command"]
        if program != "python":
            raise AssertionError(f"{self.app} runs {program}: only programs in Python can be run here")
        text = (self.pod.example / rest[0]).read_text()
        return self.run_text(self.app, text, *rest[1:], *arguments)

    def run_text(self, name: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A program in Python, in a container."""
        # Its home can be written, as in most images; everything else is as the pod says.
        return self.exec(name, [sys.executable, "-c", program, *arguments], {"HOME": "/tmp"})

    def audit(self) -> list[Raw]:
        """The audit records of requests that have ended."""
        return [one for one in self.records(SIDECAR_CONTAINER) if one.get("type") == "audit"]

    def swap_policy(self, text: str) -> None:
        """As the injector compiles it anew, and the kubelet brings it."""
        folder = self.volumes["podkey-policy"]
        new = folder / "..2026_11_20_14_06_00.000000001"
        new.mkdir()
        (new / POLICY_KEY).write_text(text)
        link = folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(folder / "..data")

    def _field(self, path: str) -> str:
        who = self.pod.who
        own = {"metadata.namespace": who["namespace"], "spec.serviceAccountName": who["account"]}
        own |= {f"metadata.labels['{key}']": text for key, text in self.stored["metadata"]["labels"].items()}
        return own[path] if path in own else super()._field(path)


@contextmanager
def started(
    pod: ExamplePod,
    workload: str,
    *,
    secrets: Mapping[str, Mapping[str, bytes]],
    number: int = 0,
    options: Sequence[str] = (),
) -> Iterator[ExampleKubelet]:
    """The pod of a workload, with its redirect loaded and its sidecar ready. `number`: which of its pods."""
    warm_up_sidecar()
    warm_up_sdks()
    stored = with_secrets(scheduled(patched(pod.example, workload, options)[number]), secrets)
    authority = {"ca.crt": pod.authority.file.read_bytes()}
    maps = {
        POLICY_CONFIG_MAP: {POLICY_KEY: (pod.example / POLICY).read_bytes()},
        "kube-root-ca.crt": authority,
    }
    kubelet = ExampleKubelet(pod, stored, secrets=secrets, config_maps=maps)
    (kubelet.image / "ssl" / Path(JWKS_FILE).name).write_bytes(pod.jwks_file.read_bytes())
    try:
        for one in stored["spec"]["initContainers"]:
            if one["name"] == REDIRECT_CONTAINER:
                kubelet.run_to_end(REDIRECT_CONTAINER)
            elif one["name"] == SIDECAR_CONTAINER:
                kubelet.start(SIDECAR_CONTAINER)
                kubelet.wait_startup(SIDECAR_CONTAINER)
        yield kubelet
    finally:
        kubelet.close()


def patched(example: Path, workload: str, options: Sequence[str] = ()) -> list[Raw]:
    """What the API server would store: by `podkey inject`, with this test's settings of the platform team."""
    argv = ["inject", "-f", str(example / "namespace.json"), "-f", str(example / f"{workload}.json")]
    argv += ["--policies", str(example), "--output", "json", *options]
    environment = {"PODKEY_UPSTREAM_CA_FILES": UPSTREAM_CA, "PODKEY_JWKS_FILE": JWKS_FILE}
    environment |= {"PODKEY_ISSUER": ISSUER}
    argv += ["--sidecar-environment", "\n".join(f"{name}={value}" for name, value in environment.items())]
    done = run_podkey(*argv)
    if done.returncode:
        raise AssertionError(f"podkey {shlex.join(argv)}: {done.stderr.decode()}")
    return [one["patched"] for one in json.loads(done.stdout) if one["outcome"] == "inject"]


def scheduled(pod: Raw) -> Raw:
    """With what the API server and the scheduler write."""
    pod["metadata"] |= {"name": POD_NAME, "uid": POD_UID}
    pod["spec"]["nodeName"] = NODE
    return pod


def with_secrets(pod: Raw, secrets: Mapping[str, Mapping[str, bytes]]) -> Raw:
    """What a container's environment takes of Secrets, as the kubelet puts it there."""
    for one in pod["spec"]["containers"]:
        for entry in one.get("env", ()):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                del entry["valueFrom"]
                entry["value"] = secrets[reference["name"]][reference["key"]].decode()
    return pod
