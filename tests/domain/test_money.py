"""Money is exact, and a price is never understated."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import MicroUSD, format_usd, micro_usd


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        ("0", 0),
        ("0.012", 12_000),
        ("0.0000001", 1),
        ("0.0000010", 1),
        ("0.0000011", 2),
        (5, 5_000_000),
        (Decimal("1e3"), 1_000_000_000),
        (" 2.5 ", 2_500_000),
        ("9000000000000", 9_000_000_000_000_000_000),
    ],
)
def test_rounded_up_to_the_next_micro_dollar(dollars: Decimal | str | int, expected: int) -> None:
    assert micro_usd(dollars) == expected


@pytest.mark.parametrize(
    "dollars", ["", "much", "-1", "-0.0000001", "NaN", "sNaN", "Infinity", "1e13", "1e999999", "0x10", "1,5"]
)
def test_what_is_no_amount_of_money(dollars: str) -> None:
    with pytest.raises(ValueError):
        micro_usd(dollars)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (12_000, "$0.012"),
        (1, "$0.000001"),
        (5_000_000, "$5.00"),
        (1_234_500_000, "$1234.50"),
        (-12_000, "-$0.012"),
    ],
)
def test_as_people_read_it(amount: int, text: str) -> None:
    assert format_usd(MicroUSD(amount)) == text


@given(st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=9))
def test_never_less_and_never_a_micro_dollar_more(dollars: Decimal) -> None:
    amount = micro_usd(dollars)
    assert dollars <= Decimal(amount) / 1_000_000 < dollars + Decimal("0.000001")


@given(st.integers(min_value=0, max_value=10**15))
def test_what_people_read_is_what_is_counted(amount: int) -> None:
    assert micro_usd(format_usd(MicroUSD(amount)).removeprefix("$")) == amount
