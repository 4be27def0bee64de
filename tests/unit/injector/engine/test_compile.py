import pytest

from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from injector.engine.compile import HEADER, compile_namespace, read_back
from injector.engine.holdings import Compiled, Standing
from proxy.core.contract import CREDENTIAL_SOURCE, NAMESPACE_NAME_LABEL
from proxy.core.policy import AccessPolicy
from proxy.core.structs import replace
from proxy.documents.problems import ProblemCode
from proxy.documents.reader import Documents, read_documents
from proxy.services.loader import built_in_catalogue
from tests.cluster_policies import (
    GPU,
    OWN,
    book,
    broken,
    compiled,
    exchange,
    grant,
    key,
    limits,
    policy,
    raw,
    source,
    standings,
    wide,
)


def documents(result: Compiled) -> Documents:
    read = read_documents({"policy.yaml": result.text.encode()}, built_in_catalogue())
    assert read.problems == ()
    return read.documents


def in_text(result: Compiled) -> list[str]:
    read = documents(result)
    return [f"{one.namespace}/{one.name}" for one in (*read.policies, *read.sources)]


def codes(result: Compiled, of: RawDocument) -> list[ProblemCode]:
    return [problem.code for problem in result.reports[key(of)].problems]


WIDE = wide(grant("w.example.com", "x"))
X = exchange("x", namespace=OWN)

# --- what is in it ---------------------------------------------------------------------------------------


def test_a_namespace_gets_its_own_documents() -> None:
    result = compiled(policy(), source(), policy(namespace="nlp"), source(namespace="nlp"))
    assert in_text(result) == ["ml/p", "ml/one"]
    assert standings(result) == {"ml/p": "current", "ml/one": "current"}
    assert result.text.startswith(HEADER)


def test_a_namespace_without_documents_gets_a_text_that_says_so() -> None:
    result = compiled()
    assert result.text == HEADER
    assert documents(result) == Documents()


def test_cluster_wide_documents_come_to_those_they_select_and_name_it() -> None:
    result = compiled(WIDE, X, exchange("unused", namespace=OWN), policy(namespace=OWN, name="home"))
    assert in_text(result) == ["podkey-system/w", "podkey-system/x"]
    (said,) = documents(result).policies
    assert said.workloads.namespaces is not None
    assert said.workloads.namespaces.match_labels == ((NAMESPACE_NAME_LABEL, "ml"),)
    assert compiled(WIDE, X, namespace=Namespace("nlp", {"team": "text"})).text == HEADER


def test_limits_are_in_it_so_that_they_are_known_after_a_restart() -> None:
    result = compiled(limits("api.example.com"), policy(), source())
    assert in_text(result) == ["ml/p", "podkey-system/limits", "ml/one"]


def test_our_own_namespace_gets_nothing_of_its_own() -> None:
    result = compiled(policy(namespace=OWN), source(namespace=OWN), namespace=Namespace(OWN))
    assert result.text == HEADER


def test_the_same_names_in_both_namespaces_do_not_meet() -> None:
    result = compiled(wide(grant("w.example.com")), exchange(namespace=OWN), policy(name="w"), source())
    assert in_text(result) == ["ml/w", "podkey-system/w", "ml/one", "podkey-system/one"]


def test_what_says_the_same_compiles_to_the_very_same() -> None:
    first = compiled(policy(), source())
    assert compiled(policy(), source(), previous=first) is first
    assert compiled(policy(generation=2), source(), previous=first) is not first


# --- edits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edited", [policy(), source(), WIDE, X, limits("api.example.com")])
def test_an_edit_that_does_not_read_leaves_the_last_good_version(edited: RawDocument) -> None:
    every = (policy(), source(), WIDE, X, limits("api.example.com"))
    good = compiled(*every)
    after = [broken(one) if key(one) == key(edited) else one for one in every]
    result = compiled(*after, previous=good)
    assert result.versions == good.versions
    assert result.text == good.text
    report = result.reports[key(edited)]
    assert (report.standing, report.generation) == (Standing.OLDER, 1)
    assert report.problems
    assert compiled(*after, previous=good.text).text == good.text


