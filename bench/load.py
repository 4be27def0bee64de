"""Who loads a subject: wrk for small requests, curl for large ones, and Python for new connections."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from bench.ground import Ground, Place
from bench.upstream import BUCKET
from tests.sidecar_process import in_namespace

SCRIPT: Final = str(Path(__file__).with_name("wrk.lua"))
# So many connections are opened side by side.
HANDS: Final = 4
SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class Small:
    requests: int
    rate: float
    p50_us: int
    p99_us: int


class Answer(NamedTuple):
    """`cipher`: what this connection has agreed on."""

    status: int
    cipher: str


def small(
    ground: Ground, place: Place, headers: Mapping[str, str], connections: int, seconds: int, *, other: bool
) -> Small:
    """Small requests on connections that are kept. `other`: each has a path that was never seen before."""
    lines = chain.from_iterable(("-H", f"{name}: {text}") for name, text in headers.items())
    said = ground.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", SCRIPT),
            *(*lines, f"https://{place.host}/{BUCKET}/small", "--", "other" if other else "same"),
        ]
    )
    found = json.loads(said.strip().rpartition("\n")[2])
    if found["errors"]:
        raise SystemExit(f"bench: {place.host}: {found['errors']} of {found['requests']} requests failed")
    return Small(found["requests"], found["requests"] / found["seconds"], found["p50_us"], found["p99_us"])


def bulk(
    ground: Ground, place: Place, headers: Mapping[str, str], size: int, streams: int, *, upload: bool
) -> None:
    """So many bytes in all, on so many connections at once."""
    each = size // streams
    file = ground.object(each)
    url = f"https://{place.host}/{BUCKET}"
    lines = chain.from_iterable(("-H", f"{name}: {text}") for name, text in headers.items())
    transfers: Sequence[Sequence[str]]
    if upload:
        transfers = [
            ["-T", str(file), "-o", "/dev/null", f"{url}/sink-{number}"] for number in range(streams)
        ]
    else:
        transfers = [["-o", "/dev/null", f"{url}/{file.name}"] for _ in range(streams)]
    said = ground.run(
        [
            *("curl", "--http1.1", "--silent", "--show-error", "--insecure", "--fail", "--header", "Expect:"),
            *("--parallel", "--parallel-immediate", "--parallel-max", str(streams), "--max-time", "300"),
            *("--write-out", "%{http_code} %{size_upload} %{size_download}\n", *lines),
            *chain.from_iterable(transfers),
        ]
    )
    for line in said.splitlines():
        status, *sizes = line.split()
        if status != "200" or int(sizes[0 if upload else 1]) != each:
            raise SystemExit(f"bench: {place.host}: a transfer of {each} bytes ended with {line}")


# --- connections of our own ----------------------------------------------------------------------------


def connections(ground: Ground, place: Place, headers: Mapping[str, str], count: int) -> None:
    """Each with a whole handshake and one request. The rate is ours, and below what a subject can do."""
    context = _trusting()

    def work() -> None:
        for _ in range(count // HANDS):
            answer = ask(place, context, headers, f"/{BUCKET}/small")
            if answer.status != 200:
                raise SystemExit(f"bench: {place.host}: a new connection was answered {answer.status}")

    with ThreadPoolExecutor(HANDS) as pool:
        for done in [pool.submit(in_namespace, ground.network.pod, work) for _ in range(HANDS)]:
            done.result()


def first_served(
    ground: Ground, place: Place, headers: Mapping[str, str], go: Callable[[], object], seconds: float
) -> float:
    """When (by the monotonic clock) a request is served, 0 for never; asked for all the time from `go` on."""
    context = _trusting()

    def work() -> float:
        go()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if ask(place, context, headers, f"/{BUCKET}/small").status == 200:
                    return time.monotonic()
            time.sleep(POLL_SECONDS)
        return 0.0

    return in_namespace(ground.network.pod, work)


def verified(ground: Ground, place: Place, trust: Path, headers: Mapping[str, str], method: str) -> Answer:
    """One request by a client that verifies whom it speaks with; the upstream writes down what came."""
    context = ssl.create_default_context(cafile=str(trust))
    path = f"/{BUCKET}/check-{method.lower()}"
    return in_namespace(ground.network.pod, lambda: ask(place, context, headers, path, method))


def ask(
    place: Place, context: ssl.SSLContext, headers: Mapping[str, str], path: str, method: str = "GET"
) -> Answer:
    sock = socket.create_connection((place.address, 443), SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = http.client.HTTPConnection(place.host, timeout=SECONDS)
    with context.wrap_socket(sock, server_hostname=place.host) as connection.sock:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        answer.read()
        return Answer(answer.status, (connection.sock.cipher() or ("",))[0])


def _trusting() -> ssl.SSLContext:
    """Who verifies is not who is measured."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
