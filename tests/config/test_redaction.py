"""No configured secret reaches the log."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from aiohttp import web

from config.loading import load
from config.redaction import Redaction

CANARY = r"canary/5f0b\7d1c'9e"
SETTINGS = ("DISCORD_TOKEN", "EASEL_WORKER_TOKEN", "WAVESPEED_API_KEY", "RUNWARE_API_KEY", "OPENAI_IMAGES_API_KEY")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(Redaction.of(load({"WAVESPEED_API_KEY": CANARY}, tmp_path)))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield logging.getLogger("somewhere"), written
    root.removeHandler(handler)
    root.setLevel(level)


def test_every_way_into_the_log(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.info("a key: %s", CANARY)
    logger.info("headers: %r", {"Authorization": f"Bearer {CANARY}".encode()})
    logger.info("body: %s", json.dumps({"key": CANARY}))
    logger.info("url: https://example/?key=%s", quote(CANARY, safe=""))
    logger.info(f"{CANARY} 100%")
    logger.info("stack", stack_info=True)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("it broke")
    text = written.getvalue()
    assert "it broke" in text
    assert "ValueError: …" in text
    assert "… 100%" in text
    assert "canary" not in text
    assert "5f0b" not in text.replace("CANARY", "")


def test_one_secret_inside_another() -> None:
    assert Redaction(["secret-a", "secret-a-and-b"]).redacted("x secret-a-and-b secret-a") == "x … …"


def test_placeholders_are_no_secrets() -> None:
    assert Redaction(["x", ""]).redacted("text") == "text"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_secret_among_the_settings_is_known(name: str, tmp_path: Path) -> None:
    assert Redaction.of(load({name: "canary-0123"}, tmp_path)).redacted("canary-0123") == "…"


async def test_a_vendor_that_echoes_the_key_in_its_headers(log: tuple[logging.Logger, io.StringIO]) -> None:
    _logger, written = log

    async def echo(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-Echo": request.headers["Authorization"]})

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            await client.get(url, headers={"Authorization": f"Bearer {CANARY}"})
    finally:
        await runner.cleanup()
    text = written.getvalue()
    assert "X-Echo" in text
    assert "canary" not in text
