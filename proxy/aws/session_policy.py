"""A session policy from grants, so that the credential itself can do no more than the policy says.

The text is canonical: equal grants make equal bytes, whatever their order, for it is part of a lease's key.
What IAM cannot express is left wider than the grant (methods, paths, query, most regions, a star in a
bucket's name before a prefix) and stays podkey's to hold; docs/sources/aws-web-identity.md lists it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from proxy.aws import service_rights
from proxy.aws.partitions import COMMERCIAL, Partition, partition_of_arn
from proxy.aws.rights import Bound, Right
from proxy.aws.s3_actions import CREATE_SESSION, KMS_ACTIONS, KNOWN
from proxy.aws.s3_rights import s3_rights
from proxy.core.aws_sources import AwsWebIdentity, SessionPolicy
from proxy.core.policy import Grant
from proxy.core.services import Dialect, Service
from proxy.core.structs import Struct

# Plain text of inline and managed session policies together ("IAM and STS quotas", IAM User Guide).
MAX_POLICY_CHARACTERS: Final = 2048

WAYS_OUT: Final = (
    "give this source fewer grants or prefixes, let a second CredentialSource serve some of them, or bound "
    "the session yourself: `sessionPolicy: none` with `policyArns`"
)
_DERIVED_FROM: Final = "`s3`, `bedrock-runtime`, `sagemaker-runtime` and `ecr`"


class Underivable(Struct, frozen=True):
    """Why there is no session policy; `WAYS_OUT` says what to do. `grant` is the number of the culprit."""

    message: str
    grant: int = 0
    # It is not that grant alone: all of them together are too much.
    too_large: bool = False


# A statement before it is written: what binds it, its actions and its resources.
_Bounds = tuple[tuple[Bound, ...], tuple[str, ...]]
_Statement = tuple[_Bounds, tuple[str, ...], tuple[str, ...]]


def session_policy(kind: AwsWebIdentity, grants: Sequence[tuple[Grant, Service | None]]) -> str | Underivable:
    """What a session of this source is asked to be bounded by; empty where the source says `none`."""
    if kind.session_policy is SessionPolicy.NONE:
        return ""
    partition = partition_of_arn(kind.last_role) or COMMERCIAL
    at_amazon = kind.endpoint is None
    rights: set[Right] = set()
    for number, (grant, service) in enumerate(grants):
        fault = _fault(grant, service, at_amazon=at_amazon)
        if service is None or fault is not None:
            return Underivable(fault or "", number)
        rights.update(_rights(grant, service, partition, at_amazon=at_amazon))
    if not rights:
        return Underivable("the grants name nothing that a session policy could allow")
    # A store that speaks AWS's protocols knows no keys of KMS.
    text = _text(_needed(rights), [*_kms(rights, partition)] if at_amazon else [])
    if len(text) > MAX_POLICY_CHARACTERS:
        return Underivable(
            f"the session policy that the grants make has {len(text):,} characters, and STS takes "
            f"{MAX_POLICY_CHARACTERS:,}",
            too_large=True,
        )
    return text


def _fault(grant: Grant, service: Service | None, *, at_amazon: bool) -> str | None:
    known = _known(service, at_amazon=at_amazon)
    if service is None or known is None:
        what = "hosts" if grant.service is None else f"the service `{grant.service}`"
        only = _DERIVED_FROM if at_amazon else "`s3`"
        return f"a session policy can be derived from grants on {only} alone, and this one names {what}"
    names = {operation.name for operation in service.operations_of(grant)}
    unknown = sorted((names | (service.action_names & set(grant.actions))) - known)
    return f"what IAM calls the operation `{unknown[0]}` is not known" if unknown else None


def _known(service: Service | None, *, at_amazon: bool) -> frozenset[str] | None:
    """The operations of the service that IAM has words for, as far as we know them."""
    if service is None:
        return None
    if service.dialect is Dialect.S3_XML:
        return KNOWN
    # Entries of a policy folder cannot have these names.
    return service_rights.KNOWN.get(service.name) if at_amazon else None


def _rights(grant: Grant, service: Service, partition: Partition, *, at_amazon: bool) -> Iterator[Right]:
    if service.dialect is Dialect.S3_XML:
        return s3_rights(grant, service, partition, at_amazon=at_amazon)
    return service_rights.service_rights(grant, service, partition)


def _needed(rights: Iterable[Right]) -> list[Right]:
    """Without those that a grant bounds and another one does not."""
    every = list(rights)
    free = {(right.resource, right.action) for right in every if right.is_free}
    return [right for right in every if right.is_free or (right.resource, right.action) not in free]


# --- from rights to text -----------------------------------------------------------------------------


def _text(rights: Iterable[Right], more: list[Mapping[str, object]]) -> str:
    """The shorter of two ways to gather: the actions of a resource, or the resources of an action."""
    bound: dict[tuple[tuple[Bound, ...], str, str], set[str | None]] = {}
    for right in rights:
        bound.setdefault((right.bounds, right.resource, right.action), set()).add(right.listing)
    singles = [
        # Unbounded in one grant is unbounded.
        ((bounds, () if None in listings else tuple(sorted(filter(None, listings)))), action, resource)
        for (bounds, resource, action), listings in bound.items()
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
    (bounds, listings), actions, resources = statement
    conditions: dict[str, dict[str, object]] = {}
    for operator, key, value in bounds:
        conditions.setdefault(operator, {})[key] = value
    if listings:
        conditions.setdefault("StringLike", {})["s3:prefix"] = _one_or_many(listings)
    written: dict[str, object] = {
        "Effect": "Allow",
        "Action": _one_or_many(actions),
        "Resource": _one_or_many(resources),
    }
    return {**written, "Condition": conditions} if conditions else written


def _kms(rights: Iterable[Right], partition: Partition) -> Iterator[Mapping[str, object]]:
    """Keys are opened by S3 for this session, and by nobody else; which objects, the other statements say."""
    found = [right for right in rights if right.action in KMS_ACTIONS]
    actions = tuple(sorted({kms for right in found for kms in KMS_ACTIONS[right.action]}))
    services = sorted({"s3express" if right.action == CREATE_SESSION else "s3" for right in found})
    if actions:
        via = _one_or_many(tuple(f"{service}.*.{partition.dns_suffix}" for service in services))
        through = {"StringLike": {"kms:ViaService": via}}
        yield {"Effect": "Allow", "Action": _one_or_many(actions), "Resource": "*", "Condition": through}


def _one_or_many(texts: tuple[str, ...]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else list(texts)


def _written(statements: list[Mapping[str, object]]) -> str:
    # Plain ASCII: STS takes characters up to U+00FF, and keys may hold any.
    policy = {"Version": "2012-10-17", "Statement": statements}
    return json.dumps(policy, sort_keys=True, separators=(",", ":"))
