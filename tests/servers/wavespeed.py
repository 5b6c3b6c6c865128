"""A strict stand-in for WaveSpeedAI, written from the vendor's pages. It has never met the real service.

Routes for faults and counts: ``submit``, ``result``, ``upload``, ``balance``, ``output``.
"""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import BodyPartReader, web
from PIL import Image

from tests.servers.hosted import KEY, Fault, HostedServer, Refused, picture, replaced, serve


@dataclass(frozen=True)
class Plan:
    """What becomes of a task."""

    statuses: tuple[str, ...] = ("processing", "completed")
    """What the polls are told, in order; the last one stays."""
    error: str = ""
    code: int | None = None
    """The vendor's code beside a failure, in ``data``."""
    nsfw: Any = (False,)
    """``has_nsfw_contents``; None leaves it out."""
    output: str = "picture"
    """``picture``, ``missing``, ``slow``, ``huge``, ``text``, ``empty``, ``base64``, ``data-uri``, ``string``
    (``outputs`` is a string), ``cut``, ``redirect:URL`` or ``url:URL``."""
    inference: Any = 1500
    submit_status: str = "created"
    sync_status: str = "completed"
    """What a submit in sync mode is told."""
    per_second: int = 0
    """Submits that are taken in a second; further ones get a 429. 0: all."""
    padding: int = 0
    """Bytes behind the end of every picture."""


@dataclass
class Task:
    """A task that was accepted."""

    id: str
    version: str
    model: str
    body: dict[str, Any]
    plan: Plan
    polls: int = 0
    output_fetches: int = 0
    webhook: str = ""


Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _seed(maximum: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= maximum


def _size(minimum: int, maximum: int, least_pixels: int = 0, most_pixels: int = 2**30) -> Check:
    def check(value: Any) -> bool:
        match = re.fullmatch(r"([1-9]\d*)\*([1-9]\d*)", value) if isinstance(value, str) else None
        if match is None:
            return False
        width, height = int(match[1]), int(match[2])
        sides = minimum <= width <= maximum and minimum <= height <= maximum
        return sides and least_pixels <= width * height <= most_pixels

    return check


def _format(value: Any) -> bool:
    return value in ("jpeg", "png", "webp")


def _picture(value: Any) -> bool:
    """A URL, or a data URI: the latter is on the pages of other models."""
    return isinstance(value, str) and re.match(r"https?://|data:image/\w+;base64,", value) is not None


def _pictures(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_picture, value))


_O1_TEXT = {
    "prompt": _text,
    "size": _size(256, 4096, 2560 * 1440, 4096 * 4096),
    "output_format": _format,
    "seed": _seed(2**31 - 1),
    "enable_sync_mode": _boolean,
    "enable_base64_output": _boolean,
}
ENDPOINTS: dict[str, dict[str, Check]] = {
    "/api/v2/wavespeed-ai/hidream-i1-dev": {
        "prompt": _text,
        "size": _size(512, 1536),
        "seed": _seed(9999999999),
        "enable_base64_output": _boolean,
        "enable_safety_checker": _boolean,
    },
    "/api/v3/wavespeed-ai/hidream-i1-full": {
        "prompt": _text,
        "size": _size(256, 1536),
        "seed": _seed(2**31 - 1),
        "output_format": _format,
        "enable_base64_output": _boolean,
    },
    "/api/v3/wavespeed-ai/hidream-e1-full": {
        "prompt": _text,
        "image": _picture,
        "seed": _seed(9999999999),
        "enable_base64_output": _boolean,
        "enable_safety_checker": _boolean,
    },
    "/api/v3/wavespeed-ai/hidream-o1-image-dev/text-to-image": _O1_TEXT,
    "/api/v3/wavespeed-ai/hidream-o1-image/text-to-image": _O1_TEXT,
    "/api/v3/wavespeed-ai/hidream-o1-image-dev/edit": _O1_TEXT | {"images": _pictures},
    "/api/v3/wavespeed-ai/hidream-o1-image/edit": _O1_TEXT | {"images": _pictures},
}
REQUIRED = ("prompt", "image", "images")
BASE64_BY_DEFAULT = ("/api/v2/wavespeed-ai/hidream-i1-dev",)
WITHOUT_NSFW = tuple(path for path in ENDPOINTS if "o1-image" in path)


