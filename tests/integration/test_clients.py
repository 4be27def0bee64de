"""Real SDKs with their defaults behind the real sidecar: they work, and a refusal reads well in each."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.canary import shared_canary
from tests.netns import requires_netns
from tests.pod_world import policy, s3_policy, secret, upstream_for
from tests.sidecar_pod import SidecarPod, sidecar_pod
from tests.upstreams import Request, Upstream, answering

pytestmark = requires_netns

OPENAI, HUB, S3 = "api.openai.com", "huggingface.co", "acme-secrets.s3.eu-west-1.amazonaws.com"
JSON = ("content-type", "application/json")

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}}],
}
WORDS = ("Hel", "lo", " there")

CHAT = """
from openai import OpenAI
client = OpenAI()
asked = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
print(client.chat.completions.create(**asked).choices[0].message.content)
"""
STREAMED_CHAT = """
from openai import OpenAI
asked = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
with OpenAI().chat.completions.create(**asked, stream=True) as stream:
    print(*(chunk.choices[0].delta.content for chunk in stream), sep="|")
"""
REFUSED_CHAT = """
import openai
try:
    openai.OpenAI().images.generate(prompt="a key", model="gpt-image-1")
except openai.OpenAIError as error:
    print(type(error).__name__, error)
"""
REQUESTS = """
import sys, requests
answer = requests.get(sys.argv[1], timeout=10)
print(answer.status_code, answer.text)
try:
    answer.raise_for_status()
except requests.HTTPError as error:
    print(error)
"""
HTTPX = """
import sys, httpx
with httpx.Client(http2=sys.argv[2] == "2", timeout=10) as client:
    answer = client.get(sys.argv[1])
print(answer.http_version, answer.status_code, answer.text)
"""
HUB_CALLS = """
from huggingface_hub import HfApi
api = HfApi()
print(api.whoami()["name"])
print(api.model_info("acme/llama").id)
"""
HUB_REFUSED = """
from huggingface_hub import HfApi
try:
    HfApi().model_info("rival/llama")
except Exception as error:
    print(type(error).__name__, error)
"""
BOTO3 = """
import boto3
try:
    boto3.client("s3").list_objects_v2(Bucket="acme-secrets")
except Exception as error:
    print(type(error).__name__, error)
