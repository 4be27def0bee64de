from datetime import timedelta
from typing import Any

import pytest

from proxy.core.aws_sources import AssumedRole, AwsStatic, AwsWebIdentity, SessionPolicy
from proxy.core.structs import replace
from proxy.documents.aws_sources import STATIC, WEB_IDENTITY, rendered
from proxy.documents.yaml_nodes import write_documents
from tests.document_strategies import read_shape

ROLE = "arn:aws:iam::111122223333:role/training"
OTHER = "arn:aws:iam::444455556666:role/teams/ml/data"
CHINESE = "arn:aws-cn:iam::aws:policy/x"
KIND = AwsWebIdentity(ROLE, "eu-central-1")


def identity(more: str) -> Any:
    value, problems = read_shape(WEB_IDENTITY, f"{{roleArn: {ROLE}, region: eu-central-1, {more}}}")
    assert problems == []
    return value


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ("", {}),
        ("audience: podkey", {"audience": "podkey"}),
        ("duration: 12h", {"duration": timedelta(hours=12)}),
        ("duration: 15m", {"duration": timedelta(minutes=15)}),
        ("sessionPolicy: none", {"session_policy": SessionPolicy.NONE}),
        ("sessionPolicy: fromGrants", {}),
        ("endpoint: https://ceph.example.com:8443/", {"endpoint": "https://ceph.example.com:8443"}),
        (f"then: {{roleArn: {OTHER}}}", {"then": AssumedRole(OTHER)}),
        (
            f"then: {{roleArn: {OTHER}, externalId: 'a:b/c', duration: 20m}}",
            {"then": AssumedRole(OTHER, "a:b/c", timedelta(minutes=20))},
        ),
        (
            "sessionPolicy: none, policyArns: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']",
            {
                "session_policy": SessionPolicy.NONE,
                "policy_arns": ("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",),
            },
        ),
    ],
)
def test_an_identity_reads_as_it_is_written(more: str, changed: dict[str, Any]) -> None:
    assert identity(more) == replace(KIND, **changed)


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        ("arn:aws-cn:iam::111122223333:role/x", "cn-northwest-1"),
        ("arn:aws-us-gov:iam::111122223333:role/x", "us-gov-west-1"),
        ("arn:aws-iso:iam::111122223333:role/x", "us-iso-east-1"),
        ("arn:aws-iso-b:iam::111122223333:role/x", "us-isob-east-1"),
        ("arn:aws-eusc:iam::111122223333:role/x", "eusc-de-east-1"),
        ("arn:aws:iam::111122223333:role/a/b/x_+=,.@-y", "ap-southeast-2"),
    ],
)
def test_every_partition_has_its_roles_and_regions(arn: str, region: str) -> None:
    value, problems = read_shape(WEB_IDENTITY, f"{{roleArn: '{arn}', region: {region}}}")
    assert problems == []
    assert value == AwsWebIdentity(arn, region)


@pytest.mark.parametrize("account", ["", "RGW33567154695143645", "tenant"])
def test_a_store_of_ones_own_has_regions_and_accounts_of_its_own(account: str) -> None:
    arn = f"arn:aws:iam::{account}:role/x"
    text = f"{{roleArn: '{arn}', region: default, endpoint: 'https://ceph.example.com'}}"
    value, problems = read_shape(WEB_IDENTITY, text)
    assert problems == []
    assert value == AwsWebIdentity(arn, "default", endpoint="https://ceph.example.com")


