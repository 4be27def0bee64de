"""What a signature costs a request once its key is derived: the goal is 8 µs for S3.

CPU time of the signer alone, for requests as SDKs send them; and beside it what botocore takes for the same
request in the same run, so that a slow or a busy machine can be told from a slow signer.
"""

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from proxy.aws.chunk_chain import EcdsaChain, HmacChain
from proxy.aws.sigv4 import SigningKeys, SigningScope, Style, Unsigned, payload_hash, sign
from proxy.aws.sigv4a import sign_v4a
from proxy.core.secret import Secret

CALLS = 2_000
ROUNDS = 15
GOAL_MICROSECONDS = 8.0
RESULTS = Path(__file__).parent / "results"

REGION = "eu-central-1"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
HOST = ("host", f"train.s3.{REGION}.amazonaws.com")
GET = Unsigned(
    "GET",
    "/imagenet/shard-00017.tar",
    "",
    (
        HOST,
        ("range", "bytes=8388608-16777215"),
        ("x-amz-checksum-mode", "ENABLED"),
        ("x-amz-content-sha256", UNSIGNED_PAYLOAD),
    ),
    UNSIGNED_PAYLOAD,
)
PUT = Unsigned(
    "PUT",
    "/checkpoints/step%3D1000/model.safetensors",
    "partNumber=17&uploadId=VXBsb2FkIElEIGZvciBlbHZpbmcncyBteS1tb3ZpZQ",
    (
        HOST,
        ("content-type", "application/octet-stream"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-content-sha256", TRAILER),
        ("x-amz-decoded-content-length", "8388608"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-expected-bucket-owner", "123456789012"),
    ),
    TRAILER,
)
INVOKE = Unsigned(
    "POST",
    "/model/anthropic.claude-v2%3A1/invoke",
    "",
    (("host", f"bedrock-runtime.{REGION}.amazonaws.com"), ("content-type", "application/json")),
    payload_hash(b""),
)
# A key is not looked at, and a token has about this length.
KEYS = SigningKeys("bench", Secret(b"s" * 40))
SESSION = SigningKeys("bench", Secret(b"s" * 40), Secret(b"t" * 700))
# A thousand requests a second: some share a second with the last one, as in life.
BEGINNING = datetime(2026, 3, 4, 12, tzinfo=UTC)
MOMENTS = [BEGINNING + timedelta(milliseconds=tick) for tick in range(3_000)]


def main() -> int:
    # Off in SDKs too; botocore formats each canonical request for it.
    logging.disable()
    works = subjects()
    samples: dict[str, list[float]] = {name: [] for name in works}
    # One after the other in each round, so that what else runs meets all of them.
    for _ in range(ROUNDS):
        for name, work in works.items():
            samples[name].append(timed(work))
    figures = {name: statistics.median(taken) for name, taken in samples.items()}
    report(figures, {name: min(taken) for name, taken in samples.items()})
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "signing.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def report(figures: Mapping[str, float], best: Mapping[str, float]) -> None:
    print(f"{'CPU µs':<34} {'median':>8} {'best':>8}  {'botocore':>8}  times")
    for name, figure in figures.items():
        if not name.startswith("botocore: "):
            theirs = figures.get(f"botocore: {name}")
            beside = "" if theirs is None else f"  {theirs:8.1f}  {theirs / figure:5.1f}"
            print(f"{name:<34} {figure:8.2f} {best[name]:8.2f}{beside}")
    got = figures["S3 GET, 4 headers"]
    verdict = "within" if got <= GOAL_MICROSECONDS else "ABOVE"
    print(f"{verdict} the goal of {GOAL_MICROSECONDS:g} µs (median of {ROUNDS} rounds of {CALLS:,} calls)")


def subjects() -> dict[str, Callable[[], object]]:
    moments = cycle(MOMENTS)

    def ours(request: Unsigned, keys: SigningKeys, service: str, style: Style) -> Callable[[], object]:
        return lambda: sign(request, keys, SigningScope(next(moments), REGION, service), style)

    works: dict[str, Callable[[], object]] = {
        "S3 GET, 4 headers": ours(GET, KEYS, "s3", Style.S3),
        "S3 PUT of a part, 8 headers": ours(PUT, KEYS, "s3", Style.S3),
        "S3 GET with a session token": ours(GET, SESSION, "s3", Style.S3),
        "Bedrock POST": ours(INVOKE, KEYS, "bedrock", Style.GENERAL),
        "botocore: S3 GET, 4 headers": botocores(GET, S3SigV4Auth, "s3"),
        "botocore: S3 PUT of a part, 8 headers": botocores(PUT, S3SigV4Auth, "s3"),
        "botocore: S3 GET with a session token": botocores(GET, S3SigV4Auth, "s3", "t" * 700),
        "botocore: Bedrock POST": botocores(INVOKE, SigV4Auth, "bedrock"),
        "SigV4a GET": lambda: sign_v4a(GET, KEYS, next(moments), "s3", "*", Style.S3),
    }
    chunk = bytes(64 * 1024)
    hmac = HmacChain.of(KEYS, SigningScope(BEGINNING, REGION, "s3"), "seed")
    ecdsa = EcdsaChain.of(KEYS, BEGINNING, "s3", "seed")
    return works | {
        "a chunk of 64 KiB": lambda: hmac.chunk(chunk),
        "an empty chunk": lambda: hmac.chunk(b""),
        "a chunk of 64 KiB, SigV4a": lambda: ecdsa.chunk(chunk),
    }


def botocores(
    request: Unsigned, kind: type[SigV4Auth], service: str, token: str | None = None
) -> Callable[[], object]:
    auth = kind(Credentials("bench", "s" * 40, token), service, REGION)
    url = f"https://{request.headers[0][1]}{request.path}?{request.query}"
    theirs = AWSRequest(request.method, url, dict(request.headers), b"")
    return lambda: auth.add_auth(theirs)


def timed(work: Callable[[], object]) -> float:
    """Microseconds of CPU for one call."""
    began = time.process_time()
    for _ in range(CALLS):
        work()
    return (time.process_time() - began) / CALLS * 1e6


if __name__ == "__main__":
    sys.exit(main())
