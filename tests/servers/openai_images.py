"""A strict stand-in for a server with OpenAI's images API, with the extensions of vLLM-Omni and SGLang.

Routes for faults and counts: ``submit`` (generations and edits), ``models``, ``output``.
"""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web
from PIL import Image

from tests.servers.hosted import KEY, HostedServer, Refused, picture, replaced, serve

MODELS = (
    "HiDream-ai/HiDream-I1-Dev",
    "HiDream-ai/HiDream-I1-Full",
    "HiDream-ai/HiDream-I1-Fast",
    "HiDream-ai/HiDream-E1-Full",
    "HiDream-ai/HiDream-E1-1",
)


@dataclass(frozen=True)
class Plan:
    """What becomes of a request."""

    error: str = ""
    """``code`` of an error that ends it."""
    status: int = 400
    output: str = "picture"
    """``picture``, ``none``, ``fewer``, ``nothing`` (an entry without one), ``missing``, ``text``,
    ``redirect:URL`` or ``url:URL``."""


Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _whole(minimum: int, maximum: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


FIELDS: dict[str, Check] = {
    "model": lambda value: value in MODELS,
    "prompt": _text,
    "n": _whole(1, 10),
    "size": lambda value: isinstance(value, str) and re.fullmatch(r"[1-9]\d{1,4}x[1-9]\d{1,4}", value) is not None,
    "response_format": lambda value: value in ("url", "b64_json"),
    "seed": _whole(0, 2**63 - 1),
    "negative_prompt": _text,
    "num_inference_steps": _whole(1, 1000),
    "guidance_scale": _number,
}
_WHOLE = ("n", "seed", "num_inference_steps")


class OpenAIImagesServer(HostedServer):
    """See ``HostedServer``. An empty key means that none is asked for, and that none may be sent."""

    def __init__(self, key: str = KEY, port: int = 0, plan: Plan | None = None) -> None:
        super().__init__(key, port)
        self.plan = plan or Plan()
        self.made: list[dict[str, Any]] = []
        self.sources: list[bytes] = []

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/images/generations", self._generate)
        app.router.add_post("/v1/images/edits", self._edit)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/files/{number}", self._output)

    def state(self) -> dict[str, Any]:
        return super().state() | {"accepted": len(self.made)}

    def set_plan(self, **plan: Any) -> None:
        self.plan = replaced(self.plan, plan)

    @property
    def submits(self) -> int:
        """Requests for pictures, good and bad."""
        return self.count("submit")

    def authorize(self, request: web.Request) -> None:
        if self.key:
            super().authorize(request)
        elif "Authorization" in request.headers:
            raise Refused(400, "no key is wanted here")

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
        except ValueError:
            body = {}
        return await self._make(request, body, None)

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = {}
        source = None
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.name == "image" and part.filename:
                source = bytes(await part.read())
            else:
                text = (await part.read()).decode()
                name = str(part.name)
                whole = name in _WHOLE and text.isdecimal()
                body[name] = int(text) if whole else float(text) if name == "guidance_scale" else text
        return await self._make(request, body, source if source is not None else b"")

    async def _make(self, request: web.Request, body: dict[str, Any], source: bytes | None) -> web.StreamResponse:
        fault = self.note(request, "submit", body)
        try:
            self.authorize(request)
            if fault is not None and not fault.accepted:
                return await self.inject(request, fault)
            self._check(body, source)
            if self.plan.error:
                raise Refused(self.plan.status, "it failed", code=self.plan.error)
        except Refused as refused:
            error = {"message": refused.message, "type": "error", "param": None, "code": refused.more.get("code")}
            return web.json_response({"error": error}, status=refused.status)
        self.made.append(body)
        if source is not None:
            self.sources.append(source)
        if fault is not None:
            return await self.inject(request, fault)
        wanted = body.get("n", 1)
        count = {"none": 0, "fewer": wanted - 1}.get(self.plan.output, wanted)
        return web.json_response({"created": 1, "data": [self._entry(body, index) for index in range(count)]})

    def _check(self, body: dict[str, Any], source: bytes | None) -> None:
        for name in ("prompt", "model"):
            if name not in body:
                raise Refused(400, f"{name} is required")
        for name, value in body.items():
            if name not in FIELDS:
                raise Refused(400, f"Unknown parameter: '{name}'.", code="unknown_parameter")
            if not FIELDS[name](value):
                raise Refused(400, f"bad value for {name}: {value!r}")
        if source is not None:
            try:
                Image.open(io.BytesIO(source)).verify()
            except OSError:
                raise Refused(400, "not a picture") from None

    def _entry(self, body: dict[str, Any], index: int) -> dict[str, Any]:
        match self.plan.output:
            case "nothing":
                return {"revised_prompt": "?"}
            case output if output.startswith("url:"):
                return {"url": output.removeprefix("url:")}
            case "picture" if body.get("response_format") == "b64_json":
                return {"b64_json": base64.b64encode(_picture(body, index)).decode()}
            case _:
                return {"url": f"{self.url}/files/{len(self.made) - 1}-{index}"}

    async def _models(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "models")
        try:
            self.authorize(request)
        except Refused as refused:
            return web.json_response({"error": {"message": refused.message}}, status=refused.status)
        if fault is not None:
            return await self.inject(request, fault)
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def _output(self, request: web.Request) -> web.StreamResponse:
        self.note(request, "output")
        if self.plan.output == "missing":
            return web.Response(status=404)
        if self.plan.output.startswith("redirect:"):
            return web.Response(status=302, headers={"Location": self.plan.output.removeprefix("redirect:")})
        if self.plan.output == "text":
            return web.Response(text="<html>", content_type="image/png")
        number, _, index = request.match_info["number"].partition("-")
        return web.Response(body=_picture(self.made[int(number)], int(index)), content_type="image/png")


def _picture(body: dict[str, Any], index: int) -> bytes:
    width, height = map(int, body.get("size", "64x64").split("x"))
    return picture(width, height, body.get("seed", 0) + index, body["prompt"])


if __name__ == "__main__":
    serve(OpenAIImagesServer, "openai_images")
