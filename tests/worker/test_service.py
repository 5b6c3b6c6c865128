"""The worker's HTTP side, over a real Unix socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.worker.client import socket_client
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.jobs import Job, JobQueue, working
from backends.worker.loras import LoraFolder
from backends.worker.service import MAX_BODY_BYTES, create_app
from domain.errors import Code, OperatorError
from tests.worker.conftest import LORAS, GatedEngine, body, picture_base64, serving, until

JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def service(
    engine: TorchEngine | GatedEngine, folder: Path, *, token: str | None = None, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(lambda: engine, engine.models, token=token, **options)
    async with serving(app, folder / "w.sock") as path, socket_client(path) as client:
        client.timeout = httpx.Timeout(60)
        yield client
        if isinstance(engine, GatedEngine):
            engine.step_gate.release(1000)


class Stream:
    """One job's connection, read line by line."""

    def __init__(self, client: httpx.AsyncClient, **job: Any) -> None:
        self._request = client.stream("POST", "/jobs", content=body(**job).model_dump_json(), headers=JSON)

    async def __aenter__(self) -> "Stream":
        self.response = await self._request.__aenter__()
        self._lines = self.response.aiter_lines()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._request.__aexit__(*error)

    async def next(self) -> dict[str, Any]:
        event = json.loads(await anext(self._lines))
        assert isinstance(event, dict)
        return event

    async def rest(self) -> list[dict[str, Any]]:
        return [json.loads(line) async for line in self._lines]


async def ready(client: httpx.AsyncClient) -> dict[str, Any]:
    while (health := (await client.get("/health")).json())["state"] == "loading":
        await asyncio.sleep(0.01)
    assert isinstance(health, dict)
    return health


async def test_a_job_is_told_step_by_step(engine: TorchEngine, tmp_path: Path) -> None:
    async with service(engine, tmp_path) as client:
        await ready(client)
        async with Stream(client, steps=3, preview_every=2) as stream:
            assert stream.response.headers["content-type"] == "application/x-ndjson"
            events = await stream.rest()
    # A preview is made beside the steps that follow it.
    previews = [place for place, event in enumerate(events) if event["type"] == "preview"]
    assert len(previews) == 1
    assert previews[0] > 2
    del events[previews[0]]
    assert [event["type"] for event in events] == ["started", "step", "step", "step", "picture"]
    assert [(event["step"], event["steps"]) for event in events if event["type"] == "step"] == [(1, 3), (2, 3), (3, 3)]
    picture = events[-1]
    assert (picture["width"], picture["height"]) == (128, 128)
    assert picture["seconds"] > 0


async def test_health_and_models_say_what_there_is(engine: TorchEngine, tmp_path: Path, lora_folder: Path) -> None:
    async with service(engine, tmp_path, loras=LoraFolder(lora_folder)) as client:
        health = await ready(client)
        assert health["state"] == "ready"
        assert health["device"] == "CPU"
        assert (health["slots"], health["busy"], health["waiting"]) == (1, 0, 0)
        there = (await client.get("/models")).json()
    assert there["loras"] == health["loras"] == list(LORAS)
    models = there["models"]
    assert {"key": "tiny", "kind": "imagine", "variant": "dev", "loaded": True} in models
    assert {"key": "tiny-edit", "kind": "edit", "variant": "e1", "loaded": True} in models


async def test_while_models_load_jobs_are_told_how_long(gated: GatedEngine, tmp_path: Path) -> None:
    gated.load_gate.clear()
    async with service(gated, tmp_path) as client:
        health = (await client.get("/health")).json()
        assert health["state"] == "loading"
        assert health["loading_seconds"] > 0
        async with Stream(client) as stream:
            first = await stream.next()
            assert first["type"] == "loading"
            assert first["seconds"] > 0
            gated.load_gate.set()
            gated.step_gate.release(10)
            rest = [event["type"] for event in await stream.rest()]
    assert rest[-1] == "picture"
    assert "started" in rest


