"""AWS's partitions: worlds of their own, each with its regions, its names in DNS and its roles.

The regions follow botocore's `partitions.json`. A region of the commercial partition is told by its shape and
not by a list, so that a new one works without a new release of podkey.
"""

import re
from typing import Final

from proxy.core.structs import Struct


class Partition(Struct, frozen=True):
    """`id` is what an ARN begins with: `arn:aws-cn:…`."""

    id: str
    # How the names of its regions begin; empty for the one that takes all the rest.
    region_prefix: str
    dns_suffix: str


COMMERCIAL: Final = Partition("aws", "", "amazonaws.com")
PARTITIONS: Final = (
    Partition("aws-cn", "cn-", "amazonaws.com.cn"),
    Partition("aws-us-gov", "us-gov-", "amazonaws.com"),
    Partition("aws-iso", "us-iso-", "c2s.ic.gov"),
    Partition("aws-iso-b", "us-isob-", "sc2s.sgov.gov"),
    Partition("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk"),
    Partition("aws-iso-f", "us-isof-", "csp.hci.ic.gov"),
    Partition("aws-eusc", "eusc-", "amazonaws.eu"),
    COMMERCIAL,
)
_BY_ID: Final = {partition.id: partition for partition in PARTITIONS}

# `eu-central-1`, `us-gov-west-1`, `eusc-de-east-1`. `aws-global` is no region to send a request to.
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}").fullmatch


def is_region(text: str) -> bool:
    return _REGION(text) is not None


def partition_of(region: str) -> Partition:
    return next(partition for partition in PARTITIONS if region.startswith(partition.region_prefix))


def partition_of_arn(arn: str) -> Partition | None:
    """The partition that an ARN names in its second field."""
    _, _, rest = arn.partition(":")
    return _BY_ID.get(rest.partition(":")[0])


def sts_endpoint(region: str) -> str:
    """The region's own STS. The global one answers from one region, with tokens that some others refuse."""
    return f"https://sts.{region}.{partition_of(region).dns_suffix}/"