def test_an_edit_that_overlaps_leaves_the_last_good_version() -> None:
    every = [policy(), policy(grant("b.example.com", "two"), name="a"), source(), source("two")]
    good = compiled(*every)
    every[1] = policy(grant(credential="two"), name="a", generation=2)
    result = compiled(*every, previous=good)
    assert standings(result)["ml/a"] == "older 1"
    assert standings(result)["ml/p"] == "current"
    assert result.text == good.text


def test_a_new_policy_cannot_push_out_one_that_is_in_force() -> None:
    """Also where the problem is told at the one that comes later by its name."""
    good = compiled(policy(), source())
    result = compiled(
        policy(), source(), policy(grant(credential="two"), name="a"), source("two"), previous=good
    )
    assert standings(result)["ml/p"] == "current"
    assert standings(result)["ml/a"] == "left_out"
    (problem,) = result.reports[key(policy(name="a"))].problems
    assert problem.file == "AccessPolicy ml/a"
    assert "AccessPolicy ml/p: spec.grants[0]: overlaps with a" in problem.message


def test_a_new_source_cannot_push_out_a_policy_that_is_in_force() -> None:
    good = compiled(policy(), source())
    pair = {"mountedSecret": {"secretName": "s", "keys": {"accessKeyId": "id", "secretAccessKey": "sk"}}}
    changed = raw(CREDENTIAL_SOURCE, pair, name="one", generation=2)
    result = compiled(policy(), changed, previous=good)
    assert standings(result) == {"ml/p": "current", "ml/one": "older 1"}
    assert "AccessPolicy ml/p" in result.reports[key(changed)].problems[0].message


def test_a_policy_and_its_source_may_change_together() -> None:
    good = compiled(policy(), source())
    pair = {"mountedSecret": {"secretName": "s", "keys": {"accessKeyId": "id", "secretAccessKey": "sk"}}}
    changed = raw(CREDENTIAL_SOURCE, pair, name="one", generation=2)
    s3 = {"service": "s3", "buckets": ["b"], "access": ["read"], "credential": "one"}
    result = compiled(policy(s3, generation=2), changed, previous=good)
    assert standings(result) == {"ml/p": "current", "ml/one": "current"}
    half = compiled(broken(policy()), changed, previous=good)
    assert standings(half) == {"ml/p": "older 1", "ml/one": "older 1"}


def test_a_document_that_never_read_is_left_out() -> None:
    result = compiled(broken(policy()), source())
    assert standings(result) == {"ml/p": "left_out", "ml/one": "current"}
    assert compiled(broken(policy()), source(), previous=result.text).versions.keys() == {key(source())}


def test_a_document_that_was_made_anew_has_no_last_good_version() -> None:
    good = compiled(policy(), source())
    anew = replace(broken(policy(), 1), uid="another")
    assert standings(compiled(anew, source(), previous=good)) == {"ml/p": "left_out", "ml/one": "current"}


def test_what_is_removed_is_gone_also_while_others_do_not_read() -> None:
    good = compiled(policy(), policy(grant("b.example.com"), name="q"), source())
    result = compiled(broken(policy(grant("b.example.com"), name="q")), source(), previous=good)
    assert standings(result) == {"ml/q": "older 1", "ml/one": "current"}
    assert in_text(result) == ["ml/q", "ml/one"]


def test_a_policy_whose_source_is_gone_is_left_out() -> None:
    good = compiled(policy(), source())
    result = compiled(policy(), previous=good)
    assert standings(result) == {"ml/p": "left_out"}
    assert codes(result, policy()) == [ProblemCode.UNKNOWN_CREDENTIAL]
    assert "there is no CredentialSource" in result.reports[key(policy())].problems[0].message


def test_a_policy_whose_source_does_not_read_is_told_so() -> None:
    result = compiled(policy(), broken(source()))
    (problem,) = result.reports[key(policy())].problems
    assert problem.message == "the CredentialSource `one` has problems of its own"
    assert problem.fix == "see the status of CredentialSource ml/one"


# --- what stands above -----------------------------------------------------------------------------------


