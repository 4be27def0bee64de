"""Credentials for AWS and for what speaks its protocols: exchanged for the pod's token, or mounted."""

from datetime import timedelta
from enum import Enum
from typing import Final

from proxy.core.parts import Part
from proxy.core.structs import Struct

# STS gives no session of less, and the SDKs' own default is an hour.
SHORTEST_SESSION: Final = timedelta(minutes=15)
DEFAULT_SESSION: Final = timedelta(hours=1)
# What a role may be set to at most, and where AWS ends a session that was reached from another role's.
LONGEST_SESSION: Final = timedelta(hours=12)
LONGEST_CHAINED_SESSION: Final = timedelta(hours=1)
# AssumeRole takes no more of them.
MAX_POLICY_ARNS: Final = 10

STS_AUDIENCE: Final = "sts.amazonaws.com"

# What the keys of a Secret are called where a document does not say.
ACCESS_KEY_ID: Final = "accessKeyId"
SECRET_ACCESS_KEY: Final = "secretAccessKey"  # noqa: S105 - the name of a key in a Secret, not a secret

_KEY_PAIR: Final = frozenset({Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY})


class SessionPolicy(Enum):
    """What bounds the session beside the role itself."""

    FROM_GRANTS = "fromGrants"
    NONE = "none"


class AssumedRole(Struct, frozen=True):
    """A second role, which the first one may assume: often one in another account."""

    role_arn: str
    external_id: str | None = None
    duration: timedelta = DEFAULT_SESSION


class AwsWebIdentity(Struct, frozen=True):
    """AssumeRoleWithWebIdentity with the pod's projected token, and one further AssumeRole where `then` says.

    `duration` is the lifetime of the session that is used: with `then`, that of the second role counts.
    """

    role_arn: str
    region: str
    audience: str = STS_AUDIENCE
    duration: timedelta = DEFAULT_SESSION
    session_policy: SessionPolicy = SessionPolicy.FROM_GRANTS
    policy_arns: tuple[str, ...] = ()
    # The STS of an S3-compatible store; None: that of the region.
    endpoint: str | None = None
    then: AssumedRole | None = None

    @property
    def parts(self) -> frozenset[Part]:
        return _KEY_PAIR | {Part.SESSION_TOKEN}

    @property
    def last_role(self) -> str:
        """The role whose credential goes onto requests."""
        return self.then.role_arn if self.then is not None else self.role_arn


class AwsStatic(Struct, frozen=True):
    """An access key pair in a mounted secret, for stores that know no better."""

    secret_name: str
    access_key_id: str = ACCESS_KEY_ID
    secret_access_key: str = SECRET_ACCESS_KEY
    session_token: str | None = None

    @property
    def parts(self) -> frozenset[Part]:
        return _KEY_PAIR | ({Part.SESSION_TOKEN} if self.session_token is not None else frozenset())
