"""The world of whole pods: a store, a registry, an API, a cluster's issuer, and the images of both programs.

    with pod_lab() as lab, lab.playing("job.yaml") as pod:
        assert pod.wait("train") == 0

What the store is (OpenStack Swift) and the registry (docker-registry) is real; the API is a server that knows
one key. The manifests are those of tests/pods, and what is played is what the injector's image makes of them.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.settings import InjectorSettings, SidecarSettings
from injector.engine.rehearsal import rehearsal_world
from injector.reading.objects import read_document
from proxy.core import contract
from proxy.services.loader import built_in_catalogue
from tests.canary import Canary, shared_canary
from tests.cluster_issuer import api_server
from tests.netns import ROOT
from tests.pod_world import upstream_for
from tests.podman_pod import INJECTOR, PREFIX, PROXY, WholePod, engine, sweep, whole_pod
from tests.registry_server import Registry, registry
from tests.sidecar_pod import NAMESPACE, NODE, POD_NAME, POD_UID, SidecarPod, sidecar_pod
from tests.stand_in_server import PROVIDERS
from tests.swift_server import Front, Swift, swift
from tests.upstream_authority import UpstreamAuthority
from tests.upstream_requests import Handler, Request
from tests.upstreams import Upstream, answering

Raw = dict[str, Any]

FOLDER: Final = ROOT / "tests" / "pods"
OPENAI: Final = "api.openai.com"
REGISTRY: Final = "registry.acme.example"
# No policy names it.
STRANGER: Final = "weather.example"
STORE: Final = Front("s3.eu-west-1.amazonaws.com", region="eu-west-1", address="203.0.113.11")
REGISTRY_ADDRESS: Final = "203.0.113.12"
STRANGER_ADDRESS: Final = "203.0.113.13"
BUCKETS: Final = ("acme-datasets", "acme-checkpoints", "acme-payroll")

# Where a platform team puts its own authority into an image of its own, which it makes from ours.
AUTHORITY_FILE: Final = "/usr/local/share/ca-certificates/lab.pem"
ADVICE: Final = "Half of the one before."
USER: Final = "puller"

# What was measured, by its name; told at the end of a run.
FIGURES: Final[dict[str, list[float]]] = {}

# The image has `podkey-injector` alone; `podkey inject` is this part of its code.
INJECT: Final = """
import sys
sys.path[:0] = ["/opt/podkey/app", "/opt/podkey/packages"]
import argparse
from injector.cli import inject
parser = argparse.ArgumentParser()
inject.describe(parser)
sys.exit(inject.execute(parser.parse_args()))
"""


@dataclass
class Lab:
    pod: SidecarPod
    canary: Canary
    store: Swift
    registry: Registry
    openai: Upstream
    stranger: Upstream
    cluster: Upstream
    authority: UpstreamAuthority
    # What the namespace has.
    secrets: Mapping[str, Mapping[str, bytes]]
    config_maps: Mapping[str, Mapping[str, bytes]]
    # What the application reads: by key, and the weights in the registry.
    dataset: Mapping[str, bytes]
    weights: bytes
    key_id: str
    proxy_image: str

    def injected(self, manifest: str, *options: str) -> Raw:
        """The pod of a manifest in tests/pods/manifests, as the API server stores it after the webhook."""
        pod = yaml.safe_load(inject(manifest, "--image", self.proxy_image, *SIDECAR_OPTIONS, *options))
        pod["metadata"] |= {"name": POD_NAME, "uid": POD_UID}
        pod["spec"]["nodeName"] = NODE
        return pod  # type: ignore[no-any-return]

    @contextmanager
    def playing(self, manifest: str) -> Iterator[WholePod]:
        given = {"secrets": self.secrets, "config_maps": self.config_maps}
        with whole_pod(self.pod, self.injected(manifest), **given) as pod:
            for name, times in pod.seconds.items():
                for what in times.keys() - {"began"}:
                    FIGURES.setdefault(f"{name}: {what}", []).append(times[what])
            yield pod

    def placeholders(self, pod: WholePod) -> dict[str, str]:
        """Those that would open something, by variable."""
        annotation = pod.stored["metadata"]["annotations"][contract.PLACEHOLDERS]
        found = dict(line.split("=", 1) for line in annotation.splitlines())
        return {name: text for name, text in found.items() if "KEY" in name}

    def clear(self) -> None:
        self.openai.clear()
        self.stranger.clear()

    def weights_hash(self) -> str:
        return hashlib.sha256(self.weights).hexdigest()


SIDECAR_OPTIONS: Final = ("--sidecar-environment", f"PODKEY_UPSTREAM_CA_FILES={AUTHORITY_FILE}")


def inject(manifest: str, *options: str) -> bytes:
    """`podkey inject` as it is in the injector's image, without a network and as that image's user."""
    argv = ["run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python3"]
    argv += ["--volume", f"{FOLDER}:/lab:ro", INJECTOR, "-O", "-c", INJECT]
    argv += ["-f", f"/lab/manifests/{manifest}", "--policies", "/lab/policies", *options]
    return engine(*argv).stdout


@contextmanager
def pod_lab() -> Iterator[Lab]:
    sweep()
    with ExitStack() as stack:
        canary = stack.enter_context(shared_canary())
        internet = [PROVIDERS, STORE.address, REGISTRY_ADDRESS, STRANGER_ADDRESS]
        pod = stack.enter_context(sidecar_pod(canary, internet=internet))
        store = stack.enter_context(swift(pod.authority, [STORE], ns=pod.network.net))
        pod.resolve(STORE.name, *(f"{name}.{STORE.name}" for name in BUCKETS), to=[STORE.address])
        store.make_bucket(*BUCKETS)
        dataset = {f"train/part-{n}": Random(n).randbytes(100_000) for n in range(3)}
        for key, data in dataset.items():
            store.put("acme-datasets", key, data)
        store.put("acme-payroll", "salaries", b"nobody's business")
        keys = store.new_keys()
        canary.remember(keys.secret_access_key, "S3 secret key")

        password = canary.secret("registry password")
        users = {USER: password}
        pod.resolve(REGISTRY, to=[REGISTRY_ADDRESS])
        images = stack.enter_context(
            registry(pod.authority, REGISTRY, users=users, ns=pod.network.net, address=REGISTRY_ADDRESS)
        )
        weights = Random(7).randbytes(1_000_000)
        images.push("models/llama:1", {"weights.bin": weights}, (USER, password))
        images.push("models/secret:1", {"weights.bin": b"of another team"}, (USER, password))

        token = canary.secret("openai key", "sk-proj-")
        openai = stack.enter_context(upstream_for(pod, OPENAI, routes=openai_routes(token)))
        stranger = stack.enter_context(
            upstream_for(pod, STRANGER, routes={"/": answering(200, b"rain")}, addresses=[STRANGER_ADDRESS])
        )
        authority = UpstreamAuthority(pod.folder / "cluster")
        cluster = stack.enter_context(api_server(pod, authority))
        given = {
            "training-s3": {
                "access-key-id": keys.access_key_id.encode(),
                "secret-access-key": keys.secret_access_key.encode(),
            },
            "training-registry": {"username": USER.encode(), "password": password.encode()},
            "training-openai": {"token": token.encode()},
        }
        yield Lab(
            pod=pod,
            canary=canary,
            store=store,
            registry=images,
            openai=openai,
            stranger=stranger,
            cluster=cluster,
            authority=authority,
            secrets=given,
            config_maps={
                contract.POLICY_CONFIG_MAP: {contract.POLICY_KEY: compiled_policy()},
                "kube-root-ca.crt": {"ca.crt": authority.file.read_bytes()},
            },
            dataset=dataset,
            weights=weights,
            key_id=keys.access_key_id,
            proxy_image=stack.enter_context(image_with_authority(pod.authority.file)),
        )


def compiled_policy() -> bytes:
    """What the injector writes into the namespace's ConfigMap."""
    documents = [
        read_document(one, one["kind"])
        for path in sorted((FOLDER / "policies").glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text())
    ]
    namespace = Namespace(NAMESPACE, {contract.NAMESPACE_NAME_LABEL: NAMESPACE, contract.INJECT: "enabled"})
    settings = InjectorSettings(SidecarSettings(image=PROXY))
    world = rehearsal_world(documents, built_in_catalogue(), [namespace], settings, ClusterFacts())
    compiled = world.book.compiled(NAMESPACE)
    assert compiled is not None
    return compiled.text.encode()


