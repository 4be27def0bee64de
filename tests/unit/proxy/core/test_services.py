import pytest

from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
)
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname, HostTemplate
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.policy import Access, Grant
from proxy.core.services import (
    ALPHABETS,
    DRAWN,
    UNREADABLE_ENDPOINT,
    BaseUrl,
    Catalogue,
    CredentialSlots,
    Dialect,
    Endpoint,
    HeaderAction,
    Operation,
    PathTemplate,
    Pin,
    Placeholder,
    Service,
    attach_scheme,
    slots_of,
)
from proxy.core.structs import replace

VIRTUAL = Endpoint((HostTemplate("{bucket+}.s3.{region}.store.example"),), (PathTemplate("/{key+}"),))
PLAIN = Endpoint((HostTemplate("s3.{region}.store.example"), HostTemplate("s3.store.example")))
GET_OBJECT = Operation("GetObject", ("GET", "HEAD"), ("bucket", "key"), access=Access.READ)
PUT_OBJECT = Operation("PutObject", ("PUT",), ("bucket", "key"), access=Access.WRITE)
PUT_POLICY = Operation("PutBucketPolicy", ("PUT",), ("bucket",), ("policy",))

STORE = Service(
    "store",
    "Store",
    "Objects.",
    (PLAIN, VIRTUAL),
    (SigV4(), Bearer()),
    blob_hosts=(Glob("cdn-*.store.example"), Glob("blobs.store.example")),
    pins=(Pin("bucket", "The bucket.", "{bucket}"), Pin("org", "The owner.", header="x-org")),
    operations=(GET_OBJECT, PUT_OBJECT, PUT_POLICY),
)
MODELS = Service(
    "models",
    "Models",
    "Models.",
    (Endpoint((HostTemplate("api.models.example"), HostTemplate("s3.store.example"))),),
    (Bearer(),),
)
CATALOGUE = Catalogue.of([STORE, MODELS])


@pytest.mark.parametrize(
    ("host", "readings"),
    [
        ("s3.eu.store.example", [("store", PLAIN, {"region": "eu"})]),
        ("a.b.s3.eu.store.example", [("store", VIRTUAL, {"bucket": "a.b", "region": "eu"})]),
        ("s3.store.example", [("store", PLAIN, {}), ("models", MODELS.endpoints[0], {})]),
        # Both templates of the store fit; the first endpoint counts.
        ("api.models.example", [("models", MODELS.endpoints[0], {})]),
        ("store.example", []),
        ("s3.eu.store.example.evil.example", []),
        ("cdn-1.store.example", []),
    ],
)
def test_a_host_is_read_by_each_service_that_it_belongs_to(
    host: str, readings: list[tuple[str, Endpoint, dict[str, str]]]
) -> None:
    found = CATALOGUE.readings(Hostname(host))
    assert [(r.service.name, r.endpoint, dict(r.captures)) for r in found] == readings


def test_a_host_that_two_templates_read_differently_shows_nothing() -> None:
    wide = Endpoint((HostTemplate("{any}.store.example"),))
    narrow = Endpoint((HostTemplate("s3.store.example"),), (PathTemplate("/{any}"),))
    for endpoints in ((wide, narrow), (narrow, wide)):
        service = Service("s", "S", "S.", endpoints, (Bearer(),))
        (reading,) = Catalogue.of([service]).readings(Hostname("s3.store.example"))
        assert (reading.endpoint, reading.captures) == (UNREADABLE_ENDPOINT, {})


def test_two_templates_that_read_a_host_alike_are_one_reading() -> None:
    endpoint = Endpoint((HostTemplate("{a}.store.example"), HostTemplate("{a}.store.example")))
    service = Service("s", "S", "S.", (endpoint,), (Bearer(),))
    (reading,) = Catalogue.of([service]).readings(Hostname("x.store.example"))
    assert (reading.endpoint, reading.captures) == (endpoint, {"a": "x"})


