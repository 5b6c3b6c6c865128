"""The bot's half: how each way in which a call can end is told to the dispatcher."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backends.base import (
    BackendFailed,
    BackendUnavailable,
    CallEnded,
    HealthState,
    Loading,
    Made,
    PictureFailed,
    Preview,
    Progress,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.worker import client as client_module
from backends.worker.client import WorkerBackend, socket_client
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.loras import LoraFolder
from backends.worker.service import create_app
from domain.errors import Code, OperatorError, UserError
from domain.request import Lora, Variation
from tests.backends.calls import collect, make_call, offer
from tests.worker.conftest import LORAS, ROOT, GatedEngine, serving, until

TINY = offer("worker:tiny")
TINY_EDIT = offer("worker:tiny-edit")


@asynccontextmanager
async def working_backend(
    engine: TorchEngine | GatedEngine, folder: Path, **options: Any
) -> AsyncIterator[WorkerBackend]:
    app = create_app(lambda: engine, engine.models, **options)
    async with serving(app, folder / "w.sock") as path, aclosing(WorkerBackend(socket_client(path))) as backend:
        while (await backend.health()).state is HealthState.LOADING and not isinstance(engine, GatedEngine):
            await asyncio.sleep(0.01)
        yield backend
        if isinstance(engine, GatedEngine):
            engine.load_gate.set()
            engine.step_gate.release(1000)


@asynccontextmanager
async def answering(folder: Path, answer: bytes, hold: bool = False) -> AsyncIterator[WorkerBackend]:
    """Something that listens where a worker should, and says just this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hold:
            await reader.read()
        writer.close()

    path = folder / "w.sock"
    server = await asyncio.start_unix_server(serve, path)
    async with server, aclosing(WorkerBackend(socket_client(path))) as backend:
        yield backend


