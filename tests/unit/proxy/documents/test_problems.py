import pytest

from proxy.documents.problems import MAX_LISTED, Fault, Problem, ProblemCode, did_you_mean


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        (Problem("a.yaml", 3, "spec.mode", "is odd", "mend it"), "a.yaml:3: spec.mode: is odd"),
        (Problem("a.yaml", 3, "", "is odd", "mend it"), "a.yaml:3: is odd"),
        (Problem("a.yaml", 0, "", "is odd", "mend it"), "a.yaml: is odd"),
    ],
)
def test_shows_the_place_as_editors_read_it(problem: Problem, shown: str) -> None:
    assert str(problem) == shown


def test_a_problem_without_a_code_is_a_bad_value() -> None:
    assert Problem("a.yaml", 1, "", "is odd", "mend it").code is ProblemCode.BAD_VALUE


def test_a_fault_carries_what_a_problem_needs() -> None:
    fault = Fault("is odd", "mend it", ProblemCode.NEVER_MATCHES, at="paths")
    assert (fault.message, fault.fix, fault.code, fault.at, str(fault)) == (
        "is odd",
        "mend it",
        ProblemCode.NEVER_MATCHES,
        "paths",
        "is odd",
    )


def test_a_fault_is_by_itself_a_bad_value_of_the_whole() -> None:
    fault = Fault("is odd", "mend it")
    assert (fault.code, fault.at) == (ProblemCode.BAD_VALUE, "")


@pytest.mark.parametrize(
    ("word", "known", "fix"),
    [
        ("servce", ["service", "hosts"], "did you mean `service`?"),
        ("SERVICE", ["service", "hosts"], "did you mean `service`?"),
        ("matchlabels", ["matchLabels"], "did you mean `matchLabels`?"),
        ("zzz", ["service", "hosts"], "use one of: hosts, service"),
        ("zzz", [], "remove it"),
    ],
)
def test_a_mistyped_word_is_told_its_nearest_neighbour_else_all_words(
    word: str, known: list[str], fix: str
) -> None:
    assert did_you_mean(word, known) == fix


def test_among_many_names_only_those_that_begin_alike_are_compared() -> None:
    many = [f"z{number:04}" for number in range(5000)]
    assert did_you_mean("matchlabels", [*many, "matchLabels"]) == "did you mean `matchLabels`?"
    # The middle is mistyped, and what is before it tells the nearest of all.
    assert did_you_mean("z49x9", many).startswith("did you mean `z49")
    # Shorter and longer than every name.
    assert did_you_mean("z499", many).startswith("did you mean `z499")
    assert did_you_mean("z4999-and-more", many) == "did you mean `z4999`?"


def test_a_long_list_of_names_is_told_by_its_beginning() -> None:
    names = [f"name-{number:02}" for number in range(MAX_LISTED + 1)]
    assert did_you_mean("?", names) == "use one of: " + ", ".join(names[:MAX_LISTED])


def test_a_long_word_is_compared_by_its_beginning() -> None:
    assert did_you_mean("x" * 1_000_000, ["hosts"]) == "use one of: hosts"
    assert did_you_mean("y" * 64 + "z" * 1_000_000, ["y" * 64]) == f"did you mean `{'y' * 64}`?"


def test_codes_are_spelled_as_their_names() -> None:
    assert [code.value for code in ProblemCode] == [code.name.lower() for code in ProblemCode]
