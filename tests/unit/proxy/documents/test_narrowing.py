import pytest

from proxy.core.services import Catalogue
from proxy.documents.problems import ProblemCode
from proxy.documents.reading import MAX_PROBLEMS
from tests.document_strategies import GRANT_LINE, HEAD, SECOND_GRANT_LINE, policy, read

S3 = "service: s3, access: [read]"


def role(name: str = "role", more: str = "") -> str:
    return (
        f"{HEAD}kind: CredentialSource\nmetadata: {{name: {name}, namespace: ml}}\nspec:\n"
        f"  awsWebIdentity: {{roleArn: 'arn:aws:iam::111122223333:role/x', region: eu-central-1{more}}}\n"
    )


def buckets(count: int, what: str = "some-bucket-of-ours") -> str:
    return f"buckets: [{', '.join(f'{what}-{n}' for n in range(count))}]"


def test_grants_on_s3_are_no_problem(catalogue: Catalogue) -> None:
    grants = [f"{{{S3}, {buckets(3)}, credential: role}}", f"{{{S3}, buckets: [x], credential: aws}}"]
    assert read(catalogue, policy(*grants), role=role()).problems == ()


def test_one_that_is_too_large_is_said_once_at_the_first_grant(catalogue: Catalogue) -> None:
    grants = [f"{{{S3}, {buckets(40, name)}, credential: role}}" for name in ("left-bucket", "right-bucket")]
    [problem] = read(catalogue, policy(*grants), role=role()).problems
    assert problem.code is ProblemCode.SESSION_POLICY_TOO_LARGE
    assert (problem.line, problem.path) == (GRANT_LINE, "spec.grants[0].credential")
    assert problem.message.startswith(
        "the CredentialSource `role`: the session policy that the grants make has"
    )
    assert problem.message.endswith("and STS takes 2,048")
    assert "a second CredentialSource" in problem.fix


def test_each_policy_is_looked_at_by_itself(catalogue: Catalogue) -> None:
    """Which policies select one pod, no document shows: a union is refused when it is put in force."""
    half = [
        policy(f"{{{S3}, {buckets(30, name)}, credential: role}}", name=name)
        for name in ("left-bucket", "right-bucket")
    ]
    assert read(catalogue, *half, role=role()).problems == ()


def test_two_sources_share_what_one_cannot_hold(catalogue: Catalogue) -> None:
    grants = [
        f"{{{S3}, {buckets(30, 'left-bucket')}, credential: role}}",
        f"{{{S3}, {buckets(30, 'right-bucket')}, credential: role-two}}",
    ]
    assert read(catalogue, policy(*grants), role=role(), second=role("role-two")).problems == ()


def test_a_grant_on_something_else_is_named_by_its_line(catalogue: Catalogue) -> None:
    grants = [
        f"{{{S3}, buckets: [x], credential: role}}",
        "{hosts: [firehose.eu-central-1.amazonaws.com], credential: role}",
    ]
    problems = read(catalogue, policy(*grants), role=role() + "  attach: {sigv4: {}}\n").problems
    [problem] = problems
    assert problem.code is ProblemCode.SESSION_POLICY_UNDERIVABLE
    assert (problem.line, problem.path) == (SECOND_GRANT_LINE, "spec.grants[1].credential")
    assert "alone, and this one names hosts" in problem.message


def test_a_source_that_bounds_its_sessions_itself_may_serve_anything(catalogue: Catalogue) -> None:
    own = role(more=", sessionPolicy: none") + "  attach: {sigv4: {}}\n"
    grants = [
        "{hosts: [firehose.eu-central-1.amazonaws.com], credential: role}",
        f"{{{S3}, {buckets(60)}, credential: role}}",
    ]
    assert read(catalogue, policy(*grants), role=own).problems == ()


def test_a_service_that_is_not_there_is_said_once(catalogue: Catalogue) -> None:
    problems = read(catalogue, policy("{service: s4, credential: role}"), role=role()).problems
    assert [problem.code for problem in problems] == [ProblemCode.UNKNOWN_SERVICE]


@pytest.mark.parametrize("namespace", ["ml", "other"])
def test_a_source_is_one_of_the_policys_own_namespace(catalogue: Catalogue, namespace: str) -> None:
    text = policy("{hosts: [firehose.eu-central-1.amazonaws.com], credential: role}", namespace=namespace)
    codes = {problem.code for problem in read(catalogue, text, role=role()).problems}
    assert (ProblemCode.SESSION_POLICY_UNDERIVABLE in codes) == (namespace == "ml")


def test_there_are_never_more_problems_than_somebody_reads(catalogue: Catalogue) -> None:
    policies = [
        policy(
            "{hosts: [firehose.eu-central-1.amazonaws.com], credential: role}",
            name=f"p{n}",
            workloads=f"{{serviceAccounts: [a{n}]}}",
        )
        for n in range(MAX_PROBLEMS + 5)
    ]
    problems = read(catalogue, *policies, role=role() + "  attach: {sigv4: {}}\n").problems
    found = [p for p in problems if p.code is ProblemCode.SESSION_POLICY_UNDERIVABLE]
    assert len(found) == MAX_PROBLEMS
