"""Bedrock, SageMaker, ECR and the services that hand out credentials, held against botocore's own model."""

from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import botocore.session
import pytest
from botocore.config import Config

from proxy.aws.hosts import read_aws_host
from proxy.aws.partitions import partition_of
from proxy.core.aws_sources import AwsStatic
from proxy.core.credentials import CredentialRef, CredentialSource, EcrToken, RegistryToken, SigV4
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.identity import WorkloadIdentity
from proxy.core.lease import Lease
from proxy.core.parts import Part
from proxy.core.policy import Access, AccessPolicy, Grant, WorkloadSelector
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.services import Catalogue, Endpoint
from proxy.core.verdict import Attach, Refuse, Verdict
from proxy.judge.decide import decide
from proxy.judge.index import PolicyIndex
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders
from tests.judge_world import PROOF, ask
from tests.source_world import Request
from tests.stand_ins.aws_signatures import Keys, signer
from tests.transaction_world import PLACEHOLDER, WHO, Driven, drive, head, text, to, wire_fields

NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
POD: Final = WorkloadIdentity("ml", "trainer")
REGIONS: Final = {
    "amazonaws.com": "us-east-1",
    "api.aws": "eu-central-1",
    "on.aws": "us-gov-west-1",
    "amazonaws.com.cn": "cn-north-1",
    "amazonwebservices.com.cn": "cn-northwest-1",
    "amazonaws.eu": "eusc-de-east-1",
    "amazonwebservices.eu": "eusc-de-east-1",
    "c2s.ic.gov": "us-iso-east-1",
    "sc2s.sgov.gov": "us-isob-east-1",
    "adc-e.uk": "eu-isoe-west-1",
    "hci.ic.gov": "us-isof-south-1",
}
BEDROCK: Final = "https://bedrock-runtime.us-east-1.amazonaws.com"
SAGEMAKER: Final = "https://runtime.sagemaker.us-east-1.amazonaws.com"
ECR: Final = "https://111122223333.dkr.ecr.us-east-1.amazonaws.com"
MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"


def verdict(catalogue: Catalogue, line: str, *grants: Grant) -> Verdict:
    policy = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), grants)
    source = CredentialSource("ml", "aws", AwsStatic("s"))
    return decide(PolicyIndex((policy,), (source,), catalogue), POD, ask(line), NOON)


def grant(service: str, *access: Access, **narrowed: Any) -> Grant:
    pins = tuple((name, (Glob(value),)) for name, value in narrowed.pop("pins", {}).items())
    return Grant("aws", service, access=access, pins=pins, **narrowed)


def operation(catalogue: Catalogue, service: str, line: str) -> str | None:
    """The one operation of which alone the request takes a grant."""
    names = {row.name for row in catalogue[service].operations}
    pins = {"account": "111122223333"} if service == "ecr" else {}
    found = [
        name
        for name in sorted(names)
        if isinstance(verdict(catalogue, line, grant(service, actions=(name,), pins=pins)), Attach)
    ]
    assert len(found) <= 1
    return found[0] if found else None


# --- hosts -------------------------------------------------------------------------------------------


def endpoints(service: str) -> Iterator[tuple[str, str]]:
    """What botocore would ask, in each partition and each way, with the region."""
    session = botocore.session.get_session()
    regions = ("us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1")
    for region in regions:
        for fips in (False, True):
            for dual in (False, True):
                config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual)
                try:
                    client = session.create_client(
                        service,
                        region_name=region,
                        config=config,
                        aws_access_key_id="x",
                        aws_secret_access_key="x",
                    )
                except ValueError:  # there is none of this kind
                    continue
                yield client.meta.endpoint_url.removeprefix("https://"), region


@pytest.mark.parametrize(
    ("client", "service"),
    [
        ("bedrock-runtime", "bedrock-runtime"),
        ("sagemaker-runtime", "sagemaker-runtime"),
        ("sts", "aws-credentials"),
        ("iam", "aws-credentials"),
        ("secretsmanager", "aws-credentials"),
        ("ssm", "aws-credentials"),
        ("ecr", "aws-credentials"),
        ("cognito-identity", "aws-credentials"),
        ("rolesanywhere", "aws-credentials"),
        ("eks-auth", "aws-credentials"),
        ("sso", "aws-credentials"),
        ("sso-oidc", "aws-credentials"),
    ],
)
def test_wherever_an_sdk_would_ask_is_known(catalogue: Catalogue, client: str, service: str) -> None:
    asked = list(endpoints(client))
    assert len(asked) > 10
    for host, region in asked:
        (reading,) = catalogue.readings(Hostname(host))
        assert reading.service.name == service, host
        # Some answer for the whole partition.
        assert reading.captures.get("aws_region") in {region, None}, host


