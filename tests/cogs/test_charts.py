"""The words of the charts of /usage."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from cogs.ui.charts import drawing
from cogs.ui.language import speaking
from domain.language import Language
from domain.money import MicroUSD
from domain.quota import Rule, Subject, Unit, Usage, Window
from jobs.reports import Review

DAY = date(2026, 3, 28)
REVIEW = Review(
    zone=ZoneInfo("Europe/Berlin"),
    days=((DAY, 2),),
    members=((1, 2),),
    models=(("tiny", 2),),
    money=((DAY, MicroUSD(250_000)),),
)
BUDGET = Usage(
    Rule(1, 10, Subject.GUILD, 10, Unit.MONEY, Window.DAY, 1_500_000), 750_000, 0, 0, datetime(2026, 3, 29, tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("language", "day", "heading"),
    [
        (Language.ENGLISH, "Mar 28", "Pictures by day"),
        (Language.GERMAN, "28. März", "Bilder nach Tag"),
        (Language.FRENCH, "28 mars", "Images par jour"),
        (Language.SPANISH, "28 mar", "Imágenes por día"),
        (Language.JAPANESE, "3月28日", "日別の画像"),
        (Language.CHINESE, "3月28日", "每日图片"),
    ],
)
def test_titles_days_and_budgets_are_in_the_language_that_is_spoken(language: Language, day: str, heading: str) -> None:
    with speaking(language):
        made = drawing(REVIEW, [BUDGET])
    report = made.report
    assert (report.language, report.days[0].label, report.headings.days) == (language, day, heading)
    assert report.money[0].value == 0.25
    assert report.members[0].label == "#1"
    assert report.budgets[0][1:] == (0.75, 1.5)
    assert report.decimal == ("," if language in (Language.GERMAN, Language.FRENCH, Language.SPANISH) else ".")
    # Whatever is spoken, English is there for where no font has the letters.
    assert made.in_english.title == "The last 1 day (Europe/Berlin)"
    assert made.in_english.budgets[0][0] == "$1.50 a day"
    if language is not Language.ENGLISH:
        assert set(report.headings.model_dump().values()).isdisjoint(made.in_english.headings.model_dump().values())
        assert report.budgets[0][0] != made.in_english.budgets[0][0]
        assert report.title != made.in_english.title
