"""The text, case by case. That it says what the policy says stands in the properties."""

import json
from itertools import permutations
from typing import Any

import pytest

from proxy.aws.session_policy import MAX_POLICY_CHARACTERS, Underivable, session_policy
from proxy.core.aws_sources import AssumedRole, AwsWebIdentity, SessionPolicy
from proxy.core.globs import Glob
from proxy.core.hosts import HostPattern
from proxy.core.policy import Access, Grant
from proxy.core.services import Catalogue, Dialect, Operation, Service
from proxy.core.structs import replace
from proxy.services.loader import built_in_catalogue
from tests.iam import allows

S3 = built_in_catalogue()["s3"]
ROLE = AwsWebIdentity("arn:aws:iam::111122223333:role/training", "eu-central-1")
DATA = "arn:aws:s3:::data"


def grant(*buckets: str, **narrowed: Any) -> Grant:
    pins = (("bucket", tuple(map(Glob, buckets))),) if buckets else ()
    return Grant("aws", "s3", pins=pins, **{"access": (Access.READ,), **narrowed})


def text(*grants: Grant, kind: AwsWebIdentity = ROLE) -> str:
    found = session_policy(kind, [(one, S3) for one in grants])
    assert isinstance(found, str), found
    return found


def statements(*grants: Grant, kind: AwsWebIdentity = ROLE) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text(*grants, kind=kind))["Statement"]
    return found


def s3_statements(*grants: Grant) -> list[dict[str, Any]]:
    return [one for one in statements(*grants) if "kms:" not in json.dumps(one["Action"])]


def test_one_action_on_one_bucket_is_one_statement() -> None:
    assert s3_statements(grant("data", access=(), actions=("s3:PutObject",))) == [
        {"Action": "s3:PutObject", "Effect": "Allow", "Resource": f"{DATA}/*"}
    ]


@pytest.mark.parametrize(
    ("prefix", "resources"),
    [
        ("train", [f"{DATA}/train", f"{DATA}/train/*"]),
        ("train/", [f"{DATA}/train/*"]),
        ("train*", [f"{DATA}/train*"]),
        ("*", [f"{DATA}/*"]),
    ],
)
def test_a_prefix_becomes_what_it_covers(prefix: str, resources: list[str]) -> None:
    [statement] = s3_statements(grant("data", prefixes=(prefix,), access=(), actions=("s3:PutObject",)))
    found = statement["Resource"]
    assert (found if isinstance(found, list) else [found]) == resources


def test_a_listing_is_bounded_by_its_prefix_and_everything_else_of_the_bucket_is_not() -> None:
    found = s3_statements(grant("data", prefixes=("train", "eval*"), access=(Access.LIST,)))
    assert found == [
        {
            "Action": ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
            "Effect": "Allow",
            "Resource": DATA,
        },
        {
            "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
            "Condition": {"StringLike": {"s3:prefix": ["eval*", "train/*"]}},
            "Effect": "Allow",
            "Resource": DATA,
        },
    ]


def test_a_prefix_of_everything_sets_no_condition_which_a_listing_without_a_prefix_would_fail() -> None:
    found = text(grant("data", prefixes=("*",), access=(Access.LIST,)))
    assert allows(found, "s3:ListBucket", DATA)


def test_a_listing_that_one_grant_leaves_unbounded_is_unbounded() -> None:
    found = text(
        grant("data", prefixes=("train/",), access=(Access.LIST,)), grant("data", access=(Access.LIST,))
    )
    assert "s3:prefix" not in found
    assert allows(found, "s3:ListBucket", DATA)


def test_prefixes_of_several_grants_on_one_bucket_share_a_condition() -> None:
    list_only = {"access": (), "actions": ("s3:ListBucket",)}
    assert s3_statements(
        grant("data", prefixes=("b/",), **list_only), grant("data", prefixes=("a/",), **list_only)
    ) == [
        {
            "Action": "s3:ListBucket",
            "Condition": {"StringLike": {"s3:prefix": ["a/*", "b/*"]}},
            "Effect": "Allow",
            "Resource": DATA,
        }
    ]


