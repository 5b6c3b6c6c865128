"""How often progress may be edited into messages. Discord documents no limit for edits, so this one is modest:
10 a second for the bot, one a second in a channel, one every two seconds on a card.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

PER_SECOND: Final = 10
CHANNEL_SECONDS: Final = 1.0
CARD_SECONDS: Final = 2.0


class EditBudget:
    """Says whether an edit may be sent now. ``clock`` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=PER_SECOND)
        self._last: dict[Hashable, float] = {}
        self.sent = 0
        """Edits that were let through."""
        self.put_off = 0
        """Times that an edit had to wait for its turn."""

    def take(self, channel_id: int, message_id: int) -> float:
        """0 where the edit may be sent now (it is counted), else the seconds until it is worth asking again."""
        now = self._clock()
        card, channel = (channel_id, message_id), channel_id
        wait = max(
            self._sent[0] + 1.0 - now if len(self._sent) == PER_SECOND else 0.0,
            self._last.get(channel, -CHANNEL_SECONDS + now) + CHANNEL_SECONDS - now,
            self._last.get(card, -CARD_SECONDS + now) + CARD_SECONDS - now,
        )
        if wait > 1e-9:
            self.put_off += 1
            return wait
        self.sent += 1
        self._sent.append(now)
        self._forget(now)
        self._last[channel] = self._last[card] = now
        return 0.0

    def _forget(self, now: float) -> None:
        # What is older than the longest wait holds nobody up any more.
        for key in [key for key, at in self._last.items() if now - at >= CARD_SECONDS]:
            del self._last[key]