def test_a_limit_that_appears_takes_away() -> None:
    good = compiled(policy(), source())
    result = compiled(policy(), source(), limits("other.example.com"), previous=good)
    assert standings(result) == {"podkey-system/limits": "current", "ml/p": "left_out", "ml/one": "current"}
    assert codes(result, policy()) == [ProblemCode.NOT_ALLOWED_HERE]


def test_the_last_good_version_has_to_keep_the_limits_too() -> None:
    good = compiled(policy(grant("evil.example.com")), source())
    edited = policy(grant("worse.example.com"), generation=2)
    result = compiled(edited, source(), limits("api.example.com"), previous=good)
    assert standings(result)["ml/p"] == "left_out"
    kept = compiled(broken(policy()), source(), limits("api.example.com"), previous=good)
    assert standings(kept)["ml/p"] == "left_out"


def test_an_edit_beyond_the_limits_leaves_the_version_within_them() -> None:
    good = compiled(policy(), source(), limits("api.example.com"))
    edited = policy(grant("evil.example.com"), generation=2)
    result = compiled(edited, source(), limits("api.example.com"), previous=good)
    assert standings(result)["ml/p"] == "older 1"


def test_all_limits_hold_and_none_of_them_for_cluster_wide_policies() -> None:
    every = (
        limits("api.example.com", "b.example.com"),
        limits("api.example.com", name="more"),
        policy(),
        policy(grant("b.example.com"), name="q"),
        source(),
        WIDE,
        X,
    )
    found = standings(compiled(*every))
    assert (found["ml/p"], found["ml/q"], found["podkey-system/w"]) == ("current", "left_out", "current")


def test_a_tenant_cannot_push_out_a_cluster_wide_policy() -> None:
    """Not even with what was in force before."""
    good = compiled(policy(grant("w.example.com")), source())
    result = compiled(policy(grant("w.example.com")), source(), WIDE, X, previous=good)
    assert standings(result)["podkey-system/w"] == "current"
    assert standings(result)["ml/p"] == "left_out"


def test_a_tenant_whose_store_covers_a_cluster_wide_host_gives_way() -> None:
    """The problem is told at the cluster-wide policy, which names the host."""
    pair = {"mountedSecret": {"secretName": "s", "keys": {"accessKeyId": "id", "secretAccessKey": "sk"}}}
    store = {
        "service": "s3",
        "endpoint": "https://w.example.com",
        "buckets": ["b"],
        "access": ["read"],
        "credential": "one",
    }
    result = compiled(WIDE, X, policy(store), raw(CREDENTIAL_SOURCE, pair, name="one"))
    found = standings(result)
    assert (found["podkey-system/w"], found["ml/p"]) == ("current", "left_out")


def test_a_cluster_wide_policy_cannot_mount_a_secret() -> None:
    result = compiled(wide(grant("w.example.com")), source(namespace=OWN))
    assert standings(result) == {"podkey-system/w": "left_out"}


def test_a_tenants_namespace_selector_is_not_in_it() -> None:
    assert standings(compiled(wide(namespace="ml"), source(namespace="ml"))) == {
        "ml/w": "left_out",
        "ml/one": "current",
    }


def test_a_cluster_wide_policy_that_selects_others_now_is_gone() -> None:
    good = compiled(WIDE, X)
    moved = wide(grant("w.example.com", "x"), labels={"team": "text"}, generation=2)
    assert compiled(moved, X, previous=good).text == HEADER
    home = policy(grant("w.example.com", "x"), namespace=OWN, name="w", generation=2)
    assert compiled(home, X, previous=good).text == HEADER


# --- size ------------------------------------------------------------------------------------------------


def large(name: str, generation: int = 1, *, paths: int = 900, namespace: str = "ml") -> RawDocument:
    many = [f"/{'x' * 900}/{number}" for number in range(paths)]
    return policy(
        grant(f"{name}.example.com", paths=many), name=name, namespace=namespace, generation=generation
    )


def test_a_change_that_makes_too_much_is_not_put_in_force() -> None:
    good = compiled(large("a", paths=500), large("b", paths=10), source())
    assert set(standings(good).values()) == {"current"}
    every = (large("a", paths=500), large("b", 2, paths=800), source())
    result = compiled(*every, previous=good)
    assert standings(result) == {"ml/a": "current", "ml/b": "older 1", "ml/one": "current"}
    assert codes(result, large("b")) == [ProblemCode.TOO_LARGE]
    again = compiled(*every, previous=replace(result, inputs=None))
    assert again.text == result.text


