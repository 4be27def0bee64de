import json
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.services import Catalogue
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import (
    DOCUMENTS,
    Documents,
    ReadDocument,
    ReadResult,
    check_documents,
    read_documents,
    read_object,
)
from proxy.documents.reading import MAX_ITEMS, MAX_PROBLEMS
from proxy.documents.yaml_nodes import MAX_DOCUMENT_NODES, MAX_FILE_BYTES
from tests.document_strategies import (
    FILE,
    HEAD,
    PLAIN_GRANT,
    SOURCES,
    codes,
    joined,
    policy,
    read,
    service_entry,
    source,
)

ROOT = Path(__file__).parents[4]
EXAMPLES = sorted(ROOT.glob("examples/**/*.yaml"))

# Only these come from reading files and folders: see proxy/files/policy_files.py.
OF_THE_EDGE = {ProblemCode.UNREADABLE_FILE, ProblemCode.NO_DOCUMENTS}
# And these from what only a cluster has: see limits.py and cluster_wide.py.
OF_A_CLUSTER = {ProblemCode.NOT_ALLOWED_HERE}


class Case(NamedTuple):
    """A file with one problem; `message` and `fix` are what they must say among other things."""

    code: ProblemCode
    line: int
    path: str
    message: tuple[str, ...]
    fix: str
    text: str | bytes


def grants(*lines: str) -> str:
    return policy(*(f"{{{line}, credential: one}}" for line in lines))


