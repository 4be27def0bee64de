"""What proof and lease cost a request once both are there: the goal is 2 µs together.

Measured as the engine and the exchange ask for them, with the loop around them taken off: an empty coroutine
that is awaited as often.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from proxy.core.credentials import CredentialRef
from proxy.core.evidence import Evidence
from proxy.core.identity import WorkloadIdentity
from proxy.core.lease import Lease, LeaseKey
from proxy.documents.reader import read_documents
from proxy.edge.clock import SystemClock
from proxy.edge.lease_keeper import LeaseKeeper
from proxy.edge.performing import Performer
from proxy.judge.index import PolicyIndex
from proxy.services.loader import built_in_catalogue
from proxy.sources.steps import HttpCall, HttpReply
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders

CALLS = 100_000
ROUNDS = 7
GOAL_MICROSECONDS = 2.0
RESULTS = Path(__file__).parent / "results"

POLICY = b"""
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: bench}
spec:
  workloads: {serviceAccounts: [bench]}
  grants:
    - {hosts: [api.example.com], credential: own}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: own}
spec:
  oauth2ClientCredentials:
    tokenUrl: https://login.example.com/token
    clientId: bench
    auth: {federated: {audience: login}}
  attach: {bearer: {}}
"""


class Door:
    """Answers once, with a token for an hour."""

    async def call(self, _call: HttpCall) -> HttpReply:
        return HttpReply(
            200, {}, b'{"access_token": "for-an-hour", "token_type": "Bearer", "expires_in": 3600}'
        )


class Log:
    def note(self, event: str, **_fields: object) -> None:
        raise SystemExit(f"bench: {event}")

    info = warning = error = note


def main() -> int:
    clock, catalogue = SystemClock(), built_in_catalogue()
    documents = read_documents({"policy.yaml": POLICY}, catalogue)
    if documents.problems:
        raise SystemExit(str(documents.problems))
    found = documents.documents
    who = WorkloadIdentity("default", "bench")
    now = clock.now()
    proof = Evidence("https://issuer.example.com", "key", "hash", "uid", now, now + timedelta(hours=1))
    pod = PodState(PolicyIndex(found.policies, found.sources, catalogue), who, Placeholders(), proof)
    ref = found.sources[0].ref

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "login").write_text("a.b.c")
        performer = Performer(Path(folder), Path(folder), Door(), clock)
        keeper = LeaseKeeper(performer, lambda: who, clock, Log())
        figures = asyncio.run(measure(pod, ref, keeper))
    total = figures["proof and lease, µs"]
    for name, figure in figures.items():
        print(f"{name:<40} {figure:8.3f}")
    verdict = "within" if total <= GOAL_MICROSECONDS else "ABOVE"
    print(f"{verdict} the goal of {GOAL_MICROSECONDS:g} µs (median of {ROUNDS} rounds of {CALLS:,} calls)")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "leases.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0


async def measure(pod: PodState, ref: CredentialRef, keeper: LeaseKeeper) -> dict[str, float]:
    now = datetime.now(UTC)
    key = pod.leases[ref]
    keeper.use(one for one in pod.leases.values() if isinstance(one, LeaseKey))
    if not isinstance(key, LeaseKey) or not isinstance(await keeper.lease(key), Lease):
        raise SystemExit("bench: there is no lease to look up")

    async def nothing() -> None:
        pass

    async def proof() -> None:
        pod.unproven(now)

    async def lease() -> None:
        await keeper.lease(pod.leases[ref])

    async def both() -> None:
        pod.unproven(now)
        await keeper.lease(pod.leases[ref])

    rounds = [[await timed(work) for work in (nothing, proof, lease, both)] for _ in range(ROUNDS)]
    empty, proved, leased, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "proof, µs": proved - empty,
        "live lease, µs": leased - empty,
        "proof and lease, µs": whole - empty,
        "the empty loop, µs": empty,
    }


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    """Microseconds of CPU for one call."""
    began = time.process_time()
    for _ in range(CALLS):
        await work()
    return (time.process_time() - began) / CALLS * 1e6


if __name__ == "__main__":
    sys.exit(main())