def status(code: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (code, len(body)) + body


def stream(*lines: bytes) -> bytes:
    """The beginning of an endless answer."""
    return b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(lines)


def error_line(at_fault: str, code: Code, **parameters: Any) -> bytes:
    event = {"type": "error", "at_fault": at_fault, "code": code.value, "parameters": parameters}
    return json.dumps(event).encode() + b"\n"


async def test_a_picture_from_the_bundled_model(engine: TorchEngine, tmp_path: Path) -> None:
    async with working_backend(engine, tmp_path) as backend:
        events = await collect(backend.run(make_call(TINY, tmp_path, steps=6)))
    assert isinstance(events[0], Working)
    assert [event for event in events if isinstance(event, Progress)] == [Progress(0, step, 6) for step in range(1, 7)]
    (preview,) = (event for event in events if isinstance(event, Preview))
    assert preview.media_type == "image/webp"
    made = events[-1]
    assert isinstance(made, Made)
    assert made.index == 0
    assert made.seconds is not None
    assert made.path.parent == tmp_path / "workspace"
    with Image.open(made.path) as image:
        assert (image.format, image.size) == ("PNG", (128, 128))


async def test_several_pictures_are_made_one_after_the_other(engine: TorchEngine, tmp_path: Path) -> None:
    async with working_backend(engine, tmp_path) as backend:
        events = await collect(backend.run(make_call(TINY, tmp_path, seeds=(1, 2), steps=1)))
        again = await collect(backend.run(make_call(TINY, tmp_path, seeds=(2,), steps=1)))
    made = [event for event in events if isinstance(event, Made)]
    assert [event.index for event in made] == [0, 1]
    assert isinstance(again[-1], Made)
    assert made[1].path.read_bytes() == again[-1].path.read_bytes()


async def test_an_edit_sends_the_source(engine: TorchEngine, tmp_path: Path) -> None:
    async with working_backend(engine, tmp_path) as backend:
        events = await collect(backend.run(make_call(TINY_EDIT, tmp_path, steps=1)))
    assert isinstance(events[-1], Made)


async def test_each_picture_of_a_job_is_varied_by_a_seed_of_its_own(engine: TorchEngine, tmp_path: Path) -> None:
    whole = (Variation(seed=50, strength=1.0),)
    async with working_backend(engine, tmp_path) as backend:
        varied = await collect(backend.run(make_call(TINY, tmp_path, seeds=(1, 2), steps=1, variations=whole)))
        made = [event.path.read_bytes() for event in varied if isinstance(event, Made)]
        others = await collect(backend.run(make_call(TINY, tmp_path, seeds=(50, 51), steps=1)))
    assert made == [event.path.read_bytes() for event in others if isinstance(event, Made)]


async def test_loras_travel_by_name_and_weight(engine: TorchEngine, lora_folder: Path, tmp_path: Path) -> None:
    ink, unknown = Lora(model=LORAS[0], weight=0.5), Lora(model="nope")
    async with working_backend(engine, tmp_path, loras=LoraFolder(lora_folder)) as backend:
        assert (await backend.health()).loras == LORAS
        plain = await collect(backend.run(make_call(TINY, tmp_path, steps=1)))
        assert isinstance(plain[-1], Made)
        before = plain[-1].path.read_bytes()
        styled = await collect(backend.run(make_call(TINY, tmp_path, steps=1, loras=(ink,))))
        assert isinstance(styled[-1], Made)
        assert styled[-1].path.read_bytes() != before
        with pytest.raises(RequestRefused) as refused:
            await collect(backend.run(make_call(TINY, tmp_path, loras=(ink, unknown))))
    assert refused.value.error.code is Code.OPTION_NOT_A_CHOICE
    assert refused.value.error.parameters["choices"] == ", ".join(LORAS)


async def test_loading_is_told(gated: GatedEngine, tmp_path: Path) -> None:
    gated.load_gate.clear()
    async with working_backend(gated, tmp_path) as backend:
        health = await backend.health()
        assert health.state is HealthState.LOADING
        assert health.loading_seconds is not None
        async with aclosing(backend.run(make_call(TINY, tmp_path))) as events:
            first = await anext(events)
            assert isinstance(first, Loading)
            assert first.seconds > 0


async def test_closing_the_stream_cancels_the_job(gated: GatedEngine, tmp_path: Path) -> None:
    app = create_app(lambda: gated, gated.models)
    async with serving(app, tmp_path / "w.sock") as path, aclosing(WorkerBackend(socket_client(path))) as backend:
        events = backend.run(make_call(TINY, tmp_path, steps=50))
        gated.step_gate.release()
        while not isinstance(await anext(events), Progress):
            pass
        await events.aclose()
        await until(app.state.queue.running.cancelled.is_set)
        gated.step_gate.release(100)
        await until(lambda: len(gated.steps_done) == 2)
        gated.step_gate.release(100)
        events = backend.run(make_call(TINY, tmp_path, steps=1))
        assert isinstance((await collect(events))[-1], Made)
    assert gated.steps_done == [1, 2, 1]


async def test_health_of_a_worker_that_is_up(engine: TorchEngine, tmp_path: Path) -> None:
    async with working_backend(engine, tmp_path) as backend:
        health = await backend.health()
    assert (health.state, health.slots, health.problem) == (HealthState.UP, 1, None)
    assert "CPU" in health.detail


async def test_health_of_a_worker_without_a_model_says_why(gated: GatedEngine, tmp_path: Path) -> None:
    gated.problems = {"tiny": OperatorError(Code.MODEL_NOT_FOUND, model="nowhere")}
    async with working_backend(gated, tmp_path) as backend:
        while (health := await backend.health()).state is HealthState.LOADING:
            await asyncio.sleep(0.01)
    assert health.state is HealthState.DOWN
    assert health.problem is not None
    assert (health.problem.code, dict(health.problem.parameters)) == (Code.MODEL_NOT_FOUND, {"model": "nowhere"})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (status(401), Code.BACKEND_KEY_REFUSED),
        (status(200, b"<html>"), Code.BACKEND_ANSWER_INVALID),
        (status(500), Code.BACKEND_ANSWER_INVALID),
        (
            status(200, b'{"state":"ready","protocol":99,"version":"9","device":"GPU"}'),
            Code.BACKEND_REFUSED,
        ),
    ],
)
async def test_health_of_something_that_is_no_worker_of_ours(tmp_path: Path, answer: bytes, code: Code) -> None:
    async with answering(tmp_path, answer) as backend:
        health = await backend.health()
    assert health.state is HealthState.DOWN
    assert health.problem is not None
    assert health.problem.code is code


async def test_nobody_there(tmp_path: Path) -> None:
    async with aclosing(WorkerBackend(socket_client(tmp_path / "w.sock"))) as backend:
        health = await backend.health()
        assert health.state is HealthState.DOWN
        assert health.problem is not None
        assert health.problem.code is Code.BACKEND_UNREACHABLE
        with pytest.raises(BackendUnavailable) as ended:
            await collect(backend.run(make_call(TINY, tmp_path)))
    assert ended.value.error.code is Code.BACKEND_UNREACHABLE
    assert ended.value.retry_after > 0


