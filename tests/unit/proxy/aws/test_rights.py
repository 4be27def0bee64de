import pytest

from proxy.aws.rights import Right, literal, pattern
from proxy.core.globs import Glob
from tests.iam import like


@pytest.mark.parametrize("text", ["data", "a*b", "a?b", "$", "${aws:username}", "$x", "*?${", "数据"])
def test_what_is_written_literally_matches_itself_and_nothing_else(text: str) -> None:
    written = literal(text)
    assert like(written, text)
    assert not like(written, text + "x")
    assert not like(written, text.replace("*", "x").replace("?", "x") + "y")


def test_only_the_stars_of_a_pattern_stay_wildcards() -> None:
    assert pattern(Glob("d?ta-*")) == "d${?}ta-*"
    assert like(pattern(Glob("d?ta-*")), "d?ta-1")
    assert not like(pattern(Glob("d?ta-*")), "data-1")


@pytest.mark.parametrize(
    ("right", "free"),
    [
        (Right("*", "s3:GetObject"), True),
        (Right("*", "s3:ListBucket", listing="a/*"), False),
        (Right("*", "s3:GetObject", (("StringEquals", "s3:ResourceAccount", "1"),)), False),
    ],
)
def test_a_right_is_free_when_nothing_bounds_it(right: Right, free: bool) -> None:  # noqa: FBT001
    assert right.is_free is free
