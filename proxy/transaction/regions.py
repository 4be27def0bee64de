"""In which region a bucket is whose host names none: what its store says when it was asked in another one's
name."""

from collections.abc import Iterable
from typing import Final

from proxy.aws.partitions import is_region
from proxy.core.hosts import Hostname

# Each bucket is a host. A job uses a handful; one that asks for thousands is told anew.
MAX_HOSTS: Final = 256
# On redirects, on refusals and on HEADs, whose answers have no body ("HeadBucket", S3 API reference).
REGION_HEADER: Final = "x-amz-bucket-region"


class HostRegions:
    """Bounded; what was learnt first goes first."""

    def __init__(self) -> None:
        self._regions: dict[Hostname, str] = {}

    def learn(self, host: Hostname, region: str) -> bool:
        """False: it was known, so that nothing would become better by asking again."""
        if self._regions.get(host) == region:
            return False
        if len(self._regions) >= MAX_HOSTS and host not in self._regions:
            del self._regions[next(iter(self._regions))]
        self._regions[host] = region
        return True

    def of(self, host: Hostname) -> str | None:
        return self._regions.get(host)


def told_region(fields: Iterable[tuple[str, str]]) -> str | None:
    """By the head of an answer."""
    told = {value.strip() for name, value in fields if name.lower() == REGION_HEADER}
    region = next(iter(told), "") if len(told) == 1 else ""
    return region if is_region(region) else None