def test_prefixes_of_one_bucket_are_not_lent_to_another() -> None:
    found = text(
        grant("data", prefixes=("a/",), access=(Access.LIST,)),
        grant("other", prefixes=("b/",), access=(Access.LIST,)),
    )
    assert allows(found, "s3:ListBucket", DATA, {"s3:prefix": "a/x"})
    assert not allows(found, "s3:ListBucket", DATA, {"s3:prefix": "b/x"})


def test_head_bucket_is_left_out_where_prefixes_bound_because_to_iam_it_lists_everything() -> None:
    found = s3_statements(
        grant("data", prefixes=("a/",), access=(), actions=("s3:HeadBucket", "s3:GetObject"))
    )
    assert [one["Action"] for one in found] == ["s3:GetObject"]
    [alone] = s3_statements(grant("data", access=(), actions=("s3:HeadBucket",)))
    assert alone["Action"] == "s3:ListBucket"


def test_operations_that_show_no_key_are_not_covered_by_a_grant_with_prefixes() -> None:
    names = ("s3:PostObject", "s3:GetBucketPolicy", "s3:GetObject", "s3:ListAllMyBuckets")
    found = s3_statements(grant("data", prefixes=("a/",), access=(), actions=names))
    assert [one["Action"] for one in found] == ["s3:GetObject"]


def test_deletes_by_body_are_bounded_by_prefixes() -> None:
    found = text(grant("data", prefixes=("a/",), access=(), actions=("s3:DeleteObjects",)))
    assert allows(found, "s3:DeleteObject", f"{DATA}/a/x")
    assert not allows(found, "s3:DeleteObject", f"{DATA}/b/x")


def test_deletes_by_body_are_deletes_of_objects_and_not_of_versions() -> None:
    found = text(grant("data", access=(Access.DELETE,)))
    assert allows(found, "s3:DeleteObject", f"{DATA}/x")
    assert not allows(found, "s3:DeleteObjectVersion", f"{DATA}/x")


def test_buckets_of_the_account_are_no_resource_of_a_bucket() -> None:
    owner = grant("data", access=(), actions=("s3:ListAllMyBuckets",), expected_bucket_owner="111122223333")
    assert s3_statements(owner) == [{"Action": "s3:ListAllMyBuckets", "Effect": "Allow", "Resource": "*"}]


def test_the_owner_is_a_condition_of_every_statement_about_the_bucket() -> None:
    found = text(grant("data-*", access=tuple(Access), expected_bucket_owner="111122223333"))
    ours, theirs = {"s3:ResourceAccount": "111122223333"}, {"s3:ResourceAccount": "444455556666"}
    for action, resource in (("s3:GetObject", "data-1/x"), ("s3:ListBucket", "data-1")):
        assert allows(found, action, f"arn:aws:s3:::{resource}", ours)
        assert not allows(found, action, f"arn:aws:s3:::{resource}", theirs)
        assert not allows(found, action, f"arn:aws:s3:::{resource}")


def test_what_iam_reads_as_wildcards_and_variables_is_written_as_characters() -> None:
    name = "a?b$c${aws:username}d"
    found = text(grant("data", prefixes=(f"{name}/",), access=(Access.READ, Access.LIST)))
    assert f"{DATA}/a${{?}}b$c${{$}}{{aws:username}}d/*" in found
    assert allows(found, "s3:GetObject", f"{DATA}/{name}/x")
    assert not allows(found, "s3:GetObject", f"{DATA}/axb$c${{aws:username}}d/x")
    assert allows(found, "s3:ListBucket", DATA, {"s3:prefix": f"{name}/"})