def filled(endpoint: Endpoint) -> Iterator[tuple[Hostname, str]]:
    for template in endpoint.hosts:
        suffix = max((end for end in REGIONS if template.text.endswith(end)), key=len)
        region = REGIONS[suffix]
        yield template.filled({"aws_region": region, "where": region, "endpoint": "1a"}), region


@pytest.mark.parametrize(
    ("service", "signed_as"),
    [("bedrock-runtime", "bedrock"), ("sagemaker-runtime", "sagemaker"), ("ecr", "ecr")],
)
def test_every_host_says_what_a_signature_for_it_is_made_for(
    catalogue: Catalogue, service: str, signed_as: str
) -> None:
    for endpoint in catalogue[service].endpoints:
        for host, region in filled(endpoint):
            found = read_aws_host(host)
            assert found is not None, host
            assert (found.service, found.region) == (signed_as, region), host


def test_every_host_that_hands_out_credentials_can_be_signed_for_or_takes_no_signature(
    catalogue: Catalogue,
) -> None:
    for endpoint in catalogue["aws-credentials"].endpoints:
        for host, region in filled(endpoint):
            found = read_aws_host(host)
            if ".credentials.iot." in host:
                assert found is None, "it takes a client certificate"
            else:
                assert found is not None, host
                # Where a name has no region, that of the partition's own counts.
                assert found.region is not None, host
                assert partition_of(found.region) == partition_of(region), host


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("vpce-0a1b-x.bedrock-runtime.us-east-1.vpce.amazonaws.com", "bedrock-runtime"),
        ("vpce-0a1b-x.runtime.sagemaker.us-east-1.vpce.amazonaws.com", "sagemaker-runtime"),
        ("vpce-0a1b-x-us-east-1a.sts.us-east-1.vpce.amazonaws.com", "aws-credentials"),
        ("111122223333.dkr-ecr.us-east-1.on.aws", "ecr"),
        ("c2.credentials.iot.us-east-1.amazonaws.com", "aws-credentials"),
        # The control planes are nobody's yet.
        ("bedrock.us-east-1.amazonaws.com", None),
        ("sagemaker.us-east-1.amazonaws.com", None),
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com.example.com", None),
        ("public.ecr.aws", None),
        ("1111222233334.dkr.ecr.us-east-1.amazonaws.com", None),
    ],
)
def test_a_host_belongs_to_its_service_only(catalogue: Catalogue, host: str, service: str | None) -> None:
    assert [reading.service.name for reading in catalogue.readings(Hostname(host))] == [service] * bool(
        service
    )


# --- Bedrock -----------------------------------------------------------------------------------------


def test_every_operation_of_the_sdk_is_known_but_the_one_that_cannot_be_signed(catalogue: Catalogue) -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    samples = {
        "modelId": "m",
        "guardrailIdentifier": "g",
        "guardrailVersion": "1",
        "invocationArn": "a",
    }
    unknown = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        if not operation(
            catalogue, "bedrock-runtime", f"{http['method']} {BEDROCK}{http['requestUri'].format(**samples)}"
        ):
            unknown.append(name)
    assert unknown == ["InvokeModelWithBidirectionalStream"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("POST /model/amazon.nova-pro-v1%3A0/converse-stream", "bedrock:InvokeModel"),
        ("GET /model/m/invoke", None),
        ("POST /model/m/other", None),
        ("POST /model/m/n/invoke", None),
        ("POST /openai/v1/chat/completions", None),
        ("GET /async-invoke?maxResults=5", "bedrock:ListAsyncInvokes"),
        ("GET /async-invoke?other=5", None),
    ],
)
def test_a_request_to_bedrock_is_one_operation_or_unknown(
    catalogue: Catalogue, line: str, name: str | None
) -> None:
    method, _, path = line.partition(" ")
    assert operation(catalogue, "bedrock-runtime", f"{method} {BEDROCK}{path}") == name


