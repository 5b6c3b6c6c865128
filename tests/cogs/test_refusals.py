"""Every refusal by a quota names the rule, what is used, held and left, and when it ends."""

import itertools
from datetime import UTC, datetime

import pytest

from cogs.ui import lists, texts
from domain.quota import Rule, Subject, Unit, Usage, Window
from jobs.quotas import QuotaExceeded

RESETS = datetime(2026, 3, 12, tzinfo=UTC)
AMOUNTS = {
    Unit.IMAGES: (20, 15, 3, ("20 pictures", "15 used", "3 held", "and 2 of")),
    Unit.GPU_SECONDS: (
        60_000,
        30_500,
        9_500,
        ("60 GPU seconds", "30.5 GPU seconds used", "9.5 GPU seconds held", "20 GPU seconds of"),
    ),
    Unit.MONEY: (10_000_000, 5_790_000, 10_000, ("$10.00", "$5.79 used", "$0.01 held", "$4.20 of")),
}
WHOSE = {
    Subject.GUILD: "this server’s",
    Subject.CHANNEL: "this channel’s",
    Subject.ROLE: "your",
    Subject.MEMBER: "your",
    Subject.EVERY_MEMBER: "your",
}
WINDOWS = {Window.HOUR: "an hour", Window.DAY: "a day", Window.WEEK: "a week", Window.MONTH: "a month"}


def told(usage: Usage, wanted: int) -> str:
    return texts.of_error(QuotaExceeded(usage, wanted).error())


@pytest.mark.parametrize(("subject", "unit", "window"), list(itertools.product(WHOSE, Unit, Window)))
def test_it_names_everything(subject: Subject, unit: Unit, window: Window) -> None:
    limit, used, held, named = AMOUNTS[unit]
    rule = Rule(17, 900, subject, 5, unit, window, limit)
    said = told(Usage(rule, used, held, 0, RESETS), limit)
    assert all(part in said for part in named), said
    assert WHOSE[subject] in said
    assert WINDOWS[window] in said
    assert "rule `17` of /quotas list" in said
    assert f"<t:{int(RESETS.timestamp())}:R>" in said
    # The number is the one that the lists show.
    assert "`17` · " in str(lists.rules([rule], 50).description)
    assert "`17` · " in str(lists.usage([Usage(rule, used, held, 0, RESETS)]).description)


def test_what_is_forbidden_ends_when_an_admin_says_so() -> None:
    rule = Rule(4, 900, Subject.CHANNEL, 5, Unit.MONEY, Window.MONTH, 0)
    said = told(Usage(rule, 0, 0, 0, RESETS), 10_000)
    assert "until an admin changes it" in said
    assert "<t:" not in said


def test_the_operators_default_has_no_number() -> None:
    rule = Rule(0, 900, Subject.EVERY_MEMBER, 0, Unit.IMAGES, Window.DAY, 50)
    said = told(Usage(rule, 50, 0, 0, RESETS), 1)
    assert "operator has set this" in said
    assert "`0`" not in said


def test_the_operators_budget_ends_at_a_moment_too() -> None:
    rule = Rule(0, 0, Subject.OPERATOR, 0, Unit.MONEY, Window.DAY, 5_000_000)
    said = told(Usage(rule, 5_000_000, 0, 0, RESETS), 1)
    assert "operator's budget" in said
    assert f"<t:{int(RESETS.timestamp())}:R>" in said
