import pytest

from injector.reading.pod_fields import (
    PodFault,
    as_int,
    as_object,
    child,
    flag,
    items,
    listed,
    mapping,
    number,
    objects,
    shown,
    text,
    texts,
    words,
)


@pytest.mark.parametrize("parent", [{}, {"field": None}])
def test_what_is_absent_or_null_is_what_go_makes_of_it(parent: dict[str, None]) -> None:
    assert child(parent, "field", "spec") == {}
    assert texts(parent, "field", "spec") == {}
    assert list(items(parent, "field", "spec")) == []
    assert list(objects(parent, "field", "spec")) == []
    assert text(parent, "field", "spec") == ""
    assert flag(parent, "field", "spec") is None
    assert number(parent, "field", "spec") is None


@pytest.mark.parametrize(
    ("reader", "value", "message"),
    [
        (child, [], "spec.field is a list, where Kubernetes has an object"),
        (mapping, "x", "spec.field is a text, where Kubernetes has an object"),
        (mapping, {1: "x"}, "spec.field has a key that is no text: write it in quotes"),
        (items, {}, "spec.field is an object, where Kubernetes has a list"),
        (objects, [{}, None], "spec.field[1] is null, where Kubernetes has an object"),
        (text, 5, "spec.field is a number, where Kubernetes has a text: write it in quotes"),
        (text, True, "spec.field is true or false, where Kubernetes has a text"),
        (
            texts,
            {"a/b": 1.5},
            "spec.field[`a/b`] is a number, where Kubernetes has a text: write it in quotes",
        ),
        (flag, "true", "spec.field is a text, where Kubernetes has true or false"),
        (flag, 1, "spec.field is a number, where Kubernetes has true or false"),
        (number, "1337", "spec.field is a text, where Kubernetes has a whole number"),
        (number, 1337.0, "spec.field is a number, where Kubernetes has a whole number"),
        (number, True, "spec.field is true or false, where Kubernetes has a whole number"),
        (number, 2**63, "spec.field is a number, where Kubernetes has a whole number"),
    ],
)
def test_another_type_is_a_fault_that_names_the_field(reader: object, value: object, message: str) -> None:
    with pytest.raises(PodFault) as raised:
        reader({"field": value}, "field", "spec")  # type: ignore[operator]
    assert raised.value.message == str(raised.value) == message


def test_a_text_of_a_map_may_be_null() -> None:
    assert texts({"labels": {"a": None, "b": "c"}}, "labels", "metadata") == {"a": "", "b": "c"}


def test_the_numbers_of_an_int64_are_numbers() -> None:
    for value in (0, -1, 1337, 2**63 - 1, -(2**63)):
        assert as_int(value, "x") == value


def test_an_object_of_the_root_has_no_dot_in_front() -> None:
    with pytest.raises(PodFault, match=r"^metadata is a list"):
        child({"metadata": []}, "metadata", "")
    with pytest.raises(PodFault, match=r"^the pod is null"):
        as_object(None, "the pod")


def test_a_key_of_anybodys_stands_in_brackets() -> None:
    assert words(("metadata.labels", "app")) == "metadata.labels.app"
    assert words(("metadata.labels", "a.b/c")) == "metadata.labels[`a.b/c`]"
    assert words(("metadata.labels", "")) == "metadata.labels[``]"
    assert words((((("", "spec"), "containers"), 3), "env")) == "spec.containers[3].env"


def test_a_shown_name_has_one_line_and_an_end() -> None:
    assert shown("app") == "`app`"
    assert shown("a\nb\x1b\N{RIGHT-TO-LEFT OVERRIDE}") == r"`a\nb\x1b\u202e`"
    assert len(shown("x" * 10**6)) < 100


def test_a_row_of_names_ends_after_five() -> None:
    assert listed([]) == ""
    assert listed("ab") == "a, b"
    assert listed("abcde") == "a, b, c, d, e"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
