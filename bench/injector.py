"""What the injector costs: `podkey-injector serve` on one core, its API server and its clients on another.

All in one run: the engine alone, reviews over TLS at 300 a second and as fast as they go, the same while
policies are edited, memory with 5,000 policies in 200 namespaces, and what a person waits for who writes one.

The process is the image's, in its own root with its own Python, where `make images` has built it of this
tree; else this checkout's, which is said: a Python that was built without profile feedback takes twice the
time. Other programs on the machine make the times worse; CPU per review and memory say more then.
"""

import gc
import json
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.injector_cluster import API, OWN, fill, gpu_job_pod, namespace_object, policy, sources
from bench.injector_ends import Cluster
from bench.injector_process import CORES, READY_SECONDS, Asking, Process, image_root, running
from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from injector.core.settings import InjectorSettings, SidecarSettings
from injector.edge.chance import Chance
from injector.engine.compile import compile_namespace
from injector.engine.mutate import mutate
from injector.engine.policy_book import PolicyBook
from injector.engine.validate import validate
from injector.engine.world import World
from injector.reading.reviews import GroupVersionName, Review, read_review, render_answer
from proxy.services.loader import built_in_catalogue

GOAL_SECONDS = 0.010
GOAL_RATE = 300
GOAL_MIB = 120
PACED_SECONDS = 6.0
FULL_SECONDS = 4.0
EDITS = 3
ROUNDS = 7
# Of these the quietest counts: what else the machine does only ever adds.
PACED_ROUNDS = 5
# Where more than this part of a round was lost, reviews were behind other programs, or behind other machines
# of the same host: one of them in a hundred makes a p99. (The process's own threads wait for one another.)
DISTURBED_WAITING = 0.05
DISTURBED_STEALING = 0.01
CALLS = 200
RESULTS = Path(__file__).parent / "results"


# --- what is measured ----------------------------------------------------------------------------------


