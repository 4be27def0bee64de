"""For which service and region a request to one of AWS's hosts is signed, as far as its name says.

Names are read from the right: there AWS alone decides, and to the left may stand whatever a customer called his
bucket. The exceptions of the tables are botocore's; a test compares every endpoint that botocore knows.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from proxy.aws.partitions import COMMERCIAL, PARTITIONS, partition_of
from proxy.aws.sigv4 import Style
from proxy.core.hosts import Hostname


@dataclass(frozen=True, slots=True)
class AwsHost:
    """`service` is the name in a signature's scope. Where no region is told there are several that may answer."""

    service: str
    region: str | None
    style: Style


# --- suffixes ----------------------------------------------------------------------------------------

# What ends the names of a partition that also have IPv6 addresses (botocore's `partitions.json`).
DUAL_STACK: Final = {
    "amazonaws.com": "api.aws",
    "amazonaws.com.cn": "api.amazonwebservices.com.cn",
    "amazonaws.eu": "api.amazonwebservices.eu",
    "c2s.ic.gov": "api.aws.ic.gov",
    "sc2s.sgov.gov": "api.aws.scloud",
    "cloud.adc-e.uk": "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov": "api.aws.hci.ic.gov",
}
_SUFFIXES: Final = {
    f".{suffix}": partition.dns_suffix
    for partition in PARTITIONS
    for suffix in (partition.dns_suffix, DUAL_STACK[partition.dns_suffix])
}
# Where the services live that have one host for a whole partition.
_GLOBAL_REGIONS: Final = {
    "amazonaws.com": "us-east-1",
    "amazonaws.com.cn": "cn-northwest-1",
    "amazonaws.eu": "eusc-de-east-1",
    "c2s.ic.gov": "us-iso-east-1",
    "sc2s.sgov.gov": "us-isob-east-1",
    "cloud.adc-e.uk": "eu-isoe-west-1",
    "csp.hci.ic.gov": "us-isof-south-1",
}

# --- S3 ----------------------------------------------------------------------------------------------

_REGION: Final = r"[a-z]{2,4}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}"
_FIPS: Final = r"(?:-fips)?"
_DUAL: Final = r"(?:\.dualstack)?"
_S3: Final = re.compile(
    r"(?:.+\.)?(?:"
    rf"(?P<s3>s3{_FIPS}{_DUAL}\.|s3-|s3-accesspoint{_FIPS}{_DUAL}\.|s3-control{_FIPS}{_DUAL}\.)"
    rf"|(?P<s3express>s3express{_FIPS}-[a-z0-9-]+?{_DUAL}\.|s3express-control{_FIPS}{_DUAL}\.)"
    rf"|(?P<s3_object_lambda>s3-object-lambda{_FIPS}{_DUAL}\.)"
    rf"|(?P<s3_outposts>s3-outposts{_FIPS}{_DUAL}\.)"
    rf")(?P<region>{_REGION})"
).fullmatch
# Whoever is nearest answers, or where the bucket happens to be.
_S3_ANYWHERE: Final = re.compile(rf"(?:(?:.+\.)?(?:s3|s3-accelerate{_DUAL})|.+\.accesspoint\.s3-global)").fullmatch
_S3_OLDEST: Final = re.compile(r"(?:.+\.)?s3-external-1").fullmatch

# --- the others --------------------------------------------------------------------------------------

_REGIONAL: Final = re.compile(rf"(?P<prefix>.+)\.(?P<region>{_REGION})").fullmatch
_VPC_ENDPOINT: Final = re.compile(
    rf"(?:.+\.)?vpce-[0-9a-z-]+\.(?P<prefix>.+)\.(?P<region>{_REGION})\.vpce"
).fullmatch
# Domains of customers' own, behind the region.
_DOMAIN: Final = re.compile(rf".+\.(?P<region>{_REGION})\.(?P<kind>es|aoss|cloudsearch|neptune)").fullmatch
