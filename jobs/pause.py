"""The operator's switch: while a file ``paused`` lies in the data folder, nothing new is taken in, in any server.

A file, so that it needs no restart and outlives one; ``bot.py pause`` and ``bot.py resume`` make and remove it.
"""

from pathlib import Path
from typing import Final

FILE: Final = "paused"


def is_paused(data_dir: Path) -> bool:
    """Whether the operator has paused the bot."""
    return (data_dir / FILE).exists()


def pause(data_dir: Path) -> None:
    """Take in nothing new from now on."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / FILE).touch()


def resume(data_dir: Path) -> None:
    """Take jobs in again."""
    (data_dir / FILE).unlink(missing_ok=True)
