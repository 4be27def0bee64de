"""The examples with S3, run: their manifests and policies unchanged, the real sidecar, and a real store.

OpenStack Swift, which verifies each signature, answers as Amazon and as MinIO. AWS's STS is a
stand-in, written from its API reference, that verifies the pod's token and the role's trust policy.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.sources.steps import HttpReply
from tests.canary import Canary
from tests.example_manifests import story
from tests.example_world import ExampleKubelet, ExamplePod, example_pod, started
from tests.netns import requires_netns
from tests.pod_tokens import jwks
from tests.pod_world import upstream_for
from tests.s3_signer import Keys
from tests.s3_world import remember
from tests.sidecar_pod import wait_for
from tests.source_world import Request
from tests.stand_in_server import PROVIDERS, StandInServer
from tests.stand_ins.aws_sts import Role, Sts
from tests.swift_server import MISSING as NO_SWIFT
from tests.swift_server import Front, Swift, swift
from tests.upstreams import answering

pytestmark = [requires_netns, pytest.mark.skipif(bool(NO_SWIFT), reason=NO_SWIFT)]

AMAZON = Front("s3.eu-central-1.amazonaws.com", region="eu-central-1")
MINIO = Front("minio.storage.svc.cluster.local", port=9000)
JSON = ("content-type", "application/json")
STS = "sts.eu-central-1.amazonaws.com"


@dataclass
class World:
    pod: ExamplePod
    store: Swift

    def keys(self, **options: Any) -> Keys:
        found = self.store.new_keys(**options)
        remember(self.pod.canary, found)
        return found


@contextmanager
def world(canary: Canary, number: str, front: Front, *buckets: str) -> Iterator[World]:
    with (
        example_pod(canary, story(number), internet=[PROVIDERS]) as pod,
        swift(pod.authority, [front], ns=pod.network.net) as store,
    ):
        hosts = [f"{bucket}.{front.name}" for bucket in buckets]
        pod.resolve(front.name, *hosts, to=[front.address])
        for bucket in buckets:
            wait_for(lambda bucket=bucket: is_made(store, bucket), f"the bucket {bucket}", seconds=60)
        yield World(pod, store)


def is_made(store: Swift, bucket: str) -> bool:
    """A busy machine's store says 503 at first, and may have made it all the same."""
    return store.request("PUT", f"/{bucket}").code in {"", "BucketAlreadyOwnedByYou"}


def files(keys: Keys, access_key_id: str, secret_access_key: str) -> dict[str, bytes]:
    return {access_key_id: keys.access_key_id.encode(), secret_access_key: keys.secret_access_key.encode()}


def lines_of(kubelet: ExampleKubelet) -> dict[str, str]:
    """What the program printed: a word, and what came of it."""
    done = kubelet.run_program()
    assert done.returncode == 0, done.stderr + kubelet.log("podkey")
    return {
        word: rest.strip() for word, _, rest in (line.partition(" ") for line in done.stdout.splitlines())
    }


def decisions(kubelet: ExampleKubelet) -> set[tuple[str, str, str]]:
    return {(one["action"] or one["path"], one["verdict"], one["reason"]) for one in kubelet.audit()}


def signed_by(store: Swift, *known: str) -> set[bool]:
    """Whether what came to the store, but for the test's own requests, was signed with one of these keys."""
    return {one["key"] in known for one in store.requests() if one["key"] != store.own.access_key_id}


# --- 02: a training job ----------------------------------------------------------------------------


def test_the_training_job_reads_its_data_saves_and_reports(canary: Canary) -> None:
    with world(canary, "02", AMAZON, "acme-datasets", "acme-checkpoints") as here, ExitStack() as stack:
        for number in range(3):
            here.store.put("acme-datasets", f"imagenet/train-{number:04}.tar", bytes(100_000))
        here.store.put("acme-datasets", "faces/0000.tar", b"not for this job")
        reports = {"/graphql": answering(200, b'{"data": {}}', JSON)}
        wandb = upstream_for(here.pod, "api.wandb.ai", routes=reports, addresses=[PROVIDERS])
        stack.enter_context(wandb)
        keys, report_key = here.keys(), canary.secret("W&B key")
        kubelet = stack.enter_context(
            started(
                here.pod,
                "job",
                secrets={
                    "training-s3": files(keys, "access-key-id", "secret-access-key"),
                    "wandb": {"api-key": report_key.encode()},
                },
            )
        )

        told = lines_of(kubelet)

        assert told["read"] == "3 shards, 300000 bytes"
        assert told["saved"] == "resnet/step-100.pt, 12000000 bytes"
        assert told["reported"] == "200"
        assert told["refused"].startswith("AccessDenied: podkey refused DELETE https://acme-checkpoints.")
        assert here.store.get("acme-checkpoints", "resnet/step-100.pt") == b"weights " * 1_500_000
        assert signed_by(here.store, keys.access_key_id) == {True}
        # What a grant says of the owner travels in the request, and S3 holds it.
        owners = [dict(one["headers"]) for one in here.store.requests() if one["key"] == keys.access_key_id]
        assert {one["x-amz-expected-bucket-owner"] for one in owners} == {"111122223333"}
        assert len(wandb.requests) == 1
        assert not wandb.seen(kubelet.environment("train")["WANDB_API_KEY"])
        found = decisions(kubelet)
        assert ("s3:DeleteObject", "refuse", "action_not_granted") in found
        assert ("s3:UploadPart", "attach", "granted") in found
        assert {verdict for _, verdict, _ in found} == {"attach", "refuse"}


