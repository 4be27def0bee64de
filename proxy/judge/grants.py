"""One grant, made ready to be asked: does it cover this request, and if not, what does it lack first?"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import takewhile
from typing import Final

from proxy.core.credentials import AttachScheme, Bearer, CredentialRef
from proxy.core.globs import Glob
from proxy.core.identity import WorkloadIdentity
from proxy.core.paths import PathPattern
from proxy.core.policy import AccessPolicy, Gpu, Grant, ImageRules
from proxy.core.prefixes import KeyPrefixes
from proxy.core.reasons import Reason
from proxy.core.request import Removal, RequestFacts
from proxy.core.services import Service
from proxy.core.verdict import Attach, RuleRef
from proxy.judge.reading import BUCKET, MintingName, Reading
from proxy.judge.stores import is_surely_bucket

# What a body that deletes keys does where it names a version: it is what is left of a deleted object.
DELETE_VERSION: Final = "s3:DeleteObjectVersion"

# How far a request came before a grant turned it away: the farther, the nearer the grant was.
DISTANCE: Final[dict[Reason, int]] = {
    reason: step
    for step, reasons in enumerate(
        (
            (Reason.PORT_NOT_GRANTED,),
            (Reason.METHOD_NOT_GRANTED,),
            (Reason.PATH_NOT_GRANTED,),
            (Reason.PIN_UNREADABLE, Reason.PIN_NOT_GRANTED),
            (Reason.UNKNOWN_ACTION,),
            (Reason.ACTION_NOT_GRANTED,),
            (Reason.AMBIGUOUS_QUERY, Reason.QUERY_NOT_GRANTED),
            (Reason.MINTING_API,),
            (Reason.GPU_REQUIRED, Reason.GPU_FORBIDDEN),
            (Reason.IMAGE_NOT_ALLOWED,),
            (Reason.UNKNOWN_CREDENTIAL,),
            (Reason.NOT_YET_VALID, Reason.EXPIRED, Reason.OUTSIDE_WINDOW),
        )
    )
    for reason in reasons
}


class BoundGrant:
    """A grant of a policy that selects this pod, for a host that it names."""

    __slots__ = (
        "_actions",
        "_methods",
        "_minting",
        "_named",
        "_path_fits",
        "_pins",
        "_ports",
        "_prefixes",
        "_query",
        "_unfit",
        "attach",
        "effect",
        "grant",
        "rule",
        "validity",
    )

    def __init__(
        self,
        policy: AccessPolicy,
        index: int,
        scheme: AttachScheme | None,
        service: Service | None,
        unfit: Reason | None,
    ) -> None:
        grant = policy.grants[index]
        self.grant = grant
        self.rule = RuleRef(policy.namespace, policy.name, index)
        credential = CredentialRef(policy.namespace, grant.credential)
        owner = grant.expected_bucket_owner
        # Without its source a grant still governs its hosts; it covers nothing (`_unfit`), so the scheme
        # that stands in here is never used.
        self.attach = Attach(
            self.rule,
            credential,
            scheme or Bearer(),
            grant.on_foreign_credential,
            owner,
            on_revoke=policy.on_revoke,
            store=grant.endpoint,
        )
        # Two grants with the same effect do not contradict each other.
        self.effect = (credential, owner, scheme, grant.endpoint)
        self._ports = frozenset(grant.ports)
        self._methods = frozenset(grant.methods) or None
        self._path_fits: Callable[[str], object] | None = None
        self._pins = tuple(
            (name, _any_bucket(globs) if grant.endpoint and name == BUCKET else _any_glob(globs))
            for name, globs in grant.pins
        )
        self._named = frozenset(grant.actions)
        self._actions = _actions(grant, service)
        self._prefixes = KeyPrefixes.of(grant.prefixes) if grant.prefixes else None
        self._query = grant.query
        self._minting = frozenset((grant.service, name) for name in grant.allow_minting)
        self._unfit = unfit if scheme else Reason.UNKNOWN_CREDENTIAL
        self.validity = policy.validity

    def miss(
        self, request: RequestFacts, reading: Reading, minting: tuple[MintingName, ...], now: datetime
    ) -> Reason | None:
        """The first thing that keeps the grant from covering the request; None when it covers it."""
        if request.port not in self._ports:
            return Reason.PORT_NOT_GRANTED
        if self._methods is not None and request.method not in self._methods:
            return Reason.METHOD_NOT_GRANTED
        if self.grant.paths:
            fits = self._path_fits or self._ready_paths()
            if not fits(request.path.text):
                return Reason.PATH_NOT_GRANTED
        operation = reading.operation
        for name, fits in self._pins:
            value = reading.pins.get(name)
            if value is None:
                # To name an operation that shows no tenant (ListAllMyBuckets) is to grant it. One that
                # shows a bucket is no such operation, also where the host does not show its region.
                if operation is None or operation.captures or operation.name not in self._named:
                    return Reason.PIN_UNREADABLE
            elif not fits(value):
                return Reason.PIN_NOT_GRANTED
        if self._actions is not None:
            if operation is None:
                return Reason.UNKNOWN_ACTION
            if operation.name not in self._actions or not self._actions.issuperset(reading.also):
                return Reason.ACTION_NOT_GRANTED
            if operation.body_keys:
                if request.removals and (lack := self._removals_lack(request.removals)):
                    return lack
            elif self._prefixes is not None and not operation.keyless:
                if reading.key is not None:
                    if not self._prefixes.cover_key(reading.key):
                        return Reason.PIN_NOT_GRANTED
                elif reading.listed is None:
                    return Reason.PIN_UNREADABLE
                elif not self._prefixes.cover_listing(reading.listed):
                    return Reason.PIN_NOT_GRANTED
        if self._query and (lack := self._query_lack(request)):
            return lack
        if minting and not self._minting.issuperset(minting):
            return Reason.MINTING_API
        if self._unfit is not None:
            return self._unfit
        return self.validity.fault(now) if self.validity.is_bounded else None

    def _removals_lack(self, removals: tuple[Removal, ...]) -> Reason | None:
        if self.foreign_removal(removals) is not None:
            return Reason.PIN_NOT_GRANTED
        versions = any(removal.version is not None for removal in removals)
        return Reason.ACTION_NOT_GRANTED if versions and not self.covers_action(DELETE_VERSION) else None

    def foreign_removal(self, removals: Iterable[Removal]) -> Removal | None:
        """The first that names a key which the grant's prefixes do not cover."""
        covers = self._prefixes.cover_key if self._prefixes is not None else None
        return next((one for one in removals if covers is not None and not covers(one.key)), None)

    def covers_action(self, name: str) -> bool:
        return self._actions is None or name in self._actions

    def signs_like(self, attach: Attach) -> bool:
        """Whether it attaches the same credential in the same way. Who must own the bucket is said of each
        bucket by itself."""
        mine = self.attach
        return (mine.credential, mine.scheme, mine.store) == (attach.credential, attach.scheme, attach.store)

    def _ready_paths(self) -> Callable[[str], object]:
        # Compiling an expression costs as much as fifty decisions: it is done for grants that are asked.
        self._path_fits = any_path(self.grant.paths)
        return self._path_fits

    def _query_lack(self, request: RequestFacts) -> Reason | None:
        if request.query.has_semicolon:
            return Reason.AMBIGUOUS_QUERY
        for key, wanted in self._query:
            values = request.query.values.get(key)
            if values is None:
                return Reason.QUERY_NOT_GRANTED
            alike = [name for name in request.query.values if _lax_name(name) == _lax_name(key)]
            if len(values) > 1 or len(alike) > 1:
                return Reason.AMBIGUOUS_QUERY
            if wanted and values[0] not in wanted:
                return Reason.QUERY_NOT_GRANTED
        return None

    def foreign_pin(self, reading: Reading) -> str | None:
        """The first pin whose value the grant does not name."""
        shown = ((name, reading.pins.get(name), fits) for name, fits in self._pins)
        return next((name for name, value, fits in shown if value and not fits(value)), None)

    @property
    def plain_beginnings(self) -> tuple[tuple[str, ...], ...]:
        """The segments before the first star of each path that it covers; empty where it covers all."""
        return tuple(
            tuple(takewhile(lambda segment: "*" not in segment, path.segments)) for path in self.grant.paths
        )

    def plain_values(self, pin: str) -> frozenset[str] | None:
        """The values of a pin that it can cover, where they are plain."""
        globs = dict(self.grant.pins).get(pin, ())
        plain = globs and not self._named and all(glob.is_literal for glob in globs)
        return frozenset(glob.text for glob in globs) if plain else None


