"""The edit budget: 10 a second in all, 1 a second in a channel, 1 in two seconds on a card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.edit_budget import EditBudget


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_card_waits_two_seconds_and_its_channel_one() -> None:
    clock = Clock()
    budget = EditBudget(clock)
    assert budget.take(1, 1) == 0
    assert budget.take(1, 1) == pytest.approx(2)
    assert budget.take(1, 2) == pytest.approx(1)
    assert budget.take(2, 3) == 0
    clock.time = 1.0
    assert budget.take(1, 1) == pytest.approx(1)
    assert budget.take(1, 2) == 0
    clock.time = 2.0
    assert budget.take(1, 1) == 0


def test_the_bot_makes_ten_edits_a_second() -> None:
    clock = Clock()
    budget = EditBudget(clock)
    assert [budget.take(channel, channel) for channel in range(11)] == [0.0] * 10 + [1.0]
    clock.time = 1.0
    assert budget.take(11, 11) == 0


def test_what_is_refused_is_not_counted() -> None:
    clock = Clock()
    budget = EditBudget(clock)
    budget.take(1, 1)
    for _ in range(100):
        budget.take(1, 1)
    assert budget.take(2, 2) == 0


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), st.floats(0, 1.5)), max_size=200))
def test_no_limit_is_ever_passed(asks: list[tuple[int, int, float]]) -> None:
    clock = Clock()
    budget = EditBudget(clock)
    sent: list[tuple[float, int, int]] = []
    for channel, message, pause in asks:
        clock.time += pause
        if budget.take(channel, message) == 0:
            sent.append((clock.time, channel, message))
    for number, (at, channel, message) in enumerate(sent):
        before = [entry for entry in sent[:number] if at - entry[0] < 1 - 1e-6]
        assert len(before) < 10
        assert channel not in [entry[1] for entry in before]
        recent = [entry[1:] for entry in sent[:number] if at - entry[0] < 2 - 1e-6]
        assert (channel, message) not in recent
