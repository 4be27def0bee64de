"""A session policy from grants, so that the credential itself can do no more than the policy says.

The text is canonical: equal grants make equal bytes, whatever their order, for it is part of a lease's key.
What IAM cannot express is left wider than the grant (methods, paths, query, regions, a star in a bucket's
name before a prefix) and stays podkey's to hold; docs/sources/aws-web-identity.md lists it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from proxy.aws.partitions import COMMERCIAL, Partition, partition_of_arn
from proxy.aws.s3_actions import KMS_ACTIONS, KNOWN, LISTS_BY_PREFIX, ON_ACCOUNT, ON_BUCKETS, ON_OBJECTS
from proxy.core.aws_sources import AwsWebIdentity, SessionPolicy
from proxy.core.globs import Glob
from proxy.core.policy import Grant
from proxy.core.prefixes import KeyPrefixes
from proxy.core.services import Dialect, Operation, Service

# Plain text of inline and managed session policies together ("IAM and STS quotas", IAM User Guide).
MAX_POLICY_CHARACTERS: Final = 2048
BUCKET: Final = "bucket"
KEY: Final = "key"

WAYS_OUT: Final = (
    "give this source fewer grants or prefixes, let a second CredentialSource serve some of them, or bound "
    "the session yourself: `sessionPolicy: none` with `policyArns`"
)


@dataclass(frozen=True, slots=True)
class Underivable:
    """Why there is no session policy; `WAYS_OUT` says what to do. `grant` is the number of the culprit."""

    message: str
    grant: int = 0
    # It is not that grant alone: all of them together are too much.
    too_large: bool = False


class _Right(NamedTuple):
    """One action on one resource; `listing` bounds what it lists, `owner` who must own the bucket."""

    owner: str | None
    listing: str | None
    resource: str
    action: str


# A statement before it is written: what binds it, its actions and its resources.
_Bounds = tuple[str, tuple[str, ...]]
_Statement = tuple[_Bounds, tuple[str, ...], tuple[str, ...]]


def session_policy(kind: AwsWebIdentity, grants: Sequence[tuple[Grant, Service | None]]) -> str | Underivable:
    """What a session of this source is asked to be bounded by; empty where the source says `none`."""
    if kind.session_policy is SessionPolicy.NONE:
        return ""
    partition = partition_of_arn(kind.last_role) or COMMERCIAL
    rights: set[_Right] = set()
    for number, (grant, service) in enumerate(grants):
        fault = _fault(grant, service)
        if service is None or fault is not None:
            return Underivable(fault or "", number)
        rights.update(_rights(grant, service, partition))
    if not rights:
        return Underivable("the grants name nothing that a session policy could allow")
    if kind.endpoint is None:
        text = _text(rights, _kms(rights, partition))
    else:  # a store that speaks AWS's protocols knows neither its keys nor its accounts
        text = _text((right._replace(owner=None) for right in rights), [])
    if len(text) > MAX_POLICY_CHARACTERS:
        return Underivable(
            f"the session policy that the grants make has {len(text):,} characters, and STS takes "
            f"{MAX_POLICY_CHARACTERS:,}",
            too_large=True,
        )
    return text


def _fault(grant: Grant, service: Service | None) -> str | None:
    if service is None or service.dialect is not Dialect.S3_XML:
        what = "hosts" if grant.service is None else f"the service `{grant.service}`"
        return f"a session policy can be derived from grants on `s3` alone, and this one names {what}"
    names = {operation.name for operation in service.operations_of(grant)}
    unknown = sorted((names | (service.action_names & set(grant.actions))) - KNOWN)
    return f"what IAM calls the operation `{unknown[0]}` is not known" if unknown else None


# --- from a grant to rights --------------------------------------------------------------------------


def _rights(grant: Grant, service: Service, partition: Partition) -> Iterator[_Right]:
    prefixes = KeyPrefixes.of(grant.prefixes) if grant.prefixes else None
    operations = service.operations_of(grant)
    covered = {o.name for o in operations if prefixes is None or _shows_keys(o)}
    # What is named and is no operation is a right to send certain headers with one.
    names = covered | (set(grant.actions) - {o.name for o in operations})
    for action in _actions(names, ON_ACCOUNT):
        yield _Right(None, None, "*", action)
    for glob in dict(grant.pins).get(BUCKET, ()):
        bucket = f"arn:{partition.id}:s3:::{_pattern(glob)}"
        for action in _actions(names, ON_OBJECTS):
            for key in _keys(prefixes):
                yield _Right(grant.expected_bucket_owner, None, f"{bucket}/{key}", action)
        for action in _actions(names, ON_BUCKETS):
            for listing in _listings(action, prefixes):
                yield _Right(grant.expected_bucket_owner, listing, bucket, action)


def _actions(names: Iterable[str], table: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(action for name in names for action in table.get(name, ()))


def _shows_keys(operation: Operation) -> bool:
    """Whether a grant with prefixes can cover it.

    HeadBucket is left out although it can: to IAM it is ListBucket without a prefix, a listing of all.
    """
    if operation.keyless:
        return LISTS_BY_PREFIX.isdisjoint(ON_BUCKETS.get(operation.name, ()))
    return KEY in operation.captures or operation.prefix_from is not None


def _keys(prefixes: KeyPrefixes | None) -> list[str]:
    if prefixes is None:
        return ["*"]
    return [*map(_literal, prefixes.exact), *(f"{_literal(beginning)}*" for beginning in prefixes.beginnings)]


def _listings(action: str, prefixes: KeyPrefixes | None) -> list[str | None]:
    """A condition on `s3:prefix` fails where a request has none, so what covers all keys sets none."""
    if prefixes is None or "" in prefixes.beginnings or action not in LISTS_BY_PREFIX:
        return [None]
    return [f"{_literal(beginning)}*" for beginning in prefixes.beginnings]


def _literal(text: str) -> str:
    """What IAM would read as a wildcard or a variable, as the character that it is ("Policy variables")."""
    return re.sub(r"[*?]|\$(?=\{)", lambda found: f"${{{found[0]}}}", text)


def _pattern(glob: Glob) -> str:
    return "*".join(_literal(piece) for piece in glob.text.split("*"))


# --- from rights to text -----------------------------------------------------------------------------


def _text(rights: Iterable[_Right], more: list[Mapping[str, object]]) -> str:
    """The shorter of two ways to gather: the actions of a resource, or the resources of an action."""
    bound: dict[tuple[str, str, str], set[str | None]] = {}
    for right in rights:
        bound.setdefault((right.owner or "", right.resource, right.action), set()).add(right.listing)
    singles = [
        # Unbounded in one grant is unbounded.
        ((owner, () if None in listings else tuple(sorted(filter(None, listings)))), action, resource)
        for (owner, resource, action), listings in bound.items()
    ]
    by_actions = [(b, actions, resources) for b, resources, actions in _gathered(singles, 2, 1)]
    by_resources = _gathered(singles, 1, 2)
    return min(
        (_written([*map(_statement, sorted(ways)), *more]) for ways in (by_actions, by_resources)),
        key=lambda text: (len(text), text),
    )


def _gathered(singles: Iterable[tuple[_Bounds, str, str]], one: int, many: int) -> list[_Statement]:
    """Statements whose things at place `one` share the same set of things at place `many`."""
    sets: dict[tuple[_Bounds, str], set[str]] = {}
    for single in singles:
        sets.setdefault((single[0], str(single[one])), set()).add(str(single[many]))
    alike: dict[tuple[_Bounds, tuple[str, ...]], set[str]] = {}
    for (bounds, name), found in sets.items():
        alike.setdefault((bounds, tuple(sorted(found))), set()).add(name)
    return [(bounds, tuple(sorted(names)), found) for (bounds, found), names in alike.items()]


def _statement(statement: _Statement) -> Mapping[str, object]:
    (owner, listings), actions, resources = statement
    conditions: dict[str, object] = {}
    if owner:
        conditions["StringEquals"] = {"s3:ResourceAccount": owner}
    if listings:
        conditions["StringLike"] = {"s3:prefix": _one_or_many(listings)}
    written: dict[str, object] = {
        "Effect": "Allow",
        "Action": _one_or_many(actions),
        "Resource": _one_or_many(resources),
    }
    return {**written, "Condition": conditions} if conditions else written


def _kms(rights: Iterable[_Right], partition: Partition) -> list[Mapping[str, object]]:
    """Keys are opened by S3 for this session, and by nobody else; which objects, the other statements say."""
    actions = tuple(sorted({kms for right in rights for kms in KMS_ACTIONS.get(right.action, ())}))
    if not actions:
        return []
    through = {"StringLike": {"kms:ViaService": f"s3.*.{partition.dns_suffix}"}}
    allowed = {"Effect": "Allow", "Action": _one_or_many(actions), "Resource": "*", "Condition": through}
    return [allowed]


def _one_or_many(texts: tuple[str, ...]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else list(texts)


def _written(statements: list[Mapping[str, object]]) -> str:
    # Plain ASCII: STS takes characters up to U+00FF, and keys may hold any.
    policy = {"Version": "2012-10-17", "Statement": statements}
    return json.dumps(policy, sort_keys=True, separators=(",", ":"))
