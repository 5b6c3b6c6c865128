"""What ComfyUI takes and says: graphs, its history and queue, its WebSocket.

Sources: ComfyUI's server.py and execution.py; the graphs in ``comfyui_graphs/`` have the nodes and values of the
official templates (comfyui-workflow-templates-json 0.1.123). A graph's nodes have names instead of numbers, so that the
catalogue can name an input: ``sampler.seed``. In every graph ``model`` loads the diffusion model, ``sampler`` counts
the steps and ``save`` has the picture.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from pydantic import JsonValue

from backends.body import Body

log = logging.getLogger(__name__)

GRAPHS: Final = Path(__file__).parent / "comfyui_graphs"
MODEL_NODE: Final = "model"
SAMPLER_NODE: Final = "sampler"
SAVE_NODE: Final = "save"
FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "UNETLoader": ("unet_name",),
    "QuadrupleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3", "clip_name4"),
    "VAELoader": ("vae_name",),
}
"""The loaders of our graphs, and their inputs that name files."""
_MAX_MESSAGE_BYTES: Final = 16 * 2**20
_MAX_WAITING: Final = 64
_PREVIEW: Final = 1
_MEDIA_TYPES: Final = {1: "image/jpeg", 2: "image/png"}


def load_graph(model_key: str) -> Body:
    """The graph for a model of the catalogue, by its key."""
    graph: Body = json.loads((GRAPHS / f"{model_key}.json").read_text("utf-8"))
    return graph


def filled(graph: Body, inputs: Body) -> Body:
    """The graph with inputs set, each named ``node.input``."""
    for name, value in inputs.items():
        node, _, field_name = name.partition(".")
        target = graph[node]
        assert isinstance(target, dict)
        settings = target["inputs"]
        assert isinstance(settings, dict)
        settings[field_name] = value
    return graph


def files_of(graph: Body) -> list[tuple[str, str, str]]:
    """The files that a graph loads: loader, input, file name."""
    return [
        (node["class_type"], name, str(node["inputs"][name]))
        for node in graph.values()
        if isinstance(node, dict) and isinstance(node["class_type"], str) and isinstance(node["inputs"], dict)
        for name in FILES.get(node["class_type"], ())
        if name in node["inputs"]
    ]


def choices(info: JsonValue, loader: str, name: str) -> frozenset[str] | None:
    """The files that a loader's input offers, from /object_info/{loader}; None where it does not say.

    The list stands first in the input's description; newer versions have it under ``options``.
    """
    match info:
        case {**nodes} if isinstance(description := nodes.get(loader), dict):
            match description.get("input"):
                case {"required": {**inputs}}:
                    match inputs.get(name):
                        case [list(words), *_] | [_, {"options": list(words)}, *_]:
                            return frozenset(str(word) for word in words)
    return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused graph is told."""

    missing_file: str | None
    reason: str


def refusal(body: JsonValue) -> Refusal:
    """Reads the answer with status 400 to a submit: a missing file is ``value_not_in_list``."""
    reason = ""
    match body:
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            reason = message
    node_errors = body.get("node_errors") if isinstance(body, dict) else None
    for node in node_errors.values() if isinstance(node_errors, dict) else ():
        errors = node.get("errors") if isinstance(node, dict) else None
        for error in errors if isinstance(errors, list) else ():
            match error:
                case {"type": "value_not_in_list", "extra_info": {"input_name": str(name), "received_value": value}}:
                    if any(name in names for names in FILES.values()):
                        return Refusal(str(value), reason)
            match error:
                case {"message": str(message), **rest}:
                    reason = f"{message} {rest.get('details', '')}".strip()
    return Refusal(None, reason)


@dataclass(frozen=True, slots=True)
class Ended:
    """What the history says of a prompt that is over."""

    picture: Mapping[str, str] | None
    """``filename``, ``subfolder`` and ``type`` of the picture."""
    seconds: float | None
    interrupted: bool = False
    error: str | None = None
    out_of_memory: bool = False


