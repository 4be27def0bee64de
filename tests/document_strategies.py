"""Documents for tests: short texts with known lines, and hypothesis strategies for whole values."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from proxy.core.contract import API_VERSION
from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
    SourceKind,
    needed_parts,
    optional_parts,
)
from proxy.core.github_source import GITHUB_API, GitHubApp, GitHubLevel
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.labels import LabelRequirement, LabelSelector, Operator, common_labels
from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.oauth_sources import (
    JWT_TYPE,
    ClientAuth,
    FederatedAssertion,
    MountedActor,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    ProjectedActor,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    Access,
    AccessPolicy,
    Addressing,
    ForeignPresigned,
    Gpu,
    Grant,
    ImageRules,
    Limits,
    Mode,
    OnForeignCredential,
    OnRevoke,
    StoreEndpoint,
    WorkloadSelector,
)
from proxy.core.services import Catalogue
from proxy.core.signing import SigningAlgorithm
from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.core.vault_source import VaultAuth, VaultDynamic, VaultKv2, VaultMethod, VaultSecret
from proxy.documents.problems import Problem
from proxy.documents.reader import ReadResult, read_documents
from proxy.documents.reading import Place, Reading, Shape
from proxy.documents.yaml_nodes import Node, read_nodes
from tests.aws_strategies import static_pairs, web_identities
from tests.federation_strategies import FEDERATIONS

# --- texts whose lines a test can count ----------------------------------------------------------------

HEAD = f"apiVersion: {API_VERSION}\n"
FILE = "policies.yaml"
KEYS = "keys: {accessKeyId: id, secretAccessKey: secret}"

# The line of a policy's workloads, of its first grant and of its second one; see `policy`.
WORKLOADS_LINE, GRANT_LINE, SECOND_GRANT_LINE = 5, 7, 8
# The line of a source's kind, of its attach scheme, and of the one line of a spec; see `source`.
KIND_LINE, ATTACH_LINE = 5, 6

PLAIN_GRANT = "{hosts: [api.example.com], credential: one}"


def policy(
    *grants: str,
    name: str = "p",
    namespace: str = "ml",
    workloads: str = "{serviceAccounts: [trainer]}",
    more: str = "",
) -> str:
    """A policy with one grant a line, from `GRANT_LINE` on; `more` are lines of its spec."""
    return (
        f"{HEAD}kind: AccessPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\n"
        "spec:\n"
        f"  workloads: {workloads}\n"
        "  grants:\n" + "".join(f"    - {grant}\n" for grant in grants or (PLAIN_GRANT,)) + more
    )


def limiting(
    limits: str, namespaces: str = "{matchLabels: {tenant: yes-please}}", *, name: str = "limits"
) -> str:
    """A policy of podkey's own namespace that limits what others grant; limits on line 7."""
    return (
        f"{HEAD}kind: AccessPolicy\n"
        f"metadata: {{name: {name}, namespace: podkey-system}}\n"
        "spec:\n"
        "  workloads:\n"
        f"    namespaceSelector: {namespaces}\n"
        f"  limits: {limits}\n"
    )


def source(
    name: str = "one", *, namespace: str = "ml", keys: str = "key: token", attach: str = "{bearer: {}}"
) -> str:
    return (
        f"{HEAD}kind: CredentialSource\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\n"
        "spec:\n"
        f"  mountedSecret: {{secretName: s, {keys}}}\n" + (f"  attach: {attach}\n" if attach else "")
    )


def service_entry(spec: str = "", *, name: str = "acme", hosts: str = "[api.acme.example]") -> str:
    """An entry of the catalogue; the lines of `spec` begin at line 9."""
    return (
        f"{HEAD}kind: CatalogueEntry\n"
        f"metadata: {{name: {name}}}\n"
        "spec:\n"
        "  title: Acme\n"
        "  summary: What acme does.\n"
        f"  endpoints: [{{hosts: {hosts}}}]\n"
        "  attach: [{bearer: {}}]\n" + spec
    )


def joined(*texts: str) -> str:
    return "---\n".join(texts)


# The sources that the tests' grants name; in a file of their own, so that they move no line.
SOURCES = joined(
    source("one"),
    source("two"),
    source("plain", attach=""),
    source("aws", keys=KEYS, attach=""),
    source("aws-two", keys=KEYS, attach=""),
)


