import pytest

from proxy.core.credentials import Bearer, Header
from proxy.core.globs import Glob
from proxy.core.hosts import HostTemplate
from proxy.core.paths import PathPattern
from proxy.core.policy import Access
from proxy.core.services import (
    BaseUrl,
    CredentialSlots,
    Dialect,
    Endpoint,
    HeaderAction,
    MintingApi,
    Operation,
    PathTemplate,
    Pin,
    Placeholder,
    Service,
    SpentSign,
)
from proxy.documents.reading import INVALID
from proxy.documents.service_documents import SERVICE_DOCUMENT
from tests.document_strategies import read_shape, service_entry

EVERYTHING = """\
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: acme}
spec:
  title: Acme
  summary: What acme does.
  endpoints:
    - hosts: ["{account}.api", api]
      domains: [acme.example, acme.test]
      paths: ["/{org}/{name}.git", "/{org}/{rest+}", /]
    - hosts: ["*.acme.example"]
      otherwise: true
    - hosts: ["{account}.{aws_region}.acme.example"]
      paths: ["/{name}"]
      values: {whose: "arn:{aws_partition}:{account}", where: fixed}
  blobHosts: [cdn*.acme.example]
  attach:
    - header: {name: X-Key}
    - bearer: {}
  slots: {headers: [Authorization, X-Key], query: [Token], cookies: [Session]}
  placeholders:
    - {name: ACME_KEY, value: "ak-{hex:40}-{alnum:3}{upper:99}"}
  baseUrls:
    - {name: ACME_URL}
    - {name: ACME_API_URL, path: /api/v1}
  minting:
    - {name: token, summary: A token., paths: [/token], methods: [POST], query: [a]}
    - {name: any, summary: Anything.}
  pins:
    - {name: org, summary: The organisation., template: "{org}", required: true}
    - {name: project, summary: The project., header: Acme-Project}
  operations:
    - {name: Get, methods: [GET, HEAD], captures: [rest, org], subresources: [b, a],
       access: read, prefixFrom: prefix}
    - {name: Put, methods: [PUT], keyless: true}
    - {name: Remove, methods: [POST], captures: [whose], bodyKeys: true}
    - {name: Copy, methods: [PUT], captures: [whose], copies: true}
    - {name: Open, methods: [GET], requires: [aws_region], answeredHere: true}
  headerActions:
    - {headers: [X-Copy, X-Copy-Range], action: Copy}
    - {headers: [X-Override]}
  sourceHeaders: [X-Source]
  headers: [X-Date, X-Meta-*]
  parameters: [prefix]
  ids: [prefix, a]
  opaquePaths: true
  grpc: true
  dialect: s3-xml
  spent:
    - {status: 401}
    - {status: 403, codes: [ExpiredToken, "token.gone"]}
"""


def test_reads_an_entry_with_everything_in_it() -> None:
    text = EVERYTHING.replace('["*.acme.example"]', "[other.acme.example]")
    hosts = ("{account}.api.acme.example", "{account}.api.acme.test", "api.acme.example", "api.acme.test")
    expected = Service(
        name="acme",
        title="Acme",
        summary="What acme does.",
        endpoints=(
            Endpoint(
                tuple(map(HostTemplate, hosts)),
                (PathTemplate("/{org}/{name}.git"), PathTemplate("/{org}/{rest+}"), PathTemplate("/")),
            ),
            Endpoint((HostTemplate("other.acme.example"),), otherwise=True),
            Endpoint(
                (HostTemplate("{account}.{aws_region}.acme.example"),),
                (PathTemplate("/{name}"),),
                (("where", "fixed"), ("whose", "arn:{aws_partition}:{account}")),
            ),
        ),
        attach=(Header("X-Key"), Bearer()),
        blob_hosts=(Glob("cdn*.acme.example"),),
        slots=CredentialSlots(("authorization", "x-key"), ("Token",), ("Session",)),
        placeholders=(Placeholder("ACME_KEY", "ak-{hex:40}-{alnum:3}{upper:99}"),),
        base_urls=(BaseUrl("ACME_URL"), BaseUrl("ACME_API_URL", "/api/v1")),
        minting=(
            MintingApi("token", "A token.", (PathPattern("/token"),), ("POST",), ("a",)),
            MintingApi("any", "Anything.", (PathPattern("/**"),)),
        ),
        pins=(
            Pin("org", "The organisation.", "{org}", None, required=True),
            Pin("project", "The project.", None, "acme-project"),
        ),
        operations=(
            Operation("Get", ("GET", "HEAD"), ("org", "rest"), ("a", "b"), Access.READ, "prefix"),
            Operation("Put", ("PUT",), (), (), None, None, keyless=True),
            Operation("Remove", ("POST",), ("whose",), body_keys=True),
            Operation("Copy", ("PUT",), ("whose",), copies=True),
            Operation("Open", ("GET",), requires=("aws_region",), answered_here=True),
        ),
        header_actions=(HeaderAction(("x-copy", "x-copy-range"), "Copy"), HeaderAction(("x-override",))),
        source_headers=("x-source",),
        headers=("x-date", "x-meta-*"),
        parameters=("prefix",),
        ids=("prefix", "a"),
        opaque_paths=True,
        grpc=True,
        dialect=Dialect.S3_XML,
        spent=(SpentSign(401), SpentSign(403, ("ExpiredToken", "token.gone"))),
    )
    assert read_shape(SERVICE_DOCUMENT, text) == (expected, [])


