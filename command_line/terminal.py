"""How a command speaks: lines on standard output, and an exit status."""

import sys
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a supervisor or a script is told."""

    FINE = 0
    BROKEN = 1
    """Anything but bad usage or configuration."""
    MISCONFIGURED = 2
    """Bad usage or configuration: one line has said what and how to mend it."""


def say(line: str) -> None:
    """Print the line, at once even where the output is a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
