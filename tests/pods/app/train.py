"""A training job as its team writes it: it knows S3, a registry and an API, and nothing of podkey.

It reads a dataset, pulls the model that it starts from, asks an API what to try, and writes a checkpoint.
What it did stands in one line of JSON. With `--stay` it then waits, and `--crash` ends it with a core file.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from threading import Event
from typing import Any

import boto3
from openai import OpenAI

MODEL = "registry.acme.example/models/llama:1"


def read_dataset(s3: Any) -> dict[str, str]:
    found = s3.list_objects_v2(Bucket="acme-datasets", Prefix="train/")["Contents"]
    parts = {
        one["Key"]: s3.get_object(Bucket="acme-datasets", Key=one["Key"])["Body"].read() for one in found
    }
    return {key: hashlib.sha256(data).hexdigest() for key, data in parts.items()}


def pull_model(folder: Path) -> str:
    """What the weights in the image are, by their hash."""
    copied = ["skopeo", "copy", "--quiet", f"docker://{MODEL}", f"dir:{folder}"]
    subprocess.run(copied, check=True)
    layer = json.loads((folder / "manifest.json").read_text())["layers"][0]["digest"]
    with tarfile.open(folder / layer.removeprefix("sha256:")) as layers:
        weights = layers.extractfile("weights.bin") or layers.extractfile("./weights.bin")
        return hashlib.sha256(weights.read()).hexdigest()


def ask() -> str:
    client = OpenAI(max_retries=0)
    model = client.models.retrieve("gpt-5").id
    messages = [{"role": "user", "content": "Which learning rate?"}]
    return client.chat.completions.create(model=model, messages=messages).choices[0].message.content


def write_checkpoint(s3: Any, run: str, weights: str) -> str:
    """More than one part, so that it goes up in several."""
    data = weights.encode() * (10 * 1024**2 // len(weights))
    path = Path("checkpoint.bin")
    path.write_bytes(data)
    s3.upload_file(str(path), "acme-checkpoints", f"llama/{run}")
    back = s3.get_object(Bucket="acme-checkpoints", Key=f"llama/{run}")["Body"].read()
    assert back == data
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    if "--crash" in sys.argv:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    began = time.monotonic()
    s3 = boto3.client("s3")
    run = os.environ.get("RUN", "step-10")
    dataset = read_dataset(s3)
    weights = pull_model(Path(f"model-{os.getpid()}"))
    advice = ask()
    checkpoint = write_checkpoint(s3, run, weights)
    took = round(time.monotonic() - began, 3)
    told = {
        "dataset": dataset,
        "weights": weights,
        "advice": advice,
        "checkpoint": checkpoint,
        "seconds": took,
    }
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()
    if "--crash" in sys.argv:
        os.abort()
    if "--stay" in sys.argv:
        Event().wait()


if __name__ == "__main__":
    main()
