"""What the injector writes, taken at its word: a patched pod is started as a kubelet would start it, and its
application calls OpenAI and S3 with what it was given. Names, paths, ports, tokens and users have to agree.

The sidecar's root is read-only but for its mounts, it has no capability, and it finds its issuer's keys at
the API server, with the token and the authority that the pod's volumes hold.
"""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.outcome import Inject
from injector.core.settings import InjectorSettings, SidecarSettings
from injector.craft.trust_variables import trust_config_map_data
from injector.edge.chance import Chance
from injector.engine.rehearsal import Rehearsed, rehearsal_world, rehearse
from proxy.core import contract
from proxy.services.loader import built_in_catalogue
from tests.canary import Canary, shared_canary
from tests.cluster_issuer import api_server
from tests.hand_kubelet import UPSTREAM_CA, HandKubelet
from tests.netns import APP_UID, POD_V4, requires_netns
from tests.pod_world import upstream_for
from tests.sidecar_pod import ACCOUNT, NAMESPACE, NODE, POD_NAME, POD_UID, SidecarPod, sidecar_pod
from tests.stand_in_server import PROVIDERS
from tests.upstream_authority import UpstreamAuthority
from tests.upstreams import Upstream, answering
from tests.warm_up import warm_up_sdks, warm_up_sidecar

pytestmark = requires_netns

OPENAI, S3 = "api.openai.com", "s3.eu-west-1.amazonaws.com"
STORE = "203.0.113.11"
BUCKET = f"acme-datasets.{S3}"
MODEL = b'{"id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai"}'
LISTING = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>acme-datasets</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>"
    b"<Contents><Key>train/a</Key><Size>1</Size></Contents></ListBucketResult>"
)
JSON, XML = ("content-type", "application/json"), ("content-type", "application/xml")

# --- what applications do -------------------------------------------------------------------------

ASK_OPENAI = """
from openai import OpenAI
print(OpenAI(max_retries=0).models.retrieve("gpt-5").id)
"""
ASK_S3 = """
import boto3
from botocore.config import Config
s3 = boto3.client("s3", region_name="eu-west-1", config=Config(retries={"total_max_attempts": 1}))
print([one["Key"] for one in s3.list_objects_v2(Bucket="acme-datasets", Prefix="train/")["Contents"]])
"""
ASK_WITHOUT_SDK = """
import os, requests
key = os.environ["OPENAI_API_KEY"]
headers = {"Authorization": f"Bearer {key}"}
answer = requests.get("https://api.openai.com/v1/models/gpt-5", headers=headers, timeout=10)
print(answer.json()["id"])
"""

MOUNTS = """
for line in open("/proc/self/mounts"):
    print(*line.split()[1::2])
"""
# The kernel's own file systems are the same in every container.
WRITABLE = """
import os
targets = {line.split()[1] for line in open("/proc/self/mounts")}
shown = (one for one in targets if not one.startswith(("/proc", "/sys", "/dev")) and os.path.ismount(one))
print(*sorted(one for one in shown if not os.statvfs(one).f_flag & os.ST_RDONLY), sep="\\n")
"""


# --- what the platform has ------------------------------------------------------------------------


def document(kind: str, name: str, spec: Mapping[str, Any]) -> RawDocument:
    metadata = {"name": name, "namespace": NAMESPACE}
    whole = {"apiVersion": "podkey.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    return RawDocument(kind, NAMESPACE, name, f"uid-{name}", 1, "1", whole)


DOCUMENTS = (
    document(
        "AccessPolicy",
        "train",
        {
            # Told by the downward API, by the pod's containers, and by the token.
            "workloads": {
                "serviceAccounts": [ACCOUNT],
                "podSelector": {"matchLabels": {"app": "llama"}},
                "gpu": "required",
                "images": {"repositories": ["registry.example.com/trainer"]},
            },
            "grants": [
                {"service": "openai", "paths": ["/v1/models/*"], "credential": "openai"},
                {
                    "service": "s3",
                    "buckets": ["acme-datasets"],
                    "access": ["read", "list"],
                    "credential": "s3",
                },
            ],
        },
    ),
    document("CredentialSource", "openai", {"mountedSecret": {"secretName": "openai-key", "key": "token"}}),
    document(
        "CredentialSource",
        "s3",
        {"mountedSecret": {"secretName": "s3-keys", "keys": {"accessKeyId": "id", "secretAccessKey": "key"}}},
    ),
)


def gpu_job_pod(**container: Any) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "llama", "uid": "u", "controller": True}
    wants = {"nvidia.com/gpu": "8"}
    security = {"runAsUser": APP_UID, "runAsNonRoot": True, "allowPrivilegeEscalation": False}
    security |= {"capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
    app = {
        "name": "trainer",
        "image": "registry.example.com/trainer:1",
        "resources": {"limits": wants, "requests": wants},
        "securityContext": security,
        **container,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "llama-",
            "namespace": NAMESPACE,
            "labels": {"app": "llama", "job-name": "llama"},
            "ownerReferences": [owner],
        },
        "spec": {
            "serviceAccountName": ACCOUNT,
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "containers": [app],
        },
    }


