"""The explanation: every policy and grant, why it did or did not match, and the verdict itself."""

from datetime import datetime

import pytest
from hypothesis import given

from proxy.core.identity import WorkloadIdentity
from proxy.core.labels import LabelSelector
from proxy.core.policy import AccessPolicy, OnForeignCredential, WorkloadSelector
from proxy.core.reasons import Reason
from proxy.core.request import ClientCredential, Removal, RequestFacts
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse, RuleRef
from proxy.judge.decide import decide
from proxy.judge.explain import Explanation, GrantConsidered, PolicyConsidered, explain
from proxy.judge.grants import DISTANCE
from proxy.judge.index import BLOB, UNGOVERNED, PolicyIndex
from tests import judge_world as world
from tests.judge_world import CATALOGUE, NOON, POD, ask, index_of, policy, ref

API = "https://api.example.com"
HOST = "https://s3.eu-central-1.amazonaws.com"
TWO = policy(
    "{hosts: [api.example.com, '*.example.net'], methods: [GET], credential: a}",
    "{hosts: ['*.example.com'], methods: [PUT], credential: a}",
    "{service: openai, credential: plain}",
)
READ = policy("{service: s3, buckets: [data], access: [read, list], credential: aws}")
BLOBS = policy("{hosts: ['*.hf.co'], credential: a}")


def explained(text: str, catalogue: Catalogue, line: str, pod: WorkloadIdentity = POD) -> Explanation:
    return explain(index_of(text, catalogue), pod, ask(line), NOON)


# --- grants ------------------------------------------------------------------------------------------


def test_tells_of_every_grant_what_it_lacks(catalogue: Catalogue) -> None:
    explanation = explained(TWO, catalogue, f"GET {API}/v1")

    grants = (
        GrantConsidered(0, "api.example.com, *.example.net", covers=True, reason=None, lacks=""),
        GrantConsidered(
            1, "*.example.com", covers=False, reason=Reason.METHOD_NOT_GRANTED, lacks="GET is not PUT"
        ),
        GrantConsidered(
            2, "openai", covers=False, reason=None, lacks="does not name the host api.example.com"
        ),
    )
    assert explanation.policies == (
        PolicyConsidered("ml", "p", "enforce", selects=True, why="its service account", grants=grants),
    )
    assert isinstance(explanation.verdict, Attach)
    assert explanation.verdict.rule == ref("p", 0)


def test_tells_that_a_host_is_not_governed(catalogue: Catalogue) -> None:
    explanation = explained(TWO, catalogue, "GET https://nobody.example/x?sig=1")

    (considered,) = explanation.policies
    assert [grant.lacks for grant in considered.grants] == ["does not name the host nobody.example"] * 3
    assert explanation.verdict == UNGOVERNED
    assert explanation.notes == ("path as it is matched and forwarded: /x",)


def test_does_not_say_that_a_grant_fails_to_name_a_blob_host(catalogue: Catalogue) -> None:
    explanation = explained(BLOBS, catalogue, "GET https://cdn-lfs.hf.co/x")

    (considered,) = explanation.policies
    assert considered.grants == (
        GrantConsidered(
            0,
            "*.hf.co",
            covers=False,
            reason=None,
            lacks="cdn-lfs.hf.co serves signed URLs, and never gets a credential",
        ),
    )
    assert explanation.verdict == BLOB


STORES = policy(
    "{service: s3, endpoint: 'store.example.com:9000', buckets: [data], access: [read], credential: aws}",
    "{service: s3, endpoint: münchen.example, addressing: virtual, buckets: [a], access: [read],"
    " credential: aws}",
    "{service: s3, buckets: [data], access: [read], credential: aws}",
)


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("store.example.com", [True, False, False]),
        ("data.store.example.com", [False, False, False]),
        ("xn--mnchen-3ya.example", [False, True, False]),
        ("a.xn--mnchen-3ya.example", [False, True, False]),
        ("s3.eu-central-1.amazonaws.com", [False, False, True]),
    ],
)
def test_a_grant_for_a_store_names_its_hosts_and_no_others(
    catalogue: Catalogue, host: str, named: list[bool]
) -> None:
    (considered,) = explained(STORES, catalogue, f"GET https://{host}/x").policies

    assert [grant.target for grant in considered.grants] == [
        "s3 at store.example.com:9000",
        "s3 at münchen.example (xn--mnchen-3ya.example)",
        "s3",
    ]
    unnamed = [grant.lacks == f"does not name the host {host}" for grant in considered.grants]
    assert [not one for one in unnamed] == named


