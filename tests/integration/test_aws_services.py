"""Bedrock, SageMaker, ECR and what hands out credentials: real SDKs, with placeholders in their environment.

Each stand-in verifies signatures by botocore's signers, bodies included, with keys that only the sidecar has.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from proxy.sources.steps import HttpReply
from tests.canary import shared_canary
from tests.netns import requires_netns
from tests.pod_world import Answer, fetch
from tests.raw_client import Reply, read_answers, talk, tls
from tests.s3_signer import Keys as S3Keys
from tests.s3_world import s3_documents, secret_files
from tests.sidecar_pod import SidecarPod, sidecar_pod, wait_for
from tests.source_world import Request as Whole
from tests.stand_ins.aws_ecr import ACCOUNT, Ecr
from tests.stand_ins.aws_inference import WORDS, Inference
from tests.stand_ins.aws_registry import Registry, digest
from tests.stand_ins.aws_server import AwsServer
from tests.stand_ins.aws_signatures import Keys

pytestmark = requires_netns

REGION: Final = "eu-west-1"
BEDROCK, SAGEMAKER = f"bedrock-runtime.{REGION}.amazonaws.com", f"runtime.sagemaker.{REGION}.amazonaws.com"
STS, SECRETS = f"sts.{REGION}.amazonaws.com", f"secretsmanager.{REGION}.amazonaws.com"
REGISTRY, ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com", f"api.ecr.{REGION}.amazonaws.com"
DATA: Final = f"data.s3.{REGION}.amazonaws.com"
# Buckets of layers: a registry's own region, and another one.
LAYERS, FAR_LAYERS = (
    f"prod-{region}-starport-layer-bucket.s3.{region}.amazonaws.com" for region in (REGION, "eu-central-1")
)
MODEL: Final = "amazon.nova-lite-v1:0"
ONE_MIB: Final = 1024 * 1024
BODY: Final = b'{"messages": [{"role": "somebody"}]}'

GRANTS: Final[list[dict[str, Any]]] = [
    {"service": "bedrock-runtime", "pins": {"model": ["amazon.nova-lite-*"]}, "access": ["read"]},
    {"service": "sagemaker-runtime", "pins": {"endpoint": ["churn"]}, "access": ["read"]},
    {"service": "ecr", "pins": {"account": [ACCOUNT]}, "actions": ["ecr:CheckApi"]},
    {"service": "ecr", "pins": {"account": [ACCOUNT], "repo": ["team/app"]}, "access": ["read"]},
    {"service": "s3", "buckets": ["data"], "access": ["read", "delete"]},
    {
        "service": "s3",
        "buckets": [LAYERS.partition(".")[0]],
        "access": ["read"],
        "foreignPresigned": "pass",
    },
    {"service": "s3", "buckets": [FAR_LAYERS.partition(".")[0]], "access": ["read"]},
    # Governs what hands out credentials, and allows nothing there.
    {"service": "aws-credentials"},
]
MINTING: Final = {"service": "aws-credentials", "allowMinting": ["any-operation"]}

INVOKE: Final = """
import json, boto3
bedrock = boto3.client("bedrock-runtime")
ask = [{"role": "user", "content": [{"text": "Hi"}]}]
model = "amazon.nova-lite-v1:0"
invoked = bedrock.invoke_model(modelId=model, body=json.dumps({"messages": ask}))
print(json.loads(invoked["body"].read())["output"]["message"]["content"][0]["text"])
print(bedrock.converse(modelId=model, messages=ask)["output"]["message"]["content"][0]["text"])
try:
    bedrock.converse(modelId="amazon.nova-pro-v1:0", messages=ask)
except bedrock.exceptions.AccessDeniedException as error:
    print(error)
try:
    bedrock.invoke_model(modelId=model, body=b" " * 1_100_000)
except bedrock.exceptions.ClientError as error:
    print(error)
"""
STREAM: Final = """
import json, boto3
bedrock = boto3.client("bedrock-runtime")
ask = [{"role": "user", "content": [{"text": "Hi"}]}]
model = "amazon.nova-lite-v1:0"
for event in bedrock.converse_stream(modelId=model, messages=ask)["stream"]:
    print(event.get("contentBlockDelta", {"delta": {"text": "."}})["delta"]["text"], flush=True)
