import pytest

from proxy.core.hosts import HostPattern
from proxy.core.labels import LabelSelector
from proxy.core.policy import AccessPolicy, Limits, WorkloadSelector
from proxy.documents.limit_documents import LIMITS
from proxy.documents.policy_documents import POLICY_DOCUMENT
from proxy.documents.reading import INVALID
from tests.document_strategies import limiting, policy, read_shape

TENANTS = LabelSelector((("tenant", "yes-please"),))
HOSTS = "{hosts: [api.example.com]}"


def test_reads_hosts_and_services() -> None:
    text = "{hosts: [api.example.com, '*.Example.org'], services: [openai, s3]}"
    hosts = (HostPattern("api.example.com"), HostPattern("*.example.org"))
    expected = Limits(hosts, ("openai", "s3"))
    assert read_shape(LIMITS, text) == (expected, [])
    assert read_shape(POLICY_DOCUMENT, limiting(text)) == (
        AccessPolicy("podkey-system", "limits", WorkloadSelector(namespaces=TENANTS), (), limits=expected),
        [],
    )


@pytest.mark.parametrize("text", [HOSTS, "{services: [openai]}"])
def test_hosts_alone_and_services_alone_are_limits(text: str) -> None:
    value, problems = read_shape(LIMITS, text)
    assert (isinstance(value, Limits), problems) == (True, [])


@pytest.mark.parametrize(
    ("text", "code", "path", "message"),
    [
        # Whoever wants to allow nothing does not mean to leave it open, nor the other way round.
        ("{}", "empty_list", "spec.limits", "`limits` allows nothing"),
        ("{hosts: []}", "empty_list", "spec.limits.hosts", "the list is empty"),
        ("{services: []}", "empty_list", "spec.limits.services", "the list is empty"),
        # Hosts as in grants.
        ("{hosts: ['*.com']}", "host_public_suffix", "spec.limits.hosts[0]", "com"),
        ("{hosts: ['*']}", "host_wildcard", "spec.limits.hosts[0]", "*"),
        ("{hosts: [10.0.0.1]}", "host_is_address", "spec.limits.hosts[0]", "10.0.0.1"),
        ("{hosts: ['a.example.com:8443']}", "host_has_port", "spec.limits.hosts[0]", "8443"),
        ("{hosts: [a.example.com, A.example.com]}", "repeated_item", "spec.limits.hosts[1]", "repeats [0]"),
        ("{namespaces: [ml]}", "unknown_key", "spec.limits", "unknown key `namespaces`"),
    ],
)
def test_tells_what_is_wrong_with_limits(text: str, code: str, path: str, message: str) -> None:
    value, problems = read_shape(POLICY_DOCUMENT, limiting(text))
    assert value is INVALID
    first = problems[0]
    assert (first.code.value, first.path) == (code, path)
    assert message in first.message


def test_limits_need_to_say_whose() -> None:
    text = limiting(HOSTS).replace(
        "    namespaceSelector: {matchLabels: {tenant: yes-please}}", "    gpu: any"
    )
    _, (problem,) = read_shape(POLICY_DOCUMENT, text.replace("gpu: any", "serviceAccounts: ['*']"))
    assert (problem.code.value, problem.path) == ("missing_key", "spec.workloads")
    assert problem.message == "`limits` needs a `namespaceSelector`: whose policies are limited?"
    assert "kubernetes.io/metadata.name" in problem.fix


@pytest.mark.parametrize(
    ("workloads", "more", "at", "names"),
    [
        ("serviceAccounts: ['*']", "", "workloads.serviceAccounts", "`serviceAccounts`"),
        ("podSelector: {matchLabels: {a: b}}", "", "workloads.podSelector", "`podSelector`"),
        ("gpu: required", "", "workloads.gpu", "`gpu`"),
        ("images: {repositories: [r.io/**]}", "", "workloads.images", "`images`"),
        ("", "mode: observe", "mode", "`mode`"),
        ("", "mode: enforce", "mode", "`mode`"),
        ("", "validity: {notAfter: 2027-01-01T00:00:00Z}", "validity", "`validity`"),
        ("", "onRevoke: finish", "onRevoke", "`onRevoke`"),
        ("gpu: forbidden", "mode: observe", "workloads.gpu", "`gpu` and `mode`"),
    ],
)
def test_nothing_narrows_limits(workloads: str, more: str, at: str, names: str) -> None:
    text = limiting(HOSTS)
    text = text.replace("  workloads:\n", f"  workloads:\n    {workloads}\n") if workloads else text
    text += f"  {more}\n" if more else ""
    value, (problem,) = read_shape(POLICY_DOCUMENT, text)
    assert value is INVALID
    assert (problem.code.value, problem.path) == ("unknown_key", f"spec.{at}")
    assert problem.message.startswith(f"{names} beside `limits`")
    assert problem.fix == f"remove {names}"


def test_a_policy_grants_or_limits() -> None:
    both = policy(workloads="{namespaceSelector: {matchLabels: {a: b}}}", more=f"  limits: {HOSTS}\n")
    neither = policy().partition("  grants:")[0]
    for text, message in (
        (both, "a policy has `grants` and `limits`; it takes exactly one"),
        (neither, "a policy needs exactly one of `grants`, `limits`"),
    ):
        value, (problem,) = read_shape(POLICY_DOCUMENT, text)
        assert value is INVALID
        assert (problem.code.value, problem.message) == ("exactly_one", message)
