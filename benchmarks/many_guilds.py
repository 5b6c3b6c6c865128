"""How long the bot takes to start in 2,500 servers on two shards, and what memory that costs.

    python -m benchmarks.many_guilds [guilds] [shards]

The sandbox is in this process, the bot in one of its own, as ``bot.py run`` starts it. discord.py takes as many shards
as Discord recommends (about one a thousand servers); so that the same number is compared each time it is told here.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil

from sandbox import Sandbox

ROOT: Final = Path(__file__).parents[1]
BOT: Final = """
import sys
import bot
from cogs.client import EaselBot
original = EaselBot.__init__
def sharded(self, *given, **named):
    original(self, *given, **named)
    self.shard_count = int(sys.argv[1])
EaselBot.__init__ = sharded
sys.exit(bot.main(["run"]))
"""


async def start(sandbox: Sandbox, shards: int, folder: Path) -> tuple[float, int]:
    """Seconds until ready, and bytes resident soon after."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("EASEL_", "DISCORD_"))}
    settings = {
        "DISCORD_TOKEN": sandbox.token,
        "DISCORD_API_URL": sandbox.api_url,
        "DISCORD_GATEWAY_URL": sandbox.gateway_url,
        "DISCORD_CDN_URL": sandbox.cdn_url,
        "EASEL_DATA_DIR": str(folder),
        # A backend without a GPU or a request at the start.
        "COMFYUI_URL": "http://127.0.0.1:1",
    }
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", BOT, str(shards)],
        cwd=ROOT,
        env={**known, **settings, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 300)
        assert line == b"easel ready\n", line
        ready = time.monotonic() - began
        await asyncio.sleep(2.0)  # what the gateway has sent is taken in
        return ready, psutil.Process(process.pid).memory_info().rss
    finally:
        process.terminate()
        await process.wait()


async def main(guilds: int, shards: int) -> None:
    print(f"{'guilds':>7} {'shards':>7} {'ready after':>12} {'memory':>10}")
    for number, several in ((1, 1), (guilds, shards)):
        async with Sandbox() as sandbox:
            for index in range(number - len(sandbox.world.bot_guilds())):
                sandbox.add_guild(f"Guild {index}")
            with tempfile.TemporaryDirectory() as folder:
                ready, memory = await start(sandbox, several, Path(folder))
            there = len(sandbox.world.bot_guilds())
            print(f"{there:>7} {several:>7} {ready:>10.1f} s {memory / 2**20:>6.0f} MiB", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*(int(given) for given in sys.argv[1:])) if sys.argv[1:] else main(2500, 2))
