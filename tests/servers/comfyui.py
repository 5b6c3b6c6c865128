"""A strict stand-in for ComfyUI, written from its server.py, execution.py and node definitions. It runs no graph.

Routes for faults and counts: ``submit`` (POST /prompt), ``history``, ``queue``, ``upload``, ``interrupt``, ``delete``,
``stats``, ``output`` (/view).
"""

import asyncio
import io
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import BodyPartReader, web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.servers.hosted import KEY, HostedServer, picture, replaced, serve

FILES: dict[str, list[str]] = {
    "diffusion_models": [
        "hidream_i1_dev_fp8.safetensors",
        "hidream_i1_full_fp8.safetensors",
        "hidream_i1_fast_fp8.safetensors",
        "hidream_e1_full_bf16.safetensors",
        "hidream_e1_1_bf16.safetensors",
    ],
    "text_encoders": [
        "clip_l_hidream.safetensors",
        "clip_g_hidream.safetensors",
        "t5xxl_fp8_e4m3fn_scaled.safetensors",
        "llama_3.1_8b_instruct_fp8_scaled.safetensors",
    ],
    "vae": ["ae.safetensors"],
}
SAMPLERS = ["euler", "heun", "dpmpp_2m", "lcm", "ddim", "uni_pc", "uni_pc_bh2"]
SCHEDULERS = ["normal", "simple", "karras", "exponential", "sgm_uniform", "ddim_uniform", "beta"]


@dataclass(frozen=True)
class Link:
    """An input that takes another node's output of this type."""

    type: str


@dataclass(frozen=True)
class Number:
    minimum: float
    maximum: float
    whole: bool = False


@dataclass(frozen=True)
class Words:
    """One of a list; ``folder`` names the files that are there."""

    words: tuple[str, ...] = ()
    folder: str = ""


TEXT = "text"
_PIXELS = Number(16, 16384, whole=True)
_SEED = Number(0, 2**64 - 1, whole=True)
_STEPS = Number(1, 10000, whole=True)
_CFG = Number(0, 100)
NODES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "UNETLoader": (
        {
            "unet_name": Words(folder="diffusion_models"),
            "weight_dtype": Words(("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")),
        },
        ("MODEL",),
    ),
    "QuadrupleCLIPLoader": ({f"clip_name{n}": Words(folder="text_encoders") for n in range(1, 5)}, ("CLIP",)),
    "VAELoader": ({"vae_name": Words(folder="vae")}, ("VAE",)),
    "ModelSamplingSD3": ({"model": Link("MODEL"), "shift": Number(0, 100)}, ("MODEL",)),
    "CFGNorm": ({"model": Link("MODEL"), "strength": Number(0, 100)}, ("MODEL",)),
    "CLIPTextEncode": ({"text": TEXT, "clip": Link("CLIP")}, ("CONDITIONING",)),
    "EmptySD3LatentImage": (
        {"width": _PIXELS, "height": _PIXELS, "batch_size": Number(1, 4096, whole=True)},
        ("LATENT",),
    ),
    "KSampler": (
        {
            "model": Link("MODEL"),
            "positive": Link("CONDITIONING"),
            "negative": Link("CONDITIONING"),
            "latent_image": Link("LATENT"),
            "seed": _SEED,
            "steps": _STEPS,
            "cfg": _CFG,
            "sampler_name": Words(tuple(SAMPLERS)),
            "scheduler": Words(tuple(SCHEDULERS)),
            "denoise": Number(0, 1),
        },
        ("LATENT",),
    ),
    "VAEDecode": ({"samples": Link("LATENT"), "vae": Link("VAE")}, ("IMAGE",)),
    "SaveImage": ({"images": Link("IMAGE"), "filename_prefix": TEXT}, ()),
    "LoadImage": ({"image": Words(folder="input")}, ("IMAGE", "MASK")),
    "ImageScale": (
        {
            "image": Link("IMAGE"),
            "upscale_method": Words(("nearest-exact", "bilinear", "area", "bicubic", "lanczos")),
            "width": Number(0, 16384, whole=True),
            "height": Number(0, 16384, whole=True),
            "crop": Words(("disabled", "center")),
        },
        ("IMAGE",),
    ),
    "ImageScaleToTotalPixels": (
        {
            "image": Link("IMAGE"),
            "upscale_method": Words(("nearest-exact", "bilinear", "area", "bicubic", "lanczos")),
            "megapixels": Number(0.01, 16),
            "resolution_steps": Number(1, 256, whole=True),
        },
        ("IMAGE",),
    ),
    "InstructPixToPixConditioning": (
        {
            "positive": Link("CONDITIONING"),
            "negative": Link("CONDITIONING"),
            "vae": Link("VAE"),
            "pixels": Link("IMAGE"),
        },
        ("CONDITIONING", "CONDITIONING", "LATENT"),
    ),
    "DualCFGGuider": (
        {
            "model": Link("MODEL"),
            "cond1": Link("CONDITIONING"),
            "cond2": Link("CONDITIONING"),
            "negative": Link("CONDITIONING"),
            "cfg_conds": _CFG,
            "cfg_cond2_negative": _CFG,
            "style": Words(("regular", "nested")),
        },
        ("GUIDER",),
    ),
    "RandomNoise": ({"noise_seed": _SEED}, ("NOISE",)),
    "KSamplerSelect": ({"sampler_name": Words(tuple(SAMPLERS))}, ("SAMPLER",)),
    "BasicScheduler": (
        {"model": Link("MODEL"), "scheduler": Words(tuple(SCHEDULERS)), "steps": _STEPS, "denoise": Number(0, 1)},
        ("SIGMAS",),
    ),
    "SamplerCustomAdvanced": (
        {
            "noise": Link("NOISE"),
            "guider": Link("GUIDER"),
            "sampler": Link("SAMPLER"),
            "sigmas": Link("SIGMAS"),
            "latent_image": Link("LATENT"),
        },
        ("LATENT", "LATENT"),
    ),
}