"""


def stream_words(request: Request) -> None:
    request.read()
    if not json.loads(request.body).get("stream"):
        request.answer(200, json.dumps(COMPLETION).encode())
        return
    request.start(200, ("content-type", "text/event-stream"))
    for word in WORDS:
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-5",
            "choices": [{"index": 0, "delta": {"content": word}}],
        }
        request.send(f"data: {json.dumps(chunk)}\n\n".encode())
    request.send(b"data: [DONE]\n\n")
    request.end()


class World:
    def __init__(self, pod: SidecarPod, internet: Upstream, key: str, hub_token: str) -> None:
        self.pod = pod
        self.internet = internet
        self.key = key
        self.hub_token = hub_token


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with shared_canary() as canary, sidecar_pod(canary) as pod, ExitStack() as stack:
        routes = {
            "/v1/chat/completions": stream_words,
            "/v1/models": answering(200, b"{}", JSON),
            "/api/whoami-v2": answering(200, b'{"type": "user", "name": "ada", "orgs": []}', JSON),
            "/api/models/acme/llama": answering(200, b'{"id": "acme/llama", "modelId": "acme/llama"}', JSON),
        }
        internet = stack.enter_context(upstream_for(pod, OPENAI, HUB, S3, routes=routes))
        key, hub_token = canary.secret("openai key"), canary.secret("hub token", "hf_")
        s3_keys = {
            "access-key-id": canary.secret("access key id").encode(),
            "secret-access-key": canary.secret("secret access key").encode(),
        }
        grants = (
            {"service": "openai", "paths": ["/v1/chat/completions", "/v1/models"]},
            {"service": "huggingface", "paths": ["/api/whoami-v2"], "credential": "hub"},
            {
                "service": "huggingface",
                "pins": {"org": ["acme"]},
                "paths": ["/api/models/**"],
                "methods": ["GET"],
                "credential": "hub",
            },
        )
        pod.start_sidecar(
            {"llm.yaml": policy(*grants), "s3.yaml": s3_policy("acme-datasets")},
            {**secret(key), "hub": {"key": hub_token.encode()}, "s3": s3_keys},
        )
        yield World(pod, internet, key, hub_token)


@pytest.fixture
def world(shared: World) -> World:
    shared.pod.sidecar.wait_idle()
    shared.internet.clear()
    return shared


# --- they work -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "printed"),
    [(CHAT, "Hello!\n"), (STREAMED_CHAT, "Hel|lo| there\n")],
    ids=["whole", "streamed"],
)
def test_the_openai_sdk_chats(world: World, program: str, printed: str) -> None:
    done = world.pod.run_app(program)

    assert (done.stdout, done.stderr) == (printed, "")
    (request,) = world.internet.requests
    assert request.header("authorization") == [f"Bearer {world.key}"]
    assert not world.internet.seen(world.pod.placeholders["OPENAI_API_KEY"])


def test_requests_gets_its_answer(world: World) -> None:
    done = world.pod.run_app(REQUESTS, f"https://{OPENAI}/v1/models")

    assert (done.stdout, done.stderr) == ("200 {}\n", "")


@pytest.mark.parametrize("version", ["1", "2"])
def test_httpx_ends_up_on_http_1_whatever_it_offers(world: World, version: str) -> None:
    done = world.pod.run_app(HTTPX, f"https://{OPENAI}/v1/models", version)

    assert (done.stdout, done.stderr) == ("HTTP/1.1 200 {}\n", "")
    assert world.internet.requests[0].header("authorization") == [f"Bearer {world.key}"]


def test_curl_that_offers_http_2_gets_http_1(world: World) -> None:
    argv = ["curl", "-sSv", "--http2", f"https://{OPENAI}/v1/models"]

    done = world.pod.run_app(argv)

    assert done.stdout == "{}"
    assert "ALPN: server accepted http/1.1" in done.stderr


def test_the_hub_knows_who_calls(world: World) -> None:
    done = world.pod.run_app(HUB_CALLS)

    assert (done.stdout, done.stderr) == ("ada\nacme/llama\n", "")
    asked = [request for request in world.internet.requests if request.path != "/api/agent-harnesses"]
    assert [request.header("authorization") for request in asked] == [[f"Bearer {world.hub_token}"]] * 2


# --- a refusal reads well ------------------------------------------------------------------------


def test_the_openai_sdk_prints_a_refusal(world: World) -> None:
    done = world.pod.run_app(REFUSED_CHAT)

    assert done.stdout.startswith("PermissionDeniedError Error code: 403"), done.stderr
    assert f"podkey refused POST https://{OPENAI}/v1/images/generations: " in done.stdout
    assert "Nearest grant: training/llm" in done.stdout
    assert "podkey explain" in done.stdout
    assert world.internet.requests == []


def test_requests_prints_a_refusal(world: World) -> None:
    done = world.pod.run_app(REQUESTS, f"https://{OPENAI}/v1/files")

    assert done.stdout.startswith("403 "), done.stderr
    assert f"podkey refused GET https://{OPENAI}/v1/files" in done.stdout
    assert "training/llm" in done.stdout


@pytest.mark.parametrize("version", ["1", "2"])
def test_httpx_shows_a_refusal(world: World, version: str) -> None:
    done = world.pod.run_app(HTTPX, f"https://{OPENAI}/v1/files", version)

    assert done.stdout.startswith("HTTP/1.1 403 "), done.stderr
    assert "training/llm" in done.stdout


def test_the_hub_prints_a_refusal(world: World) -> None:
    done = world.pod.run_app(HUB_REFUSED)

    assert f"podkey refused GET https://{HUB}/api/models/rival/llama" in done.stdout, done.stderr
    assert "training/llm" in done.stdout
    assert not world.internet.seen("/api/models/rival/llama")


def test_boto3_prints_a_refusal(world: World) -> None:
    done = world.pod.run_app(BOTO3)

    assert " An error occurred (AccessDenied) when calling the ListObjectsV2 operation" in done.stdout, (
        done.stderr
    )
    assert "podkey refused GET https://acme-secrets.s3.eu-west-1.amazonaws.com/" in done.stdout
    assert "training/data" in done.stdout
    assert world.internet.requests == []