def read(catalogue: Catalogue, *texts: str, **files: str) -> ReadResult:
    """Texts as one file beside the sources, and other files by name."""
    named = {f"{name}.yaml": text for name, text in files.items()}
    every = {FILE: joined(*texts), "sources.yaml": SOURCES, **named}
    return read_documents({name: text.encode() for name, text in every.items() if text}, catalogue)


def node_of(text: str) -> Node:
    (node,), problems = read_nodes(text.encode(), FILE)
    assert not problems
    return node


def read_shape(shape: Shape, text: str) -> tuple[Any, list[Problem]]:
    """What one shape makes of a piece of YAML."""
    reading = Reading(FILE)
    value: Any = shape.read(node_of(text), Place(), reading)
    return value, reading.problems


def codes(problems: Iterable[Problem]) -> list[str]:
    return [problem.code.value for problem in problems]


# --- whole values -------------------------------------------------------------------------------------

# Characters that YAML, JSON and percent-encoding treat differently, and what YAML 1.1 misreads.
_ODD_TEXTS = (
    "no",
    "off",
    "y",
    "null",
    "~",
    "1e3",
    "0x10",
    "12:30",
    "2026-01-01",
    "<<",
    "=",
    "- x",
    "a: b",
    "#",
)
TEXTS = st.one_of(
    st.sampled_from(_ODD_TEXTS),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12),
)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?(\.[a-z0-9]{1,5})?", fullmatch=True)
NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
LABEL_KEYS = st.from_regex(
    r"([a-z]{1,5}\.[a-z]{2,4}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True
)
LABEL_VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?)?", fullmatch=True)
FIELD_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.:-]{0,10}", fullmatch=True)
HEADER_NAMES = st.from_regex(r"Authorization|X-[A-Za-z0-9]{1,10}", fullmatch=True)
PARAMETERS = st.one_of(
    st.sampled_from(("no", "y", "1e3", "0x10", "~")), st.from_regex(r"[A-Za-z0-9._~-]{1,10}", fullmatch=True)
)
USERNAMES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=":"), max_size=12
)
SECRET_KEYS = st.from_regex(r"[-._a-zA-Z0-9]{1,10}", fullmatch=True)
METHODS = st.sampled_from(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "M-SEARCH"))
HOSTS = st.one_of(
    st.from_regex(r"(\*\.)?[a-z0-9]{1,5}\.[a-z0-9]{1,5}\.example", fullmatch=True),
    st.sampled_from(
        ("xn--mnchen-3ya.example", "*.xn--bcher-kva.example", "localhost", "db.svc.cluster.local")
    ),
).map(HostPattern)
_SEGMENTS = st.one_of(
    st.sampled_from(("*", "**", "", "v*", "%2A", "a~b", "%E4%BD%A0")),
    st.from_regex("[a-z]{1,4}", fullmatch=True),
)
PATHS = (
    st.lists(_SEGMENTS, min_size=1, max_size=4)
    .filter(lambda segments: segments.count("**") <= 3)
    .map(lambda segments: PathPattern("/" + "/".join(segments)))
)
REPOSITORIES = (
    st.lists(
        st.one_of(st.sampled_from(("*", "**", "t*")), st.from_regex("[a-z]{1,4}", fullmatch=True)),
        min_size=1,
        max_size=3,
    )
    .filter(lambda segments: segments.count("**") <= 3)
    .map(lambda segments: PathPattern("/" + "/".join(("registry.example.com:5000", *segments))))
)
DIGESTS = st.from_regex("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", fullmatch=True)
PIN_VALUES = TEXTS.filter(lambda text: "**" not in text and text.count("*") <= 4).map(Glob)
PREFIXES = TEXTS.filter(lambda text: "*" not in text[:-1] and not text.startswith(("/", "s3://")))


def some[T](
    values: st.SearchStrategy[T], *, least: int = 0, most: int = 3
) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(values, min_size=least, max_size=most, unique=True).map(tuple)


def pairs[T](
    keys: st.SearchStrategy[str], values: st.SearchStrategy[T]
) -> st.SearchStrategy[tuple[tuple[str, T], ...]]:
    """What a mapping is read into: pairs, sorted by key."""
    return st.dictionaries(keys, values, max_size=3).map(
        lambda found: tuple(sorted(found.items(), key=lambda p: p[0]))
    )