COPY = policy(
    "{service: s3, buckets: [data], access: [read, write], credential: aws}",
    "{service: s3, buckets: [data, more], access: [read], credential: aws}",
)


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("/data/a%20b", "copies: data/a b, which may be read by ml/p grants[0] and by ml/p grants[1]"),
        ("more/x", "copies: more/x, which may be read by ml/p grants[1]"),
        ("other/x", "copies: other/x, which no grant lets it read"),
    ],
)
def test_tells_who_may_read_what_is_copied(catalogue: Catalogue, source: str, note: str) -> None:
    request = ask(f"PUT {HOST}/data/copy", {"x-amz-copy-source": source})

    assert note in explain(index_of(COPY, catalogue), POD, request, NOON).notes


def test_tells_why_a_source_cannot_be_read(catalogue: Catalogue) -> None:
    request = ask(f"PUT {HOST}/data/copy", {"x-amz-copy-source": "nothing"})

    explanation = explain(index_of(COPY, catalogue), POD, request, NOON)

    assert explanation.verdict == Refuse(Reason.SOURCE_NOT_GRANTED, ref("p"))
    (note,) = (note for note in explanation.notes if note.startswith("copies: "))
    assert "which" not in note


def test_tells_what_a_body_deletes_and_that_it_must_be_known(catalogue: Catalogue) -> None:
    text = policy("{service: s3, buckets: [data], prefixes: [a/], access: [delete], credential: aws}")
    index = index_of(text, catalogue)
    request = ask(f"POST {HOST}/data?delete")

    assert isinstance(explain(index, POD, request, NOON).verdict, ReadBody)
    for keys, covers in ((("a/x",), True), (("a/x", "b"), False)):
        named = replace(request, removals=tuple(map(Removal, keys)))
        explanation = explain(index, POD, named, NOON)
        assert [note for note in explanation.notes if note.startswith("deletes: ")] == [
            f"deletes: {key}" for key in keys
        ]
        assert isinstance(explanation.verdict, Attach) is covers
        (considered,) = explanation.policies
        assert considered.grants[0].covers is covers


def test_tells_that_somebody_else_has_signed_it(catalogue: Catalogue) -> None:
    request = replace(ask(f"GET {HOST}/data/x"), signed_elsewhere=True)

    explanation = explain(index_of(COPY, catalogue), POD, request, NOON)

    assert explanation.verdict == Refuse(Reason.FOREIGN_PRESIGNED, ref("p"))
    assert any("somebody else has signed" in note for note in explanation.notes)


def test_tells_that_a_policy_on_trial_changes_nothing_where_another_enforces(catalogue: Catalogue) -> None:
    trial = "{hosts: [api.example.com], credential: b}", "{hosts: [other.example], credential: b}"
    text = policy(ANY) + policy(*trial, name="trial", mode="observe")

    explanation = explained(text, catalogue, f"PUT {API}/")

    observing = explanation.policies[1]
    assert [(grant.covers, grant.reason, grant.lacks) for grant in observing.grants] == [
        (False, None, "another policy enforces the host, and one that only observes changes nothing there"),
        (False, None, "does not name the host api.example.com"),
    ]


