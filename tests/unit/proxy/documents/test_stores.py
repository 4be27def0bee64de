"""Stores that grants name: their hosts against the catalogue's, and against each other."""

import pytest

from proxy.core.hosts import Hostname
from proxy.core.policy import Addressing, StoreEndpoint
from proxy.core.services import Catalogue
from proxy.documents.problems import Problem
from proxy.documents.reading import MAX_PROBLEMS
from proxy.documents.stores import speaks_s3, store_findings, strangers_name_buckets
from proxy.documents.territory import Territory
from tests.document_strategies import FILE, codes, joined, policy, read, service_entry, source

READ = "buckets: [b], access: [read], credential: aws"


def at(endpoint: str, more: str = "", buckets: str = "[b]") -> str:
    return (
        f"{{service: s3, endpoint: '{endpoint}', buckets: {buckets}, access: [read], credential: aws"
        + (f", {more}" if more else "")
        + "}"
    )


def problems_of(catalogue: Catalogue, *texts: str) -> list[Problem]:
    return list(read(catalogue, *texts).problems)


VIRTUAL = "addressing: virtual"
STORE = at("store.example.com")
BELOW = at("store.example.com", VIRTUAL)


# --- one grant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grant",
    [
        at("minio.storage.svc.cluster.local:9000"),
        at("minio:9000"),
        at("Store.Example.COM", "region: garage"),
        at("https://xn--mnchen-3ya.example.com:9000", VIRTUAL),
        at("store.example.com", "prefixes: [train/], paths: ['/b/**'], methods: [GET]"),
        at("store.example.com", 'expectedBucketOwner: "111122223333", foreignPresigned: pass'),
        at("nyc3.digitaloceanspaces.com", VIRTUAL),
        # Nobody else makes buckets in a store of one's own.
        at("store.example.com", buckets="['data-*', '*']"),
        at("nyc3.digitaloceanspaces.com", 'expectedBucketOwner: "111122223333"', "['data-*']"),
        "{service: s3, foreignPresigned: pass, " + READ + "}",
        "{service: openai, foreignPresigned: refuse, credential: plain}",
    ],
)
def test_a_store_that_is_nobody_elses_has_no_problems(catalogue: Catalogue, grant: str) -> None:
    assert problems_of(catalogue, policy(grant)) == []


@pytest.mark.parametrize(
    ("grant", "code", "path", "message", "fix"),
    [
        *(
            (
                at(host, more),
                "host_taken",
                ".endpoint",
                f"`{host}` covers hosts of the service `s3`",
                "remove `endpoint`, `region` and `addressing`",
            )
            for host, more in (
                ("s3.eu-west-1.amazonaws.com", ""),
                ("s3.amazonaws.com", VIRTUAL),
                ("data.s3.eu-west-1.amazonaws.com", "region: eu-west-1"),
                ("eu-west-1.amazonaws.com", VIRTUAL),
                ("amazonaws.com", VIRTUAL),
            )
        ),
        (
            at("api.openai.com"),
            "host_taken",
            ".endpoint",
            "`api.openai.com` covers hosts of the service `openai`",
            "write `service: openai`, without `endpoint`",
        ),
        (
            at("cas-bridge.xethub.hf.co"),
            "host_taken",
            ".endpoint",
            "covers hosts of the service `huggingface`",
            "write `service: huggingface`, without `endpoint`",
        ),
        (
            "{service: openai, endpoint: store.example.com, credential: plain}",
            "unknown_pin",
            ".endpoint",
            "the service `openai` has hosts of its own",
            "remove `endpoint`, or write `service: s3`",
        ),
        (
            "{service: openai, foreignPresigned: pass, credential: plain}",
            "unknown_pin",
            ".foreignPresigned",
            "`foreignPresigned` means nothing to the service `openai`",
            "remove it",
        ),
        (
            at("store.example.com", "pins: {region: [eu-1]}, region: eu-1"),
            "unknown_pin",
            ".pins.region",
            "`pins.region` is read from Amazon's host names",
            "write it as `region`",
        ),
        (
            at("nyc3.digitaloceanspaces.com", buckets="['data-*']"),
            "missing_key",
            ".buckets",
            "`data-*` also covers buckets that strangers create under such a name",
            "or name the buckets",
        ),
        (
            "{service: s3, endpoint: store.example.com, access: [read], credential: aws}",
            "missing_key",
            "",
            "`buckets` is missing",
            "add `buckets: [...]`",
        ),
    ],
)
def test_tells_what_keeps_a_store_from_being_granted(
    catalogue: Catalogue, grant: str, *, code: str, path: str, message: str, fix: str
) -> None:
    (problem,) = problems_of(catalogue, policy(grant))
    assert (problem.code.value, problem.path) == (code, f"spec.grants[0]{path}")
    assert message in problem.message
    assert fix in problem.fix