asked = bedrock.invoke_model_with_response_stream(modelId=model, body=json.dumps({"messages": ask}))
for event in asked["body"]:
    print(json.loads(event["chunk"]["bytes"])["word"], flush=True)
"""
SAGEMAKER_APP: Final = """
import boto3
sagemaker = boto3.client("sagemaker-runtime")
row = {"ContentType": "text/csv", "Body": b"1,2,3"}
print(sagemaker.invoke_endpoint(EndpointName="churn", **row)["Body"].read().decode())
try:
    sagemaker.invoke_endpoint(EndpointName="other", **row)
except sagemaker.exceptions.ClientError as error:
    print(error)
"""
MINTING_APP: Final = """
import boto3
for service, call in [
    ("secretsmanager", lambda client: client.get_secret_value(SecretId="db")["Name"]),
    ("sts", lambda client: client.get_caller_identity()["Account"]),
]:
    try:
        print(call(boto3.client(service)))
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()))
"""
OVERLOADED_APP: Final = """
import boto3
from botocore.config import Config
once = Config(retries={"total_max_attempts": 1})
bedrock = boto3.client("bedrock-runtime", config=once)
s3 = boto3.client("s3", config=once)
for call in (
    lambda: bedrock.converse(modelId="amazon.nova-lite-v1:0", messages=[{"role": "user", "content": []}]),
    lambda: s3.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "a"}]}),
):
    try:
        call()
    except bedrock.exceptions.ClientError as error:
        print(error.response["Error"]["Code"])
"""
PULL: Final = """
import json, sys, requests
registry = "https://" + sys.argv[1]
found = [requests.get(registry + "/v2/", timeout=10).status_code]
manifest = requests.get(registry + "/v2/team/app/manifests/latest", timeout=10).json()
for layer in manifest["layers"]:
    blob = requests.get(f"{registry}/v2/team/app/blobs/{layer['digest']}", timeout=10)
    by_way_of = [one.status_code for one in blob.history]
    found.append([*by_way_of, blob.status_code, blob.headers.get("podkey-reason")])
    if blob.ok:
        found.append(blob.text)
