"""How long people wait behind a flood: the bot's order beside FIFO and round robin.

    python -m benchmarks.fairness

Easel's column is the real thing: intake, dispatcher and database on a clock that jumps (``benchmarks.simulation``).
The other two are played through one simulated slot. Waits are in lengths of a cheap job, from coming in to being
started. The seeds are fixed: every run prints the same.
"""

import asyncio
import heapq
import random
import statistics
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from benchmarks.simulation import FOREVER, Played, Wish, catalogue, play, simulation

COSTLY_SECONDS = 8.0


class Order(Protocol):
    """A way to choose who is next."""

    def come_in(self, wish: Wish) -> None: ...

    def next(self) -> Wish | None: ...


class Fifo:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Wish] = deque()

    def come_in(self, wish: Wish) -> None:
        self._waiting.append(wish)

    def next(self) -> Wish | None:
        return self._waiting.popleft() if self._waiting else None


class RoundRobin:
    """One job a member, in turn."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Wish]] = {}

    def come_in(self, wish: Wish) -> None:
        self._waiting.setdefault(wish.user, deque()).append(wish)

    def next(self) -> Wish | None:
        if not self._waiting:
            return None
        user = next(iter(self._waiting))
        theirs = self._waiting.pop(user)
        wish = theirs.popleft()
        if theirs:
            self._waiting[user] = theirs
        return wish


def play_simply(order: Order, wishes: Sequence[Wish], until: float) -> list[Played]:
    """Run the load through one slot."""
    coming = [(wish.at, number, wish) for number, wish in enumerate(wishes)]
    heapq.heapify(coming)
    now, played = 0.0, []
    while now <= until:
        while coming and coming[0][0] <= now:
            order.come_in(heapq.heappop(coming)[2])
        chosen = order.next()
        if chosen is None:
            if not coming:
                break
            now = coming[0][0]
            continue
        played.append(Played(chosen, None, now))
        now += chosen.seconds
    return played


async def play_for_real(wishes: Sequence[Wish], until: float) -> list[Played]:
    """Run the load through the bot."""
    with tempfile.TemporaryDirectory() as folder:
        async with simulation(Path(folder), catalogue(cheap=1, costly=COSTLY_SECONDS)) as load:
            return await play(load, wishes, until)


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks for what, and what is told of it."""

    title: str
    wishes: Sequence[Wish]
    until: float
    """When to stop, in seconds."""
    enough: float
    """When to stop where light members don't wait for the whole flood."""
    result: Callable[[Sequence[Played]], str]


def waits(played: Sequence[Played], users: range) -> list[float]:
    """The waits of these members' jobs that were started, shortest first."""
    return sorted(each.wait for each in played if each.wish.user in users and each.started is not None)


def share_of_time(played: Sequence[Played], user: int, until: float) -> float:
    """How much of the time up to a moment went to the member's jobs."""
    spent: dict[int, float] = defaultdict(float)
    for each in played:
        if each.started is not None:
            spent[each.wish.user] += max(0.0, min(each.wish.seconds, until - each.started))
    return spent[user] / sum(spent.values())


def one_behind_a_flood(flood: int) -> Load:
    """Somebody's only job comes in while the first of the flood runs."""
    wishes = [*[Wish(0.0, 0)] * flood, Wish(0.5, 1)]

    def result(played: Sequence[Played]) -> str:
        (wait,) = waits(played, range(1, 2))
        return f"{wait:.1f}"

    return Load(f"{flood} jobs of one member, 1 of another: its wait", wishes, flood + 5, 10, result)


def many_behind_a_flood(flood: int, members: int = 50) -> Load:
    """Members with a job each, one in two job lengths."""
    dice = random.Random(50)
    wishes = [*[Wish(0.0, 0)] * flood, *(Wish(dice.uniform(0, 2 * members), user) for user in range(1, members + 1))]

    def result(played: Sequence[Played]) -> str:
        found = waits(played, range(1, members + 1))
        assert len(found) == members
        return f"{statistics.median(found):.1f} / {found[-1]:.1f}"

    title = f"{flood} jobs of one member, {members} members with 1: median / worst wait"
    return Load(title, wishes, flood + members + 10, 3 * members, result)


def costly_and_cheap(seconds: int) -> Load:
    """Both always have jobs waiting; the costly member's take eight times as long and all come first."""
    costly = [Wish(0.0, 1, COSTLY_SECONDS, "costly")] * (seconds // int(COSTLY_SECONDS) + 2)
    wishes = [*costly, *[Wish(0.0, 2)] * (seconds + 2)]

    def result(played: Sequence[Played]) -> str:
        share = 100 * share_of_time(played, 1, seconds)
        return f"{share:.0f}:{100 - share:.0f}"

    title = f"a member of costly jobs ({COSTLY_SECONDS:.0f}) against one of cheap jobs (1): share of the time"
    return Load(title, wishes, seconds, seconds, result)


def zipf(jobs: int) -> Load:
    """Forty members at 95 % load, the n-th asking 1/n as often as the first: the wait of the lighter half."""
    dice = random.Random(40)
    weights = [1 / rank for rank in range(1, 41)]
    at, wishes = 0.0, []
    for _ in range(jobs):
        at += dice.expovariate(0.95)
        wishes.append(Wish(at, dice.choices(range(40), weights)[0]))

    def result(played: Sequence[Played]) -> str:
        found = waits(played, range(20, 40))
        return f"{statistics.median(found):.1f} / {found[round(len(found) * 0.99) - 1]:.1f}"

    title = "Zipf load of 40 members: median / 99th percentile wait of the lighter half"
    return Load(title, wishes, FOREVER, FOREVER, result)


LOADS = (one_behind_a_flood(1000), many_behind_a_flood(1000), costly_and_cheap(400), zipf(1000))


def main() -> None:
    """Play everything, print each row as it comes, and the table."""
    table = Table(title="Fairness (waits in lengths of a cheap job)")
    table.add_column("load")
    for name in ("FIFO", "round robin", "Easel"):
        table.add_column(name, justify="right")
    console = Console(width=160)
    for load in LOADS:
        row = (
            load.title,
            load.result(play_simply(Fifo(), load.wishes, load.until)),
            load.result(play_simply(RoundRobin(), load.wishes, load.until)),
            load.result(asyncio.run(play_for_real(load.wishes, load.enough))),
        )
        console.print(" | ".join(row), highlight=False)
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
