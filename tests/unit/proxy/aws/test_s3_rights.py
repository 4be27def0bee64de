"""Access points and directory buckets; buckets stand in test_session_policy.py."""

from typing import Any, Final

import pytest

from proxy.aws.partitions import PARTITIONS, Partition
from proxy.aws.rights import Right
from proxy.aws.s3_rights import s3_rights
from proxy.aws.session_policy import session_policy
from proxy.core.aws_sources import AwsWebIdentity
from proxy.core.globs import Glob
from proxy.core.policy import Access, Grant
from proxy.core.structs import replace
from proxy.services.loader import built_in_catalogue
from tests.iam import allows

S3: Final = built_in_catalogue()["s3"]
ROLE: Final = AwsWebIdentity("arn:aws:iam::111122223333:role/training", "eu-central-1")
AWS: Final = PARTITIONS[-1]
ACCESS_POINT: Final = "arn:aws:s3:eu-west-1:111122223333:accesspoint/data"
OBJECT_LAMBDA: Final = "arn:aws:s3-object-lambda:eu-west-1:111122223333:accesspoint/redact"
MULTI_REGION: Final = "mfzwi23gnjvgw.mrap"
DIRECTORY: Final = "data--euw1-az1--x-s3"
BUCKET: Final = f"arn:aws:s3express:eu-west-1:111122223333:bucket/{DIRECTORY}"
READ: Final = {"s3express:SessionMode": "ReadOnly"}
WRITE: Final = {"s3express:SessionMode": "ReadWrite"}


def grant(*buckets: str, **narrowed: Any) -> Grant:
    pins = (("bucket", tuple(map(Glob, buckets))),)
    return Grant("aws", "s3", pins=pins, **{"access": (Access.READ,), **narrowed})


def rights(one: Grant, partition: Partition = AWS, *, at_amazon: bool = True) -> list[Right]:
    return list(s3_rights(one, S3, partition, at_amazon=at_amazon))


def text(*grants: Grant, kind: AwsWebIdentity = ROLE) -> str:
    found = session_policy(kind, [(one, S3) for one in grants])
    assert isinstance(found, str), found
    return found


# --- access points -----------------------------------------------------------------------------------


def test_what_comes_through_an_access_point_is_bounded_there_and_behind_it_by_the_way() -> None:
    found = text(grant(ACCESS_POINT, prefixes=("train/",), access=(Access.READ, Access.LIST)))
    through = {"s3:DataAccessPointArn": ACCESS_POINT}
    for bucket in ("data", "any"):
        assert allows(found, "s3:GetObject", f"{ACCESS_POINT}/object/train/x", through)
        assert allows(found, "s3:GetObject", f"arn:aws:s3:::{bucket}/train/x", through)
        assert not allows(found, "s3:GetObject", f"arn:aws:s3:::{bucket}/train/x")
        other = {"s3:DataAccessPointArn": f"{ACCESS_POINT}-2"}
        assert not allows(found, "s3:GetObject", f"arn:aws:s3:::{bucket}/train/x", other)
    assert not allows(found, "s3:GetObject", f"{ACCESS_POINT}/object/eval/x", through)
    assert not allows(found, "s3:PutObject", f"{ACCESS_POINT}/object/train/x", through)
    listing = {"s3:prefix": "train/a", **through}
    assert allows(found, "s3:ListBucket", ACCESS_POINT, listing)
    assert allows(found, "s3:ListBucket", "arn:aws:s3:::data", listing)
    assert not allows(found, "s3:ListBucket", ACCESS_POINT, {**listing, "s3:prefix": "eval/"})


def test_the_owner_of_the_bucket_behind_an_access_point_is_held() -> None:
    found = text(grant(ACCESS_POINT, expected_bucket_owner="444455556666"))
    through = {"s3:DataAccessPointArn": ACCESS_POINT}
    ours = {**through, "s3:ResourceAccount": "444455556666"}
    assert allows(found, "s3:GetObject", "arn:aws:s3:::data/x", ours)
    assert not allows(found, "s3:GetObject", "arn:aws:s3:::data/x", through)


def test_a_multi_region_access_point_has_no_region_and_the_account_of_its_owner() -> None:
    found = text(grant(MULTI_REGION))
    arn = f"arn:aws:s3::111122223333:accesspoint/{MULTI_REGION}"
    assert allows(found, "s3:GetObject", f"{arn}/object/x", {"s3:DataAccessPointArn": arn})
    assert allows(found, "s3:GetObject", "arn:aws:s3:::data/x", {"s3:DataAccessPointArn": arn})
    assert not allows(found, "s3:GetObject", "arn:aws:s3::111122223333:accesspoint/other.mrap/object/x")
    owned = text(grant(MULTI_REGION, expected_bucket_owner="444455556666"))
    assert not allows(owned, "s3:GetObject", f"{arn}/object/x")