def test_amazons_hosts_by_another_port_are_amazons(catalogue: Catalogue) -> None:
    found = problems_of(catalogue, policy(at("s3.eu-west-1.amazonaws.com:8443")))
    assert codes(found) == ["host_taken"]


def test_an_entry_of_the_users_own_may_speak_s3(catalogue: Catalogue) -> None:
    spec = '  pins: [{name: bucket, summary: The bucket., template: "{bucket}"}]\n'
    hosts = "[api.acme.example]}]\n"
    entry = service_entry(spec).replace(hosts, '[api.acme.example], paths: ["/{bucket}"]}]\n')
    signed = entry.replace("[{bearer: {}}]", "[{sigv4: {}}]")
    services = read(catalogue, entry).documents.services, read(catalogue, signed).documents.services
    assert [speaks_s3(found) for (found,) in services] == [False, True]
    grant = "{service: acme, endpoint: store.example.com, buckets: [b], credential: aws}"
    assert problems_of(catalogue, joined(policy(grant), signed)) == []


def test_who_may_make_buckets_is_told_by_the_name_of_the_store() -> None:
    assert strangers_name_buckets(None)
    assert strangers_name_buckets(StoreEndpoint(Hostname("nyc3.digitaloceanspaces.com")))
    assert not strangers_name_buckets(StoreEndpoint(Hostname("minio.storage.svc.cluster.local")))


def test_a_grant_on_the_services_own_hosts_has_no_findings(catalogue: Catalogue) -> None:
    (one,) = read(catalogue, policy("{service: s3, " + READ + "}")).documents.policies
    assert list(store_findings(one.grants[0], catalogue["s3"], lambda: Territory(()))) == []


# --- grants beside each other ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grants",
    [
        (STORE, at("store.example.com", buckets="[c]")),
        (STORE, at("store.example.com:9000"), at("store.example.com:9001", buckets="[c]")),
        (STORE, at("other.example.com", VIRTUAL)),
        # A name below is a bucket only where hosts name buckets.
        (STORE, at("a.store.example.com", VIRTUAL)),
        (STORE, "{hosts: [a.store.example.com, example.com], credential: one}"),
        (BELOW, "{hosts: [example.com, '*.other.example.com'], credential: one}"),
        (STORE, "{hosts: ['*.store.example.com'], credential: one}"),
        (STORE, "{service: s3, " + READ + "}"),
        ("{hosts: [store.example.com], credential: one}", "{service: openai, credential: plain}"),
    ],
)
def test_stores_that_are_read_in_one_way_have_no_problems(
    catalogue: Catalogue, grants: tuple[str, ...]
) -> None:
    assert problems_of(catalogue, policy(*grants)) == []
    assert problems_of(catalogue, policy(*reversed(grants))) == []


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        (STORE, at("store.example.com", "region: eu-1"), "`store.example.com` is read in another way by p"),
        (STORE, BELOW, "`store.example.com` is read in another way"),
        # Not by other ports, and not for other buckets.
        (STORE, at("store.example.com:9000", VIRTUAL, "[c]"), "`store.example.com` is read in another way"),
        # A host that is a store, and a bucket of another one.
        (
            BELOW,
            at("a.store.example.com"),
            "`a.store.example.com` below `store.example.com` is read",
        ),
        (BELOW, at("x.a.store.example.com", VIRTUAL), "`x.a.store.example.com` below `store.example.com`"),
    ],
)
def test_two_readings_of_one_host_contradict_each_other(
    catalogue: Catalogue, one: str, two: str, message: str
) -> None:
    for grants in ((one, two), (two, one)):
        (problem,) = problems_of(catalogue, policy(*grants))
        assert problem.code.value == "contradicting_endpoints"
        assert message in problem.message
        assert f"({FILE}:" in problem.message
        assert "requests there would be refused" in problem.message
        assert "alike in both" in problem.fix
    # The name of the first is told, whatever pods and buckets they are for.
    apart = joined(policy(one, name="a"), policy(two, name="b", workloads="{serviceAccounts: [other]}"))
    (problem,) = problems_of(catalogue, apart)
    assert " grants[0] (" in problem.message


