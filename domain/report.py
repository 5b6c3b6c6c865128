"""What is drawn when somebody looks back."""

from pydantic import BaseModel, ConfigDict


class Bar(BaseModel):
    """One bar of a chart."""

    model_config = ConfigDict(frozen=True)

    label: str
    value: float


class Report(BaseModel):
    """The charts of one picture; an empty one is left out."""

    model_config = ConfigDict(frozen=True)

    title: str
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