def test_what_does_not_fit_at_first_is_left_out_from_the_end() -> None:
    every = (*(large(name, paths=400) for name in "dcba"), source())
    result = compiled(*every)
    found = standings(result)
    assert [found[f"ml/{name}"] for name in "abcd"] == ["current", "current", "left_out", "left_out"]
    assert found["ml/one"] == "current"
    assert len(result.text.encode()) <= 900 << 10
    assert compiled(*every, previous=result.text).text == result.text


def large_source(name: str) -> RawDocument:
    scopes = [f"{'s' * 500}{number}" for number in range(800)]
    spec = {
        "tokenExchange": {
            "tokenUrl": "https://login.example.com/token",
            "subjectAudience": "sts",
            "scopes": scopes,
        },
        "attach": {"bearer": {}},
    }
    return raw(CREDENTIAL_SOURCE, spec, name=name)


def test_sources_that_no_policy_needs_give_way_first() -> None:
    every = [large_source(f"s{number}") for number in range(3)]
    found = standings(compiled(*every, policy(), source()))
    assert [found[f"ml/s{number}"] for number in range(3)] == ["current", "current", "left_out"]
    assert (found["ml/p"], found["ml/one"]) == ("current", "current")


def test_a_policy_gives_way_together_with_the_sources_that_only_it_needs() -> None:
    every = [large_source(f"s{number}") for number in range(3)]
    users = [policy(grant(f"{number}.example.com", f"s{number}"), name=f"p{number}") for number in range(3)]
    also = policy(grant("more.example.com", "s0"), name="p3")
    found = standings(compiled(*every, *users, also))
    assert [found[f"ml/p{number}"] for number in range(4)] == ["current", "current", "left_out", "left_out"]
    assert [found[f"ml/s{number}"] for number in range(3)] == ["current", "current", "left_out"]


def test_the_text_of_what_did_not_change_is_taken_over() -> None:
    good = compiled(policy(), source(), WIDE, X)
    edited = policy(grant("b.example.com"), generation=2)
    result = compiled(edited, source(), WIDE, X, previous=good)
    assert result.text == compiled(edited, source(), WIDE, X).text


def test_a_text_of_many_lines_does_not_look_like_two_documents() -> None:
    odd = grant(query={"q": ["a\n---\nb", "\n---\n", "---"]})
    good = compiled(policy(odd), source())
    assert documents(good).policies[0].grants[0].query[0][1] == ("a\n---\nb", "\n---\n", "---")
    assert (
        compiled(policy(odd), source(), policy(name="q"), previous=good).versions.keys()
        > good.versions.keys()
    )


# --- what was in force before we were started --------------------------------------------------------------


def test_the_text_tells_which_objects_it_is_made_of() -> None:
    good = compiled(policy(generation=7), source(), WIDE, X)
    back = read_back("ml", good.text, book())
    assert back is not None
    assert {k: (v.uid, v.generation) for k, v in back.versions.items()} == {
        k: (v.uid, v.generation) for k, v in good.versions.items()
    }
    assert back.text == good.text
    value = back.versions[key(policy())].value
    assert isinstance(value, AccessPolicy)
    assert value == good.versions[key(policy())].value


GOOD = compiled(policy(), source()).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        "a: [",
        "kind: AccessPolicy\n",
        "- 1\n",
        GOOD.replace("generation: 1", "generation: x"),
        GOOD.replace("generation: 1", ""),
        GOOD.replace("generation: 1", "generation: [1]"),
        GOOD.replace("namespace: ml", "namespace: nlp"),
        GOOD.replace("credential: one", "credential: two"),
        "kind: List\nitems:\n- " + GOOD.split("---\n")[1].replace("\n", "\n  "),
        GOOD + "---\nkind: List\nitems: []\n",
    ],
)
def test_a_text_that_others_wrote_is_read_as_nothing(text: str) -> None:
    back = read_back("ml", text, book())
    assert back is None or not back.versions
    assert standings(compiled(broken(policy()), source(), previous=text))["ml/p"] == "left_out"


