"""What a platform team's limits leave to the policies of a namespace.

A grant by `service` is allowed by the service's name alone, a grant by `hosts` by its hosts alone: that a
host belongs to a service that is listed is not enough, for the service's pins would not be asked there. The
hosts of a store are chosen by whoever writes the grant, so its `endpoint` has to be listed as a host, too.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from proxy.core.hosts import Hostname, HostPattern
from proxy.core.policy import AccessPolicy, Addressing, Grant, Limits
from proxy.core.services import Catalogue
from proxy.documents.links import blob_owner, services_on
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode, did_you_mean
from proxy.documents.reading import MAX_PROBLEMS
from proxy.documents.salvage import Broken

# More of what is allowed than this is no help to read.
MAX_NAMED: Final = 12

# What is not allowed, the fix, and the key of the grant.
Excess = tuple[str, str, str]


def check_limits(
    policies: Iterable[Placed[AccessPolicy]], limiting: Iterable[AccessPolicy], catalogue: Catalogue
) -> list[Problem]:
    """The grants that any of the limits forbids.

    Which limits select a namespace, and that these policies are the namespace's own, is for the caller to
    know. What the policies say about namespaces themselves changes nothing here.
    """
    every = [(policy, policy.limits) for policy in limiting if policy.limits is not None]
    problems: list[Problem] = []
    for placed in policies:
        for index, grant in enumerate(placed.value.grants):
            for policy, limits in every:
                for what, fix, key in _excesses(grant, limits, catalogue):
                    message = f"{what} is not allowed here, by the limits of {policy.namespace}/{policy.name}"
                    code = ProblemCode.NOT_ALLOWED_HERE
                    problems.append(placed.grant_problem(index, code, message, fix, key))
                    if len(problems) == MAX_PROBLEMS:
                        return problems
    return problems


def _excesses(grant: Grant, limits: Limits, catalogue: Catalogue) -> Iterator[Excess]:
    hosts = _choice("hosts", tuple(host.text for host in limits.hosts))
    if grant.service is not None and grant.service not in limits.services:
        yield f"the service `{grant.service}`", _choice("services", limits.services), "service"
    for number, host in enumerate(grant.hosts):
        if not _covered(host, limits.hosts):
            services = {service.name for service in services_on(host, catalogue)}
            allowed = sorted(services.intersection(limits.services))
            fix = f"write `service: {allowed[0]}` in place of `hosts`" if allowed else hosts
            yield f"`{host.text}`", fix, f"hosts[{number}]"
    for host in _hosts_of_store(grant):
        if not _covered(host, limits.hosts):
            yield f"a store at `{host.text}`", hosts, "endpoint"


def _hosts_of_store(grant: Grant) -> Iterator[HostPattern]:
    store = grant.endpoint
    if store is not None:
        yield HostPattern(store.host)
        if store.addressing is Addressing.VIRTUAL:
            yield HostPattern(f"*.{store.host}")


def _covered(host: HostPattern, allowed: Iterable[HostPattern]) -> bool:
    """Whether every name that the pattern matches is allowed. A wildcard is covered by itself alone: by no
    number of exact names, and by no wildcard above it, which stands for one label."""
    if host.is_wildcard:
        return host in allowed
    return any(one.matches(Hostname(host.text)) for one in allowed)


def _choice(what: str, allowed: tuple[str, ...]) -> str:
    if not allowed:
        return f"no {what} are allowed: ask whoever looks after podkey in this cluster"
    more = f" and {len(allowed) - MAX_NAMED} more" if len(allowed) > MAX_NAMED else ""
    return (
        f"use one of the allowed {what} ({', '.join(allowed[:MAX_NAMED])}{more}), or ask whoever looks after "
        "podkey in this cluster"
    )


# --- what limits name --------------------------------------------------------------------------------


def check_named_by_limits(
    policies: Iterable[Placed[AccessPolicy]], catalogue: Catalogue, broken: Broken
) -> list[Problem]:
    """Names in limits that allow nothing: services that are not there, hosts that no grant can name."""
    problems: list[Problem] = []
    for placed in policies:
        if placed.value.limits is not None:
            problems.extend(_named_in_vain(placed, placed.value.limits, catalogue, broken))
    return problems[:MAX_PROBLEMS]


def _named_in_vain(
    placed: Placed[AccessPolicy], limits: Limits, catalogue: Catalogue, broken: Broken
) -> Iterator[Problem]:
    for number, service in enumerate(limits.services):
        if service not in catalogue and not broken.has_service(service):
            message = f"there is no service `{service}` in the catalogue"
            fix, path = did_you_mean(service, catalogue), f"spec.limits.services[{number}]"
            yield placed.problem(ProblemCode.UNKNOWN_SERVICE, message, fix, path)
    for number, host in enumerate(limits.hosts):
        # A wildcard may cover such a host beside others.
        pinned = () if host.is_wildcard else services_on(host, catalogue)
        named = next((service for service in pinned if any(pin.required for pin in service.pins)), None)
        owner = blob_owner(host, catalogue) or named
        if owner is not None:
            code = ProblemCode.HOST_NEEDS_SERVICE if owner is named else ProblemCode.HOST_BLOB
            message = f"no grant can name `{host.text}`: it is a host of {owner.title}"
            fix = f"write `{owner.name}` into `services`"
            yield placed.problem(code, message, fix, f"spec.limits.hosts[{number}]")
