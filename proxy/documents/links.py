"""What a grant names in other documents and in the catalogue: does it exist, and does it fit?"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from proxy.aws import ecr
from proxy.aws.hosts import read_aws_host
from proxy.core.credentials import CredentialRef, CredentialSource, EcrToken, SigV4, scheme_name
from proxy.core.hosts import Hostname, HostPattern, hosts_meet
from proxy.core.policy import AccessPolicy, Grant
from proxy.core.services import Catalogue, Operation, Service, attach_scheme
from proxy.core.structs import Struct
from proxy.documents.credential_documents import require_parts
from proxy.documents.placed import Placed
from proxy.documents.problems import Fault, Problem, ProblemCode, did_you_mean
from proxy.documents.reading import MAX_PROBLEMS
from proxy.documents.salvage import Broken
from proxy.documents.stores import store_findings, strangers_name_buckets
from proxy.documents.territory import Territory

KEY_CAPTURE = "key"
BUCKET_CAPTURE = "bucket"


def services_on(host: HostPattern, catalogue: Catalogue) -> Iterator[Service]:
    """The services of which the pattern covers a host."""
    if not host.is_wildcard:
        yield from (reading.service for reading in catalogue.readings(Hostname(host.text)))
        return
    for service in catalogue.values():
        if not service.may_have(host.label_globs):
            continue
        templates = (template for endpoint in service.endpoints for template in endpoint.hosts)
        if any(hosts_meet(host.label_globs, template.label_globs) for template in templates):
            yield service


def blob_owner(host: HostPattern, catalogue: Catalogue) -> Service | None:
    """Whose signed URLs an exact host serves."""
    return None if host.is_wildcard else catalogue.blob_owner(Hostname(host.text))


def _sample_hosts(service: Service) -> Iterator[Hostname]:
    return (template.filled({}) for endpoint in service.endpoints for template in endpoint.hosts)


def _bounded(operation: Operation) -> bool:
    return KEY_CAPTURE in operation.captures or operation.prefix_from is not None or operation.body_keys


def check_links(
    policies: Iterable[Placed[AccessPolicy]],
    sources: Sequence[Placed[CredentialSource]],
    catalogue: Catalogue,
    broken: Broken,
) -> list[Problem]:
    by_ref = {placed.value.ref: placed.value for placed in sources}
    problems: list[Problem] = []
    territory = cache(lambda: Territory(catalogue.values()))  # most policies name no store
    for policy in policies:
        for index, grant in enumerate(policy.value.grants):
            check = _GrantCheck(policy, index, grant, catalogue, broken, territory)
            problems.extend(check.all())
            ref = CredentialRef(policy.value.namespace, grant.credential)
            if ref in by_ref:
                problems.extend(check.attach(by_ref[ref]))
            elif not broken.has_source(ref):
                problems.append(check.missing_source(by_ref))
            if len(problems) > MAX_PROBLEMS:
                return problems[:MAX_PROBLEMS]
    return problems


class _GrantCheck(Struct, frozen=True):
    policy: Placed[AccessPolicy]
    index: int
    grant: Grant
    catalogue: Catalogue
    broken: Broken
    territory: Callable[[], Territory]

    def _problem(self, code: ProblemCode, message: str, fix: str, key: str = "") -> Problem:
        return self.policy.grant_problem(self.index, code, message, fix, key)

    def missing_source(self, known: Iterable[CredentialRef]) -> Problem:
        namespace, name = self.policy.value.namespace, self.grant.credential
        message = f"there is no CredentialSource `{name}` in namespace `{namespace}`"
        elsewhere = sorted(ref.namespace for ref in known if ref.name == name)
        if elsewhere:
            fix = f"there is one in `{elsewhere[0]}`; a policy can only use those of its own namespace"
        else:
            names = [ref.name for ref in known if ref.namespace == namespace]
            fix = did_you_mean(name, names) if names else f"add a CredentialSource named `{name}`"
        return self._problem(ProblemCode.UNKNOWN_CREDENTIAL, message, fix, "credential")

    def all(self) -> Iterator[Problem]:
        if self.grant.service is None:
            yield from self._blob_hosts()
            yield from self._hosts_of_pinned_services()
        elif (service := self.catalogue.get(self.grant.service)) is not None:
            yield from self._pins(service)
            yield from self._operations(service)
            yield from self._minting(service)
            for code, message, fix, key in store_findings(self.grant, service, self.territory):
                yield self._problem(code, message, fix, key)
        elif not self.broken.has_service(self.grant.service):
            message = f"there is no service `{self.grant.service}` in the catalogue"
            fix = did_you_mean(self.grant.service, self.catalogue)
            yield self._problem(ProblemCode.UNKNOWN_SERVICE, message, fix, "service")

    def _blob_hosts(self) -> Iterator[Problem]:
        for index, host in enumerate(self.grant.hosts):
            owner = blob_owner(host, self.catalogue)
            if owner is not None:
                message = f"`{host.text}` serves signed URLs for {owner.title} and never gets a credential"
                fix = f"remove it; grant `service: {owner.name}` for the API"
                yield self._problem(ProblemCode.HOST_BLOB, message, fix, f"hosts[{index}]")

    def _hosts_of_pinned_services(self) -> Iterator[Problem]:
        """Hosts where the name does not say whose data it is: only the service's pins do."""
        for index, host in enumerate(self.grant.hosts):
            for service in services_on(host, self.catalogue):
                if any(pin.required for pin in service.pins):
                    message = f"`{host.text}` covers hosts of {service.title}, where any tenant can be named"
                    fix = f"write `service: {service.name}` and name the tenants"
                    code, key = ProblemCode.HOST_NEEDS_SERVICE, f"hosts[{index}]"
                    yield self._problem(code, message, fix, key)

    def _pins(self, service: Service) -> Iterator[Problem]:
        known = {pin.name for pin in service.pins}
        named = {name for name, _ in self.grant.pins}
        for name in sorted(named - known):
            message = f"the service `{service.name}` has no pin `{name}`"
            key = "buckets" if name == BUCKET_CAPTURE else f"pins.{name}"
            yield self._problem(ProblemCode.UNKNOWN_PIN, message, did_you_mean(name, known), key)
        for pin in service.pins:
            if pin.required and pin.name not in named:
                key = "buckets" if pin.name == BUCKET_CAPTURE else f"pins.{pin.name}"
                message = f"`{key}` is missing: the host alone does not say whose data it is"
                fix = f"add `{key}: [...]`"
                yield self._problem(ProblemCode.MISSING_KEY, message, fix)
        stars = [g.text for g in dict(self.grant.pins).get(BUCKET_CAPTURE, ()) if not g.is_literal]
        open_to_strangers = BUCKET_CAPTURE in known and strangers_name_buckets(self.grant.endpoint)
        if stars and open_to_strangers and self.grant.expected_bucket_owner is None:
            message = f"`{stars[0]}` also covers buckets that strangers create under such a name"
            fix = 'add `expectedBucketOwner: "<account id>"`, or name the buckets'
            yield self._problem(ProblemCode.MISSING_KEY, message, fix, "buckets")
        bucket_only = {
            "prefixes": self.grant.prefixes,
            "expectedBucketOwner": self.grant.expected_bucket_owner,
        }
        for key, value in bucket_only.items():
            if value and BUCKET_CAPTURE not in known:
                message = f"`{key}` means nothing to the service `{service.name}`"
                yield self._problem(ProblemCode.UNKNOWN_PIN, message, "remove it", key)

    def _operations(self, service: Service) -> Iterator[Problem]:
        grant = self.grant
        if not service.operations:
            for key, value in (("access", grant.access), ("actions", grant.actions)):
                if value:
                    message = f"the catalogue lists no operations of `{service.name}`"
                    fix = "narrow with `methods` and `paths`"
                    yield self._problem(ProblemCode.UNKNOWN_ACTION, message, fix, key)
            return
        known = service.action_names
        unknown = [name for name in grant.actions if name not in known]
        for name in unknown:
            message = f"`{name}` is no operation of the service `{service.name}`"
            yield self._problem(ProblemCode.UNKNOWN_ACTION, message, did_you_mean(name, known), "actions")
        if unknown:
            return
        selected = service.operations_of(grant)
        if not selected:
            message = "neither `access` nor `actions` says what may be done"
            fix = "add `access: [read]`, or what the workload needs of read, write, list, delete"
            yield self._problem(ProblemCode.MISSING_KEY, message, fix)
        elif grant.methods and not any(set(o.methods) & set(grant.methods) for o in selected):
            message = "the grant never matches: no operation that it names uses these methods"
            fix = "remove `methods`; `access` and `actions` already say what may be done"
            yield self._problem(ProblemCode.NEVER_MATCHES, message, fix, "methods")
        elif grant.prefixes and not any(_bounded(o) for o in selected):
            message = "the grant never matches: no operation that it names shows a key"
            fix = "remove `prefixes`, or put these operations into a grant of their own"
            yield self._problem(ProblemCode.NEVER_MATCHES, message, fix, "prefixes")

    def _minting(self, service: Service) -> Iterator[Problem]:
        known = {api.name for api in service.minting}
        for name in self.grant.allow_minting:
            if name not in known:
                message = f"`{name}` is no credential-minting API of `{service.name}`"
                fix = did_you_mean(name, known)
                yield self._problem(ProblemCode.UNKNOWN_MINTING_API, message, fix, "allowMinting")

    def attach(self, source: CredentialSource) -> Iterator[Problem]:
        service = self.catalogue.get(self.grant.service or "")
        if service is None and self.grant.service is not None:
            return  # how its credential is attached is not known
        scheme = attach_scheme(source, service)
        if scheme is None:
            message = f"the CredentialSource `{source.name}` does not say how it is attached"
            fix = "add `attach:` to it, such as `attach: {bearer: {}}`; only a `service` has a default"
            yield self._problem(ProblemCode.ATTACH_MISMATCH, message, fix, "credential")
            return
        if service is not None and scheme not in service.attach:
            takes = " or ".join(scheme_name(s) for s in service.attach)
            message = f"{service.title} takes {takes}, and `{source.name}` attaches {scheme_name(scheme)}"
            fix = f"remove `attach` from `{source.name}`; the catalogue knows how"
            yield self._problem(ProblemCode.ATTACH_MISMATCH, message, fix, "credential")
            return
        if isinstance(scheme, SigV4 | EcrToken) and self.grant.endpoint is None:
            yield from self._strange_hosts(source.name, scheme)
            if service is not None and not any(map(read_aws_host, _sample_hosts(service))):
                message = f"the hosts of `{service.name}` do not say for which AWS service and region to sign"
                fix = "for a store that speaks S3, write `service: s3` with `endpoint`"
                yield self._problem(ProblemCode.ATTACH_MISMATCH, message, fix, "service")
        try:
            require_parts(source.kind, scheme)
        except Fault as fault:
            message = f"the CredentialSource `{source.name}`: {fault.message}"
            yield self._problem(fault.code, message, fault.fix, "credential")

    def _strange_hosts(self, name: str, scheme: SigV4 | EcrToken) -> Iterator[Problem]:
        """Hosts that are not Amazon's: their names do not tell what a signature or a token is for."""
        for index, host in enumerate(self.grant.hosts):
            found = read_aws_host(Hostname(f"any.{host.suffix}" if host.is_wildcard else host.text))
            if isinstance(scheme, EcrToken) and (found is None or found.service != ecr.SERVICE):
                message = f"`{host.text}` is no registry of Amazon's, for which `{name}` gets a token"
                fix = "name hosts such as `111122223333.dkr.ecr.eu-central-1.amazonaws.com`"
            elif found is None:
                message = f"`{host.text}` does not say for which AWS service and region `{name}` signs"
                fix = (
                    "name Amazon's own hosts; for a store that speaks S3, write `service: s3` with `endpoint`"
                )
            else:
                continue
            yield self._problem(ProblemCode.ATTACH_MISMATCH, message, fix, f"hosts[{index}]")