def test_the_same_store_as_another_service_is_another_reading(catalogue: Catalogue) -> None:
    entry = service_entry('  pins: [{name: bucket, summary: The bucket., template: "{bucket}"}]\n').replace(
        "[api.acme.example]}]\n", '[api.acme.example], paths: ["/{bucket}"]}]\n'
    )
    entry = entry.replace("[{bearer: {}}]", "[{sigv4: {}}]")
    other = "{service: acme, endpoint: store.example.com, buckets: [b], credential: aws}"
    assert codes(problems_of(catalogue, joined(policy(STORE, other), entry))) == ["contradicting_endpoints"]


@pytest.mark.parametrize(
    ("store", "hosts"),
    [
        (STORE, "store.example.com"),
        (STORE, "*.example.com"),
        (BELOW, "store.example.com"),
        (BELOW, "a.store.example.com"),
        (BELOW, "b.a.store.example.com"),
        (BELOW, "*.example.com"),
        (BELOW, "*.store.example.com"),
        (BELOW, "*.a.store.example.com"),
    ],
)
def test_no_grant_reaches_a_store_by_the_name_of_its_host(
    catalogue: Catalogue, store: str, hosts: str
) -> None:
    by_name = f"{{hosts: [api.example.net, '{hosts}'], credential: one}}"
    (problem,) = problems_of(catalogue, policy(store, by_name))
    assert (problem.code.value, problem.path) == ("host_needs_service", "spec.grants[1].hosts[1]")
    assert f"`{hosts}` covers hosts of the store `store.example.com` of p grants[0]" in problem.message
    assert "write `service: s3` with that `endpoint`" in problem.fix


def test_policies_that_never_count_together_do_not_contradict_each_other(catalogue: Catalogue) -> None:
    other = at("store.example.com", "region: eu-1")
    named = "{hosts: [store.example.com], credential: one}"
    trial = policy(other, named.replace("store", "api"), name="trial", more="  mode: observe\n")
    assert problems_of(catalogue, joined(policy(STORE), trial)) == []
    elsewhere = policy(named, name="elsewhere", namespace="web")
    found = problems_of(catalogue, joined(policy(STORE), elsewhere))
    assert codes(found) == ["unknown_credential"]


def test_cluster_wide_policies_count_together_with_those_that_they_may_select(catalogue: Catalogue) -> None:
    other = at("store.example.com", "region: eu-1")
    keys = "keys: {accessKeyId: id, secretAccessKey: secret}"
    far = source("aws", namespace="podkey-system", keys=keys, attach="")
    space = "kubernetes.io/metadata.name"
    for selector, meets in (
        ("matchLabels: {tenant: a}", True),
        (f"matchLabels: {{{space}: ml}}", True),
        (f"matchLabels: {{{space}: web}}", False),
    ):
        who = f"{{serviceAccounts: ['*'], namespaceSelector: {{{selector}}}}}"
        wide = policy(other, name="wide", namespace="podkey-system", workloads=who)
        own = policy(STORE, workloads="{serviceAccounts: [nobody]}")
        found = codes(problems_of(catalogue, joined(wide, own, far)))
        assert found.count("contradicting_endpoints") == meets
        # Two of them contradict each other in many namespaces, and are told once.
        second = wide.replace("region: eu-1", "region: eu-2").replace("name: wide", "name: wider")
        named = policy("{hosts: [b.example.com], credential: one}")
        found = codes(problems_of(catalogue, joined(wide, second, named, far)))
        assert found == ["contradicting_endpoints"]


def test_no_more_contradictions_are_told_than_anybody_mends(catalogue: Catalogue) -> None:
    many = [at("store.example.com", f"region: r{number}") for number in range(60)]
    found = problems_of(catalogue, policy(*many))
    assert codes(found).count("contradicting_endpoints") == MAX_PROBLEMS


def test_a_store_that_is_a_bucket_of_another_is_told_by_its_addressing() -> None:
    store = StoreEndpoint(Hostname("store.example.com"), addressing=Addressing.VIRTUAL)
    assert store.label_globs == ("**", "store", "example", "com")
