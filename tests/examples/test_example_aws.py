"""09-aws-irsa: what is set up at AWS fits the policy, and allows no more than the job needs."""

import json
import shlex
import subprocess
from typing import Any

import pytest

from proxy.core.credentials import AwsWebIdentity
from proxy.documents.reader import read_documents
from proxy.services.loader import built_in_catalogue
from tests.console_blocks import ROOT, console_blocks
from tests.example_manifests import objects_of, story
from tests.iam import allows
from tests.s3_world import VENVS, missing

FOLDER = story("09")
PERMISSIONS = (FOLDER / "permissions.json").read_text()
ISSUER = "oidc.acme.example/cluster-1"
SALES, FORECASTS = "arn:aws:s3:::acme-sales", "arn:aws:s3:::acme-forecasts"
DAILY = {"s3:prefix": "daily/"}


def source() -> AwsWebIdentity:
    files = {"policy": (FOLDER / "policy.yaml").read_bytes()}
    (found,) = read_documents(files, built_in_catalogue()).documents.sources
    assert isinstance(found.kind, AwsWebIdentity)
    return found.kind


def trust() -> dict[str, Any]:
    (statement,) = json.loads((FOLDER / "trust-policy.json").read_text())["Statement"]
    found: dict[str, Any] = statement
    return found


def test_the_role_trusts_the_service_account_of_the_job_and_the_audience_of_its_token() -> None:
    (job,) = objects_of(FOLDER / "job.json")
    account = job["spec"]["template"]["spec"]["serviceAccountName"]

    assert trust()["Condition"]["StringEquals"] == {
        f"{ISSUER}:sub": f"system:serviceaccount:{job['metadata']['namespace']}:{account}",
        f"{ISSUER}:aud": source().audience,
    }
    assert trust()["Action"] == "sts:AssumeRoleWithWebIdentity"


def test_role_and_provider_are_of_the_account_that_the_policy_names() -> None:
    account = source().role_arn.split(":")[4]

    assert trust()["Principal"] == {"Federated": f"arn:aws:iam::{account}:oidc-provider/{ISSUER}"}
    assert f'expectedBucketOwner: "{account}"' in (FOLDER / "policy.yaml").read_text()


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:GetObject", f"{SALES}/daily/a", True),
        ("s3:GetObject", f"{FORECASTS}/daily/a", True),
        ("s3:PutObject", f"{FORECASTS}/daily/a", True),
        ("s3:AbortMultipartUpload", f"{FORECASTS}/daily/a", True),
        ("s3:ListBucket", SALES, True),
        ("s3:ListBucket", FORECASTS, True),
        ("s3:PutObject", f"{SALES}/daily/a", False),
        ("s3:GetObject", f"{SALES}/customers/a", False),
        ("s3:DeleteObject", f"{FORECASTS}/daily/a", False),
        ("s3:ListBucket", "arn:aws:s3:::acme-checkpoints", False),
    ],
)
def test_the_role_may_do_what_the_grants_say_and_no_more(action: str, resource: str, allowed: bool) -> None:  # noqa: FBT001
    assert allows(PERMISSIONS, action, resource, DAILY) is allowed


def test_the_role_lists_below_the_prefix_alone() -> None:
    assert not allows(PERMISSIONS, "s3:ListBucket", SALES, {"s3:prefix": "customers/"})
    assert not allows(PERMISSIONS, "s3:ListBucket", SALES)


def test_the_readme_makes_what_the_documents_name() -> None:
    text = (FOLDER / "README.md").read_text()

    assert f"--url https://{ISSUER} --client-id-list {source().audience}" in text
    assert f"--role-name {source().role_arn.rpartition('/')[2]}" in text


# --- the commands ---------------------------------------------------------------------------------------

AWS = VENVS / "awscli" / "bin" / "python"
COMMANDS = [
    command.text
    for block in console_blocks(FOLDER / "README.md")
    for command in block.commands
    # `s3 cp` is no call of the API, and so has no model to be checked against.
    if command.text.startswith(("aws iam ", "aws eks "))
]


def objections(command: str) -> list[str]:
    """What the AWS command line says to it; it answers with a made-up answer, and calls nobody."""
    words = shlex.split(command.replace("\\\n", " "))[1:]
    done = subprocess.run(
        [AWS, "-m", "awscli", *words, "--generate-cli-skeleton", "output"],
        cwd=ROOT,
        env={"AWS_DEFAULT_REGION": "eu-central-1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    marks = ("aws:", "Invalid", "Missing", "Unknown")
    said = [line for line in done.stderr.splitlines() if line.startswith(marks)]
    # Its own made-up role breaks the rules for roles.
    return [line for line in said if "parameter Role." not in line]


def test_there_is_a_command_for_each_step() -> None:
    calls = {" ".join(command.split()[1:3]) for command in COMMANDS}

    assert calls == {
        "eks describe-cluster",
        "iam create-open-id-connect-provider",
        "iam create-role",
        "iam put-role-policy",
    }


@pytest.mark.skipif(bool(missing("awscli")), reason=missing("awscli"))
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[:3]))
def test_the_aws_command_line_takes_the_command(command: str) -> None:
    assert objections(command) == []


@pytest.mark.skipif(bool(missing("awscli")), reason=missing("awscli"))
@pytest.mark.parametrize(
    "command",
    [
        "aws iam create-role --role-name forecast --assume-role-policy-document {} --no-such 1",
        "aws iam create-roll --role-name forecast",
    ],
)
def test_it_does_not_take_every_command(command: str) -> None:
    assert objections(command) != []
