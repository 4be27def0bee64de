"""The text of a patch says what its operations say, whether parts of it were prepared or not."""

import json

from hypothesis import given
from hypothesis import strategies as st

from injector.craft.jsonpatch import Op, Operation
from injector.craft.patch_text import Prepared, patch_text

TEXTS = st.text(max_size=5) | st.sampled_from(['"', "\\", "a/b~c", "\u2028"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda some: (
        st.lists(some, max_size=3)
        | st.dictionaries(TEXTS, some, max_size=3)
        | st.dictionaries(TEXTS, some, max_size=3).map(Prepared)
    ),
    max_leaves=8,
)
OPERATIONS = st.builds(
    Operation, st.sampled_from(Op), st.lists(TEXTS | st.integers(0, 9), max_size=3).map(tuple), VALUES
)


@given(st.lists(OPERATIONS, max_size=4))
def test_the_text_is_that_of_the_operations(operations: list[Operation]) -> None:
    plain = json.dumps([operation.to_json() for operation in operations], separators=(",", ":"))
    assert patch_text(operations) == plain


def test_what_is_prepared_is_an_object_like_any_other_and_its_text_is_made_once() -> None:
    prepared = Prepared(name="podkey", ports=[1])

    assert prepared == {"name": "podkey", "ports": [1]}
    assert prepared.text is prepared.text
    assert type(prepared.copy()) is dict
