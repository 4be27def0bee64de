import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import Hostname
from proxy.core.paths import RequestPath
from proxy.core.queries import EMPTY_QUERY, Query
from proxy.core.reasons import Reason
from proxy.core.request import ClientCredential, RequestFacts
from tests.core_reference import RAW_PATHS

HOST = Hostname("api.example.com")


def test_facts_come_from_a_target_in_origin_form() -> None:
    facts = RequestFacts.of(HOST, "GET", "/a/%7eb?x=1&y", port=8443, headers={"openai-project": "p"})
    assert facts == RequestFacts(
        HOST, "GET", RequestPath("/a/~b"), Query.parse("x=1&y"), 8443, {"openai-project": "p"}
    )
    assert facts.query.values == {"x": ["1"], "y": [""]}


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a", "/a", ""),
        ("/a?", "/a", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/?/../x", "/", "/../x"),
        ("/a%3Fb", "/a%3Fb", ""),
    ],
)
def test_the_first_question_mark_ends_the_path(target: str, path: str, query: str) -> None:
    facts = RequestFacts.of(HOST, "GET", target)
    assert (facts.path, facts.query.raw) == (RequestPath(path), query)


def test_what_a_request_does_not_show_is_absent() -> None:
    facts = RequestFacts.of(HOST, "GET", "/")
    assert facts.query is EMPTY_QUERY
    assert (facts.port, dict(facts.headers)) == (443, {})
    assert facts.client_credential is ClientCredential.ABSENT
    assert facts == RequestFacts(HOST, "GET", RequestPath("/"))


def test_what_the_application_sent_in_the_slot_is_handed_on() -> None:
    foreign = ClientCredential.FOREIGN
    assert RequestFacts.of(HOST, "GET", "/", client_credential=foreign).client_credential is foreign
    assert [kind.value for kind in ClientCredential] == ["absent", "placeholder", "foreign"]


@pytest.mark.parametrize("target", ["", "*", "https://api.example.com/", "?a", "/a b", "/a#b"])
def test_a_target_in_another_form_has_no_path(target: str) -> None:
    assert RequestFacts.of(HOST, "GET", target).path == RequestPath("", Reason.MALFORMED_PATH)


@given(RAW_PATHS, st.text(max_size=20))
def test_property_every_target_becomes_facts(path: str, query: str) -> None:
    facts = RequestFacts.of(HOST, "GET", f"{path}?{query}")
    before = path.partition("?")[0]
    assert facts.path == RequestPath.parse(before)
    assert facts.query.raw == f"{path}?{query}"[len(before) + 1 :]


def test_facts_cannot_be_changed_after_they_were_checked() -> None:
    facts = RequestFacts.of(HOST, "GET", "/")
    with pytest.raises(AttributeError):
        facts.method = "PUT"  # type: ignore[misc]
