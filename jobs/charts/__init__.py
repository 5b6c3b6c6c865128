"""Draws a report as a picture, in a process of its own: ``python -m jobs.charts``, JSON in, PNG out.

matplotlib is slow to import and keeps its memory; the bot's own process never loads it.
"""

from typing import Final

NO_MATPLOTLIB: Final = 3
"""Exit status where matplotlib is not installed."""
