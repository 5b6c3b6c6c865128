"""What is drawn when somebody looks back: charts whose words are in their language already."""

from pydantic import BaseModel, ConfigDict

from domain.language import Language


class Bar(BaseModel):
    """One bar of a chart."""

    model_config = ConfigDict(frozen=True)

    label: str
    value: float


class Headings(BaseModel):
    """What stands above each chart."""

    model_config = ConfigDict(frozen=True)

    days: str
    members: str
    models: str
    money: str
    budgets: str


class Report(BaseModel):
    """The charts of one picture; an empty one is left out."""

    model_config = ConfigDict(frozen=True)

    language: Language
    """Of all words in it."""
    title: str
    headings: Headings
    decimal: str = "."
    """What the language writes before tenths."""
    days: tuple[Bar, ...]
    """Pictures a day, every day of the report, oldest first."""
    members: tuple[Bar, ...] = ()
    """Pictures of those who had most."""
    models: tuple[Bar, ...] = ()
    """Pictures by model."""
    money: tuple[Bar, ...] = ()
    """Dollars a day; empty where nothing was paid for."""
    budgets: tuple[tuple[str, float, float], ...] = ()
    """What a rule about money says, dollars used, dollars allowed."""


class Drawing(BaseModel):
    """What is to be drawn, and the same in English for where no font has the language's letters."""

    model_config = ConfigDict(frozen=True)

    report: Report
    in_english: Report
