"""Stores that grants name: how their hosts are read, and which grants count there."""

import pytest

from proxy.core.credentials import CredentialRef, SigV4
from proxy.core.hosts import Hostname
from proxy.core.policy import Access, AccessPolicy, Addressing, Grant, Mode, StoreEndpoint, WorkloadSelector
from proxy.core.reasons import Reason
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, Refuse, Verdict
from proxy.documents.problems import ProblemCode
from proxy.judge.decide import decide
from proxy.judge.explain import explain
from proxy.judge.index import MAX_REMEMBERED_HOSTS, UNGOVERNED, PolicyIndex
from proxy.judge.stores import store_reading
from tests import judge_world as world
from tests.judge_world import NOON, POD, ask, index_of, policy, ref

HOST = Hostname("store.example.com")
STORE = StoreEndpoint(HOST)
BELOW = StoreEndpoint(HOST, "eu-1", Addressing.VIRTUAL)
TORN = frozenset({ProblemCode.CONTRADICTING_ENDPOINTS})


def at(endpoint: str, more: str = "", credential: str = "aws") -> str:
    return (
        f"{{service: s3, endpoint: '{endpoint}', access: [read, write, list], credential: {credential}, "
        + (more if "buckets" in more else f"buckets: [data]{', ' if more else ''}{more}")
        + "}"
    )


AMAZON = "{service: s3, buckets: [data], access: [read], credential: aws2}"
VIRTUAL = "region: eu-1, addressing: virtual"


def verdict(index: PolicyIndex, line: str) -> Verdict:
    return decide(index, POD, ask(line), NOON)


# --- how a host is read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "host", "captures"),
    [
        (STORE, "store.example.com", {"aws_region": "us-east-1"}),
        (STORE, "data.store.example.com", None),
        (BELOW, "store.example.com", {"aws_region": "eu-1"}),
        (BELOW, "data.store.example.com", {"aws_region": "eu-1", "bucket": "data"}),
        (BELOW, "my.data.store.example.com", {"aws_region": "eu-1", "bucket": "my.data"}),
        (BELOW, "other.example.com", None),
    ],
)
def test_a_host_of_a_store_shows_its_region_and_may_show_a_bucket(
    catalogue: Catalogue, store: StoreEndpoint, host: str, captures: dict[str, str] | None
) -> None:
    reading = store_reading(catalogue["s3"], store, Hostname(host))
    assert (reading.captures if reading else None) == captures


def test_paths_are_read_as_on_amazons_hosts(catalogue: Catalogue) -> None:
    ours = [
        store_reading(catalogue["s3"], store, Hostname(host))
        for store, host in ((STORE, "store.example.com"), (BELOW, "data.store.example.com"))
    ]
    theirs = [
        catalogue.readings(Hostname(host))
        for host in ("s3.eu-west-1.amazonaws.com", "data.s3.eu-west-1.amazonaws.com")
    ]
    assert [one.endpoint.paths if one else None for one in ours] == [one.endpoint.paths for (one,) in theirs]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET https://store.example.com/data/train/x", Reason.GRANTED),
        ("PUT https://store.example.com/data/train/x?partNumber=1&uploadId=u", Reason.GRANTED),
        ("GET https://store.example.com/data?list-type=2", Reason.GRANTED),
        ("HEAD https://store.example.com/data/", Reason.GRANTED),
        ("GET https://store.example.com/other/train/x", Reason.PIN_NOT_GRANTED),
        ("GET https://store.example.com/", Reason.PIN_UNREADABLE),
        ("GET https://store.example.com//data/x", Reason.PIN_UNREADABLE),
        ("GET https://store.example.com/data/../other/x", Reason.AMBIGUOUS_PATH),
        ("GET https://store.example.com/data/a+b", Reason.AMBIGUOUS_PATH),
        ("GET https://store.example.com/data/x?acl", Reason.ACTION_NOT_GRANTED),
        ("GET https://store.example.com/data/x?nonsense", Reason.UNKNOWN_ACTION),
        ("GET https://store.example.com:9000/data/x", Reason.PORT_NOT_GRANTED),
        ("GET https://store.example.com/data?session", Reason.UNKNOWN_ACTION),
        # In a host, a bucket is one where the store says so.
        ("GET https://data.store.example.com/x", Reason.UNGOVERNED_HOST),
    ],
)
def test_a_store_with_buckets_in_the_path(catalogue: Catalogue, line: str, expected: Reason) -> None:
    assert verdict(index_of(policy(at("store.example.com")), catalogue), line).reason is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET https://data.store.example.com/train/x", Reason.GRANTED),
        ("GET https://data.store.example.com/?list-type=2", Reason.GRANTED),
        ("GET https://other.store.example.com/train/x", Reason.PIN_NOT_GRANTED),
        ("GET https://x.data.store.example.com/train/x", Reason.PIN_NOT_GRANTED),
        ("GET https://store.example.com/data/train/x", Reason.PIN_UNREADABLE),
        ("GET https://store.example.com/", Reason.PIN_UNREADABLE),
        ("GET https://example.com/", Reason.UNGOVERNED_HOST),
    ],
)
def test_a_store_with_buckets_in_the_host(catalogue: Catalogue, line: str, expected: Reason) -> None:
    index = index_of(policy(at("store.example.com", VIRTUAL)), catalogue)
    assert verdict(index, line).reason is expected


