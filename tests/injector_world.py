"""A stand-in for the API server as `injector/edge/cluster.py` shows it: objects with versions, watches.

    world = FakeCluster()
    world.put(NAMESPACES, thing("ml"))
    world.fail("GET", ClusterFault(503, …))          the next call of that method fails
    watcher = Watcher(world, NAMESPACES, …)

It keeps a history like etcd, forgets it with `compact`, and ends watches with `end_watches`. What it cannot
show is what is sent: tests/unit/injector/edge/test_cluster.py does that with sockets, and
tests/integration/test_injector_cluster.py with a real API server.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

import jsonpatch

from injector.core.api import ClusterFault, Page

Raw = dict[str, Any]

# Far above what any of it takes.
PATIENCE = 20.0


def until(look: Callable[[], Any], what: str = "it") -> Any:
    """For threads, of which nobody says when they come to it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.002)
    return found


def thing(name: str, namespace: str = "", **more: Any) -> Raw:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"metadata": metadata | more.pop("metadata", {}), **more}


@dataclass
class FakeStream:
    """`None` in the queue is its end in peace."""

    events: Queue[Raw | ClusterFault | None] = field(default_factory=Queue)
    closed: bool = False

    def __iter__(self) -> Generator[Raw]:
        while (event := self.events.get()) is not None:
            if isinstance(event, ClusterFault):
                raise event
            yield event

    def close(self) -> None:
        self.closed = True
        self.events.put(None)