def _lax_name(name: str) -> str:
    """A parameter's name as a lax server reads it: ` Project.id[]` is `project_id` to some."""
    return name.partition("[")[0].strip().lower().replace(".", "_").replace(" ", "_")


def any_path(patterns: tuple[PathPattern, ...]) -> Callable[[str], object]:
    """A function that is true for the texts that one of the patterns matches."""
    return re.compile("|".join(f"(?:{pattern.expression})" for pattern in patterns)).fullmatch


def _any_glob(globs: tuple[Glob, ...]) -> Callable[[str], object]:
    if all(glob.is_literal for glob in globs):
        return frozenset(glob.text for glob in globs).__contains__
    return re.compile("|".join(f"(?:{glob.expression})" for glob in globs)).fullmatch


def _any_bucket(globs: tuple[Glob, ...]) -> Callable[[str], object]:
    """At a store, which may have an API of its own where its buckets are: a star covers buckets alone."""
    named, fits = frozenset(glob.text for glob in globs if glob.is_literal), _any_glob(globs)
    return lambda name: name in named or (is_surely_bucket(name) and fits(name))


def _actions(grant: Grant, service: Service | None) -> frozenset[str] | None:
    """The names of the operations that the grant covers; None where the service has no operations."""
    if service is None or not service.operations:
        return None
    # Some SDKs open a session before they do anything; podkey answers, with nothing that is worth having.
    opening = (operation for operation in service.operations if operation.answered_here)
    covered = (*service.operations_of(grant), *opening)
    return frozenset((*grant.actions, *(operation.name for operation in covered)))


def unfit(policy: AccessPolicy, identity: WorkloadIdentity) -> Reason | None:
    """A condition of the policy that this pod, though selected, does not meet."""
    if policy.workloads.gpu is Gpu.REQUIRED and not identity.wants_gpu:
        return Reason.GPU_REQUIRED
    if policy.workloads.gpu is Gpu.FORBIDDEN and identity.wants_gpu:
        return Reason.GPU_FORBIDDEN
    rules = policy.workloads.images
    if rules is not None and not _images_allowed(rules, identity):
        return Reason.IMAGE_NOT_ALLOWED
    return None


def _images_allowed(rules: ImageRules, identity: WorkloadIdentity) -> bool:
    """Every image must be allowed, and there must be one: what is not known is not allowed."""
    fits = any_path(rules.repositories) if rules.repositories else None
    return bool(identity.images) and all(
        (fits is None or fits("/" + image.repository))
        and (not rules.digests or image.digest in rules.digests)
        for image in identity.images
    )
