from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from proxy.core.globs import Glob
from proxy.core.hosts import HostPattern
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    Access,
    AccessPolicy,
    Gpu,
    Grant,
    ImageRules,
    Mode,
    OnForeignCredential,
    OnRevoke,
    WorkloadSelector,
)
from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.documents.policy_documents import POLICY_DOCUMENT, SELECTOR, VALIDITY, WORKLOADS
from proxy.documents.problems import ProblemCode
from proxy.documents.reading import INVALID, Shape
from tests.document_strategies import GRANT_LINE, SECOND_GRANT_LINE, WORKLOADS_LINE, policy, read_shape

DIGEST = "sha256:" + "0" * 64


def test_reads_a_policy_with_everything_in_it() -> None:
    text = f"""\
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {{name: all, namespace: ml}}
spec:
  mode: observe
  onRevoke: cut
  workloads:
    serviceAccounts: [trainer, tuner]
    podSelector:
      matchLabels: {{team: nlp, app: train}}
      matchExpressions:
        - {{key: tier, operator: In, values: [a, b]}}
        - {{key: debug, operator: DoesNotExist}}
    gpu: required
    images:
      repositories: [registry.example.com/ml/**]
      digests: ["{DIGEST}"]
  validity:
    notBefore: 2026-01-01T00:00:00Z
    notAfter: 2027-01-01T00:00:00+01:00
    windows:
      - {{days: [Fri, Mon], from: "22:00", to: "06:00", timeZone: Europe/Berlin}}
  grants:
    - service: s3
      ports: [443, 8443]
      methods: [GET]
      paths: [/a/**]
      query: {{list-type: ["2"], prefix: []}}
      buckets: [data-*]
      pins: {{region: [eu-central-1]}}
      prefixes: [train/]
      access: [list, read]
      actions: ["s3:GetObjectAcl"]
      expectedBucketOwner: "111122223333"
      credential: aws
      allowMinting: [CreateSession]
      onForeignCredential: refuse
    - hosts: [api.example.com, "*.example.org"]
      credential: one
"""
    everything = Grant(
        credential="aws",
        service="s3",
        ports=(443, 8443),
        methods=("GET",),
        paths=(PathPattern("/a/**"),),
        query=(("list-type", ("2",)), ("prefix", ())),
        pins=(("bucket", (Glob("data-*"),)), ("region", (Glob("eu-central-1"),))),
        prefixes=("train/",),
        access=(Access.LIST, Access.READ),
        actions=("s3:GetObjectAcl",),
        expected_bucket_owner="111122223333",
        allow_minting=("CreateSession",),
        on_foreign_credential=OnForeignCredential.REFUSE,
    )
    hosts = Grant(credential="one", hosts=(HostPattern("api.example.com"), HostPattern("*.example.org")))
    window = WeeklyWindow((Day.MON, Day.FRI), 22 * 60, 6 * 60, ZoneInfo("Europe/Berlin"))
    expected = AccessPolicy(
        "ml",
        "all",
        WorkloadSelector(
            ("trainer", "tuner"),
            LabelSelector(
                (("app", "train"), ("team", "nlp")),
                (
                    LabelRequirement("tier", Operator.IN, ("a", "b")),
                    LabelRequirement("debug", Operator.DOES_NOT_EXIST),
                ),
            ),
            Gpu.REQUIRED,
            ImageRules((PathPattern("/registry.example.com/ml/**"),), (DIGEST,)),
        ),
        (everything, hosts),
        Mode.OBSERVE,
        Validity(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, tzinfo=UTC), (window,)),
        OnRevoke.CUT,
    )
    assert read_shape(POLICY_DOCUMENT, text) == (expected, [])


def test_what_is_left_out_has_its_default() -> None:
    value, problems = read_shape(POLICY_DOCUMENT, policy())
    assert problems == []
    assert value == AccessPolicy(
        "ml",
        "p",
        WorkloadSelector(("trainer",), None, Gpu.ANY, None),
        (Grant("one", hosts=(HostPattern("api.example.com"),), ports=(443,)),),
        Mode.ENFORCE,
        Validity(None, None, ()),
        OnRevoke.FINISH,
    )
    assert value.grants[0].on_foreign_credential is OnForeignCredential.REPLACE


def test_the_lines_are_those_that_the_tables_count() -> None:
    lines = policy("{first}", "{second}").splitlines()
    assert "workloads" in lines[WORKLOADS_LINE - 1]
    assert "first" in lines[GRANT_LINE - 1]
    assert "second" in lines[SECOND_GRANT_LINE - 1]


@pytest.mark.parametrize("text", ["{podSelector: {matchLabels: {a: b}}}", '{serviceAccounts: ["*"]}'])
def test_labels_alone_and_every_account_are_enough_to_select(text: str) -> None:
    value, problems = read_shape(WORKLOADS, text)
    assert (isinstance(value, WorkloadSelector), problems) == (True, [])


@pytest.mark.parametrize("images", ["{repositories: [nvcr.io/**]}", f'{{digests: ["{DIGEST}"]}}'])
def test_repositories_alone_and_digests_alone_are_image_rules(images: str) -> None:
    _, problems = read_shape(WORKLOADS, f"{{serviceAccounts: [a], images: {images}}}")
    assert problems == []


def test_one_bound_of_the_validity_is_enough() -> None:
    value, problems = read_shape(VALIDITY, "{notAfter: 2026-01-01T00:00:00Z}")
    assert (value, problems) == (Validity(None, datetime(2026, 1, 1, tzinfo=UTC)), [])


