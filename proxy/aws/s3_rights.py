"""What a grant on S3 allows, in IAM's words: on buckets, access points and directory buckets.

ARNs as in "Actions, resources, and condition keys for Amazon S3", "… for Amazon S3 Express" and "… for Amazon
S3 Object Lambda" (Service Authorization Reference). A star in a grant does not reach from one kind of name to
another: `data-*` is buckets, and no access point or directory bucket.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from proxy.aws.express import READ_ONLY
from proxy.aws.partitions import Partition
from proxy.aws.rights import Bound, Right, literal, pattern
from proxy.aws.s3_actions import CREATE_SESSION, LISTS_BY_PREFIX, ON_ACCOUNT, ON_BUCKETS, ON_OBJECTS
from proxy.core.globs import Glob
from proxy.core.policy import Access, Grant
from proxy.core.prefixes import KeyPrefixes
from proxy.core.services import Operation, Service
from proxy.core.structs import Struct, replace

BUCKET: Final = "bucket"
KEY: Final = "key"

# How a grant names what is no bucket.
_ARN: Final = "arn:"
_OBJECT_LAMBDA: Final = ":s3-object-lambda:"
_MULTI_REGION: Final = ".mrap"
_DIRECTORY: Final = "--x-s3"
_DIRECTORY_ACCESS_POINT: Final = "--xa-s3"

_READS: Final = frozenset({Access.READ, Access.LIST})
_THROUGH_OBJECT_LAMBDA: Final = (
    ("ForAnyValue:StringEquals", "aws:CalledVia", "s3-object-lambda.amazonaws.com"),
)


def s3_rights(grant: Grant, service: Service, partition: Partition, *, at_amazon: bool) -> Iterator[Right]:
    """A store of one's own knows buckets alone, and nothing of accounts."""
    prefixes = KeyPrefixes.of(grant.prefixes) if grant.prefixes else None
    operations = [o for o in service.operations_of(grant) if prefixes is None or _shows_keys(o)]
    # What is named and is no operation is a right to send certain headers with one.
    names = {o.name for o in operations} | (set(grant.actions) - {o.name for o in service.operations})
    for action in _actions(names, ON_ACCOUNT):
        yield Right("*", action)
    only_reads = all(operation.access in _READS for operation in operations)
    tenant = _Tenant(names, prefixes, partition, grant.expected_bucket_owner, only_reads=only_reads)
    if not at_amazon:
        tenant = replace(tenant, owner=None)
    for glob in dict(grant.pins).get(BUCKET, ()):
        yield from tenant.rights(glob) if at_amazon or _is_bucket(glob) else ()


