"""The workers that the settings name: each a place of its own, and what models they have together."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from backends.base import Backend
from backends.worker.client import WorkerBackend
from backends.worker.process import WorkerProcess, worker_command
from backends.worker.variants import local_models
from config.settings import Settings

log = logging.getLogger(__name__)

FIRST_ANSWER_SECONDS: Final = 10.0
"""How long the start waits for workers elsewhere to say which models they have."""
AGAIN_SECONDS: Final = 0.5


async def worker_places(settings: Settings, root: Path) -> dict[str, WorkerBackend]:
    """Every worker by the name of its place; one that the bot starts itself is started.

    ``root``: the folder of ``bot.py``. Empty where neither a worker nor a local model is set.
    """
    urls = settings.worker_urls
    if urls:
        token = settings.easel_worker_token.get_secret_value() if settings.easel_worker_token else None
        return {place: WorkerBackend.at_url(url, token) for place, url in zip(place_names(urls), urls, strict=True)}
    if local_models(settings.easel_local_model, settings.easel_local_edit_model):
        process = WorkerProcess(worker_command(root))
        await process.start()
        return {WorkerBackend.key: WorkerBackend.on_socket(process)}
    return {}


def place_names(urls: Iterable[str]) -> list[str]:
    """What each worker is called in the log: ``worker`` where there is one, else with its host, port and path."""
    urls = list(urls)
    if len(urls) == 1:
        return [WorkerBackend.key]
    parts = [urlsplit(url) for url in urls]
    return [f"{WorkerBackend.key} {part.netloc.rpartition('@')[2]}{part.path}" for part in parts]


async def discovered_models(backends: Iterable[Backend]) -> frozenset[str]:
    """Keys of the models that workers elsewhere have, from those that answer within ``FIRST_ANSWER_SECONDS``."""
    workers = [backend for backend in backends if isinstance(backend, WorkerBackend) and backend.is_elsewhere]
    found = await asyncio.gather(*(_models_of(worker) for worker in workers))
    return frozenset().union(*found)


async def _models_of(worker: WorkerBackend) -> frozenset[str]:
    try:
        async with asyncio.timeout(FIRST_ANSWER_SECONDS):
            while True:
                health = await worker.health()
                if health.models is not None:
                    return health.models
                await asyncio.sleep(AGAIN_SECONDS)
    except TimeoutError:
        return frozenset()
