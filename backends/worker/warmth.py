"""Which replica has a job's model and prompt warm: how the bot asks for it, and what the router remembers.

Behind Ray Serve's proxy all replicas are one URL. The bot names the job's model and its prompt, the latter as a number
that says nothing to anybody else, in the header by which Serve's routers are told what to look for. Imports no Ray.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

HEADER: Final = "serve_multiplexed_model_id"
"""Ray Serve's: https://docs.ray.io/en/latest/serve/model-multiplexing.html. A plain worker does not look at it."""
PROMPTS_REMEMBERED: Final = 24
"""Prompts whose embeddings a worker is taken to have still: its cache holds about thirty of the full-size encoders."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job would find warm."""

    model: str
    prompt: str
    """A number for the prompt, the same for the same prompt as long as the bot's process lives."""

    @classmethod
    def of(cls, model: str, prompt: str) -> Self:
        """For a job. Python's hash has a secret of each process in it, so that no log tells the prompt."""
        return cls(model, f"{hash(prompt) & 0xFFFFFFFFFFFFFFFF:016x}")

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """None for what is no such header."""
        prompt, _, model = header.partition(" ")
        return cls(model, prompt) if model else None

    def __str__(self) -> str:
        return f"{self.prompt} {self.model}"


@dataclass(slots=True)
class _Painter:
    """What a replica did last."""

    model: str
    turn: int
    """The higher, the later it had its last job."""
    prompts: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Memory:
    """What each replica was last asked to paint."""

    def __init__(self) -> None:
        self._painters: dict[str, _Painter] = {}
        self._turn = 0

    def note(self, replica: str, wanted: Wanted) -> None:
        """The replica has such a job now."""
        self._turn += 1
        painter = self._painters.setdefault(replica, _Painter(wanted.model, self._turn))
        painter.model, painter.turn = wanted.model, self._turn
        painter.prompts[wanted.prompt] = None
        painter.prompts.move_to_end(wanted.prompt)
        if len(painter.prompts) > PROMPTS_REMEMBERED:
            painter.prompts.popitem(last=False)

    def keep(self, replicas: Iterable[str]) -> None:
        """Forget all others: they are gone."""
        there = set(replicas)
        self._painters = {replica: painter for replica, painter in self._painters.items() if replica in there}

    def choice(
        self, replicas: Iterable[str], free: Container[str], wanted: Wanted, waits: bool
    ) -> Sequence[Sequence[str]]:
        """Whom to ask for a job, one group after the other: those that are free, the best first, then the others.

        ``waits``: where only busy ones are warm, the job still has time to ask no others. ``free``: those that seem
        so; one that seems busy may have just become free.
        """
        ranked = self._ranked(replicas, wanted)
        warm = [replica for replica in ranked if self._is_warm(replica, wanted)]
        if waits and warm and not any(replica in free for replica in warm):
            return [warm]
        idle = [[replica] for replica in ranked if replica in free]
        return [*idle, [replica for replica in ranked if replica not in free]]

    def _is_warm(self, replica: str, wanted: Wanted) -> bool:
        """It has the prompt encoded, or painted with the model last."""
        painter = self._painters.get(replica)
        return painter is not None and (wanted.prompt in painter.prompts or painter.model == wanted.model)

    def _ranked(self, replicas: Iterable[str], wanted: Wanted) -> list[str]:
        """The best first: the prompt, then the model, then one that has nothing to lose.

        That is one that has painted nothing yet, or else the one that was idle for longest.
        """

        def rank(replica: str) -> tuple[bool, bool, int]:
            painter = self._painters.get(replica)
            if painter is None:
                return True, True, 0
            return wanted.prompt not in painter.prompts, painter.model != wanted.model, painter.turn

        return sorted(replicas, key=rank)
