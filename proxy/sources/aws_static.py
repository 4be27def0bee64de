"""An AWS access key pair in a mounted secret."""

import re
from collections.abc import Mapping
from typing import Final

from proxy.core.aws_sources import AwsStatic
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.sources import mounted_secret
from proxy.sources.steps import Failed, SourceSteps

# An id stands in a header between slashes and commas; the other two are text without blanks.
_ID: Final = re.compile(rb"[\x21-\x2b\x2d\x2e\x30-\x7e]{1,256}").fullmatch
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+").fullmatch
# What AWS makes ("IAM identifiers"): ids, long-term and temporary, and secrets of forty characters.
_AWS_ID: Final = re.compile(rb"A[KS]IA[A-Z0-9]{12,124}").fullmatch
_AWS_SECRET: Final = re.compile(rb"[A-Za-z0-9+/]{40}").fullmatch
TEMPORARY: Final = b"ASIA"


def acquire(kind: AwsStatic) -> SourceSteps:
    keys = [(Part.ACCESS_KEY_ID, kind.access_key_id), (Part.SECRET_ACCESS_KEY, kind.secret_access_key)]
    if kind.session_token is not None:
        keys.append((Part.SESSION_TOKEN, kind.session_token))
    outcome = yield from mounted_secret.acquire(MountedSecret(kind.secret_name, tuple(keys)))
    if isinstance(outcome, Failed):
        return outcome
    fault = _fault(kind, {part: secret.reveal() for part, secret in outcome.parts.items()})
    return outcome if fault is None else Failed(fault)


def _fault(kind: AwsStatic, values: Mapping[Part, bytes]) -> str | None:
    """What is wrong with the pair, in words that hold none of it."""
    secret = f"the secret `{kind.secret_name}`"
    key_id, key = values[Part.ACCESS_KEY_ID], values[Part.SECRET_ACCESS_KEY]
    if _AWS_ID(key) or (_AWS_SECRET(key_id) and len(key) < len(key_id)):
        return (
            f"{secret}: `{kind.access_key_id}` and `{kind.secret_access_key}` look swapped: the id is the "
            "short one (AKIA…)"
        )
    if not _ID(key_id):
        return f"{secret}: `{kind.access_key_id}` holds no access key id: write the id alone, without blanks"
    for part, name in (
        (Part.SECRET_ACCESS_KEY, kind.secret_access_key),
        (Part.SESSION_TOKEN, kind.session_token),
    ):
        if not _VISIBLE(values.get(part, b"-")):
            return f"{secret}: `{name}` holds blanks or odd bytes: write the value alone"
    if key_id.startswith(TEMPORARY) and _AWS_ID(key_id) and kind.session_token is None:
        return (
            f"{secret}: the access key id is a temporary one (ASIA…): name the key of its `sessionToken`, too"
        )
    return None
