"""The chart renders what it rendered before, or somebody looked at what changed."""

import pytest

from tests.golden.chart_cases import CASES, FOLDER, chart_text, path_of
from tests.helm_chart import MISSING

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.mark.parametrize("case", CASES)
def test_the_chart_renders_what_the_case_expects(case: str) -> None:
    assert chart_text(case) == path_of(case).read_text(), "run `make golden` and look at what changed"


def test_every_file_belongs_to_a_case() -> None:
    assert sorted(FOLDER.glob("*")) == sorted(path_of(case) for case in CASES)
