"""Charts are drawn in the reader's language where a font has its letters, and in English where none has."""

import io
import warnings
from typing import Any

import pytest

from domain.language import Language
from domain.report import Bar, Drawing, Headings, Report
from jobs.charts import __main__ as charts

WORDS = {
    Language.ENGLISH: "The last 2 days",
    Language.GERMAN: "Die letzten Tage, größer",
    Language.FRENCH: "Les derniers jours, où ça paraît œuvré",
    Language.SPANISH: "¿Los últimos días? ñ",
    Language.JAPANESE: "過去2日間の画像とメンバー",
    Language.CHINESE: "最近两天的图片与成员",
}


def report(language: Language, decimal: str = ".") -> Report:
    """Charts of every kind, with what matplotlib might take for a formula."""
    word = WORDS[language]
    return Report(
        language=language,
        title=word,
        headings=Headings(days=word, members=word, models=word, money=word, budgets=word),
        decimal=decimal,
        days=(Bar(label=word[:3], value=2), Bar(label="2.3.", value=0)),
        members=(Bar(label="$x^$", value=1),),
        models=(Bar(label="hidream-i1-dev", value=3),),
        money=(Bar(label=word[:3], value=0.25), Bar(label="2.3.", value=0)),
        budgets=(("$1.00 a day", 0.625, 1.0), ("$0.00 a day", 0.0, 0.0)),
    )


def drawn(language: Language = Language.ENGLISH, decimal: str = ".") -> Drawing:
    return Drawing(report=report(language, decimal), in_english=report(Language.ENGLISH))


def texts(figure: Any) -> list[str]:
    """Everything that is written in the picture."""
    import matplotlib.text

    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("language", Language)
def test_whatever_is_drawn_has_no_boxes(language: Language) -> None:
    """With whatever fonts this machine has."""
    figure = charts.figure_of(drawn(language))
    with warnings.catch_warnings():
        # matplotlib warns of each character that its fonts lack.
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    assert WORDS[language] in texts(figure) or (
        language in charts.FAMILIES and WORDS[Language.ENGLISH] in texts(figure)
    )


@pytest.mark.parametrize("language", charts.FAMILIES)
def test_without_a_font_for_its_letters_a_language_gives_way_to_english(
    language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(charts.FAMILIES, language, ("No such font",))
    figure = charts.figure_of(drawn(language))
    assert WORDS[Language.ENGLISH] in texts(figure)
    assert WORDS[language] not in texts(figure)


@pytest.mark.parametrize("language", charts.FAMILIES)
def test_with_a_font_for_its_letters_a_language_is_kept(language: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(charts.FAMILIES, language, ("No such font", "DejaVu Serif"))
    assert charts.readable(drawn(language)) == (report(language), ["DejaVu Serif", "DejaVu Sans"])


def test_tenths_are_written_as_the_language_writes_them() -> None:
    figure = charts.figure_of(drawn(Language.GERMAN, ","))
    figure.savefig(io.BytesIO(), format="png")
    written = texts(figure)
    assert "62,5" in written
    assert "62.5" not in written
    # On the axis of the money.
    assert "0,2" in written