def test_policies_stand_in_the_order_of_their_names_with_their_modes(catalogue: Catalogue) -> None:
    text = policy("{hosts: [b.example], credential: a}", name="z") + policy(
        "{hosts: [b.example], credential: a}", name="a", mode="observe"
    )

    explanation = explained(text, catalogue, "GET https://b.example/")

    assert [(one.namespace, one.name, one.mode) for one in explanation.policies] == [
        ("ml", "a", "observe"),
        ("ml", "z", "enforce"),
    ]


# --- who ---------------------------------------------------------------------------------------------

ANY = "{hosts: [api.example.com], credential: a}"
EXPRESSIONS = "{podSelector: {matchExpressions: [%s]}}"


@pytest.mark.parametrize(
    ("workloads", "why"),
    [
        ("{serviceAccounts: [trainer, server]}", "its service account"),
        ('{serviceAccounts: ["*"]}', "every service account"),
        ("{podSelector: {matchLabels: {team: vision}}}", "its labels"),
        (
            "{serviceAccounts: [trainer], podSelector: {matchLabels: {team: vision}}}",
            "its service account and its labels",
        ),
    ],
)
def test_tells_why_a_policy_is_about_the_pod(catalogue: Catalogue, workloads: str, why: str) -> None:
    (considered,) = explained(policy(ANY, workloads=workloads), catalogue, f"GET {API}/").policies

    assert (considered.selects, considered.why) == (True, why)
    assert len(considered.grants) == 1


@pytest.mark.parametrize(
    ("workloads", "why"),
    [
        ("{serviceAccounts: [server]}", "service account trainer is not one of server"),
        ("{serviceAccounts: [server, web]}", "service account trainer is not one of server, web"),
        (
            "{podSelector: {matchLabels: {team: speech}}}",
            "label team is vision, and must be speech",
        ),
        (
            "{serviceAccounts: [trainer], podSelector: {matchLabels: {tier: gold}}}",
            "label tier is not set, and must be gold",
        ),
        (
            EXPRESSIONS % "{key: team, operator: In, values: [a, b]}",
            "label team is vision, and must be one of a, b",
        ),
        (
            EXPRESSIONS % "{key: team, operator: NotIn, values: [vision, x]}",
            "label team is vision, and must not be vision, x",
        ),
        (EXPRESSIONS % "{key: tier, operator: Exists}", "label tier is not set, and must be set"),
        (
            EXPRESSIONS % "{key: team, operator: DoesNotExist}",
            "label team is vision, and must not be set",
        ),
    ],
)
def test_tells_why_a_policy_is_not_about_the_pod(catalogue: Catalogue, workloads: str, why: str) -> None:
    explanation = explained(policy(ANY, workloads=workloads), catalogue, f"GET {API}/")

    assert explanation.policies == (PolicyConsidered("ml", "p", "enforce", selects=False, why=why),)


def test_tells_of_another_namespace(catalogue: Catalogue) -> None:
    explanation = explained(policy(ANY), catalogue, f"GET {API}/", replace(POD, namespace="web"))

    assert explanation.policies[0].why == "the pod is in namespace web"


NAME = "kubernetes.io/metadata.name"


@pytest.mark.parametrize(
    ("selector", "selects", "why"),
    [
        (f"{{matchLabels: {{{NAME}: ml}}}}", True, "its namespace, its service account and its labels"),
        (
            f"{{matchLabels: {{{NAME}: web}}}}",
            False,
            f"the pod is in namespace ml, and {NAME} must be web",
        ),
        (
            f"{{matchExpressions: [{{key: {NAME}, operator: NotIn, values: [ml, x]}}]}}",
            False,
            f"the pod is in namespace ml, and {NAME} must not be ml, x",
        ),
        (
            f"{{matchLabels: {{tenant: a, {NAME}: ml}}, matchExpressions: [{{key: b, operator: Exists}}]}}",
            False,
            "it asks for labels that the namespace ml is not known to have: tenant, b",
        ),
    ],
)
def test_tells_of_a_cluster_wide_policy_whether_it_is_about_the_pods_namespace(
    catalogue: Catalogue, selector: str, *, selects: bool, why: str
) -> None:
    who = "serviceAccounts: [trainer], podSelector: {matchLabels: {team: vision}}"
    text = policy(ANY, namespace="sys", workloads=f"{{{who}, namespaceSelector: {selector}}}")
    sources = """---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: a, namespace: sys}
spec: {mountedSecret: {secretName: a, key: k}, attach: {bearer: {}}}
"""
    (considered,) = explained(text + sources, catalogue, f"GET {API}/").policies

    assert (considered.namespace, considered.selects, considered.why) == ("sys", selects, why)
    # With its namespace it is the same as with its own: then account and labels count.
    other = replace(POD, service_account="server")
    (considered,) = explained(text + sources, catalogue, f"GET {API}/", other).policies
    assert considered.why == ("service account server is not one of trainer" if selects else why)


