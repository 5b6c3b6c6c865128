"""How honest the told wait is: what the card says at the door against when the job was really started.

    python -m benchmarks.wait_estimate [--jobs N]

Intake, dispatcher, database and the learned seconds are the real ones, on a clock that jumps
(``benchmarks.simulation``). Jobs differ from what they usually take by a lognormal factor (sigma 0.3). Only jobs that
waited, or were told that they would, count. The error is told minus real; the share is that of the real wait (or of ten
seconds, where it was shorter). The seeds are fixed: every run prints the same.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.simulation import Played, Wish, catalogue, play, simulation

SECONDS = 10.0
"""What a picture of the model ``cheap`` takes."""
COSTLY_SECONDS = 60.0
SIGMA = 0.3
LEAST = 0.05
"""Seconds: less is no wait."""


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks for what on how much."""

    title: str
    wishes: Sequence[Wish]
    slots: int = 1
    guess: float = SECONDS
    """What the catalogue says that a picture of ``cheap`` takes."""
    max_running_per_user: int | None = None


@dataclass(frozen=True, slots=True)
class Errors:
    """Of the jobs that waited."""

    count: int
    wait: float
    """Median of the real waits, in seconds."""
    median: float
    """Of the error's size, in seconds …"""
    p90: float
    bias: float
    """Mean of told minus real, in seconds; below 0: people wait longer than they are told."""
    median_share: float
    p90_share: float


def errors(played: Sequence[Played]) -> Errors:
    """Compare what was told with what happened."""
    pairs = [
        (each.told, each.wait)
        for each in played
        if each.told is not None and each.started is not None and max(each.told, each.wait) > LEAST
    ]
    sizes = sorted(abs(told - wait) for told, wait in pairs)
    shares = sorted(abs(told - wait) / max(wait, SECONDS) for told, wait in pairs)
    last = round(len(pairs) * 0.9) - 1
    return Errors(
        count=len(pairs),
        wait=statistics.median(wait for _, wait in pairs),
        median=statistics.median(sizes),
        p90=sizes[last],
        bias=statistics.fmean(told - wait for told, wait in pairs),
        median_share=statistics.median(shares),
        p90_share=shares[last],
    )


class _Dice:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def job(self, at: float, user: int, model: str = "cheap") -> Wish:
        usual = SECONDS if model == "cheap" else COSTLY_SECONDS
        return Wish(at, user, usual * self._random.lognormvariate(0, SIGMA), model)

    def poisson(self, jobs: int, load: float, members: int, costly: float = 0.0) -> list[Wish]:
        """Jobs that keep one slot busy for the ``load`` of the time."""
        mean = SECONDS * (1 - costly) + COSTLY_SECONDS * costly
        at, wishes = 0.0, []
        for _ in range(jobs):
            at += self._random.expovariate(load / mean)
            model = "costly" if self._random.random() < costly else "cheap"
            wishes.append(self.job(at, self._random.randrange(members), model))
        return wishes


def loads(jobs: int) -> list[Load]:
    """All of them, of about so many jobs each."""
    few = jobs // 4
    crowd = _Dice(1)
    flood = _Dice(2)
    return [
        Load("one slot, 80 % busy, 20 members", _Dice(3).poisson(jobs, 0.8, 20)),
        Load("the same; the catalogue guesses half", _Dice(3).poisson(jobs, 0.8, 20), guess=SECONDS / 2),
        Load("the same; the catalogue guesses twice", _Dice(3).poisson(jobs, 0.8, 20), guess=SECONDS * 2),
        Load("two slots, 80 % busy, a fifth takes 60 s", _Dice(4).poisson(jobs, 1.6, 20, costly=0.2), slots=2),
        Load("a crowd at once, one job each", [crowd.job(0.0, user) for user in range(jobs // 2)]),
        Load(
            "one member's flood, and others at 30 %",
            [*(flood.job(0.0, 99) for _ in range(few)), *flood.poisson(few, 0.3, 20)],
        ),
        Load(
            "three slots, one at a time for each of 4 members",
            [flood.job(0.0, number % 4) for number in range(few)],
            slots=3,
            max_running_per_user=1,
        ),
    ]


async def run(load: Load) -> Errors:
    """Play a load in a house of its own."""
    with tempfile.TemporaryDirectory() as folder:
        models = catalogue(cheap=load.guess, costly=COSTLY_SECONDS)
        opened = simulation(Path(folder), models, slots=load.slots, max_running_per_user=load.max_running_per_user)
        async with opened as house:
            return errors(await play(house, load.wishes))


def main() -> None:
    """Play everything, print each result as it comes, and the table."""
    parser = argparse.ArgumentParser(description="Error of the told wait.")
    parser.add_argument("--jobs", type=int, default=300)
    table = Table(title="Error of the told wait, in seconds (in brackets: share of the real wait)")
    table.add_column("load")
    for column in ("jobs that waited", "median wait", "median error", "90th percentile", "bias"):
        table.add_column(column, justify="right")
    console = Console(width=150)
    for load in loads(parser.parse_args().jobs):
        found = asyncio.run(run(load))
        console.print(f"{load.title}: {found}", highlight=False)
        table.add_row(
            load.title,
            str(found.count),
            f"{found.wait:.0f}",
            f"{found.median:.1f} ({found.median_share:.0%})",
            f"{found.p90:.1f} ({found.p90_share:.0%})",
            f"{found.bias:+.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