class FakeCluster:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.version = 100
        self.compacted = 100
        self.objects: dict[str, Raw] = {}
        self.history: list[tuple[int, str, Raw]] = []
        self.streams: list[tuple[str, FakeStream]] = []
        self.calls: list[tuple[str, str]] = []
        self.seconds: list[float | None] = []
        self.faults: dict[str, deque[ClusterFault]] = defaultdict(deque)
        self.before: Callable[[str, str], None] = lambda _method, _path: None

    # --- what a test does -------------------------------------------------------------------------

    def put(self, path: str, raw: Raw) -> Raw:
        """As somebody else would; `path` is that of the object."""
        with self.lock:
            self.version += 1
            metadata = {**raw.get("metadata", {}), "resourceVersion": str(self.version)}
            metadata.setdefault("name", path.rpartition("/")[2])
            stored = {**raw, "metadata": metadata}
            what = "MODIFIED" if path in self.objects else "ADDED"
            self.objects[path] = stored
            self._tell(what, path, stored)
            return stored

    def take(self, path: str) -> None:
        with self.lock:
            self.version += 1
            raw = self.objects.pop(path)
            gone = {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.version)}}
            self._tell("DELETED", path, gone)

    def compact(self) -> None:
        with self.lock:
            self.compacted = self.version
            self.history.clear()

    def fail(self, method: str, *faults: ClusterFault) -> None:
        self.faults[method].extend(faults)

    def end_watches(self, how: ClusterFault | None = None) -> None:
        with self.lock:
            streams, self.streams = self.streams, []
        for _, stream in streams:
            stream.events.put(how)

    def watches(self) -> int:
        return len(self.streams)

    def count(self, method: str) -> int:
        return sum(called == method for called, _ in self.calls)

    def _tell(self, what: str, path: str, raw: Raw) -> None:
        event = {"type": what, "object": raw}
        self.history.append((self.version, path, event))
        for base, stream in self.streams:
            if is_in(base, path):
                stream.events.put(event)

    # --- what the edge asks -----------------------------------------------------------------------

    def _called(self, method: str, path: str, seconds: float | None = None) -> None:
        self.calls.append((method, path))
        self.seconds.append(seconds)
        self.before(method, path)
        if self.faults[method]:
            raise self.faults[method].popleft()

    def get(self, path: str, *, seconds: float = 0) -> Raw:
        self._called("GET", path, seconds)
        with self.lock:
            if path not in self.objects:
                raise ClusterFault(404, "NotFound", f"GET {path}: 404 NotFound")
            return self.objects[path]

    def list_page(self, path: str, *, limit: int, continue_token: str = "", **_: Any) -> Page:
        self._called("LIST", path)
        with self.lock:
            found = [raw for at, raw in sorted(self.objects.items()) if is_in(path, at)]
            start = int(continue_token or 0)
            end = start + limit
            return Page(found[start:end], str(end) if len(found) > end else "", str(self.version))

    def watch(self, path: str, *, resource_version: str, **_: Any) -> FakeStream:
        self._called("WATCH", path)
        with self.lock:
            if int(resource_version) < self.compacted:
                raise ClusterFault(410, "Expired", "too old resource version")
            stream = FakeStream()
            for version, at, event in self.history:
                if version > int(resource_version) and is_in(path, at):
                    stream.events.put(event)
            self.streams.append((path, stream))
            return stream

    def create(self, path: str, document: Mapping[str, Any], *, seconds: float = 0) -> Raw:
        self._called("POST", path, seconds)
        with self.lock:
            at = f"{path}/{document['metadata']['name']}"
            if at in self.objects:
                raise ClusterFault(409, "AlreadyExists", f"POST {path}: 409 AlreadyExists")
            return self.put(at, dict(document))

    def merge_patch(self, path: str, patch: Mapping[str, Any], *, seconds: float = 0) -> Raw:
        self._called("PATCH", path, seconds)
        with self.lock:
            if path not in self.objects:
                path = path.removesuffix("/status")
            if path not in self.objects:
                raise ClusterFault(404, "NotFound", f"PATCH {path}: 404 NotFound")
            there = self.objects[path]
            asked = patch.get("metadata", {}).get("resourceVersion")
            if asked not in {None, there["metadata"]["resourceVersion"]}:
                raise ClusterFault(409, "Conflict", f"PATCH {path}: 409 Conflict")
            return self.put(path, merged(there, patch))

    def replace(self, path: str, document: Mapping[str, Any], *, seconds: float = 0) -> Raw:
        self._called("PUT", path, seconds)
        with self.lock:
            self._expect(path, document["metadata"].get("resourceVersion"))
            return self.put(path, dict(document))

    def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]], *, seconds: float = 0) -> Raw:
        self._called("PATCH", path, seconds)
        with self.lock:
            changed = jsonpatch.apply_patch(self.objects[path], operations)
            self._expect(path, changed["metadata"].get("resourceVersion"))
            return self.put(path, changed)

    def delete(self, path: str, *, uid: str = "", resource_version: str = "", seconds: float = 0) -> Raw:
        self._called("DELETE", path, seconds)
        with self.lock:
            self._expect(path, resource_version or None)
            if uid not in {"", self.objects[path]["metadata"].get("uid", "")}:
                raise ClusterFault(409, "Conflict", f"{path}: 409 Conflict")
            self.take(path)
            return {}

    def close(self) -> None:
        self.end_watches()

    def _expect(self, path: str, version: str | None) -> None:
        if path not in self.objects:
            raise ClusterFault(404, "NotFound", f"{path}: 404 NotFound")
        if version not in {None, self.objects[path]["metadata"]["resourceVersion"]}:
            raise ClusterFault(409, "Conflict", f"{path}: 409 Conflict")


def is_in(listed: str, path: str) -> bool:
    """Whether an object is of what is listed: of a namespace, or of all of them."""
    folder = path.rpartition("/")[0]
    head, is_namespaced, rest = folder.partition("/namespaces/")
    return folder == listed or (bool(is_namespaced) and f"{head}/{rest.partition('/')[2]}" == listed)


def merged(there: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(there) if isinstance(there, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Lines:
    """A log that keeps what was said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, dict[str, object]]] = []

    def _say(self, level: str, event: str, fields: dict[str, object]) -> None:
        self.said.append((level, event, fields))

    def info(self, event: str, **fields: object) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._say("error", event, fields)

    def events(self, level: str = "") -> list[str]:
        return [event for at, event, _ in self.said if level in {"", at}]


class Loop:
    """What is handed to the event loop, for a test that is its own loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: list[Callable[[], object]] = []

    def hand(self, call: Callable[[], object]) -> None:
        with self._lock:
            self.calls.append(call)

    def run(self) -> int:
        with self._lock:
            calls, self.calls = self.calls, []
        for call in calls:
            call()
        return len(calls)

    def run_until(self, look: Callable[[], Any], what: str = "it") -> Any:
        def again() -> Any:
            self.run()
            return look()

        return until(again, what)