def _actions(names: Iterable[str], table: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(action for name in names for action in table.get(name, ()))


def _shows_keys(operation: Operation) -> bool:
    """Whether a grant with prefixes can cover it.

    HeadBucket is left out although it can: to IAM it is ListBucket without a prefix, a listing of all.
    """
    if operation.keyless:
        return LISTS_BY_PREFIX.isdisjoint(ON_BUCKETS.get(operation.name, ()))
    return KEY in operation.captures or operation.prefix_from is not None or operation.body_keys


def _is_bucket(glob: Glob) -> bool:
    kinds = (_MULTI_REGION, _DIRECTORY, _DIRECTORY_ACCESS_POINT)
    return not glob.text.startswith(_ARN) and not glob.text.endswith(kinds)


class _Tenant(Struct, frozen=True):
    """What may be done with whatever the grant's `buckets` name."""

    names: set[str]
    prefixes: KeyPrefixes | None
    partition: Partition
    owner: str | None
    only_reads: bool

    def rights(self, glob: Glob) -> Iterator[Right]:
        name = pattern(glob)
        if glob.text.startswith(_ARN):
            lambdas = _OBJECT_LAMBDA in glob.text
            return self._through_object_lambda(name) if lambdas else self._through_access_point(name)
        if glob.text.endswith(_MULTI_REGION):
            # "Multi-Region Access Points": their ARNs name no region, and the host does not show the account.
            return self._through_access_point(f"{self._arn('s3')}:{self.owner or '*'}:accesspoint/{name}")
        if glob.text.endswith(_DIRECTORY):
            return self._sessions(f"bucket/{name}")
        if glob.text.endswith(_DIRECTORY_ACCESS_POINT):
            return self._sessions_through_access_point(f"accesspoint/{name}")
        return self._in_bucket(f"{self._arn('s3')}::{name}", self._of_owner())

    def _arn(self, service: str) -> str:
        return f"arn:{self.partition.id}:{service}:"

    def _of_owner(self) -> tuple[Bound, ...]:
        return (("StringEquals", "s3:ResourceAccount", self.owner),) if self.owner else ()

    def _in_bucket(self, arn: str, bounds: tuple[Bound, ...], objects: str = "/") -> Iterator[Right]:
        for action in _actions(self.names, ON_OBJECTS):
            for key in self._keys():
                yield Right(f"{arn}{objects}{key}", action, bounds)
        for action in _actions(self.names, ON_BUCKETS):
            for listing in self._listings(action):
                yield Right(arn, action, bounds, listing)

    def _through_access_point(self, arn: str) -> Iterator[Right]:
        """Both it and the bucket behind it must permit a request ("Configuring IAM policies for using access
        points"). The bucket's name is not known, so it is bounded by the way to it."""
        yield from self._in_bucket(arn, (), "/object/")
        through = (("StringLike", "s3:DataAccessPointArn", arn), *self._of_owner())
        yield from self._in_bucket(f"{self._arn('s3')}::*", through)

    def _through_object_lambda(self, arn: str) -> Iterator[Right]:
        """It, its function, and the access point and the bucket behind that ("Configuring IAM policies for
        Object Lambda Access Points"). IAM has no resource for its objects: podkey alone holds prefixes."""
        for action in _actions(self.names, ON_OBJECTS) | _actions(self.names, ON_BUCKETS):
            yield Right(arn, action.replace("s3:", "s3-object-lambda:", 1))
            yield Right("*", action, _THROUGH_OBJECT_LAMBDA)
            yield Right("*", "lambda:InvokeFunction", _THROUGH_OBJECT_LAMBDA)

    def _sessions(self, what: str) -> Iterator[Right]:
        """A session is for the whole bucket, so podkey alone holds prefixes and operations ("Authorizing
        Zonal endpoint API operations with CreateSession", S3 User Guide)."""
        if self._does_anything():
            arn = f"{self._arn('s3express')}*:{self.owner or '*'}:{what}"
            yield Right(arn, CREATE_SESSION, self._mode())

    def _sessions_through_access_point(self, what: str) -> Iterator[Right]:
        for right in self._sessions(what):
            yield right
            through = ("StringLike", "s3express:DataAccessPointArn", right.resource)
            bucket = f"{self._arn('s3express')}*:{self.owner or '*'}:bucket/*"
            yield Right(bucket, CREATE_SESSION, (*right.bounds, through))

    def _does_anything(self) -> bool:
        return bool(_actions(self.names, ON_OBJECTS) or _actions(self.names, ON_BUCKETS))

    def _mode(self) -> tuple[Bound, ...]:
        return (("StringEquals", "s3express:SessionMode", READ_ONLY),) if self.only_reads else ()

    def _keys(self) -> list[str]:
        if self.prefixes is None:
            return ["*"]
        beginnings = (f"{literal(beginning)}*" for beginning in self.prefixes.beginnings)
        return [*map(literal, self.prefixes.exact), *beginnings]

    def _listings(self, action: str) -> list[str | None]:
        """A condition on `s3:prefix` fails where a request has none, so what covers all keys sets none."""
        if self.prefixes is None or "" in self.prefixes.beginnings or action not in LISTS_BY_PREFIX:
            return [None]
        return [f"{literal(beginning)}*" for beginning in self.prefixes.beginnings]
