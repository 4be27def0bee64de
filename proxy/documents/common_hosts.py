"""A host that two grants both name: by pattern, by service, or by the store that they are for."""

from proxy.core.hosts import Hostname
from proxy.core.policy import Grant
from proxy.core.services import Catalogue, Service


def common_host(a: Grant, b: Grant, catalogue: Catalogue) -> Hostname | None:
    if a.service is not None and b.service is not None:
        if a.service != b.service or a.endpoint != b.endpoint or a.service not in catalogue:
            return None
        if a.endpoint is not None:
            return a.endpoint.host
        return catalogue[a.service].endpoints[0].hosts[0].filled({})
    if a.service is None and b.service is None:
        common = (x.common(y) for x in a.hosts for y in b.hosts)
        return next((host for host in common if host is not None), None)
    patterns, named = (a.hosts, b) if a.service is None else (b.hosts, a)
    if named.endpoint is not None:  # no grant reaches a store by the name of its host: see `stores`
        return None
    service = catalogue[named.service or ""]
    hosts = (host_below(p.suffix, service) if p.is_wildcard else Hostname(p.text) for p in patterns)
    return next((host for host in hosts if host is not None and _belongs(host, service)), None)


def host_below(suffix: str, service: Service) -> Hostname | None:
    """A host of the service, one label below the suffix; None where it has none."""
    if not service.may_have(("*", *suffix.split("."))):
        return None
    labels = {template.filled({}).partition(".")[0]: None for e in service.endpoints for template in e.hosts}
    hosts = (Hostname(f"{label}.{suffix}") for label in labels)
    return next((host for host in hosts if _belongs(host, service)), None)


def _belongs(host: Hostname, service: Service) -> bool:
    return any(matcher.fullmatch(host) for _, matcher in service.host_matchers)
