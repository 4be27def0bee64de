"""What one decision costs, with 1, 100 and 10,000 grants. Prints a table, and JSON for later.

Each figure is the best of several rounds: the machine's noise only ever adds. `raw` also reads the request
line (path and query) into facts, as a lane does once per request.
"""

import gc
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from proxy.core.hosts import Hostname
from proxy.core.identity import WorkloadIdentity
from proxy.core.request import RequestFacts
from proxy.documents.reader import read_documents
from proxy.judge.decide import decide
from proxy.judge.index import PolicyIndex
from proxy.services.loader import built_in_catalogue

SIZES = (1, 100, 10_000)
ROUNDS = 15
CALLS = 4_000
GOAL_MICROSECONDS = 3.0
GOAL_GROWTH = 2.0  # at 10,000 grants, against 100

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = WorkloadIdentity("default", "trainer", labels={"app": "train"})


@dataclass(frozen=True, slots=True)
class Story:
    """One way to have many grants, and a request that the one in the middle covers."""

    name: str
    grant: Callable[[int], str]
    request: Callable[[int], tuple[str, str, str]]


STORIES = (
    Story(
        "a host per grant",
        lambda n: f'hosts: [api-{n}.example.com], methods: [GET, POST], paths: ["/v1/**"], credential: api',
        lambda n: (f"api-{n}.example.com", "POST", "/v1/chat/completions"),
    ),
    Story(
        "one host, a path per grant",
        lambda n: f'hosts: [api.example.com], paths: ["/team-{n}/**"], credential: api',
        lambda n: ("api.example.com", "POST", f"/team-{n}/jobs/17"),
    ),
    Story(
        "openai, a path per grant",
        lambda n: f"service: openai, methods: [POST], paths: [/v1/models-{n}/run], credential: api",
        lambda n: ("api.openai.com", "POST", f"/v1/models-{n}/run"),
    ),
    Story(
        "s3 object, a bucket per grant",
        lambda n: f"service: s3, buckets: [b-{n}], prefixes: [data/], access: [read, list], credential: s3",
        lambda n: ("s3.eu-central-1.amazonaws.com", "GET", f"/b-{n}/data/train-0001.tar"),
    ),
    Story(
        "s3 listing, a bucket per grant",
        lambda n: f"service: s3, buckets: [b-{n}], prefixes: [data/], access: [read, list], credential: s3",
        lambda n: (f"b-{n}.s3.eu-central-1.amazonaws.com", "GET", "/?list-type=2&prefix=data/"),
    ),
    Story(
        "ungoverned host",
        lambda n: f"hosts: [api-{n}.example.com], credential: api",
        lambda _: ("deb.example.net", "GET", "/"),
    ),
    Story(
        "refused: bucket not granted",
        lambda n: f"service: s3, buckets: [b-{n}], access: [read], credential: s3",
        lambda _: ("s3.eu-central-1.amazonaws.com", "GET", "/somebody-else/data/x"),
    ),
)

SOURCES = """\
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: s3}
spec: {mountedSecret: {secretName: s3, keys: {accessKeyId: id, secretAccessKey: key}}}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: api}
spec: {mountedSecret: {secretName: api, key: token}, attach: {bearer: {}}}
"""


@dataclass(frozen=True, slots=True)
class Figure:
    story: str
    grants: int
    decide_microseconds: float
    raw_microseconds: float
    first_milliseconds: float


def policy(number: int, grant: str) -> str:
    return (
        "apiVersion: podkey.io/v1alpha1\nkind: AccessPolicy\n"
        f"metadata: {{name: policy-{number}}}\n"
        f"spec: {{workloads: {{serviceAccounts: [trainer]}}, grants: [{{{grant}}}]}}\n"
    )


def build(story: Story, size: int) -> PolicyIndex:
    documents = [policy(number, story.grant(number)) for number in range(size)]
    files = {"sources.yaml": SOURCES.encode()}
    for start in range(0, size, 1000):  # a file holds at most 1 MiB
        files[f"policies-{start}.yaml"] = "---\n".join(documents[start : start + 1000]).encode()
    result = read_documents(files, built_in_catalogue())
    if result.problems:
        raise SystemExit(str(result.problems[0]))
    return PolicyIndex(result.documents.policies, result.documents.sources, built_in_catalogue())


def best_of(call: Callable[[], object]) -> float:
    """Microseconds per call, in the quietest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    return best / CALLS * 1e6


def measure(story: Story, size: int) -> Figure:
    index = build(story, size)
    host, method, target = story.request(size // 2)
    request = RequestFacts.of(Hostname(host), method, target)
    start = time.perf_counter()
    decide(index, POD, request, NOW)  # binds pod and host: the once-per-host cost
    first = time.perf_counter() - start
    ready = best_of(lambda: decide(index, POD, request, NOW))
    raw = best_of(lambda: decide(index, POD, RequestFacts.of(Hostname(host), method, target), NOW))
    return Figure(story.name, size, ready, raw, first * 1e3)


def main() -> None:
    gc.freeze()
    figures: list[Figure] = []
    print(f"{'':<32}" + "".join(f"{size:>12,}" for size in SIZES) + "   growth   from raw   first (ms)")
    for story in STORIES:
        row = [measure(story, size) for size in SIZES]
        figures += row
        growth = row[2].decide_microseconds / row[1].decide_microseconds
        cells = "".join(f"{figure.decide_microseconds:>9.2f} µs" for figure in row)
        met = "ok" if row[2].decide_microseconds <= GOAL_MICROSECONDS and growth <= GOAL_GROWTH else "over"
        last = row[2]
        print(
            f"{story.name:<32}{cells}{growth:>8.2f}×{last.raw_microseconds:>8.2f} µs"
            f"{last.first_milliseconds:>12.1f}   {met}"
        )
    print(f"goal: ≤ {GOAL_MICROSECONDS} µs a decision; growth from 100 to 10,000 grants ≤ {GOAL_GROWTH}×")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    text = json.dumps([asdict(figure) for figure in figures], indent=2)
    (results / "decision.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