async def test_jobs_wait_in_line_and_are_told_their_place(gated: GatedEngine, tmp_path: Path) -> None:
    async with service(gated, tmp_path) as client:
        await ready(client)
        async with Stream(client, job_id="1") as one:
            assert (await one.next())["type"] == "started"
            async with Stream(client, job_id="2") as two, Stream(client, job_id="3") as three:
                assert await two.next() == {"type": "queued", "ahead": 1}
                assert await three.next() == {"type": "queued", "ahead": 2}
                gated.step_gate.release(4)
                assert (await one.rest())[-1]["type"] == "picture"
                assert (await two.next())["type"] == "started"
                assert await three.next() == {"type": "queued", "ahead": 1}
                gated.step_gate.release(8)
                assert (await two.rest())[-1]["type"] == (await three.rest())[-1]["type"] == "picture"
    assert gated.made == ["1", "2", "3"]


async def test_a_full_line_turns_the_next_away(gated: GatedEngine, tmp_path: Path) -> None:
    async with service(gated, tmp_path, max_waiting=1) as client:
        await ready(client)
        async with Stream(client, job_id="1") as one:
            await one.next()
            async with Stream(client, job_id="2") as two:
                await two.next()
                refused = await client.post("/jobs", content=body().model_dump_json(), headers=JSON)
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "5"
                health = (await client.get("/health")).json()
                assert (health["busy"], health["waiting"]) == (1, 1)


async def test_hanging_up_ends_the_job_at_its_next_step(gated: GatedEngine, tmp_path: Path) -> None:
    app = create_app(lambda: gated, gated.models)
    async with serving(app, tmp_path / "w.sock") as path, socket_client(path) as client:
        await ready(client)
        async with Stream(client, job_id="1", steps=10) as stream:
            await stream.next()
            gated.step_gate.release()
            assert await stream.next() == {"type": "step", "step": 1, "steps": 10}
        await until(app.state.queue.running.cancelled.is_set)
        gated.step_gate.release(100)
        await until_free(client)
        async with Stream(client, job_id="2", steps=1) as stream:
            assert (await stream.rest())[-1]["type"] == "picture"
    assert gated.steps_done == [1, 2, 1]


async def until_free(client: httpx.AsyncClient) -> None:
    while (await client.get("/health")).json()["busy"]:
        await asyncio.sleep(0.01)


async def test_hanging_up_while_waiting_leaves_the_line(gated: GatedEngine, tmp_path: Path) -> None:
    async with service(gated, tmp_path) as client:
        await ready(client)
        async with Stream(client, job_id="1") as one:
            await one.next()
            async with Stream(client, job_id="2") as two, Stream(client, job_id="3") as three:
                await two.next()
                await three.next()
                await two.response.aclose()
                assert await three.next() == {"type": "queued", "ahead": 1}
                gated.step_gate.release(8)
                await three.rest()
    assert gated.made == ["1", "3"]


async def test_cancel_frees_the_real_engine_at_its_next_step(engine: TorchEngine, tmp_path: Path) -> None:
    calls: list[int] = []
    hook = engine.loaded_model("tiny").pipeline.transformer.register_forward_hook(lambda *_: calls.append(1))
    try:
        async with service(engine, tmp_path) as client:
            await ready(client)
            async with Stream(client, steps=200) as stream:
                while (await stream.next())["type"] != "step":
                    pass
            await until_free(client)
            assert len(calls) < 100
            done = len(calls)
            async with Stream(client, steps=2) as stream:
                assert (await stream.rest())[-1]["type"] == "picture"
            assert len(calls) == done + 2
    finally:
        hook.remove()


async def test_the_loop_answers_while_the_engine_computes(gated: GatedEngine, tmp_path: Path) -> None:
    async with service(gated, tmp_path) as client:
        await ready(client)
        async with Stream(client) as stream:
            await stream.next()
            assert (await client.get("/health")).json()["busy"] == 1