class WaveSpeedServer(HostedServer):
    """See ``HostedServer``."""

    def __init__(self, key: str = KEY, port: int = 0, plan: Plan | None = None) -> None:
        super().__init__(key, port)
        self.plan = plan or Plan()
        self.tasks: dict[str, Task] = {}
        self.uploads: dict[str, bytes] = {}
        self.balance = 12.5
        self.webhook_secret = "whsec_3c2f1a"
        self._taken: deque[float] = deque()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/{path:api/v[23]/wavespeed-ai/.+}", self._submit)
        app.router.add_get("/api/{version:v[23]}/predictions/{id}/result", self._result)
        app.router.add_post("/api/v3/media/upload/binary", self._upload)
        app.router.add_get("/api/v3/balance", self._balance)
        app.router.add_get("/api/v3/webhook/secret", self._webhook_secret)
        app.router.add_get("/outputs/{id}", self._output)
        app.router.add_get("/media/{id}", self._media)

    def state(self) -> dict[str, Any]:
        tasks = [{"id": task.id, "body": task.body, "polls": task.polls} for task in self.tasks.values()]
        return super().state() | {"accepted": len(self.tasks), "tasks": tasks}

    def set_plan(self, **plan: Any) -> None:
        self.plan = replaced(self.plan, plan)
        for task in self.tasks.values():
            task.plan = self.plan

    @property
    def submits(self) -> int:
        """Requests to any submit endpoint, good and bad."""
        return self.count("submit")

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        try:
            body = await request.json()
        except ValueError:
            body = None
        fault = self.note(request, "submit", body)
        try:
            self.authorize(request)
            if fault is not None and not fault.accepted:
                return await self.inject(request, fault)
            if request.content_type != "application/json" or not isinstance(body, dict):
                raise Refused(400, "a JSON object expected")
            check(path, body)
        except Refused as refused:
            return _refusal(refused)
        if self._is_too_many():
            return web.json_response({"code": 429, "message": "slowly"}, status=429, headers={"Retry-After": "1"})
        version = path.split("/")[2]
        task = Task(uuid4().hex, version, path.removeprefix(f"/api/{version}/"), body, self.plan)
        task.webhook = request.query.get("webhook", "")
        self.tasks[task.id] = task
        if fault is not None:
            return await self.inject(request, fault)
        status = task.plan.sync_status if body.get("enable_sync_mode") else task.plan.submit_status
        return web.json_response({"code": 200, "message": "success", "data": self._data(task, status)})

    def _is_too_many(self) -> bool:
        now = asyncio.get_running_loop().time()
        while self._taken and self._taken[0] < now - 1:
            self._taken.popleft()
        if 0 < self.plan.per_second <= len(self._taken):
            return True
        self._taken.append(now)
        return False

    async def _result(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "result")
        try:
            self.authorize(request)
        except Refused as refused:
            return _refusal(refused)
        if fault is not None:
            return await self.inject(request, fault)
        task = self.tasks.get(request.match_info["id"])
        if task is None or task.version != request.match_info["version"]:
            return _refusal(Refused(404, "no such prediction"))
        statuses = task.plan.statuses
        status = statuses[min(task.polls, len(statuses) - 1)]
        task.polls += 1
        return web.json_response({"code": 200, "message": "success", "data": self._data(task, status)})

    def _data(self, task: Task, status: str) -> dict[str, Any]:
        plan = task.plan
        done = status == "completed"
        failed = status not in ("created", "processing", "completed")
        data: dict[str, Any] = {
            "id": task.id,
            "model": task.model,
            "outputs": self._outputs(task) if done else [],
            "urls": {"get": f"https://attacker.invalid/api/{task.version}/predictions/{task.id}"},
            "status": status,
            "created_at": "2025-04-01T12:34:56.789Z",
            "error": plan.error if failed else "",
            "timings": {"inference": plan.inference if done else 0},
        }
        if failed and plan.code is not None:
            data["code"] = plan.code
        if plan.nsfw is not None and f"/api/{task.version}/{task.model}" not in WITHOUT_NSFW:
            data["has_nsfw_contents"] = plan.nsfw if done else []
        return data

    def _outputs(self, task: Task) -> Any:
        base64_by_default = f"/api/{task.version}/{task.model}" in BASE64_BY_DEFAULT
        behaviour = task.plan.output
        if task.body.get("enable_base64_output", base64_by_default) and behaviour == "picture":
            behaviour = "base64"
        url = f"{self.url}/outputs/{task.id}"
        match behaviour:
            case "empty":
                return []
            case "string":
                return url
            case "base64":
                return [base64.b64encode(self._picture(task)).decode()]
            case "data-uri":
                return ["data:image/png;base64," + base64.b64encode(self._picture(task)).decode()]
            case _ if behaviour.startswith("url:"):
                return [behaviour.removeprefix("url:")]
            case _:
                return [url]

    def _picture(self, task: Task) -> bytes:
        width, height = map(int, task.body.get("size", "1024*1024").split("*"))
        return picture(
            width, height, task.body.get("seed", -1), task.body["prompt"], task.body.get("output_format", "png")
        )

    async def _output(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "output")
        if fault is not None:
            return await self.inject(request, fault)
        task = self.tasks[request.match_info["id"]]
        behaviour = task.plan.output
        match behaviour:
            case "missing":
                return web.Response(status=404)
            case "text":
                return web.Response(text="<html>Not found</html>", content_type="image/png")
            case "slow":
                return await self._slow(request)
            case "cut":
                return await self.inject(request, Fault(cut="middle"))
            case "huge":
                return await self._huge(request)
            case _ if behaviour.startswith("redirect:"):
                return web.Response(status=302, headers={"Location": behaviour.removeprefix("redirect:")})
            case _:
                content = self._picture(task) + bytes(task.plan.padding)
                return web.Response(body=content, content_type="image/png")

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"\x89PNG\r\n\x1a\n")
        return await self.inject(request, Fault(silent=True))

    async def _huge(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"\x89PNG\r\n\x1a\n")
        for _ in range(65):
            await response.write(bytes(2**20))
        return response

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "upload")
        try:
            self.authorize(request)
            if fault is not None:
                return await self.inject(request, fault)
            if not request.content_type.startswith("multipart/"):
                raise Refused(400, "multipart expected")
            part = await (await request.multipart()).next()
            if not isinstance(part, BodyPartReader) or part.name != "file" or not part.filename:
                raise Refused(400, "one field `file` expected")
            content = bytes(await part.read())
        except Refused as refused:
            return _refusal(refused)
        try:
            Image.open(io.BytesIO(content)).verify()
        except OSError:
            return _refusal(Refused(400, "not a picture"))
        name = uuid4().hex
        self.uploads[name] = content
        data = {
            "type": "image",
            "download_url": f"{self.url}/media/{name}",
            "filename": part.filename,
            "size": len(content),
        }
        return web.json_response({"code": 200, "message": "success", "data": data})

    async def _media(self, request: web.Request) -> web.Response:
        return web.Response(body=self.uploads[request.match_info["id"]])

    async def _webhook_secret(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "secret")
        try:
            self.authorize(request)
        except Refused as refused:
            return _refusal(refused)
        if fault is not None:
            return await self.inject(request, fault)
        return web.json_response({"code": 200, "message": "success", "data": {"secret": self.webhook_secret}})

    async def call_webhook(self, task: Task, *, age: int = 0, signature: str | None = None, number: int = 1) -> int:
        """Call the task's webhook, signed; returns the answer's status."""
        body = json.dumps(self._data(task, "completed")).encode()
        stamp = str(int(time.time()) - age)
        message_id = f"{task.id}-{number}"
        key = self.webhook_secret.removeprefix("whsec_").encode()
        genuine = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v3,{genuine}" if signature is None else signature,
        }
        async with aiohttp.ClientSession() as session, session.post(task.webhook, data=body, headers=headers) as answer:
            return answer.status

    async def _balance(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "balance")
        try:
            self.authorize(request)
        except Refused as refused:
            return _refusal(refused)
        if fault is not None:
            return await self.inject(request, fault)
        return web.json_response({"code": 200, "message": "success", "data": {"balance": self.balance}})


def check(path: str, body: Any) -> None:
    """Raises Refused where the documents do not allow the body."""
    fields = ENDPOINTS.get(path)
    if fields is None:
        raise Refused(404, f"no such model: {path}")
    for name in REQUIRED:
        if name in fields and name not in body:
            raise Refused(400, f"{name} is required")
    for name, value in body.items():
        if name not in fields:
            raise Refused(400, f"unknown field: {name}")
        if not fields[name](value):
            raise Refused(400, f"bad value for {name}: {value!r}")


def _refusal(refused: Refused) -> web.Response:
    return web.json_response({"code": refused.status, "message": refused.message}, status=refused.status)


if __name__ == "__main__":
    serve(WaveSpeedServer, "wavespeed")
