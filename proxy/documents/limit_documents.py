"""The limits that a cluster-wide policy sets for others: their shape, and that they stand alone."""

from collections.abc import Mapping
from typing import Final

from proxy.core.hosts import HostPattern
from proxy.core.policy import Gpu, Limits, WorkloadSelector
from proxy.documents import values
from proxy.documents.label_selectors import NAMESPACE_FIX
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Field, ListOf, Record


def _limits(hosts: tuple[HostPattern, ...] = (), services: tuple[str, ...] = ()) -> Limits:
    if not hosts and not services:
        fix = "add `hosts` or `services`; that nobody may create policies at all is a matter of roles (RBAC)"
        raise Fault("`limits` allows nothing", fix, ProblemCode.EMPTY_LIST)
    return Limits(hosts, services)


LIMITS: Final = Record(
    "limits",
    (
        Field(
            "hosts",
            ListOf(values.HOST),
            "Hosts that grants by `hosts`, and the `endpoint` of a store, may name on any port: exact, or "
            "one leading `*.` for exactly one label.",
        ),
        Field(
            "services",
            ListOf(values.FIELD_NAME),
            "Services of the catalogue that grants by `service` may name.",
        ),
    ),
    _limits,
)


def require_alone(workloads: WorkloadSelector, beside: Mapping[str, object]) -> None:
    """Limits hold for every policy of the namespaces, at all times: nothing else may narrow them."""
    if workloads.namespaces is None:
        message = "`limits` needs a `namespaceSelector`: whose policies are limited?"
        raise Fault(message, NAMESPACE_FIX, ProblemCode.MISSING_KEY, at="workloads")
    said = {
        "workloads.serviceAccounts": workloads.service_accounts,
        "workloads.podSelector": workloads.pod_selector,
        "workloads.gpu": None if workloads.gpu is Gpu.ANY else workloads.gpu,
        "workloads.images": workloads.images,
        **beside,
    }
    needless = [key for key, value in said.items() if value]
    if needless:
        names = " and ".join(f"`{key.rpartition('.')[2]}`" for key in needless)
        message = f"{names} beside `limits`, which hold for every policy of the namespaces at all times"
        raise Fault(message, f"remove {names}", ProblemCode.UNKNOWN_KEY, at=needless[0])