def test_a_text_is_not_read_where_nothing_has_to_be_fallen_back_to() -> None:
    result = compiled(policy(), source(), previous="a: [")
    assert set(standings(result).values()) == {"current"}


def test_a_broken_cluster_wide_policy_is_found_in_the_text() -> None:
    good = compiled(WIDE, X)
    result = compile_namespace(GPU, book(broken(WIDE), X), good.text)
    assert standings(result) == {"podkey-system/w": "older 1", "podkey-system/x": "current"}


@pytest.mark.parametrize(
    "platform",
    [
        [limits("ok.example.com", services=["nosuch"])],
        [
            limits("ok.example.com", name="zz-limits"),
            exchange("x", namespace=OWN),
            *(
                wide(
                    grant(f"big{n}.example.com", "x", paths=["/" + "a" * 900 + str(j) for j in range(1000)]),
                    name=f"big{n}",
                )
                for n in range(2)
            ),
        ],
    ],
    ids=["they name what is unknown", "there is no room for them"],
)
def test_limits_that_are_not_in_the_text_limit_all_the_same(platform: list[RawDocument]) -> None:
    found = standings(compiled(*platform, policy(grant("evil.example.net")), source()))

    assert found["ml/p"] == "left_out"


# --- limits that do not read -------------------------------------------------------------------------------


def unread(document: RawDocument, key: str = "limits") -> RawDocument:
    """As it stands after somebody has switched the webhook off: it says `limits`, and does not read."""
    spec = {"workloads": {"namespaceSelector": {}}, key: {"hots": ["api.example.com"]}}
    return replace(document, document={**document.document, "spec": spec})


@pytest.mark.parametrize("key_of_them", ["limits", "limit", "Limits"])
def test_while_limits_do_not_read_nothing_new_is_allowed(key_of_them: str) -> None:
    result = compiled(unread(limits(), key_of_them), policy(), source())
    assert standings(result) == {"ml/p": "left_out", "ml/one": "current"}
    (problem,) = result.reports[key(policy())].problems
    assert problem.code is ProblemCode.NOT_ALLOWED_HERE
    assert problem.message.startswith("the limits of podkey-system/limits do not read")


def test_what_was_in_force_stays_and_an_edit_of_it_waits() -> None:
    good = compiled(policy(), source())
    assert standings(compiled(unread(limits()), policy(), source(), previous=good))["ml/p"] == "current"
    edited = policy(grant("evil.example.net"), generation=2)
    for previous in (good, good.text):
        result = compiled(unread(limits()), edited, source(), previous=previous)
        assert standings(result)["ml/p"] == "older 1"
        assert "evil" not in result.text


def test_limits_that_did_read_once_hold_and_nothing_new_is_allowed_either() -> None:
    good = compiled(limits("api.example.com", "b.example.com"), policy(), source())
    narrowed = replace(unread(limits()), generation=2)
    new = policy(grant("b.example.com"), name="new")
    result = compiled(narrowed, policy(), new, source(), previous=good)
    assert standings(result) | {"ml/p": "current", "ml/new": "left_out"} == standings(result)
    beyond = compiled(narrowed, policy(grant("evil.example.net"), generation=2), source(), previous=good)
    assert standings(beyond)["ml/p"] == "older 1"


def test_limits_in_the_place_of_grants_count_although_the_grants_did_read() -> None:
    good = compiled(WIDE, X, source())
    edited = replace(unread(limits(name="w")), uid=WIDE.uid, generation=2)
    for previous in (good, good.text):
        new = policy(grant("evil.example.net"), name="new")
        result = compiled(edited, X, new, source(), previous=previous)
        assert standings(result)["ml/new"] == "left_out"


def test_mended_limits_let_policies_in_again() -> None:
    before = compiled(unread(limits()), policy(), source())
    after = compiled(replace(limits("api.example.com"), generation=2), policy(), source(), previous=before)
    assert standings(after)["ml/p"] == "current"


def test_limits_of_a_tenant_that_do_not_read_are_nobodys_business() -> None:
    assert standings(compiled(unread(limits(namespace="ml")), policy(), source()))["ml/p"] == "current"
