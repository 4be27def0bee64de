"""`awsWebIdentity` and `awsStatic`: credentials for AWS and for S3-compatible stores."""

import re
from datetime import timedelta
from typing import Any, Final

from proxy.aws.partitions import is_region, partition_of, partition_of_arn
from proxy.core.aws_sources import (
    ACCESS_KEY_ID,
    DEFAULT_SESSION,
    MAX_POLICY_ARNS,
    SECRET_ACCESS_KEY,
    STS_AUDIENCE,
    AssumedRole,
    AwsStatic,
    AwsWebIdentity,
    SessionPolicy,
)
from proxy.documents import values
from proxy.documents.problems import Fault
from proxy.documents.shapes import Choice, Field, ListOf, Record, Text
from proxy.documents.source_values import AUDIENCE, BASE_URL, duration, written

# IAM's own limits: a path of 512 characters and a name of 64 (128 for a policy's).
_PATH: Final = r"(?:[\x21-\x7e]{1,510}/)?"
_ACCOUNT: Final = "[0-9]{12}"
# Ceph's roles belong to no account, to a tenant or to an account of its own kind (`RGW…`).
_STORE_ACCOUNT: Final = r"[A-Za-z0-9_-]{0,64}"
_ROLE: Final = re.compile(
    rf"arn:[a-z-]+:iam::({_STORE_ACCOUNT}):role/{_PATH}[A-Za-z0-9_+=,.@-]{{1,64}}"
).fullmatch
_POLICY: Final = re.compile(
    rf"arn:[a-z-]+:iam::(?:{_ACCOUNT}|aws):policy/{_PATH}[A-Za-z0-9_+=,.@-]{{1,128}}"
).fullmatch
_IS_ACCOUNT: Final = re.compile(_ACCOUNT).fullmatch
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}").fullmatch
# Ceph's region is the name of a zone group.
_STORE_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}").fullmatch

_ROLE_FIX: Final = "write the role's ARN, such as `arn:aws:iam::111122223333:role/training`"


def _known_partition(arn: str) -> None:
    if arn.startswith("arn:") and partition_of_arn(arn) is None:
        named = arn.split(":")[1]
        fix = "write `arn:aws:…`, or the partition of your region: aws-cn, aws-us-gov, aws-eusc, aws-iso…"
        raise Fault(f"`{named[:32]}` is no partition of AWS", fix)


def _role_arn(text: str) -> str:
    _known_partition(text)
    if ":assumed-role/" in text:
        role = text.partition(":assumed-role/")[2].split("/")[0]
        raise Fault(f"`{text}` is a session of a role, not the role", f"write `arn:…:iam::…:role/{role}`")
    if not _ROLE(text):
        raise Fault(f"`{text[:80]}` is not the ARN of a role", _ROLE_FIX)
    return text


def _policy_arn(text: str) -> str:
    _known_partition(text)
    if not _POLICY(text):
        fix = "write it as `arn:aws:iam::111122223333:policy/read-data`, or `arn:aws:iam::aws:policy/…`"
        raise Fault(f"`{text[:80]}` is not the ARN of a managed policy", fix)
    return text


def _external_id(text: str) -> str:
    if not _EXTERNAL_ID(text):
        fix = (
            "use 2 to 1,224 letters, digits and `_+=,.@:/-`, as in the condition `sts:ExternalId` of the role"
        )
        raise Fault("it is not an external id", fix)
    return text


def _region(text: str) -> str:
    if not _STORE_REGION(text):
        raise Fault(f"`{text[:80]}` is not a region", "write it as in host names, such as `eu-central-1`")
    return text


ROLE_ARN: Final = Text("a role's ARN", _role_arn, "^arn:", ("arn:aws:iam::111122223333:role/training",))
POLICY_ARN: Final = Text(
    "a managed policy's ARN", _policy_arn, "^arn:", ("arn:aws:iam::111122223333:policy/read-data",)
)
EXTERNAL_ID: Final = Text("an external id", _external_id)
REGION: Final = Text("a region", _region, examples=("eu-central-1",))

ASSUMED_ROLE: Final = Record(
    "a role to assume",
    (
        Field("roleArn", ROLE_ARN, "The second role. Its trust policy names the first one.", required=True),
        Field("externalId", EXTERNAL_ID, "The external id that its trust policy asks for, where it does."),
        Field(
            "duration",
            duration("a lifetime", "15m", "1h"),
            "How long each session lives; 1h where it is left out. AWS ends a chained session after an hour.",
        ),
    ),
    AssumedRole,
)


def _web_identity(  # noqa: PLR0917 - a record's builder is called by keyword
    role_arn: str,
    region: str,
    audience: str = STS_AUDIENCE,
    duration: timedelta | None = None,
    session_policy: SessionPolicy = SessionPolicy.FROM_GRANTS,
    policy_arns: tuple[str, ...] = (),
    endpoint: str | None = None,
    then: AssumedRole | None = None,
) -> AwsWebIdentity:
    if then is not None and duration is not None:
        fix = "move it into `then`: the session of the second role is the one that is used"
        raise Fault("the first role's session is used once, for the second role", fix, at="duration")
    if policy_arns and session_policy is SessionPolicy.FROM_GRANTS:
        message = (
            "managed policies would widen the session: AWS allows what any of its session policies allows"
        )
        raise Fault(message, "add `sessionPolicy: none`, or remove `policyArns`", at="policyArns")
    if endpoint is None:
        _require_aws(region, role_arn, then, policy_arns)
    lifetime = duration or DEFAULT_SESSION
    return AwsWebIdentity(role_arn, region, audience, lifetime, session_policy, policy_arns, endpoint, then)