@pytest.mark.parametrize(
    "path", ["invoke", "invoke-with-response-stream", "converse", "converse-stream", "count-tokens"]
)
def test_the_model_is_held_against_its_pin_however_it_is_encoded(catalogue: Catalogue, path: str) -> None:
    ours = grant("bedrock-runtime", Access.READ, pins={"model": "us.anthropic.claude-*"})
    for model in (MODEL, MODEL.replace(":", "%3A"), MODEL.replace(":", "%3a")):
        assert isinstance(verdict(catalogue, f"POST {BEDROCK}/model/{model}/{path}", ours), Attach)
    other = verdict(catalogue, f"POST {BEDROCK}/model/amazon.nova-pro-v1:0/{path}", ours)
    assert isinstance(other, Refuse)
    assert other.reason is Reason.PIN_NOT_GRANTED


def test_what_names_its_model_in_the_body_takes_a_grant_without_models(catalogue: Catalogue) -> None:
    line = f"POST {BEDROCK}/async-invoke"
    pinned = verdict(catalogue, line, grant("bedrock-runtime", Access.WRITE, pins={"model": "*"}))
    assert isinstance(pinned, Refuse)
    assert isinstance(verdict(catalogue, line, grant("bedrock-runtime", Access.WRITE)), Attach)


# --- SageMaker ---------------------------------------------------------------------------------------


def test_every_operation_of_sagemaker_is_invoking_an_endpoint(catalogue: Catalogue) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker-runtime")
    for name in model.operation_names:
        http = model.operation_model(name).http
        line = f"{http['method']} {SAGEMAKER}{http['requestUri'].format(EndpointName='churn')}"
        assert operation(catalogue, "sagemaker-runtime", line) == "sagemaker:InvokeEndpoint"
        churn = grant("sagemaker-runtime", Access.READ, pins={"endpoint": "churn"})
        fraud = grant("sagemaker-runtime", Access.READ, pins={"endpoint": "fraud"})
        assert isinstance(verdict(catalogue, line, churn), Attach)
        assert isinstance(verdict(catalogue, line, fraud), Refuse)


# --- ECR ---------------------------------------------------------------------------------------------

DIGEST: Final = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("GET /v2/", "ecr:CheckApi"),
        ("GET /v2", "ecr:CheckApi"),
        ("HEAD /v2/team/app/manifests/v1", "ecr:GetManifest"),
        (f"GET /v2/app/manifests/{DIGEST}?ns=registry.example.com", "ecr:GetManifest"),
        (f"GET /v2/a/b/c/blobs/{DIGEST}", "ecr:GetBlob"),
        ("GET /v2/team/app/tags/list?n=100&last=v1", "ecr:ListTags"),
        (f"GET /v2/team/app/referrers/{DIGEST}?artifactType=x", "ecr:ListReferrers"),
        ("POST /v2/team/app/blobs/uploads/", "ecr:StartUpload"),
        (f"POST /v2/team/app/blobs/uploads?digest={DIGEST}", "ecr:StartUpload"),
        ("PATCH /v2/team/app/blobs/uploads/0b1c", "ecr:Upload"),
        (f"PUT /v2/team/app/blobs/uploads/0b1c?digest={DIGEST}", "ecr:Upload"),
        ("DELETE /v2/team/app/blobs/uploads/0b1c", "ecr:Upload"),
        ("PUT /v2/team/app/manifests/v1", "ecr:PutManifest"),
        (f"POST /v2/team/app/blobs/uploads/?mount={DIGEST}&from=other", "ecr:MountBlob"),
        (f"POST /v2/team/app/blobs/uploads/?mount={DIGEST}", "ecr:MountBlob"),
        (f"DELETE /v2/team/app/manifests/{DIGEST}", "ecr:DeleteManifest"),
        ("POST /v2/team/app/blobs/uploads/?from=other", None),
        ("GET /v2/_catalog", None),
        (f"DELETE /v2/team/app/blobs/{DIGEST}", None),
        ("GET /v1/repositories", None),
        ("GET /", None),
    ],
)
def test_a_request_to_a_registry_is_one_operation_or_unknown(
    catalogue: Catalogue, line: str, name: str | None
) -> None:
    method, _, path = line.partition(" ")
    assert operation(catalogue, "ecr", f"{method} {ECR}{path}") == name


