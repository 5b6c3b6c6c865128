"""How many follow-ups an interaction has left where the bot is only because somebody's account brings it.

Five: https://discord.com/developers/docs/interactions/receiving-and-responding#create-followup-message. Edits of what
was answered are not counted.
"""

import time
from collections.abc import Callable
from typing import Final

MOST: Final = 5
TOKEN_SECONDS: Final = 900.0
"""After this nothing can be sent through the interaction anyway."""


class FollowUps:
    """Counts them, by the interactions' tokens. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def take(self, token: str) -> bool:
        """One more is about to be sent; False where that would be one too many."""
        self._forget()
        sent = self._sent.get(token, 0)
        if sent >= MOST:
            return False
        self._sent[token] = sent + 1
        self._since.setdefault(token, self._clock())
        return True

    def _forget(self) -> None:
        over = self._clock() - TOKEN_SECONDS
        # In the order in which they came: those that are over stand first.
        while self._since and self._since[oldest := next(iter(self._since))] <= over:
            del self._since[oldest], self._sent[oldest]
