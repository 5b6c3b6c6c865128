"""What the doctor found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    good: bool
    found: str
    mend: str = ""
    """What to do about it; empty where all is well."""