def test_a_wildcard_is_no_host_template() -> None:
    _, (problem,) = read_shape(SERVICE_DOCUMENT, EVERYTHING)
    assert (problem.code.value, problem.path) == ("host_malformed", "spec.endpoints[1].hosts[0]")
    assert "`{name}` stands for a label" in problem.fix


def test_what_an_entry_leaves_out_is_empty() -> None:
    value, problems = read_shape(SERVICE_DOCUMENT, service_entry())
    assert problems == []
    assert value == Service(
        "acme", "Acme", "What acme does.", (Endpoint((HostTemplate("api.acme.example"),)),), (Bearer(),)
    )
    assert (value.dialect, value.built_in, value.slots) == (Dialect.PLAIN_JSON, False, CredentialSlots())
    assert value.spent == (SpentSign(401),)


@pytest.mark.parametrize(
    ("spent", "place"),
    [
        ("[]", "spec.spent"),
        ("[{codes: [a]}]", "spec.spent[0]"),
        ("[{status: 200}]", "spec.spent[0].status"),
        ("[{status: 503}]", "spec.spent[0].status"),
        ("[{status: 403, codes: []}]", "spec.spent[0].codes"),
        ("[{status: 403, codes: ['<Code>']}]", "spec.spent[0].codes[0]"),
    ],
)
def test_a_sign_of_a_spent_credential_is_a_refusal_and_its_codes(spent: str, place: str) -> None:
    _, (problem,) = read_shape(SERVICE_DOCUMENT, service_entry() + f"  spent: {spent}\n")
    assert problem.path == place


ENDPOINT = "endpoints[0]"


