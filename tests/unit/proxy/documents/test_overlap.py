"""Each dimension of a grant by itself: a pair that meets in it, and a pair that does not."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.documents.overlap import MAX_REPORTED, check_overlaps
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from tests.document_strategies import FILE, codes, joined, limiting, policy, read, service_entry, source


def overlaps(catalogue: Catalogue, *texts: str) -> list[Problem]:
    problems = read(catalogue, *texts).problems
    assert set(codes(problems)) <= {"overlapping_grants"}, problems
    return list(problems)


def grant(what: str, credential: str) -> str:
    return f"{{{what}, credential: {credential}}}"


def request_of(problem: Problem) -> str:
    return problem.message.partition("both cover ")[2].partition(", with the credentials")[0]


# --- two grants of one policy --------------------------------------------------------------------------

HOST = "hosts: [api.example.com]"
S3 = "service: s3, buckets: [b]"
READ = f"{S3}, access: [read]"
STORE = f"{READ}, endpoint: store.example.com"
HUB = "service: huggingface"
DUAL = "hosts: ['*.dualstack.eu-central-1.amazonaws.com']"


@pytest.mark.parametrize(
    ("left", "right", "request_text"),
    [
        (HOST, HOST, "GET https://api.example.com/"),
        (HOST, "hosts: [b.example.com, api.example.com]", "GET https://api.example.com/"),
        (HOST, "hosts: ['*.example.com']", "GET https://api.example.com/"),
        ("hosts: ['*.example.com']", HOST, "GET https://api.example.com/"),
        ("hosts: ['*.example.com']", "hosts: ['*.example.com']", "GET https://any.example.com/"),
        (
            "hosts: [münchen.example.com]",
            "hosts: ['*.example.com']",
            "GET https://münchen.example.com (xn--mnchen-3ya.example.com)/",
        ),
        # Hosts against services
        ("hosts: [api.openai.com]", "service: openai", "GET https://api.openai.com/"),
        ("service: openai", "hosts: ['*.openai.com']", "GET https://api.openai.com/"),
        ("service: openai", "hosts: [a.example.com, eu.api.openai.com]", "GET https://eu.api.openai.com/"),
        ("service: openai", "service: openai", "GET https://api.openai.com/"),
        # Ports
        (f"{HOST}, ports: [443, 8443]", f"{HOST}, ports: [8443]", "GET https://api.example.com:8443/"),
        # Methods
        (f"{HOST}, methods: [GET, POST]", f"{HOST}, methods: [POST, PUT]", "POST https://api.example.com/"),
        (f"{HOST}, methods: [PUT]", HOST, "PUT https://api.example.com/"),
        # Paths
        (f"{HOST}, paths: [/a/**]", f"{HOST}, paths: [/b, /a/*/c]", "GET https://api.example.com/a/x/c"),
        (f"{HOST}, paths: [/a/b]", HOST, "GET https://api.example.com/a/b"),
        (f"{HOST}, paths: [/]", f"{HOST}, paths: ['/**']", "GET https://api.example.com/"),
        # Query
        (f"{HOST}, query: {{a: [x]}}", f"{HOST}, query: {{a: [w, x]}}", "GET https://api.example.com/"),
        (f"{HOST}, query: {{a: [x]}}", f"{HOST}, query: {{a: []}}", "GET https://api.example.com/"),
        (f"{HOST}, query: {{a: [x]}}", f"{HOST}, query: {{b: [x]}}", "GET https://api.example.com/"),
        # Pins
        (f"{HUB}, pins: {{org: [a*]}}", f"{HUB}, pins: {{org: [b, '*c']}}", "with org `ac`"),
        (f"{HUB}, pins: {{org: [acme]}}", HUB, "with org `acme`"),
        (
            f"{HUB}, pins: {{org: [acme]}}",
            f"{HUB}, pins: {{repo: [acme/x]}}",
            "with org `acme` with repo `acme/x`",
        ),
        (f"{HUB}, pins: {{org: [acme, b]}}", f"{HUB}, pins: {{repo: [b/x]}}", "with repo `b/x`"),
        # Nothing of the organisation can be told from a pattern with more or fewer parts.
        (f"{HUB}, pins: {{org: [acme]}}", f"{HUB}, pins: {{repo: ['*']}}", "with org `acme`"),
        # A pin in a header says nothing about another one.
        (
            "service: openai, pins: {project: [p]}",
            "service: openai, pins: {organization: [o]}",
            "with project `p`",
        ),
    ],
)
def test_grants_that_cover_one_request_are_told_with_it(
    catalogue: Catalogue, left: str, right: str, request_text: str
) -> None:
    (problem,) = overlaps(catalogue, policy(grant(left, "one"), grant(right, "two")))
    assert request_text in request_of(problem)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        # Hosts
        (HOST, "hosts: [b.example.com]"),
        (HOST, "hosts: ['*.api.example.com']"),
        ("hosts: ['*.example.com']", "hosts: [a.b.example.com]"),
        ("hosts: ['*.a.example.com']", "hosts: ['*.b.example.com']"),
        (HOST, "service: openai"),
        ("service: openai", "hosts: ['*.api.example.com']"),
        ("service: openai", HUB),
        # Ports, methods
        (f"{HOST}, ports: [8443]", HOST),
        (f"{HOST}, methods: [GET]", f"{HOST}, methods: [POST]"),
        ("service: openai, ports: [8443]", "hosts: [api.openai.com]"),
        # Paths
        (f"{HOST}, paths: [/a/**]", f"{HOST}, paths: [/b/**, /c]"),
        (f"{HOST}, paths: [/a/*]", f"{HOST}, paths: [/a/b/c]"),
        (f"{HOST}, paths: [/a]", f"{HOST}, paths: [/A]"),
        # Query
        (f"{HOST}, query: {{a: [x]}}", f"{HOST}, query: {{a: [w]}}"),
        # Pins
        (f"{HUB}, pins: {{org: [a*]}}", f"{HUB}, pins: {{org: [b*]}}"),
        (f"{HUB}, pins: {{org: [acme]}}", f"{HUB}, pins: {{repo: [other/x]}}"),
        (f"{HUB}, pins: {{org: [acme], repo: ['*/x']}}", f"{HUB}, pins: {{org: [acme], repo: ['*/w']}}"),
    ],
)
def test_grants_that_share_no_request_are_left_alone(catalogue: Catalogue, left: str, right: str) -> None:
    assert overlaps(catalogue, policy(grant(left, "one"), grant(right, "two"))) == []
    assert overlaps(catalogue, policy(grant(right, "one"), grant(left, "two"))) == []


@pytest.mark.parametrize(
    ("left", "right", "request_text"),
    [
        (READ, READ, "s3:GetObject with bucket `b`"),
        (f"{S3}, access: [read, write]", f"{S3}, access: [write]", "s3:PutObject with bucket `b`"),
        (f"{S3}, access: [read]", f'{S3}, actions: ["s3:GetObject"]', "s3:GetObject with bucket `b`"),
        (f"{READ}, methods: [HEAD]", READ, "s3:GetObject with bucket `b`"),
        (f"{READ}, prefixes: [a/]", f"{READ}, prefixes: [a/b/]", "s3:GetObject with bucket `b`"),
        (f"{READ}, prefixes: [a/]", READ, "s3:GetObject with bucket `b`"),
        (
            f"{READ}, pins: {{region: [eu-*]}}",
            f"{READ}, pins: {{region: ['*-1']}}",
            "with bucket `b` with region `eu-1`",
        ),
        (READ, "service: s3, buckets: [a, b], access: [read]", "s3:GetObject with bucket `b`"),
        # At one store, and there by one port.
        (STORE, STORE, "s3:GetObject with bucket `b`"),
        (STORE, f"{STORE}, prefixes: [a/], foreignPresigned: pass", "s3:GetObject with bucket `b`"),
        # An operation that shows no bucket is granted by its name, whatever the buckets are.
        (
            'service: s3, buckets: [a], actions: ["s3:ListAllMyBuckets"]',
            'service: s3, buckets: [b], actions: ["s3:ListAllMyBuckets"]',
            "s3:ListAllMyBuckets",
        ),
        # One that touches no key is not bound by prefixes.
        (
            f"{S3}, access: [list], prefixes: [a/]",
            f"{S3}, access: [list], prefixes: [b/]",
            "s3:HeadBucket with bucket `b`",
        ),
    ],
)
def test_grants_that_cover_one_operation_are_told_with_it(
    catalogue: Catalogue, left: str, right: str, request_text: str
) -> None:
    (problem,) = overlaps(catalogue, policy(grant(left, "aws"), grant(right, "aws-two")))
    assert request_text in request_of(problem)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (READ, f"{S3}, access: [write]"),
        (READ, f"{S3}, access: [list]"),
        (READ, f"{S3}, access: [delete]"),
        (READ, f'{S3}, actions: ["s3:GetObjectAcl"]'),
        (f"{READ}, prefixes: [a/]", f"{READ}, prefixes: [b/]"),
        (f"{READ}, prefixes: [train/]", f"{READ}, prefixes: [training/]"),
        (READ, "service: s3, buckets: [c], access: [read]"),
        (f"{READ}, pins: {{region: [eu-*]}}", f"{READ}, pins: {{region: [us-*]}}"),
        # Other places
        (READ, STORE),
        (STORE, f"{READ}, endpoint: 'store.example.com:9000'"),
        (STORE, f"{READ}, endpoint: other.example.com"),
        (f"{READ}, endpoint: s.other.example.com, addressing: virtual", STORE),
        # Both use GET, but no operation of both does.
        (f"{S3}, access: [read, write], methods: [GET]", f"{S3}, access: [write], methods: [PUT]"),
        (f"{S3}, access: [read, delete], methods: [DELETE]", f"{READ}"),
    ],
)
def test_grants_that_share_no_operation_are_left_alone(catalogue: Catalogue, left: str, right: str) -> None:
    assert overlaps(catalogue, policy(grant(left, "aws"), grant(right, "aws-two"))) == []


@pytest.mark.parametrize(
    ("template", "hosts", "meets"),
    [
        ("api.acme.example", "[api.acme.example]", True),
        ("api.acme.example", "['*.acme.example']", True),
        ("{org}.acme.example", "[x.acme.example]", True),
        ("{org}.acme.example", "['*.acme.example']", True),
        ("{org}.acme.example", "['*.eu.acme.example']", False),
        ("{org+}.acme.example", "['*.eu.acme.example']", True),
        ("api-{org}.acme.example", "['*.acme.example']", True),
        # The host below a wildcard has another value in it than the template's own sample.
        ("api.{org}.acme.example", "['*.eu.acme.example']", True),
        ("{org}.api.acme.example", "[api.acme.example]", False),
        ("{org}.api.acme.example", "[x.www.acme.example]", False),
        ("{org}.s3.{aws_region}.acme.example", "['*.s3.eu-central-1.acme.example']", True),
        ("{org}.s3.{aws_region}.acme.example", "['*.s3.somewhere.acme.example']", False),
    ],
)
def test_hosts_are_compared_with_the_templates_of_a_service(
    catalogue: Catalogue, template: str, hosts: str, *, meets: bool
) -> None:
    entry = service_entry(hosts=f"['{template}']")
    text = policy(grant("service: acme", "one"), grant(f"hosts: {hosts}", "two"))
    assert bool(overlaps(catalogue, text, entry)) is meets
    turned = policy(grant(f"hosts: {hosts}", "one"), grant("service: acme", "two"))
    assert bool(overlaps(catalogue, turned, entry)) is meets


# --- what is told --------------------------------------------------------------------------------------


def test_the_later_grant_is_told_where_the_earlier_one_stands(catalogue: Catalogue) -> None:
    (problem,) = overlaps(catalogue, policy(grant(HOST, "one"), grant(HOST, "two")))
    assert (problem.file, problem.line, problem.path) == (FILE, 8, "spec.grants[1]")
    assert problem.code is ProblemCode.OVERLAPPING_GRANTS
    assert problem.message == (
        f"overlaps with p grants[0] ({FILE}:7): both cover GET https://api.example.com/, "
        "with the credentials `two` and `one`"
    )
    assert (
        problem.fix == "narrow one of the two (workloads, paths, methods, pins), or use the same credential"
    )


def test_the_same_credential_is_no_contradiction(catalogue: Catalogue) -> None:
    wider = grant("hosts: ['*.example.com']", "one")
    assert overlaps(catalogue, policy(grant(HOST, "one"), wider)) == []


def test_another_owner_of_the_bucket_is_a_contradiction(catalogue: Catalogue) -> None:
    owner = f'{READ}, expectedBucketOwner: "111122223333"'
    (problem,) = overlaps(catalogue, policy(grant(READ, "aws"), grant(owner, "aws")))
    assert problem.message == (
        f"overlaps with p grants[0] ({FILE}:7) on s3:GetObject with bucket `b`, "
        "with another `expectedBucketOwner`"
    )


def test_urls_of_others_that_one_grant_refuses_are_no_contradiction(catalogue: Catalogue) -> None:
    passes = f"{READ}, foreignPresigned: pass"
    assert overlaps(catalogue, policy(grant(READ, "aws"), grant(passes, "aws"))) == []


def test_a_pair_is_told_once_however_many_hosts_it_shares(catalogue: Catalogue) -> None:
    hosts = "hosts: [a.example.com, b.example.com, '*.example.com']"
    assert len(overlaps(catalogue, policy(grant(hosts, "one"), grant(hosts, "two")))) == 1


def test_the_first_pairs_say_it_all(catalogue: Catalogue) -> None:
    many = [policy(grant(HOST, "one" if n % 2 else "two"), name=f"p{n:02}") for n in range(20)]
    assert len(overlaps(catalogue, *many)) == MAX_REPORTED


def test_operations_without_a_tenant_are_compared_among_many(catalogue: Catalogue) -> None:
    named = (f'service: s3, buckets: [b{n}], actions: ["s3:ListAllMyBuckets"]' for n in range(9))
    text = policy(*(grant(what, ("aws", "aws-two")[n % 2]) for n, what in enumerate(named)))
    assert codes(overlaps(catalogue, text)) == ["overlapping_grants"] * (5 * 4)


def test_a_search_that_would_take_too_long_is_told_and_left(catalogue: Catalogue) -> None:
    # Each pair costs the product of the lengths of its patterns, where they have stars.
    long = [f"'/{'x' * 1000}*{n}'" for n in range(10)]
    first = grant(f"{HOST}, paths: [{', '.join(long)}]", "one")
    text = policy(
        first, *(grant(f"{HOST}, ports: [443, {n}], paths: [{', '.join(long)}]", "two") for n in (1, 2, 3))
    )
    assert codes(overlaps(catalogue, policy(first))) == []
    (problem,) = read(catalogue, text).problems
    assert (problem.code, problem.path) == (ProblemCode.TOO_MANY_TO_COMPARE, "spec.grants[1]")
    assert "to compare them all" in problem.message
    assert "tell them apart by service account" in problem.fix


def test_a_service_that_is_not_there_overlaps_with_nothing(catalogue: Catalogue) -> None:
    text = policy(
        grant("service: gone", "one"), grant("service: gone", "two"), grant("hosts: ['*.example.com']", "two")
    )
    assert codes(read(catalogue, text).problems) == ["unknown_service", "unknown_service"]


def test_a_pin_that_is_not_there_is_compared_by_its_values(catalogue: Catalogue) -> None:
    for right, expected in (("a", ["overlapping_grants"]), ("b", [])):
        text = policy(
            grant("service: openai, pins: {gone: [a]}", "one"),
            grant(f"service: openai, pins: {{gone: [{right}]}}", "two"),
        )
        found = codes(read(catalogue, text).problems)
        assert [code for code in found if code != "unknown_pin"] == expected


def test_a_pin_whose_parts_cannot_be_told_apart_is_compared_by_itself(catalogue: Catalogue) -> None:
    entry = service_entry(
        "  pins:\n"
        "    - {name: org, summary: O., template: '{org}'}\n"
        "    - {name: full, summary: F., template: '{org}.{name}'}\n"
    ).replace("hosts: [api.acme.example]", "hosts: [api.acme.example], paths: ['/{org}/{name}']")
    text = policy(
        grant("service: acme, pins: {org: [a]}", "one"), grant("service: acme, pins: {full: [b.c]}", "two")
    )
    assert codes(read(catalogue, text, entry).problems) == ["overlapping_grants"]


# --- grants of two policies ----------------------------------------------------------------------------

DIGESTS = [f'"sha256:{digit * 64}"' for digit in "ab"]
ACCOUNT = "serviceAccounts: [trainer]"
LABELS = "podSelector: {matchLabels: {app: train}}"


def two_policies(left: str, right: str, more: tuple[str, str] = ("", "")) -> str:
    return joined(
        policy(grant(HOST, "one"), name="a", workloads=f"{{{left}}}", more=more[0]),
        policy(grant(HOST, "two"), name="b", workloads=f"{{{right}}}", more=more[1]),
    )


@pytest.mark.parametrize(
    ("left", "right", "meets"),
    [
        (ACCOUNT, ACCOUNT, True),
        (ACCOUNT, "serviceAccounts: ['*']", True),
        ("serviceAccounts: ['*']", "serviceAccounts: ['*']", True),
        (ACCOUNT, "serviceAccounts: [notebook, trainer]", True),
        (ACCOUNT, "serviceAccounts: [notebook]", False),
        (ACCOUNT, LABELS, True),
        (LABELS, LABELS, True),
        (LABELS, "podSelector: {matchLabels: {team: nlp}}", True),
        (LABELS, "podSelector: {matchLabels: {app: serve}}", False),
        (LABELS, "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [train]}]}", False),
        (LABELS, "podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}", False),
        (LABELS, "podSelector: {matchExpressions: [{key: app, operator: Exists}]}", True),
        (f"{ACCOUNT}, gpu: required", f"{ACCOUNT}, gpu: forbidden", False),
        (f"{ACCOUNT}, gpu: required", ACCOUNT, True),
        (f"{ACCOUNT}, gpu: forbidden", f"{ACCOUNT}, gpu: forbidden", True),
        (
            f"{ACCOUNT}, images: {{repositories: [r.io/a/*]}}",
            f"{ACCOUNT}, images: {{repositories: [r.io/b/*]}}",
            False,
        ),
        (
            f"{ACCOUNT}, images: {{repositories: [r.io/a/*]}}",
            f"{ACCOUNT}, images: {{repositories: [r.io/**]}}",
            True,
        ),
        (f"{ACCOUNT}, images: {{repositories: [r.io/a/*]}}", ACCOUNT, True),
        (
            f"{ACCOUNT}, images: {{digests: [{DIGESTS[0]}]}}",
            f"{ACCOUNT}, images: {{digests: [{DIGESTS[1]}]}}",
            False,
        ),
        (
            f"{ACCOUNT}, images: {{digests: [{DIGESTS[0]}]}}",
            f"{ACCOUNT}, images: {{repositories: [r.io/**]}}",
            True,
        ),
    ],
)
def test_policies_meet_where_one_pod_is_selected_by_both(
    catalogue: Catalogue, left: str, right: str, *, meets: bool
) -> None:
    assert bool(overlaps(catalogue, two_policies(left, right))) is meets
    assert bool(overlaps(catalogue, two_policies(right, left))) is meets


def window(days: str, start: str, end: str, zone: str = "UTC") -> str:
    return f'  validity: {{windows: [{{days: [{days}], from: "{start}", to: "{end}", timeZone: {zone}}}]}}\n'


BEFORE = "  validity: {notAfter: 2026-01-01T00:00:00Z}\n"
AFTER = "  validity: {notBefore: 2026-01-01T00:00:00Z}\n"


@pytest.mark.parametrize(
    ("left", "right", "meets"),
    [
        (BEFORE, AFTER, False),
        (BEFORE, BEFORE, True),
        (AFTER, AFTER, True),
        (AFTER, "", True),
        (window("Mon", "08:00", "12:00"), window("Mon", "12:00", "18:00"), False),
        (window("Mon", "08:00", "12:01"), window("Mon", "12:00", "18:00"), True),
        (window("Mon", "08:00", "12:00"), window("Tue", "08:00", "12:00"), False),
        (window("Mon", "22:00", "06:00"), window("Tue", "05:00", "12:00"), True),
        (window("Mon", "08:00", "12:00"), window("Mon", "08:00", "12:00", "Asia/Tokyo"), False),
    ],
)
def test_policies_meet_where_both_are_valid(
    catalogue: Catalogue, left: str, right: str, *, meets: bool
) -> None:
    assert bool(overlaps(catalogue, two_policies(ACCOUNT, ACCOUNT, (left, right)))) is meets


def test_one_that_enforces_and_one_that_observes_do_not_disturb_each_other(catalogue: Catalogue) -> None:
    observe = "  mode: observe\n"
    assert overlaps(catalogue, two_policies(ACCOUNT, ACCOUNT, (observe, ""))) == []
    assert len(overlaps(catalogue, two_policies(ACCOUNT, ACCOUNT, (observe, observe)))) == 1


def test_policies_of_two_namespaces_do_not_meet(catalogue: Catalogue) -> None:
    left = policy(grant(HOST, "one"), namespace="ml")
    right = policy(grant(HOST, "far"), namespace="nlp")
    far = source("far", namespace="nlp")
    assert overlaps(catalogue, left, right, far) == []


WIDE = "serviceAccounts: ['*'], namespaceSelector: "
SPACE = "kubernetes.io/metadata.name"


def wide(selector: str, credential: str = "far", name: str = "a", more: str = "") -> str:
    return policy(
        grant(HOST, credential),
        name=name,
        namespace="podkey-system",
        workloads=f"{{{WIDE}{selector}}}",
        more=more,
    )


PLATFORM = joined(*(source(name, namespace="podkey-system") for name in ("far", "one")))


@pytest.mark.parametrize(
    ("selector", "meets"),
    [
        ("{matchLabels: {tenant: a}}", True),
        (f"{{matchLabels: {{{SPACE}: ml}}}}", True),
        (f"{{matchLabels: {{{SPACE}: web}}}}", False),
        (f"{{matchExpressions: [{{key: {SPACE}, operator: Exists}}]}}", True),
        (f"{{matchExpressions: [{{key: {SPACE}, operator: DoesNotExist}}]}}", False),
        (f"{{matchExpressions: [{{key: {SPACE}, operator: NotIn, values: [ml]}}]}}", False),
    ],
)
def test_a_cluster_wide_policy_meets_those_of_each_namespace_that_it_may_select(
    catalogue: Catalogue, selector: str, *, meets: bool
) -> None:
    text = joined(policy(grant(HOST, "one"), name="b"), PLATFORM)
    found = overlaps(catalogue, wide(selector), text)
    assert bool(found) is meets
    # What is of a namespace gives way, and sources of one name in two namespaces are two.
    for problem in found:
        assert problem.message == (
            f"overlaps with a grants[0] ({FILE}:7): both cover GET https://api.example.com/, "
            "with the credentials `ml/one` and `podkey-system/far`"
        )
    same = overlaps(catalogue, wide(selector, "one"), text)
    assert ["`ml/one` and `podkey-system/one`" in problem.message for problem in same] == [True] * meets
    trial = wide(selector, more="  mode: observe\n")
    assert overlaps(catalogue, trial, text) == []
    apart = policy(grant(HOST, "one"), workloads="{serviceAccounts: [a]}").replace("api.", "b.")
    assert overlaps(catalogue, wide(selector), apart, PLATFORM) == []


@pytest.mark.parametrize(
    ("left", "right", "meets"),
    [
        ("{matchLabels: {tenant: a}}", "{matchLabels: {tenant: a}}", True),
        ("{matchLabels: {tenant: a}}", "{matchLabels: {tier: b}}", True),
        ("{matchLabels: {tenant: a}}", "{matchLabels: {tenant: b}}", False),
        (f"{{matchLabels: {{{SPACE}: ml}}}}", f"{{matchLabels: {{{SPACE}: web}}}}", False),
        (f"{{matchLabels: {{{SPACE}: ml}}}}", "{matchLabels: {tenant: a}}", True),
    ],
)
def test_cluster_wide_policies_meet_where_one_namespace_can_have_the_labels_of_both(
    catalogue: Catalogue, left: str, right: str, *, meets: bool
) -> None:
    # Once, however many namespaces have policies of their own.
    others = [policy(grant("hosts: [b.example.com]", "one"), namespace="ml", name=name) for name in "cd"]
    texts = (wide(left, "far"), wide(right, "one", "b"), *others, PLATFORM)
    assert len(overlaps(catalogue, *texts)) == meets


def test_limits_overlap_with_nothing(catalogue: Catalogue) -> None:
    text = limiting("{hosts: [api.example.com]}", f"{{matchLabels: {{{SPACE}: ml}}}}")
    assert overlaps(catalogue, text, policy(grant(HOST, "one"))) == []


def test_the_policy_that_comes_later_by_name_is_told(catalogue: Catalogue) -> None:
    text = two_policies(ACCOUNT, ACCOUNT)
    first, second = text.split("---\n")
    for texts in ((first, second), (second, first)):
        (problem,) = overlaps(catalogue, *texts)
        assert problem.message.startswith("overlaps with a grants[0]")


# --- the short cuts ------------------------------------------------------------------------------------
# From eight grants on, pairs are looked for among those that share a plain value. The pair must be found
# (or not) as it is when the two stand alone, whatever the others are like.

OTHERS: dict[str, list[str]] = {
    "paths": [f"hosts: [api.example.com], paths: [/o{n}/**]" for n in range(10)],
    "open paths": [f"hosts: [api.example.com], paths: [/o{n}, /p{n}*]" for n in range(10)],
    "organisations": [f"{HUB}, pins: {{org: [o{n}]}}" for n in range(10)],
    "repositories": [f"{HUB}, pins: {{repo: [o{n}/x]}}" for n in range(10)],
    "patterns": [f"{HUB}, pins: {{repo: ['o{n}/*']}}" for n in range(10)],
}
PAIRS = [
    (f"{HOST}, paths: [/a/b]", f"{HOST}, paths: [/a/*]", True),
    (f"{HOST}, paths: [/a/b]", f"{HOST}, paths: ['/*/b']", True),
    (f"{HOST}, paths: [/a/b]", f"{HOST}, paths: [/b/a]", False),
    (f"{HOST}, paths: [/a/b, '/*/c']", f"{HOST}, paths: [/b/a, '/*/c']", True),
    (f"{HUB}, pins: {{org: [acme]}}", f"{HUB}, pins: {{repo: [acme/x]}}", True),
    (f"{HUB}, pins: {{org: [acme]}}", f"{HUB}, pins: {{org: [b, acme]}}", True),
    (f"{HUB}, pins: {{org: [acme]}}", f"{HUB}, pins: {{org: [b]}}", False),
    (f"{HUB}, pins: {{repo: [acme/x]}}", f"{HUB}, pins: {{repo: ['acme/*']}}", True),
    (f"{HUB}, pins: {{repo: ['acme/x*']}}", f"{HUB}, pins: {{repo: ['acme/*']}}", True),
    (HUB, HUB + ", methods: [GET]", True),
]


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(("left", "right", "meets"), PAIRS)
def test_a_pair_is_found_among_many(
    catalogue: Catalogue, others: list[str], left: str, right: str, *, meets: bool
) -> None:
    # The others have the left one's credential: they contradict the right one at most.
    crowd = [grant(other, "one") for other in others]
    text = policy(*crowd[:5], grant(left, "one"), *crowd[5:], grant(right, "two"))
    alone = policy(grant(left, "one"), grant(right, "two"))
    assert bool(overlaps(catalogue, alone)) is meets
    assert (
        any(
            p.path == "spec.grants[11]" and "with p grants[5] " in p.message
            for p in overlaps(catalogue, text)
        )
        is meets
    )


SELECTORS = ["serviceAccounts: [a]", "serviceAccounts: [a, b]", "serviceAccounts: ['*']"]
SELECTORS += [f"podSelector: {{matchLabels: {{app: {app}, tier: {tier}}}}}" for app in "ab" for tier in "ab"]
SELECTORS += [
    "podSelector: {matchExpressions: [{key: app, operator: Exists}]}",
    "serviceAccounts: [b], gpu: required",
]


@given(
    st.lists(st.tuples(st.sampled_from(SELECTORS), st.sampled_from(["one", "two"])), min_size=9, max_size=12)
)
def test_property_many_policies_overlap_as_their_pairs_do(
    catalogue: Catalogue, rules: list[tuple[str, str]]
) -> None:
    texts = [
        policy(grant(HOST, credential), name=f"p{number:02}", workloads=f"{{{who}}}")
        for number, (who, credential) in enumerate(rules)
    ]
    policies = read(catalogue, *texts).documents.policies
    placed = [Placed(policy, FILE, 1, ((0, 1),)) for policy in policies]
    together = check_overlaps(placed, catalogue)
    alone = {
        (one, two)
        for one in range(len(texts))
        for two in range(one + 1, len(texts))
        if check_overlaps([placed[one], placed[two]], catalogue)
    }
    if len(alone) >= MAX_REPORTED:
        assert len(together) == MAX_REPORTED
    else:
        names = sorted(problem.message.split()[2] for problem in together)
        assert names == sorted(f"p{one:02}" for one, _ in alone)


# Whose pods, and which of them: a namespace's own policies, and cluster-wide ones.
WHOSE = [("ml", ""), ("web", "")]
WHOSE += [
    ("podkey-system", f", namespaceSelector: {selector}")
    for selector in (
        "{matchLabels: {tenant: a}}",
        "{matchLabels: {tenant: b}}",
        f"{{matchLabels: {{{SPACE}: ml}}}}",
        f"{{matchExpressions: [{{key: {SPACE}, operator: NotIn, values: [ml]}}]}}",
    )
]


@given(
    st.lists(
        st.tuples(st.sampled_from(WHOSE), st.sampled_from(["*", "a", "b"]), st.sampled_from(["one", "two"])),
        min_size=2,
        max_size=12,
    )
)
def test_property_policies_of_many_namespaces_overlap_as_their_pairs_do(
    catalogue: Catalogue, rules: list[tuple[tuple[str, str], str, str]]
) -> None:
    texts = [
        policy(
            grant(HOST, credential),
            name=f"p{number:02}",
            namespace=namespace,
            workloads=f"{{serviceAccounts: ['{account}']{selector}}}",
        )
        for number, ((namespace, selector), account, credential) in enumerate(rules)
    ]
    policies = read(catalogue, *texts).documents.policies
    placed = [Placed(policy, FILE, 1, ((0, 1),)) for policy in policies]
    told = [
        frozenset({problem.message.split()[2], problem.file})
        for problem in check_overlaps([replace(p, file=p.value.name) for p in placed], catalogue)
    ]
    pairs = {
        frozenset({one.value.name, two.value.name})
        for one, two in combinations(placed, 2)
        if check_overlaps([one, two], catalogue)
    }
    assert len(told) == min(len(pairs), MAX_REPORTED), "each pair once"
    assert set(told) <= pairs


def test_a_cluster_of_many_namespaces_costs_what_its_namespaces_cost(catalogue: Catalogue) -> None:
    """Cluster-wide policies are compared with each other once, and with those of a namespace there."""
    spaces = [policy(grant(HOST, "one"), namespace=f"n{number:03}") for number in range(150)]
    wides = [
        policy(
            grant(HOST, "one"),
            name=f"w{number:02}",
            namespace="podkey-system",
            workloads=f"{{serviceAccounts: [s{number}], namespaceSelector: {{matchLabels: {{a: b}}}}}}",
        )
        for number in range(60)
    ]
    found = read(catalogue, *spaces, *wides)
    assert set(codes(found.problems)) == {"unknown_credential"}


def test_the_order_of_documents_changes_nothing_that_is_told(catalogue: Catalogue) -> None:
    texts = [policy(grant(HOST, c), name=n) for n, c in (("a", "one"), ("b", "two"), ("c", "one"))]
    told = {
        tuple(sorted(problem.message.split(" (")[0] for problem in overlaps(catalogue, *order)))
        for order in permutations(texts)
    }
    assert told == {("overlaps with a grants[0]", "overlaps with b grants[0]")}
