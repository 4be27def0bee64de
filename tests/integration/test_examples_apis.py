"""The examples with models, vector databases and Vault, run: their manifests and policies are unchanged.

The sidecar, the redirect, the SDKs (`openai`, `huggingface_hub`, `requests`) and TLS are real. The services
are servers of the test that answer only who has the real keys; Vault is a stand-in that verifies the pod's
token. The vector database is spoken to as its REST API is documented, by `requests`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from tests.canary import Canary
from tests.example_manifests import story
from tests.example_world import POLICY, ExampleKubelet, ExamplePod, example_pod, started
from tests.netns import requires_netns
from tests.pod_world import upstream_for
from tests.sidecar_pod import wait_for
from tests.stand_in_server import PROVIDERS, StandInServer
from tests.stand_ins.vault import Role, Vault, Version
from tests.upstream_requests import Handler, Request
from tests.upstreams import Upstream

pytestmark = requires_netns

OPENAI, VECTORS, HUB, REGISTRY, VAULT = (
    "api.openai.com",
    "vectors.acme.example",
    "huggingface.co",
    "models.acme.example",
    "vault.example.com",
)
EMBEDDING = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5, 0.25]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
MESSAGE = {"role": "assistant", "content": "The red one."}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "The red one."}}
    ],
}
POINTS = {"result": {"points": [{"id": 1, "payload": {"text": "a red coat"}}]}}
NOT_YOU = {"error": {"message": "not with this key"}}


def only_with(header: str, values: Mapping[str, str], answer: object) -> Handler:
    """200 for who has one of these keys, by method and key; 401 for everybody else."""

    def handle(request: Request) -> None:
        request.read()
        known = request.header(header) in ([value] for value in values.values())
        body = json.dumps(answer if known else NOT_YOU).encode()
        request.answer(200 if known else 401, body)

    return handle


@contextmanager
def served(pod: ExamplePod, host: str, routes: Mapping[str, Handler], port: int = 443) -> Iterator[Upstream]:
    with upstream_for(pod, host, routes=routes, addresses=[PROVIDERS], port=port) as upstream:
        yield upstream


def openai_routes(*keys: str) -> dict[str, Handler]:
    known = {key: f"Bearer {key}" for key in keys}
    answers: dict[str, object] = {
        "/v1/embeddings": EMBEDDING,
        "/v1/chat/completions": COMPLETION,
        "/v1/files": {"object": "list", "data": []},
    }
    return {path: only_with("authorization", known, answer) for path, answer in answers.items()}


def ran(kubelet: ExampleKubelet, *arguments: str) -> dict[str, str]:
    done = kubelet.run_program(*arguments)
    assert done.returncode == 0, done.stderr + kubelet.log("podkey")
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return {word: rest.strip() for word, _, rest in lines}


def request_keys(upstream: Upstream) -> list[str]:
    return [value for request in upstream.requests for value in request.header("authorization")]


def decisions(kubelet: ExampleKubelet) -> list[tuple[str, str, str]]:
    return [(one["path"], one["verdict"], one["reason"]) for one in kubelet.audit()]


# --- 03: inference -----------------------------------------------------------------------------------


def test_the_service_answers_with_placeholders_alone(canary: Canary) -> None:
    with example_pod(canary, story("03"), internet=[PROVIDERS]) as pod, ExitStack() as stack:
        key, token = canary.secret("openai key"), canary.secret("token of the vector database")
        query = "/collections/products/points/query"
        known = {query: only_with("api-key", {"": token}, POINTS)}
        openai = stack.enter_context(served(pod, OPENAI, openai_routes(key)))
        vectors = stack.enter_context(served(pod, VECTORS, known, port=6333))
        secrets = {"openai": {"api-key": key.encode()}, "vectors": {"token": token.encode()}}
        kubelet = stack.enter_context(started(pod, "deployment", secrets=secrets))
        # The namespace is `restricted`: no redirect, and no capability anywhere.
        assert [one["name"] for one in kubelet.stored["spec"]["initContainers"]] == ["podkey"]

        told = ran(kubelet, "Which coat is warm?")

        assert told["known"] == "a red coat"
        assert told["answer"] == "The red one."
        assert told["refused"] == "403 path_not_granted"
        assert [request.path for request in vectors.requests] == [query]
        assert not openai.seen(kubelet.environment("chat")["OPENAI_API_KEY"])


# --- 04: fine-tuning ---------------------------------------------------------------------------------

CONFIG = {"model_type": "llama", "hidden_size": 4096}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_routes(reads: str, writes: str, pushed: list[str]) -> dict[str, Handler]:
    config = json.dumps(CONFIG).encode()

    def resolve(request: Request) -> None:
        request.read()
        if request.header("authorization") != [f"Bearer {reads}"]:
            request.answer(401, b"{}")
            return
        fields = [("x-repo-commit", COMMIT), ("etag", '"abc"'), ("content-type", "application/json")]
        request.start(200, *fields, ("content-length", str(len(config))))
        if request.method != "HEAD":
            request.send(config)
        request.end()

    def write(answer: object) -> Handler:
        def handle(request: Request) -> None:
            request.read()
            known = request.header("authorization") == [f"Bearer {writes}"]
            pushed.append(request.body.decode())
            request.answer(200 if known else 401, json.dumps(answer).encode())

        return handle

    repo = "/api/models/acme/llama-finetuned"
    decided = {"files": [{"path": "config.json", "uploadMode": "regular", "shouldIgnore": False}]}
    done = {"commitOid": COMMIT, "commitUrl": f"https://{HUB}/acme/llama-finetuned/commit/{COMMIT}"}
    return {
        "/meta-llama/Llama-3.1-8B/resolve/main/config.json": resolve,
        f"{repo}/preupload/main": write(decided),
        f"{repo}/commit/main": write({"success": True, **done}),
    }


def test_the_job_pulls_with_one_token_and_pushes_with_another(canary: Canary) -> None:
    with example_pod(canary, story("04"), internet=[PROVIDERS]) as pod, ExitStack() as stack:
        reads, writes = canary.secret("read token", "hf_"), canary.secret("write token", "hf_")
        pushed: list[str] = []
        hub = stack.enter_context(served(pod, HUB, hub_routes(reads, writes, pushed)))
        secrets = {"huggingface": {"read-token": reads.encode(), "write-token": writes.encode()}}
        kubelet = stack.enter_context(started(pod, "job", secrets=secrets))

        told = ran(kubelet)

        assert told["pulled"] == "llama of 4096"
        assert told["pushed"] == COMMIT
        assert told["refused"] == "403 path_not_granted"
        assert "Fine-tuned" in "".join(pushed)
        assert not hub.seen(kubelet.environment("finetune")["HF_TOKEN"])
        granted = {path for path, verdict, _ in decisions(kubelet) if verdict == "attach"}
        assert granted == set(hub_routes("", "", []))


# --- 08: Vault ---------------------------------------------------------------------------------------


def test_the_job_reads_models_with_a_token_that_vault_keeps(canary: Canary) -> None:
    with example_pod(canary, story("08"), internet=[PROVIDERS]) as pod, ExitStack() as stack:
        token = canary.secret("token of the registry")
        vault = Vault(pod.issuer, datetime.now(UTC))
        path = "secret/data/teams/evaluation/model-registry"
        vault.roles["kubernetes", "evaluator"] = Role(
            names=("evaluator",), namespaces=("evaluation",), policy={path: {"read"}}
        )
        vault.kv["secret", "teams/evaluation/model-registry"] = [Version({"api_key": token})]
        known = {"": f"Bearer {token}"}
        routes = {
            "/v1/models/churn/3": only_with("authorization", known, {"name": "churn 3"}),
            "/v1/models/churn/3/weights": only_with("authorization", known, [0.5] * 100),
        }
        registry = stack.enter_context(served(pod, REGISTRY, routes))
        stack.enter_context(StandInServer(pod, VAULT, vault.answer, port=8200))
        kubelet = stack.enter_context(started(pod, "job", secrets={}))

        # Its clock: the tokens of the pod were made after it was.
        vault.now = datetime.now(UTC)
        told = kubelet.run_program()

        assert told.returncode == 0, told.stderr + kubelet.log("podkey")
        assert told.stdout.splitlines() == [
            "read       churn 3, 500 bytes",
            "refused    403 method_not_granted",
        ]
        assert [request.method for request in registry.requests] == ["GET", "GET"]
        # Neither the login's token nor the secret outlives what it was for.
        assert vault.tokens == {}
        assert {one["credential"] for one in kubelet.audit() if one["verdict"] == "attach"} == {
            "evaluation/model-registry"
        }


# --- 10: from observing to enforcing -----------------------------------------------------------------


def test_a_service_with_its_own_key_goes_on_and_the_audit_tells_what_would_be(
    canary: Canary,
) -> None:
    example = story("10")
    # The service's own key is no canary: as long as it has one, it can print it. That is why it goes.
    own, ours = "sk-" + "own-key-of-the-service", canary.secret("openai key of podkey")
    secrets = {"openai-of-the-app": {"api-key": own.encode()}, "openai-of-podkey": {"api-key": ours.encode()}}
    with example_pod(canary, example, internet=[PROVIDERS]) as pod, ExitStack() as stack:
        openai = stack.enter_context(served(pod, OPENAI, openai_routes(own, ours)))

        # 1. Observed, with its own key: nothing changes, and the audit tells.
        with started(pod, "before", secrets=secrets) as kubelet:
            told = ran(kubelet)
            assert told == {"embedded": "3 numbers", "answered": "The red one.", "files": "0"}
            assert {tuple(request.header("authorization")) for request in openai.requests} == {
                (f"Bearer {own}",)
            }
            audit = [
                (one["path"], one["verdict"], one["reason"], one["staticCredentialSeen"])
                for one in kubelet.audit()
            ]
            assert audit == [
                ("/v1/embeddings", "pass_through", "would_attach", True),
                ("/v1/chat/completions", "pass_through", "would_attach", True),
                ("/v1/files", "pass_through", "would_refuse", True),
            ]
            assert [one["would"] for one in kubelet.audit()] == ["granted", "granted", "method_not_granted"]


def test_without_its_key_it_gets_ours_and_enforcing_refuses_the_rest(canary: Canary) -> None:
    example = story("10")
    policy = (example / POLICY).read_text()
    enforced = policy.replace("mode: observe", "mode: enforce")
    assert enforced != policy
    ours = canary.secret("openai key of podkey")
    secrets = {"openai-of-podkey": {"api-key": ours.encode()}}
    with example_pod(canary, example, internet=[PROVIDERS]) as pod, ExitStack() as stack:
        openai = stack.enter_context(served(pod, OPENAI, openai_routes(ours)))
        kubelet = stack.enter_context(started(pod, "after", secrets=secrets))

        # 2. Still observed: what is granted gets the real key; the rest goes out as it is, and fails there.
        observed = kubelet.run_program()
        assert "not with this key" in observed.stderr
        seen = [(path, reason) for path, _, reason in decisions(kubelet)]
        assert seen[:2] == [("/v1/embeddings", "granted"), ("/v1/chat/completions", "granted")]
        assert seen[-1] == ("/v1/files", "would_refuse")

        # 3. Enforced, in the same pod: the refusal is ours, and nothing leaves.
        before = len(openai.requests)
        kubelet.swap_policy(enforced)
        wait_for(lambda: "policy applied" in kubelet.log("podkey"), "the policy to be replaced", seconds=10)
        told = ran(kubelet)
        assert (told["embedded"], told["answered"]) == ("3 numbers", "The red one.")
        assert "podkey refused GET https://api.openai.com/v1/files: GET is not POST" in told["refused"]
        assert [request.path for request in openai.requests[before:]] == [
            "/v1/embeddings",
            "/v1/chat/completions",
        ]
        assert decisions(kubelet)[-1] == ("/v1/files", "refuse", "method_not_granted")