def test_a_repository_is_held_against_its_pin_with_all_its_slashes(catalogue: Catalogue) -> None:
    ours = grant("ecr", Access.READ, pins={"account": "111122223333", "repo": "team/app"})
    for repository, granted in (
        ("team/app", True),
        ("team/app2", False),
        ("team/app/other", False),
        ("team//app", False),
        ("app", False),
        ("team/app/manifests/x", False),
        ("other/team/app", False),
    ):
        found = verdict(catalogue, f"GET {ECR}/v2/{repository}/manifests/latest", ours)
        assert isinstance(found, Attach) is granted, repository


def test_a_registry_gets_a_token_and_another_account_nothing(catalogue: Catalogue) -> None:
    ours = grant("ecr", Access.READ, pins={"account": "111122223333"})
    found = verdict(catalogue, f"GET {ECR}/v2/app/manifests/latest", ours)
    assert isinstance(found, Attach)
    assert found.scheme == EcrToken()
    theirs = ECR.replace("111122223333", "444455556666")
    assert isinstance(verdict(catalogue, f"GET {theirs}/v2/app/manifests/latest", ours), Refuse)


def test_pulling_pushing_and_deleting_are_classes(catalogue: Catalogue) -> None:
    lines = {
        Access.READ: f"GET {ECR}/v2/app/blobs/{DIGEST}",
        Access.WRITE: f"PATCH {ECR}/v2/app/blobs/uploads/1",
        Access.LIST: f"GET {ECR}/v2/app/tags/list",
        Access.DELETE: f"DELETE {ECR}/v2/app/manifests/{DIGEST}",
    }
    for wanted, line in lines.items():
        for access in Access:
            found = verdict(catalogue, line, grant("ecr", access, pins={"account": "111122223333"}))
            assert isinstance(found, Attach) is (access is wanted)


# --- what hands out credentials ----------------------------------------------------------------------

MINTING_LINES: Final = (
    "POST https://sts.us-east-1.amazonaws.com/",
    "GET https://sts.amazonaws.com/?Action=AssumeRole",
    "POST https://secretsmanager.eu-central-1.amazonaws.com/",
    "POST https://api.ecr.eu-central-1.amazonaws.com/",
    "POST https://iam.amazonaws.com/",
    "POST https://ssm-fips.us-east-1.api.aws/",
    "POST https://codeartifact.us-east-1.amazonaws.com/v1/authorization-token",
    "POST https://redshift-fips.us-east-1.amazonaws.com/",
    "POST https://redshift-serverless.us-east-1.api.aws/",
    "POST https://lakeformation.us-east-1.amazonaws.com/GetTemporaryGlueTableCredentials",
    "GET https://datazone.us-east-1.api.aws/v2/domains/d/environments/e/credentials",
    "GET https://scheduling.deadline.us-east-1.amazonaws.com/2023-10-12/farms/f",
    "GET https://account-access-runtime.us-east-1.api.aws/",
    "POST https://vpce-0a.cognito-identity.us-east-1.vpce.amazonaws.com/",
    "POST https://vpce-0a.ecr.us-east-1.vpce.amazonaws.com/",
    "POST https://vpce-0a-b.codeartifact.us-east-1.vpce.amazonaws.com/v1/authorization-token",
    "POST https://vpce-0a.redshift.us-east-1.vpce.amazonaws.com/",
    "GET https://vpce-0a.portal.sso.us-east-1.vpce.amazonaws.com/federation/credentials",
)


@pytest.mark.parametrize("line", MINTING_LINES)
def test_what_hands_out_credentials_is_refused_unless_it_is_named_and_then_signed(
    catalogue: Catalogue, line: str
) -> None:
    unnamed = verdict(catalogue, line, grant("aws-credentials"))
    assert isinstance(unnamed, Refuse)
    assert unnamed.reason is Reason.MINTING_API
    named = verdict(catalogue, line, grant("aws-credentials", allow_minting=("any-operation",)))
    assert isinstance(named, Attach)
    assert named.scheme == SigV4()


@pytest.mark.parametrize("line", MINTING_LINES)
def test_a_grant_that_names_hosts_opens_nothing_that_hands_out_credentials(
    catalogue: Catalogue, line: str
) -> None:
    host = line.partition("://")[2].partition("/")[0]
    found = verdict(catalogue, line, Grant("aws", hosts=(HostPattern(host),)))
    assert isinstance(found, Refuse)