# --- 05: Ray -----------------------------------------------------------------------------------------

READ_SHARDS = """
import boto3
s3 = boto3.client("s3")
shards = s3.list_objects_v2(Bucket="acme-datasets", Prefix="speech/")["Contents"]
print(sum(len(s3.get_object(Bucket="acme-datasets", Key=one["Key"])["Body"].read()) for one in shards))
s3.put_object(Bucket="acme-checkpoints", Key="ray/run-1/checkpoint_000000/model.pt", Body=b"weights")
old = {"Objects": [{"Key": "ray/run-1/checkpoint_000000/model.pt"}]}
print(len(s3.delete_objects(Bucket="acme-checkpoints", Delete=old)["Deleted"]))
"""


@pytest.mark.parametrize(("number", "name"), [(0, "ray-head"), (1, "ray-worker")])
def test_head_and_workers_of_ray_read_and_write_as_the_role(canary: Canary, number: int, name: str) -> None:
    role, subject = "arn:aws:iam::111122223333:role/ray-train", "system:serviceaccount:ray:ray-train"
    with world(canary, "05", AMAZON, "acme-datasets", "acme-checkpoints") as here:
        here.store.put("acme-datasets", "speech/part-0001.parquet", bytes(1000))
        here.store.put("acme-datasets", "speech/part-0002.parquet", bytes(500))
        with (
            roles(here, role, subject) as sts,
            started(here.pod, "pods", secrets={}, number=number) as kubelet,
        ):
            assert kubelet.app == name
            done = kubelet.run_text(name, READ_SHARDS)

            assert done.stdout.split() == ["1500", "1"], done.stderr + kubelet.log("podkey")
            assert [session.role for session in sts.sessions] == [role]
            assert here.store.keys_in("acme-checkpoints") == []


# --- 06: KServe --------------------------------------------------------------------------------------

# What KServe's storage initializer does with `s3://BUCKET/PREFIX/` (its `_download_s3`): list, then get.
STORAGE_INITIALIZER = """
import os, sys
from urllib.parse import urlparse
import boto3
source = urlparse(sys.argv[1])
bucket = boto3.resource("s3", region_name="eu-central-1").Bucket(source.netloc)
prefix = source.path.lstrip("/")
for found in bucket.objects.filter(Prefix=prefix):
    target = os.path.join("/mnt/models", found.key.removeprefix(prefix))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    bucket.download_file(found.key, target)
"""
LIST_MODELS = "import os; print(sorted(os.listdir('/mnt/models')))"


def test_the_model_is_there_when_the_server_of_kserve_starts(canary: Canary) -> None:
    with world(canary, "06", AMAZON, "acme-models") as here:
        for name in ("config.json", "model.safetensors"):
            here.store.put("acme-models", f"llama-3.1-8b/{name}", name.encode() * 100)
        here.store.put("acme-models", "llama-3.1-8b-instruct/config.json", b"another model")
        keys = here.keys()
        secrets = {"models-s3": files(keys, "access-key-id", "secret-access-key")}
        with started(here.pod, "predictor-pod", secrets=secrets) as kubelet:
            # The sidecar is ready, and no other container has started.
            uri = kubelet.container("storage-initializer")["args"][0]
            done = kubelet.run_text("storage-initializer", STORAGE_INITIALIZER, uri)
            assert done.returncode == 0, done.stderr + kubelet.log("podkey")

            listed = kubelet.run_text("kserve-container", LIST_MODELS)

            assert listed.stdout == "['config.json', 'model.safetensors']\n"
            assert signed_by(here.store, keys.access_key_id) == {True}
            # Without the slash at its end the listing would show the other model, and is refused.
            again = kubelet.run_text("storage-initializer", STORAGE_INITIALIZER, uri.rstrip("/"))
            assert "podkey refused GET https://acme-models.s3.eu-central-1.amazonaws.com/" in again.stderr
            assert {one["reason"] for one in kubelet.audit()} == {"granted", "pin_not_granted"}


