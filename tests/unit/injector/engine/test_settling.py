from collections.abc import Callable, Sequence

from injector.core.documents import RawDocument
from injector.engine.holdings import Document, DocumentKey, Version, hold, place
from injector.engine.settling import MAX_PASSES, MAX_ROUNDS, Candidate, Option, Settling
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from tests.cluster_policies import OWN, grant, policy, source

Check = Callable[[Sequence[Placed[Document]]], Sequence[Problem]]


def candidate(*versions: RawDocument) -> Candidate:
    held = [hold(version, OWN) for version in versions]
    options = [
        Option(Version(one.value, one.uid, one.generation), place(one.value), "x" * 10)
        for one in held
        if one.value is not None
    ]
    return Candidate(held[0], options)


def chosen(candidates: Sequence[Candidate]) -> dict[str, int]:
    """The generations that stand, by name."""
    return {one.key.name: one.chosen.version.generation for one in candidates if one.chosen is not None}


def versions(*documents: RawDocument) -> dict[DocumentKey, Version]:
    held = [hold(document, OWN) for document in documents]
    return {one.key: Version(one.value, one.uid, one.generation) for one in held if one.value is not None}


def problem(file: str, message: str = "no", code: ProblemCode = ProblemCode.OVERLAPPING_GRANTS) -> Problem:
    return Problem(file, 0, "spec.grants[0]", message, "fix", code)


