import pytest

from proxy.core.hosts import Hostname
from proxy.core.labels import LabelSelector
from proxy.core.policy import (
    Access,
    AccessPolicy,
    Addressing,
    ForeignPresigned,
    Gpu,
    Grant,
    ImageRules,
    Limits,
    Mode,
    OnForeignCredential,
    OnRevoke,
    StoreEndpoint,
    WorkloadSelector,
)
from proxy.core.structs import replace
from proxy.core.validity import Validity


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (Mode, ["enforce", "observe"]),
        (Gpu, ["required", "forbidden", "any"]),
        (Access, ["read", "write", "list", "delete"]),
        (OnForeignCredential, ["replace", "refuse"]),
        (OnRevoke, ["finish", "cut"]),
        (ForeignPresigned, ["refuse", "pass"]),
        (Addressing, ["path", "virtual"]),
    ],
)
def test_words_are_spelled_as_documents_spell_them(
    words: type[Mode | Gpu | Access | OnForeignCredential | OnRevoke | ForeignPresigned | Addressing],
    spelled: list[str],
) -> None:
    assert [word.value for word in words] == spelled


def test_a_policy_enforces_at_any_time_unless_it_says_otherwise() -> None:
    policy = AccessPolicy("ml-team", "training", WorkloadSelector(), ())
    assert policy.mode is Mode.ENFORCE
    assert policy.validity == Validity()
    assert policy.on_revoke is OnRevoke.FINISH


def test_a_grant_is_for_the_https_port_and_replaces_what_the_application_sent() -> None:
    grant = Grant("openai", service="openai")
    assert grant.ports == (443,)
    assert grant.on_foreign_credential is OnForeignCredential.REPLACE
    assert grant.allow_minting == ()


def test_a_selector_that_says_nothing_names_no_service_account_and_no_label() -> None:
    selector = WorkloadSelector()
    assert (selector.service_accounts, selector.pod_selector) == ((), None)
    assert (selector.gpu, selector.images) == (Gpu.ANY, None)
    assert ImageRules() == ImageRules((), ())


def test_a_policy_with_a_namespace_selector_is_cluster_wide() -> None:
    named = LabelSelector((("tenant", "yes"),))
    assert not AccessPolicy("ml", "p", WorkloadSelector(("*",)), ()).is_cluster_wide
    assert AccessPolicy("ml", "p", WorkloadSelector(("*",), namespaces=named), ()).is_cluster_wide
    # An empty one selects nobody, and is about nobody's own namespace either.
    assert AccessPolicy("ml", "p", WorkloadSelector(namespaces=LabelSelector()), ()).is_cluster_wide


def test_a_policy_limits_nobody_unless_it_says_so() -> None:
    assert AccessPolicy("ml", "p", WorkloadSelector(), ()).limits is None
    assert Limits() == Limits((), ())


def test_a_grant_cannot_be_widened_after_it_was_checked() -> None:
    grant = Grant("openai", service="openai", methods=("GET",))
    with pytest.raises(AttributeError):
        grant.methods = ()  # type: ignore[misc]


def test_equal_grants_are_one_key() -> None:
    assert {Grant("openai", service="openai"): 1} == {Grant("openai", service="openai"): 1}


@pytest.mark.parametrize(
    ("host", "in_path", "in_host"),
    [
        ("store.example.com", "", ""),
        ("data.store.example.com", None, "data"),
        ("a.b.store.example.com", None, "a.b"),
        ("xstore.example.com", None, None),
        ("example.com", None, None),
        ("store.example.com.evil.example", None, None),
    ],
)
def test_a_store_has_one_host_or_one_for_each_bucket(
    host: str, in_path: str | None, in_host: str | None
) -> None:
    store = StoreEndpoint(Hostname("store.example.com"))
    assert store.bucket_in(Hostname(host)) == in_path
    assert replace(store, addressing=Addressing.VIRTUAL).bucket_in(Hostname(host)) == in_host


def test_a_store_knows_what_its_hosts_look_like() -> None:
    store = StoreEndpoint(Hostname("store.example.com"))
    assert store.label_globs == ("store", "example", "com")
    assert replace(store, addressing=Addressing.VIRTUAL).label_globs == ("**", *store.label_globs)
