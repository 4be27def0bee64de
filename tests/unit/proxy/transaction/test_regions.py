import pytest

from proxy.core.hosts import Hostname
from proxy.transaction.regions import MAX_PLACES, BucketRegions, bucket_place, told_region

HOST = Hostname("data.s3.amazonaws.com")


def test_what_is_learnt_of_a_host_counts_for_that_host() -> None:
    regions = BucketRegions()
    assert regions.of(HOST) is None
    assert regions.learn(HOST, "eu-west-1")
    assert regions.of(HOST) == "eu-west-1"
    assert regions.of(Hostname("other.s3.amazonaws.com")) is None


def test_what_was_known_makes_nothing_better() -> None:
    regions = BucketRegions()
    assert regions.learn(HOST, "eu-west-1")
    assert not regions.learn(HOST, "eu-west-1")
    assert regions.learn(HOST, "eu-west-2")


def test_the_book_is_bounded_and_forgets_the_first() -> None:
    regions = BucketRegions()
    hosts = [Hostname(f"b{number}.s3.amazonaws.com") for number in range(MAX_PLACES + 1)]
    for host in hosts:
        regions.learn(host, "eu-west-1")
    regions.learn(hosts[-1], "eu-west-2")
    assert regions.of(hosts[0]) is None
    assert regions.of(hosts[1]) == "eu-west-1"
    assert regions.of(hosts[-1]) == "eu-west-2"


def test_buckets_that_share_a_host_share_no_region() -> None:
    shared = Hostname("s3.amazonaws.com")
    assert bucket_place(HOST, "/data/key") == HOST
    assert bucket_place(shared, "/data/key?versionId=1") == "s3.amazonaws.com/data"
    assert bucket_place(shared, "/d%61ta/other") == "s3.amazonaws.com/data"
    assert bucket_place(shared, "/data2") == "s3.amazonaws.com/data2"
    assert bucket_place(shared, "/") == bucket_place(shared, "/%2e%2e/..") == "s3.amazonaws.com/"


def test_a_region_stands_in_a_header() -> None:
    assert told_region([("X-Amz-Bucket-Region", " eu-west-1 ")]) == "eu-west-1"
    assert told_region([("date", "x")]) is None


@pytest.mark.parametrize("value", ["", "*", "eu west", "EU-WEST-1", "eu-west-1/s3", "a" * 99])
def test_what_is_no_region_is_not_believed(value: str) -> None:
    assert told_region([("x-amz-bucket-region", value)]) is None


def test_two_regions_are_none() -> None:
    assert told_region([("x-amz-bucket-region", "eu-west-1"), ("x-amz-bucket-region", "eu-west-2")]) is None