def test_an_object_lambda_access_point_takes_what_stands_behind_it_with_it_and_for_it_alone() -> None:
    found = text(grant(OBJECT_LAMBDA, access=(Access.READ, Access.LIST)))
    called = {"aws:CalledVia": "s3-object-lambda.amazonaws.com"}
    function = "arn:aws:lambda:eu-west-1:111122223333:function:redact:$LATEST"
    assert allows(found, "s3-object-lambda:GetObject", OBJECT_LAMBDA)
    assert allows(found, "s3-object-lambda:ListBucket", OBJECT_LAMBDA)
    assert not allows(found, "s3-object-lambda:PutObject", OBJECT_LAMBDA)
    for action, resource in (
        ("s3:GetObject", f"{ACCESS_POINT}/object/x"),
        ("lambda:InvokeFunction", function),
    ):
        assert allows(found, action, resource, called)
        assert not allows(found, action, resource)
        assert not allows(found, action, resource, {"aws:CalledVia": "athena.amazonaws.com"})


# --- directory buckets -------------------------------------------------------------------------------


def test_whoever_may_only_read_a_directory_bucket_has_sessions_that_can_only_read() -> None:
    found = text(grant(DIRECTORY, access=(Access.READ, Access.LIST)))
    assert allows(found, "s3express:CreateSession", BUCKET, READ)
    assert not allows(found, "s3express:CreateSession", BUCKET, WRITE)
    assert not allows(found, "s3express:CreateSession", BUCKET.replace("data", "other"), READ)


@pytest.mark.parametrize("access", [(Access.WRITE,), (Access.READ, Access.DELETE)])
def test_whoever_may_do_more_has_sessions_of_both_kinds(access: tuple[Access, ...]) -> None:
    found = text(grant(DIRECTORY, access=access))
    for mode in (READ, WRITE):
        assert allows(found, "s3express:CreateSession", BUCKET, mode)


def test_the_owner_of_a_directory_bucket_stands_in_its_arn() -> None:
    found = text(grant("data-*--x-s3", expected_bucket_owner="111122223333"))
    arn = "arn:aws:s3express:eu-west-1:111122223333:bucket/data-1--euw1-az1--x-s3"
    assert allows(found, "s3express:CreateSession", arn, READ)
    assert not allows(found, "s3express:CreateSession", arn.replace("111122223333", "444455556666"), READ)


def test_a_grant_that_covers_nothing_opens_no_session() -> None:
    assert rights(grant(DIRECTORY, access=(), actions=("s3:ListAllMyBuckets",))) == [
        Right("*", "s3:ListAllMyBuckets")
    ]


def test_the_key_of_a_directory_bucket_is_opened_by_s3_express() -> None:
    key = "arn:aws:kms:eu-west-1:111122223333:key/1"
    for bucket, through in ((DIRECTORY, "s3express"), ("data", "s3")):
        found = text(grant(bucket))
        assert allows(found, "kms:Decrypt", key, {"kms:ViaService": f"{through}.eu-west-1.amazonaws.com"})
        assert not allows(found, "kms:Decrypt", key, {"kms:ViaService": "ssm.eu-west-1.amazonaws.com"})


def test_an_access_point_of_a_directory_bucket_takes_the_bucket_behind_it_with_it() -> None:
    point = "arn:aws:s3express:eu-west-1:111122223333:accesspoint/team--euw1-az1--xa-s3"
    found = text(grant("team--euw1-az1--xa-s3"))
    through = {**READ, "s3express:DataAccessPointArn": point}
    assert allows(found, "s3express:CreateSession", point, through)
    assert allows(found, "s3express:CreateSession", BUCKET, through)
    assert not allows(found, "s3express:CreateSession", BUCKET, READ)


# --- all of them -------------------------------------------------------------------------------------


def test_a_star_reaches_from_no_kind_of_name_to_another() -> None:
    assert {right.resource for right in rights(grant("*"))} == {"arn:aws:s3:::*/*"}
    assert "s3express" not in text(grant("data*"))


@pytest.mark.parametrize("name", [ACCESS_POINT, OBJECT_LAMBDA, MULTI_REGION, DIRECTORY, "t--z--xa-s3"])
def test_a_store_of_ones_own_has_buckets_and_nothing_else(name: str) -> None:
    assert rights(grant(name), at_amazon=False) == []
    kept = rights(grant(name, "data", expected_bucket_owner="111122223333"), at_amazon=False)
    assert {(right.resource, right.bounds) for right in kept} == {("arn:aws:s3:::data/*", ())}


def test_each_partition_has_arns_of_its_own() -> None:
    for partition in PARTITIONS:
        for name in ("data", MULTI_REGION, DIRECTORY):
            found = {right.resource.split(":")[1] for right in rights(grant(name), partition)}
            assert found == {partition.id}


def test_a_copy_needs_to_read_and_to_write_and_nothing_besides() -> None:
    reads, writes = grant("source"), grant("target", access=(), actions=("s3:PutObject",))
    found = text(reads, writes)
    assert allows(found, "s3:GetObject", "arn:aws:s3:::source/x")
    assert allows(found, "s3:PutObject", "arn:aws:s3:::target/x")
    assert not allows(found, "s3:GetObject", "arn:aws:s3:::target/x")


def test_versions_are_deleted_by_whoever_may_by_name() -> None:
    found = text(grant("data", access=(Access.DELETE,), actions=("s3:DeleteObjectVersion",)))
    assert allows(found, "s3:DeleteObjectVersion", "arn:aws:s3:::data/x")
    without = text(replace(grant("data"), access=(Access.DELETE,)))
    assert not allows(without, "s3:DeleteObjectVersion", "arn:aws:s3:::data/x")
