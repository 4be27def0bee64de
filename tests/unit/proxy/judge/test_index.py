"""The compiled policies: who is selected, which hosts are governed, what is remembered."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.credentials import Bearer, CredentialSource, Header, SigV4
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.identity import WorkloadIdentity
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.policy import AccessPolicy, Grant, Limits, WorkloadSelector
from proxy.core.reasons import Reason
from proxy.core.request import OVERRIDE_HEADERS, RequestFacts
from proxy.core.services import Catalogue, CredentialSlots
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, Refuse
from proxy.documents.problems import ProblemCode
from proxy.judge.decide import decide
from proxy.judge.index import (
    BLOB,
    MAX_REMEMBERED_HOSTS,
    MAX_REMEMBERED_IDENTITIES,
    NO_SLOTS,
    UNGOVERNED,
    PolicyIndex,
    is_about,
)
from tests import judge_world as world
from tests.judge_world import CATALOGUE, NOON, POD, ask, bound_grants, index_of, policy

API = "{hosts: [api.example.com], credential: a}"
GET = ask("GET https://api.example.com/v1/x")
MOUNTED = MountedSecret("s", ((Part.TOKEN, "k"),))


def rules_of(index: PolicyIndex, line: str, pod: WorkloadIdentity = POD) -> list[str]:
    """The grants that the index keeps for the host of the request."""
    return [str(grant.rule) for grant in bound_grants(index, pod, ask(line))]


# --- who ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "pod", "expected"),
    [
        (WorkloadSelector(("trainer",)), POD, True),
        (WorkloadSelector(("server", "trainer")), POD, True),
        (WorkloadSelector(("*",)), POD, True),
        (WorkloadSelector(("server",)), POD, False),
        (WorkloadSelector(("Trainer",)), POD, False),
        (WorkloadSelector(("trainer",)), replace(POD, namespace="web"), False),
        (WorkloadSelector(("*",)), replace(POD, namespace="web"), False),
        (WorkloadSelector((), LabelSelector((("team", "vision"),))), POD, True),
        (WorkloadSelector((), LabelSelector((("team", "speech"),))), POD, False),
        (WorkloadSelector(("trainer",), LabelSelector((("team", "speech"),))), POD, False),
        (WorkloadSelector(("server",), LabelSelector((("team", "vision"),))), POD, False),
        (WorkloadSelector(("trainer",), LabelSelector((("team", "vision"),))), POD, True),
        # What is empty selects nobody.
        (WorkloadSelector(), POD, False),
        (WorkloadSelector((), LabelSelector()), POD, False),
        (WorkloadSelector(("trainer",), LabelSelector()), POD, False),
    ],
)
def test_selects_by_namespace_account_and_labels(
    catalogue: Catalogue, who: WorkloadSelector, pod: WorkloadIdentity, *, expected: bool
) -> None:
    grants = index_of(policy(API), catalogue).policies[0].grants
    one = AccessPolicy("ml", "p", who, grants)

    assert is_about(one, pod) is expected
    index = PolicyIndex([one], world.world_sources(), catalogue)
    assert bool(bound_grants(index, pod, GET)) is expected


ML, WEB = (LabelSelector(((NAMESPACE_NAME_LABEL, name),)) for name in ("ml", "web"))
TENANTS = LabelSelector((("tenant", "yes"),))


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        (ML, True),
        (WEB, False),
        (LabelSelector((), (LabelRequirement(NAMESPACE_NAME_LABEL, Operator.NOT_IN, ("web",)),)), True),
        (LabelSelector((), (LabelRequirement(NAMESPACE_NAME_LABEL, Operator.EXISTS),)), True),
        (LabelSelector(), False),
        # What a sidecar does not know selects nobody, not even those without the label.
        (TENANTS, False),
        (LabelSelector((), (LabelRequirement("tier", Operator.NOT_IN, ("prod",)),)), False),
        (LabelSelector((), (LabelRequirement("tier", Operator.DOES_NOT_EXIST),)), False),
        (LabelSelector(ML.match_labels, (LabelRequirement("tier", Operator.DOES_NOT_EXIST),)), False),
    ],
)
@pytest.mark.parametrize("namespace", ["ml", "podkey-system"])
def test_a_cluster_wide_policy_selects_by_the_name_of_the_namespace(
    catalogue: Catalogue, namespace: str, namespaces: LabelSelector, *, expected: bool
) -> None:
    grants = (Grant("a", hosts=(HostPattern("api.example.com"),)),)
    for who in (("*",), ("trainer",)):
        selector = WorkloadSelector(who, namespaces=namespaces)
        one = AccessPolicy(namespace, "p", selector, grants)
        assert is_about(one, POD) is expected
        index = PolicyIndex([one], world.world_sources(), catalogue)
        assert bool(bound_grants(index, POD, GET)) is expected
        assert not bound_grants(index, replace(POD, service_account="x"), GET) or who == ("*",)


def test_the_credential_of_a_cluster_wide_policy_is_one_of_its_own_namespace(catalogue: Catalogue) -> None:
    who = WorkloadSelector(("*",), namespaces=ML)
    one = AccessPolicy("podkey-system", "p", who, (Grant("a", "openai"),))
    far, near = (CredentialSource(space, "a", MOUNTED, Bearer()) for space in ("podkey-system", "ml"))
    index = PolicyIndex([one], [far, near], catalogue)
    ask_for = ask("GET https://api.openai.com/v1/models")
    verdict = decide(index, POD, ask_for, NOON)
    assert isinstance(verdict, Attach)
    assert (str(verdict.credential), str(verdict.rule)) == ("podkey-system/a", "podkey-system/p grants[0]")
    assert list(index.for_pod(POD).uses()) == [far.ref]
    # The pod's namespace has one of that name, which is another one.
    unknown = decide(PolicyIndex([one], [near], catalogue), POD, ask_for, NOON)
    assert isinstance(unknown, Refuse)


def test_limits_grant_nothing_and_govern_nothing(catalogue: Catalogue) -> None:
    hosts = (HostPattern("api.example.com"),)
    limits = Limits(hosts, ("openai",))
    for who in (WorkloadSelector(namespaces=ML), WorkloadSelector(("*",), namespaces=ML)):
        one = AccessPolicy("podkey-system", "l", who, (), limits=limits)
        index = PolicyIndex([one], (), catalogue)
        assert index.for_pod(POD).rules_for(Hostname("api.example.com")).outside is UNGOVERNED
        assert index.for_pod(POD).uses() == {}


def test_where_everything_is_observed_nothing_is_refused_and_the_same_is_granted(
    catalogue: Catalogue,
) -> None:
    one = index_of(policy(API) + policy(API.replace(": a", ": b"), name="trial", mode="observe"), catalogue)
    assert not one.observing
    watching = PolicyIndex(one.policies, one.sources, catalogue, observing=True)
    assert decide(watching, POD, GET, NOON) == decide(one, POD, GET, NOON)
    bad = ask("GET https://api.example.com/a%2Fb")
    refused, would = decide(one, POD, bad, NOON), decide(watching, POD, bad, NOON)
    assert isinstance(refused, Refuse)
    assert would == PassThrough(Reason.WOULD_REFUSE, refused)


def test_a_policy_for_one_account_and_for_all_is_counted_once_in_the_verdict(catalogue: Catalogue) -> None:
    index = index_of(policy(API, workloads='{serviceAccounts: [trainer, "*"]}'), catalogue)

    assert set(rules_of(index, "GET https://api.example.com/")) == {"ml/p grants[0]"}
    assert decide(index, POD, GET, NOON).reason.value == "granted"


@given(world.worlds(), world.identities)
def test_property_the_index_keeps_the_grants_that_a_plain_search_finds(
    found: tuple[AccessPolicy, ...], pod: WorkloadIdentity
) -> None:
    index = PolicyIndex(found, world.world_sources(), CATALOGUE)

    for host in world.HOSTS:
        request = ask(f"GET https://{host}/")
        counting, observed = world.in_force(world.ask_all(index, pod, request, NOON))
        plain = {asked.bound.rule for asked in counting}
        rules = index.for_pod(pod).rules_for(request.host)
        kept = {bound.rule for bound in bound_grants(index, pod, request)}
        if not plain:
            assert (kept, rules.outside) == (set(), UNGOVERNED)
        elif CATALOGUE.blob_owner(request.host) is not None:
            assert (kept, rules.outside) == (set(), BLOB)
        else:
            assert (kept, rules.outside, rules.observed) == (plain, None, observed)


# --- which hosts -------------------------------------------------------------------------------------


def test_exact_and_wildcard_hosts_are_one_group_in_the_order_of_their_rules(catalogue: Catalogue) -> None:
    both = "{hosts: ['*.example.com', api.example.com], credential: a}"
    index = index_of(policy(both, API, name="z") + policy(API, name="b"), catalogue)

    assert rules_of(index, "GET https://api.example.com/") == [
        "ml/b grants[0]",
        "ml/z grants[0]",
        "ml/z grants[1]",
    ]
    assert rules_of(index, "GET https://other.example.com/") == ["ml/z grants[0]"]
    assert rules_of(index, "GET https://example.com/") == []
    assert len(index.for_pod(POD).rules_for(Hostname("api.example.com")).groups) == 1


def test_grants_by_service_and_by_host_are_read_apart(catalogue: Catalogue) -> None:
    by_host = "{hosts: [huggingface.co], paths: [/x], credential: a}"
    by_service = "{service: huggingface, pins: {org: [acme]}, methods: [GET], credential: plain}"
    index = index_of(policy(by_host, by_service), catalogue, frozenset({ProblemCode.OVERLAPPING_GRANTS}))

    service, hosts = index.for_pod(POD).rules_for(Hostname("huggingface.co")).groups

    assert [grant.rule.grant for grant in service.grants] == [1]
    assert [grant.rule.grant for grant in hosts.grants] == [0]
    request = ask("GET https://huggingface.co/acme/llama/resolve/main/x")
    assert service.read(request).pins == {"org": "acme"}
    assert hosts.read(request).pins == {}


def test_a_host_of_a_service_is_read_with_the_pins_that_its_grants_name(catalogue: Catalogue) -> None:
    index = index_of(policy("{service: s3, buckets: [data], access: [read], credential: aws}"), catalogue)
    request = ask("GET https://s3.eu-central-1.amazonaws.com/data/k")

    (group,) = index.for_pod(POD).rules_for(request.host).groups

    assert group.read(request).pins == {"bucket": "data"}


@pytest.mark.parametrize(
    ("line", "outside"),
    [
        ("GET https://cdn-lfs.hf.co/", BLOB),
        ("GET https://api.hf.co/", None),
        ("GET https://cas-bridge.xethub.hf.co/", UNGOVERNED),
        ("GET https://nobody.example/", UNGOVERNED),
    ],
)
def test_a_blob_host_is_never_governed(catalogue: Catalogue, line: str, outside: object) -> None:
    index = index_of(policy("{hosts: ['*.hf.co'], credential: a}"), catalogue)

    assert index.for_pod(POD).rules_for(ask(line).host).outside is outside


@pytest.mark.parametrize(
    ("modes", "observed"),
    [(("observe", "observe"), True), (("observe", "enforce"), False), (("enforce", "enforce"), False)],
)
def test_one_enforcing_policy_makes_the_host_enforced(
    catalogue: Catalogue, modes: tuple[str, str], *, observed: bool
) -> None:
    text = "".join(policy(API, name=f"p{number}", mode=mode) for number, mode in enumerate(modes))

    assert index_of(text, catalogue).for_pod(POD).rules_for(GET.host).observed is observed


def test_paths_are_opaque_where_the_host_belongs_to_such_a_service(catalogue: Catalogue) -> None:
    grants = ("{service: s3, buckets: [data], access: [read], credential: aws}", API)
    pod = index_of(policy(*grants), catalogue).for_pod(POD)

    assert pod.rules_for(Hostname("data.s3.eu-central-1.amazonaws.com")).opaque_paths is True
    assert pod.rules_for(Hostname("api.example.com")).opaque_paths is False


@pytest.mark.parametrize("name", ["data.s3.eu-central-1.amazonaws.com", "*.s3.eu-central-1.amazonaws.com"])
def test_the_name_of_a_host_grants_no_tenant_of_a_service_that_pins_them(
    catalogue: Catalogue, name: str
) -> None:
    hosts = (HostPattern(name), HostPattern("api.example.com"))
    one = AccessPolicy("ml", "p", WorkloadSelector(("*",)), (Grant("a", hosts=hosts),))
    index = PolicyIndex([one], world.world_sources(), catalogue)
    line = "GET https://data.s3.eu-central-1.amazonaws.com/k"

    assert rules_of(index, line) == ["ml/p grants[0]"]
    assert decide(index, POD, ask(line), NOON) == Refuse(Reason.PIN_UNREADABLE, world.ref("p"))
    assert decide(index, POD, GET, NOON).reason is Reason.GRANTED


def test_hosts_share_what_was_made_ready_for_their_patterns(catalogue: Catalogue) -> None:
    """An application can ask for any number of buckets, and each of them is a host."""
    grants = (
        "{service: s3, buckets: [data], access: [read], credential: aws}",
        "{hosts: ['*.example.com'], credential: a}",
    )
    pod = index_of(policy(*grants), catalogue).for_pod(POD)
    pairs = (
        ("data.s3.eu-central-1.amazonaws.com", "other.s3.us-east-1.amazonaws.com"),
        ("a.example.com", "b.example.com"),
    )

    for first, second in pairs:
        (one,), (two,) = (pod.rules_for(Hostname(name)).groups for name in (first, second))
        assert one.grants is two.grants
        assert one.candidates is two.candidates


def test_a_service_that_nobody_grants_is_ungoverned(catalogue: Catalogue) -> None:
    index = index_of(policy("{service: openai, credential: plain}"), catalogue)

    assert rules_of(index, "GET https://api.openai.com/v1/models") == ["ml/p grants[0]"]
    assert index.for_pod(POD).rules_for(Hostname("huggingface.co")).outside is UNGOVERNED


def test_a_grant_for_a_service_that_does_not_exist_governs_nothing(catalogue: Catalogue) -> None:
    problems = frozenset({ProblemCode.UNKNOWN_SERVICE})
    index = index_of(policy("{service: opnai, credential: a}", API), catalogue, problems)

    assert rules_of(index, "GET https://api.example.com/") == ["ml/p grants[1]"]
    assert rules_of(index, "GET https://api.openai.com/") == []


# --- how it is attached ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "service", "expected"),
    [
        ("{hosts: [api.example.com], credential: b}", None, Header("X-Key")),
        ("{service: openai, credential: plain}", "openai", Bearer()),
        ("{service: anthropic, credential: plain}", "anthropic", Header("x-api-key")),
        ("{service: anthropic, credential: a}", "anthropic", Bearer()),
        ("{service: s3, buckets: [x], access: [read], credential: aws}", "s3", SigV4()),
    ],
)
def test_the_source_says_how_it_is_attached_or_else_the_service(
    catalogue: Catalogue, grant: str, service: str | None, expected: object
) -> None:
    index = index_of(policy(grant), catalogue)

    assert index.scheme(index.policies[0], 0, catalogue[service] if service else None) == expected


def test_without_a_source_of_its_own_namespace_there_is_no_scheme(catalogue: Catalogue) -> None:
    index = index_of(policy(API, namespace="web"), catalogue, frozenset({ProblemCode.UNKNOWN_CREDENTIAL}))

    assert index.scheme(index.policies[0], 0, None) is None


# --- headers -----------------------------------------------------------------------------------------


def test_lists_the_headers_that_a_decision_may_need(catalogue: Catalogue) -> None:
    wanted = PolicyIndex((), (), catalogue).wanted_headers

    assert {"openai-organization", "openai-project", "x-amz-copy-source", "x-amz-acl"} <= wanted
    assert wanted == OVERRIDE_HEADERS.union(*(service.wanted_headers for service in catalogue.values()))
    assert PolicyIndex((), (), Catalogue.of(())).wanted_headers == OVERRIDE_HEADERS


def test_a_host_lists_what_the_headers_begin_with_that_a_decision_may_need(catalogue: Catalogue) -> None:
    s3 = "{service: s3, buckets: [data], access: [read], credential: aws}"
    pod = index_of(policy(API, s3), catalogue).for_pod(POD)

    assert pod.rules_for(Hostname("s3.eu-west-1.amazonaws.com")).wanted_beginnings[:2] == ("x-", "x_")
    assert pod.rules_for(GET.host).wanted_beginnings == ()
    assert pod.rules_for(Hostname("elsewhere.example.org")).wanted_beginnings == ()


@given(world.worlds(), world.identities, world.many_requests)
def test_property_no_other_header_changes_a_verdict(
    found: tuple[AccessPolicy, ...],
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
) -> None:
    index = PolicyIndex(found, world.world_sources(), CATALOGUE)
    noise = {"content-type": "text/plain", "x-amz-date": "now", "host": "example.org"}

    for request in requests:
        noisy = replace(request, headers={**noise, **request.headers})
        assert decide(index, pod, noisy, NOON) == decide(index, pod, request, NOON)


# --- order and memory --------------------------------------------------------------------------------


def test_policies_stand_in_the_order_of_their_names(catalogue: Catalogue) -> None:
    found = [
        AccessPolicy(namespace, name, WorkloadSelector(("*",)), ())
        for namespace, name in (("web", "a"), ("ml", "z"), ("ml", "b"))
    ]

    index = PolicyIndex(found, (), catalogue)

    assert [(one.namespace, one.name) for one in index.policies] == [("ml", "b"), ("ml", "z"), ("web", "a")]


def test_a_pod_and_a_host_are_remembered(catalogue: Catalogue) -> None:
    index = index_of(policy(API), catalogue)
    pod = index.for_pod(POD)

    assert index.for_pod(replace(POD)) is pod
    assert pod.rules_for(GET.host) is pod.rules_for(Hostname("api.example.com"))
    assert index.for_pod(replace(POD, labels={})) is not pod


def small_index() -> PolicyIndex:
    """Without services, which makes thousands of hosts quick to look at."""
    return index_of(policy("{hosts: ['*.example.com'], credential: a}"), Catalogue.of(()))


def test_the_memory_of_identities_is_bounded_and_changes_no_verdict() -> None:
    index = small_index()
    others = [replace(POD, pod_uid=f"pod-{number}") for number in range(2 * MAX_REMEMBERED_IDENTITIES)]
    strangers = [replace(pod, namespace="web") for pod in others]
    first = decide(index, POD, GET, NOON)

    sizes = list(_sizes(index, others + strangers))

    assert max(sizes) == MAX_REMEMBERED_IDENTITIES
    assert min(sizes[MAX_REMEMBERED_IDENTITIES:]) == 1
    assert [decide(index, pod, GET, NOON) for pod in (POD, others[0], others[-1])] == [first] * 3
    assert decide(index, strangers[0], GET, NOON) == UNGOVERNED


def _sizes(index: PolicyIndex, pods: list[WorkloadIdentity]) -> Iterator[int]:
    for pod in pods:
        decide(index, pod, GET, NOON)
        yield len(index._pods)


def test_the_memory_of_hosts_is_bounded_and_changes_no_verdict() -> None:
    index = small_index()
    pod = index.for_pod(POD)
    first = decide(index, POD, GET, NOON)

    for number in range(MAX_REMEMBERED_HOSTS - 1):
        pod.rules_for(Hostname(f"made-up-{number}.example.net"))
    full = len(pod._hosts)
    another = decide(index, POD, ask("GET https://one-more.example.com/"), NOON)

    assert (full, len(pod._hosts)) == (MAX_REMEMBERED_HOSTS, MAX_REMEMBERED_HOSTS)
    assert GET.host not in pod._hosts  # the one that was met first
    assert another == first
    assert decide(index, POD, GET, NOON) == first
    assert decide(index, POD, ask("GET https://made-up-0.example.net/"), NOON) == UNGOVERNED
    assert len(pod._hosts) == MAX_REMEMBERED_HOSTS


@given(world.worlds(), world.many_requests)
def test_property_a_memory_changes_no_verdict(
    found: tuple[AccessPolicy, ...], requests: list[RequestFacts]
) -> None:
    """One index asked everything in turn says what a fresh one says of each."""
    index = PolicyIndex(found, world.world_sources(), CATALOGUE)
    for pod in world.IDENTITIES:
        for request in requests:
            decide(index, pod, request, NOON)

    for pod in world.IDENTITIES:
        for request in requests[:4]:
            fresh = PolicyIndex(found, world.world_sources(), CATALOGUE)
            assert decide(index, pod, request, NOON) == decide(fresh, pod, request, NOON)


# --- where credentials stand -------------------------------------------------------------------------


def slots(index: PolicyIndex, host: str) -> CredentialSlots:
    return index.for_pod(POD).rules_for(Hostname(host)).slots


def test_the_slots_of_a_host_are_http_s_own_the_services_and_the_schemes(catalogue: Catalogue) -> None:
    index = index_of(
        policy(
            "{hosts: [api.example.com], paths: [/a], credential: a}",
            "{hosts: ['*.example.com'], paths: [/b], credential: b}",
            "{service: anthropic, credential: plain}",
            "{service: huggingface, credential: plain}",
        ),
        catalogue,
    )

    assert slots(index, "api.example.com") == CredentialSlots(("authorization", "x-key"))
    assert slots(index, "www.example.com") == CredentialSlots(("authorization", "x-key"))
    assert slots(index, "api.anthropic.com") == CredentialSlots(("authorization", "x-api-key"))
    assert slots(index, "huggingface.co") == CredentialSlots(("authorization",), cookies=("token",))


def test_the_slots_of_a_service_count_whichever_grant_names_its_host(catalogue: Catalogue) -> None:
    index = index_of(policy("{hosts: [api.anthropic.com], credential: b}"), catalogue)

    assert slots(index, "api.anthropic.com") == CredentialSlots(("authorization", "x-api-key", "x-key"))


def test_a_policy_on_trial_adds_no_slot_to_a_host_that_is_enforced(catalogue: Catalogue) -> None:
    both = policy("{hosts: [api.example.com], credential: a}") + policy(
        "{hosts: [api.example.com], credential: b}", name="watch", mode="observe"
    )
    watched = policy("{hosts: [api.example.com], credential: b}", mode="observe")

    assert slots(index_of(both, catalogue), "api.example.com") == CredentialSlots(("authorization",))
    assert slots(index_of(watched, catalogue), "api.example.com").headers == ("authorization", "x-key")


def test_a_host_that_gets_no_credential_has_no_slot_and_no_service(catalogue: Catalogue) -> None:
    index = index_of(policy("{hosts: ['*.huggingface.co'], credential: a}"), catalogue)

    for host in ("example.net", "cdn-lfs.huggingface.co"):
        rules = index.for_pod(POD).rules_for(Hostname(host))
        assert rules.slots == NO_SLOTS == CredentialSlots()
        assert rules.services == ()


def test_the_services_of_a_host_are_those_of_the_catalogue(catalogue: Catalogue) -> None:
    index = index_of(policy(API, "{hosts: [api.openai.com], credential: a}"), catalogue)
    pod = index.for_pod(POD)

    assert pod.rules_for(Hostname("api.openai.com")).services == (catalogue["openai"],)
    assert pod.rules_for(Hostname("api.example.com")).services == ()


# Vectors are stored over gRPC, files over anything.
ENTRIES = "".join(
    f"""---
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {{name: {name}}}
spec:
  title: A store
  summary: It stores.
  endpoints: [{{hosts: [{name}.acme.example]}}]
  attach: [{{bearer: {{}}}}]
  grpc: {grpc}
