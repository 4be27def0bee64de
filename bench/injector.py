"""What the injector costs: `podkey-injector serve` on one core, its API server and its clients on another.

All in one run: the engine alone, reviews over TLS at 300 a second and as fast as they go, the same while
policies are edited, memory with 5,000 policies in 200 namespaces, and what a person waits for who writes one.

Other programs on the machine make the times worse; CPU per review and memory say more then.
"""

import base64
import gc
import json
import os
import secrets
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.injector_ends import Cluster, Server, serve
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
from proxy.x509.certificates import certificate_pem
from tests.injector_serving_world import TestAuthority

ROOT = Path(__file__).parents[1]
GOAL_SECONDS = 0.010
GOAL_RATE = 300
GOAL_MIB = 120
PACED_SECONDS = 8.0
FULL_SECONDS = 4.0
EDITS = 3
ROUNDS = 7
# Of these the quietest counts: what else the machine does only ever adds.
PACED_ROUNDS = 3
CALLS = 200
READY_SECONDS = 300.0
OWN = "podkey-system"
API = "podkey.io/v1alpha1"
RESULTS = Path(__file__).parent / "results"
ENDS = str(Path(__file__).with_name("injector_ends.py"))
CAPTURED = ROOT / "tests" / "data" / "k8s" / "admissionreviews"
CORES = sorted(os.sched_getaffinity(0))


# --- what the cluster has ------------------------------------------------------------------------------

# Teams share sources among their policies.
SOURCES = 10


def policy(number: int, namespace: str, *, host: str = "") -> dict[str, Any]:
    account = "trainer" if number % 25 == 0 else f"trainer-{number}"
    source = number % SOURCES
    service: dict[str, Any] = {"service": "openai", "credential": "key-0"}
    if number:
        service = {
            "service": "s3",
            "buckets": [f"datasets-{number}"],
            "prefixes": ["imagenet/", "laion/"],
            "access": ["read", "list"],
            "credential": f"s3-{source}",
        }
    name = host or f"api-{number}.example.com"
    rest = {
        "hosts": [name],
        "methods": ["GET", "POST"],
        "paths": ["/v1/**"],
        "credential": f"key-{source}",
    }
    workloads = {"serviceAccounts": [account], "podSelector": {"matchLabels": {"app": "train"}}}
    spec = {"workloads": workloads, "grants": [service, rest]}
    return document("AccessPolicy", f"train-{number}", namespace, spec)


def sources(namespace: str) -> Iterator[dict[str, Any]]:
    for number in range(SOURCES):
        keys = {"accessKeyId": "id", "secretAccessKey": "key"}
        spec: dict[str, Any] = {"mountedSecret": {"secretName": f"s3-{number}", "keys": keys}}
        yield document("CredentialSource", f"s3-{number}", namespace, spec)
        spec = {
            "mountedSecret": {"secretName": f"key-{number}", "key": "token"},
            "attach": {"bearer": {}},
        }
        yield document("CredentialSource", f"key-{number}", namespace, spec)


