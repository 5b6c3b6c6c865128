"""One process that asks for pictures as fast as it can: ``python -m tests.jobs.hammer FOLDER TRIES``.

Prints a line once it is ready, begins when its standard input closes, and prints how often it was let in. It goes
round the lock on the data folder, which lets only one bot in: what holds here is the store alone.
"""

import asyncio
import os
import sys
from pathlib import Path

from domain.job import Place
from domain.quota import Amounts
from jobs.quotas import Asker, QuotaExceeded
from tests.building import CHANNEL, GUILD, USER, open_house


async def main(folder: Path, tries: int) -> int:
    """How many reservations were taken."""
    asker, one, taken = Asker(Place(GUILD, CHANNEL, USER)), Amounts(images=1), 0
    async with open_house(folder, working=False) as house:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for number in range(tries):
            try:
                async with house.database.transaction() as tx:
                    await house.quotas.check(tx, asker, one)
                    await house.ledger.reserve(tx, f"{os.getpid()}-{number}", asker.place, one, house.clock())
            except QuotaExceeded:
                continue
            taken += 1
    return taken


if __name__ == "__main__":
    print(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]))))