@contextmanager
def image_with_authority(authority: Path) -> Iterator[str]:
    """Our image and one file more: the servers of this lab have certificates of the lab's own authority."""
    name = f"localhost/{PREFIX}-{os.getpid()}:{secrets.token_hex(4)}"
    recipe = f"FROM {PROXY}\nCOPY {authority.name} {AUTHORITY_FILE}\n"
    engine(
        *("build", "--network", "none", "--quiet", "--tag", name, "--file", "-", str(authority.parent)),
        stdin=None,
        input=recipe.encode(),
    )
    try:
        yield name
    finally:
        engine("rmi", "--force", name)


# --- the API -------------------------------------------------------------------------------------


def openai_routes(key: str) -> dict[str, Handler]:
    """Two calls of it, from its reference (platform.openai.com/docs/api-reference): 401 without the key."""
    model = {"id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai"}
    message = {"role": "assistant", "content": ADVICE}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    refusal = {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key", "type": "x"}}

    def only_with_key(method: str, answer: Mapping[str, Any]) -> Handler:
        def handle(request: Request) -> None:
            request.read()
            allowed = request.header("authorization") == [f"Bearer {key}"] and request.method == method
            request.answer(200 if allowed else 401, json.dumps(answer if allowed else refusal).encode())

        return handle

    return {
        "/v1/models/gpt-5": only_with_key("GET", model),
        "/v1/chat/completions": only_with_key("POST", completion),
    }
