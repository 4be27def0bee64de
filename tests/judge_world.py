"""A small world for tests of the judge: documents as text, pods, requests, and a judge without shortcuts.

`naive_verdicts` says the rules of a decision again, in the plainest way: every grant of every policy is
asked. Whatever the index leaves out, chooses or remembers must come to the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.credentials import Bearer, CredentialRef, CredentialSource
from proxy.core.evidence import Evidence
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    Access,
    AccessPolicy,
    Addressing,
    ForeignPresigned,
    Gpu,
    Grant,
    ImageRules,
    Mode,
    OnForeignCredential,
    StoreEndpoint,
    WorkloadSelector,
)
from proxy.core.reasons import Reason
from proxy.core.request import (
    METHODS,
    NO_HEADERS,
    OVERRIDE_HEADERS,
    ClientCredential,
    Removal,
    RequestFacts,
)
from proxy.core.services import Catalogue, HostReading, Service
from proxy.core.structs import replace
from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.core.verdict import PassThrough, ReadBody, Refuse, RuleRef, Verdict
from proxy.documents.problems import ProblemCode
from proxy.documents.reader import read_documents
from proxy.judge.grants import DISTANCE, BoundGrant, unfit
from proxy.judge.index import BLOB, UNGOVERNED, PolicyIndex, is_about
from proxy.judge.reading import (
    NOTHING,
    MintingGuard,
    Reading,
    ServiceKnowledge,
    ServiceReader,
    asked_for_source,
)
from proxy.judge.stores import store_reading
from proxy.services.loader import built_in_catalogue

# --- documents, pods and requests, as tests write them -----------------------------------------------

# For property tests: hypothesis prints what a failing test was given, and a fixture would be part of that.
CATALOGUE: Final = built_in_catalogue()
NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
DIGEST: Final = "sha256:" + "0123456789abcdef" * 4
POD: Final = WorkloadIdentity("ml", "trainer", labels={"team": "vision"})
# A token that was verified, and outlives every test.
PROOF: Final = Evidence(
    "https://issuer.example.com", "key-1", "5e1f", "0f3d", NOON, NOON + timedelta(days=36500)
)

# `a` and `b` say how they are attached; `plain`, `aws` and `aws2` leave it to the service.
SOURCES: Final = "".join(
    f"""---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {{name: {name}, namespace: ml}}
spec: {spec}
"""
    for name, spec in {
        "a": "{mountedSecret: {secretName: a, key: k}, attach: {bearer: {}}}",
        "b": "{mountedSecret: {secretName: b, key: k}, attach: {header: {name: X-Key}}}",
        "plain": "{mountedSecret: {secretName: plain, key: k}}",
        "aws": "{mountedSecret: {secretName: aws, keys: {accessKeyId: i, secretAccessKey: s}}}",
        "aws2": "{mountedSecret: {secretName: aws2, keys: {accessKeyId: i, secretAccessKey: s}}}",
    }.items()
)


def policy(
    *grants: str,
    name: str = "p",
    namespace: str = "ml",
    workloads: str = "{serviceAccounts: [trainer]}",
    mode: str = "enforce",
    validity: str = "",
) -> str:
    """The text of one policy; grants and workloads in YAML's flow style."""
    return f"""---
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  workloads: {workloads}
  mode: {mode}
  grants: [{", ".join(grants)}]
  {f"validity: {validity}" if validity else ""}
"""


def index_of(text: str, catalogue: Catalogue, problems: frozenset[ProblemCode] = frozenset()) -> PolicyIndex:
    """Documents, and the sources above, through the reader; it must find exactly these problems."""
    result = read_documents({"test.yaml": (text + SOURCES).encode()}, catalogue)
    assert {problem.code for problem in result.problems} == problems, result.problems
    documents = result.documents
    whole = Catalogue.of((*catalogue.values(), *documents.services))
    return PolicyIndex(documents.policies, documents.sources, whole)


