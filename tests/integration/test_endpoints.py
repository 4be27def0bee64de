"""Loopback base URLs, which SDKs take as they are: no redirect, no proxy variable, no CA."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from proxy.edge.endpoints import TOKEN_FILE
from tests.canary import Canary, shared_canary
from tests.netns import POD_V4, requires_netns
from tests.pod_world import policy, s3_policy, secret, upstream_for
from tests.sidecar_pod import SidecarPod, in_namespace, sidecar_pod
from tests.upstreams import Upstream, answering

pytestmark = requires_netns

API = "api.openai.com"
OPENAI_PORT, S3_PORT, HOST_PORT = 15101, 15102, 15103
PORTS = f"{OPENAI_PORT}=openai {S3_PORT}=s3 {HOST_PORT}=internal.example.com"
# Nothing of an application's environment that leads to our CA.
NO_TRUST = dict.fromkeys(["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"])
MODEL = b'{"id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai"}'

OPENAI = """
from openai import OpenAI
print(OpenAI().models.retrieve("gpt-5").id)
"""
LIST_BUCKET = """
import sys, boto3
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
try:
    s3.list_objects_v2(Bucket=sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


class World:
    def __init__(self, pod: SidecarPod, api: Upstream, key: str) -> None:
        self.pod = pod
        self.api = api
        self.key = key


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with shared_canary() as canary, sidecar_pod(canary) as pod, ExitStack() as stack:
        api = stack.enter_context(upstream_for(pod, API))
        api.routes["/v1/models/gpt-5"] = answering(200, MODEL, ("content-type", "application/json"))
        key = canary.secret("openai key")
        s3_keys = {
            "access-key-id": canary.secret("access key id").encode(),
            "secret-access-key": canary.secret("secret access key").encode(),
        }
        pod.start_sidecar(
            {
                "openai.yaml": policy({"service": "openai", "paths": ["/v1/models/*"]}),
                "s3.yaml": s3_policy("acme-datasets"),
            },
            {**secret(key), "s3": s3_keys},
            capture="endpoint",
            endpoints=PORTS,
        )
        yield World(pod, api, key)


@pytest.fixture
def world(shared: World) -> World:
    shared.pod.sidecar.wait_idle()
    shared.api.clear()
    return shared


def test_the_openai_sdk_needs_a_base_url_and_nothing_else(world: World) -> None:
    before = world.pod.sidecar.audited()

    done = world.pod.run_app(OPENAI, env={**NO_TRUST, **world.pod.endpoints()})

    assert (done.stdout, done.stderr) == ("gpt-5\n", "")
    (request,) = world.api.requests
    assert request.target == "/v1/models/gpt-5"
    assert request.header("authorization") == [f"Bearer {world.key}"]
    assert request.header("host") == [API]
    record = world.pod.sidecar.wait_audit(before + 1)[-1]
    assert (record["capture"], record["path"], record["verdict"]) == (
        "endpoint",
        "/v1/models/gpt-5",
        "attach",
    )


def test_the_sdk_prints_a_refusal(world: World) -> None:
    program = """
from openai import OpenAI, PermissionDeniedError
try:
    OpenAI().files.list()
except PermissionDeniedError as error:
    print(error)
"""
    done = world.pod.run_app(program, env={**NO_TRUST, **world.pod.endpoints()})

    assert "podkey refused GET https://api.openai.com/v1/files: " in done.stdout, done.stderr
    assert "training/llm" in done.stdout
    assert world.api.requests == []


@pytest.mark.parametrize(
    "prefix", ["", "/podkey-", f"/podkey-{'0' * 32}", "/x"], ids=["none", "half", "wrong", "other"]
)
def test_without_the_pods_own_prefix_nothing_is_served(world: World, prefix: str) -> None:
    url = f"http://127.0.0.1:{OPENAI_PORT}{prefix}/v1/models/gpt-5"

    done = world.pod.run_app(["curl", "-sS", "-i", url])

    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert "podkey-reason: endpoint_token" in done.stdout
    assert world.api.requests == []


def test_a_page_from_elsewhere_cannot_use_the_endpoint(world: World) -> None:
    """DNS rebinding: a name of theirs leads to 127.0.0.1, and even the prefix is known to them."""
    url = world.pod.endpoints()["OPENAI_BASE_URL"] + "/models/gpt-5"

    done = world.pod.run_app(["curl", "-sS", "-i", "-H", "Host: evil.example.net", url])

    assert done.stdout.startswith("HTTP/1.1 421 ")
    assert world.api.requests == []


def test_nobody_outside_the_pod_reaches_an_endpoint(world: World) -> None:
    with pytest.raises(ConnectionRefusedError):
        in_namespace(world.pod.network.net, lambda: socket.create_connection((POD_V4, OPENAI_PORT), 5))


def test_boto3_prints_why_a_bucket_is_refused(world: World) -> None:
    done = world.pod.run_app(LIST_BUCKET, "acme-secrets", env={**NO_TRUST, **world.pod.endpoints()})

    assert " An error occurred (AccessDenied) when calling the ListObjectsV2 operation" in done.stdout, (
        done.stderr
    )
    assert "podkey refused GET https://s3" in done.stdout
    assert "training/data" in done.stdout


def test_what_s3_was_granted_fails_until_it_can_be_signed(world: World) -> None:
    before = world.pod.sidecar.audited()

    done = world.pod.run_app(LIST_BUCKET, "acme-datasets", env={**NO_TRUST, **world.pod.endpoints()})

    assert "podkey refused" in done.stdout, done.stderr
    assert world.pod.sidecar.wait_audit(before + 1)[-1]["reason"] == "credential_unusable"


def test_a_host_that_the_catalogue_lacks_has_an_endpoint_too(world: World) -> None:
    lines = (world.pod.trust / "endpoints.env").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("# internal.example.com: ")]

    done = world.pod.run_app(["curl", "-sS", "-i", line.partition(": ")[2] + "/anything"])

    assert "podkey-reason: upstream_unreachable" in done.stdout  # no grant names it, and nobody knows it


def test_the_token_outlives_a_restart_and_is_nobodys_but_the_sidecars(
    pod: SidecarPod, canary: Canary
) -> None:
    grant = policy({"service": "openai", "paths": ["/v1/models/*"]})
    key = canary.secret("openai key")
    with upstream_for(pod, API) as api:
        pod.start_sidecar(grant, secret(key), capture="endpoint", endpoints=PORTS)
        first = pod.endpoints()
        assert pod.sidecar.stop() == 0
        pod.start_sidecar(capture="endpoint", endpoints=PORTS)
        answer = pod.run_app(["curl", "-sS", first["OPENAI_BASE_URL"] + "/models/gpt-5"])

    assert pod.endpoints() == first
    assert answer.returncode == 0
    assert api.requests[0].header("authorization") == [f"Bearer {key}"]
    (token,) = pod.state.rglob(TOKEN_FILE)
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text() not in pod.sidecar.log() + pod.sidecar.audit_file.read_text()


def test_an_unknown_endpoint_keeps_the_sidecar_from_being_ready(pod: SidecarPod, canary: Canary) -> None:
    sidecar = pod.start_sidecar(
        policy({"service": "openai", "paths": ["/v1/models/*"]}),
        secret(canary.secret("openai key")),
        capture="endpoint",
        endpoints="15101=opnai",
        ready=False,
    )

    (line,) = sidecar.wait_log("not ready")
    assert "did you mean `openai`" in line["why"]
    status, body = sidecar.get("/readyz")
    assert status == 503
    assert "opnai" in body
    assert sidecar.stop() == 0
