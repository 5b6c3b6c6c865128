"""How long the heart's loops rest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rests:
    """All in seconds."""

    fruitless: float = 0.05
    """Between two looks at the line where the first found nothing to start and no slot has become free."""
    mend: float = 10.0
    """Until what an error of ours (a disk that is full, say) left undone is tried again."""
    forecast: float = 0.2
    """At the most, after the line was played forward for those who ask how long they wait."""