def test_an_endpoint_for_the_rest_counts_where_no_other_does() -> None:
    rest = Endpoint((HostTemplate("{rest+}.store.example"),), (PathTemplate("/x"),), otherwise=True)
    narrow = Endpoint((HostTemplate("{a}.b.store.example"),))
    other = Endpoint((HostTemplate("a.{b}.store.example"),))
    for endpoints in ((rest, narrow, other), (other, narrow, rest)):
        catalogue = Catalogue.of([Service("s", "S", "S.", endpoints, (Bearer(),))])
        found = {
            host: catalogue.readings(Hostname(f"{host}.store.example"))[0].endpoint
            for host in ("x.b", "a.x", "x.y.z", "a.b")
        }
        # The last one is read in two ways still.
        assert found == {"x.b": narrow, "a.x": other, "x.y.z": rest, "a.b": UNREADABLE_ENDPOINT}


def test_no_path_fits_an_unreadable_endpoint() -> None:
    (template,) = UNREADABLE_ENDPOINT.paths
    assert all(template.compiled().fullmatch(path) is None for path in ("/", "//", "/none", "/a/b"))


def test_an_api_host_is_no_blob_host_whatever_another_entry_says() -> None:
    greedy = Service("g", "G", "G.", (), (Bearer(),), blob_hosts=(Glob("api.models.example"),))
    assert Catalogue.of([MODELS, greedy]).blob_owner(Hostname("api.models.example")) is None
    assert Catalogue.of([greedy]).blob_owner(Hostname("api.models.example")) is greedy


def test_actions_and_headers_are_named_by_operations_pins_and_header_actions() -> None:
    service = Service(
        "s",
        "S",
        "S.",
        (),
        (Bearer(),),
        pins=(Pin("p", "P.", header="x-pin"), Pin("q", "Q.", "{q}")),
        operations=(GET_OBJECT,),
        header_actions=(
            HeaderAction(("x-acl", "x-acl-*"), "PutAcl"),
            HeaderAction(("x-copy", "own-*", "own_*")),
        ),
    )
    assert service.action_names == {GET_OBJECT.name, "PutAcl"}
    assert service.wanted_headers == {"x-pin", "x-acl", "x-copy"}
    # Those that end with a star are wanted by what they begin with, in both spellings.
    assert service.wanted_beginnings == ("x-acl-", "x_acl_", "own-", "own_")
    # With a list of headers, whatever else begins with `x-` is wanted, too.
    assert replace(service, headers=("x-date",)).wanted_beginnings == ("x-", "x_", "own-", "own_")
    assert replace(service, headers=("x-date",)).wanted_headers == service.wanted_headers
    assert not replace(service, header_actions=()).wanted_beginnings


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("cdn-1.store.example", STORE),
        ("cdn-.store.example", STORE),
        ("blobs.store.example", STORE),
        ("cdn-1.eu.store.example", None),  # a star stays within a label
        ("cdn-1.store.example.evil.example", None),
        ("xblobs.store.example", None),
        ("s3.store.example", None),
        ("api.models.example", None),
    ],
)
def test_a_blob_host_belongs_to_the_service_that_lists_it(host: str, owner: Service | None) -> None:
    assert CATALOGUE.blob_owner(Hostname(host)) is owner


def test_a_service_without_blob_hosts_owns_none() -> None:
    assert MODELS.blob_matcher.fullmatch("") is None
    assert Catalogue.of([MODELS]).blob_owner(Hostname("cdn-1.store.example")) is None


def test_a_catalogue_is_a_mapping_by_name() -> None:
    assert dict(CATALOGUE) == {"store": STORE, "models": MODELS}
    assert len(CATALOGUE) == 2
    assert CATALOGUE["models"] is MODELS
    assert "other" not in CATALOGUE


@pytest.mark.parametrize(
    ("grant", "covered"),
    [
        (Grant("c"), ()),  # what is not named is not covered
        (Grant("c", access=(Access.READ,)), (GET_OBJECT,)),
        (Grant("c", access=(Access.WRITE, Access.READ)), (GET_OBJECT, PUT_OBJECT)),
        (Grant("c", access=tuple(Access)), (GET_OBJECT, PUT_OBJECT)),  # no class holds the policy
        (Grant("c", actions=("PutBucketPolicy",)), (PUT_POLICY,)),
        (Grant("c", access=(Access.READ,), actions=("PutObject", "Unknown")), (GET_OBJECT, PUT_OBJECT)),
    ],
)
def test_a_grant_covers_operations_by_class_and_by_name(grant: Grant, covered: tuple[Operation, ...]) -> None:
    assert STORE.operations_of(grant) == covered