def ended(body: JsonValue, prompt_id: str) -> Ended | None:
    """Reads /history/{id}: empty until the prompt is over, and for ids that it does not know."""
    entry = body.get(prompt_id) if isinstance(body, dict) else None
    if not isinstance(entry, dict):
        return None
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    times: dict[str, float] = {}
    interrupted, error, out_of_memory = False, None, False
    for message in messages if isinstance(messages, list) else ():
        match message:
            case [str(kind), {**data}]:
                stamp = data.get("timestamp")
                if isinstance(stamp, int | float):
                    times[kind] = stamp / 1000
                if kind == "execution_interrupted":
                    interrupted = True
                if kind == "execution_error":
                    error = str(data.get("exception_message", "")).strip() or "it does not say why"
                    out_of_memory = "OutOfMemory" in str(data.get("exception_type", ""))
    if isinstance(status, dict) and status.get("status_str") == "error" and not interrupted and error is None:
        error = "it does not say why"
    seconds = times.get("execution_success", 0.0) - times.get("execution_start", 0.0)
    return Ended(
        picture=_picture(entry.get("outputs")),
        seconds=seconds if "execution_start" in times and seconds > 0 else None,
        interrupted=interrupted,
        error=error,
        out_of_memory=out_of_memory,
    )


def _picture(outputs: JsonValue) -> Mapping[str, str] | None:
    match outputs:
        case {**nodes} if isinstance(node := nodes.get(SAVE_NODE), dict):
            match node.get("images"):
                case [{"filename": str(name), **rest}, *_]:
                    return {
                        "filename": name,
                        "subfolder": str(rest.get("subfolder", "")),
                        "type": str(rest.get("type", "output")),
                    }
    return None


def places(body: JsonValue) -> tuple[frozenset[str], frozenset[str]]:
    """Reads /queue: the ids that run and those that wait; an entry is a list whose second item is the id."""

    def ids(entries: JsonValue) -> frozenset[str]:
        return frozenset(
            str(entry[1])
            for entry in (entries if isinstance(entries, list) else ())
            if isinstance(entry, list) and len(entry) > 1
        )

    if not isinstance(body, dict):
        return frozenset(), frozenset()
    return ids(body.get("queue_running")), ids(body.get("queue_pending"))


@dataclass(frozen=True, slots=True)
class Begun:
    """The prompt is being worked on."""


@dataclass(frozen=True, slots=True)
class Step:
    """Denoising step ``step`` of ``steps``."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A preview."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Over:
    """The prompt ended, in some way: the history says how."""


Message = Begun | Step | Glimpse | Over


@dataclass(slots=True)
class Listener:
    """What the WebSocket says of one prompt. A reader that is slow misses messages: the history is the truth."""

    _queue: asyncio.Queue[Message] = field(default_factory=lambda: asyncio.Queue(_MAX_WAITING))

    def put(self, message: Message) -> None:
        """Keep it; the oldest goes where too many wait."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(message)

    async def get(self) -> Message:
        """The next one."""
        return await self._queue.get()


@asynccontextmanager
async def listening(session: aiohttp.ClientSession, url: str, client_id: str) -> AsyncIterator[Listener]:
    """Listen to the server's WebSocket. Where there is none, nothing is heard."""
    listener = Listener()
    try:
        async with asyncio.timeout(10):
            socket = await session.ws_connect(
                url, params={"clientId": client_id}, max_msg_size=_MAX_MESSAGE_BYTES, heartbeat=30
            )
    except (aiohttp.ClientError, OSError) as error:
        log.debug("no WebSocket at ComfyUI: %s", type(error).__name__)
        yield listener
        return
    reading = asyncio.create_task(_read(socket, listener))
    try:
        yield listener
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await socket.close()


async def _read(socket: aiohttp.ClientWebSocketResponse, listener: Listener) -> None:
    async for frame in socket:
        message: Message | None = None
        if frame.type is aiohttp.WSMsgType.BINARY:
            message = _glimpse(frame.data)
        elif frame.type is aiohttp.WSMsgType.TEXT:
            message = _message(frame.data)
        if message is not None:
            listener.put(message)


def _glimpse(frame: bytes) -> Glimpse | None:
    """Big-endian: 4 bytes event, 4 bytes format, then the picture."""
    media_type = _MEDIA_TYPES.get(int.from_bytes(frame[4:8], "big"))
    if int.from_bytes(frame[:4], "big") != _PREVIEW or media_type is None:
        return None
    return Glimpse(frame[8:], media_type)


def _message(text: str) -> Message | None:
    # All of it is about our one prompt: the client's id is used for no other.
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match said:
        case {"type": "execution_start"}:
            return Begun()
        case {"type": "progress", "data": {"node": node, "value": int(value), "max": int(most)}}:
            return Step(value, most) if node == SAMPLER_NODE and 0 < value <= most else None
        case {"type": "execution_success" | "execution_error" | "execution_interrupted"}:
            return Over()
        case {"type": "executing", "data": {"node": None}}:
            return Over()
    return None
