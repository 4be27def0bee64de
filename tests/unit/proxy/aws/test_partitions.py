from typing import Any

import botocore.session
import pytest

from proxy.aws.partitions import PARTITIONS, is_region, partition_of, partition_of_arn, sts_endpoint


def known_partitions() -> list[dict[str, Any]]:
    """As botocore, which AWS keeps up to date, lists them."""
    found: dict[str, Any] = botocore.session.get_session().get_data("partitions")
    return list(found["partitions"])


def regions() -> list[tuple[str, str, str]]:
    return [
        (region, partition["id"], partition["outputs"]["dnsSuffix"])
        for partition in known_partitions()
        for region in partition["regions"]
        if not region.endswith("-global")
    ]


@pytest.mark.parametrize(("region", "partition", "suffix"), regions())
def test_every_region_that_botocore_knows_is_in_its_partition(
    region: str, partition: str, suffix: str
) -> None:
    assert is_region(region)
    assert partition_of(region).id == partition
    assert sts_endpoint(region) == f"https://sts.{region}.{suffix}/"


def test_there_is_no_partition_beside_those_of_botocore() -> None:
    assert {partition.id for partition in PARTITIONS} == {p["id"] for p in known_partitions()}


@pytest.mark.parametrize(
    "text", ["aws-global", "eu-central-1a", "EU-CENTRAL-1", "eu_central_1", "us-east", "", "a.b-c-1", "1"]
)
def test_what_is_no_region_is_told(text: str) -> None:
    assert not is_region(text)


def test_a_region_of_tomorrow_is_one_of_the_commercial_partition() -> None:
    assert is_region("nz-north-1")
    assert partition_of("nz-north-1").id == "aws"


@pytest.mark.parametrize(
    ("arn", "partition"),
    [
        ("arn:aws:iam::111122223333:role/x", "aws"),
        ("arn:aws-us-gov:iam::111122223333:role/x", "aws-us-gov"),
        ("arn:aws-moon:iam::111122223333:role/x", None),
        ("arn", None),
        ("", None),
    ],
)
def test_an_arn_names_its_partition(arn: str, partition: str | None) -> None:
    found = partition_of_arn(arn)
    assert (found.id if found else None) == partition
