"""What podkey's containers ask for and may take: always both, or quotas refuse the pod."""

from collections.abc import Iterable, Mapping
from typing import Final

from injector.core.intent import Quantities
from injector.core.outcome import Finding
from injector.core.settings import SidecarSettings
from injector.reading.pods import Container, Pod, Resources
from proxy.core.contract import API_GROUP
from proxy.core.injection_codes import InjectionCode
from proxy.core.structs import fields

# A Python and two `nft`: 0.1 s of CPU, which a limit of 100m would stretch to more than a second of each
# pod's start. A quota counts the larger of an init container's limit and the sidecar's, which is 1 CPU, too.
REDIRECT_RESOURCES: Final = Quantities(10, 1000, 32 << 20, 128 << 20)

NOTHING_ASKED: Final = Quantities()

_CPU: Final = "cpu"
_MEMORY: Final = "memory"
# The QoS class looks at these alone (kubernetes.io/docs/concepts/workloads/pods/pod-qos).
_KINDS: Final = (_CPU, _MEMORY)
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")


def sidecar_quantities(asked: Quantities, settings: SidecarSettings) -> Quantities | tuple[Finding, ...]:
    """What the annotations ask for, or else the settings; or all that is out of bounds.

    A limit that nobody asked for makes room for the request that somebody did, and the other way around.
    """
    findings = [
        finding
        for field in fields(Quantities)
        if (finding := _out_of_bounds(field.name, asked, settings.least, settings.most)) is not None
    ]
    pairs = (("cpu_request", "cpu_limit"), ("memory_request", "memory_limit"))
    chosen: dict[str, int | None] = {}
    for request, limit in pairs:
        least, most = getattr(asked, request), getattr(asked, limit)
        if least is not None and most is not None and least > most:
            message = f"`{_annotation(request)}` asks for {_shown(request, least)}, above the limit of "
            message += f"{_shown(limit, most)} in `{_annotation(limit)}`"
            findings.append(
                Finding(InjectionCode.RESOURCES_OUT_OF_BOUNDS, message, "raise the limit, or ask for less")
            )
        default, ceiling = getattr(settings.resources, request), getattr(settings.resources, limit)
        chosen[request] = least if least is not None else _smaller(default, most)
        chosen[limit] = most if most is not None else _greater(ceiling, least)
    return tuple(findings) or Quantities(**chosen)


def _out_of_bounds(name: str, asked: Quantities, least: Quantities, most: Quantities) -> Finding | None:
    value, low, high = (getattr(one, name) for one in (asked, least, most))
    if value is None or ((low is None or value >= low) and (high is None or value <= high)):
        return None
    bounds = ((word, bound) for word, bound in (("from", low), ("to", high)) if bound is not None)
    allowed = " ".join(f"{word} {_shown(name, bound)}" for word, bound in bounds)
    message = f"`{_annotation(name)}` asks for {_shown(name, value)}; the platform team allows {allowed}"
    return Finding(InjectionCode.RESOURCES_OUT_OF_BOUNDS, message, "ask for what is allowed")


def _annotation(field: str) -> str:
    return f"{API_GROUP}/sidecar-{field.replace('_', '-')}"


def _shown(field: str, value: int) -> str:
    return cpu_text(value) if field.startswith(_CPU) else memory_text(value)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _greater(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


# --- as a pod has them ---------------------------------------------------------------------------------


def budgeted(pod: Resources) -> frozenset[str]:
    """The kinds that the pod has itself (`spec.resources`)."""
    return frozenset(kind for kind in _KINDS if kind in pod.requests or kind in pod.limits)


def container_resources(
    quantities: Quantities, asked: Quantities, budget: frozenset[str], *, guaranteed: bool
) -> Mapping[str, Mapping[str, str]]:
    """The field `resources` of one of our containers.

    In a guaranteed pod requests are raised to the limits: a single container that differs costs the whole pod
    its class, and with it the cores that the static CPU manager has pinned it to.

    Where the pod has resources of its own (`spec.resources`), what it has of a kind is the budget of all.
    Quotas count nothing else, and the API server refuses containers that together ask for more. Then ours ask
    for nothing of that kind, unless an annotation does.
    """
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for kind in _KINDS:
        asked_request, asked_limit = getattr(asked, f"{kind}_request"), getattr(asked, f"{kind}_limit")
        if kind in budget and (asked_request, asked_limit) == (None, None):
            continue
        request, limit = getattr(quantities, f"{kind}_request"), getattr(quantities, f"{kind}_limit")
        if guaranteed:
            # Who asks for a request alone in such a pod means both.
            request = limit = asked_request if asked_request and not asked_limit else limit
        text = cpu_text if kind == _CPU else memory_text
        requests |= {kind: text(request)} if request is not None else {}
        limits |= {kind: text(limit)} if limit is not None else {}
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def is_guaranteed(pod: Pod) -> bool:
    """Whether the pod is so without us (pkg/apis/core/v1/helper/qos): each container has limits of both
    kinds, and requests that equal them, or none, which the API server fills in from the limits."""
    own = [one for one in (*pod.init_containers, *pod.containers) if not one.is_named_ours]
    return bool(own) and _all_guaranteed(own)


def _all_guaranteed(containers: Iterable[Container]) -> bool:
    for container in containers:
        requests, limits = container.resources.requests, container.resources.limits
        for kind in _KINDS:
            limit = limits.get(kind, 0)
            if not limit or requests.get(kind, limit) != limit:
                return False
    return True


# --- quantities as the API server itself writes them ---------------------------------------------------


def cpu_text(thousandths: int) -> str:
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def memory_text(size: int) -> str:
    """In powers of 1024 where they leave no rest, else of 1000, and as large a unit as there is."""
    base, units = (1024, _BINARY) if size % 1024 == 0 else (1000, _DECIMAL)
    power = 0
    while size and size % base == 0 and power + 1 < len(units):
        size, power = size // base, power + 1
    return f"{size}{units[power]}"
