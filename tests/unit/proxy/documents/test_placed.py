from proxy.documents.placed import Placed, child
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import read_nodes
from tests.document_strategies import node_of


def test_finds_the_value_of_a_key_and_nothing_elsewhere() -> None:
    node = node_of("{[x]: no, a: b, c: d}")
    found = child(node, "c")
    assert found is not None
    assert found.value == "d"
    assert child(node, "x") is None
    assert child(node_of("[c]"), "c") is None
    assert child(None, "c") is None


def test_a_problem_of_a_document_stands_on_its_first_line() -> None:
    (_, node), _ = read_nodes(b"a: b\n---\nkind: x\n", "a.yaml")
    placed = Placed.of("value", "a.yaml", node)
    assert placed == Placed("value", "a.yaml", 3)
    assert placed.problem(ProblemCode.TOO_LONG, "long", "cut", "spec") == Problem(
        "a.yaml", 3, "spec", "long", "cut", ProblemCode.TOO_LONG
    )
    assert placed.problem(ProblemCode.TOO_LONG, "long", "cut").path == ""


def test_a_problem_of_a_grant_stands_on_the_grants_line() -> None:
    placed = Placed.of("value", "a.yaml", node_of("spec:\n  grants:\n    - {}\n    - {}\n"))
    assert placed.grants == ((0, 3), (1, 4))
    assert placed.grant_problem(1, ProblemCode.TOO_LONG, "long", "cut", "paths") == Problem(
        "a.yaml", 4, "spec.grants[1].paths", "long", "cut", ProblemCode.TOO_LONG
    )
    assert placed.grant_problem(0, ProblemCode.TOO_LONG, "long", "cut").path == "spec.grants[0]"


def test_a_grant_keeps_its_number_where_others_are_left_out() -> None:
    placed = Placed("value", "a.yaml", 1, ((2, 9),))
    assert placed.grant_problem(0, ProblemCode.TOO_LONG, "long", "cut").path == "spec.grants[2]"


def test_a_document_whose_grants_are_no_list_has_none() -> None:
    assert Placed.of("value", "a.yaml", node_of("spec: {grants: x}")).grants == ()


def test_other_documents_name_it_by_file_and_line_and_an_object_by_its_name_alone() -> None:
    placed = Placed("value", "a.yaml", 3, ((2, 9),))
    assert (placed.place, placed.grant_place(0)) == ("a.yaml:3", "grants[2] (a.yaml:9)")
    held = Placed("value", "AccessPolicy/ml/p", 0, ((0, 0),))
    assert (held.place, held.grant_place(0)) == ("AccessPolicy/ml/p", "grants[0] (AccessPolicy/ml/p)")
