"""What the judge allows at Bedrock, SageMaker and ECR, the derived session policy allows, and no more."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.service_rights import KNOWN
from proxy.aws.session_policy import MAX_POLICY_CHARACTERS, Underivable, session_policy
from proxy.core.aws_sources import AwsWebIdentity
from proxy.core.credentials import CredentialSource
from proxy.core.globs import Glob
from proxy.core.identity import WorkloadIdentity
from proxy.core.policy import Access, AccessPolicy, Grant, WorkloadSelector
from proxy.core.services import Catalogue
from proxy.core.verdict import Attach, Refuse
from proxy.judge.decide import decide
from proxy.judge.index import PolicyIndex
from tests.iam import allows
from tests.judge_world import CATALOGUE, ask

ROLE: Final = AwsWebIdentity("arn:aws:iam::111122223333:role/training", "eu-central-1")
NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
FOUNDATION: Final = "arn:aws:bedrock:us-east-1::foundation-model/"
PROFILE: Final = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/"
NAME: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"


def grant(service: str, *access: Access, **narrowed: Any) -> Grant:
    pins = tuple((name, tuple(map(Glob, values))) for name, values in narrowed.pop("pins", {}).items())
    return Grant("aws", service, access=access, pins=pins, **narrowed)


def text(*grants: Grant, kind: AwsWebIdentity = ROLE) -> str:
    found = session_policy(kind, [(one, CATALOGUE[one.service or ""]) for one in grants])
    assert isinstance(found, str), found
    return found


def test_every_operation_of_the_catalogue_is_known_and_no_other(catalogue: Catalogue) -> None:
    for name, known in KNOWN.items():
        assert {operation.name for operation in catalogue[name].operations} == known
    tables = {name for name, service in catalogue.items() if service.operations}
    assert tables == {"s3", *KNOWN}


# --- Bedrock -----------------------------------------------------------------------------------------


def test_a_foundation_model_may_be_invoked_in_every_way_and_no_other_one_may() -> None:
    found = text(grant("bedrock-runtime", Access.READ, pins={"model": ("amazon.nova-pro-v1:0",)}))
    for action in ("InvokeModel", "InvokeModelWithResponseStream", "CountTokens"):
        assert allows(found, f"bedrock:{action}", f"{FOUNDATION}amazon.nova-pro-v1:0")
        assert not allows(found, f"bedrock:{action}", f"{FOUNDATION}amazon.nova-lite-v1:0")
    assert not allows(
        found, "bedrock:InvokeModelWithBidirectionalStream", f"{FOUNDATION}amazon.nova-pro-v1:0"
    )
    assert not allows(found, "bedrock:CreateModelCustomizationJob", f"{FOUNDATION}amazon.nova-pro-v1:0")


def test_an_inference_profile_takes_the_models_behind_it_with_it_and_for_it_alone() -> None:
    found = text(grant("bedrock-runtime", Access.READ, pins={"model": (NAME,)}))
    model = f"{FOUNDATION}anthropic.claude-sonnet-4-20250514-v1:0"
    assert allows(found, "bedrock:InvokeModel", f"{PROFILE}{NAME}")
    assert allows(found, "bedrock:InvokeModel", model, {"bedrock:InferenceProfileArn": f"{PROFILE}{NAME}"})
    assert not allows(found, "bedrock:InvokeModel", model)
    assert not allows(found, "bedrock:InvokeModel", model, {"bedrock:InferenceProfileArn": f"{PROFILE}eu.x"})
    assert not allows(found, "bedrock:InvokeModel", f"{PROFILE}eu.x")


def test_a_profile_of_ones_own_may_lead_to_one_of_amazons() -> None:
    ours = "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/a1b2c3"
    found = text(grant("bedrock-runtime", Access.READ, pins={"model": ("a1b2c3",)}))
    through = {"bedrock:InferenceProfileArn": ours}
    for resource in (ours, f"{PROFILE}{NAME}", f"{FOUNDATION}anthropic.claude-sonnet-4-20250514-v1:0"):
        assert allows(found, "bedrock:InvokeModel", resource, through)


@pytest.mark.parametrize("kind", ["provisioned-model", "custom-model-deployment", "imported-model"])
def test_a_model_that_is_named_by_its_arn_is_that_one(kind: str) -> None:
    arn = f"arn:aws:bedrock:us-east-1:111122223333:{kind}/a1b2c3"
    found = text(grant("bedrock-runtime", Access.READ, pins={"model": (arn,)}))
    assert allows(found, "bedrock:InvokeModel", arn)
    assert not allows(found, "bedrock:InvokeModel", f"{arn}x")
    assert "foundation-model" not in found


def test_a_profile_that_is_named_by_its_arn_takes_its_models_with_it() -> None:
    arn = f"{PROFILE}{NAME}"
    found = text(grant("bedrock-runtime", Access.READ, pins={"model": (arn,)}))
    model = f"{FOUNDATION}anthropic.claude-sonnet-4-20250514-v1:0"
    assert allows(found, "bedrock:InvokeModel", arn)
    assert allows(found, "bedrock:InvokeModel", model, {"bedrock:InferenceProfileArn": arn})
    assert not allows(found, "bedrock:InvokeModel", model)


def test_without_a_model_every_model_may_be_invoked() -> None:
    found = text(grant("bedrock-runtime", Access.READ))
    assert allows(found, "bedrock:InvokeModel", f"{FOUNDATION}amazon.nova-pro-v1:0")
    assert allows(found, "bedrock:ApplyGuardrail", "arn:aws:bedrock:us-east-1:111122223333:guardrail/g")
    assert not allows(found, "bedrock:StartAsyncInvoke", "*")


def test_what_is_started_for_later_names_its_model_in_the_body() -> None:
    found = text(grant("bedrock-runtime", Access.WRITE))
    assert allows(found, "bedrock:StartAsyncInvoke", "arn:aws:bedrock:us-east-1:1:async-invoke/x")
    assert allows(found, "bedrock:InvokeModel", f"{FOUNDATION}amazon.nova-reel-v1:0")


# --- SageMaker ---------------------------------------------------------------------------------------


def test_an_endpoint_may_be_invoked_in_every_way_under_both_spellings_of_its_name() -> None:
    found = text(grant("sagemaker-runtime", Access.READ, pins={"endpoint": ("Churn-*",)}))
    arn = "arn:aws:sagemaker:eu-central-1:111122223333:endpoint/"
    for action in ("InvokeEndpoint", "InvokeEndpointAsync", "InvokeEndpointWithResponseStream"):
        assert allows(found, f"sagemaker:{action}", f"{arn}Churn-1")
        assert allows(found, f"sagemaker:{action}", f"{arn}churn-1")
        assert not allows(found, f"sagemaker:{action}", f"{arn}fraud-1")
    assert not allows(found, "sagemaker:CreateEndpoint", f"{arn}churn-1")


def test_a_region_that_is_pinned_stands_in_the_arn() -> None:
    found = text(grant("sagemaker-runtime", Access.READ, pins={"region": ("eu-*",)}))
    assert allows(found, "sagemaker:InvokeEndpoint", "arn:aws:sagemaker:eu-west-1:1:endpoint/x")
    assert not allows(found, "sagemaker:InvokeEndpoint", "arn:aws:sagemaker:us-east-1:1:endpoint/x")


# --- ECR ---------------------------------------------------------------------------------------------

REGISTRY: Final = "arn:aws:ecr:eu-central-1:111122223333:repository/"
THEIRS: Final = REGISTRY.replace("111122223333", "444455556666")
TEAM: Final = {"account": ("111122223333",), "repo": ("team/app",)}


def test_who_may_pull_may_have_a_token_and_the_layers_of_that_repository() -> None:
    found = text(grant("ecr", Access.READ, pins=TEAM))
    assert allows(found, "ecr:GetAuthorizationToken", "*")
    for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
        assert allows(found, f"ecr:{action}", f"{REGISTRY}team/app")
        assert not allows(found, f"ecr:{action}", f"{REGISTRY}team/app2")
        assert not allows(
            found, f"ecr:{action}", REGISTRY.replace("111122223333", "444455556666") + "team/app"
        )
    for action in ("PutImage", "BatchDeleteImage", "ListImages", "InitiateLayerUpload"):
        assert not allows(found, f"ecr:{action}", f"{REGISTRY}team/app")


def test_who_may_push_may_do_what_a_push_takes() -> None:
    found = text(grant("ecr", Access.READ, Access.WRITE, pins=TEAM))
    # "Pushing a Docker image to an Amazon ECR private repository" (ECR User Guide).
    for action in (
        *("BatchCheckLayerAvailability", "BatchGetImage", "CompleteLayerUpload", "InitiateLayerUpload"),
        *("PutImage", "UploadLayerPart"),
    ):
        assert allows(found, f"ecr:{action}", f"{REGISTRY}team/app")
    assert not allows(found, "ecr:BatchDeleteImage", f"{REGISTRY}team/app")


def test_to_ask_whether_it_is_a_registry_takes_a_token_and_nothing_else() -> None:
    found = text(grant("ecr", actions=("ecr:CheckApi",), pins={"account": ("111122223333",)}))
    assert allows(found, "ecr:GetAuthorizationToken", "*")
    assert "repository" not in found


def test_without_a_repository_it_is_all_of_the_account() -> None:
    found = text(grant("ecr", Access.READ, pins={"account": ("111122223333",)}))
    assert allows(found, "ecr:BatchGetImage", f"{REGISTRY}any/thing")
    assert not allows(found, "ecr:BatchGetImage", "arn:aws:ecr:eu-central-1:444455556666:repository/any")


def test_each_partition_has_arns_of_its_own() -> None:
    china = AwsWebIdentity("arn:aws-cn:iam::111122223333:role/x", "cn-north-1")
    assert "arn:aws-cn:ecr:" in text(grant("ecr", Access.READ, pins=TEAM), kind=china)


# --- against the judge -------------------------------------------------------------------------------

MODELS: Final = ("amazon.nova-pro-v1:0", NAME, "eu.meta.llama3-3-70b-instruct-v1:0")
REPOSITORIES: Final = ("team/app", "team/app2", "app", "team/app/deep")
ACCOUNTS: Final = ("111122223333", "444455556666")
ENDPOINTS: Final = ("churn", "churn-2", "fraud")
DIGEST: Final = "sha256:" + "0" * 64
AT_ECR: Final = {
    f"GET /v2/{{}}/blobs/{DIGEST}": ("ecr:GetDownloadUrlForLayer",),
    "GET /v2/{}/manifests/latest": ("ecr:BatchGetImage",),
    "GET /v2/{}/tags/list": ("ecr:ListImages",),
    "POST /v2/{}/blobs/uploads/": ("ecr:InitiateLayerUpload",),
    "PUT /v2/{}/blobs/uploads/1": ("ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
    "PUT /v2/{}/manifests/latest": ("ecr:PutImage",),
    "DELETE /v2/{}/manifests/latest": ("ecr:BatchDeleteImage",),
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, tuple[str, ...], str]:
    """A request, and what IAM wants allowed for it on which resource."""
    match draw(st.sampled_from(("bedrock", "sagemaker", "ecr"))):
        case "bedrock":
            model = draw(st.sampled_from(MODELS))
            path, action = draw(
                st.sampled_from(
                    (
                        ("invoke", "bedrock:InvokeModel"),
                        ("converse", "bedrock:InvokeModel"),
                        ("converse-stream", "bedrock:InvokeModelWithResponseStream"),
                        ("count-tokens", "bedrock:CountTokens"),
                    )
                )
            )
            host = "https://bedrock-runtime.us-east-1.amazonaws.com"
            arn = PROFILE if model.count(".") > 1 else FOUNDATION
            return f"POST {host}/model/{model}/{path}", (action,), arn + model
        case "sagemaker":
            endpoint = draw(st.sampled_from(ENDPOINTS))
            host = "https://runtime.sagemaker.us-east-1.amazonaws.com"
            arn = f"arn:aws:sagemaker:us-east-1:111122223333:endpoint/{endpoint}"
            return f"POST {host}/endpoints/{endpoint}/invocations", ("sagemaker:InvokeEndpoint",), arn
        case _:
            repository, account = (
                draw(st.sampled_from(REPOSITORIES)),
                draw(st.sampled_from(("1" * 12, "4" * 12))),
            )
            line, actions = draw(st.sampled_from(list(AT_ECR.items())))
            method, _, path = line.format(repository).partition(" ")
            host = f"https://{account}.dkr.ecr.us-east-1.amazonaws.com"
            return (
                f"{method} {host}{path}",
                actions,
                f"arn:aws:ecr:us-east-1:{account}:repository/{repository}",
            )


def _pinned(name: str, values: tuple[str, ...]) -> st.SearchStrategy[dict[str, tuple[str, ...]]]:
    some = st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)
    return st.just({}) | some.map(lambda found: {name: tuple(found)})


classes: Final = st.lists(st.sampled_from(Access), min_size=1, max_size=4, unique=True)
regions: Final = st.sampled_from(({}, {"region": ("us-east-1",)}, {"region": ("eu-*",)}))
grants: Final = st.one_of(
    st.builds(
        lambda access, pins: grant("bedrock-runtime", *access, pins=pins), classes, _pinned("model", MODELS)
    ),
    st.builds(
        lambda access, pins, region: grant("sagemaker-runtime", *access, pins=pins | region),
        classes,
        _pinned("endpoint", (*ENDPOINTS, "churn*")),
        regions,
    ),
    st.builds(
        lambda access, account, pins, region: grant(
            "ecr", *access, pins={"account": (account,), **pins, **region}
        ),
        classes,
        st.sampled_from(ACCOUNTS),
        _pinned("repo", (*REPOSITORIES, "team/*")),
        regions,
    ),
)


@given(st.lists(grants, min_size=1, max_size=2), st.lists(requests(), min_size=20, max_size=30))
def test_iam_allows_what_the_judge_allows_and_refuses_what_it_refuses(
    found: list[Grant], asked: list[tuple[str, tuple[str, ...], str]]
) -> None:
    policy = session_policy(ROLE, [(one, CATALOGUE[one.service or ""]) for one in found])
    if isinstance(policy, Underivable):
        assert not policy.too_large, MAX_POLICY_CHARACTERS
        return
    pod = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), tuple(found))
    index = PolicyIndex((pod,), (CredentialSource("ml", "aws", ROLE),), CATALOGUE)
    # A star matches a slash to IAM, and the judge's does not.
    stars = any(
        "*" in glob.text for one in found for name, globs in one.pins for glob in globs if name == "repo"
    )
    for line, actions, resource in asked:
        verdict = decide(index, WorkloadIdentity("ml", "trainer"), ask(line), NOON)
        allowed = [allows(policy, action, resource) for action in actions]
        if isinstance(verdict, Attach):
            assert all(allowed), (line, policy)
        else:
            # A pull is part of a push to IAM, and to count tokens or to start for later one of invoking.
            also = {"ecr:BatchGetImage", "bedrock:InvokeModel"}
            wide = stars or also.intersection(actions)
            assert not any(allowed) or wide or not isinstance(verdict, Refuse), (line, policy)