def document(kind: str, name: str, namespace: str, spec: object) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": namespace,
        "generation": 1,
        # As kubectl leaves it: what the API server keeps of who wrote what.
        "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": spec}}],
    }
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def namespace_object(name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/metadata.name": name, "podkey.io/inject": "enabled"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def fill(cluster: Cluster, sizes: dict[str, int]) -> None:
    """Namespaces with so many policies each."""
    for name, size in sizes.items():
        cluster.put("namespaces", namespace_object(name))
        for one in sources(name):
            cluster.put("credentialsources", one)
        for number in range(size):
            cluster.put("accesspolicies", policy(number, name))
    node = {"metadata": {"name": "gpu-1"}, "status": {"nodeInfo": {"kubeletVersion": "v1.36.0"}}}
    cluster.put("nodes", node)
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        webhook: dict[str, Any] = {"name": "pods.podkey.io", "clientConfig": {}}
        cluster.put(kind, {"metadata": {"name": "podkey-injector"}, "webhooks": [webhook]})


def gpu_job_pod(namespace: str) -> bytes:
    """A review as it was captured: a pod that asks for GPUs, made by a Job."""
    whole: dict[str, Any] = json.loads((CAPTURED / "gpu-nvidia.json").read_bytes())
    job: dict[str, Any] = json.loads((CAPTURED / "job.json").read_bytes())
    pod, owned = whole["request"]["object"], job["request"]["object"]
    metadata = pod["metadata"]
    for key in ("ownerReferences", "labels", "generateName"):
        if key in owned["metadata"]:
            metadata[key] = owned["metadata"][key]
    metadata["namespace"] = whole["request"]["namespace"] = namespace
    pod["spec"]["serviceAccountName"] = pod["spec"]["serviceAccount"] = "trainer"
    return json.dumps(whole).encode()


# --- the injector --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Process:
    """`podkey-injector serve`, and nothing else on its core that we know of."""

    def __init__(self, folder: Path, server: Server, authority: bytes) -> None:
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        kubeconfig = folder / "kubeconfig"
        place = f"https://localhost:{server.server_address[1]}"
        trusted = {"server": place, "certificate-authority-data": base64.b64encode(authority).decode()}
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {"token": secrets.token_hex(8)}}],
            "clusters": [{"name": "it", "cluster": trusted}],
        }
        kubeconfig.write_text(json.dumps(whole))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PODKEY_INJECTOR_NAMESPACE": OWN,
            "PODKEY_INJECTOR_POD_NAME": "podkey-injector-0",
            "PODKEY_INJECTOR_IMAGE": "registry.example.com/podkey:1",
            "PODKEY_INJECTOR_WEBHOOK_ADDRESS": "127.0.0.1",
            "PODKEY_INJECTOR_WEBHOOK_PORT": str(self.port),
            "PODKEY_INJECTOR_ADMIN_ADDRESS": "127.0.0.1",
            "PODKEY_INJECTOR_ADMIN_PORT": str(self.admin),
            "PODKEY_INJECTOR_LINGER": "0s",
        }
        command = [sys.executable, "-O", "-m", "injector", "serve", "--kubeconfig", str(kubeconfig)]
        self.began = time.perf_counter()
        with on_core(CORES[0]), (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.log = folder / "log"

    def wait(self, look: Callable[[], bool], what: str) -> float:
        """Seconds from its start."""
        deadline = time.monotonic() + READY_SECONDS
        while not look():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(
                    f"bench: {what} did not happen; the log ends with\n{self.log.read_text()[-2000:]}"
                )
            time.sleep(0.01)
        return time.perf_counter() - self.began

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def cpu(self) -> float:
        """Seconds, from the scheduler: the ticks of /proc/PID/stat are too coarse."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self, what: str = "VmRSS") -> float:
        """MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(cluster: Cluster) -> Iterator[Process]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        authority = TestAuthority()
        names = here / "names"
        authority.write(names, "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(names / "tls.crt", names / "tls.key")
        server = serve(cluster, context)
        process = Process(here, server, certificate_pem(authority.certificate))
        try:
            yield process
        finally:
            process.end()
            server.shutdown()
            server.server_close()


# --- asking --------------------------------------------------------------------------------------------


class Asking:
    """Reviews by a program of their own; `times` are when each began and how long it took."""

    def __init__(self, process: Process, cluster: Cluster, **asked: object) -> None:
        secret = cluster.get("secrets", OWN, "podkey-injector-ca")
        if secret is None:
            raise SystemExit("bench: the injector has made no authority")
        asked |= {"port": process.port, "ca": base64.b64decode(secret["data"]["ca.crt"]).decode()}
        file = process.folder / "asked.json"
        file.write_text(json.dumps({"by_chance": False, "rate": 0, **asked}))
        self._process = process
        self._cpu = process.cpu()
        self._program = subprocess.Popen([sys.executable, "-O", ENDS, str(file)], stdout=subprocess.PIPE)

    @property
    def is_over(self) -> bool:
        return self._program.poll() is not None

    def figures(self) -> dict[str, float]:
        output, _ = self._program.communicate()
        if self._program.returncode:
            raise SystemExit("bench: reviews failed")
        cpu = self._process.cpu() - self._cpu
        found = json.loads(output)
        took = sorted(duration for _, duration in found["times"])
        return {
            "reviews a second": len(took) / found["took"],
            "p50, ms": quantile(took, 0.5) * 1e3,
            "p99, ms": quantile(took, 0.99) * 1e3,
            "p99.9, ms": quantile(took, 0.999) * 1e3,
            "worst, ms": took[-1] * 1e3,
            # With what it does besides.
            "CPU, ms": cpu / len(took) * 1e3,
        }


def quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


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
        # Statuses and Events of the start are written first.
        process.wait(lambda: told(cluster) == 0, "the statuses")
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


def told(cluster: Cluster) -> int:
    """Documents that have no status yet."""
    kinds = ("accesspolicies", "credentialsources")
    return sum(cluster.count(kind, lambda one: "status" not in one) for kind in kinds)


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
    os.sched_setaffinity(0, {CORES[0]})
    figures: dict[str, Any] = {"engine": engine(), "validate": validating()}
    os.sched_setaffinity(0, {CORES[1]})
    for name, figure in (figures["engine"] | figures["validate"]).items():
        print(f"{name:<46} {figure:10.1f}")
    figures["reviews"] = reviews()
    columns = [*next(iter(figures["reviews"].values())), "an edit, s"]
    print(f"\n{'':<46}" + "".join(f"{column:>18}" for column in columns))
    for name, row in figures["reviews"].items():
        cells = (f"{row[column]:18.2f}" if column in row else f"{'':>18}" for column in columns)
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
    yield f"p99 <= {milliseconds:g} ms at {GOAL_RATE} a second", paced["p99, ms"] <= milliseconds
    fastest = max(row["reviews a second"] for row in rows.values())
    yield f">= {GOAL_RATE} reviews a second on one core", fastest >= GOAL_RATE
    edited = [row["p99, ms"] for name, row in rows.items() if "edits" in name]
    yield f"p99 <= {milliseconds:g} ms also while policies are edited", max(edited) <= milliseconds
    most = max(figures["memory"][name] for name in figures["memory"] if name.startswith("RSS"))
    yield f"RSS <= {GOAL_MIB} MiB with 5,000 policies in 200 namespaces", most <= GOAL_MIB


if __name__ == "__main__":
    sys.exit(main())