def test_tells_that_limits_grant_nothing(catalogue: Catalogue) -> None:
    text = f"""---
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {{name: limits, namespace: sys}}
spec: {{workloads: {{namespaceSelector: {{matchLabels: {{{NAME}: ml}}}}}}, limits: {{services: [openai]}}}}
"""
    explanation = explained(text, catalogue, f"GET {API}/")

    assert explanation.policies[0].why == (
        "it limits what policies of other namespaces grant, and grants nothing itself"
    )
    assert explanation.verdict == UNGOVERNED


@pytest.mark.parametrize("who", [WorkloadSelector(), WorkloadSelector((), LabelSelector())])
def test_tells_that_an_empty_selector_selects_nobody(catalogue: Catalogue, who: WorkloadSelector) -> None:
    """The reader reports such a policy; one that came another way is explained, too."""
    one = replace(index_of(policy(ANY), catalogue).policies[0], workloads=who)

    (considered,) = explain(PolicyIndex([one], (), catalogue), POD, ask(f"GET {API}/"), NOON).policies

    assert (considered.selects, considered.why) == (False, "it selects nobody")


# --- what the request was read as --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "notes"),
    [
        (TWO, f"GET {API}/a/../%76%31", ("path as it is matched and forwarded: /v1",)),
        (
            READ,
            f"GET {HOST}/data/a%20b",
            (
                "path as it is matched and forwarded: /data/a%20b",
                "bucket: data",
                "operation: s3:GetObject",
                "key: a b",
            ),
        ),
        (
            READ,
            f"GET {HOST}/data",
            (
                "path as it is matched and forwarded: /data",
                "bucket: data",
                "operation: s3:ListBucket",
                "lists keys that begin with: (anything)",
            ),
        ),
        (
            READ,
            f"GET {HOST}/data?prefix=a/",
            (
                "path as it is matched and forwarded: /data",
                "bucket: data",
                "operation: s3:ListBucket",
                "lists keys that begin with: a/",
            ),
        ),
        (READ, f"PATCH {HOST}/", ("path as it is matched and forwarded: /",)),
        (TWO, f"GET {API}/%zz", ("the request is refused before any grant is asked: malformed_path",)),
        (
            READ,
            f"GET {HOST}/data/k?X-Amz-Signature=0",
            (
                "bucket: data",
                "key: k",
                "the request is refused before any grant is asked: query_auth_present",
            ),
        ),
        (TWO, "GET https://nobody.example/%zz", ()),
    ],
)
def test_notes_what_the_request_was_read_as(
    catalogue: Catalogue, text: str, line: str, notes: tuple[str, ...]
) -> None:
    assert explained(text, catalogue, line).notes == notes


def test_explains_a_verdict_that_observing_let_pass(catalogue: Catalogue) -> None:
    text = policy("{hosts: [api.example.com], methods: [GET], credential: a}", mode="observe")

    explanation = explained(text, catalogue, f"PUT {API}/")

    refusal = Refuse(Reason.METHOD_NOT_GRANTED, ref("p"))
    assert explanation.verdict == PassThrough(Reason.WOULD_REFUSE, refusal)


# --- properties --------------------------------------------------------------------------------------


