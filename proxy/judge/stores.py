"""Stores that grants name: S3 at a host that no catalogue knows, read as Amazon's hosts are."""

from typing import Final

from proxy.core.hosts import Hostname
from proxy.core.policy import Addressing, StoreEndpoint
from proxy.core.services import Endpoint, HostReading, PathTemplate, Service

_IN_PATH: Final = Endpoint((), tuple(map(PathTemplate, ("/{bucket}/{key+}", "/{bucket}/", "/{bucket}", "/"))))
_IN_HOST: Final = Endpoint((), tuple(map(PathTemplate, ("/{key+}", "/"))))
# What follows the bare host of a store that names buckets in its hosts is no bucket.
_NOWHERE: Final = Endpoint((), (PathTemplate("/"),))


def store_reading(service: Service, store: StoreEndpoint, host: Hostname) -> HostReading | None:
    """How a host of the store is read; None where it is none. The shapes are three, whatever their number:
    what reading needs is made once for each."""
    bucket = store.bucket_in(host)
    if bucket is None:
        return None
    captures = {"aws_region": store.region}
    if bucket:
        return HostReading(service, _IN_HOST, {**captures, "bucket": bucket})
    return HostReading(service, _IN_PATH if store.addressing is Addressing.PATH else _NOWHERE, captures)