@dataclass(frozen=True)
class Plan:
    """What becomes of a prompt."""

    looks: int = 1
    """Looks into the history that find nothing; after them the prompt is over."""
    plays: bool = False
    """Everything is told over the WebSocket, and then the prompt is over."""
    error: str = ""
    """Text of the exception that ends it."""
    exception: str = "RuntimeError"
    interrupted: bool = False
    output: str = "picture"
    """``picture``, ``missing``, ``text``, ``nothing`` or ``redirect:URL``."""
    own_ids: bool = False
    """As versions that take no prompt_id from outside."""
    new_lists: bool = False
    """/object_info in the shape of newer versions."""


@dataclass
class Prompt:
    id: str
    client_id: str
    graph: dict[str, Any]
    state: str = "running"
    """``waiting``, ``running``, ``over``, ``interrupted``."""
    looks: int = 0
    looked_at: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody has seen it in the queue: only then it is played."""


class Invalid(Exception):
    """A graph that is refused; ``errors`` by node."""

    def __init__(self, kind: str, message: str, errors: dict[str, Any]) -> None:
        super().__init__(message)
        self.body = {
            "error": {"type": kind, "message": message, "details": "", "extra_info": {}},
            "node_errors": errors,
        }


class ComfyUIServer(HostedServer):
    """See ``HostedServer``. It asks for no key."""

    def __init__(self, key: str = KEY, port: int = 0, plan: Plan | None = None) -> None:
        super().__init__(key, port)
        self.plan = plan or Plan()
        self.files = {folder: list(names) for folder, names in FILES.items()} | {"input": []}
        self.prompts: list[Prompt] = []
        self.uploads: dict[str, bytes] = {}
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._playing: set[asyncio.Task[None]] = set()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/prompt", self._prompt)
        app.router.add_get("/history/{id}", self._history)
        app.router.add_get("/queue", self._queue)
        app.router.add_post("/queue", self._delete)
        app.router.add_post("/interrupt", self._interrupt)
        app.router.add_post("/upload/image", self._upload)
        app.router.add_get("/view", self._view)
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/system_stats", self._stats)
        app.router.add_get("/object_info/{loader}", self._object_info)

    def state(self) -> dict[str, Any]:
        prompts = [{"id": prompt.id, "state": prompt.state, "graph": prompt.graph} for prompt in self.prompts]
        return super().state() | {"accepted": len(self.prompts), "prompts": prompts}

    def set_plan(self, **plan: Any) -> None:
        self.plan = replaced(self.plan, plan)

    @property
    def submits(self) -> int:
        """Requests to /prompt, good and bad."""
        return self.count("submit")

    def forget(self) -> None:
        """As after a new start: queue and history lie in memory."""
        self.prompts.clear()

    async def stop(self) -> None:
        for task in self._playing:
            task.cancel()
        await super().stop()

    async def _prompt(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        fault = self.note(request, "submit", body)
        if fault is not None and not fault.accepted:
            return await self.inject(request, fault)
        try:
            if "prompt" not in body:
                raise Invalid("no_prompt", "No prompt provided", {})
            self._validate(body["prompt"])
        except Invalid as invalid:
            return web.json_response(invalid.body, status=400)
        prompt_id = str(uuid4()) if self.plan.own_ids else str(body.get("prompt_id", uuid4()))
        prompt = Prompt(prompt_id, str(body.get("client_id", "")), body["prompt"])
        self.prompts.append(prompt)
        if self.plan.plays:
            task = asyncio.create_task(self._play(prompt))
            self._playing.add(task)
            task.add_done_callback(self._playing.discard)
        if fault is not None:
            return await self.inject(request, fault)
        return web.json_response({"prompt_id": prompt_id, "number": len(self.prompts), "node_errors": {}})

    def _validate(self, graph: Any) -> None:
        errors: dict[str, Any] = {}
        for name, node in graph.items():
            known = NODES.get(node.get("class_type"))
            if known is None:
                raise Invalid(
                    "invalid_prompt", f"Cannot execute because node {node.get('class_type')} does not exist.", {}
                )
            inputs, _ = known
            wrong = [
                error
                for field, kind in inputs.items()
                if (error := self._objection(graph, field, kind, node["inputs"])) is not None
            ]
            if wrong:
                errors[name] = {"errors": wrong, "dependent_outputs": ["save"], "class_type": node["class_type"]}
        if not any(node["class_type"] == "SaveImage" for node in graph.values()):
            raise Invalid("prompt_no_outputs", "Prompt has no outputs", {})
        if errors:
            raise Invalid("prompt_outputs_failed_validation", "Prompt outputs failed validation", errors)

    def _objection(self, graph: Any, field: str, kind: Any, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        def error(code: str, message: str) -> dict[str, Any]:
            return {
                "type": code,
                "message": message,
                "details": f"{field}: {inputs.get(field)!r}",
                "extra_info": {"input_name": field, "received_value": inputs.get(field)},
            }

        if field not in inputs:
            return error("required_input_missing", "Required input is missing")
        value = inputs[field]
        match kind:
            case Link():
                target = graph.get(value[0]) if isinstance(value, list) and len(value) == 2 else None
                outputs = NODES[target["class_type"]][1] if target else ()
                good = target is not None and value[1] < len(outputs) and outputs[value[1]] == kind.type
                return None if good else error("return_type_mismatch", "Return type mismatch between linked nodes")
            case Number():
                number = isinstance(value, int if kind.whole else int | float) and not isinstance(value, bool)
                if not number:
                    return error("invalid_input_type", "Failed to convert an input value")
                if value < kind.minimum:
                    return error("value_smaller_than_min", "Value smaller than min")
                return error("value_bigger_than_max", "Value bigger than max") if value > kind.maximum else None
            case Words():
                words = self.files[kind.folder] if kind.folder else kind.words
                return None if value in words else error("value_not_in_list", "Value not in list")
            case _:
                return None if isinstance(value, str) else error("invalid_input_type", "A text expected")

    async def _play(self, prompt: Prompt) -> None:
        socket = self._sockets.get(prompt.client_id)

        async def tell(kind: str, **data: Any) -> None:
            if socket is not None:
                await socket.send_json({"type": kind, "data": data | {"prompt_id": prompt.id}})

        await prompt.looked_at.wait()
        await tell("status", status={"exec_info": {"queue_remaining": 1}})
        await tell("execution_start", timestamp=1)
        await tell("execution_cached", nodes=[])
        await tell("executing", node="sampler")
        await tell("progress", node="text_encoders", value=1, max=1)
        for step in (1, 2):
            await tell("progress", node="sampler", value=step, max=2)
        if socket is not None:
            await socket.send_bytes(struct.pack(">II", 1, 1) + picture(8, 8, 0, "", "jpeg"))
            await socket.send_bytes(struct.pack(">II", 7, 9) + b"of another kind")
            await socket.send_str("{not JSON")
        prompt.state = "interrupted" if self.plan.interrupted else "over"
        await tell("execution_success", timestamp=2)

    def _find(self, prompt_id: str) -> Prompt | None:
        return next((prompt for prompt in self.prompts if prompt.id == prompt_id), None)

    async def _history(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "history")
        if fault is not None:
            return await self.inject(request, fault)
        prompt = self._find(request.match_info["id"])
        if prompt is None:
            return web.json_response({})
        if prompt.state == "running" and not self.plan.plays:
            prompt.looks += 1
            if prompt.looks > self.plan.looks:
                prompt.state = "interrupted" if self.plan.interrupted else "over"
        if prompt.state in ("waiting", "running"):
            return web.json_response({})
        return web.json_response({prompt.id: self._entry(prompt)})

    def _entry(self, prompt: Prompt) -> dict[str, Any]:
        messages: list[Any] = [["execution_start", {"prompt_id": prompt.id, "timestamp": 1_000_000}]]
        outputs: dict[str, Any] = {}
        failed = bool(self.plan.error) or prompt.state == "interrupted"
        if prompt.state == "interrupted":
            messages.append(["execution_interrupted", {"node_id": "sampler", "timestamp": 1_001_000}])
        elif self.plan.error:
            error = {"exception_message": self.plan.error, "exception_type": self.plan.exception, "node_id": "sampler"}
            messages.append(["execution_error", error | {"timestamp": 1_001_000}])
        else:
            messages.append(["execution_success", {"prompt_id": prompt.id, "timestamp": 1_002_500}])
            if self.plan.output != "nothing":
                folder, _, stem = prompt.graph["save"]["inputs"]["filename_prefix"].rpartition("/")
                image = {"filename": f"{stem}_00001_.png", "subfolder": folder, "type": "output"}
                outputs = {"save": {"images": [image]}}
        return {
            "prompt": [1, prompt.id, prompt.graph, {"client_id": prompt.client_id}, ["save"]],
            "outputs": outputs,
            "status": {"status_str": "error" if failed else "success", "completed": not failed, "messages": messages},
        }

    async def _queue(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "queue")
        if fault is not None:
            return await self.inject(request, fault)

        for prompt in self.prompts:
            prompt.looked_at.set()

        def entries(state: str) -> list[Any]:
            return [
                [1, prompt.id, prompt.graph, {"client_id": prompt.client_id}, ["save"]]
                for prompt in self.prompts
                if prompt.state == state
            ]

        return web.json_response({"queue_running": entries("running"), "queue_pending": entries("waiting")})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.note(request, "delete", body)
        self.prompts = [p for p in self.prompts if p.state != "waiting" or p.id not in body["delete"]]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.note(request, "interrupt", body)
        for prompt in self.prompts:
            if prompt.state == "running" and prompt.id == body.get("prompt_id", prompt.id):
                prompt.state = "interrupted"
        return web.Response()

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "upload")
        if fault is not None:
            return await self.inject(request, fault)
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader) or part.name != "image" or not part.filename:
            return web.Response(status=400)
        content = bytes(await part.read())
        Image.open(io.BytesIO(content)).verify()
        name = f"stored-{part.filename}"
        self.uploads[name] = content
        self.files["input"].append(f"here/{name}")
        return web.json_response({"name": name, "subfolder": "here", "type": "input"})

    async def _view(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "output")
        if fault is not None:
            return await self.inject(request, fault)
        name = request.query["filename"].removesuffix("_00001_.png")
        wanted = f"{request.query['subfolder']}/{name}"
        found = [p for p in self.prompts if p.graph["save"]["inputs"]["filename_prefix"] == wanted]
        if not found or request.query["type"] != "output" or self.plan.output == "missing":
            return web.Response(status=404)
        if self.plan.output.startswith("redirect:"):
            return web.Response(status=302, headers={"Location": self.plan.output.removeprefix("redirect:")})
        if self.plan.output == "text":
            return web.Response(text="<html>", content_type="image/png")
        return web.Response(body=_with_graph(found[0].graph), content_type="image/png")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "socket")
        if fault is not None:
            return await self.inject(request, fault)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query["clientId"]
        self._sockets[client_id] = socket
        await socket.send_json({"type": "status", "data": {"status": {}, "sid": client_id}})
        async for _ in socket:
            pass
        del self._sockets[client_id]
        return socket

    async def _stats(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "stats")
        if fault is not None:
            return await self.inject(request, fault)
        return web.json_response({"system": {"comfyui_version": "0.3.60"}, "devices": [{"name": "cuda:0 Stand-in"}]})

    async def _object_info(self, request: web.Request) -> web.StreamResponse:
        loader = request.match_info["loader"]
        inputs, _ = NODES[loader]

        def described(kind: Words) -> Any:
            words = self.files[kind.folder] if kind.folder else list(kind.words)
            return ["COMBO", {"options": words}] if self.plan.new_lists else [words]

        required = {name: described(kind) for name, kind in inputs.items()}
        return web.json_response({loader: {"input": {"required": required}}})


def _with_graph(graph: dict[str, Any]) -> bytes:
    """A picture as ComfyUI writes it: the whole graph is inside as text."""
    sampler = graph["sampler"]["inputs"]
    seed = sampler.get("seed", graph.get("noise", {}).get("inputs", {}).get("noise_seed", 0))
    latent = graph.get("latent", {}).get("inputs", {"width": 64, "height": 64})
    plain = picture(latent["width"], latent["height"], seed, graph["prompt"]["inputs"]["text"])
    text = PngInfo()
    text.add_text("prompt", json.dumps(graph))
    encoded = io.BytesIO()
    Image.open(io.BytesIO(plain)).save(encoded, "png", pnginfo=text)
    return encoded.getvalue()


if __name__ == "__main__":
    serve(ComfyUIServer, "comfyui")
