"""What a credential is made of, and where a part of one may be mounted."""

from enum import Enum

from proxy.core.structs import Struct


class Part(Enum):
    """What one credential is made of. A scheme says which parts it needs."""

    TOKEN = "token"  # noqa: S105 - the name of a field, not a secret
    USERNAME = "username"
    PASSWORD = "password"  # noqa: S105 - likewise
    ACCESS_KEY_ID = "accessKeyId"
    SECRET_ACCESS_KEY = "secretAccessKey"  # noqa: S105 - likewise
    SESSION_TOKEN = "sessionToken"  # noqa: S105 - likewise


class SecretKey(Struct, frozen=True):
    """One key of a Kubernetes Secret, mounted in the sidecar only: with it a source itself is let in."""

    secret_name: str
    key: str
