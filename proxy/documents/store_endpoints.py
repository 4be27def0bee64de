"""A store's endpoint as people write it: a host, a port where it is not 443, `https://` where they like."""

import re
from typing import Final, NamedTuple

from proxy.core.hosts import Hostname
from proxy.core.policy import DEFAULT_PORTS, DEFAULT_STORE_REGION, Addressing, StoreEndpoint
from proxy.documents.host_names import is_unlisted_single_label, parse_store_host
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Text

MAX_PORT: Final = 65_535
# MinIO, Ceph and Garage take any word; what stands in a signature's scope has no slash.
_REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch
_IPV6: Final = re.compile(r"\[|[0-9A-Fa-f]*:[0-9A-Fa-f]*:").match

_FIX: Final = "write a host, and a port where it is not 443, such as `minio.storage.svc.cluster.local:9000`"


class Location(NamedTuple):
    """Where a store is asked."""

    host: Hostname
    port: int

    def __str__(self) -> str:
        return str(self.host) if (self.port,) == DEFAULT_PORTS else f"{self.host}:{self.port}"


def _location(text: str) -> Location:
    if "@" in text:
        # Not shown: what stands before the sign may be a password.
        raise Fault(
            "the endpoint holds a user name or a password", "remove it: `credential` names the source"
        )
    scheme, separator, rest = text.rpartition("://")
    if separator and scheme.lower() == "http":
        message = f"`{text}` is plain http: whoever stands between could read and change what is sent"
        raise Fault(message, "give the store a certificate; podkey signs nothing on clear text")
    if separator and scheme.lower() != "https":
        raise Fault(f"`{text}` is not an endpoint", _FIX, ProblemCode.HOST_IS_URL)
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if authority != rest:
        fix = f"write `{authority}`: a request's path holds its bucket and key" if authority else _FIX
        raise Fault(f"`{text}` holds a path", fix, ProblemCode.HOST_IS_URL)
    if _IPV6(authority):
        fix = "name the host: a credential goes only to a name that the store's certificate proves"
        raise Fault(f"`{text}` is an IP address", fix, ProblemCode.HOST_IS_ADDRESS)
    name, colon, port = authority.partition(":")
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
    if colon and not 0 < number <= MAX_PORT:
        raise Fault(f"`{text}`: behind the colon stands no port", f"use a number from 1 to {MAX_PORT}")
    return Location(parse_store_host(name), number if colon else DEFAULT_PORTS[0])


LOCATION: Final = Text(
    "a store's host and port", _location, examples=("minio.storage.svc.cluster.local:9000",)
)


def _region(text: str) -> str:
    if not _REGION(text):
        raise Fault(f"`{text[:80]}` is not a region", "write what the store signs for, such as `us-east-1`")
    return text


STORE_REGION: Final = Text("a region", _region, examples=("us-east-1",))


def store_of(
    location: Location | None, region: str | None, addressing: Addressing | None
) -> StoreEndpoint | None:
    """The store that a grant is for, from the three keys that say it."""
    if location is None:
        for key, value in (("region", region), ("addressing", addressing)):
            if value is not None:
                message = f"`{key}` belongs to the `endpoint` of a store, and there is none"
                raise Fault(
                    message, f"add `endpoint:`, or remove `{key}`: a service's own hosts say it", at=key
                )
        return None
    if addressing is Addressing.VIRTUAL and is_unlisted_single_label(location.host):
        message = f"with `virtual`, every name below `{location.host}` would be a bucket of this store"
        fix = "write the store's whole name, such as `minio.storage.svc.cluster.local`"
        raise Fault(message, fix, ProblemCode.HOST_PUBLIC_SUFFIX, at="endpoint")
    return StoreEndpoint(location.host, region or DEFAULT_STORE_REGION, addressing or Addressing.PATH)


def written_location(store: StoreEndpoint, ports: tuple[int, ...]) -> str:
    return str(Location(store.host, ports[0]))
