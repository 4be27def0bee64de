"""What limits leave to the policies of a namespace, and what they name in vain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import HostPattern
from proxy.core.labels import LabelSelector
from proxy.core.policy import AccessPolicy, Grant, Limits, WorkloadSelector
from proxy.core.services import Catalogue
from proxy.documents.common_hosts import common_host
from proxy.documents.limits import MAX_NAMED, check_limits
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import read_documents
from proxy.documents.reading import MAX_PROBLEMS
from tests.document_strategies import FILE, HOSTS, codes, limiting, policy, read, source

WORKLOADS = WorkloadSelector(namespaces=LabelSelector((("tenant", "yes"),)))
ASK = "whoever looks after podkey in this cluster"


def limits_of(*hosts: str, services: tuple[str, ...] = (), name: str = "limits") -> AccessPolicy:
    found = Limits(tuple(map(HostPattern, hosts)), services)
    return AccessPolicy("podkey-system", name, WORKLOADS, (), limits=found)


def problems_of(catalogue: Catalogue, grant: str, *limiting: AccessPolicy) -> list[Problem]:
    text = policy(f"{{{grant}, credential: one}}")
    (one,) = read_documents({FILE: text.encode()}, catalogue).documents.policies
    return check_limits([Placed(one, FILE, 1, ((0, 7),))], limiting, catalogue)


S3 = "service: s3, buckets: [b], access: [read]"
STORE = f"{S3}, endpoint: store.example.com"
VIRTUAL = f"{STORE}, addressing: virtual"


@pytest.mark.parametrize(
    ("grant", "limits"),
    [
        ("hosts: [api.example.com]", limits_of("api.example.com")),
        ("hosts: [api.example.com]", limits_of("*.example.com")),
        ("hosts: [api.example.com], ports: [8443]", limits_of("api.example.com")),
        ("hosts: ['*.example.com']", limits_of("x.example.org", "*.example.com")),
        ("hosts: [a.example.com, b.example.com]", limits_of("a.example.com", "b.example.com")),
        ("service: openai", limits_of(services=("anthropic", "openai"))),
        # Hosts decide, whosever they are.
        ("hosts: [api.openai.com]", limits_of("api.openai.com")),
        (S3, limits_of(services=("s3",))),
        (STORE, limits_of("store.example.com", services=("s3",))),
        (f"{S3}, endpoint: 'store.example.com:9000'", limits_of("*.example.com", services=("s3",))),
        (VIRTUAL, limits_of("store.example.com", "*.store.example.com", services=("s3",))),
    ],
)
def test_what_is_listed_is_allowed(catalogue: Catalogue, grant: str, limits: AccessPolicy) -> None:
    assert problems_of(catalogue, grant, limits) == []


@pytest.mark.parametrize(
    ("grant", "limits", "key", "what"),
    [
        ("hosts: [api.example.com]", limits_of("b.example.com"), "hosts[0]", "`api.example.com`"),
        ("hosts: [a.example.com, b.example.com]", limits_of("a.example.com"), "hosts[1]", "`b.example.com`"),
        # One label, in both.
        ("hosts: [example.com]", limits_of("*.example.com"), "hosts[0]", "`example.com`"),
        ("hosts: [a.b.example.com]", limits_of("*.example.com"), "hosts[0]", "`a.b.example.com`"),
        ("hosts: ['*.b.example.com']", limits_of("*.example.com"), "hosts[0]", "`*.b.example.com`"),
        # A wildcard is more than any number of names, its sample included.
        ("hosts: ['*.example.com']", limits_of("any.example.com"), "hosts[0]", "`*.example.com`"),
        ("hosts: ['*.example.com']", limits_of("example.com"), "hosts[0]", "`*.example.com`"),
        ("service: openai", limits_of(services=("anthropic",)), "service", "the service `openai`"),
        # A service is more than the hosts of it that are listed, and a host more than its service's pins.
        ("service: openai", limits_of("api.openai.com"), "service", "the service `openai`"),
        ("hosts: [api.openai.com]", limits_of(services=("openai",)), "hosts[0]", "`api.openai.com`"),
        # The host of a store is the grant's own choice, and so is the service that it speaks.
        (STORE, limits_of(services=("s3",)), "endpoint", "a store at `store.example.com`"),
        (STORE, limits_of("s3.example.com", services=("s3",)), "endpoint", "a store at `store.example.com`"),
        (STORE, limits_of("store.example.com"), "service", "the service `s3`"),
        (VIRTUAL, limits_of("store.example.com", services=("s3",)), "endpoint", "`*.store.example.com`"),
        (VIRTUAL, limits_of("*.store.example.com", services=("s3",)), "endpoint", "`store.example.com`"),
    ],
)
def test_what_is_not_listed_is_told_with_whose_limits_they_are(
    catalogue: Catalogue, grant: str, limits: AccessPolicy, key: str, what: str
) -> None:
    (problem,) = problems_of(catalogue, grant, limits)
    assert (problem.code, problem.path) == (ProblemCode.NOT_ALLOWED_HERE, f"spec.grants[0].{key}")
    assert (problem.file, problem.line) == (FILE, 7)
    assert what in problem.message
    assert problem.message.endswith("is not allowed here, by the limits of podkey-system/limits")
    assert problem.fix


@pytest.mark.parametrize(
    ("grant", "limits", "fix"),
    [
        (
            "hosts: [x.example.com]",
            limits_of("a.example.com", "*.example.org"),
            f"use one of the allowed hosts (a.example.com, *.example.org), or ask {ASK}",
        ),
        (
            "hosts: [x.example.com]",
            limits_of(*(f"h{n}.example.com" for n in range(MAX_NAMED + 3))),
            f"h{MAX_NAMED - 1}.example.com and 3 more), or ask {ASK}",
        ),
        ("hosts: [x.example.com]", limits_of(services=("s3",)), f"no hosts are allowed: ask {ASK}"),
        (STORE, limits_of(services=("s3",)), f"no hosts are allowed: ask {ASK}"),
        ("service: openai", limits_of("x.example.com"), f"no services are allowed: ask {ASK}"),
        (
            "service: openai",
            limits_of(services=("s3",)),
            f"use one of the allowed services (s3), or ask {ASK}",
        ),
        (
            "hosts: [api.openai.com]",
            limits_of("x.example.com", services=("openai",)),
            "write `service: openai` in place of `hosts`",
        ),
        ("hosts: ['*.openai.com']", limits_of(services=("openai",)), "write `service: openai` in place"),
    ],
)
def test_the_fix_names_what_is_allowed(
    catalogue: Catalogue, grant: str, limits: AccessPolicy, fix: str
) -> None:
    (problem,) = problems_of(catalogue, grant, limits)
    assert fix in problem.fix


def test_each_of_several_limits_holds(catalogue: Catalogue) -> None:
    first = limits_of("*.example.com", "a.example.org", name="first")
    second = limits_of("a.example.com", "a.example.org", name="second")
    hosts = "hosts: [a.example.com, b.example.com, a.example.org, b.example.org]"
    found = problems_of(catalogue, hosts, first, second)
    assert [(p.path.rpartition(".")[2], p.message.rpartition("/")[2]) for p in found] == [
        ("hosts[3]", "first"),
        ("hosts[1]", "second"),
        ("hosts[3]", "second"),
    ]


def test_without_limits_everything_is_allowed(catalogue: Catalogue) -> None:
    granting = AccessPolicy("podkey-system", "p", WORKLOADS, (Grant("one", "openai"),))
    assert problems_of(catalogue, "hosts: [api.example.com]") == []
    assert problems_of(catalogue, "hosts: [api.example.com]", granting) == []


def test_a_policy_cannot_take_itself_out_of_limits(catalogue: Catalogue) -> None:
    """Who may be cluster-wide is told elsewhere; here it changes nothing."""
    grants = (Grant("one", "openai"),)
    for one in (
        AccessPolicy("ml", "p", WorkloadSelector(("*",), namespaces=WORKLOADS.namespaces), grants),
        AccessPolicy("podkey-system", "p", WorkloadSelector(("*",)), grants),
    ):
        (problem,) = check_limits([Placed(one, FILE, 0, ((0, 0),))], [limits_of("x.example.com")], catalogue)
        assert str(problem).startswith(f"{FILE}: spec.grants[0].service: the service `openai`")


def test_no_more_is_told_than_anybody_mends(catalogue: Catalogue) -> None:
    grants = tuple(Grant("one", "openai") for _ in range(MAX_PROBLEMS + 1))
    places = tuple((number, 0) for number in range(len(grants)))
    placed = Placed(AccessPolicy("ml", "p", WORKLOADS, grants), FILE, 0, places)
    assert len(check_limits([placed], [limits_of("x.example.com")], catalogue)) == MAX_PROBLEMS


@given(st.lists(HOSTS, min_size=1, max_size=3), st.lists(HOSTS, min_size=1, max_size=4))
def test_property_what_is_allowed_reaches_no_host_that_is_not(
    catalogue: Catalogue, granted: list[HostPattern], allowed: list[HostPattern]
) -> None:
    grant = Grant("one", hosts=tuple(granted))
    placed = Placed(AccessPolicy("ml", "p", WORKLOADS, (grant,)), FILE, 0, ((0, 0),))
    limits = limits_of(*(host.text for host in allowed))
    if check_limits([placed], [limits], catalogue):
        return
    for host in granted:
        # A name that nobody listed would be reached by a wildcard alone.
        sample = common_host(grant, Grant("x", hosts=(host,)), catalogue)
        assert sample is not None
        assert any(one.matches(sample) for one in allowed)
        assert not host.is_wildcard or host in allowed


# --- what limits name --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    ["{services: [openai, s3]}", "{hosts: [api.example.com]}", "{hosts: ['*.eu-central-1.amazonaws.com']}"],
)
def test_limits_that_name_what_is_there_have_no_problems(catalogue: Catalogue, limits: str) -> None:
    assert read(catalogue, limiting(limits)).problems == ()


@pytest.mark.parametrize(
    ("limits", "code", "path", "message", "fix"),
    [
        (
            "{services: [s3, opnai]}",
            "unknown_service",
            "services[1]",
            "there is no service `opnai` in the catalogue",
            "did you mean `openai`?",
        ),
        (
            "{hosts: [x.example.com, b.s3.eu-central-1.amazonaws.com]}",
            "host_needs_service",
            "hosts[1]",
            "no grant can name `b.s3.eu-central-1.amazonaws.com`: it is a host of",
            "write `s3` into `services`",
        ),
        (
            "{hosts: [cdn-lfs.hf.co]}",
            "host_blob",
            "hosts[0]",
            "no grant can name `cdn-lfs.hf.co`: it is a host of",
            "write `huggingface` into `services`",
        ),
    ],
)
def test_tells_what_limits_name_in_vain(
    catalogue: Catalogue, limits: str, *, code: str, path: str, message: str, fix: str
) -> None:
    (problem,) = read(catalogue, limiting(limits)).problems
    assert (problem.code.value, problem.path, problem.line) == (code, f"spec.limits.{path}", 1)
    assert message in problem.message
    assert problem.fix == fix


def test_a_service_that_may_be_in_a_broken_document_is_not_called_missing(catalogue: Catalogue) -> None:
    text = limiting("{services: [mine]}")
    assert codes(read(catalogue, text).problems) == ["unknown_service"]
    assert codes(read(catalogue, text, "[lost]\n").problems) == ["wrong_type"]


def test_limits_beside_policies_change_nothing_of_them(catalogue: Catalogue) -> None:
    """Which limits select a namespace, a folder does not tell."""
    text = (limiting("{hosts: [other.example.com]}"), policy(), source("mine"))
    assert read(catalogue, *text).problems == ()