other = requests.get(registry + "/v2/team/other/manifests/latest", timeout=10)
print(json.dumps([*found, other.json()["errors"][0]["code"]]))
"""


class World:
    def __init__(self, pod: SidecarPod, server: AwsServer, inference: Inference, registry: Registry) -> None:
        self.pod, self.server, self.inference, self.registry = pod, server, inference, registry

    def talk(self, *pieces: bytes, name: str = BEDROCK, **options: Any) -> Reply:
        return talk(self.pod, *pieces, name=name, answers=1, **options)

    def get(self, host: str, path: str) -> Answer:
        return fetch(self.pod, host, path)

    @contextmanager
    def policy(self, text: str, in_force: Callable[[], bool], back: Callable[[], bool]) -> Iterator[None]:
        self.pod.write_policy(text)
        try:
            wait_for(in_force, "the other policy to be in force", seconds=5)
            yield
        finally:
            self.pod.write_policy(documents())
            wait_for(back, "the policy to be back", seconds=5)


def documents(*more: Mapping[str, Any]) -> str:
    return s3_documents(*({"credential": "aws", **grant} for grant in (*GRANTS, *more)), session=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with shared_canary() as canary, sidecar_pod(canary) as pod:
        keys = S3Keys("example-caller", canary.secret("secret key"), canary.secret("session token"))
        callers = {keys.access_key_id: Keys(keys.access_key_id, keys.secret_access_key, keys.session_token)}
        inference = Inference(callers, REGION, "what the application asked for")
        ecr = Ecr(callers, frozenset(callers), REGION)
        registry = Registry(ecr, {LAYERS: b"a layer", FAR_LAYERS: b"a layer far away"})

        def token(request: Whole) -> HttpReply:
            reply = registry.api(request)
            canary.remember(ecr.passwords[-1], "registry token")
            return reply

        parts = {
            BEDROCK: inference.bedrock,
            SAGEMAKER: inference.sagemaker,
            STS: inference.sts,
            SECRETS: inference.secrets_manager,
            ECR: token,
            REGISTRY: registry.answer,
            LAYERS: registry.bucket,
            FAR_LAYERS: registry.bucket,
        }
        pod.resolve(DATA)
        with AwsServer(pod, parts) as server:
            limits = {"hashed_body_limit": "1Mi", "held_bodies_limit": "1Mi"}
            pod.start_sidecar(documents(), {"aws": secret_files(keys)}, **limits)
            yield World(pod, server, inference, registry)
        assert server.denied == []
        assert pod.sidecar.metric("podkey_fail_open_total") == 0
        assert not [line for line in pod.sidecar.log_lines() if line["event"] == "unexpected error"]


@pytest.fixture
def world(shared: World) -> World:
    shared.pod.sidecar.wait_idle()
    shared.server.clear()
    shared.inference.bodies.clear()
    shared.inference.models.clear()
    return shared


def converse(*fields: str) -> bytes:
    """The head of a request that nobody signed."""
    path = f"/model/{MODEL.replace(':', '%3A')}/converse"
    lines = [f"POST {path} HTTP/1.1", f"Host: {BEDROCK}", "Content-Type: application/json", *fields, "", ""]
    return "\r\n".join(lines).encode()


# --- Bedrock -------------------------------------------------------------------------------------------


def test_boto3_invokes_a_model_and_reads_what_is_refused(world: World) -> None:
    done = world.pod.run_app(INVOKE)

    assert done.returncode == 0, done.stderr
    invoked, conversed, refused, large = done.stdout.splitlines()
    assert (invoked, conversed) == ("user, hello", "user, hello")
    assert world.inference.models == [(MODEL, "invoke"), (MODEL, "converse")]
    assert {request.path for request in world.server.requests} == {
        "/model/amazon.nova-lite-v1%3A0/invoke",
        "/model/amazon.nova-lite-v1%3A0/converse",
    }
    assert refused.startswith(
        "An error occurred (AccessDeniedException) when calling the Converse operation: "
    )
    assert "model amazon.nova-pro-v1:0 is not amazon.nova-lite-*. Nearest grant: training/data" in refused
    assert large.startswith("An error occurred (RequestEntityTooLargeException)")
    assert "larger than 1048576 bytes" in large


def test_an_event_arrives_before_the_next_one_is_sent(world: World) -> None:
    app = world.pod.start_app(STREAM)
    assert app.stdout is not None
    for end in (["."], []):
        first = app.stdout.readline().decode()
        assert (first, world.inference.sent) == (f"{WORDS[0]}\n", 1)
        world.inference.go_on.release()
        others = [app.stdout.readline().decode().rstrip("\n") for _ in (*WORDS[1:], *end)]
        assert others == [*WORDS[1:], *end]
    assert app.wait(10) == 0
    assert [operation for _, operation in world.inference.models] == [
        "converse-stream",
        "invoke-with-response-stream",
    ]


# --- bodies that are held for their hash ------------------------------------------------------------------


def test_a_body_above_the_limit_is_refused_before_its_first_byte(world: World) -> None:
    reply = world.talk(converse(f"Content-Length: {ONE_MIB + 1}", "Expect: 100-continue"))

    [answer] = reply.answers
    assert (answer.status, answer.reason) == (413, "body_too_large")
    assert answer.header("x-amzn-errortype") == "RequestEntityTooLargeException"
    told = json.loads(answer.body)
    assert told["__type"] == "RequestEntityTooLargeException"
    assert "larger than 1048576 bytes" in told["message"]
    assert world.server.requests == []


def test_a_body_that_does_not_say_its_length_is_refused_at_the_limit(world: World) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    reply = world.talk(converse("Transfer-Encoding: chunked"), *[chunk] * 17)

    assert (reply.only.status, reply.only.reason) == (413, "body_too_large")
    assert world.server.requests == []


def test_a_body_without_a_length_is_hashed_and_sent_whole(world: World) -> None:
    reply = world.talk(converse("Transfer-Encoding: chunked"), b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))

    assert reply.only.status == 200
    assert world.inference.bodies == [BODY]


def test_a_body_that_is_shorter_or_longer_than_it_says_is_never_sent_so(world: World) -> None:
    with tls(world.pod, BEDROCK) as sock:
        sock.sendall(converse("Content-Length: 1000") + BODY)
    world.pod.sidecar.wait_idle()
    assert world.server.requests == []

    with tls(world.pod, BEDROCK) as sock:
        sock.sendall(converse(f"Content-Length: {len(BODY)}") + BODY + bytes(1000))
        more = read_answers(b"".join(iter(lambda: sock.recv(65_536), b"")))

    # What is beyond it is no request.
    assert [answer.status for answer in more] == [200, 400]
    assert world.inference.bodies == [BODY]


def test_who_holds_back_a_body_stops_others_only_until_it_goes(world: World) -> None:
    small = converse(f"Content-Length: {len(BODY)}") + BODY

    def answer() -> Any:
        return world.talk(small).only

    with tls(world.pod, BEDROCK) as sock:
        sock.sendall(converse(f"Content-Length: {ONE_MIB}") + b"{")
        wait_for(lambda: answer().status == 503, "the room to be full")
        full = answer()
        seen = world.pod.run_app(OVERLOADED_APP)
    assert (full.reason, full.header("retry-after")) == ("overloaded", "1")
    assert full.header("x-amzn-errortype") == "ThrottlingException"
    assert seen.stdout.split() == ["ThrottlingException", "SlowDown"], seen.stderr

    wait_for(lambda: answer().status == 200, "the room to be given back")
    assert world.talk(converse(f"Content-Length: {ONE_MIB - 8}"), BODY.ljust(ONE_MIB - 8)).only.status == 200


# --- SageMaker -------------------------------------------------------------------------------------------


def test_boto3_invokes_an_endpoint(world: World) -> None:
    done = world.pod.run_app(SAGEMAKER_APP)

    assert done.returncode == 0, done.stderr
    score, refused = done.stdout.splitlines()
    assert (score, world.inference.bodies) == ("0.25", [b"1,2,3"])
    assert refused.startswith("An error occurred (AccessDeniedException) when calling the InvokeEndpoint")


# --- what hands out credentials ------------------------------------------------------------------------


def test_what_hands_out_credentials_is_refused_where_no_grant_allows_it(world: World) -> None:
    refused = world.pod.run_app(MINTING_APP)
    assert refused.returncode == 0, refused.stderr
    secrets, sts = refused.stdout.splitlines()
    assert secrets.startswith("ClientError An error occurred (AccessDeniedException)")
    assert "podkey reasons minting_api" in secrets
    # STS speaks XML, so boto3 shows what it could not parse.
    assert "podkey reasons minting_api" in sts
    assert world.server.requests == []


def test_what_hands_out_credentials_is_signed_where_a_grant_allows_it(world: World) -> None:
    def refused() -> bool:
        return "podkey-reason" in world.get(STS, "/?Action=GetCallerIdentity").headers

    with world.policy(documents(MINTING), lambda: not refused(), refused):
        allowed = world.pod.run_app(MINTING_APP)
    assert allowed.stdout.splitlines() == ["db", ACCOUNT], allowed.stderr


# --- ECR -------------------------------------------------------------------------------------------------


def test_a_pull_needs_no_login_and_its_layers_come_as_the_registry_signed_them(world: World) -> None:
    before = len(world.registry.ecr.passwords)

    done = world.pod.run_app(PULL, REGISTRY)

    assert done.returncode == 0, done.stderr
    api, near, layer, far, other = json.loads(done.stdout)
    assert api == 200
    assert (near, layer) == ([307, 200, None], "a layer")
    assert far == [307, 403, "foreign_presigned"]
    assert other == "DENIED"
    # As it is: the stand-in takes no header of ours, and no URL but its own.
    [fetched] = world.server.came_to(LAYERS)
    assert "X-Amz-Signature" in fetched.query
    assert world.server.came_to(FAR_LAYERS) == []
    # One token for all of it, that podkey asked for.
    assert len(world.registry.ecr.passwords) == max(before, 1)


def test_no_token_outlives_the_source_that_it_was_made_of(world: World) -> None:
    path = f"/v2/team/app/blobs/{digest(b'a layer')}"
    assert world.get(REGISTRY, path).status == 307
    tokens = len(world.registry.ecr.passwords)

    def gone() -> bool:
        return world.get(REGISTRY, path).status != 307

    with world.policy(documents().partition("\n---\n")[0], gone, lambda: not gone()):
        world.server.clear()
        refused = world.get(REGISTRY, path)
        assert refused.headers["podkey-reason"] == "credential_unavailable"
        assert world.server.requests == []
    # The old token was forgotten with it.
    assert len(world.registry.ecr.passwords) == tokens + 1