@pytest.mark.parametrize(
    ("endpoint", "code", "path", "message", "fix"),
    [
        (
            'hosts: ["{a}.{a}.acme.example"]',
            "bad_value",
            ".hosts[0]",
            "captures the same name twice",
            "its own name",
        ),
        ("hosts: [API.acme_.-x]", "host_malformed", ".hosts[0]", "is not a host template", "lower-case host"),
        ("hosts: ['{A}.acme.example']", "host_malformed", ".hosts[0]", "is not a host template", "`{name}`"),
        (
            "hosts: ['acme.{tld}']",
            "bad_value",
            ".hosts",
            "would cover names of strangers",
            "the captures end before",
        ),
        (
            "hosts: ['{name}.example']",
            "bad_value",
            ".hosts",
            "`{name}.example` would cover names",
            "captures end",
        ),
        (
            "hosts: ['{name}acme.example']",
            "bad_value",
            ".hosts",
            "would cover names of strangers",
            "captures end",
        ),
        (
            "hosts: ['{name}-acme.example']",
            "bad_value",
            ".hosts",
            "would cover names of strangers",
            "captures end",
        ),
        (
            "hosts: [localhost]",
            "bad_value",
            ".hosts",
            "`localhost` would cover names of strangers",
            "captures end",
        ),
        (
            "hosts: ['{a}.api'], domains: ['{a}.acme.example']",
            "bad_value",
            "",
            "`{a}.api.{a}.acme.example` captures the same name twice",
            "its own name",
        ),
        (
            "hosts: [a.acme.example], paths: [x]",
            "bad_value",
            ".paths[0]",
            "is not a path template",
            "write a path",
        ),
        (
            "hosts: [a.acme.example], paths: [/a b]",
            "bad_value",
            ".paths[0]",
            "is not a path template",
            "`{name+}` once",
        ),
        (
            "hosts: [a.acme.example], paths: ['/{A}']",
            "bad_value",
            ".paths[0]",
            "is not a path template",
            "write a",
        ),
        (
            "hosts: [a.acme.example], paths: ['/{a+}/{b+}']",
            "bad_value",
            ".paths[0]",
            "has two captures of several segments",
            "use `+` once",
        ),
        (
            f"hosts: [{', '.join(f'h{n}' for n in range(65))}], domains: [acme.example, acme.test]",
            "bad_value",
            ".hosts",
            "more than 128 hosts",
            "use captures",
        ),
        (
            "hosts: ['{a}.{b}.acme.example'], paths: ['/{b}/{a}']",
            "bad_value",
            ".paths",
            "`a` is captured from the host and from `/{b}/{a}`",
            "give them different names",
        ),
        (
            "hosts: ['{a}.acme.example'], values: {a: x}",
            "bad_value",
            ".values.a",
            "`a` is captured already",
            "a name of its own",
        ),
        (
            "hosts: ['{a}.acme.example'], paths: ['/{b}'], values: {b: x}",
            "bad_value",
            ".values.b",
            "`b` is captured already",
            "a name of its own",
        ),
        (
            "hosts: ['{a}.acme.example', acme.example], values: {b: 'x-{a}'}",
            "bad_value",
            ".values.b",
            "the host `acme.example` does not capture `a`",
            "",
        ),
        (
            "hosts: ['{a}.acme.example'], values: {b: '{aws_partition}'}",
            "bad_value",
            ".values.b",
            "does not capture `aws_partition`",
            "",
        ),
    ],
)
def test_tells_what_is_wrong_with_an_endpoint(
    endpoint: str, *, code: str, path: str, message: str, fix: str
) -> None:
    text = service_entry().replace("hosts: [api.acme.example]", endpoint)
    value, (problem,) = read_shape(SERVICE_DOCUMENT, text)
    assert value is INVALID
    assert (problem.code.value, problem.path, problem.line) == (code, f"spec.{ENDPOINT}{path}", 7)
    assert message in problem.message
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("spec", "path", "message", "fix"),
    [
        ("blobHosts: [cdn]", "blobHosts[0]", "`cdn` is not a host", "such as `cdn.example.com`"),
        ("blobHosts: ['*.com']", "blobHosts[0]", "`*.com` is not a host", "`*` within a label"),
        ("blobHosts: ['*']", "blobHosts[0]", "`*` is not a host", "`*` within a label"),
        (
            "placeholders: [{name: K, value: '{hex:0}'}]",
            "placeholders[0].value",
            "holds an unknown placeholder",
            "N from 1 to 99",
        ),
        (
            "placeholders: [{name: K, value: '{digits:4}'}]",
            "placeholders[0].value",
            "`{digits:4}` holds an unknown placeholder",
            "write {hex:N}, {alnum:N} or {upper:N}",
        ),
        ("placeholders: [{name: K, value: 'a}'}]", "placeholders[0].value", "unknown placeholder", "{hex:N}"),
        (
            "pins: [{name: p, summary: P., template: fixed}]",
            "pins[0].template",
            "the template captures nothing",
            "name a capture, such as `{org}`",
        ),
        (
            "pins: [{name: p, summary: P., template: '{org}'}]",
            "pins[0]",
            "no host or path captures `org`",
            "remove it",
        ),
        (
            "operations: [{name: G, methods: [GET], captures: [key]}]",
            "operations[0]",
            "no host or path captures `key`",
            "remove it",
        ),
        (
            "operations: [{name: G, methods: [GET], requires: [zone]}]",
            "operations[0]",
            "no host or path captures `zone`",
            "remove it",
        ),
        (
            "ids: [versionId]",
            "ids[0]",
            "no operation has the sub-resource `versionId`, and it is no parameter",
            "remove it",
        ),
        (
            "operations: [{name: G, methods: [GET]}, {name: G, methods: [PUT]}, {name: H, methods: [GET]}]",
            "operations[2]",
            "H and G are told by the same method, captures and query",
            "make them differ",
        ),
    ],
)
def test_tells_what_is_wrong_with_the_rest_of_an_entry(spec: str, path: str, message: str, fix: str) -> None:
    value, (problem,) = read_shape(SERVICE_DOCUMENT, service_entry(f"  {spec}\n"))
    assert value is INVALID
    assert (problem.code.value, problem.path, problem.line) == ("bad_value", f"spec.{path}", 9)
    assert message in problem.message
    assert fix in problem.fix


def test_a_capture_that_is_mistyped_is_told_its_neighbour() -> None:
    text = service_entry("  pins: [{name: p, summary: P., template: '{orgs}/{name}'}]\n").replace(
        "hosts: [api.acme.example]", "hosts: [api.acme.example], paths: ['/{org}/{name}']"
    )
    _, (problem,) = read_shape(SERVICE_DOCUMENT, text)
    assert problem.fix == "did you mean `org`?"
