"""The API server in words: what is asked for, what it answers, and how it says no."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from proxy.core.contract import API_VERSION
from proxy.core.structs import Struct

type JsonObject = Mapping[str, Any]


class ObjectKey(NamedTuple):
    """`namespace` is empty for objects of the cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Resource(Struct, frozen=True):
    """One kind as its path names it: `Resource("apps/v1", "deployments")`."""

    group_version: str
    plural: str

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Of all namespaces where none is given, of all objects where none is named."""
        root = "apis" if "/" in self.group_version else "api"
        within = ("namespaces", quote(namespace, safe="")) if namespace else ()
        rest = [quote(part, safe="") for part in (name, sub) if part]
        return "/" + "/".join([root, self.group_version, *within, self.plural, *rest])


NAMESPACES: Final = Resource("v1", "namespaces")
PODS: Final = Resource("v1", "pods")
NODES: Final = Resource("v1", "nodes")
SECRETS: Final = Resource("v1", "secrets")
CONFIG_MAPS: Final = Resource("v1", "configmaps")
EVENTS: Final = Resource("v1", "events")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases")
ACCESS_POLICIES: Final = Resource(API_VERSION, "accesspolicies")
CREDENTIAL_SOURCES: Final = Resource(API_VERSION, "credentialsources")
MUTATING_WEBHOOKS: Final = Resource("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
VALIDATING_WEBHOOKS: Final = Resource("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations")


class Page(Struct, frozen=True):
    """A part of a list. `continue_token` is empty on the last one."""

    items: Sequence[object]
    continue_token: str
    resource_version: str


# Reasons of our own, for what the API server did not say itself.
UNREACHABLE: Final = "Unreachable"
TIMED_OUT: Final = "TimedOut"
BAD_ANSWER: Final = "BadAnswer"
TOO_LARGE: Final = "TooLarge"
TOO_MANY: Final = "TooMany"
UNCONFIGURED: Final = "Unconfigured"
# The cause that the API server names when something is to be made in a namespace that is being deleted. It
# answers 403, as where a right is missing.
NAMESPACE_ENDS: Final = "NamespaceTerminating"


class ClusterFault(Exception):  # noqa: N818 - an answer, not an error of the program
    """Why the API server did not do it. `status` is None where there was no answer.

    `reason` is its own word (`Conflict`, `Forbidden`, `Expired` …) or one of those above. The text names what
    was asked for, and holds neither token nor content.
    """

    def __init__(
        self, status: int | None, reason: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        # Seconds that the server wants to be left in peace (RFC 9110 §10.2.3).
        self.retry_after = retry_after

    @property
    def is_missing(self) -> bool:
        """It is not there, or its namespace will not be in a moment."""
        return self.status == HTTPStatus.NOT_FOUND or self.reason == NAMESPACE_ENDS

    @property
    def is_conflict(self) -> bool:
        """Somebody else was faster: it was changed since it was read, or created already."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def is_expired(self) -> bool:
        """A resource version, or the token of a page, that the server does not remember any more."""
        return self.status == HTTPStatus.GONE or self.reason in {"Expired", "Gone"}
