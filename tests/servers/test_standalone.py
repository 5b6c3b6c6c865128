"""The stand-ins as processes of their own, for tests that kill the bot and start it again."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from backends.comfyui_protocol import filled, load_graph

RUNWARE_TASK = {"taskType": "imageInference", "model": "runware:97@1", "positivePrompt": "a circle"}
COMFYUI_GRAPH = filled(load_graph("hidream-i1-dev"), {"model.unet_name": "hidream_i1_dev_fp8.safetensors"})
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("wavespeed", "/api/v2/wavespeed-ai/hidream-i1-dev", lambda: {"prompt": "a circle"}),
        ("comfyui", "/prompt", lambda: {"prompt": COMFYUI_GRAPH}),
        (
            "openai_images",
            "/v1/images/generations",
            lambda: {"model": "HiDream-ai/HiDream-I1-Dev", "prompt": "a circle"},
        ),
        ("runware", "", lambda: [RUNWARE_TASK | {"taskUUID": str(uuid4())}]),
    ],
)
async def test_a_stand_in_counts_while_others_come_and_go(name: str, path: str, body: Callable[[], Any]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.servers.{name}", "--key", "k", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().removeprefix("listening on ").strip()
        origin = url.removesuffix("/v1")
        for _ in range(2):
            async with httpx.AsyncClient(headers={"Authorization": "Bearer k"}) as client:
                assert (await client.post(url + path, json=body())).status_code == 200
        async with httpx.AsyncClient() as client:
            await client.post(f"{origin}/control/fault", json={"route": "submit", "status": 500, "accepted": True})
            answer = await client.post(url + path, json=body(), headers={"Authorization": "Bearer k"})
            assert answer.status_code == 500
            state = (await client.get(f"{origin}/control/state")).json()
        assert state["requests"] == {"submit": 3}
        assert state["accepted"] == 3
    finally:
        process.kill()
        await process.wait()
