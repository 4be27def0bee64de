"""What stands on both sides of the injector in bench/injector.py: an API server, and who asks for reviews.

The first is a stand-in over TLS that keeps what it is given: lists in pages, watches, writes. The second is a
program of its own, so that neither's CPU is in the other's times:

    python bench/injector_ends.py ASKED.json        prints when each review began, and how long it took
"""

import asyncio
import json
import random
import ssl
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
# By plural, then by namespace and name.
Key = tuple[str, str, str]
QUIET_SECONDS = 3.0


# --- the API server ------------------------------------------------------------------------------------


class Cluster:
    """Objects with versions; who watches hears of each change. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 1
        self._objects: dict[str, dict[tuple[str, str], Json]] = defaultdict(dict)
        self._history: list[tuple[int, str, Json]] = []
        self._watchers: list[tuple[str, Queue[Json]]] = []
        self._changed = time.monotonic()
        # When a ConfigMap was written last, by namespace and name.
        self.written: dict[tuple[str, str], float] = {}

    def put(self, plural: str, document: Json, *, changed: bool = False) -> Json:
        """`changed`: its spec is another one."""
        metadata = document.setdefault("metadata", {})
        key = metadata.get("namespace", ""), metadata.setdefault("name", f"event-{time.monotonic_ns()}")
        with self._lock:
            old = self._objects[plural].get(key)
            self._version += 1
            if plural != "leases":
                self._changed = time.monotonic()
            metadata["resourceVersion"] = str(self._version)
            metadata.setdefault("uid", f"uid-{plural}-{key[0]}-{key[1]}")
            metadata.setdefault("generation", 1)
            if changed:
                metadata["generation"] += 1
            self._objects[plural][key] = document
            event = {"type": "ADDED" if old is None else "MODIFIED", "object": document}
            self._history.append((self._version, plural, event))
            for watched, queue in self._watchers:
                if watched == plural:
                    queue.put(event)
        if plural == "configmaps":
            self.written[key] = time.perf_counter()
        return document

    def get(self, plural: str, namespace: str, name: str) -> Json | None:
        with self._lock:
            return self._objects[plural].get((namespace, name))

    def all(self, plural: str) -> tuple[list[Json], str]:
        with self._lock:
            return list(self._objects[plural].values()), str(self._version)

    def count(self, plural: str, wanted: Callable[[Json], object]) -> int:
        return sum(bool(wanted(one)) for one in self.all(plural)[0])

    def is_quiet(self) -> bool:
        """Whether nothing was written for a while, but by whoever leads to say so."""
        return time.monotonic() - self._changed > QUIET_SECONDS

    def watch(self, plural: str, since: int) -> Queue[Json]:
        queue: Queue[Json] = Queue()
        with self._lock:
            for version, watched, event in self._history:
                if version > since and watched == plural:
                    queue.put(event)
            self._watchers.append((plural, queue))
        return queue

    def leave(self, queue: Queue[Json]) -> None:
        with self._lock:
            self._watchers = [one for one in self._watchers if one[1] is not queue]


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    cluster: Cluster

    def _asked(self) -> tuple[str, str, str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        segments = parts.path.strip("/").split("/")
        rest = segments[2:] if segments[0] == "api" else segments[3:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = [*rest, "", ""][:3]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        return plural, namespace, name, sub, query

    def _body(self) -> Any:  # noqa: ANN401 - what JSON has
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def do_GET(self) -> None:
        plural, namespace, name, _, query = self._asked()
        if name:
            self._give(self.cluster.get(plural, namespace, name))
        elif "watch" in query:
            self._watch(plural, query)
        else:
            items, version = self.cluster.all(plural)
            if field := query.get("fieldSelector", ""):
                items = [one for one in items if one["metadata"]["name"] == field.partition("=")[2]]
            if namespace:
                items = [one for one in items if one["metadata"].get("namespace") == namespace]
            start, limit = int(query.get("continue", 0)), int(query.get("limit", 1 << 30))
            token = str(start + limit) if start + limit < len(items) else ""
            metadata = {"resourceVersion": version, "continue": token}
            self._answer(200, {"kind": "List", "metadata": metadata, "items": items[start : start + limit]})

    def _watch(self, plural: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        queue = self.cluster.watch(plural, int(query["resourceVersion"]))
        ends = time.monotonic() + float(query["timeoutSeconds"])
        wanted = query.get("fieldSelector", "").partition("=")[2]
        try:
            while (left := ends - time.monotonic()) > 0:
                try:
                    event = queue.get(timeout=left)
                except Empty:
                    break
                if wanted in {"", event["object"]["metadata"]["name"]}:
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.cluster.leave(queue)

    def do_POST(self) -> None:
        plural, namespace, _, _, _ = self._asked()
        document = self._body()
        if namespace:
            document.setdefault("metadata", {})["namespace"] = namespace
        self._answer(201, self.cluster.put(plural, document))

    def do_PUT(self) -> None:
        self._answer(200, self.cluster.put(self._asked()[0], self._body()))

    def do_DELETE(self) -> None:
        self._body()
        self._answer(404, {"kind": "Status", "reason": "NotFound", "message": "there is none"})

    def do_PATCH(self) -> None:
        plural, namespace, name, _, _ = self._asked()
        patch = self._body()
        old = self.cluster.get(plural, namespace, name)
        if old is None:
            self._give(None)
            return
        new = json.loads(json.dumps(old))
        if isinstance(patch, list):
            for operation in patch:
                *way, last = operation["path"].strip("/").split("/")
                place = new
                for step in way:
                    place = place[int(step)] if isinstance(place, list) else place[step]
                place[last] = operation["value"]
        else:
            new = merged(new, patch)
        self._answer(200, self.cluster.put(plural, new))

    def _give(self, found: Json | None) -> None:
        if found is None:
            self._answer(404, {"kind": "Status", "reason": "NotFound", "message": "there is none"})
        else:
            self._answer(200, found)

    def _answer(self, status: int, document: Json) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


def merged(old: Any, patch: Any) -> Any:  # noqa: ANN401 - what JSON has
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """The injector ends with watches open."""


def serve(cluster: Cluster, context: ssl.SSLContext) -> Server:
    door = type("BoundDoor", (Door,), {"cluster": cluster})
    server = Server(("127.0.0.1", 0), door)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# --- who asks ------------------------------------------------------------------------------------------


class Asker:
    """So many connections, kept alive, each with one review at a time."""

    def __init__(self, asked: Json) -> None:
        self._context = ssl.create_default_context(cadata=asked["ca"])
        self._context.check_hostname = False
        self._port = asked["port"]
        self._number = asked["connections"]
        body = asked["body"].encode()
        head = f"POST /mutate?timeout=5s HTTP/1.1\r\nHost: podkey\r\nContent-Length: {len(body)}\r\n"
        self._request = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.times: list[tuple[float, float]] = []
        self.turned_away = 0

    async def connect(self) -> None:
        for _ in range(self._number):
            pair = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
            self._free.put_nowait(pair)

    async def ask(self) -> None:
        """How long it takes from the moment in which it was due, waiting for a free connection included."""
        began = time.perf_counter()
        reader, writer = await self._free.get()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        body = await reader.readexactly(length)
        if b" 503 " in head[:16]:
            # As an overloaded injector does: it is a figure of this bench, and no end of it.
            self.turned_away += 1
        elif b" 200 " not in head[:16] or b'"patch"' not in body:
            raise SystemExit(f"bench: the review was answered {head[:16]!r} {body[:400]!r}")
        else:
            self.times.append((began, time.perf_counter() - began))
        self._free.put_nowait((reader, writer))

    async def paced(self, rate: float, seconds: float, gaps: Iterator[float]) -> None:
        due, ends = time.perf_counter(), time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            while due < ends:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self.ask())
                due += next(gaps) / rate

    async def at_full_speed(self, seconds: float) -> None:
        ends = time.perf_counter() + seconds

        async def again_and_again() -> None:
            while time.perf_counter() < ends:
                await self.ask()

        await asyncio.gather(*(again_and_again() for _ in range(self._number)))


def gaps(*, by_chance: bool) -> Iterator[float]:
    dice = random.Random(1)  # the same in each run
    while True:
        yield dice.expovariate(1.0) if by_chance else 1.0


async def ask(asked: Json) -> None:
    asker = Asker(asked)
    await asker.connect()
    for _ in range(20):
        await asker.ask()
    asker.times.clear()
    began = time.perf_counter()
    if asked["rate"]:
        await asker.paced(asked["rate"], asked["seconds"], gaps(by_chance=asked["by_chance"]))
    else:
        await asker.at_full_speed(asked["seconds"])
    took = time.perf_counter() - began
    print(json.dumps({"took": took, "times": asker.times, "turned away": asker.turned_away}))


if __name__ == "__main__":
    with open(sys.argv[1]) as stream:  # noqa: PTH123 - one file
        asyncio.run(ask(json.load(stream)))