@pytest.mark.parametrize(
    "path",
    [
        "minio/admin/v3/export-iam",
        "%6dinio/admin/v3/export-iam",
        "admin/metadata/user",
        "swift/v1/x",
        "auth/v1.0",
        "rustfs/admin/v3/list-users",
        ".minio.sys/config/x",
        "-a/x",
        "Old_Bucket/x",
        "tenant:data/x",
        "ab/x",
    ],
)
def test_a_star_covers_nothing_but_buckets(catalogue: Catalogue, path: str) -> None:
    starred = index_of(policy(at("store.example.com", "buckets: ['*']")), catalogue)
    for method in ("GET", "PUT"):
        found = verdict(starred, f"{method} https://store.example.com/{path}")
        assert found.reason is Reason.PIN_NOT_GRANTED
    assert verdict(starred, "GET https://store.example.com/data/minio/x").reason is Reason.GRANTED
    # Whoever names one of these means it.
    name = path.partition("/")[0].replace("%6d", "m")
    literal = index_of(policy(at("store.example.com", f"buckets: ['*', '{name}']")), catalogue)
    assert verdict(literal, f"GET https://store.example.com/{path}").reason is Reason.GRANTED


def test_what_is_copied_is_in_a_bucket_too(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com", "buckets: ['*']")), catalogue)
    for source, reason in (("other/k", Reason.GRANTED), ("minio/k", Reason.SOURCE_NOT_GRANTED)):
        request = ask("PUT https://store.example.com/data/k", {"x-amz-copy-source": source})
        assert decide(index, POD, request, NOON).reason is reason


def test_amazon_has_no_api_of_its_own_among_buckets(catalogue: Catalogue) -> None:
    grant = (
        "{service: s3, buckets: ['*'], expectedBucketOwner: '111122223333', access: [read], credential: aws}"
    )
    index = index_of(policy(grant), catalogue)
    for url in ("s3.eu-west-1.amazonaws.com/minio/x", "data.s3.eu-west-1.amazonaws.com/minio/x"):
        assert verdict(index, f"GET https://{url}").reason is Reason.GRANTED


@pytest.mark.parametrize("path", ["/minio/admin/v3/list-users", "/minio", "/admin/usage", "/%6Dinio/x"])
def test_a_store_s_own_api_is_no_key_where_buckets_are_in_the_host(catalogue: Catalogue, path: str) -> None:
    """MinIO asks for its own paths before it asks for the host."""
    index = index_of(policy(at("store.example.com", VIRTUAL)), catalogue)
    assert verdict(index, f"GET https://data.store.example.com{path}").reason is Reason.PIN_UNREADABLE
    assert verdict(index, "GET https://data.store.example.com/a/minio").reason is Reason.GRANTED


def test_a_path_that_cannot_be_read_is_explained_there_too(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com", VIRTUAL)), catalogue)
    request = ask("GET https://data.store.example.com/a%2Fb")
    assert request.path.text == ""
    found = explain(index, POD, request, NOON).verdict
    assert isinstance(found, Refuse)
    assert found.reason is Reason.AMBIGUOUS_PATH


@pytest.mark.parametrize("addressing", ["path", "virtual"])
def test_what_names_no_bucket_is_granted_by_its_name(catalogue: Catalogue, addressing: str) -> None:
    named = f'addressing: {addressing}, actions: ["s3:ListAllMyBuckets"]'
    index = index_of(policy(at("store.example.com", named)), catalogue)
    assert verdict(index, "GET https://store.example.com/").reason is Reason.GRANTED


def test_a_bucket_with_dots_is_a_bucket(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com", f"{VIRTUAL}, buckets: [my.data]")), catalogue)
    assert verdict(index, "GET https://my.data.store.example.com/x").reason is Reason.GRANTED


def test_a_pattern_covers_every_bucket_of_ones_own_store(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com", f"{VIRTUAL}, buckets: ['*']")), catalogue)
    assert verdict(index, "GET https://anything.store.example.com/x").reason is Reason.GRANTED


def test_the_verdict_says_for_which_store_to_sign(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com:9000", VIRTUAL)), catalogue)
    found = verdict(index, "GET https://data.store.example.com:9000/x")
    assert found == Attach(ref("p"), CredentialRef("ml", "aws"), SigV4(), store=BELOW)


def test_a_store_is_s3_to_whoever_reads_slots_dialect_and_paths(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com", VIRTUAL)), catalogue)
    for host in ("store.example.com", "data.store.example.com", "made-up.store.example.com"):
        rules = index.for_pod(POD).rules_for(Hostname(host))
        assert rules.services == (catalogue["s3"],)
        assert rules.opaque_paths
        assert {"authorization", "x-amz-security-token"} <= set(rules.slots.headers)
        assert set(catalogue["s3"].slots.query) <= set(rules.slots.query)


# --- one store, and no other -------------------------------------------------------------------------


def test_a_grant_for_a_store_is_for_no_other_and_not_for_amazon(catalogue: Catalogue) -> None:
    index = index_of(
        policy(at("store.example.com"), at("other.example.com", VIRTUAL, "aws2"), AMAZON), catalogue
    )
    by_host = {
        "store.example.com/data/x": ref("p", 0),
        "data.other.example.com/x": ref("p", 1),
        "s3.eu-west-1.amazonaws.com/data/x": ref("p", 2),
        "data.s3.amazonaws.com/x": ref("p", 2),
    }
    for place, rule in by_host.items():
        found = verdict(index, f"GET https://{place}")
        assert isinstance(found, Attach), place
        assert found.rule == rule
    for place in ("s3.eu-west-1.amazonaws.com/data/x", "other.example.com/data/x"):
        assert verdict(index, f"PUT https://{place}").reason is not Reason.GRANTED
    alone = index_of(policy(at("store.example.com")), catalogue)
    assert verdict(alone, "GET https://s3.eu-west-1.amazonaws.com/data/x") == UNGOVERNED
    assert verdict(index_of(policy(AMAZON), catalogue), "GET https://store.example.com/data/x") == UNGOVERNED


def test_grants_for_one_store_are_asked_together(catalogue: Catalogue) -> None:
    grants = (at("store.example.com:9000"), at("store.example.com:9001", "buckets: [other]", "aws2"))
    index = index_of(policy(*grants), catalogue)
    assert verdict(index, "GET https://store.example.com:9000/data/x").reason is Reason.GRANTED
    assert verdict(index, "GET https://store.example.com:9001/other/x").reason is Reason.GRANTED
    assert verdict(index, "GET https://store.example.com:9001/data/x").reason is Reason.PIN_NOT_GRANTED
    (group,) = index.for_pod(POD).rules_for(HOST).groups
    assert len(group.grants) == 2


@pytest.mark.parametrize(
    ("grants", "torn", "whole"),
    [
        (
            (at("store.example.com"), at("store.example.com", "region: eu-1")),
            ["GET https://store.example.com/data/x", "GET https://store.example.com/"],
            [],
        ),
        (
            (at("store.example.com"), at("store.example.com", "addressing: virtual")),
            ["GET https://store.example.com/data/x"],
            ["GET https://data.store.example.com/x"],
        ),
        # `data` is a bucket of one store, and itself a store.
        (
            (at("store.example.com", VIRTUAL), at("data.store.example.com")),
            ["GET https://data.store.example.com/x", "GET https://data.store.example.com/data/x"],
            [],
        ),
        (
            (at("store.example.com", f"{VIRTUAL}, buckets: ['*']"), at("a.store.example.com", VIRTUAL)),
            ["GET https://data.a.store.example.com/x", "GET https://a.store.example.com/x"],
            ["GET https://data.store.example.com/x"],
        ),
    ],
)
def test_a_host_with_two_readings_grants_nothing(
    catalogue: Catalogue, grants: tuple[str, ...], torn: list[str], whole: list[str]
) -> None:
    index = index_of(policy(*grants), catalogue, TORN)
    for line in torn:
        found = verdict(index, line)
        assert isinstance(found, Refuse)
        assert found.reason is Reason.PIN_UNREADABLE, line
        rules = index.for_pod(POD).rules_for(ask(line).host)
        assert rules.services == (catalogue["s3"],)
    for line in whole:
        assert verdict(index, line).reason is Reason.GRANTED, line


def test_what_needs_no_bucket_is_not_granted_there_either(catalogue: Catalogue) -> None:
    """Also for a service whose grants need not name one."""
    listing = 'actions: ["s3:ListAllMyBuckets"]'
    grants = (at("store.example.com", listing), at("store.example.com", f"region: eu-1, {listing}"))
    index = index_of(policy(*grants), catalogue, TORN)
    assert verdict(index, "GET https://store.example.com/").reason is Reason.PIN_UNREADABLE
    bare = replace(catalogue["s3"], name="bare", operations=(), pins=())
    stores = tuple(Grant("a", "bare", endpoint=store) for store in (STORE, BELOW))
    one = AccessPolicy("ml", "p", WorkloadSelector(("*",)), stores)
    found = PolicyIndex([one], world.world_sources(), Catalogue.of((bare,)))
    assert verdict(found, "GET https://store.example.com/data/x").reason is Reason.PIN_UNREADABLE


@pytest.mark.parametrize("host", ["s3.eu-central-1.amazonaws.com", "data.s3.eu-central-1.amazonaws.com"])
def test_the_catalogues_own_hosts_are_no_store(catalogue: Catalogue, host: str) -> None:
    store = Grant("a", "s3", access=tuple(Access), endpoint=StoreEndpoint(Hostname(host)))
    amazon = Grant("b", "s3", access=(Access.READ,))
    for grants, reason in ((store,), Reason.UNKNOWN_ACTION), ((store, amazon), Reason.ACTION_NOT_GRANTED):
        one = AccessPolicy("ml", "p", WorkloadSelector(("*",)), grants)
        index = PolicyIndex([one], world.world_sources(), catalogue)
        found = verdict(index, f"PUT https://{host}/data/x")
        assert isinstance(found, Refuse)
        assert found.reason is reason
    found = verdict(index, f"GET https://{host}/data/x")
    assert isinstance(found, Attach)
    assert (found.rule, found.store) == (ref("p", 1), None)


def test_a_store_of_a_service_that_is_not_there_governs_nothing(catalogue: Catalogue) -> None:
    one = AccessPolicy("ml", "p", WorkloadSelector(("*",)), (Grant("a", "gone", endpoint=STORE),))
    index = PolicyIndex([one], world.world_sources(), catalogue)
    assert verdict(index, "GET https://store.example.com/data/x") == UNGOVERNED


@pytest.mark.parametrize("name", ["store.example.com", "*.example.com"])
def test_no_grant_reaches_a_store_by_the_name_of_its_host(catalogue: Catalogue, name: str) -> None:
    text = policy(at("store.example.com"), f"{{hosts: ['{name}', api.example.net], credential: a}}")
    index = index_of(text, catalogue, frozenset({ProblemCode.HOST_NEEDS_SERVICE}))
    assert verdict(index, "GET https://store.example.com/data/x").reason is Reason.GRANTED
    assert isinstance(verdict(index, "GET https://store.example.com/other/x"), Refuse)
    assert verdict(index, "GET https://api.example.net/").reason is Reason.GRANTED


# --- policies on trial -------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", [("enforce", "observe"), ("observe", "enforce")])
def test_of_two_policies_for_one_store_the_enforcing_one_counts(
    catalogue: Catalogue, modes: tuple[str, str]
) -> None:
    text = "".join(
        policy(at("store.example.com", more, credential), name=mode, mode=mode)
        for mode, more, credential in zip(modes, ("", "buckets: [other]"), ("aws", "aws2"), strict=True)
    )
    index = index_of(text, catalogue)
    counts = "data" if modes[0] == "enforce" else "other"
    for bucket in ("data", "other"):
        found = verdict(index, f"GET https://store.example.com/{bucket}/x")
        assert isinstance(found, Attach if bucket == counts else Refuse)


def test_a_store_on_trial_takes_no_host_from_a_grant_that_is_in_force(catalogue: Catalogue) -> None:
    hosts = policy("{hosts: [store.example.com, a.store.example.com], credential: a}", name="old")
    trial = policy(at("store.example.com", VIRTUAL), name="trial", mode="observe")
    index = index_of(hosts + trial, catalogue)
    for host in ("store.example.com", "a.store.example.com"):
        found = verdict(index, f"GET https://{host}/any/+thing")
        assert isinstance(found, Attach)
        assert found.rule == ref("old")
        rules = index.for_pod(POD).rules_for(Hostname(host))
        assert (rules.services, rules.opaque_paths, rules.observed) == ((), False, False)
    # Where no policy is in force, it observes.
    assert isinstance(verdict(index, "GET https://b.store.example.com/x"), PassThrough)


def test_a_store_on_trial_does_not_contradict_one_that_is_in_force(catalogue: Catalogue) -> None:
    text = policy(at("store.example.com"), name="old")
    text += policy(at("store.example.com", "region: eu-1"), name="trial", mode="observe")
    found = verdict(index_of(text, catalogue), "GET https://store.example.com/data/x")
    assert isinstance(found, Attach)
    assert found.store == STORE


def test_two_readings_on_trial_would_be_refused(catalogue: Catalogue) -> None:
    grants = (at("store.example.com"), at("store.example.com", "region: eu-1"))
    index = index_of(policy(*grants, mode="observe"), catalogue, TORN)
    found = verdict(index, "GET https://store.example.com/data/x")
    assert found == PassThrough(Reason.WOULD_REFUSE, Refuse(Reason.PIN_UNREADABLE, ref("p")))


def test_a_store_of_another_namespaces_policy_is_none_of_the_pods(catalogue: Catalogue) -> None:
    grants = (Grant("a", "s3", endpoint=STORE),)
    policies = [
        AccessPolicy("web", "p", WorkloadSelector(("*",)), grants),
        AccessPolicy("ml", "q", WorkloadSelector(("other",)), grants, Mode.ENFORCE),
    ]
    index = PolicyIndex(policies, world.world_sources(), catalogue)
    assert verdict(index, "GET https://store.example.com/data/x") == UNGOVERNED


# --- memory ------------------------------------------------------------------------------------------


def test_made_up_buckets_are_not_kept(catalogue: Catalogue) -> None:
    """An application can ask for any number of names below a store."""
    grants = (at("store.example.com", VIRTUAL), "{hosts: ['*.example.com'], credential: a}")
    index = index_of(
        policy(*grants), Catalogue.of((catalogue["s3"],)), frozenset({ProblemCode.HOST_NEEDS_SERVICE})
    )
    pod = index.for_pod(POD)
    first = pod.rules_for(Hostname("data.store.example.com"))
    kept = (pod._shared, pod._knowledge, pod._guard)
    sizes = [memory.cache_info().currsize for memory in kept]
    templates = len(pod._knowledge("s3")._templates)

    made_up = [pod.rules_for(Hostname(f"made-up-{number}.store.example.com")) for number in range(2000)]

    assert len(pod._hosts) == MAX_REMEMBERED_HOSTS
    assert [memory.cache_info().currsize for memory in kept] == sizes
    assert len(pod._knowledge("s3")._templates) == templates
    # What costs with the number of grants is one for all of them.
    assert all(rules.groups[0].grants is first.groups[0].grants for rules in made_up)
    assert all(rules.groups[0].candidates is first.groups[0].candidates for rules in made_up)
    assert verdict(index, "GET https://made-up-0.store.example.com/x").reason is Reason.PIN_NOT_GRANTED


def test_a_long_name_is_looked_up_label_by_label(catalogue: Catalogue) -> None:
    index = index_of(policy(at("store.example.com", VIRTUAL)), Catalogue.of((catalogue["s3"],)))
    deep = "a." * 117 + "store.example.com"
    assert len(deep) <= 253
    assert verdict(index, f"GET https://{deep}/x").reason is Reason.PIN_NOT_GRANTED
    assert verdict(index, f"GET https://{'a.' * 110}nobody.example/x") == UNGOVERNED