@dataclass
class World:
    pod: SidecarPod
    kubelet: HandKubelet
    openai: Upstream
    s3: Upstream
    cluster: Upstream
    openai_key: str
    key_id: str

    def run(self, program: str) -> str:
        """An application's program, with what its container was given and nothing else."""
        done = self.kubelet.exec("trainer", [sys.executable, "-c", program])
        assert done.returncode == 0, done.stderr + self.kubelet.log("podkey")
        return done.stdout.strip()


@contextmanager
def world_of(labels: Mapping[str, str], **container: Any) -> Iterator[World]:
    """The namespace's labels; and what the application's container has besides."""
    warm_up_sidecar()
    warm_up_sdks()
    with (
        shared_canary() as canary,
        sidecar_pod(canary, internet=[PROVIDERS, STORE]) as pod,
        ExitStack() as stack,
    ):
        openai = stack.enter_context(upstream_for(pod, OPENAI))
        openai.routes["/v1/models/gpt-5"] = answering(200, MODEL, JSON)
        s3 = stack.enter_context(upstream_for(pod, BUCKET, S3, addresses=[STORE]))
        s3.routes |= dict.fromkeys(("/", "/acme-datasets"), answering(200, LISTING, XML))
        authority = UpstreamAuthority(pod.folder / "cluster")
        cluster = stack.enter_context(api_server(pod, authority))
        rehearsed, config_maps = injected(labels, gpu_job_pod(**container))
        keys = {
            "openai-key": {"token": canary.secret("openai key").encode(), "other": b"of no use"},
            "s3-keys": {
                "id": f"TESTKEY{secrets.token_hex(6).upper()}".encode(),
                "key": canary.secret("secret key").encode(),
            },
        }
        config_maps["kube-root-ca.crt"] = {"ca.crt": authority.file.read_bytes()}
        kubelet = HandKubelet(pod, scheduled(rehearsed.pod), secrets=keys, config_maps=config_maps)
        stack.callback(kubelet.close)
        world = World(
            pod,
            kubelet,
            openai,
            s3,
            cluster,
            keys["openai-key"]["token"].decode(),
            keys["s3-keys"]["id"].decode(),
        )
        for one in rehearsed.pod["spec"]["initContainers"]:
            if one.get("restartPolicy") == "Always":
                kubelet.start(one["name"])
                kubelet.wait_startup(one["name"])
            else:
                kubelet.run_to_end(one["name"])
        yield world


def injected(labels: Mapping[str, str], pod: dict[str, Any]) -> tuple[Rehearsed, dict[str, dict[str, bytes]]]:
    """The pod after the webhook, and the ConfigMaps of its namespace."""
    # Servers of tests have certificates of their own authority; the platform team's setting says which.
    sidecar = SidecarSettings(
        image="registry.example.com/podkey:1",
        cluster="west",
        environment={"PODKEY_UPSTREAM_CA_FILES": UPSTREAM_CA},
    )
    namespace = Namespace(NAMESPACE, {contract.NAMESPACE_NAME_LABEL: NAMESPACE, **labels})
    settings = InjectorSettings(sidecar)
    world = rehearsal_world(DOCUMENTS, built_in_catalogue(), [namespace], settings, ClusterFacts())
    rehearsed = rehearse(pod, NAMESPACE, world, Chance())
    assert isinstance(rehearsed.answer.outcome, Inject), rehearsed.answer
    compiled = world.book.compiled(NAMESPACE)
    assert compiled is not None
    trust = {name: value.encode() for name, value in trust_config_map_data().items()}
    maps = {
        contract.POLICY_CONFIG_MAP: {contract.POLICY_KEY: compiled.text.encode()},
        contract.TRUST_CONFIG_MAP: trust,
    }
    return rehearsed, maps


def scheduled(pod: dict[str, Any]) -> dict[str, Any]:
    """With what the API server and the scheduler write."""
    pod["metadata"] |= {"name": POD_NAME, "uid": POD_UID}
    pod["spec"]["nodeName"] = NODE
    return pod


# --- transparent ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captured() -> Iterator[World]:
    with world_of({"podkey.io/inject": "enabled"}) as world:
        yield world


@pytest.fixture
def transparent(captured: World) -> World:
    captured.openai.clear()
    captured.s3.clear()
    return captured


def test_the_application_calls_openai_with_a_placeholder_and_the_key_arrives(transparent: World) -> None:
    assert transparent.run(ASK_OPENAI) == "gpt-5"
    (request,) = transparent.openai.requests
    assert request.header("authorization") == [f"Bearer {transparent.openai_key}"]
    placeholder = transparent.kubelet.environment("trainer")["OPENAI_API_KEY"]
    assert placeholder.startswith("sk-podkey-")
    assert not transparent.openai.seen(placeholder)