def test_stars_of_a_bucket_stay_stars_and_its_question_marks_do_not() -> None:
    found = text(grant("d?ta-*", expected_bucket_owner=None))
    assert allows(found, "s3:GetObject", "arn:aws:s3:::d?ta-1/x")
    assert not allows(found, "s3:GetObject", "arn:aws:s3:::data-1/x")


def test_the_text_is_ascii_because_sts_takes_no_other() -> None:
    found = text(grant("data", prefixes=("数据/",)))
    assert found.isascii()
    assert allows(found, "s3:GetObject", f"{DATA}/数据/x")


def test_keys_of_objects_may_be_used_by_s3_only_and_only_for_what_is_granted() -> None:
    through_s3, directly = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}, {"kms:ViaService": "ssm.x"}
    reads = text(grant("data"))
    writes = text(grant("data", access=(Access.WRITE,)))
    neither = text(grant("data", access=(Access.DELETE,)))
    key = "arn:aws:kms:eu-west-1:111122223333:key/1"
    assert allows(reads, "kms:Decrypt", key, through_s3)
    assert not allows(reads, "kms:GenerateDataKey", key, through_s3)
    assert not allows(reads, "kms:Decrypt", key, directly)
    assert allows(writes, "kms:GenerateDataKey", key, through_s3)
    assert "kms:" not in neither


def test_the_partition_is_that_of_the_last_role() -> None:
    china = AwsWebIdentity("arn:aws-cn:iam::111122223333:role/x", "cn-north-1")
    found = text(grant("data"), kind=china)
    assert "arn:aws-cn:s3:::data/*" in found
    assert "s3.*.amazonaws.com.cn" in found
    chained = replace(china, then=AssumedRole("arn:aws-cn:iam::444455556666:role/y"))
    assert text(grant("data"), kind=chained) == found


def test_a_store_of_ones_own_is_told_nothing_of_keys_and_accounts() -> None:
    store = replace(ROLE, endpoint="https://ceph.example.com")
    found = text(grant("data", expected_bucket_owner="111122223333"), kind=store)
    assert "kms" not in found
    assert "Condition" not in found


def test_what_one_grant_bounds_and_another_does_not_is_not_bounded() -> None:
    owned = grant("data", expected_bucket_owner="111122223333")
    assert text(owned, grant("data")) == text(grant("data"))


def test_grants_on_other_services_stand_beside_those_on_s3(catalogue: Catalogue) -> None:
    invoke = Grant("aws", "bedrock-runtime", access=(Access.READ,), pins=(("model", (Glob("amazon.nova"),)),))
    found = session_policy(ROLE, [(grant("data"), S3), (invoke, catalogue["bedrock-runtime"])])
    assert isinstance(found, str)
    assert allows(found, "s3:GetObject", f"{DATA}/x")
    assert allows(found, "bedrock:InvokeModel", "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova")
    assert not allows(found, "bedrock:InvokeModel", "arn:aws:bedrock:eu-west-1::foundation-model/other")


def test_equal_grants_make_equal_text_in_any_order() -> None:
    grants = (
        grant("data", prefixes=("b", "a*"), access=(Access.READ, Access.LIST)),
        grant("ckpt", access=tuple(Access)),
        grant("other", "data", access=(Access.WRITE,)),
        grant("data", prefixes=("c/",), access=(Access.LIST,)),
    )
    first = text(*grants)
    assert all(text(*order) == first for order in permutations(grants))
    assert text(*grants, grants[0]) == first
    assert text(replace(grants[0], prefixes=("a*", "b")), *grants[1:]) == first


@pytest.mark.parametrize("count", [2, 9])
def test_statements_are_gathered_in_the_shorter_of_two_ways(count: int) -> None:
    """Alike buckets share a statement; so do alike rights of different buckets."""
    alike = s3_statements(*(grant(f"data-{n}", access=(Access.READ,)) for n in range(count)))
    assert len(alike) == 1
    more = text(
        *(grant(f"data-{n}", access=(Access.READ,)) for n in range(count)),
        grant("data-0", access=(Access.WRITE,)),
    )
    for n in range(count):
        assert allows(more, "s3:GetObject", f"arn:aws:s3:::data-{n}/x")
        assert allows(more, "s3:PutObject", f"arn:aws:s3:::data-{n}/x") == (n == 0)