def best_of(call: Callable[[], object], calls: int = CALLS) -> float:
    """Seconds of CPU per call, in the quietest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(calls):
            call()
        best = min(best, time.process_time() - start)
    return best / calls


def raw(one: dict[str, Any]) -> RawDocument:
    metadata = one["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    kept = {"apiVersion": API, "kind": one["kind"], "metadata": {"name": name, "namespace": namespace}}
    return RawDocument(one["kind"], namespace, name, f"uid-{name}", 1, "1", {**kept, "spec": one["spec"]})


def a_book(size: int) -> tuple[PolicyBook, Namespace]:
    labels = namespace_object("ml")["metadata"]["labels"]
    namespace = Namespace("ml", labels)
    book = PolicyBook(built_in_catalogue(), OWN)
    for one in sources("ml"):
        book.upsert(raw(one))
    for number in range(size):
        book.upsert(raw(policy(number, "ml")))
    return book, namespace


def engine() -> dict[str, float]:
    book, namespace = a_book(500)
    start = time.process_time()
    compiled = compile_namespace(namespace, book, None)
    figures = {"compile 500 policies, ms": (time.process_time() - start) * 1e3}
    book.put_in_force(compiled)
    settings = InjectorSettings(SidecarSettings(image="registry.example.com/podkey:1"))
    world = World({"ml": namespace}, book, settings)
    body = gpu_job_pod("ml")
    review, chance = read_review(body), Chance()
    if not isinstance(review, Review):
        raise SystemExit(f"bench: {review}")
    answer = mutate(review, world, chance)
    if not answer.patch:
        raise SystemExit(f"bench: {answer}")
    gc.freeze()
    figures["read a review, µs"] = best_of(lambda: read_review(body)) * 1e6
    figures["mutate, µs"] = best_of(lambda: mutate(review, world, chance)) * 1e6
    figures["render the answer, µs"] = best_of(lambda: render_answer(answer)) * 1e6
    gc.unfreeze()
    return figures


def validating() -> dict[str, float]:
    figures = {}
    for size in (25, 500, 1000):
        book, namespace = a_book(size)
        book.put_in_force(compile_namespace(namespace, book, None))
        edited = policy(7, "ml", host="edited.example.com")
        kind = GroupVersionName("podkey.io", "v1alpha1", "AccessPolicy")
        resource = GroupVersionName("podkey.io", "v1alpha1", "accesspolicies")
        review = Review(
            uid="",
            operation="UPDATE",
            kind=kind,
            resource=resource,
            namespace="ml",
            name="train-7",
            object=edited,
            old_object=policy(7, "ml"),
        )
        namespaces = {"ml": namespace}
        if not validate(review, book, namespaces).allowed:
            raise SystemExit(f"bench: {validate(review, book, namespaces)}")
        took = best_of(lambda: validate(review, book, namespaces), calls=3)  # noqa: B023 - called here
        figures[f"validate an edit among {size:,} policies, ms"] = took * 1e3
    return figures


def compiled(cluster: Cluster) -> int:
    """Namespaces whose policies are in force."""
    return cluster.count("configmaps", lambda one: one["metadata"]["name"] == "podkey-policy")


def reviews() -> dict[str, dict[str, float]]:
    cluster = Cluster()
    fill(cluster, {"wide": 500, "ml": 25})
    rows: dict[str, dict[str, float]] = {}
    with running(cluster) as process:
        process.wait(process.is_ready, "readiness")
        process.wait(lambda: compiled(cluster) == 2, "the compiled policies")
        # Statuses are written twice at the start: when documents are read, and when they are in force.
        process.wait(cluster.is_quiet, "the statuses")
        body = gpu_job_pod("wide").decode()

        def paced(*, by_chance: bool) -> dict[str, float]:
            seconds = PACED_SECONDS
            return Asking(
                process,
                cluster,
                connections=64,
                rate=GOAL_RATE,
                seconds=seconds,
                body=body,
                by_chance=by_chance,
            ).figures()

        for connections in (1, 8, 64):
            asking = Asking(process, cluster, connections=connections, seconds=FULL_SECONDS, body=body)
            rows[f"as fast as they go, {connections} at a time"] = asking.figures()
        for by_chance in (False, True):
            name = f"{GOAL_RATE} a second{', by chance' if by_chance else ''}"
            rows[name] = quietest(paced(by_chance=by_chance) for _ in range(PACED_ROUNDS))
        for where, size in (("ml", 25), ("wide", 500)):
            name = f"{GOAL_RATE} a second, edits among {size} policies"
            rows[name] = quietest(edits(process, cluster, where, body) for _ in range(PACED_ROUNDS))
    return rows


def quietest(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    return min(rows, key=lambda row: row["p99, ms"])


def edits(process: Process, cluster: Cluster, namespace: str, body: str) -> dict[str, float]:
    """One policy is changed again and again, while reviews come."""
    asking = Asking(process, cluster, connections=64, rate=GOAL_RATE, seconds=PACED_SECONDS, body=body)
    time.sleep(1.0)
    times = []
    for number in range(EDITS):
        edited = policy(7, namespace, host=f"edited-{secrets.token_hex(4)}.example.com")
        old = cluster.get("accesspolicies", namespace, "train-7")
        edited["metadata"] |= {} if old is None else {"generation": old["metadata"]["generation"]}
        began = time.perf_counter()
        cluster.put("accesspolicies", edited, changed=True)
        while cluster.written[namespace, "podkey-policy"] < began:
            if asking.is_over or time.perf_counter() - began > READY_SECONDS:
                raise SystemExit(f"bench: edit {number} of {namespace} was not written in time")
            time.sleep(0.002)
        times.append(cluster.written[namespace, "podkey-policy"] - began)
    row = asking.figures()
    row["an edit, s"] = statistics.median(times)
    return row


def memory() -> dict[str, float]:
    cluster = Cluster()
    fill(cluster, {f"team-{number}": 25 for number in range(200)})
    figures = {}
    with running(cluster) as process:
        figures["ready after, s"] = process.wait(process.is_ready, "readiness")
        figures["RSS when ready, MiB"] = process.memory()
        figures["200 namespaces in force after, s"] = process.wait(
            lambda: compiled(cluster) == 200, "200 compiled namespaces"
        )
        figures["RSS with all compiled, MiB"] = process.memory()
        for number in range(10):
            asking = Asking(
                process,
                cluster,
                connections=8,
                rate=GOAL_RATE,
                seconds=1000 / GOAL_RATE,
                body=gpu_job_pod(f"team-{number}").decode(),
            )
            asking.figures()
        figures["RSS after 10,000 reviews, MiB"] = process.memory()
        figures["RSS at its highest, MiB"] = process.memory("VmHWM")
    return figures


def main() -> int:
    if len(CORES) < 2:
        raise SystemExit("bench: it takes two cores")
    print(f"the process: {'the image' if image_root() else f'this checkout on {sys.executable}'}\n")
    os.sched_setaffinity(0, {CORES[0]})
    figures: dict[str, Any] = {"engine": engine(), "validate": validating()}
    os.sched_setaffinity(0, {CORES[1]})
    for name, figure in (figures["engine"] | figures["validate"]).items():
        print(f"{name:<46} {figure:10.1f}")
    figures["reviews"] = reviews()
    columns = [*next(iter(figures["reviews"].values())), "an edit, s"]
    print(f"\n{'':<46}" + "".join(f"{column:>17}" for column in columns))
    for name, row in figures["reviews"].items():
        cells = (f"{row[column]:17.2f}" if column in row else f"{'':>17}" for column in columns)
        print(f"{name:<46}" + "".join(cells))
    figures["memory"] = memory()
    print()
    for name, figure in figures["memory"].items():
        print(f"{name:<46} {figure:10.1f}")
    print()
    for goal, met in goals(figures):
        print(f"{'holds ' if met else 'MISSED'}  {goal}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "injector.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def goals(figures: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    rows, milliseconds = figures["reviews"], GOAL_SECONDS * 1e3
    paced = rows[f"{GOAL_RATE} a second"]
    met = paced["p99, ms"] <= milliseconds and not paced["turned away"]
    yield f"p99 <= {milliseconds:g} ms at {GOAL_RATE} a second{disturbance(paced)}", met
    fastest = max(row["reviews a second"] for row in rows.values())
    yield f">= {GOAL_RATE} reviews a second on one core", fastest >= GOAL_RATE
    edited = [row for name, row in rows.items() if "edits" in name]
    worst = max(edited, key=lambda row: row["p99, ms"])
    met = worst["p99, ms"] <= milliseconds
    yield f"p99 <= {milliseconds:g} ms also while policies are edited{disturbance(worst)}", met
    most = max(figures["memory"][name] for name in figures["memory"] if name.startswith("RSS"))
    yield f"RSS <= {GOAL_MIB} MiB with 5,000 policies in 200 namespaces", most <= GOAL_MIB


def disturbance(row: dict[str, float]) -> str:
    """In words, where a bad figure may be the machine's: also the quietest round was none."""
    lost = {
        "waited {:.0f} ms for its core": (row["waited, ms"], DISTURBED_WAITING),
        "the hypervisor took {:.0f} ms of it": (row["stolen, ms"], DISTURBED_STEALING),
    }
    seconds = PACED_SECONDS * 1e3
    told = [text.format(took) for text, (took, part) in lost.items() if took > part * seconds]
    return f" (the quietest of {PACED_ROUNDS} rounds was disturbed: {', '.join(told)})" if told else ""


if __name__ == "__main__":
    sys.exit(main())
