"""The words of the charts. They are drawn in a process of their own, which has no catalogue."""

from collections.abc import Sequence
from datetime import date

from babel.dates import format_skeleton
from babel.numbers import get_decimal_symbol

from cogs.ui import words
from cogs.ui.language import Plural, babel_locale, say, speaking, spoken
from domain.language import Language
from domain.quota import Usage
from domain.report import Bar, Drawing, Headings, Report
from jobs.reports import Review


def drawing(review: Review, budgets: Sequence[Usage]) -> Drawing:
    """The charts in the language that is being spoken. ``budgets``: the server's rules about money, and their usage."""
    with speaking(Language.ENGLISH):
        in_english = _report(review, budgets)
    return Drawing(report=_report(review, budgets), in_english=in_english)


def _report(review: Review, budgets: Sequence[Usage]) -> Report:
    days = Plural("The last {count} day ({zone})", "The last {count} days ({zone})")
    return Report(
        language=spoken(),
        title=say(days, count=len(review.days), zone=review.zone.key),
        headings=Headings(
            days=say("Pictures by day"),
            members=say("Pictures by member"),
            models=say("Pictures by model"),
            money=say("US dollars by day"),
            budgets=say("Money against budget (%)"),
        ),
        decimal=get_decimal_symbol(babel_locale(spoken())),
        days=tuple(Bar(label=_day(day), value=pictures) for day, pictures in review.days),
        members=tuple(Bar(label=f"#{rank}", value=count) for rank, (_, count) in enumerate(review.members, start=1)),
        models=tuple(Bar(label=model, value=count) for model, count in review.models),
        money=tuple(Bar(label=_day(day), value=amount / 1e6) for day, amount in review.money),
        budgets=tuple(
            (
                words.allowance(usage.rule.unit, usage.rule.limit, usage.rule.window),
                usage.used / 1e6,
                usage.allowed / 1e6,
            )
            for usage in budgets
        ),
    )


def _day(day: date) -> str:
    """``Mar 28``, ``28. März``, ``3月28日``."""
    return format_skeleton("MMMd", day, locale=babel_locale(spoken()))