HOST = "hosts: [api.example.com]"
AWS_HOST = "hosts: [firehose.eu-central-1.amazonaws.com]"
S3 = "{service: s3, buckets: [b], credential: aws"
AWS_ROLE = (
    f"{HEAD}kind: CredentialSource\nmetadata: {{name: role, namespace: ml}}\nspec:\n"
    "  awsWebIdentity: {roleArn: 'arn:aws:iam::111122223333:role/x', region: eu-central-1}\n"
    "  attach: {sigv4: {}}\n"
)
MANY = ", ".join(f"a-bucket-with-a-long-name-{number}" for number in range(60))
LAUGHS = "\n".join(
    ["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)
C = ProblemCode

CASES = [
    # The file
    Case(C.TOO_LARGE, 0, "", ("more than 1,048,576 bytes",), "split the file", "#" * (MAX_FILE_BYTES + 1)),
    Case(C.NOT_UTF8, 2, "", ("not UTF-8",), "save the file as UTF-8", b"# fine\n# \xe9\n"),
    Case(
        C.YAML_SYNTAX,
        3,
        "",
        ("not valid YAML", "cannot start any token"),
        "indent with spaces",
        "a: 1\nb:\n\tc: 1\n",
    ),
    Case(C.YAML_SYNTAX, 1, "", ("no anchor `b`",), "define the anchor (`&name`) earlier", "a: *b\n"),
    Case(C.TOO_MANY_NODES, 1, "", ("20,000 nodes", "anchors"), "without anchors", LAUGHS),
    Case(C.TOO_DEEP, 1, "", ("anchor `a` holds itself",), "write it out", "&a [*a]"),
    Case(C.TOO_DEEP, 1, "", ("nested more than 64 levels",), "write it out flat", "[" * 200_000),
    Case(C.TOO_MANY_PROBLEMS, 1, "", (f"more than {MAX_PROBLEMS} problems",), "mend the others first", ""),
    # The document
    Case(
        C.UNKNOWN_KIND,
        1,
        "apiVersion",
        ("`podkey.io/v1`", "API version"),
        "`podkey.io/v1alpha1`",
        policy().replace("v1alpha1", "v1"),
    ),
    Case(
        C.UNKNOWN_KIND,
        2,
        "kind",
        ("`AccesPolicy` is not a kind",),
        "did you mean `AccessPolicy`?",
        policy().replace("Access", "Acces"),
    ),
    Case(
        C.MISSING_KEY,
        1,
        "",
        ("`apiVersion` is missing",),
        "begin the document with `apiVersion: podkey.io",
        "kind: AccessPolicy\n",
    ),
    Case(C.MISSING_KEY, 1, "", ("`kind` is missing",), "and `kind:`", HEAD),
    Case(C.WRONG_TYPE, 1, "", ("a document is a mapping",), "with a line of `---`", "[x]"),
    Case(
        C.DUPLICATE_DOCUMENT,
        9,
        "metadata.name",
        ("AccessPolicy ml/p is already defined", f"{FILE}:1"),
        "rename one",
        joined(policy(), policy()),
    ),
    # Keys and types
    Case(
        C.UNKNOWN_KEY,
        7,
        "spec.grants[0]",
        ("unknown key `credentials` in a grant",),
        "did you mean `credential`?",
        grants(f"{HOST}, credentials: x"),
    ),
    Case(
        C.DUPLICATE_KEY,
        7,
        "spec.grants[0]",
        ("`hosts` appears twice", "first on line 7"),
        "keep one of the two",
        grants(f"{HOST}, {HOST}"),
    ),
    Case(
        C.MERGE_KEY,
        7,
        "spec.grants[0]",
        ("merge keys (`<<`)",),
        "write the keys out",
        grants(f"{HOST}, <<: {{a: b}}"),
    ),
    Case(
        C.YAML_TAG,
        7,
        "spec.grants[0].hosts[0]",
        ("tag:yaml.org,2002:str", "not supported"),
        "remove the tag",
        grants("hosts: [!!str api.example.com]"),
    ),
    Case(
        C.WRONG_TYPE,
        5,
        "spec.workloads.serviceAccounts[0]",
        ("`no` without quotes is a boolean",),
        'quote it: "no"',
        policy(workloads="{serviceAccounts: [no]}"),
    ),
    Case(
        C.WRONG_TYPE,
        5,
        "spec.workloads.serviceAccounts[0]",
        ("`off` without quotes is a boolean",),
        'quote it: "off"',
        policy(workloads="{serviceAccounts: [off]}"),
    ),
    Case(
        C.WRONG_TYPE,
        5,
        "spec.workloads.podSelector.matchLabels.gpu",
        ("`y` without quotes is a boolean",),
        'quote it: "y"',
        policy(workloads="{podSelector: {matchLabels: {gpu: y}}}"),
    ),
    Case(
        C.WRONG_TYPE,
        5,
        "spec.workloads.serviceAccounts[0]",
        ("`12` without quotes is a number",),
        'quote it: "12"',
        policy(workloads="{serviceAccounts: [12]}"),
    ),
    Case(
        C.WRONG_TYPE,
        9,
        "spec.validity.windows[0].from",
        ("`22:00` without quotes is a number",),
        'quote it: "22:00"',
        policy(more='  validity:\n    windows: [{days: [Mon], from: 22:00, to: "23:00", timeZone: UTC}]\n'),
    ),
    Case(
        C.MISSING_KEY,
        7,
        "spec.grants[0]",
        ("`credential` is missing",),
        "add `credential:`",
        policy(f"{{{HOST}}}"),
    ),
    Case(
        C.EXACTLY_ONE,
        7,
        "spec.grants[0]",
        ("`service` and `hosts`", "exactly one"),
        "keep one of them",
        grants(f"{HOST}, service: openai"),
    ),
    Case(
        C.TOO_LONG,
        7,
        "spec.grants[0].hosts[0]",
        ("1,025 characters", "limit is 1,024"),
        "shorten it",
        grants(f"hosts: [{'a' * 1025}]"),
    ),
    Case(
        C.TOO_LONG,
        7,
        "spec.grants[0].ports",
        ("1,025 items",),
        "split it",
        grants(f"{HOST}, ports: [{', '.join(map(str, range(1, MAX_ITEMS + 2)))}]"),
    ),
    Case(
        C.REPEATED_ITEM,
        7,
        "spec.grants[0].methods[1]",
        ("repeats [0]",),
        "remove it",
        grants(f"{HOST}, methods: [GET, GET]"),
    ),
    Case(
        C.BAD_VALUE,
        9,
        "spec.mode",
        ("`enforced` is not one of: enforce, observe",),
        "did you mean `enforce`?",
        policy(more="  # why\n  mode: enforced\n"),
    ),
    # Nobody
    Case(
        C.EMPTY_SELECTOR,
        5,
        "spec.workloads.serviceAccounts",
        ("selects nobody", "never means everybody"),
        '`serviceAccounts: ["*"]`',
        policy(workloads="{serviceAccounts: []}"),
    ),
    Case(
        C.EMPTY_SELECTOR,
        5,
        "spec.workloads",
        ("neither service accounts nor labels",),
        "name service accounts or labels",
        policy(workloads="{}"),
    ),
    Case(
        C.EMPTY_SELECTOR,
        5,
        "spec.workloads.podSelector",
        ("the selector is empty",),
        "name service accounts or labels",
        policy(workloads="{podSelector: {}}"),
    ),
    Case(
        C.EMPTY_LIST,
        7,
        "spec.grants[0].hosts",
        ("the list is empty", "matches nothing"),
        "add an item, or remove the key",
        grants("hosts: []"),
    ),
    Case(
        C.EMPTY_LIST,
        6,
        "spec.grants",
        ("grants nothing",),
        "add an item",
        policy().partition("  grants:")[0] + "  grants: []\n",
    ),
    # Hosts
    Case(
        C.HOST_IS_ADDRESS,
        7,
        "spec.grants[0].hosts[0]",
        ("`10.0.0.1` is an IP address",),
        "certificate proves",
        grants("hosts: [10.0.0.1]"),
    ),
    Case(
        C.HOST_IS_ADDRESS,
        7,
        "spec.grants[0].hosts[1]",
        ("`2001:db8::1` is an IP address",),
        "name the host",
        grants('hosts: [a.example.com, "2001:db8::1"]'),
    ),
    Case(
        C.HOST_HAS_PORT,
        7,
        "spec.grants[0].hosts[0]",
        ("`a.example.com:8443` contains a port",),
        "the port in `ports: [8443]`",
        grants('hosts: ["a.example.com:8443"]'),
    ),
    Case(
        C.HOST_IS_URL,
        7,
        "spec.grants[0].hosts[0]",
        ("is a URL, not a host",),
        "`a.example.com`",
        grants('hosts: ["https://a.example.com/v1"]'),
    ),
    Case(
        C.HOST_WILDCARD,
        7,
        "spec.grants[0].hosts[0]",
        ("a bare `*` would match every host",),
        "name the hosts",
        grants('hosts: ["*"]'),
    ),
    Case(
        C.HOST_PUBLIC_SUFFIX,
        7,
        "spec.grants[0].hosts[0]",
        ("`co.uk` is a public suffix", "strangers"),
        "`api.your-company.co.uk`",
        grants('hosts: ["*.co.uk"]'),
    ),
    Case(
        C.HOST_MALFORMED,
        7,
        "spec.grants[0].hosts[0]",
        ("ends in a dot",),
        "write `a.example.com`",
        grants("hosts: [a.example.com.]"),
    ),
    Case(
        C.HOST_BLOB,
        7,
        "spec.grants[0].hosts[0]",
        ("signed URLs", "never gets a credential"),
        "grant `service: huggingface`",
        grants("hosts: [cas-bridge.xethub.hf.co]"),
    ),
    Case(
        C.HOST_NEEDS_SERVICE,
        7,
        "spec.grants[0].hosts[0]",
        ("Amazon S3", "any tenant"),
        "write `service: s3` and name",
        grants("hosts: [b.s3.amazonaws.com]"),
    ),
    Case(
        C.HOST_TAKEN,
        1,
        "spec",
        ("`api.openai.com` covers hosts of the service `openai`",),
        "`service: openai`",
        service_entry(hosts="[api.openai.com]"),
    ),
    # Values of their own
    Case(
        C.UNKNOWN_TIME_ZONE,
        8,
        "spec.validity.windows[0].timeZone",
        ("`Europe/Berln`", "IANA time zone"),
        "did you mean `Europe/Berlin`?",
        policy(
            more="  validity: {windows: "
            "[{days: [Mon], from: '01:00', to: '02:00', timeZone: Europe/Berln}]}\n"
        ),
    ),
    # What never matches
    Case(
        C.NEVER_MATCHES,
        7,
        "spec.grants[0].paths[0]",
        ("`v1` never matches",),
        "write `/v1`",
        grants(f"{HOST}, paths: [v1]"),
    ),
    Case(
        C.NEVER_MATCHES,
        7,
        "spec.grants[0].methods[0]",
        ("`get` never matches",),
        "write `GET`",
        grants(f"{HOST}, methods: [get]"),
    ),
    Case(
        C.NEVER_MATCHES,
        7,
        "spec.grants[0].methods",
        ("never matches", "no operation"),
        "remove `methods`",
        policy(f"{S3}, access: [read], methods: [DELETE, PATCH]}}"),
    ),
    Case(
        C.NEVER_MATCHES,
        8,
        "spec.validity.notAfter",
        ("ends before it begins", "never valid"),
        "swap or correct",
        policy(more="  validity: {notBefore: 2027-01-01T00:00:00Z, notAfter: 2026-01-01T00:00:00Z}\n"),
    ),
    Case(
        C.NEVER_MATCHES,
        5,
        "spec.workloads.podSelector",
        ("no pod can have labels",),
        "remove the requirement",
        policy(
            workloads="{podSelector: {matchLabels: {a: b}, "
            "matchExpressions: [{key: a, operator: DoesNotExist}]}}"
        ),
    ),
    # Names in other documents
    Case(
        C.UNKNOWN_SERVICE,
        7,
        "spec.grants[0].service",
        ("no service `opnai`",),
        "did you mean `openai`?",
        grants("service: opnai"),
    ),
    Case(
        C.UNKNOWN_PIN,
        7,
        "spec.grants[0].pins.team",
        ("no pin `team`",),
        "use one of: org, repo",
        grants("service: huggingface, pins: {team: [a]}"),
    ),
    Case(
        C.UNKNOWN_ACTION,
        7,
        "spec.grants[0].actions",
        ("`s3:GetObjekt` is no operation",),
        "did you mean `s3:GetObject`?",
        policy(f'{S3}, actions: ["s3:GetObjekt"]}}'),
    ),
    Case(
        C.UNKNOWN_MINTING_API,
        7,
        "spec.grants[0].allowMinting",
        ("`realtime` is no credential-minting API",),
        "did you mean",
        grants("service: openai, allowMinting: [realtime]"),
    ),
    Case(
        C.UNKNOWN_CREDENTIAL,
        7,
        "spec.grants[0].credential",
        ("no CredentialSource `onee` in namespace `ml`",),
        "did you mean `one`?",
        policy(f"{{{HOST}, credential: onee}}"),
    ),
    Case(
        C.ATTACH_MISMATCH,
        7,
        "spec.grants[0].credential",
        ("`plain` does not say how it is attached",),
        "add `attach:`",
        policy(f"{{{HOST}, credential: plain}}"),
    ),
    Case(
        C.ATTACH_MISMATCH,
        5,
        "spec",
        ("`bearer` needs token", "accessKeyId"),
        "name exactly these in `keys`: token",
        source("sick", keys="keys: {accessKeyId: a}"),
    ),
    Case(
        C.SESSION_POLICY_UNDERIVABLE,
        7,
        "spec.grants[0].credential",
        ("`role`", "a session policy can be derived", "this one names hosts"),
        "`sessionPolicy: none`",
        joined(policy(f"{{{AWS_HOST}, credential: role}}"), AWS_ROLE),
    ),
    Case(
        C.SESSION_POLICY_TOO_LARGE,
        7,
        "spec.grants[0].credential",
        ("`role`", "characters, and STS takes 2,048"),
        "fewer grants or prefixes",
        joined(policy(f"{{service: s3, buckets: [{MANY}], access: [read], credential: role}}"), AWS_ROLE),
    ),
    Case(
        C.CONTRADICTING_ENDPOINTS,
        8,
        "spec.grants[1].endpoint",
        ("`minio` is read in another way by p grants[0]", f"({FILE}:7)"),
        "`region` and `addressing` of this store alike",
        policy(
            *(f"{S3}, access: [read], endpoint: 'minio:9000', region: {region}}}" for region in ("a", "b"))
        ),
    ),
    Case(
        C.OVERLAPPING_GRANTS,
        8,
        "spec.grants[1]",
        ("overlaps with p grants[0]", f"({FILE}:7)", "GET https://api.example.com/"),
        "use the same credential",
        policy(f"{{{HOST}, credential: one}}", f"{{{HOST}, credential: two}}"),
    ),
    Case(
        C.TOO_MANY_TO_COMPARE,
        8,
        "spec.grants[1]",
        ("too many grants", "compare them all"),
        "tell them apart by service account",
        policy(
            *(f"{{{HOST}, paths: [/{'x' * 999}*1, /{'x' * 999}*2], credential: {c}}}" for c in ("one", "two"))
        ),
    ),
]


def of_the_file(result: ReadResult) -> list[Problem]:
    return [problem for problem in result.problems if problem.file == FILE]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code.value}-{case.fix[:30]}")
def test_every_problem_is_told_with_its_place_and_its_fix(catalogue: Catalogue, case: Case) -> None:
    data = case.text if isinstance(case.text, bytes) else case.text.encode()
    if case.code is C.TOO_MANY_PROBLEMS:
        data = b"[x]\n---\n" * (MAX_PROBLEMS + 10)
    result = read_documents({FILE: data, "sources.yaml": SOURCES.encode()}, catalogue)
    problems = [p for p in of_the_file(result) if case.code is not C.TOO_MANY_PROBLEMS or p.code is case.code]
    assert [(p.code, p.path) for p in problems] == [(case.code, case.path)], problems
    (problem,) = problems
    line = case.line if case.code is not C.TOO_MANY_PROBLEMS else 2 * MAX_PROBLEMS + 1
    assert problem.line == line
    assert all(words in problem.message for words in case.message), problem.message
    assert case.fix in problem.fix


def test_every_code_has_a_case() -> None:
    assert {case.code for case in CASES} == set(ProblemCode) - OF_THE_EDGE - OF_A_CLUSTER


# --- all at once ---------------------------------------------------------------------------------------


def test_all_problems_of_several_files_are_told_at_once(catalogue: Catalogue) -> None:
    files = {
        "d.yaml": policy("{hosts: [10.0.0.1], credential: gone}", "{service: opnai, credential: gone}"),
        "c.yaml": source("sick", attach="{bearer: x}") + "---\n" + source("one"),
        "b.yaml": "a: [\n",
        "a.yaml": joined(
            policy(name="q", workloads="{serviceAccounts: []}"), policy(name="r", more="  mod: x\n")
        ),
    }
    result = read_documents({name: text.encode() for name, text in files.items()}, catalogue)
    assert [(p.file, p.line, p.code.value) for p in result.problems] == [
        ("a.yaml", 5, "empty_selector"),
        ("a.yaml", 16, "unknown_key"),
        ("b.yaml", 1, "yaml_syntax"),
        ("c.yaml", 6, "wrong_type"),
        ("d.yaml", 7, "host_is_address"),
        # That the service of line 8 is missing cannot be said: it may stand in b.yaml.
    ]
    assert result.counted == 5


def test_sound_documents_are_kept_beside_broken_ones(catalogue: Catalogue) -> None:
    result = read(catalogue, policy(), "[x]\n", service_entry())
    assert codes(result.problems) == ["wrong_type"]
    assert [policy.name for policy in result.documents.policies] == ["p"]
    assert [service.name for service in result.documents.services] == ["acme"]
    assert len(result.documents.sources) == 5
    assert result.counted == 8


def test_reads_the_items_of_a_list_as_kubectl_prints_it(catalogue: Catalogue) -> None:
    documents = [policy(f"{{{HOST}, credential: one}}"), source("one").replace("attach", "atach")]
    items = "".join("- " + text.rstrip("\n").replace("\n", "\n  ") + "\n" for text in documents)
    text = f"apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: ''}}\nitems:\n{items}"
    result = read_documents({FILE: text.encode()}, catalogue)
    assert result.counted == 2
    assert len(result.documents.policies) == 1
    assert [(p.code, p.path) for p in result.problems] == [(C.UNKNOWN_KEY, "spec")]


def test_a_list_without_items_is_no_document(catalogue: Catalogue) -> None:
    result = read_documents({FILE: b"apiVersion: v1\nkind: List\nitems: none\n"}, catalogue)
    assert [p.code for p in result.problems] == [C.UNKNOWN_KIND]


def test_no_files_are_no_documents(catalogue: Catalogue) -> None:
    nothing = ReadResult(Documents(), (), 0, {}, lost=False)
    assert read_documents({}, catalogue) == nothing
    assert read_documents({FILE: b"# nothing\n---\n"}, catalogue) == nothing


def found_in(catalogue: Catalogue, **files: str) -> dict[tuple[str, str], bool]:
    """By kind and name: whether it is sound."""
    result = read_documents({f"{name}.yaml": text.encode() for name, text in files.items()}, catalogue)
    return {(kind.__name__, name): found is not None for (kind, _, name), found in result.found.items()}


def test_what_is_certain_is_told_by_its_name(catalogue: Catalogue) -> None:
    documents = found_in(catalogue, a=policy(f"{{{HOST}, credential: one}}"), b=source("one"))

    assert documents == {
        ("AccessPolicy", "p"): True,
        ("CredentialSource", "one"): True,
    }


def test_a_document_with_problems_of_its_own_is_there_and_not_sound(catalogue: Catalogue) -> None:
    broken = source("one").replace("spec:", "spek:", 1)

    documents = found_in(catalogue, a=policy(f"{{{HOST}, credentials: one}}"), b=broken)

    assert {name: sound for (_, name), sound in documents.items()} == {"p": False, "one": False}


def test_what_is_only_wrong_beside_others_is_sound_by_itself(catalogue: Catalogue) -> None:
    """A grant that names a source that is gone: the policy is read, and the source is certainly not there."""
    documents = found_in(catalogue, a=policy(f"{{{HOST}, credential: gone}}"))

    assert documents == {("AccessPolicy", "p"): True}


@pytest.mark.parametrize("text", ["{", "[x]", "kind: CredentialSource\n", "\ufeff\x00"])
def test_a_file_in_which_something_has_not_even_a_name_is_told(catalogue: Catalogue, text: str) -> None:
    result = read_documents({"a.yaml": text.encode(), "b.yaml": policy().encode()}, catalogue)

    assert result.lost


def test_what_yaml_makes_of_a_key_is_no_key_of_a_document(catalogue: Catalogue) -> None:
    (problem,) = of_the_file(read(catalogue, "[kind]: x\nkind: [x]\napiVersion: podkey.io/v1alpha1\n"))
    assert (problem.code, problem.message) == (ProblemCode.MISSING_KEY, "`kind` is missing")


def test_there_are_three_kinds() -> None:
    assert list(DOCUMENTS) == ["AccessPolicy", "CredentialSource", "CatalogueEntry"]


# --- the same name twice -------------------------------------------------------------------------------


def test_the_same_name_may_stand_in_two_namespaces_and_kinds(catalogue: Catalogue) -> None:
    texts = [source("p"), source("p", namespace="nlp"), policy(name="p"), service_entry(name="p")]
    assert read(catalogue, *texts).problems == ()


def test_a_document_without_a_namespace_is_in_the_default_one(catalogue: Catalogue) -> None:
    texts = [source("p", namespace="default"), source("p").replace(", namespace: ml", "")]
    (problem,) = read(catalogue, *texts).problems
    assert problem.message == f"CredentialSource default/p is already defined at {FILE}:1"


@pytest.mark.parametrize("times", [2, 3])
def test_each_one_but_the_first_is_told(catalogue: Catalogue, times: int) -> None:
    problems = read(catalogue, *[service_entry()] * times).problems
    assert [(p.code, p.line, p.path) for p in problems] == [
        (ProblemCode.DUPLICATE_DOCUMENT, 1 + 9 * number, "metadata.name") for number in range(1, times)
    ]
    assert {p.message for p in problems} == {f"CatalogueEntry acme is already defined at {FILE}:1"}


def test_a_service_that_is_built_in_cannot_be_replaced(catalogue: Catalogue) -> None:
    (problem,) = read(catalogue, service_entry(name="openai")).problems
    assert (problem.code, problem.path) == (ProblemCode.DUPLICATE_DOCUMENT, "metadata.name")
    assert problem.message == "the service `openai` is built in and cannot be replaced"
    assert problem.fix == "choose another name, such as `my-openai`"


def test_two_entries_of_the_users_own_cannot_share_hosts(catalogue: Catalogue) -> None:
    texts = [service_entry(name="one"), service_entry(name="two", hosts="['{x}.acme.example']")]
    (problem,) = read(catalogue, *texts).problems
    assert (problem.code, problem.line) == (ProblemCode.HOST_TAKEN, 10)
    assert problem.message == "`{x}.acme.example` covers hosts of the service `one`"


def test_only_built_in_entries_may_cover_names_that_others_register() -> None:
    files = {"s3.yaml": service_entry(name="s3", hosts="['{bucket+}.s3.amazonaws.com']").encode()}
    assert read_documents(files, Catalogue.of(()), built_in=True).problems == ()
    assert codes(read_documents(files, Catalogue.of(())).problems) == ["host_public_suffix"]


# --- hosts in other scripts ----------------------------------------------------------------------------


def test_an_international_host_is_accepted_and_shown_in_both_forms(catalogue: Catalogue) -> None:
    grant = "{hosts: [bücher.example.com], credential: one}"
    result = read(catalogue, policy(grant))
    assert result.problems == ()
    assert result.documents.policies[0].grants[0].hosts[0].text == "xn--bcher-kva.example.com"
    (problem,) = read(catalogue, policy(grant, grant.replace("one", "two"))).problems
    assert "https://bücher.example.com (xn--bcher-kva.example.com)/" in problem.message


# --- the order of files and documents ------------------------------------------------------------------

DISORDER = [
    joined(policy(name="a"), policy("{hosts: [api.example.com], credential: two}", name="b")),
    joined(policy("{service: opnai, credential: gone}", name="c"), source("sick", attach="{bearer: x}")),
    joined(source("one"), source("two")),
    joined(source("one"), policy("{hosts: [10.0.0.1], credential: sick}", name="d")),
    service_entry(),
]


def test_the_order_of_files_changes_nothing(catalogue: Catalogue) -> None:
    files = {f"{name}.yaml": text.encode() for name, text in zip("abcde", DISORDER, strict=True)}
    expected = read_documents(files, catalogue)
    assert len(expected.problems) == 6
    for order in permutations(files):
        assert read_documents({name: files[name] for name in order}, catalogue) == expected


@given(
    order=st.permutations(
        [policy(name=n) for n in "abc"] + [source(n) for n in ("one", "two")] + [service_entry()]
    )
)
def test_property_the_order_of_documents_changes_nothing_that_is_read(
    catalogue: Catalogue, order: list[str]
) -> None:
    result = read_documents({FILE: joined(*order).encode()}, catalogue)
    assert result.problems == ()
    assert [policy.name for policy in result.documents.policies] == ["a", "b", "c"]
    assert [source.name for source in result.documents.sources] == ["one", "two"]
    assert [service.name for service in result.documents.services] == ["acme"]


# --- fuzz ----------------------------------------------------------------------------------------------


def check_total(catalogue: Catalogue, data: bytes) -> None:
    """Documents or problems, and every problem with a place and a fix."""
    result = read_documents({FILE: data, "sources.yaml": SOURCES.encode()}, catalogue)
    assert all(isinstance(problem, Problem) for problem in result.problems)
    lines = len(data.splitlines()) + 1
    for problem in result.problems:
        assert problem.message
        assert problem.fix
        assert problem.file in {FILE, "sources.yaml"}
        assert 0 <= problem.line <= max(lines, SOURCES.count("\n"))
        assert problem.code not in OF_THE_EDGE
    found = result.documents
    assert result.counted >= len(found.policies) + len(found.sources) + len(found.services)


@given(data=st.binary(max_size=200))
def test_fuzz_bytes_are_documents_or_problems(catalogue: Catalogue, data: bytes) -> None:
    check_total(catalogue, data)


SAMPLES = [path.read_bytes() for path in EXAMPLES] + [joined(*DISORDER).encode()]
PIECES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b"no", b"*", b"&a ", b"*a", b"<<: ", b"!!x ", b"[", b"{", b"}", b"\n", b"\n---\n", b": ", b"null"]
    ),
    st.sampled_from(
        [
            b"\xff",
            b"\x00",
            b"'",
            b'"',
            b"\t",
            b"99999999999999999999",
            b"1e999",
            b"\xe2\x80\xa8",
            b"%",
            b"|\n",
        ]
    ),
)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 12), PIECES), min_size=1, max_size=3)