def test_the_application_lists_a_bucket_with_placeholders_and_is_signed_anew(transparent: World) -> None:
    assert transparent.run(ASK_S3) == "['train/a']"
    (request,) = transparent.s3.requests
    (authorization,) = request.header("authorization")
    assert f"Credential={transparent.key_id}/" in authorization
    assert not transparent.s3.seen(transparent.kubelet.environment("trainer")["AWS_ACCESS_KEY_ID"])


def test_the_sidecar_knows_the_pod_by_all_that_it_was_given(transparent: World) -> None:
    transparent.run(ASK_OPENAI)
    record = transparent.kubelet.wait_audit("podkey", lambda one: one["verdict"] == "attach")[-1]
    text = str(record)
    for what in (NAMESPACE, ACCOUNT, POD_NAME, POD_UID, NODE, "'evidence': 'token'"):
        assert what in text, record


def test_the_issuers_keys_came_from_the_api_server_with_the_clusters_own_token(transparent: World) -> None:
    assert [request.path for request in transparent.cluster.requests][:2] == [
        "/.well-known/openid-configuration",
        "/openid/v1/jwks",
    ]


def test_the_application_sees_the_trust_files_and_nothing_else_of_ours(transparent: World) -> None:
    program = "import os; print(sorted(os.listdir('/etc/podkey')), os.path.exists('/run/podkey'))"
    assert transparent.run(program) == "['ca'] False"
    # As whatever user it runs.
    trust = f"{contract.TRUST_DIR} "
    assert transparent.run(MOUNTS).count(trust) == 1
    assert f"{trust}ro," in transparent.run(MOUNTS)


def test_the_sidecar_can_write_below_its_mounts_alone(transparent: World) -> None:
    done = transparent.kubelet.exec("podkey", [sys.executable, "-c", WRITABLE])
    assert done.returncode == 0, done.stderr
    # `/var/run` is a link to `/run` in most images, and here.
    assert done.stdout.split() == ["/etc/podkey/ca", "/run/podkey/state"]


def test_it_lives_as_the_kubelet_asks(transparent: World) -> None:
    assert transparent.kubelet.probe("podkey", "livenessProbe") == 200
    assert transparent.kubelet.container("podkey")["ports"][0]["containerPort"] == contract.ADMIN_PORT
    assert transparent.kubelet.environment("podkey")["PODKEY_ADMIN_ADDRESS"] == POD_V4


def test_nothing_was_wrong_in_the_sidecars_eyes(transparent: World) -> None:
    levels = {one["level"] for one in transparent.kubelet.records("podkey") if "level" in one}
    assert levels <= {"info", "debug"}, transparent.kubelet.log("podkey")


# --- restricted -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def confined() -> Iterator[World]:
    labels = {"podkey.io/inject": "enabled", "pod-security.kubernetes.io/enforce": "restricted"}
    with world_of(labels) as world:
        yield world


@pytest.fixture
def restricted(confined: World) -> World:
    confined.openai.clear()
    confined.s3.clear()
    return confined


def test_a_restricted_namespace_has_no_redirect(restricted: World) -> None:
    names = [one["name"] for one in restricted.kubelet.stored["spec"]["initContainers"]]
    assert names == ["podkey"]


def test_there_sdks_take_the_endpoints_of_the_sidecar(restricted: World) -> None:
    assert restricted.kubelet.environment("trainer")["OPENAI_BASE_URL"].startswith("http://127.0.0.1:151")
    assert restricted.run(ASK_OPENAI) == "gpt-5"
    assert restricted.run(ASK_S3) == "['train/a']"
    assert restricted.openai.requests[0].header("authorization") == [f"Bearer {restricted.openai_key}"]
    assert f"Credential={restricted.key_id}/" in restricted.s3.requests[0].header("authorization")[0]


def test_and_other_programs_the_proxy(restricted: World) -> None:
    assert restricted.run(ASK_WITHOUT_SDK) == "gpt-5"
    assert restricted.openai.requests[0].header("authorization") == [f"Bearer {restricted.openai_key}"]


# --- a container with envFrom ---------------------------------------------------------------------


def test_a_container_with_env_from_trusts_by_way_of_the_config_map(canary: Canary) -> None:
    own = {"envFrom": [{"configMapRef": {"name": contract.TRUST_CONFIG_MAP}, "prefix": "X_"}]}
    with world_of({"podkey.io/inject": "enabled"}, **own) as world:
        found = world.kubelet.environment("trainer")
        assert found["SSL_CERT_FILE"] == found["X_SSL_CERT_FILE"]
        assert world.run(ASK_WITHOUT_SDK) == "gpt-5"
