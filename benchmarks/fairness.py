"""How long people wait behind a flood: the fair order beside FIFO and round robin, on a clock of its own.

    python -m benchmarks.fairness

Every load is played three times through one simulated slot (a job occupies it for its cost in seconds). The fair
order is the bot's own: tags as intake gives them, ``fair_order`` and ``charge`` as the dispatcher calls them.
Waits are in lengths of a cheap job, from coming in to being started. The seed is fixed: every run prints the same.
"""

import heapq
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.table import Table

from db.jobs import FairClocks, Waiting
from jobs.fairness import charge, fair_order, member_tags

GUILD = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """One job that comes in."""

    at: float
    user: int
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """One job that was started."""

    wish: Wish
    at: float


class Order(Protocol):
    """A way to choose who is next."""

    def come_in(self, number: int, wish: Wish) -> None: ...

    def next(self) -> Wish | None: ...


class Fifo:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Wish] = deque()

    def come_in(self, number: int, wish: Wish) -> None:
        self._waiting.append(wish)

    def next(self) -> Wish | None:
        return self._waiting.popleft() if self._waiting else None


class RoundRobin:
    """One job a member, in turn."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Wish]] = {}

    def come_in(self, number: int, wish: Wish) -> None:
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


class Fair:
    """The bot's own order."""

    def __init__(self) -> None:
        self._clocks = FairClocks(0.0, {})
        self._finish: dict[int, float] = {}
        self._waiting: dict[str, Waiting] = {}
        self._wishes: dict[str, Wish] = {}

    def come_in(self, number: int, wish: Wish) -> None:
        virtual = self._clocks.guilds.get(GUILD, (0.0, 0.0))[1]
        start, finish = member_tags(self._finish.get(wish.user, 0.0), virtual, wish.cost)
        self._finish[wish.user] = finish
        key = str(number)
        self._waiting[key] = Waiting(key, GUILD, wish.user, start, number, wish.cost, 0, ())
        self._wishes[key] = wish

    def next(self) -> Wish | None:
        job = next(fair_order(self._waiting.values(), self._clocks), None)
        if job is None:
            return None
        after = charge(job, self._clocks)
        self._clocks = FairClocks(after.virtual_time, {GUILD: (after.guild_finish, after.guild_virtual)})
        del self._waiting[job.id]
        return self._wishes.pop(job.id)


ORDERS: dict[str, Callable[[], Order]] = {"FIFO": Fifo, "round robin": RoundRobin, "Easel (SFQ)": Fair}


def play(order: Order, wishes: Sequence[Wish], until: float = float("inf")) -> list[Start]:
    """Run the load through one slot."""
    coming = [(wish.at, number, wish) for number, wish in enumerate(wishes)]
    heapq.heapify(coming)
    now, started = 0.0, []
    while now < until:
        while coming and coming[0][0] <= now:
            _, number, wish = heapq.heappop(coming)
            order.come_in(number, wish)
        chosen = order.next()
        if chosen is None:
            if not coming:
                break
            now = coming[0][0]
            continue
        started.append(Start(chosen, now))
        now += chosen.cost
    return started


def waits(started: Sequence[Start], users: range) -> list[float]:
    """The waits of these users, in seconds (a cheap job's length is one)."""
    return sorted(start.at - start.wish.at for start in started if start.wish.user in users)


def flood() -> list[Wish]:
    """One member's thousand jobs at the start."""
    return [Wish(0.0, 0) for _ in range(1000)]


def one_behind_a_flood(order: Order) -> str:
    """Somebody's only job comes in while the first of the flood runs."""
    (wait,) = waits(play(order, [*flood(), Wish(0.5, 1)]), range(1, 2))
    return f"{wait:.1f}"


def fifty_behind_a_flood(order: Order) -> str:
    """Fifty members with a job each, spread over a hundred job lengths."""
    dice = random.Random(50)
    found = waits(play(order, [*flood(), *(Wish(dice.uniform(0, 100), user) for user in range(1, 51))]), range(1, 51))
    return f"{statistics.median(found):.1f} / {found[-1]:.1f}"


def costly_and_cheap(order: Order) -> str:
    """Both always have jobs waiting; the costly member's take eight times as long and all come first."""
    wishes = [Wish(0.0, 1, 8.0) for _ in range(500)] + [Wish(0.0, 2, 1.0) for _ in range(4000)]
    spent: Counter[int] = Counter()
    for start in play(order, wishes, until=2000.0):
        spent[start.wish.user] += round(start.wish.cost)
    share = 100 * spent[1] / spent.total()
    return f"{share:.0f}:{100 - share:.0f}"


def zipf(order: Order) -> str:
    """Forty members at 95 % load, the n-th asking 1/n as often as the first: the wait of the lighter half."""
    dice = random.Random(40)
    weights = [1 / rank for rank in range(1, 41)]
    at, wishes = 0.0, []
    for _ in range(3000):
        at += dice.expovariate(0.95)
        wishes.append(Wish(at, dice.choices(range(40), weights)[0]))
    found = waits(play(order, wishes), range(20, 40))
    return f"{statistics.median(found):.1f} / {found[round(len(found) * 0.99) - 1]:.1f}"


LOADS: dict[str, Callable[[Order], str]] = {
    "1000 jobs of one member, 1 of another: its wait": one_behind_a_flood,
    "1000 jobs of one member, 50 members with 1: median / worst wait": fifty_behind_a_flood,
    "a member of costly jobs (8) against one of cheap jobs (1): share of the time": costly_and_cheap,
    "Zipf load of 40 members: median / 99th percentile wait of the lighter half": zipf,
}


def main() -> None:
    """Play everything and print the table."""
    table = Table(title="Fairness (waits in lengths of a cheap job)")
    table.add_column("load")
    for name in ORDERS:
        table.add_column(name, justify="right")
    for title, load in LOADS.items():
        table.add_row(title, *(load(order()) for order in ORDERS.values()))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
