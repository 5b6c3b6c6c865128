"""Money as whole micro-dollars (1 USD = 1,000,000), so that sums are exact."""

from decimal import ROUND_CEILING, Decimal
from typing import NewType

MicroUSD = NewType("MicroUSD", int)

FREE = MicroUSD(0)
_MICRO = Decimal(1_000_000)
_MOST = Decimal(9_000_000_000_000)
"""What a 64-bit integer holds of micro-dollars."""


def micro_usd(dollars: Decimal | str | int) -> MicroUSD:
    """Dollars as micro-dollars, rounded up: a price is never understated.

    Raises ValueError for an amount that is negative, above 9 trillion dollars or unreadable.
    """
    try:
        amount = Decimal(dollars)
    except ArithmeticError as error:
        raise ValueError(f"not an amount of money: {dollars!r}") from error
    if not amount.is_finite() or not 0 <= amount <= _MOST:
        raise ValueError(f"not an amount of money: {dollars!r}")
    return MicroUSD(int((amount * _MICRO).to_integral_value(rounding=ROUND_CEILING)))


def in_usd(amount: MicroUSD) -> Decimal:
    """Micro-dollars as dollars, exactly."""
    return Decimal(amount) / _MICRO


def format_usd(amount: MicroUSD) -> str:
    """``$0.012``: at least two decimals, no more than are needed."""
    text = f"{in_usd(amount):f}"
    whole, _, fraction = text.partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}${whole.removeprefix('-')}.{fraction.rstrip('0').ljust(2, '0')}"
