"""Loopback base URLs: which service has which port of the pod, and the variables that lead SDKs there."""

from collections.abc import Iterable, Mapping
from typing import Final

from proxy.core.services import Service
from proxy.core.settings import Endpoint

# The sidecar's own listeners are 15001, 15002 and 15020; a hundred ports further nothing of ours will come.
FIRST_PORT: Final = 15101


def has_endpoint(service: Service) -> bool:
    """Whether one base URL can stand for it. S3 has a host for each region and bucket: its variable would
    send every call to the one host that an endpoint means, which is right for some buckets only."""
    hosts = (host for endpoint in service.endpoints for host in endpoint.hosts)
    return bool(service.base_urls) and all(not host.captures for host in hosts)


def endpoints_of(services: Iterable[Service]) -> tuple[Endpoint, ...]:
    """For each service that can have one, by name: the same pod has the same ports."""
    fitting = sorted({service.name for service in services if has_endpoint(service)})
    return tuple(Endpoint(port, name) for port, name in enumerate(fitting, FIRST_PORT))


def render_endpoints(endpoints: Iterable[Endpoint]) -> str:
    """As `PODKEY_ENDPOINTS` has them."""
    return " ".join(f"{endpoint.port}={endpoint.target}" for endpoint in endpoints)


def base_urls(
    endpoints: Iterable[Endpoint], services: Mapping[str, Service], token: str
) -> Mapping[str, str]:
    """Variables with the URLs that the sidecar answers at (proxy/edge/endpoints.py). The token keeps out
    whoever makes a browser or a proxy of the pod call loopback without having seen the environment."""
    urls: dict[str, str] = {}
    for endpoint in endpoints:
        service = services.get(endpoint.target)
        for variable in service.base_urls if service is not None else ():
            url = f"http://127.0.0.1:{endpoint.port}/podkey-{token}{variable.path}"
            urls.setdefault(variable.name, url)
    return urls
