"""In which region a bucket is whose host names none: what its store says when it was asked in another one's
name."""

from collections.abc import Iterable
from typing import Final

from proxy.aws.partitions import is_region
from proxy.core.hosts import Hostname
from proxy.core.paths import RequestPath

# A job uses a handful of buckets; one that asks for thousands is told anew.
MAX_PLACES: Final = 256
# On redirects, on refusals and on HEADs, whose answers have no body ("HeadBucket", S3 API reference).
REGION_HEADER: Final = "x-amz-bucket-region"


# The one name without a region at which the bucket stands in the path.
_SHARED: Final = "s3.amazonaws.com"


def bucket_place(host: Hostname, target: str) -> str:
    """What a region is learnt for: one bucket, and none of the others at the same host."""
    if host != _SHARED:
        return host
    bucket = RequestPath.parse(target.partition("?")[0]).text[1:].partition("/")[0]
    return f"{host}/{bucket}"


class BucketRegions:
    """By place. Bounded; what was learnt first goes first."""

    def __init__(self) -> None:
        self._regions: dict[str, str] = {}

    def learn(self, place: str, region: str) -> bool:
        """False: it was known."""
        if self._regions.get(place) == region:
            return False
        if len(self._regions) >= MAX_PLACES and place not in self._regions:
            del self._regions[next(iter(self._regions))]
        self._regions[place] = region
        return True

    def of(self, place: str) -> str | None:
        return self._regions.get(place)


def told_region(fields: Iterable[tuple[str, str]]) -> str | None:
    """By the head of an answer."""
    told = {value.strip() for name, value in fields if name.lower() == REGION_HEADER}
    region = next(iter(told), "") if len(told) == 1 else ""
    return region if is_region(region) else None