def ask(
    line: str,
    headers: Mapping[str, str] = NO_HEADERS,
    sends: ClientCredential = ClientCredential.ABSENT,
) -> RequestFacts:
    """From a line such as `GET https://api.example.com:8443/v1/models?limit=1`."""
    method, _, url = line.partition(" ")
    authority, slash, rest = url.removeprefix("https://").partition("/")
    host, _, port = authority.partition(":")
    return RequestFacts.of(
        Hostname(host),
        method,
        slash + rest,
        port=int(port or 443),
        headers=headers,
        client_credential=sends,
    )


def bound_grants(index: PolicyIndex, identity: WorkloadIdentity, request: RequestFacts) -> list[BoundGrant]:
    """The grants that the index keeps for the host."""
    rules = index.for_pod(identity).rules_for(request.host)
    return [grant for group in rules.groups for grant in group.grants]


# --- the naive judge ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One grant that names the host, and what it lacks."""

    bound: BoundGrant
    reading: Reading
    miss: Reason | None
    observes: bool


def ask_all(
    index: PolicyIndex, identity: WorkloadIdentity, request: RequestFacts, now: datetime
) -> list[Asked]:
    """Every grant that names the host, of every policy that selects the pod, asked one by one."""
    named = _naming(index, identity, request.host)
    by_catalogue = index.catalogue.readings(request.host)
    at_stores = _at_stores(named)
    torn = len(at_stores) > 1 or bool(at_stores and by_catalogue)
    needs_pins = bool(at_stores) or any(pin.required for r in by_catalogue for pin in r.service.pins)
    minting = MintingGuard(_services(index, identity, request.host)).find(request)
    found = []
    for one, number, reading in named:
        grant = one.grants[number]
        lack = unfit(one, identity)
        service = index.catalogue[grant.service] if grant.service is not None else None
        blind = torn if grant.endpoint is not None else needs_pins and service is None
        lack = lack or (Reason.PIN_UNREADABLE if blind else None)
        bound = BoundGrant(one, number, index.scheme(one, number, service), service, lack)
        read = read_all_pins(reading, request) if reading and not blind else NOTHING
        found.append(Asked(bound, read, bound.miss(request, read, minting, now), one.mode is Mode.OBSERVE))
    return found


# A grant by its policy and number, and how its service reads the host.
Named = tuple[AccessPolicy, int, HostReading | None]


def _naming(index: PolicyIndex, identity: WorkloadIdentity, host: Hostname) -> list[Named]:
    """The grants of this pod that name the host."""
    readings = {reading.service.name: reading for reading in index.catalogue.readings(host)}
    named: list[Named] = []
    for one in (one for one in index.policies if is_about(one, identity)):
        for number, grant in enumerate(one.grants):
            if grant.service is None:
                if any(pattern.matches(host) for pattern in grant.hosts):
                    named.append((one, number, None))
                continue
            reading = readings.get(grant.service)
            if grant.endpoint is not None:
                reading = store_reading(index.catalogue[grant.service], grant.endpoint, host)
            if reading is not None:
                named.append((one, number, reading))
    return named


def _at_stores(named: list[Named]) -> list[HostReading]:
    """The readings of the host as one of a store, by grants that count."""
    enforced = any(one.mode is Mode.ENFORCE for one, _, _ in named)
    stores = {
        (one.grants[number].service, one.grants[number].endpoint): reading
        for one, number, reading in named
        if one.grants[number].endpoint is not None and (one.mode is Mode.ENFORCE) is enforced
    }
    return [reading for reading in stores.values() if reading is not None]


def _services(index: PolicyIndex, identity: WorkloadIdentity, host: Hostname) -> list[Service]:
    readings = (*index.catalogue.readings(host), *_at_stores(_naming(index, identity, host)))
    return list({reading.service.name: reading.service for reading in readings}.values())


def read_all_pins(host: HostReading, request: RequestFacts) -> Reading:
    """The request as the service reads it, with all pins that it knows."""
    pins = [pin.name for pin in host.service.pins]
    return ServiceReader(ServiceKnowledge(host.service, pins), host).read(request)