"""
    for name, grpc in (("vectors", "true"), ("files", "false"))
)


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ("{service: vectors, credential: a}", True),
        ("{hosts: [vectors.acme.example], credential: a}", True),
        ("{service: files, credential: a}", False),
        ("{hosts: [files.acme.example], credential: a}", False),
        # Nobody knows what is asked for there.
        ("{hosts: ['*.acme.example'], credential: a}", False),
    ],
)
def test_a_pod_whose_grants_name_a_service_of_grpc_will_need_http2(grant: str, *, expected: bool) -> None:
    index = index_of(ENTRIES + policy(grant), CATALOGUE)

    assert index.for_pod(POD).names_grpc is expected
    # The policy is about another pod.
    assert not index.for_pod(replace(POD, service_account="server")).names_grpc


def test_where_no_service_speaks_grpc_nobody_needs_http2() -> None:
    assert not index_of(policy("{service: openai, credential: a}", API), CATALOGUE).for_pod(POD).names_grpc


# --- what a source is used for ------------------------------------------------------------------------


def used_for(text: str, pod: WorkloadIdentity = POD, as_of: datetime | None = None) -> dict[str, list[str]]:
    """The hosts of the grants that count, by source."""
    uses = index_of(text, CATALOGUE).for_pod(pod).uses(as_of)
    return {ref.name: [grant.hosts[0].text for grant, _ in grants] for ref, grants in uses.items()}


def test_a_source_is_used_for_what_the_grants_of_the_pod_name() -> None:
    text = policy(
        "{hosts: [a.example.com], credential: a}", "{hosts: [b.example.com], credential: b}"
    ) + policy("{hosts: [c.example.com], credential: a}", name="second")

    assert used_for(text) == {"a": ["a.example.com", "c.example.com"], "b": ["b.example.com"]}


def test_a_policy_on_trial_neither_widens_nor_replaces_what_is_in_force() -> None:
    trial = policy(
        "{hosts: [trial.example.com], credential: a}",
        "{hosts: [other.example.com], credential: b}",
        name="trial",
        mode="observe",
    )

    assert used_for(policy("{hosts: [a.example.com], credential: a}") + trial) == {
        "a": ["a.example.com"],
        "b": ["other.example.com"],
    }


def test_what_a_pod_does_not_meet_or_what_has_ended_does_not_count() -> None:
    gpu = policy(
        "{hosts: [gpu.example.com], credential: a}",
        name="gpu",
        workloads="{serviceAccounts: [trainer], gpu: required}",
    )
    ended = policy(
        "{hosts: [ended.example.com], credential: a}",
        name="ended",
        validity=f"{{notAfter: {NOON:%Y-%m-%dT%H:%M:%SZ}}}",
    )
    text = policy("{hosts: [a.example.com], credential: a}") + gpu + ended

    assert used_for(text, as_of=NOON) == {"a": ["a.example.com"]}
    assert used_for(text, as_of=NOON - timedelta(seconds=1)) == {"a": ["ended.example.com", "a.example.com"]}
    assert used_for(text, replace(POD, wants_gpu=True), NOON) == {"a": ["gpu.example.com", "a.example.com"]}


def test_the_sources_of_an_index_are_all_that_its_documents_define() -> None:
    index = index_of(policy("{hosts: [a.example.com], credential: a}"), CATALOGUE)

    assert index.source(next(iter(index.sources)).ref) in tuple(index.sources)