def test_pins_are_found_by_name_and_know_what_they_join() -> None:
    assert STORE.pin("bucket") == Pin("bucket", "The bucket.", "{bucket}")
    assert STORE.pin("project") is None
    assert Pin("repo", "", "{org}/{name}").captures == ("org", "name")
    assert Pin("org", "", header="x-org").captures == ()


@pytest.mark.parametrize(
    ("template", "path", "captured"),
    [
        ("/{bucket}/{key+}", "/data/a/b//c", {"bucket": "data", "key": "a/b//c"}),
        ("/{bucket}/{key+}", "/data//a", {"bucket": "data", "key": "/a"}),
        ("/{bucket}/{key+}", "/data/", None),
        ("/{bucket}/{key+}", "//key", None),
        ("/{org}/{name}.git/{rest+}", "/o/n.x.git/info", {"org": "o", "name": "n.x", "rest": "info"}),
        ("/{org}/{name}.git/{rest+}", "/o/nxgit/info", None),
        ("/{key+}", "/a\nb", {"key": "a\nb"}),  # "all the rest" is all of it, line breaks too
        ("/v2/{repo+}/tags/list", "/v2/team/app/tags/list", {"repo": "team/app"}),
        ("/v2/{repo+}/tags/list", "/v2/x/tags/list/tags/list", {"repo": "x/tags/list"}),
        ("/v2/{repo+}/tags/list", "/v2/tags/list", None),
        ("/v1/models", "/v1/models", {}),
        ("/v1/models", "/v1/models/", None),
    ],
)
def test_a_path_template_captures_segments(template: str, path: str, captured: dict[str, str] | None) -> None:
    match = PathTemplate(template).compiled().fullmatch(path)
    assert (match.groupdict() if match else None) == captured


def test_a_path_template_lists_its_captures() -> None:
    assert PathTemplate("/{org}/{name}/{rest+}").captures == {"org", "name", "rest"}
    assert PathTemplate("/v1/models").captures == frozenset()


@pytest.mark.parametrize(
    ("value", "fits", "others"),
    [
        (
            "sk-podkey-{alnum:4}",
            ["sk-podkey-aZ09"],
            ["sk-podkey-aZ0", "sk-podkey-aZ090", "sk-podkey-aZ0-", "xk-podkey-aZ09", "sk-podkey-aZ09\n"],
        ),
        ("{hex:3}", ["0af"], ["0AF", "0ag", "0a"]),
        ("ID{upper:2}.{hex:1}!", ["IDA7.f!"], ["IDa7.f!", "IDA7xf!", "IDA7.f"]),
        ("true", ["true"], ["True", "true ", ""]),
    ],
)
def test_a_placeholder_is_told_by_its_shape(value: str, fits: list[str], others: list[str]) -> None:
    shape = Placeholder("KEY", value).shape
    assert all(shape.fullmatch(text) for text in fits)
    assert not any(shape.fullmatch(text) for text in others)


@pytest.mark.parametrize(
    ("scheme", "slots"),
    [
        (Bearer(), CredentialSlots(("authorization",))),
        (Basic("api"), CredentialSlots(("authorization",))),
        (Header("X-Api-Key"), CredentialSlots(("x-api-key",))),
        (QueryParameter("Key"), CredentialSlots(query=("Key",))),
        (SigV4(), CredentialSlots(("authorization", "x-amz-security-token", "x-amz-s3session-token"))),
        (EcrToken(), CredentialSlots(("authorization",))),
    ],
)
def test_where_a_scheme_puts_a_credential_is_a_slot(scheme: AttachScheme, slots: CredentialSlots) -> None:
    assert slots_of(scheme) == slots


def test_slots_join_in_order_and_once() -> None:
    one = CredentialSlots(("a", "b"), ("q",), ("c",))
    two = CredentialSlots(("b", "d"), ("q", "r"), ("c", "e"))
    joined = CredentialSlots(("a", "b", "d"), ("q", "r"), ("c", "e"))
    assert CredentialSlots.union(iter([one, two])) == joined
    assert CredentialSlots.union([]) == CredentialSlots()