def test_header_actions_are_rights_of_their_own() -> None:
    found = text(
        grant("data", actions=("s3:BypassGovernanceRetention", "s3:UseKmsKey"), access=(Access.WRITE,))
    )
    assert allows(found, "s3:BypassGovernanceRetention", f"{DATA}/x")
    assert "UseKmsKey" not in found


# --- where there is none -----------------------------------------------------------------------------


def test_a_source_that_bounds_its_sessions_itself_needs_none() -> None:
    assert session_policy(replace(ROLE, session_policy=SessionPolicy.NONE), []) == ""


def test_one_that_is_too_long_says_how_long_and_how_long_it_may_be() -> None:
    found = session_policy(ROLE, [(grant(f"bucket-number-{n}"), S3) for n in range(60)])
    assert isinstance(found, Underivable)
    assert found.too_large
    assert found.message.endswith("characters, and STS takes 2,048")


def test_the_longest_that_fits_is_taken() -> None:
    room = MAX_POLICY_CHARACTERS - len(text(grant("b")))
    assert len(text(grant("b" * (1 + room)))) == MAX_POLICY_CHARACTERS
    assert isinstance(session_policy(ROLE, [(grant("b" * (2 + room)), S3)]), Underivable)


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        (Grant("aws", "openai"), "the service `openai`"),
        (Grant("aws", hosts=(HostPattern("ceph.example.com"),)), "hosts"),
        (Grant("aws", "gone"), "the service `gone`"),
    ],
)
def test_a_grant_on_what_iam_has_no_known_words_for_is_named(
    odd: Grant, shown: str, catalogue: Catalogue
) -> None:
    found = session_policy(ROLE, [(grant("data"), S3), (odd, catalogue.get(odd.service or ""))])
    message = (
        "a session policy can be derived from grants on `s3`, `bedrock-runtime`, `sagemaker-runtime` and "
        f"`ecr` alone, and this one names {shown}"
    )
    assert found == Underivable(message, 1)


@pytest.mark.parametrize("name", ["ecr", "openai"])
def test_a_store_of_ones_own_is_asked_for_nothing_but_s3(name: str, catalogue: Catalogue) -> None:
    store = replace(ROLE, endpoint="https://ceph.example.com")
    found = session_policy(store, [(Grant("aws", name), catalogue[name])])
    message = (
        f"a session policy can be derived from grants on `s3` alone, and this one names the service `{name}`"
    )
    assert found == Underivable(message)


def test_an_operation_of_an_own_catalogue_entry_that_iam_is_not_known_to_name_is_told() -> None:
    own = Service(
        "ceph",
        "Ceph",
        "",
        (),
        S3.attach,
        operations=(Operation("s3:Frob", ("GET",)),),
        dialect=Dialect.S3_XML,
    )
    frobs = Grant("aws", "ceph", actions=("s3:Frob",))
    assert session_policy(ROLE, [(frobs, own)]) == Underivable(
        "what IAM calls the operation `s3:Frob` is not known"
    )


@pytest.mark.parametrize(
    "nothing",
    [
        [],
        [(grant("data", access=(), actions=("s3:CreateSession",)), S3)],
        # Neither bucket nor operation: the reader refuses such grants, and they allow nothing.
        [(grant(), S3)],
        [(grant("data", access=()), S3)],
    ],
)
def test_grants_that_allow_nothing_make_no_policy_rather_than_an_unbounded_session(
    nothing: list[tuple[Grant, Service | None]],
) -> None:
    message = "the grants name nothing that a session policy could allow"
    assert session_policy(ROLE, nothing) == Underivable(message)
