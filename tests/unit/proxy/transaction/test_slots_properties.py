"""What holds for every request: nothing that was read is left, and nothing else is gone."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.queries import Query
from proxy.core.services import CredentialSlots
from proxy.transaction.slots import clear_slots, read_slots

SLOTS = CredentialSlots(("authorization", "x-api-key"), ("Key", "X-Amz-Credential"), ("token", "Sid"))

names = st.sampled_from(
    ["Authorization", "AUTHORIZATION", "X-Api_Key", "x-api-key", "Cookie", "COOKIE", "Accept", "X-Api", "X"]
)
crumbs = st.sampled_from([*'=;, \t"a1', "token", "Sid", "TOKEN", "tok%65n", "%20", "; ", "a=1", "sid=x"])
values = st.one_of(
    st.lists(crumbs, max_size=12).map("".join),
    st.sampled_from(["Bearer x", "Basic eDp5", "AWS4-HMAC-SHA256 Credential=A/b"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=12),
)
fields = st.lists(st.tuples(names, values), max_size=6)
pieces = st.sampled_from([*"&;=[]+a1/", "key", "KEY", "%6Bey", "x-amz-credential", "%20", "b=2", "&&"])
queries = st.lists(pieces, max_size=14).map("".join)


@given(fields, queries)
def test_nothing_is_left_that_was_read(sent: list[tuple[str, str]], raw: str) -> None:
    kept, rest = clear_slots(sent, raw, SLOTS)
    assert read_slots(kept, Query.parse(rest), SLOTS) == ()
    assert clear_slots(kept, rest, SLOTS) == (kept, rest)


@given(fields, queries)
def test_what_holds_no_credential_stays_as_it_is(sent: list[tuple[str, str]], raw: str) -> None:
    kept, rest = clear_slots(sent, raw, SLOTS)
    others = [field for field in sent if field[0] in {"Accept", "X-Api", "X"}]
    assert [field for field in kept if field[0].lower() != "cookie"] == others
    # What is kept is a selection, in its order: of fields, of cookies, of parameters.
    remaining = iter(sent)
    for name, value in kept:
        match = next(field for field in remaining if field[0] == name and _is_selection(value, field[1]))
        if "token" not in match[1].lower() and "sid" not in match[1].lower() and "%65" not in match[1]:
            assert match[1] == value
    assert _is_selection(rest, raw)
    assert Counter(rest) <= Counter(raw)
    if "key" not in raw.lower() and "%6b" not in raw.lower() and "cred" not in raw.lower():
        assert rest == raw


def _is_selection(part: str, whole: str) -> bool:
    characters = iter(whole)
    return all(character in characters for character in part)