@pytest.mark.parametrize(
    ("hosts", "main"),
    [
        ([["api.acme.example", "eu.acme.example"]], "api.acme.example"),
        ([["{region}.acme.example", "acme.example"]], "acme.example"),
        ([["{region}.acme.example"], ["acme.example"]], "acme.example"),
        ([["{region}.acme.example"]], None),
        ([], None),
    ],
)
def test_the_main_host_is_the_first_that_captures_nothing(hosts: list[list[str]], main: str | None) -> None:
    endpoints = tuple(Endpoint(tuple(map(HostTemplate, names))) for names in hosts)
    assert Service("s", "S", "S.", endpoints, (Bearer(),)).main_host == main


def test_a_base_url_ends_at_the_host_unless_the_sdk_expects_a_path() -> None:
    assert BaseUrl("ACME_URL").path == ""
    assert MODELS.base_urls == ()


def test_every_alphabet_that_is_drawn_from_is_known() -> None:
    for name, letters in ALPHABETS.items():
        assert DRAWN.fullmatch(f"{{{name}:9}}")
        assert Placeholder("KEY", f"{{{name}:{len(letters)}}}").shape.fullmatch(letters)
        assert letters.isalnum()


@pytest.mark.parametrize(
    ("attach", "service", "scheme"),
    [
        (None, STORE, SigV4()),  # the service's first word
        (Header("X-Api-Key"), STORE, Header("X-Api-Key")),
        (Header("X-Api-Key"), None, Header("X-Api-Key")),
        (None, None, None),
    ],
)
def test_the_source_says_how_a_credential_is_attached_and_else_the_service(
    attach: AttachScheme | None, service: Service | None, scheme: AttachScheme | None
) -> None:
    source = CredentialSource("ml-team", "store", MountedSecret("store", ((Part.TOKEN, "t"),)), attach)
    assert attach_scheme(source, service) == scheme


def test_a_token_that_somebody_issued_is_a_bearer_token_where_the_service_takes_one() -> None:
    """Anthropic reads its own keys in a header of its own, and tokens of federation as RFC 6750 says."""
    own = Header("x-api-key")
    takes_both, takes_its_own = replace(STORE, attach=(own, Bearer())), replace(STORE, attach=(own,))
    issued = CredentialSource("ml", "a", GcpWorkloadIdentity("projects/1", "pool"))
    mounted = CredentialSource("ml", "a", MountedSecret("key", ((Part.TOKEN, "t"),)))

    assert attach_scheme(issued, takes_both) == Bearer()
    assert attach_scheme(issued, takes_its_own) == own
    assert attach_scheme(mounted, takes_both) == own


def test_dialects_are_spelled_as_documents_spell_them() -> None:
    assert [dialect.value for dialect in Dialect] == [
        "s3-xml",
        "openai-json",
        "anthropic-json",
        "huggingface-json",
        "aws-json",
        "oci-json",
        "plain-json",
    ]


@pytest.mark.parametrize(
    ("template", "host", "may"),
    [
        ("{bucket+}.s3.{region}.store.example", "b.s3.eu.store.example", True),
        ("{bucket+}.s3.{region}.store.example", "anything.store.example", True),
        ("{bucket+}.s3.{region}.store.example", "store.example", True),
        ("{bucket+}.s3.{region}.store.example", "s3.store.example.com", False),
        ("{bucket+}.s3.{region}.store.example", "*.store.example", True),
        ("{bucket+}.s3.{region}.store.example", "*.models.example", False),
        ("{bucket+}.s3.{region}.store.example", "*.example", True),
        ("store", "store", True),
        ("store", "s3.store", False),
        ("{name+}.store", "s3.store", True),
        ("{name}.store", "anything.example", True),
        ("{name}-store.example", "my-store.example", True),
    ],
)
def test_a_service_is_told_by_the_end_of_a_host_and_in_doubt_it_may_be(
    template: str, host: str, *, may: bool
) -> None:
    service = replace(STORE, endpoints=(Endpoint((HostTemplate(template),)),))
    assert service.may_have(host.split(".")) is may


def test_no_host_of_a_service_is_missed_by_its_end(catalogue: Catalogue) -> None:
    for service in catalogue.values():
        for endpoint in service.endpoints:
            for template in endpoint.hosts:
                assert service.may_have(template.filled({}).split("."))
                assert service.may_have(template.label_globs)