def naive_verdicts(
    index: PolicyIndex, identity: WorkloadIdentity, request: RequestFacts, now: datetime
) -> frozenset[Verdict]:
    """All right verdicts: where no grant covers the request, any of those asked may be named."""
    asked = ask_all(index, identity, request, now)
    if not asked:
        return frozenset({UNGOVERNED})
    if index.catalogue.blob_owner(request.host) is not None:
        return frozenset({BLOB})
    asked, observed = in_force(asked)

    def refusals(*refusals: Refuse) -> frozenset[Verdict]:
        return frozenset(PassThrough(Reason.WOULD_REFUSE, r) if observed else r for r in refusals)

    opaque = any(service.opaque_paths for service in _services(index, identity, request.host))
    path, query = request.path, request.query
    faults = (
        None if request.method in METHODS else Reason.METHOD_FORBIDDEN,
        path.fault,
        query.fault,
        Reason.AMBIGUOUS_PATH if opaque and (path.had_dot_segments or "+" in path.text) else None,
        Reason.QUERY_AUTH_PRESENT if query.carries_auth else None,
        Reason.OVERRIDE_HEADER if OVERRIDE_HEADERS & request.headers.keys() else None,
    )
    if any(faults):
        return refusals(Refuse(next(fault for fault in faults if fault)))
    covering = [one.bound for one in asked if one.miss is None]
    if not covering:
        return refusals(*(Refuse(one.miss, one.bound.rule) for one in asked if one.miss is not None))
    first = min(covering, key=lambda bound: bound.rule)
    read = [one.reading for one in asked if one.miss is None]
    operations = [reading.operation for reading in read if reading.operation is not None]
    if request.removals is None and any(operation.body_keys for operation in operations):
        return frozenset({ReadBody(first.attach)})
    elsewhere = request.signed_elsewhere
    if elsewhere and {bound.grant.foreign_presigned for bound in covering} != {ForeignPresigned.PASS}:
        return refusals(Refuse(Reason.FOREIGN_PRESIGNED, first.rule))
    differ = len({bound.effect for bound in covering}) > 1
    if differ and not elsewhere and not any(operation.answered_here for operation in operations):
        return refusals(Refuse(Reason.AMBIGUOUS_GRANT, first.rule))
    attach = first.attach
    sources = [source for reading in read for source in reading.sources]
    owners = [_source_owners(asked, source, first, request, now) for source in sources]
    if not all(owners):
        return refusals(Refuse(Reason.SOURCE_NOT_GRANTED, first.rule))
    if len(set().union(*owners)) > 1:
        return refusals(Refuse(Reason.AMBIGUOUS_GRANT, first.rule))
    if elsewhere:
        return frozenset({PassThrough(Reason.PRESIGNED_ELSEWHERE)})
    if owners:
        attach = replace(attach, source_owner=min(owners[0], key=str))
    if request.client_credential is ClientCredential.FOREIGN:
        if OnForeignCredential.REFUSE in {bound.grant.on_foreign_credential for bound in covering}:
            return refusals(Refuse(Reason.FOREIGN_CREDENTIAL, first.rule))
        if observed:
            return frozenset({PassThrough(Reason.WOULD_ATTACH, attach)})
    return frozenset({attach})


def _source_owners(
    asked: list[Asked], source: Reading | str, first: BoundGrant, request: RequestFacts, now: datetime
) -> set[str | None]:
    """Who must own what is copied, by each grant that lets it be read with the same credential."""
    if isinstance(source, str):
        return set()
    wanted = asked_for_source(request)
    return {
        one.bound.grant.expected_bucket_owner
        for one in asked
        if one.bound.grant.service is not None
        and one.bound.signs_like(first.attach)
        and (one.bound.grant.foreign_presigned is ForeignPresigned.PASS or not request.signed_elsewhere)
        and one.bound.miss(wanted, source, (), now) is None
    }


def in_force(asked: list[Asked]) -> tuple[list[Asked], bool]:
    """The grants that count, and whether all that govern the host only observe."""
    enforcing = [one for one in asked if not one.observes]
    return enforcing or asked, not enforcing