@given(sample=st.sampled_from(SAMPLES), edits=EDITS)
def test_fuzz_mutated_documents_are_documents_or_problems(
    catalogue: Catalogue, sample: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for place, length, piece in edits:
        start = place % (len(sample) + 1)
        sample = sample[:start] + piece + sample[start + length :]
    check_total(catalogue, sample)


@given(sample=st.sampled_from(SAMPLES), order=st.lists(st.integers(0, 1 << 20), max_size=40))
def test_fuzz_shuffled_lines_are_documents_or_problems(
    catalogue: Catalogue, sample: bytes, order: list[int]
) -> None:
    lines = sample.splitlines(keepends=True)
    check_total(catalogue, b"".join(lines[number % len(lines)] for number in order))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_have_no_problems(catalogue: Catalogue, path: Path) -> None:
    result = read_documents({path.name: path.read_bytes()}, catalogue)
    assert result.problems == ()
    assert result.documents.policies


def test_fuzz_every_prefix_of_an_example_is_documents_or_problems(catalogue: Catalogue) -> None:
    data = EXAMPLES[0].read_bytes()
    for end in range(len(data)):
        check_total(catalogue, data[:end])


def test_a_large_document_is_read(catalogue: Catalogue) -> None:
    hosts = ", ".join(f"h{number}.example.com" for number in range(MAX_ITEMS))
    many = [f"{{hosts: [{hosts}], paths: [/{number}/**], credential: one}}" for number in range(15)]
    assert MAX_ITEMS * len(many) < MAX_DOCUMENT_NODES
    assert read(catalogue, policy(*many)).problems == ()


# --- objects of a cluster ------------------------------------------------------------------------------

OBJECT = "AccessPolicy/ml/p"


def objects(text: str) -> list[Any]:
    return [json.loads(json.dumps(one, default=str)) for one in yaml.safe_load_all(text)]


def as_objects(*texts: str) -> list[ReadDocument]:
    found = [one for text in texts for one in objects(text)]
    return [read_object(one, f"{one['kind']}/{one['metadata']['name']}") for one in found]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_are_read_as_objects_as_they_are_from_files(catalogue: Catalogue, path: Path) -> None:
    held = as_objects(path.read_text())
    (read_from_file,) = (read_documents({"a.yaml": path.read_bytes()}, catalogue).documents,)
    assert [problem for one in held for problem in one.problems] == []
    assert check_documents(held, catalogue) == []
    values = [one.placed.value for one in held if one.placed is not None]
    every = (*read_from_file.policies, *read_from_file.sources, *read_from_file.services)
    assert len(values) == len(every)
    assert all(value in every for value in values)


def test_problems_of_an_object_have_its_name_and_no_line() -> None:
    (value,) = objects(policy("{hosts: [10.0.0.1], credential: one, oops: 1}"))
    found = read_object(value, OBJECT)
    assert found.placed is None
    assert [(p.file, p.line, p.path, p.code.value) for p in found.problems] == [
        (OBJECT, 0, "spec.grants[0].hosts[0]", "host_is_address"),
        (OBJECT, 0, "spec.grants[0]", "unknown_key"),
    ]
    assert str(found.problems[0]).startswith(f"{OBJECT}: spec.grants[0].hosts[0]: ")


def test_objects_are_checked_against_each_other_and_the_catalogue(catalogue: Catalogue) -> None:
    held = as_objects(
        source("one"),
        source("two"),
        policy(PLAIN_GRANT, PLAIN_GRANT.replace("one", "two"), PLAIN_GRANT.replace("one", "gone")),
    )
    assert [one.problems for one in held] == [()] * 3
    found = check_documents(held, catalogue)
    # The third one overlaps with both, whatever its source is.
    assert codes(found) == ["unknown_credential", *["overlapping_grants"] * 3]
    assert {problem.line for problem in found} == {0}
    assert "overlaps with p grants[0] (AccessPolicy/p): both cover" in found[1].message


def test_a_broken_object_is_no_missing_one(catalogue: Catalogue) -> None:
    broken = source("one").replace("secretName", "secret")
    assert codes(check_documents(as_objects(policy()), catalogue)) == ["unknown_credential"]
    assert check_documents(as_objects(policy(), broken), catalogue) == []
    assert check_documents(as_objects(policy()), catalogue, lost=True) == []
    # What is sound of a broken policy is checked; without its name nothing is certain.
    salvaged = policy("{hosts: [x.example.com], credential: gone}", "{}")
    assert codes(check_documents(as_objects(salvaged), catalogue)) == ["unknown_credential"]
    nameless = [read_object({"kind": "AccessPolicy"}, OBJECT), *as_objects(policy())]
    assert check_documents(nameless, catalogue) == []


def test_what_the_server_adds_is_not_read_and_not_counted() -> None:
    (value,) = objects(source())
    fields = {f"f:{n}": {} for n in range(MAX_DOCUMENT_NODES)}
    value["metadata"] |= {"managedFields": [{"fieldsV1": fields}], "uid": "x", "generation": 3}
    value["status"] = {"conditions": [{} for _ in range(MAX_DOCUMENT_NODES)], "problems": None}
    found = read_object(value, OBJECT)
    assert found.problems == ()
    assert found.placed is not None
    assert (found.placed.value.name, found.placed.place) == ("one", OBJECT)
    assert len(value["metadata"]["managedFields"]) == 1, "what the caller holds is left alone"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "wrong_type"),
        ([], "wrong_type"),
        ("x", "wrong_type"),
        ({}, "missing_key"),
        ({"apiVersion": "v1", "kind": "List", "items": []}, "unknown_kind"),
        ({"apiVersion": "podkey.io/v1alpha1", "kind": "AccessPolicy", "metadata": "x"}, "wrong_type"),
        ({"x": ["y"] * MAX_DOCUMENT_NODES}, "too_many_nodes"),
    ],
)
def test_what_is_no_document_may_be_any(catalogue: Catalogue, value: Any, code: str) -> None:
    found = read_object(value, OBJECT)
    assert (codes(found.problems)[0], found.placed, found.salvaged) == (code, None, None)
    assert {(problem.file, problem.line) for problem in found.problems} == {(OBJECT, 0)}
    assert check_documents([found, *as_objects(policy())], catalogue) == []


def test_two_objects_of_one_name_are_told_by_theirs(catalogue: Catalogue) -> None:
    (problem,) = check_documents(as_objects(source("one"), source("one")), catalogue)
    assert problem.code is ProblemCode.DUPLICATE_DOCUMENT
    assert problem.message.endswith("is already defined at CredentialSource/one")