# --- 07: MinIO ---------------------------------------------------------------------------------------


def test_the_indexer_works_with_a_store_of_its_own(canary: Canary) -> None:
    with world(canary, "07", MINIO, "documents", "indexes") as here:
        here.store.put("documents", "public/handbook.txt", b"where the coffee is")
        here.store.put("documents", "public/map.txt", b"where the exit is")
        here.store.put("documents", "board/minutes.txt", b"what nobody is to know")
        keys = here.keys()
        secrets = {"minio-indexer": files(keys, "accessKeyId", "secretAccessKey")}
        with started(here.pod, "job", secrets=secrets) as kubelet:
            told = lines_of(kubelet)

            assert told["indexed"] == "5 words"
            assert told["refused"].startswith("AccessDenied: podkey refused GET https://minio.storage.svc")
            index = here.store.get("indexes", "public/words.json")
            assert index is not None
            assert json.loads(index)["exit"] == ["public/map.txt"]
            assert signed_by(here.store, keys.access_key_id) == {True}
            assert {one["port"] for one in kubelet.audit()} == {9000}


# --- 09: a role of AWS -------------------------------------------------------------------------------


def trust_of(example: Path) -> tuple[str, str, str]:
    """Issuer, audience and subject, as trust-policy.json has them."""
    (statement,) = json.loads((example / "trust-policy.json").read_text())["Statement"]
    issuer = statement["Principal"]["Federated"].partition(":oidc-provider/")[2]
    condition = statement["Condition"]["StringEquals"]
    return issuer, condition[f"{issuer}:aud"], condition[f"{issuer}:sub"]


@contextmanager
def roles(here: World, arn: str, subject: str, audience: str = "sts.amazonaws.com") -> Iterator[Sts]:
    """AWS's STS, with one role; the store takes the keys of its sessions."""
    provider = {here.pod.issuer.issuer: (jwks(here.pod.issuer), (audience,))}
    sts = Sts((Role(arn, (subject,), audience),), provider, now=datetime.now(UTC))

    def answer(request: Request) -> HttpReply:
        reply = sts.answer(request)
        for one in sts.sessions:
            keys = Keys(one.access_key_id, one.secret_access_key, one.session_token)
            here.store.accept(keys)
            remember(here.pod.canary, keys)
        return reply

    with StandInServer(here.pod, STS, answer):
        yield sts


def test_a_pod_without_any_key_takes_the_role_that_trusts_it(canary: Canary) -> None:
    _, audience, subject = trust_of(story("09"))
    role = "arn:aws:iam::111122223333:role/forecast"
    with world(canary, "09", AMAZON, "acme-sales", "acme-forecasts") as here:
        for day in (1, 2, 3):
            here.store.put("acme-sales", f"daily/2026-03-0{day}.csv", str(100 * day).encode())
        with roles(here, role, subject, audience) as sts, started(here.pod, "job", secrets={}) as kubelet:
            told = lines_of(kubelet)

            assert told["read"] == "3 days"
            assert told["written"] == "daily/next.txt"
            assert told["refused"].startswith("AccessDenied: podkey refused PUT https://acme-sales.")
            assert here.store.get("acme-forecasts", "daily/next.txt") == b"200"
            (session,) = sts.sessions
            assert session.role == role
            assert session.name == f"{here.pod.who['namespace']}.llama-0"
            assert signed_by(here.store, session.access_key_id) == {True}
            # The session can do what the grants say, whatever else the role may do.
            assert "acme-forecasts/daily/*" in session.policy
            assert {one["evidence"] for one in kubelet.audit()} == {"token"}


def test_a_role_that_trusts_another_account_is_not_given_and_the_reason_is_told(canary: Canary) -> None:
    with world(canary, "09", AMAZON, "acme-sales", "acme-forecasts") as here:
        role, other = "arn:aws:iam::111122223333:role/forecast", "system:serviceaccount:forecast:other"
        with roles(here, role, other), started(here.pod, "job", secrets={}) as kubelet:
            done = kubelet.run_program()

            assert done.returncode == 1
            reasons = {one["reason"] for one in kubelet.audit()}
            assert reasons == {"credential_unavailable"}
            assert "`sub` `system:serviceaccount:forecast:forecaster`" in done.stderr
