"""Stores that grants name: S3 at a host that no catalogue knows, read as Amazon's hosts are."""

import re
from typing import Final

from proxy.core.hosts import Hostname
from proxy.core.policy import Addressing, StoreEndpoint
from proxy.core.services import Endpoint, HostReading, PathTemplate, Service

# Where their own APIs are, at the hosts of their buckets and with the same signatures: MinIO's and RustFS's
# administration, and radosgw's, with its Swift and that one's sign-in.
OWN_PATHS: Final = frozenset({"minio", "rustfs", "admin", "swift", "auth"})
# S3 User Guide, "General purpose bucket naming rules".
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]").fullmatch

_IN_PATH: Final = Endpoint((), tuple(map(PathTemplate, ("/{bucket}/{key+}", "/{bucket}/", "/{bucket}", "/"))))
# MinIO looks at the path before it looks for a bucket in the host.
_IN_HOST: Final = Endpoint((), tuple(map(PathTemplate, ("/{key+}", "/"))), own_paths=OWN_PATHS)
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


def is_surely_bucket(name: str) -> bool:
    """Whether a store cannot mean anything else by it. Old buckets have other names, too, and some stores
    write a tenant before them: those are covered by who names them, and by no star."""
    return name not in OWN_PATHS and _BUCKET(name) is not None