async def test_a_failed_job_says_whose_the_mend_is_and_the_worker_lives(gated: GatedEngine, tmp_path: Path) -> None:
    async with service(gated, tmp_path) as client:
        await ready(client)
        gated.failure = OperatorError(Code.OUT_OF_MEMORY, model="tiny", device="cuda")
        async with Stream(client) as stream:
            assert (await stream.rest())[-1] == {
                "type": "error",
                "at_fault": "operator",
                "code": "out_of_memory",
                "parameters": {"model": "tiny", "device": "cuda"},
            }
        gated.failure = ZeroDivisionError("nobody expected this")
        async with Stream(client) as stream:
            error = (await stream.rest())[-1]
        assert (error["at_fault"], error["code"]) == ("worker", "unexpected")
        assert "nobody" not in json.dumps(error)
        gated.failure = None
        gated.step_gate.release(4)
        async with Stream(client) as stream:
            assert (await stream.rest())[-1]["type"] == "picture"


async def test_a_worker_without_any_model_is_failed_and_says_why(gated: GatedEngine, tmp_path: Path) -> None:
    gated.problems = {"tiny": OperatorError(Code.MODEL_NOT_FOUND, model="nowhere")}
    async with service(gated, tmp_path) as client:
        health = await ready(client)
    assert health["state"] == "failed"
    assert health["problem"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (body().model_dump_json(), {"Content-Type": "text/plain"}, 415),
        (body().model_dump_json(), {}, 415),
        ("{", JSON, 422),
        ("{}", JSON, 422),
        (json.dumps(body().model_dump() | {"surprise": 1}), JSON, 422),
        (json.dumps(body().model_dump() | {"seed": -1}), JSON, 422),
        (json.dumps(body().model_dump() | {"steps": 100_000}), JSON, 422),
        (json.dumps(body().model_dump() | {"prompt": "x" * 2001}), JSON, 422),
        (json.dumps(body().model_dump() | {"source": "no base64!"}), JSON, 422),
        (json.dumps(body().model_dump() | {"source": "AAAA"}), JSON, 422),
        (body(model="unheard-of").model_dump_json(), JSON, 404),
        (b" " * (MAX_BODY_BYTES + 1), JSON, 413),
    ],
)
async def test_bad_requests_are_refused_before_anything_is_queued(
    gated: GatedEngine, tmp_path: Path, content: str | bytes, headers: dict[str, str], status: int
) -> None:
    async with service(gated, tmp_path) as client:
        response = await client.post("/jobs", content=content, headers=headers)
        assert response.status_code == status
        assert response.json()["at_fault"] == "request"
    assert gated.made == []


@pytest.mark.parametrize("path", ["/jobs", "/health", "/models"])
@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "secret", "Basic secret", "bearer secret"])
async def test_with_a_token_nobody_else_gets_in(
    gated: GatedEngine, tmp_path: Path, path: str, given: str | None
) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with service(gated, tmp_path, token="secret") as client:
        response = await client.request("POST" if path == "/jobs" else "GET", path, headers=headers)
        assert response.status_code == 401
        assert (await client.get("/health", headers={"Authorization": "Bearer secret"})).status_code == 200


async def test_an_edit_s_source_is_decoded_before_it_waits(engine: TorchEngine, tmp_path: Path) -> None:
    async with service(engine, tmp_path) as client:
        await ready(client)
        job = {"model": "tiny-edit", "variant": "e1", "steps": 1, "source": picture_base64((80, 40), "JPEG")}
        async with Stream(client, **job) as stream:
            picture = (await stream.rest())[-1]
    assert picture["type"] == "picture"
    assert picture["width"] == pytest.approx(2 * picture["height"], abs=2)


async def test_stopping_ends_the_running_job_at_its_step(gated: GatedEngine) -> None:
    queue = JobQueue(lambda: gated, weights_bytes=0, max_waiting=1)
    async with working(queue):
        queue.submit(Job(body(steps=200), None))
        await until(lambda: bool(gated.made))
        # Opened only when the queue is being stopped and waits for the step.
        asyncio.get_running_loop().call_later(0.05, gated.step_gate.release, 1000)
    assert len(gated.steps_done) == 1
