from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.core.cluster import Namespace, PodNeeds
from injector.core.documents import RawDocument
from injector.engine.holdings import hold
from injector.engine.pod_needs import MAX_REMEMBERED, NamespaceNeeds
from proxy.core.contract import CREDENTIAL_SOURCE, NAMESPACE_NAME_LABEL
from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.selection import selects
from proxy.services.loader import built_in_catalogue
from tests.cluster_policies import GPU, OWN, exchange, grant, limits, policy, raw, source, wide

S3 = {"service": "s3", "buckets": ["b"], "access": ["read"], "credential": "aws"}


def needs_of(*documents: RawDocument, namespace: Namespace = GPU) -> NamespaceNeeds:
    values = [value for document in documents if (value := hold(document, OWN).value) is not None]
    assert len(values) == len(documents)
    return NamespaceNeeds(
        namespace,
        [value for value in values if isinstance(value, AccessPolicy)],
        {value.ref: value for value in values if isinstance(value, CredentialSource)},
        built_in_catalogue(),
    )


def aws(**naming: Any) -> RawDocument:
    spec = {"awsWebIdentity": {"roleArn": "arn:aws:iam::111122223333:role/r", "region": "eu-central-1"}}
    return raw(CREDENTIAL_SOURCE, spec, **{"name": "aws", **naming})


def test_a_pod_needs_what_the_policies_name_that_select_it() -> None:
    needs = needs_of(
        policy(S3, grant(ports=[8443, 443])),
        policy(grant("b.example.com", "two"), name="q"),
        policy(grant("c.example.com", "three"), name="other", accounts=["server"]),
        aws(),
        source("one", secret="tokens"),
        source("two", secret="tokens"),
        exchange("three"),
    ).of("trainer", {})
    assert needs == PodNeeds(
        policies=("ml/p", "ml/q"),
        services=("s3",),
        ports=(443, 8443),
        audiences=("sts.amazonaws.com",),
        secrets=(("tokens", ("token",)),),
    )


def test_a_pod_that_no_policy_selects_needs_nothing() -> None:
    needs = needs_of(policy(), source())
    assert needs.of("default", {}) == PodNeeds()
    assert needs_of().of("trainer", {}) == PodNeeds()


def test_several_secrets_and_keys_are_in_order() -> None:
    pair = {"mountedSecret": {"secretName": "z", "keys": {"accessKeyId": "id", "secretAccessKey": "sk"}}}
    needs = needs_of(policy(S3, grant()), raw(CREDENTIAL_SOURCE, pair, name="aws"), source("one", secret="a"))
    assert needs.of("trainer", {}).secrets == (("a", ("token",)), ("z", ("id", "sk")))


def test_cluster_wide_policies_count_by_the_labels_of_the_namespace() -> None:
    documents = (wide(grant("w.example.com", "x")), exchange("x", namespace=OWN, audience="wide"))
    selected = needs_of(*documents).of("any", {})
    assert selected.policies == ("podkey-system/w",)
    assert selected.audiences == ("wide",)
    other = Namespace("nlp", {NAMESPACE_NAME_LABEL: "nlp", "team": "text"})
    assert needs_of(*documents, namespace=other).of("any", {}) == PodNeeds()


def test_a_namespace_has_its_name_where_nobody_put_the_label_on_it() -> None:
    named = wide(grant("w.example.com", "x"), labels={NAMESPACE_NAME_LABEL: "ml"})
    assert needs_of(named, namespace=Namespace("ml")).of("any", {}).policies == ("podkey-system/w",)


def test_the_secret_of_another_namespace_is_not_mounted() -> None:
    """One by the same name in the pod's namespace is another one."""
    needs = needs_of(wide(grant()), source(namespace=OWN), source())
    assert needs.of("any", {}).secrets == ()


def test_sources_of_one_name_are_told_apart_by_their_namespaces() -> None:
    needs = needs_of(
        wide(grant("w.example.com")), exchange(namespace=OWN, audience="wide"), exchange(audience="own")
    )
    assert needs.of("any", {}).audiences == ("wide",)


def test_limits_select_no_pod() -> None:
    assert needs_of(limits("a.example.com")).of("any", {}) == PodNeeds()


def test_a_source_that_is_not_there_needs_nothing() -> None:
    assert needs_of(policy()).of("trainer", {}) == PodNeeds(policies=("ml/p",), ports=(443,))


def test_a_service_that_is_in_no_catalogue_is_not_named() -> None:
    unknown = {"service": "nowhere", "credential": "one"}
    assert needs_of(policy(unknown, S3)).of("trainer", {}).services == ("s3",)


def test_labels_that_no_policy_mentions_are_not_remembered() -> None:
    needs = needs_of(policy(workloads={"podSelector": {"matchLabels": {"app": "x"}}}), source())
    first = needs.of("default", {"app": "x", "job-name": "one"})
    assert needs.of("other", {"app": "x", "job-name": "two"}) is first
    assert needs.of("other", {"app": "y"}).policies == ()


def test_what_is_remembered_has_a_bound() -> None:
    needs = needs_of(
        policy(workloads={"podSelector": {"matchExpressions": [{"key": "job", "operator": "Exists"}]}})
    )
    for number in range(MAX_REMEMBERED + 2):
        assert needs.of("default", {"job": f"j{number}"}).policies == ("ml/p",)
    assert len(needs._remembered) == 2


ACCOUNTS = st.sampled_from(("a", "b", "*"))
LABELS = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(("x", "y")), max_size=2)
EXPRESSIONS = st.one_of(
    st.builds(
        lambda key, op, value: {"key": key, "operator": op, "values": [value]},
        st.sampled_from(("app", "tier")),
        st.sampled_from(("In", "NotIn")),
        st.sampled_from(("x", "y")),
    ),
    st.builds(
        lambda key, op: {"key": key, "operator": op},
        st.sampled_from(("app", "tier")),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any]:
    accounts = draw(st.lists(ACCOUNTS, max_size=2, unique=True))
    labels, expressions = draw(LABELS), draw(st.lists(EXPRESSIONS, max_size=1))
    selector = {**({"matchLabels": labels} if labels else {})}
    if expressions:
        selector["matchExpressions"] = expressions
    said: dict[str, Any] = {"serviceAccounts": accounts} if accounts else {}
    if selector:
        said["podSelector"] = selector
    return said or {"serviceAccounts": ["a"]}


@given(st.lists(workloads(), max_size=6), st.lists(st.tuples(st.sampled_from("abc"), LABELS), max_size=6))
def test_the_index_says_what_asking_each_policy_says(
    whos: list[dict[str, Any]], pods: list[tuple[str, Mapping[str, str]]]
) -> None:
    documents = [policy(workloads=who, name=f"p{number}") for number, who in enumerate(whos)]
    held = [value for document in documents if (value := hold(document, OWN).value) is not None]
    policies = [value for value in held if isinstance(value, AccessPolicy)]
    needs = NamespaceNeeds(GPU, policies, {}, built_in_catalogue())
    for account, labels in pods:
        found = {f"ml/{p.name}" for p in policies if selects(p, "ml", account, labels, GPU.labels)}
        assert set(needs.of(account, labels).policies) == found