@pytest.mark.parametrize(
    ("shape", "text", "code", "path", "message", "fix"),
    [
        # An empty selector never means everybody.
        (
            WORKLOADS,
            "{}",
            "empty_selector",
            "",
            "neither service accounts nor labels",
            '`serviceAccounts: ["*"]`',
        ),
        (
            WORKLOADS,
            "{gpu: required}",
            "empty_selector",
            "",
            "it selects nobody",
            "name service accounts or labels",
        ),
        (
            WORKLOADS,
            "{serviceAccounts: []}",
            "empty_selector",
            "serviceAccounts",
            "selects nobody",
            "name service",
        ),
        (
            WORKLOADS,
            "{podSelector: {}}",
            "empty_selector",
            "podSelector",
            "the selector is empty",
            "name service",
        ),
        (SELECTOR, "{matchLabels: {}}", "empty_selector", "matchLabels", "the mapping is empty", "add a key"),
        (
            SELECTOR,
            "{matchExpressions: []}",
            "empty_selector",
            "matchExpressions",
            "selects nobody",
            "name service",
        ),
        (
            WORKLOADS,
            "{serviceAccounts: [a], images: {}}",
            "empty_selector",
            "images",
            "`images` allows no image",
            "add `repositories` or `digests`, or remove `images`",
        ),
        # Selectors
        (
            SELECTOR,
            "{matchLabels: {a: no}}",
            "wrong_type",
            "matchLabels.a",
            "`no` without quotes",
            'quote it: "no"',
        ),
        (
            SELECTOR,
            "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}",
            "never_matches",
            "",
            "no pod can have labels that satisfy all of these",
            "remove the requirement that contradicts",
        ),
        (
            SELECTOR,
            "{matchExpressions: [{key: a, operator: In}]}",
            "bad_value",
            "matchExpressions[0]",
            "`In` needs `values`",
            "add `values: [...]`",
        ),
        (
            SELECTOR,
            "{matchExpressions: [{key: a, operator: NotIn}]}",
            "bad_value",
            "matchExpressions[0]",
            "`NotIn` needs `values`",
            "add `values: [...]`",
        ),
        (
            SELECTOR,
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "bad_value",
            "matchExpressions[0].values",
            "`Exists` takes no `values`",
            "remove `values`, or use `In`",
        ),
        (
            SELECTOR,
            "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
            "bad_value",
            "matchExpressions[0].operator",
            "`in` is not one of: In, NotIn, Exists, DoesNotExist",
            "did you mean `In`?",
        ),
        # Validity
        (
            VALIDITY,
            "{notBefore: 2026-01-01T01:00:00+01:00, notAfter: 2026-01-01T00:00:00Z}",
            "never_matches",
            "notAfter",
            "ends before it begins",
            "swap or correct the times",
        ),
        (
            VALIDITY,
            '{windows: [{days: [Mon], from: "08:00", to: "08:00", timeZone: UTC}]}',
            "bad_value",
            "windows[0].to",
            "begins and ends at the same time",
            'from: "00:00" and to: "24:00"',
        ),
        (
            VALIDITY,
            '{windows: [{days: [Mon], from: "24:00", to: "08:00", timeZone: UTC}]}',
            "bad_value",
            "windows[0].from",
            "a window cannot begin at 24:00",
            'write from: "00:00"',
        ),
    ],
)
def test_tells_what_is_wrong_with_a_part_of_a_policy(
    shape: Shape, text: str, *, code: str, path: str, message: str, fix: str
) -> None:
    value, (problem,) = read_shape(shape, text)
    assert value is INVALID
    assert (problem.code.value, problem.path) == (code, path)
    assert message in problem.message
    assert fix in problem.fix


def test_a_policy_without_grants_grants_nothing() -> None:
    _, (problem,) = read_shape(POLICY_DOCUMENT, policy().partition("  grants:")[0] + "  grants: []\n")
    assert (problem.code, problem.path, problem.line) == (ProblemCode.EMPTY_LIST, "spec.grants", 6)
    assert problem.message == "the policy grants nothing"


def test_a_namespace_selector_says_whose_pods_and_selects_none_of_them() -> None:
    selector = "namespaceSelector: {matchLabels: {tenant: a}}"
    value, problems = read_shape(POLICY_DOCUMENT, policy(workloads=f"{{serviceAccounts: ['*'], {selector}}}"))
    assert problems == []
    assert value.workloads == WorkloadSelector(("*",), namespaces=LabelSelector((("tenant", "a"),)))
    _, (problem,) = read_shape(POLICY_DOCUMENT, policy(workloads=f"{{{selector}, gpu: required}}"))
    assert (problem.code, problem.path) == (ProblemCode.EMPTY_SELECTOR, "spec.workloads")
    assert problem.line == WORKLOADS_LINE
    assert "neither service accounts nor labels are named: it selects nobody" in problem.message
    assert '`serviceAccounts: ["*"]`' in problem.fix


def test_an_empty_namespace_selector_selects_nobody() -> None:
    text = policy(workloads="{serviceAccounts: ['*'], namespaceSelector: {}}")
    _, (problem,) = read_shape(POLICY_DOCUMENT, text)
    assert (problem.code, problem.path) == (ProblemCode.EMPTY_SELECTOR, "spec.workloads.namespaceSelector")
    assert "operator: Exists}` selects all" in problem.fix