def nearest_distance(asked: Iterable[Asked]) -> int:
    return max(DISTANCE[one.miss] for one in asked if one.miss is not None)


# --- a generated world -------------------------------------------------------------------------------

S3_HOSTS: Final = (
    "s3.eu-central-1.amazonaws.com",
    "data.s3.eu-central-1.amazonaws.com",
    "data.s3.amazonaws.com",
    "data--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
)
STORE_HOSTS: Final = (
    "store.example.net",
    "data.store.example.net",
    "x.data.store.example.net",
    "other.example.net",
)
STORES: Final = (
    StoreEndpoint(Hostname("store.example.net")),
    StoreEndpoint(Hostname("store.example.net"), addressing=Addressing.VIRTUAL),
    StoreEndpoint(Hostname("store.example.net"), "eu-1"),
    StoreEndpoint(Hostname("data.store.example.net"), addressing=Addressing.VIRTUAL),
    StoreEndpoint(Hostname("s3.eu-central-1.amazonaws.com")),
)
PLAIN_HOSTS: Final = ("api.example.com", "data.example.com", "a.b.example.com", "example.net")
SERVICE_HOSTS: Final = (*S3_HOSTS, "huggingface.co", "api.openai.com")
BLOB_HOSTS: Final = ("cdn-lfs.hf.co",)
HOSTS: Final = (*PLAIN_HOSTS, *SERVICE_HOSTS, *BLOB_HOSTS, *STORE_HOSTS)

HOST_PATTERNS: Final = tuple(
    HostPattern(text)
    for text in (
        "*.example.com",
        "api.example.com",
        "data.example.com",
        "*.b.example.com",
        "example.net",
        "huggingface.co",
        "api.openai.com",
        "*.hf.co",
        "*.store.example.net",
    )
)
WORLD_METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")
PATHS: Final = (
    "/",
    "/v1",
    "/v1/a",
    "/v1/a/",
    "/v1//a",
    "/V1/a",
    "/v2/a/files/x",
    "/v1/../v2/a",
    "/data",
    "/data/",
    "/data/train",
    "/data/train/x",
    "/data/training-secret/x",
    "/other/train/x",
    "/train/x",
    "/a%20b/%C3%A9",
    "/a%FF/x",
    "/%2e%2e/x",
    "/acme/llama/resolve/main/x",
    "/evil/llama/resolve/main/x",
    "/api/models/acme/llama",
    "/api/models/acme/llama/xet-read-token/main",
    "/API//models/acme/llama/xet-write-token/main",
    "/v1/realtime/sessions",
    "/v1/%72ealtime/sessions/",
)
QUERIES: Final = (
    "",
    "?team=a",
    "?team=b",
    "?team=a&team=b",
    "?team=a;x",
    "?list-type=2&prefix=train/",
    "?prefix=train",
    "?prefix=training-secret/&team=a",
    "?uploads",
    "?delete",
    "?acl",
    "?session",
    "?x-id=GetObject",
    "?nonsense",
    "?X-Amz-Signature=0",
)
HEADERS: Final[tuple[Mapping[str, str], ...]] = (
    {},
    {"x-amz-copy-source": "/other/key"},
    {"x-amz-copy-source": "data/train/x"},
    {"x-amz-copy-source": "data/train/x?versionId=v"},
    {"x-amz-copy-source": "data/../other/x"},
    {"openai-organization": "org-a"},
    {"openai-organization": "org-b", "openai-project": "proj-a"},
)
PATH_PATTERNS: Final = tuple(
    PathPattern(text)
    for text in ("/**", "/v1/**", "/v1/*", "/v1", "/*/a", "/v2/*/files/**", "/**/x", "/data/**", "/")
)
SERVICES: Final = ("s3", "huggingface", "openai")
PINS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "s3": {"bucket": ("data", "other", "da*", "*"), "region": ("eu-central-1", "us-*")},
    "huggingface": {"org": ("acme", "a*"), "repo": ("acme/llama", "acme/*")},
    "openai": {"organization": ("org-a", "org-*"), "project": ("proj-a",)},
}
MINTING: Final[Mapping[str, tuple[str, ...]]] = {
    "huggingface": ("xet-read-token", "xet-write-token"),
    "openai": ("realtime-client-secret",),
}
PREFIXES: Final = ("train", "train/", "train*", "train/x", "other/")
ACTIONS: Final = (
    "s3:GetObject",
    "s3:ListAllMyBuckets",
    "s3:CopyObject",
    "s3:GetObjectAcl",
    "s3:GetObjectVersion",
    "s3:DeleteObjectVersion",
)
MOMENTS: Final = (
    NOON,
    NOON + timedelta(days=2, hours=10),
    NOON - timedelta(days=400),
    NOON.replace(tzinfo=None),
    NOON.astimezone(timezone(timedelta(hours=-11))),
)
WINDOWS: Final = (
    WeeklyWindow((Day.WED,), 8 * 60, 18 * 60, ZoneInfo("UTC")),
    WeeklyWindow((Day.FRI, Day.SAT), 21 * 60, 2 * 60, ZoneInfo("UTC")),
)
IMAGES: Final = (
    ImageReference("registry.example.com/ml/trainer", DIGEST),
    ImageReference("registry.example.com/web/app"),
)
IDENTITIES: Final = (
    POD,
    WorkloadIdentity("ml", "trainer", labels={"team": "speech"}, wants_gpu=True, images=IMAGES[:1]),
    WorkloadIdentity("ml", "server", images=IMAGES),
    WorkloadIdentity("web", "trainer", labels={"team": "vision"}),
)


