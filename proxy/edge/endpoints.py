"""Loopback endpoints: base URLs for SDKs that take one, so that they need neither redirect nor our CA."""

import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from proxy.core.arrival import Arrival
from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.services import Catalogue, Service
from proxy.core.settings import Capture, Endpoint
from proxy.core.structs import Struct
from proxy.documents.problems import did_you_mean
from proxy.documents.setting_values import SettingProblem
from proxy.edge.reception import Guest
from proxy.lanes.interface import Accepted, Lane

HTTPS: Final = 443
TOKEN_FILE: Final = "endpoint-token"  # noqa: S105 - the name of a file
# 128 bits: it is guessed at from inside the pod only, and at the speed of one connection after another.
TOKEN_BYTES: Final = 16
MAX_TOKEN_FILE: Final = 64


class BoundEndpoint(Struct, frozen=True):
    """A port, the host behind it, and the service whose SDKs it is for."""

    port: int
    host: Hostname
    service: Service | None


def bind_endpoints(
    endpoints: Iterable[Endpoint], catalogue: Catalogue
) -> tuple[list[BoundEndpoint], list[SettingProblem]]:
    """The hosts that endpoints mean: a service stands for its main host."""
    bound: list[BoundEndpoint] = []
    problems: list[SettingProblem] = []
    for endpoint in endpoints:
        service = catalogue.get(endpoint.target)
        host = service.main_host if service is not None else parse_hostname(endpoint.target)
        if host is None or (service is None and "." not in host):
            message = f"port {endpoint.port}: `{endpoint.target}` is neither a service with a host nor a host"
            fix = did_you_mean(endpoint.target, catalogue) + ", or write a whole host name"
            problems.append(SettingProblem("PODKEY_ENDPOINTS", message, fix))
            continue
        if service is None:
            readings = catalogue.readings(host)
            service = readings[0].service if readings else None
        bound.append(BoundEndpoint(endpoint.port, host, service))
    return bound, problems


def load_or_make_token(state: Path) -> str:
    """What this pod's endpoints ask for. Kept across restarts: the application's environment holds it."""
    path = state / TOKEN_FILE
    try:
        with path.open("rb") as file:
            kept = file.read(MAX_TOKEN_FILE).decode("ascii", "replace")
        if len(kept) == 2 * TOKEN_BYTES and kept.isalnum():
            return kept
        path.unlink()
    except FileNotFoundError:
        pass
    token = secrets.token_hex(TOKEN_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def path_prefix(token: str) -> str:
    return f"/podkey-{token}"


def base_urls(endpoints: Iterable[BoundEndpoint], prefix: str) -> Iterator[str]:
    """The environment file for the application's containers, one variable a line."""
    yield "# podkey: base URLs of this pod. They work from inside the pod only."
    for endpoint in endpoints:
        root = f"http://127.0.0.1:{endpoint.port}{prefix}"
        variables = endpoint.service.base_urls if endpoint.service is not None else ()
        if not variables:
            yield f"# {endpoint.host}: {root}"
        for variable in variables:
            yield f"{variable.name}={root}{variable.path}"


class EndpointDoor(Struct, frozen=True):
    """Serves what comes to one endpoint's port."""

    endpoint: BoundEndpoint
    prefix: str
    lane: Lane

    async def serve(self, sock: socket.socket, guest: Guest) -> None:
        host = self.endpoint.host
        arrival = Arrival(
            host, HTTPS, Capture.ENDPOINT, self.lane.name, f"{host}:{HTTPS}", path_prefix=self.prefix
        )
        guest.accepted = Accepted(sock, arrival, (host, HTTPS), None)
        await self.lane.serve(guest.accepted)