def _require_aws(region: str, role_arn: str, then: AssumedRole | None, policy_arns: tuple[str, ...]) -> None:
    """What only AWS knows: that regions and ARNs are of one partition, and accounts have twelve digits."""
    if is_region(region[:-1]) and region[-1:].isalpha():
        raise Fault(f"`{region}` is an availability zone", f"write `{region[:-1]}`", at="region")
    if not is_region(region):
        fix = "write a region such as `eu-central-1`; a store of your own needs its `endpoint`"
        raise Fault(f"`{region}` is not a region of AWS", fix, at="region")
    partition = partition_of(region).id
    named = {"roleArn": role_arn}
    if then is not None:
        named["then.roleArn"] = then.role_arn
    for at, arn in named.items():
        account = arn.split(":")[4]
        if not _IS_ACCOUNT(account):
            raise Fault(f"`{account}` is not an AWS account id", "write its twelve digits", at=at)
    named.update({f"policyArns[{index}]": arn for index, arn in enumerate(policy_arns)})
    for at, arn in named.items():
        theirs = arn.split(":")[1]
        if theirs != partition:
            fix = f"write `arn:{partition}:…`, or a region of `{theirs}`"
            raise Fault(f"`{theirs}` is not the partition of `{region}`", fix, at=at)


WEB_IDENTITY: Final = Record(
    "an AWS web identity",
    (
        Field(
            "roleArn",
            ROLE_ARN,
            "The role. Its trust policy names the cluster's issuer, the audience and the service account.",
            required=True,
        ),
        Field(
            "region", REGION, "The region whose STS is asked, and in whose name it answers.", required=True
        ),
        Field(
            "audience",
            AUDIENCE,
            f"The audience of the pod's token; `{STS_AUDIENCE}` where it is left out.",
        ),
        Field(
            "duration",
            duration("a lifetime", "15m", "12h"),
            "How long each session lives; 1h where it is left out. At most the role's maximum.",
        ),
        Field(
            "sessionPolicy",
            Choice(SessionPolicy),
            "`fromGrants` (default): the session may do what the grants with this source say, and no more. "
            "`none`: what the role may, less what `policyArns` leave out.",
        ),
        Field(
            "policyArns",
            ListOf(POLICY_ARN, most=MAX_POLICY_ARNS),
            "Managed policies that bound the session, with `sessionPolicy: none`. They are in the account of "
            "the last role.",
        ),
        Field(
            "endpoint",
            BASE_URL,
            "The STS of an S3-compatible store, such as Ceph's; that of the region where it is left out.",
        ),
        Field("then", ASSUMED_ROLE, "A second role, which the first one assumes: often in another account."),
    ),
    _web_identity,
)


def _static(
    secret_name: str,
    access_key_id: str = ACCESS_KEY_ID,
    secret_access_key: str = SECRET_ACCESS_KEY,
    session_token: str | None = None,
) -> AwsStatic:
    keys = [access_key_id, secret_access_key, *([session_token] if session_token is not None else [])]
    if len(set(keys)) < len(keys):
        raise Fault("one key of the Secret cannot hold two parts", "name a key of its own for each")
    return AwsStatic(secret_name, access_key_id, secret_access_key, session_token)


STATIC: Final = Record(
    "a static AWS key pair",
    (
        Field(
            "secretName",
            values.NAME,
            "The Kubernetes Secret. It is mounted in the sidecar, never in the application.",
            required=True,
        ),
        Field(
            "accessKeyId",
            values.SECRET_KEY,
            f"The key that holds the access key id; `{ACCESS_KEY_ID}` where it is left out.",
        ),
        Field(
            "secretAccessKey",
            values.SECRET_KEY,
            f"The key that holds the secret access key; `{SECRET_ACCESS_KEY}` where it is left out.",
        ),
        Field("sessionToken", values.SECRET_KEY, "The key that holds the session token, where there is one."),
    ),
    _static,
)

FIELDS: Final = (
    Field(
        "awsWebIdentity",
        WEB_IDENTITY,
        "A session of an IAM role for the pod's own token (AssumeRoleWithWebIdentity): nothing is stored, "
        "and the session can do no more than the grants that use it.",
    ),
    Field(
        "awsStatic",
        STATIC,
        "An access key pair in a mounted secret, for S3-compatible stores without a token exchange. It lives "
        "as long as you leave it.",
    ),
)


def rendered(kind: AwsWebIdentity | AwsStatic) -> dict[str, Any]:
    if isinstance(kind, AwsWebIdentity):
        return {"awsWebIdentity": _rendered_identity(kind)}
    keys = {
        "secretName": kind.secret_name,
        "accessKeyId": kind.access_key_id,
        "secretAccessKey": kind.secret_access_key,
    }
    return {"awsStatic": keys | ({"sessionToken": kind.session_token} if kind.session_token else {})}


def _rendered_identity(kind: AwsWebIdentity) -> dict[str, Any]:
    found: dict[str, Any] = {
        "roleArn": kind.role_arn,
        "region": kind.region,
        "audience": kind.audience,
        "sessionPolicy": kind.session_policy.value,
    }
    if kind.policy_arns:
        found["policyArns"] = list(kind.policy_arns)
    if kind.endpoint is not None:
        found["endpoint"] = kind.endpoint
    if kind.then is None:
        return found | {"duration": written(kind.duration)}
    then = {"roleArn": kind.then.role_arn, "duration": written(kind.then.duration)}
    if kind.then.external_id is not None:
        then["externalId"] = kind.then.external_id
    return found | {"then": then}
