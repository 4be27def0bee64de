import pytest

from proxy.core.azure_source import AzureCloud, AzureWorkloadIdentity
from proxy.documents.azure_source import FIELDS, rendered
from proxy.documents.reading import INVALID
from tests.document_strategies import read_shape

(FIELD,) = FIELDS
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
BLOB = "https://storage.azure.com/.default"
PLAIN = AzureWorkloadIdentity(TENANT, CLIENT, BLOB)
KEYS = {"tenant": TENANT, "clientId": CLIENT, "scope": BLOB}


def written(more: str = "", *, tenant: str = TENANT, client: str = CLIENT, scope: str = BLOB) -> str:
    return f'{{tenant: "{tenant}", clientId: "{client}", scope: "{scope}"{more}}}'


@pytest.mark.parametrize(
    ("more", "authority", "audience"),
    [
        ("", AzureCloud.PUBLIC.authority, "api://AzureADTokenExchange"),
        (", cloud: public", AzureCloud.PUBLIC.authority, "api://AzureADTokenExchange"),
        (", cloud: usGovernment", AzureCloud.US_GOVERNMENT.authority, "api://AzureADTokenExchangeUSGov"),
        (", cloud: china", AzureCloud.CHINA.authority, "api://AzureADTokenExchangeChina"),
        (", cloud: china, audience: acme", AzureCloud.CHINA.authority, "acme"),
        (
            ', authorityHost: "https://login.microsoftonline.us/"',
            AzureCloud.US_GOVERNMENT.authority,
            "api://AzureADTokenExchangeUSGov",
        ),
        (
            ', authorityHost: "https://login.acme.example/"',
            "https://login.acme.example",
            "api://AzureADTokenExchange",
        ),
    ],
)
def test_a_cloud_brings_its_authority_and_its_audience(more: str, authority: str, audience: str) -> None:
    expected = AzureWorkloadIdentity(TENANT, CLIENT, BLOB, authority, audience)
    assert read_shape(FIELD.shape, written(more)) == (expected, [])


@pytest.mark.parametrize(
    ("tenant", "read"),
    [(TENANT, TENANT), ("ACME.onmicrosoft.com", "acme.onmicrosoft.com"), (CLIENT.upper(), CLIENT)],
)
def test_a_tenant_is_an_id_or_a_domain(tenant: str, read: str) -> None:
    found, problems = read_shape(FIELD.shape, written(tenant=tenant))

    assert not problems
    assert found.tenant == read


@pytest.mark.parametrize(
    "scope",
    [
        "https://management.azure.com//.default",
        "api://acme/.default",
        "00000000-0000-0000-0000-000000000000/.default",
    ],
)
def test_a_scope_is_any_one_resource(scope: str) -> None:
    found, problems = read_shape(FIELD.shape, written(scope=scope))

    assert not problems
    assert found.scope == scope


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (PLAIN, {}),
        (
            AzureWorkloadIdentity(
                TENANT, CLIENT, BLOB, AzureCloud.CHINA.authority, AzureCloud.CHINA.audience
            ),
            {"cloud": "china"},
        ),
        (
            AzureWorkloadIdentity(TENANT, CLIENT, BLOB, AzureCloud.US_GOVERNMENT.authority, "acme"),
            {"cloud": "usGovernment", "audience": "acme"},
        ),
        (
            AzureWorkloadIdentity(TENANT, CLIENT, BLOB, "https://login.acme.example"),
            {"authorityHost": "https://login.acme.example"},
        ),
    ],
)
def test_only_what_is_not_usual_is_written(kind: AzureWorkloadIdentity, more: dict[str, str]) -> None:
    assert rendered(kind) == {"azureWorkloadIdentity": {**KEYS, **more}}


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        (written(tenant="common"), "stands for any tenant", "the tenant's id"),
        (written(tenant="Organizations"), "stands for any tenant", "the tenant's id"),
        (written(tenant="acme"), "is not a tenant", "one of its domains"),
        (written(tenant="a/b.example"), "is not a tenant", "one of its domains"),
        (written(client="trainer"), "is not a client id", "nor its object id"),
        (
            written(scope="https://storage.azure.com"),
            "no resource",
            "write `https://storage.azure.com/.default`",
        ),
        (
            written(scope="https://storage.azure.com/"),
            "no resource",
            "write `https://storage.azure.com/.default`",
        ),
        (written(scope="Mail.Read"), "no resource", "write `https://storage.azure.com/.default`"),
        (written(scope="/.default"), "no resource", "decided by the application's roles"),
        (written(scope=f"{BLOB} api://acme/.default"), "several scopes", "one source for each resource"),
        (
            written(', cloud: china, authorityHost: "https://login.acme.example"'),
            "say the same twice",
            "keep `cloud`",
        ),
        (written(", cloud: germany"), "is not one of", "use one of: china, public, usGovernment"),
        (written(', authorityHost: "http://login.acme.example"'), "plain http", "https"),
        ("{tenant: x.example}", "`clientId` is missing", "add `clientId:`"),
    ],
)
def test_what_cannot_be_is_told_with_the_fix(text: str, message: str, fix: str) -> None:
    found, problems = read_shape(FIELD.shape, text)

    assert found is INVALID
    assert message in problems[0].message
    assert fix in problems[0].fix