ENDINGS: list[tuple[bytes, type[CallEnded], Code]] = [
    (status(401), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    (status(503), BackendUnavailable, Code.BACKEND_RATE_LIMITED),
    (status(500), BackendFailed, Code.BACKEND_FAILED),
    (status(404), RequestRefused, Code.BACKEND_REFUSED),
    (status(404, error_line("request", Code.MODEL_UNKNOWN, model="x")), RequestRefused, Code.MODEL_UNKNOWN),
    (stream(error_line("request", Code.OPTION_NOT_A_STEP)), RequestRefused, Code.OPTION_NOT_A_STEP),
    (stream(error_line("operator", Code.OUT_OF_MEMORY)), BackendFailed, Code.OUT_OF_MEMORY),
    (stream(error_line("operator", Code.MODEL_NOT_FOUND)), BackendFailed, Code.MODEL_NOT_FOUND),
    (stream(error_line("worker", Code.UNEXPECTED)), BackendFailed, Code.UNEXPECTED),
    (stream(b"no json\n"), BackendFailed, Code.BACKEND_ANSWER_INVALID),
    (stream(b'{"type": "news"}\n'), BackendFailed, Code.BACKEND_ANSWER_INVALID),
    (
        stream(b'{"type":"picture","width":1,"height":1,"seconds":1,"data":"???"}\n'),
        BackendFailed,
        Code.BACKEND_ANSWER_INVALID,
    ),
    (stream(b'{"type": "started"}\n'), WorkerDied, Code.WORKER_DIED),
    (stream(), WorkerDied, Code.WORKER_DIED),
    (b"", WorkerDied, Code.WORKER_DIED),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", WorkerDied, Code.WORKER_DIED),
]


@pytest.mark.parametrize(("answer", "ending", "code"), ENDINGS)
async def test_every_ending_has_its_own_exception(
    tmp_path: Path, answer: bytes, ending: type[CallEnded], code: Code
) -> None:
    async with answering(tmp_path, answer) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(make_call(TINY, tmp_path)))
    assert type(ended.value) is ending
    assert ended.value.error.code is code


async def test_a_request_s_fault_is_the_user_s_to_mend(tmp_path: Path) -> None:
    answer = stream(error_line("request", Code.OPTION_NOT_A_STEP, option="size", value=100, step=16))
    async with answering(tmp_path, answer) as backend:
        with pytest.raises(RequestRefused) as ended:
            await collect(backend.run(make_call(TINY, tmp_path)))
    assert isinstance(ended.value.error, UserError)
    assert dict(ended.value.error.parameters) == {"option": "size", "value": 100, "step": 16}


async def test_of_several_pictures_one_may_fail_alone(tmp_path: Path) -> None:
    async with answering(tmp_path, stream(error_line("operator", Code.OUT_OF_MEMORY))) as backend:
        events = await collect(backend.run(make_call(TINY, tmp_path, seeds=(1, 2))))
    assert [(type(event), event.index) for event in events if isinstance(event, PictureFailed)] == [
        (PictureFailed, 0),
        (PictureFailed, 1),
    ]


async def test_a_line_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_LINE_BYTES", 1000)
    async with answering(tmp_path, stream(b"x" * 2000), hold=True) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(make_call(TINY, tmp_path)))
    assert ended.value.error.code is Code.BACKEND_ANSWER_INVALID


async def test_a_worker_that_says_nothing_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    impatient = TINY.model_copy(update={"deadline_seconds": 0.05})
    async with answering(tmp_path, stream(b'{"type": "started"}\n'), hold=True) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(make_call(impatient, tmp_path)))
    assert ended.value.error.code is Code.DEADLINE_PASSED


async def test_the_token_is_sent_and_never_shown(gated: GatedEngine, tmp_path: Path) -> None:
    import uvicorn

    from backends.worker.serve import listen_tcp

    app = create_app(lambda: gated, gated.models, token="hush-hush")
    listener = listen_tcp("127.0.0.1", 0, "hush-hush")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with aclosing(WorkerBackend.at_url(url, "hush-hush")) as backend:
            assert (await backend.health()).state in (HealthState.UP, HealthState.LOADING)
            assert "hush-hush" not in repr(vars(backend))
        async with aclosing(WorkerBackend.at_url(url, None)) as backend:
            with pytest.raises(BackendUnavailable) as ended:
                await collect(backend.run(make_call(TINY, tmp_path)))
        assert ended.value.error.code is Code.BACKEND_KEY_REFUSED
    finally:
        server.should_exit = True
        await task


def test_the_bot_s_half_imports_no_torch() -> None:
    code = (
        "import sys, backends.worker.client, backends.worker.process, backends.worker.variants\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers', 'starlette')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