@st.composite
def label_requirements(draw: st.DrawFn) -> LabelRequirement:
    operator = draw(st.sampled_from(Operator))
    wants = operator in {Operator.IN, Operator.NOT_IN}
    return LabelRequirement(draw(LABEL_KEYS), operator, draw(some(LABEL_VALUES, least=1)) if wants else ())


LABEL_SELECTORS = st.builds(
    LabelSelector, pairs(LABEL_KEYS, LABEL_VALUES), some(label_requirements(), most=2)
).filter(lambda selector: bool(selector.requirements) and common_labels(selector) is not None)

IMAGE_RULES = st.builds(ImageRules, some(REPOSITORIES), some(DIGESTS)).filter(
    lambda rules: bool(rules.repositories or rules.digests)
)

WORKLOADS = st.builds(
    WorkloadSelector,
    st.one_of(some(NAMES), st.just(("*",))),
    st.none() | LABEL_SELECTORS,
    st.sampled_from(Gpu),
    st.none() | IMAGE_RULES,
    st.none() | LABEL_SELECTORS,
).filter(lambda who: bool(who.service_accounts) or who.pod_selector is not None)

ZONES = st.sampled_from(("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Etc/GMT+12")).map(
    ZoneInfo
)
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
MOMENTS = st.one_of(
    st.integers(0, (_LAST - _FIRST) // timedelta(seconds=1) - 1).map(lambda s: _FIRST + timedelta(seconds=s)),
    st.integers(0, 10**15).map(lambda us: _FIRST + timedelta(microseconds=us)),
)


@st.composite
def weekly_windows(draw: st.DrawFn) -> WeeklyWindow:
    start = draw(st.integers(0, 1439))
    end = draw(st.integers(0, 1440).filter(lambda minute: minute != start))
    days = tuple(sorted(draw(some(st.sampled_from(Day), least=1, most=7))))
    return WeeklyWindow(days, start, end, draw(ZONES))


VALIDITIES = st.builds(
    Validity, st.none() | MOMENTS, st.none() | MOMENTS, some(weekly_windows(), most=2)
).filter(
    lambda valid: valid.not_before is None or valid.not_after is None or valid.not_before < valid.not_after
)


STORE_ENDPOINTS = st.builds(
    StoreEndpoint,
    HOSTS.filter(lambda host: not host.is_wildcard and "." in host.text).map(
        lambda host: Hostname(host.text)
    ),
    st.sampled_from(("us-east-1", "no", "1e3", "eu_1", "Garage")),
    st.sampled_from(Addressing),
)


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    """Any grant that the shapes take; what it names need not exist."""
    common: dict[str, Any] = {
        "credential": draw(NAMES),
        "methods": draw(some(METHODS)),
        "paths": draw(some(PATHS)),
        "query": draw(pairs(TEXTS, some(TEXTS))),
        "on_foreign_credential": draw(st.sampled_from(OnForeignCredential)),
    }
    ports = st.just((443,)) | some(st.integers(1, 65535), least=1)
    if draw(st.booleans()):
        return Grant(hosts=draw(some(HOSTS, least=1)), ports=draw(ports), **common)
    endpoint = draw(st.none() | STORE_ENDPOINTS)
    return Grant(
        service=draw(FIELD_NAMES),
        endpoint=endpoint,
        # A store has one port.
        ports=draw(ports if endpoint is None else st.integers(1, 65535).map(lambda port: (port,))),
        foreign_presigned=draw(st.sampled_from(ForeignPresigned)),
        pins=draw(pairs(FIELD_NAMES, some(PIN_VALUES, least=1))),
        prefixes=draw(some(PREFIXES)),
        access=draw(some(st.sampled_from(Access), most=4)),
        actions=draw(some(FIELD_NAMES)),
        expected_bucket_owner=draw(st.none() | st.from_regex("[0-9]{12}", fullmatch=True)),
        allow_minting=draw(some(FIELD_NAMES)),
        **common,
    )


GRANTING = st.builds(
    AccessPolicy,
    NAMESPACES,
    NAMES,
    WORKLOADS,
    some(grants(), least=1),
    st.sampled_from(Mode),
    VALIDITIES,
    st.sampled_from(OnRevoke),
)
LIMITS = st.builds(Limits, some(HOSTS), some(FIELD_NAMES)).filter(
    lambda limits: bool(limits.hosts or limits.services)
)
LIMITING = st.builds(
    AccessPolicy,
    NAMESPACES,
    NAMES,
    st.builds(WorkloadSelector, namespaces=LABEL_SELECTORS),
    st.just(()),
    limits=LIMITS,
)
POLICIES = st.one_of(GRANTING, GRANTING, LIMITING)

SCHEMES: st.SearchStrategy[AttachScheme] = st.one_of(
    st.just(Bearer()),
    st.just(SigV4()),
    st.just(EcrToken()),
    st.builds(Basic, st.none() | USERNAMES),
    st.builds(Header, HEADER_NAMES, st.sampled_from(("", "Token ", "Key", "no", ": "))),
    st.builds(QueryParameter, PARAMETERS),
)


# From the outermost object to a field; names may be empty, and hold what a pointer escapes.
JSON_PATHS = st.lists(st.text("aZ~/0. ", max_size=4), min_size=1, max_size=3).map(tuple)


@st.composite
def _credential_sources(draw: st.DrawFn) -> CredentialSource:
    """A source whose secret has the parts that its scheme needs, and what it may have beside them."""
    scheme = draw(st.none() | SCHEMES)
    if scheme is None:
        parts = draw(st.sets(st.sampled_from(Part), min_size=1))
    else:
        parts = needed_parts(scheme) | (optional_parts(scheme) if draw(st.booleans()) else frozenset())
    in_order = sorted(parts, key=lambda part: part.name)
    if draw(st.booleans()):
        kind = MountedSecret(draw(NAMES), tuple((part, draw(SECRET_KEYS)) for part in in_order))
    else:
        fields = tuple((part, draw(JSON_PATHS)) for part in in_order)
        kind = MountedSecret(draw(NAMES), json=JsonFields(draw(SECRET_KEYS), fields))
    return CredentialSource(draw(NAMESPACES), draw(NAMES), kind, scheme)


# Values that documents of remote kinds hold.
HTTPS_URLS = st.sampled_from(
    (
        "https://login.example.com/oauth2/token",
        "https://idp.example.com:8443/t?tenant=no&x=1",
        "https://sts.example.com",
    )
)
AUDIENCES = st.from_regex(r"[\x21-\x7e]{1,12}", fullmatch=True)
SCOPES = st.from_regex(r"[\x21\x23-\x5b\x5d-\x7e]{1,8}", fullmatch=True)
URIS = st.from_regex(r"(urn|https|api|no):[\x21\x22\x24-\x7e]{1,12}", fullmatch=True)
CLIENT_IDS = st.from_regex(r"[\x21-\x7e]([\x20-\x7e]{0,8}[\x21-\x7e])?", fullmatch=True)
SECRET_KEYS_OF = st.builds(SecretKey, NAMES, SECRET_KEYS)

CLIENT_AUTHS: st.SearchStrategy[ClientAuth] = st.one_of(
    st.builds(SecretBasic, SECRET_KEYS_OF),
    st.builds(SecretPost, SECRET_KEYS_OF),
    st.builds(
        PrivateKeyJwt,
        SECRET_KEYS_OF,
        st.none() | CLIENT_IDS,
        st.sampled_from(SigningAlgorithm),
        st.none() | AUDIENCES,
    ),
    st.builds(FederatedAssertion, AUDIENCES),
)
_OAUTH_NARROWING: dict[str, st.SearchStrategy[Any]] = {
    "scopes": some(SCOPES),
    "audience": st.none() | AUDIENCES,
    "resource": some(URIS),
    "revocation_url": st.none() | HTTPS_URLS,
}
CLIENT_CREDENTIALS = st.builds(
    Oauth2ClientCredentials, HTTPS_URLS, CLIENT_IDS, CLIENT_AUTHS, **_OAUTH_NARROWING
)


@st.composite
def token_exchanges(draw: st.DrawFn) -> TokenExchange:
    client_id = draw(st.none() | CLIENT_IDS)
    return TokenExchange(
        draw(HTTPS_URLS),
        draw(AUDIENCES),
        draw(URIS | st.just(JWT_TYPE)),
        draw(st.none() | URIS),
        actor=draw(
            st.one_of(
                st.none(),
                st.builds(MountedActor, SECRET_KEYS_OF, URIS),
                st.builds(ProjectedActor, AUDIENCES, URIS | st.just(JWT_TYPE)),
            )
        ),
        client_id=client_id,
        auth=None if client_id is None else draw(st.none() | CLIENT_AUTHS),
        **{name: draw(values) for name, values in _OAUTH_NARROWING.items()},
    )


# What fields a scheme can be served with; the names of keys and paths are Vault's and free.
_VAULT_PARTS = st.sampled_from(
    (
        (Part.TOKEN,),
        (Part.PASSWORD, Part.USERNAME),
        (Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY),
        (Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY, Part.SESSION_TOKEN),
    )
)
VAULT_NAMES = st.one_of(
    st.sampled_from(("no", "1e3", "a b", "~", "ü")), st.from_regex("[a-z_]{1,8}", fullmatch=True)
)
VAULT_PATHS = st.lists(
    st.one_of(VAULT_NAMES, st.sampled_from(("data", "v1.2", "50%", "a+b"))), min_size=1, max_size=3
).map("/".join)


@st.composite
def vault_secrets(draw: st.DrawFn) -> VaultSecret:
    fields = tuple((part, draw(VAULT_NAMES)) for part in draw(_VAULT_PARTS))
    auth = VaultAuth(
        draw(st.sampled_from(VaultMethod)), draw(VAULT_PATHS), draw(VAULT_NAMES), draw(AUDIENCES)
    )
    read: VaultKv2 | VaultDynamic
    if draw(st.booleans()):
        age = timedelta(seconds=draw(st.integers(60, 86_400)))
        version = draw(st.none() | st.integers(1, 2**31 - 1))
        read = VaultKv2(draw(VAULT_PATHS), draw(VAULT_PATHS), fields, version, age)
    else:
        read = VaultDynamic(draw(VAULT_PATHS), fields, draw(pairs(VAULT_NAMES, VAULT_NAMES)))
    return VaultSecret(draw(HTTPS_BASES), auth, read, draw(st.sampled_from(("", "admin", "admin/ml"))))


HTTPS_BASES = st.sampled_from(("https://vault.example.com:8200", "https://git.example.com/api/v3"))
_GITHUB_NARROWING: dict[str, st.SearchStrategy[Any]] = {
    "repositories": some(st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}", fullmatch=True)),
    "permissions": pairs(st.from_regex("[a-z][a-z_]{0,8}", fullmatch=True), st.sampled_from(GitHubLevel)),
    "api_url": st.just(GITHUB_API) | HTTPS_BASES,
}
_GITHUB_IDS = st.integers(1, 9_999_999_999)
GITHUB_APPS = st.one_of(
    st.builds(GitHubApp, _GITHUB_IDS, SECRET_KEYS_OF, _GITHUB_IDS, st.none(), **_GITHUB_NARROWING),
    st.builds(
        GitHubApp,
        _GITHUB_IDS,
        SECRET_KEYS_OF,
        st.none(),
        st.from_regex("[A-Za-z0-9._-]{1,20}", fullmatch=True),
        **_GITHUB_NARROWING,
    ),
)

# One strategy per kind whose parts are its own.
REMOTE_KINDS: tuple[st.SearchStrategy[SourceKind], ...] = (
    CLIENT_CREDENTIALS,
    token_exchanges(),
    vault_secrets(),
    GITHUB_APPS,
    FEDERATIONS,
    web_identities(),
    static_pairs(),
)


@st.composite
def _remote_sources(draw: st.DrawFn) -> CredentialSource:
    """A source with a scheme that takes what its kind gives."""
    kind = draw(st.one_of(REMOTE_KINDS))
    fitting = SCHEMES.filter(lambda scheme: needed_parts(scheme) == kind.parts - optional_parts(scheme))
    return CredentialSource(draw(NAMESPACES), draw(NAMES), kind, draw(st.none() | fitting))


CREDENTIAL_SOURCES = _credential_sources() | _remote_sources()


def schema_nodes(schema: Mapping[str, Any], at: str = "") -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Every node of a schema, with its path."""
    yield at, schema
    for name, below in schema.get("properties", {}).items():
        yield from schema_nodes(below, f"{at}.{name}")
    if "items" in schema:
        yield from schema_nodes(schema["items"], f"{at}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from schema_nodes(schema["additionalProperties"], f"{at}.*")
