"""Vendors may call when a task is over, so that it is looked at at once.

A call only wakes the poller: what it says is not believed, and one that never comes costs nothing but a few seconds.

WaveSpeedAI signs: ``webhook-signature: v3,<hex>`` is the HMAC-SHA256 of ``id.timestamp.body`` with the account's
secret (GET /api/v3/webhook/secret, without its ``whsec_``); older than 300 s is refused. Runware's page documents no
signature: each task has a path of its own that nobody can guess.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Self, TypeVar

from aiohttp import web
from pydantic import JsonValue, SecretStr

from backends.clock import Clock
from config.listening import ListenAddress
from config.settings import Settings
from domain.errors import Code, OperatorError

log = logging.getLogger(__name__)

REPLAY_SECONDS: Final = 300
MAX_BODY_BYTES: Final = 2**20
"""Larger ones have a picture inside, which is fetched by the poll."""
SECRET_SECONDS: Final = 60.0
"""A secret that does not fit is asked for again at most so often: it may have been changed."""
_REMEMBERED: Final = 4096

Value = TypeVar("Value")
GetSecret = Callable[[], Awaitable[SecretStr | None]]


class Webhooks:
    """Tells pollers to look now. ``public_url`` is where vendors reach ``listening``."""

    def __init__(self, public_url: str, *, now: Callable[[], float] = time.time) -> None:
        """``now``: seconds since the epoch, for the age of a signature."""
        self._public_url = public_url.rstrip("/")
        self._now = now
        self._sleeping: dict[str, asyncio.Event] = {}
        self._early: OrderedDict[str, None] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._get_secret: GetSecret | None = None
        self._secret: SecretStr | None = None
        self._secret_at: float | None = None
        self._secret_lock = asyncio.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """None where nothing is to be listened for. Raises OperatorError where half of it is set."""
        listen, public_url = settings.easel_webhook_listen, settings.easel_webhook_public_url
        if listen is None and public_url is None:
            return None
        if listen is None or public_url is None:
            missing = "EASEL_WEBHOOK_LISTEN" if listen is None else "EASEL_WEBHOOK_PUBLIC_URL"
            raise OperatorError(Code.SETTING_INVALID, setting=missing, problem="webhooks need both settings")
        return cls(str(public_url))

    # For backends.

    def signed_url(self, get_secret: GetSecret) -> str:
        """Where WaveSpeedAI calls; ``get_secret`` asks it for the account's secret."""
        self._get_secret = get_secret
        return f"{self._public_url}/webhooks/wavespeed"

    def private_url(self, remote_id: str) -> str:
        """Where Runware calls about this task, and nobody else."""
        path = secrets.token_urlsafe(32)
        _remember(self._paths, path, remote_id)
        return f"{self._public_url}/webhooks/runware/{path}"

    async def sleep(self, clock: Clock, remote_id: str, seconds: float) -> None:
        """Let so many seconds pass, fewer where a webhook comes (or came since the last sleep)."""
        if remote_id in self._early:
            del self._early[remote_id]
            return
        event = self._sleeping.setdefault(remote_id, asyncio.Event())
        waking = asyncio.create_task(event.wait())
        napping = asyncio.ensure_future(clock.sleep(seconds))
        try:
            await asyncio.wait([waking, napping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            napping.cancel()
            self._sleeping.pop(remote_id, None)

    def wake(self, remote_id: str) -> None:
        """Look at this task now."""
        event = self._sleeping.get(remote_id)
        if event is not None:
            event.set()
        else:
            _remember(self._early, remote_id, None)

    # For vendors.

    @asynccontextmanager
    async def listening(self, address: ListenAddress) -> AsyncIterator[int]:
        """Listen until the end of the block; yields the port. Raises OperatorError where it is taken."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/webhooks/wavespeed", self._wavespeed)
        app.router.add_post("/webhooks/runware/{path}", self._runware)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, address.host, address.port).start()
            except OSError as error:
                problem = f"{address.host}:{address.port} cannot be listened on"
                raise OperatorError(Code.SETTING_INVALID, setting="EASEL_WEBHOOK_LISTEN", problem=problem) from error
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    async def _runware(self, request: web.Request) -> web.Response:
        remote_id = self._paths.get(request.match_info["path"])
        if remote_id is None:
            return web.Response(status=404)
        self.wake(remote_id)
        return web.Response()

    async def _wavespeed(self, request: web.Request) -> web.Response:
        body = await request.read()
        message_id = request.headers.get("webhook-id", "")
        timestamp = request.headers.get("webhook-timestamp", "")
        version, _, signature = request.headers.get("webhook-signature", "").partition(",")
        fresh = timestamp.isdecimal() and len(timestamp) < 16 and abs(self._now() - int(timestamp)) <= REPLAY_SECONDS
        if not fresh or not message_id or version != "v3":
            return web.Response(status=400)
        signed = f"{message_id}.{timestamp}.".encode() + body
        if not await self._is_genuine(signed, signature):
            log.warning("a webhook with a wrong signature was refused")
            return web.Response(status=401)
        if message_id in self._seen:
            return web.Response()  # Told before: it is not looked at twice.
        _remember(self._seen, message_id, None)
        remote_id = _task_id(body)
        if remote_id is None:
            return web.Response(status=400)
        self.wake(remote_id)
        return web.Response()

    async def _is_genuine(self, signed: bytes, signature: str) -> bool:
        if self._secret is not None and _fits(self._secret, signed, signature):
            return True
        async with self._secret_lock:
            if self._get_secret is None:
                return False
            if self._secret_at is None or self._now() - self._secret_at >= SECRET_SECONDS:
                self._secret_at = self._now()
                self._secret = await self._get_secret() or self._secret
        return self._secret is not None and _fits(self._secret, signed, signature)


async def sleep_until_told(webhooks: Webhooks | None, clock: Clock, remote_id: str, seconds: float) -> None:
    """Let so many seconds pass between two polls, fewer where a webhook comes."""
    if webhooks is None:
        await clock.sleep(seconds)
    else:
        await webhooks.sleep(clock, remote_id, seconds)


def secret_in(body: JsonValue) -> SecretStr | None:
    """The secret in WaveSpeedAI's answer, whose shape is not on its pages: ``whsec_…`` alone or as ``secret``."""
    match body:
        case {"data": {"secret": str(secret)}} | {"data": str(secret)} | {"secret": str(secret)} if secret:
            return SecretStr(secret)
        case _:
            return None


def _fits(secret: SecretStr, signed: bytes, signature: str) -> bool:
    key = secret.get_secret_value().removeprefix("whsec_").encode()
    expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def _task_id(body: bytes) -> str | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match said:
        case {"id": str(task_id)} | {"data": {"id": str(task_id)}}:
            return task_id
        case _:
            return None


def _remember(memory: OrderedDict[str, Value], key: str, value: Value) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