def test_leave_for_one_operation_of_s3_or_bedrock_opens_nothing_that_hands_out_credentials(
    catalogue: Catalogue,
) -> None:
    others = [
        grant(name, *Access, pins={"bucket": "b"} if name == "s3" else {})
        for name in ("s3", "bedrock-runtime")
    ]
    for line in MINTING_LINES:
        found = verdict(catalogue, line, grant("aws-credentials"), *others)
        assert isinstance(found, Refuse)


# --- as it leaves us ---------------------------------------------------------------------------------

KEYS: Final = Keys("example-id", "an example/secret", "an-example-session")


def lease(ref: CredentialRef) -> Lease:
    parts = {
        Part.ACCESS_KEY_ID: Secret(KEYS.access_key_id.encode()),
        Part.SECRET_ACCESS_KEY: Secret(KEYS.secret_access_key.encode()),
        Part.SESSION_TOKEN: Secret((KEYS.session_token or "").encode()),
        Part.USERNAME: Secret(b"AWS"),
        Part.PASSWORD: Secret(b"an example token"),
    }
    return Lease("l-1", ref, parts, NOON)


def sent(catalogue: Catalogue, line: str, body: bytes, one: Grant) -> tuple[Driven, Request]:
    method, _, url = line.partition(" ")
    host, slash, rest = url.removeprefix("https://").partition("/")
    policy = AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), (one,))
    index = PolicyIndex((policy,), (CredentialSource("ml", "aws", AwsStatic("s")),), catalogue)
    pod = PodState(index, WHO, Placeholders(frozenset({PLACEHOLDER})), PROOF)
    what = head(
        f"{slash}{rest}",
        ("Content-Type", "application/json"),
        ("Authorization", f"AWS4-HMAC-SHA256 Credential={PLACEHOLDER}/20260304/us-east-1/x/aws4_request"),
        *((("Content-Length", str(len(body))),) if body else ()),
        method=method,
        host=host,
        has_body=bool(body),
    )
    driven = drive(what, to(host), pod, lease, body)
    assert isinstance(driven.opening, Forward), driven.opening
    headers = {name.lower(): value for name, value in wire_fields(driven.opening)}
    headers.pop("host", None)
    return driven, Request(method, f"https://{host}{text(driven.opening.target)}", headers, body)


@pytest.mark.parametrize(
    ("line", "body", "one", "service"),
    [
        (
            f"POST {BEDROCK}/model/{MODEL.replace(':', '%3A')}/converse-stream",
            b'{"messages": []}',
            grant("bedrock-runtime", Access.READ),
            "bedrock",
        ),
        (
            f"GET {BEDROCK}/async-invoke?sortOrder=Descending&maxResults=5",
            b"",
            grant("bedrock-runtime", Access.LIST),
            "bedrock",
        ),
        (
            f"POST {SAGEMAKER}/endpoints/churn/invocations",
            b"1,2,3",
            grant("sagemaker-runtime", Access.READ),
            "sagemaker",
        ),
        (
            "POST https://sts.us-east-1.amazonaws.com/",
            b"Action=GetCallerIdentity&Version=2011-06-15",
            grant("aws-credentials", allow_minting=("any-operation",)),
            "sts",
        ),
        (
            "POST https://secretsmanager.us-east-1.api.aws/",
            b"{}",
            grant("aws-credentials", allow_minting=("any-operation",)),
            "secretsmanager",
        ),
    ],
)
def test_what_is_granted_is_signed_as_botocore_would(
    catalogue: Catalogue, line: str, body: bytes, one: Grant, service: str
) -> None:
    driven, request = sent(catalogue, line, body, one)
    assert driven.lease is not None
    assert driven.lease.derivation is None
    assert signer(request, {KEYS.access_key_id: KEYS}.get, service, "us-east-1", NOON) == KEYS


def test_a_registry_is_sent_the_token_of_its_region(catalogue: Catalogue) -> None:
    one = grant("ecr", Access.READ, pins={"account": "111122223333"})
    driven, request = sent(catalogue, f"GET {ECR}/v2/team/app/manifests/v1", b"", one)
    assert driven.lease is not None
    assert driven.lease.derivation == RegistryToken("us-east-1")
    assert b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"AWS:an example token"
    assert "x-amz-date" not in request.headers