def saying(*found: tuple[set[str], Problem]) -> Check:
    """A problem where all of these stand."""

    def check(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        standing = {f"{one.value.name}" for one in placed}
        return [told for names, told in found if names <= standing]

    return check


def settled(
    candidates: Sequence[Candidate], check: Check, in_force: dict[DocumentKey, Version], room: int = 1000
) -> dict[str, int]:
    return chosen(Settling(candidates, check, room).settle(in_force))


A, B, C = (policy(name=name) for name in "abc")
AB = problem("AccessPolicy ml/b", "overlaps with a grants[0] (AccessPolicy ml/a): both")
BC = problem("AccessPolicy ml/c", "overlaps with b grants[0] (AccessPolicy ml/b): both")


def test_what_fits_together_stands() -> None:
    assert settled([candidate(A), candidate(B)], saying(), {}) == {"a": 1, "b": 1}
    assert settled([], saying(), {}) == {}


def test_of_two_new_ones_the_later_gives_way() -> None:
    candidates = [candidate(B), candidate(A)]
    assert settled(candidates, saying(({"a", "b"}, AB)), {}) == {"a": 1}
    assert candidates[0].problems == {AB: None}
    assert not candidates[1].problems


def test_of_an_old_and_a_new_one_the_new_gives_way() -> None:
    candidates = [candidate(A), candidate(B)]
    assert settled(candidates, saying(({"a", "b"}, AB)), versions(B)) == {"b": 1}
    (told,) = candidates[0].problems
    assert (told.file, told.path) == ("AccessPolicy ml/a", "")
    assert told.message.startswith("AccessPolicy ml/b: spec.grants[0]: overlaps with a")


def test_who_gave_way_to_one_that_gave_way_comes_back() -> None:
    """B overlaps with both. It is old, so A is asked first, until B itself is found to be impossible."""
    alone = problem("AccessPolicy ml/b", "impossible")
    check = saying(({"a", "b"}, AB), ({"b"}, alone))
    assert settled([candidate(A), candidate(B)], check, versions(B)) == {"a": 1}


def test_a_chain_keeps_its_ends() -> None:
    check = saying(({"a", "b"}, AB), ({"b", "c"}, BC))
    assert settled([candidate(A), candidate(B), candidate(C)], check, {}) == {"a": 1, "c": 1}


def test_a_new_source_gives_way_before_an_old_policy() -> None:
    told = problem("AccessPolicy ml/a", "does not fit", ProblemCode.ATTACH_MISMATCH)
    newer, older = source(generation=2), source()

    def check(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        return [told] if any(one.value.name == "one" for one in placed) and not stands_older() else []

    candidates = [candidate(A), candidate(newer, older)]

    def stands_older() -> bool:
        return candidates[1].at == 1

    assert settled(candidates, check, versions(A, older)) == {"a": 1, "one": 1}


def test_two_policies_of_one_bad_source_cost_the_source_alone() -> None:
    found = [problem(f"AccessPolicy ml/{name}", "no", ProblemCode.ATTACH_MISMATCH) for name in "ab"]
    check = saying(({"a", "one"}, found[0]), ({"b", "one"}, found[1]))
    assert settled([candidate(A), candidate(B), candidate(source())], check, versions(A, B)) == {
        "a": 1,
        "b": 1,
    }


def test_a_problem_of_nobody_costs_everybody() -> None:
    check = saying(({"a", "b"}, problem("AccessPolicy ml/unknown")))
    assert settled([candidate(A), candidate(B)], check, {}) == {}


def test_what_is_too_much_to_compare_costs_everything_that_is_new() -> None:
    too_many = problem("AccessPolicy ml/b", "too many", ProblemCode.TOO_MANY_TO_COMPARE)
    every = [candidate(A), candidate(policy(name="b", generation=2), B), candidate(C)]
    check: Check = lambda placed: [too_many] if len(placed) > 2 else []  # noqa: E731
    assert settled(every, check, versions(A, B)) == {"a": 1, "b": 1}
    every = [candidate(A), candidate(B)]
    assert settled(every, lambda placed: [too_many] if placed else [], versions(A, B)) == {}


def test_what_takes_too_many_rounds_costs_everything_that_is_new() -> None:
    """One problem a round, for each of many documents."""
    asked = 0

    def check(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        nonlocal asked
        asked += 1
        new = [one for one in placed if one.value.name != "old"]
        return [problem(new[-1].file)] if new else []

    old = policy(name="old")
    many = [candidate(policy(name=f"p{number}")) for number in range(10 * MAX_ROUNDS)]
    assert settled([candidate(old), *many], check, versions(old)) == {"old": 1}
    assert asked < 3 * MAX_ROUNDS


def test_a_name_in_a_problem_is_no_other_document() -> None:
    """What somebody wrote stands behind the name of the other document, and takes nobody out of force."""
    forged = problem(
        "AccessPolicy ml/c",
        "overlaps with b grants[0] (AccessPolicy ml/b): both cover GET /(AccessPolicy ml/a)",
    )
    candidates = [candidate(A), candidate(B), candidate(C)]
    assert settled(candidates, saying(({"b", "c"}, forged)), versions(B, C)) == {"a": 1, "b": 1}


def test_sources_that_no_policy_names_can_be_left_aside() -> None:
    named, unnamed = source("one"), source("two")
    every = [candidate(policy(grant(), name="a")), candidate(named), candidate(unnamed)]
    assert chosen(Settling(every, saying(), 1000, named_only=True).settle({})) == {"a": 1, "one": 1}


def test_what_does_not_fit_gives_way_from_the_end_and_the_new_first() -> None:
    every = [candidate(A), candidate(B), candidate(C)]
    assert settled(every, saying(), {}, room=20) == {"a": 1, "b": 1}
    assert settled(every, saying(), versions(B, C), room=20) == {"b": 1, "c": 1}
    assert settled(every, saying(), versions(A, B, C), room=5) == {}
    assert [next(iter(one.problems)).code for one in every] == [ProblemCode.TOO_LARGE] * 3


def test_a_source_that_is_there_and_stands_not_is_not_missing() -> None:
    missing = problem("AccessPolicy ml/a", "there is no", ProblemCode.UNKNOWN_CREDENTIAL)

    def check(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        names = {one.value.name for one in placed}
        return [missing] if "a" in names and "one" not in names else []

    alone = candidate(A)
    settled([alone], check, {})
    assert [told.message for told in alone.problems] == ["there is no"]
    beside = candidate(A)
    settled([beside, Candidate(hold(source(), OWN), [])], check, {})
    assert [told.message for told in beside.problems] == [
        "the CredentialSource `one` has problems of its own"
    ]


def test_passes_that_never_agree_come_to_an_end() -> None:
    asked = 0

    def check(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        nonlocal asked
        asked += 1
        return [problem(f"AccessPolicy ml/{'ab'[asked // 2 % 2]}")] if len(placed) == 2 else []

    assert settled([candidate(A), candidate(B)], check, {}) in ({"a": 1}, {"b": 1})
    assert asked == 2 * MAX_PASSES
