"""``bot.py sandbox``: the whole bot against a Discord of its own on loopback."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from command_line.terminal import say
from config.loading import load
from config.settings import Settings
from domain.errors import Code, OperatorError


@asynccontextmanager
async def sandboxed(settings: Settings, port: int, root: Path) -> AsyncIterator[Settings]:
    """Start the sandbox; yields the settings with which the bot is in it, and stops it at the block's end.

    The data lie in a folder that goes with the block, and the bundled models paint, where the settings name no
    others. ``root``: the folder of ``bot.py``. Raises OperatorError where the port cannot be used.
    """
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "sandbox", "--port", str(port), "--exit-with-stdin"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=root,
        # Ctrl-C reaches the bot alone; it closes the sandbox last.
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        answer = (await process.stdout.readline()).decode()
        url = answer.removeprefix("sandbox ready ").strip()
        if not url.startswith("http"):
            raise OperatorError(Code.SETTING_INVALID, setting="--port", problem=f"port {port} cannot be used")
        with tempfile.TemporaryDirectory(prefix="easel-sandbox-") as folder:
            own = {
                "DISCORD_TOKEN": "sandbox.token.not-a-secret",
                "DISCORD_API_URL": f"{url}api/v10",
                "DISCORD_GATEWAY_URL": f"{url.replace('http', 'ws', 1)}gateway",
                "DISCORD_CDN_URL": f"{url}cdn",
            }
            defaults = {
                "EASEL_DATA_DIR": folder,
                "EASEL_LOCAL_MODEL": "tiny",
                "EASEL_LOCAL_EDIT_MODEL": "tiny",
                # Who tries the bot on their own machine sees all of it.
                "EASEL_DIRECT_MESSAGES": "local",
            }
            unset = {name: value for name, value in defaults.items() if name.lower() not in settings.model_fields_set}
            # In the environment, so that the worker that the bot starts has them too.
            os.environ.update(own | unset)
            say(f"Open {url} in a browser.")
            yield load()
    finally:
        process.stdin.close()
        await process.wait()