@pytest.mark.parametrize(
    ("text", "where", "message", "fix"),
    [
        (
            "{roleArn: training, region: eu-central-1}",
            "roleArn",
            "`training` is not the ARN of a role",
            "arn:aws:iam::111122223333:role/training",
        ),
        (
            "{roleArn: 'arn:aws:sts::111122223333:assumed-role/training/me', region: eu-central-1}",
            "roleArn",
            "is a session of a role",
            "write `arn:…:iam::…:role/training`",
        ),
        (
            "{roleArn: 'arn:aws:iam::111122223333:user/ada', region: eu-central-1}",
            "roleArn",
            "is not the ARN of a role",
            "write the role's ARN",
        ),
        (
            "{roleArn: 'arn:aws-moon:iam::111122223333:role/x', region: eu-central-1}",
            "roleArn",
            "`aws-moon` is no partition of AWS",
            "aws-cn, aws-us-gov",
        ),
        (
            "{roleArn: 'arn:aws:iam::1111-2222-3333:role/x', region: eu-central-1}",
            "roleArn",
            "`1111-2222-3333` is not an AWS account id",
            "twelve digits",
        ),
        (
            "{roleArn: 'arn:aws:iam::111122223333:role/x', region: cn-north-1}",
            "roleArn",
            "`aws` is not the partition of `cn-north-1`",
            "write `arn:aws-cn:…`, or a region of `aws`",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1a}}",
            "region",
            "is an availability zone",
            "eu-central-1`",
        ),
        (f"{{roleArn: '{ROLE}', region: default}}", "region", "is not a region of AWS", "its `endpoint`"),
        (f"{{roleArn: '{ROLE}', region: EU}}", "region", "`EU` is not a region", "such as `eu-central-1`"),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, then: {{roleArn: 'arn:aws:iam::1:role/x'}}}}",
            "then.roleArn",
            "`1` is not an AWS account id",
            "twelve digits",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, duration: 13h}}",
            "duration",
            "from 15m to 12h",
            "15m to 12h",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, then: {{roleArn: '{OTHER}', duration: 2h}}}}",
            "then.duration",
            "from 15m to 1h",
            "15m to 1h",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, duration: 1h, then: {{roleArn: '{OTHER}'}}}}",
            "duration",
            "the first role's session is used once",
            "move it into `then`",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, then: {{roleArn: '{OTHER}', externalId: x}}}}",
            "then.externalId",
            "it is not an external id",
            "2 to 1,224",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, policyArns: ['arn:aws:iam::aws:policy/x']}}",
            "policyArns",
            "managed policies would widen the session",
            "sessionPolicy: none",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, sessionPolicy: none, policyArns: ['{ROLE}']}}",
            "policyArns[0]",
            "is not the ARN of a managed policy",
            "arn:aws:iam::aws:policy/…",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-west-1, sessionPolicy: none, policyArns: [{CHINESE}]}}",
            "policyArns[0]",
            "`aws-cn` is not the partition",
            "write `arn:aws:…`",
        ),
        (
            f"{{roleArn: '{ROLE}', region: eu-central-1, endpoint: 'http://ceph.example.com'}}",
            "endpoint",
            "plain http",
            "https://",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_place_and_its_fix(
    text: str, where: str, message: str, fix: str
) -> None:
    _, [problem] = read_shape(WEB_IDENTITY, text)
    assert problem.path == where
    assert message in problem.message
    assert fix in problem.fix


def test_more_than_ten_managed_policies_are_more_than_sts_takes() -> None:
    arns = ", ".join(f"'arn:aws:iam::aws:policy/p{n}'" for n in range(11))
    text = f"{{roleArn: '{ROLE}', region: eu-central-1, sessionPolicy: none, policyArns: [{arns}]}}"
    _, [problem] = read_shape(WEB_IDENTITY, text)
    assert "the limit is 10" in problem.message


# --- a static pair -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{secretName: store}", AwsStatic("store")),
        ("{secretName: store, accessKeyId: id, secretAccessKey: key}", AwsStatic("store", "id", "key")),
        ("{secretName: store, sessionToken: token}", AwsStatic("store", session_token="token")),
    ],
)
def test_a_pair_reads_as_it_is_written(text: str, kind: AwsStatic) -> None:
    value, problems = read_shape(STATIC, text)
    assert problems == []
    assert value == kind


@pytest.mark.parametrize(
    "keys",
    ["accessKeyId: a, secretAccessKey: a", "accessKeyId: secretAccessKey", "sessionToken: accessKeyId"],
)
def test_one_key_cannot_hold_two_parts(keys: str) -> None:
    _, [problem] = read_shape(STATIC, f"{{secretName: store, {keys}}}")
    assert "cannot hold two parts" in problem.message


@pytest.mark.parametrize(
    "kind",
    [
        KIND,
        replace(KIND, duration=timedelta(minutes=90), endpoint="https://ceph.example.com"),
        replace(KIND, then=AssumedRole(OTHER)),
        replace(KIND, then=AssumedRole(OTHER, "no", timedelta(minutes=15))),
        replace(
            KIND, session_policy=SessionPolicy.NONE, policy_arns=("arn:aws:iam::111122223333:policy/a/b",)
        ),
        AwsStatic("store"),
        AwsStatic("store", "1", "2", "3"),
    ],
)
def test_what_is_rendered_reads_back(kind: AwsWebIdentity | AwsStatic) -> None:
    [(name, body)] = rendered(kind).items()
    shape = {"awsWebIdentity": WEB_IDENTITY, "awsStatic": STATIC}[name]
    value, problems = read_shape(shape, write_documents([body]))
    assert problems == []
    assert value == kind
