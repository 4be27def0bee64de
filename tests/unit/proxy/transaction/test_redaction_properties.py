"""What holds for every secret, every answer and every way to cut it."""

import re

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from proxy.core.secret import Secret
from proxy.transaction.redaction import Redactor, forms_of

# Few letters, so that secrets repeat themselves, overlap, and nearly begin in many places.
LETTERS = "ab*#"


def secrets(letters: str = LETTERS) -> SearchStrategy[list[bytes]]:
    secret = st.one_of(
        st.text(letters, min_size=8, max_size=14).map(str.encode),
        st.from_regex(rb"[!-~]{8,20}", fullmatch=True),
        st.sampled_from([b"aaaaaaaab", b"abababababab", b"a" * 8, b"*" * 9]),
    )
    return st.lists(secret, min_size=1, max_size=3)


@st.composite
def answers(draw: DrawFn) -> tuple[frozenset[bytes], list[bytes]]:
    """Forms, and the pieces of an answer in which whole forms, parts of them and other text alternate."""
    forms = forms_of(map(Secret, draw(secrets())))
    form = st.sampled_from(sorted(forms))
    part = st.tuples(form, st.integers(0, 14), st.integers(0, 14)).map(
        lambda f: f[0][f[1] : len(f[0]) - f[2]]
    )
    other = st.text(LETTERS + "\n ", max_size=6).map(str.encode)
    body = b"".join(draw(st.lists(st.one_of(form, part, other), max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return forms, [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def covered(body: bytes, forms: frozenset[bytes]) -> set[int]:
    """The positions that belong to a form, in the plainest way."""
    return {
        start + offset
        for form in forms
        for start in range(len(body))
        if body.startswith(form, start)
        for offset in range(len(form))
    }


@given(answers())
def test_exactly_what_belongs_to_a_form_is_blotted_out_however_the_answer_is_cut(
    answer: tuple[frozenset[bytes], list[bytes]],
) -> None:
    forms, pieces = answer
    body = b"".join(pieces)
    redactor = Redactor(forms)
    shown = b"".join([*map(redactor.feed, pieces), redactor.finish()])
    blotted = covered(body, forms)
    assert len(shown) == len(body)
    assert all(shown[at] == byte for at, byte in enumerate(body) if at not in blotted)
    assert len({shown[at] for at in blotted}) <= 1
    assert not any(form in shown for form in forms)
    assert redactor.hits == sum(body.startswith(form, at) for form in forms for at in range(len(body)))


@given(answers())
def test_an_answer_that_is_there_at_once_is_shown_as_if_it_came_in_pieces(
    answer: tuple[frozenset[bytes], list[bytes]],
) -> None:
    forms, pieces = answer
    at_once, cut = Redactor(forms), Redactor(forms)

    shown = at_once.whole(b"".join(pieces))

    assert shown == b"".join([*map(cut.feed, pieces), cut.finish()])
    assert at_once.hits == cut.hits
    assert at_once.finish() == b""


@given(answers(), answers())
def test_the_sizes_of_what_is_passed_on_tell_nothing_of_the_secret(
    answer: tuple[frozenset[bytes], list[bytes]], other: tuple[frozenset[bytes], list[bytes]]
) -> None:
    """For any two secrets of about a size: else an application could ask for texts and compare."""
    one, two = Redactor(answer[0]), Redactor(other[0])
    for piece in answer[1]:
        assert len(one.feed(piece)) == len(two.feed(piece))


@given(answers(), st.binary(max_size=20))
def test_a_line_is_passed_on_when_it_ends(answer: tuple[frozenset[bytes], list[bytes]], line: bytes) -> None:
    forms, pieces = answer
    redactor = Redactor(forms)
    fed = shown = 0
    for piece in [*pieces, line]:
        fed += len(piece) + 1
        shown += len(redactor.feed(piece + b"\n"))
        assert shown == fed
    assert redactor.finish() == b""


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_no_secret_has_a_form_that_is_short_or_breaks_a_line(values: list[bytes]) -> None:
    forms = forms_of(map(Secret, values))
    assert all(len(form) >= 8 and not re.search(rb"[\x00-\x1f\x7f]", form) for form in forms)
    for value in values:
        assert value in forms or len(value) < 8 or re.search(rb"[\x00-\x1f\x7f]", value)