def world_sources() -> list[CredentialSource]:
    """Sources `a` and `b` in both namespaces, with a scheme of their own; `missing` is not among them."""
    return [
        CredentialSource(namespace, name, MountedSecret(name, ((Part.TOKEN, "k"),)), Bearer())
        for namespace in ("ml", "web")
        for name in ("a", "b")
    ]


def some[T](*values: T, most: int = 2) -> SearchStrategy[tuple[T, ...]]:
    """None of the values, or a few of them."""
    few = st.lists(st.sampled_from(values), max_size=most, unique_by=repr).map(tuple)
    return st.just(()) | few


def at_least_one[T](*values: T, most: int = 2) -> SearchStrategy[tuple[T, ...]]:
    """A few of the values."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique_by=repr).map(tuple)


_QUERY: Final = st.just(()) | st.sampled_from(
    ((), (("team", ()),), (("team", ("a",)),), (("prefix", ("train/",)),))
)
_CREDENTIALS: Final = st.sampled_from(("a", "a", "a", "b", "b", "missing"))


@st.composite
def host_grants(
    draw: st.DrawFn,
    hosts: tuple[HostPattern, ...] = HOST_PATTERNS,
    credentials: SearchStrategy[str] = _CREDENTIALS,
) -> Grant:
    """Grants that name hosts."""
    return Grant(
        draw(credentials),
        hosts=draw(at_least_one(*hosts, most=3)),
        ports=draw(st.sampled_from(((443,), (443,), (443, 8443), (8443,)))),
        methods=draw(some(*WORLD_METHODS)),
        paths=draw(some(*PATH_PATTERNS)),
        query=draw(_QUERY),
        on_foreign_credential=draw(st.sampled_from(OnForeignCredential)),
    )


@st.composite
def service_grants(draw: st.DrawFn) -> Grant:
    """Grants that name a service; for S3 most of them say what may be done."""
    service = draw(st.sampled_from(SERVICES))
    s3 = service == "s3"
    pins = tuple(
        (name, draw(at_least_one(*map(Glob, globs))))
        for name, globs in sorted(PINS[service].items())
        if draw(st.sampled_from((name in {"bucket", "org"}, False)))
    )
    return Grant(
        draw(_CREDENTIALS),
        service=service,
        ports=draw(st.sampled_from(((443,), (443,), (443, 8443)))),
        methods=draw(some(*WORLD_METHODS)),
        paths=draw(some(*PATH_PATTERNS)),
        query=draw(_QUERY),
        pins=pins,
        prefixes=draw(some(*PREFIXES)) if s3 else (),
        access=draw(some(*Access, most=4)) if s3 else (),
        actions=draw(some(*ACTIONS)) if s3 else (),
        expected_bucket_owner=draw(st.sampled_from((None, None, "111122223333"))) if s3 else None,
        endpoint=draw(st.sampled_from((None, None, *STORES))) if s3 else None,
        allow_minting=draw(some(*MINTING[service])) if service in MINTING else (),
        on_foreign_credential=draw(st.sampled_from(OnForeignCredential)),
        foreign_presigned=draw(st.sampled_from(ForeignPresigned)) if s3 else ForeignPresigned.REFUSE,
    )


GRANTS: Final = host_grants() | service_grants()


@st.composite
def selectors(draw: st.DrawFn) -> WorkloadSelector:
    """By service account, by label, or by both."""
    accounts = draw(some("trainer", "server", "*"))
    requirements = (
        LabelRequirement("team", Operator.IN, ("vision", "speech")),
        LabelRequirement("team", Operator.NOT_IN, ("speech",)),
        LabelRequirement("team", Operator.EXISTS),
        LabelRequirement("canary", Operator.DOES_NOT_EXIST),
    )
    needs = draw(some(*requirements))
    if not accounts and not needs:
        accounts = ("*",)
    images = (
        ImageRules(repositories=(PathPattern("/registry.example.com/ml/*"),)),
        ImageRules(digests=(DIGEST,)),
    )
    return WorkloadSelector(
        accounts,
        LabelSelector(match_expressions=needs) if needs else None,
        draw(st.sampled_from((Gpu.ANY, *Gpu))),
        draw(st.sampled_from((None, None, None, *images))),
        draw(CLUSTER_WIDE),
    )


# Most policies are about their own namespace.
CLUSTER_WIDE: Final = st.sampled_from(
    (
        *[None] * 4,
        LabelSelector(((NAMESPACE_NAME_LABEL, "ml"),)),
        LabelSelector((), (LabelRequirement(NAMESPACE_NAME_LABEL, Operator.NOT_IN, ("web",)),)),
        LabelSelector((), (LabelRequirement("tier", Operator.NOT_IN, ("web",)),)),
    )
)
NAMESPACES: Final = st.sampled_from(("ml", "ml", "ml", "web"))
SELECTORS: Final = st.just(WorkloadSelector(("*",))) | selectors()
VALIDITIES: Final = st.sampled_from(
    (
        Validity(),
        Validity(),
        Validity(),
        Validity(not_before=NOON - timedelta(days=30)),
        Validity(not_after=NOON + timedelta(days=1)),
        Validity(windows=WINDOWS[:1]),
        Validity(NOON - timedelta(days=7), NOON + timedelta(days=7), WINDOWS),
    )
)


@st.composite
def policies(
    draw: st.DrawFn,
    grants: SearchStrategy[Grant] = GRANTS,
    namespaces: SearchStrategy[str] = NAMESPACES,
    who: SearchStrategy[WorkloadSelector] = SELECTORS,
    most_grants: int = 3,
) -> AccessPolicy:
    """One policy; its name is given by `numbered`."""
    return AccessPolicy(
        draw(namespaces),
        "unnamed",
        draw(who),
        tuple(draw(st.lists(grants, min_size=1, max_size=most_grants, unique=True))),
        draw(st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.OBSERVE))),
        draw(VALIDITIES),
    )


def numbered(found: Iterable[AccessPolicy], prefix: str = "p") -> tuple[AccessPolicy, ...]:
    """Policies with names of their own, as the API server would have it."""
    return tuple(replace(one, name=f"{prefix}{number:03}") for number, one in enumerate(found))


def worlds(most: int = 6, grants: SearchStrategy[Grant] = GRANTS) -> SearchStrategy[tuple[AccessPolicy, ...]]:
    return st.lists(policies(grants=grants), min_size=2, max_size=most).map(numbered)


# Requests that a grant of this world may well cover.
LIKELY: Final = tuple(
    ask(line)
    for line in (
        "GET https://api.example.com/v1/a",
        "GET https://api.example.com/v1/a?team=a",
        "POST https://api.example.com/v2/a/files/x",
        "GET https://data.example.com/v1",
        "GET https://example.net/v1/a",
        "GET https://s3.eu-central-1.amazonaws.com/data/train/x",
        "GET https://s3.eu-central-1.amazonaws.com/data?list-type=2&prefix=train/",
        "HEAD https://s3.eu-central-1.amazonaws.com/data",
        "GET https://s3.eu-central-1.amazonaws.com/",
        "GET https://s3.eu-central-1.amazonaws.com/data?session",
        "GET https://data--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/?session",
        "POST https://data.s3.eu-central-1.amazonaws.com/?delete",
        "PUT https://data.s3.eu-central-1.amazonaws.com/train/x",
        "DELETE https://data.s3.amazonaws.com/train/x",
        "GET https://huggingface.co/acme/llama/resolve/main/x",
        "GET https://huggingface.co/api/models/acme/llama/xet-read-token/main",
        "GET https://huggingface.co/api/models/acme/xet-read-token/xet-write-token/main",
        "GET https://api.openai.com/v1/a",
        "POST https://api.openai.com/v1/realtime/sessions",
        "POST https://api.openai.com/V1//Realtime/sessions;x/",
        "GET https://cdn-lfs.hf.co/x",
        "GET https://store.example.net/data/train/x",
        "GET https://store.example.net/data?list-type=2&prefix=train/",
        "GET https://store.example.net/",
        "PUT https://data.store.example.net/train/x",
        "GET https://x.data.store.example.net/train/x",
    )
)


@st.composite
def requests(draw: st.DrawFn, hosts: tuple[str, ...] = HOSTS) -> RequestFacts:
    """Any request of the world, whether or not it makes sense."""
    return RequestFacts.of(
        Hostname(draw(st.sampled_from(hosts))),
        draw(st.sampled_from(WORLD_METHODS)),
        draw(st.sampled_from(PATHS)) + draw(st.just("") | st.sampled_from(QUERIES)),
        port=draw(st.sampled_from((443, 443, 443, 8443))),
        headers=draw(st.sampled_from(HEADERS)),
        client_credential=draw(st.sampled_from(ClientCredential)),
    )


REMOVALS: Final = (
    None,
    (Removal("train/x"),),
    (Removal("train/x"), Removal("other/x", "v")),
    (Removal("other/x"), Removal("train/x")),
)
likely_requests: Final = st.builds(
    lambda request, headers, sends, removals, elsewhere: replace(
        request, headers=headers, client_credential=sends, removals=removals, signed_elsewhere=elsewhere
    ),
    st.sampled_from(LIKELY),
    st.sampled_from(HEADERS),
    st.sampled_from(ClientCredential),
    st.sampled_from(REMOVALS),
    st.sampled_from((False, False, False, True)),
)
many_requests: Final = st.lists(likely_requests | requests(), min_size=10, max_size=20)
identities: Final = st.sampled_from((POD, POD, *IDENTITIES))
moments: Final = st.sampled_from((NOON, *MOMENTS))


def every_request(
    hosts: Iterable[str], methods: Iterable[str], targets: Iterable[str], ports: Iterable[int]
) -> Iterator[RequestFacts]:
    """All requests of a small world."""
    targets, methods, ports = tuple(targets), tuple(methods), tuple(ports)
    for host in hosts:
        for target in targets:
            one = RequestFacts.of(Hostname(host), "GET", target)
            for method in methods:
                for port in ports:
                    yield replace(one, method=method, port=port)


def ref(policy: str, grant: int = 0, namespace: str = "ml") -> RuleRef:
    return RuleRef(namespace, policy, grant)


def credential(name: str, namespace: str = "ml") -> CredentialRef:
    return CredentialRef(namespace, name)
