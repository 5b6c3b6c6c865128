"""The stand-ins as processes of their own, for tests that kill the bot and start it again."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [("wavespeed", "/api/v2/wavespeed-ai/hidream-i1-dev", {"prompt": "a circle"})],
)
async def test_a_stand_in_counts_while_others_come_and_go(name: str, path: str, body: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.servers.{name}", "--key", "k", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().removeprefix("listening on ").strip()
        for _ in range(2):
            async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer k"}) as client:
                assert (await client.post(path, json=body)).status_code == 200
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/control/fault", json={"route": "submit", "status": 500, "accepted": True})
            await client.post("/control/plan", json={"statuses": ["failed"], "error": "no"})
            answer = await client.post(path, json=body, headers={"Authorization": "Bearer k"})
            assert answer.status_code == 500
            state = (await client.get("/control/state")).json()
        assert state["requests"] == {"submit": 3}
        assert state["accepted"] == 3
    finally:
        process.kill()
        await process.wait()
