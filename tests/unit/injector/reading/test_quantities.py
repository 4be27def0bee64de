"""Expected values are apimachinery's (`pkg/api/resource/quantity_test.go`), or follow from its grammar."""

from contextlib import suppress
from decimal import ROUND_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.reading.quantities import (
    MAX_QUANTITY_LENGTH,
    QuantityFault,
    read_quantity,
    thousandths,
    whole_units,
)

UNIT = 10**9
MOST = (2**63 - 1) * UNIT


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0", 0),
        ("1", 1),
        ("+1", 1),
        ("-1", -1),
        ("007", 7),
        ("0.5", Decimal("0.5")),
        (".5", Decimal("0.5")),
        ("5.", 5),
        ("100m", Decimal("0.1")),
        ("250u", Decimal("0.00025")),
        ("1n", Decimal("1e-9")),
        ("2k", 2000),
        ("1M", 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Ki", 1 << 10),
        ("1.5Gi", 3 << 29),
        ("0.001Ki", Decimal("1.024")),
        ("1Ti", 1 << 40),
        ("1Pi", 1 << 50),
        ("1Ei", 1 << 60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e+3", 1000),
        ("1e-3", Decimal("0.001")),
        ("12.5e2", 1250),
    ],
)
def test_a_quantity_is_exact(text: str, units: int | Decimal) -> None:
    assert read_quantity(text) == units * UNIT


@pytest.mark.parametrize(
    ("text", "nanos"),
    [("0.1n", 1), ("1.00000000001", UNIT + 1), ("-0.1n", -1), ("1e-99999", 1), ("0e-99999", 0)],
)
def test_what_is_finer_than_a_billionth_is_rounded_away_from_zero(text: str, nanos: int) -> None:
    assert read_quantity(text) == nanos


@pytest.mark.parametrize("text", ["1e99", "1e99999999999", "9E999", "100Ei", "9" * 60])
def test_what_is_greater_than_an_int64_is_the_greatest(text: str) -> None:
    assert read_quantity(text) == MOST
    assert read_quantity("-" + text) == -MOST


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "-", "+", ".", "m", "Mi", "--1", "1..2", "1,5", "1mi", "1ki", "1K", "1Kib"),
        *("1MiB", "1e", "1e+", "1e1.5", "1 Gi", "0x10", "1_000", "inf", "nan", "true", "١", "1²", "1\n"),
        *("1em", "1Em", "e3", "1" * (MAX_QUANTITY_LENGTH + 1)),
    ],
)
def test_anything_else_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityFault):
        read_quantity(text)


@given(
    st.decimals(min_value=-(10**18), max_value=10**18, places=9), st.sampled_from(["", "Ki", "Mi", "m", "k"])
)
def test_a_decimal_is_read_as_decimal_arithmetic_has_it(number: Decimal, suffix: str) -> None:
    factor = {"": 1, "Ki": 1024, "Mi": 1 << 20, "m": Decimal("0.001"), "k": 1000}[suffix]
    exact = (number * factor * UNIT).to_integral_value(ROUND_UP)
    assert read_quantity(f"{number:f}{suffix}") == max(-MOST, min(MOST, int(exact)))


@given(st.text(max_size=80))
def test_any_text_is_a_quantity_or_a_fault(text: str) -> None:
    with suppress(QuantityFault):
        assert -MOST <= read_quantity(text) <= MOST


def test_cpu_and_bytes_are_rounded_up() -> None:
    assert thousandths(read_quantity("0.1001")) == 101
    assert thousandths(read_quantity("2")) == 2000
    assert whole_units(read_quantity("100m")) == 1
    assert whole_units(read_quantity("1Gi")) == 1 << 30