def considered_grants(explanation: Explanation) -> dict[RuleRef, GrantConsidered]:
    return {
        RuleRef(one.namespace, one.name, grant.index): grant
        for one in explanation.policies
        for grant in one.grants
    }


@given(world.worlds(), world.identities, world.many_requests, world.moments)
def test_property_the_explanation_and_the_decision_are_one(
    found: tuple[AccessPolicy, ...],
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    index = PolicyIndex(found, world.world_sources(), CATALOGUE)

    for request in requests:
        explanation = explain(index, pod, request, now)

        assert explanation.verdict == decide(index, pod, request, now)
        assert [(one.namespace, one.name) for one in explanation.policies] == [
            (one.namespace, one.name) for one in index.policies
        ]


@given(world.worlds(), world.identities, world.many_requests, world.moments)
def test_property_says_of_each_grant_what_asking_it_alone_says(
    found: tuple[AccessPolicy, ...],
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    index = PolicyIndex(found, world.world_sources(), CATALOGUE)

    for request in requests:
        considered = considered_grants(explain(index, pod, request, now))
        counting, _ = world.in_force(world.ask_all(index, pod, request, now))
        blob = CATALOGUE.blob_owner(request.host) is not None
        alone = {} if blob else {one.bound.rule: one.miss for one in counting}

        assert {rule: grant.reason for rule, grant in considered.items() if rule in alone} == alone
        assert {rule for rule, grant in considered.items() if grant.covers} == {
            rule for rule, miss in alone.items() if miss is None
        }
        assert all(grant.covers == (not grant.lacks) for grant in considered.values())


@given(world.worlds(), world.identities, world.many_requests, world.moments)
def test_property_the_verdict_follows_from_the_grants_that_cover(
    found: tuple[AccessPolicy, ...],
    pod: WorkloadIdentity,
    requests: list[RequestFacts],
    now: datetime,
) -> None:
    index = PolicyIndex(found, world.world_sources(), CATALOGUE)

    for request in requests:
        explanation = explain(index, pod, request, now)
        considered = considered_grants(explanation)
        covering = {rule for rule, grant in considered.items() if grant.covers}
        verdict = explanation.verdict
        inner = verdict.would if isinstance(verdict, PassThrough) else verdict
        match inner:
            case None if verdict == PassThrough(Reason.PRESIGNED_ELSEWHERE):
                assert covering
                assert request.signed_elsewhere
            case None:
                assert verdict in {UNGOVERNED, BLOB}
                assert not covering
            case Attach(rule=rule) | ReadBody(granted=Attach(rule=rule)):
                assert rule in covering
            case Refuse(reason=Reason.AMBIGUOUS_GRANT, rule=rule):
                assert rule in covering
                # Or one covers the request, and several what it copies.
                assert len(covering) > 1 or request.headers
            case Refuse(reason=Reason.FOREIGN_PRESIGNED, rule=rule):
                assert rule in covering
                assert request.signed_elsewhere
            case Refuse(reason=Reason.SOURCE_NOT_GRANTED, rule=rule):
                assert rule in covering
                assert any(note.startswith("copies: ") for note in explanation.notes)
            case Refuse(reason=Reason.FOREIGN_CREDENTIAL, rule=rule):
                assert rule in covering
                assert request.client_credential is ClientCredential.FOREIGN
                assert OnForeignCredential.REFUSE in {_on_foreign(found, rule) for rule in covering}
            case Refuse(reason=reason, rule=None):
                assert any(note.endswith(f": {reason.value}") for note in explanation.notes)
                assert reason not in DISTANCE
            case Refuse(reason=reason, rule=rule):
                assert not covering
                assert rule is not None
                assert considered[rule].reason is reason


def _on_foreign(found: tuple[AccessPolicy, ...], rule: RuleRef) -> OnForeignCredential:
    (one,) = (one for one in found if (one.namespace, one.name) == (rule.namespace, rule.policy))
    return one.grants[rule.grant].on_foreign_credential
