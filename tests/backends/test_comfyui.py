"""ComfyUI, spoken to over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from PIL import Image

from backends.base import (
    Accepted,
    BackendFailed,
    BackendUnavailable,
    Call,
    Cancelling,
    HealthState,
    Made,
    Preview,
    Progress,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.clock import Clock
from backends.comfyui import ComfyUIBackend
from backends.comfyui_protocol import GRAPHS, files_of, load_graph
from backends.limiter import Pace
from config.catalogue import Offer
from config.loading import load
from domain.errors import Code
from domain.request import Size
from tests.backends.calls import CATALOGUE, collect, make_call, offer
from tests.backends.conftest import IMPATIENT, comfyui
from tests.doubles import FakeClock
from tests.servers.comfyui import FILES, ComfyUIServer
from tests.servers.hosted import Fault

OFFERS = [one for one in CATALOGUE.offers().values() if one.backend == "comfyui"]
PATIENT = {"clock": Clock(), "pace": Pace(first=30)}
"""With a real clock and long pauses, only the WebSocket can bring news in time."""


@pytest.fixture
async def server() -> AsyncIterator[ComfyUIServer]:
    async with ComfyUIServer() as server:
        yield server


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return make_call(offer("comfyui:hidream-i1-full"), tmp_path)


@pytest.mark.parametrize("model", [one.model_key for one in OFFERS])
async def test_every_graph_is_one_that_the_server_takes(
    server: ComfyUIServer, clock: FakeClock, tmp_path: Path, model: str
) -> None:
    call = make_call(offer(f"comfyui:{model}"), tmp_path)
    async with comfyui(server, clock) as backend:
        events = await collect(backend.run(call))
    made = events[-1]
    assert isinstance(made, Made)
    assert (made.cost, made.seconds) == (0, 2.5)
    (prompt,) = server.prompts
    assert prompt.id == prompt.client_id == call.pictures[0].submission_id
    assert prompt.graph["model"]["inputs"]["unet_name"] == call.offer.target


def test_there_is_a_graph_for_every_offer_and_an_offer_for_every_graph() -> None:
    assert {path.stem for path in GRAPHS.glob("*.json")} == {one.model_key for one in OFFERS}


@pytest.mark.parametrize("one", OFFERS, ids=lambda one: one.model_key)
def test_every_field_of_an_offer_is_an_input_of_its_graph(one: Offer) -> None:
    graph = load_graph(one.model_key)
    for parameter in one.parameters.values():
        for field in parameter.fields:
            node, _, name = field.partition(".")
            described = graph[node]
            assert isinstance(described, dict)
            inputs = described["inputs"]
            assert isinstance(inputs, dict)
            assert name in inputs
    known = {name for names in FILES.values() for name in names}
    assert {name for _, _, name in files_of(graph)} | {one.target} <= known


async def test_the_options_stand_in_the_graph(server: ComfyUIServer, clock: FakeClock, tmp_path: Path) -> None:
    call = make_call(
        offer("comfyui:hidream-i1-full"),
        tmp_path,
        seeds=(2147483647,),
        prompt="a fox",
        negative_prompt="a wolf",
        size=Size(512, 768),
        steps=9,
        guidance=2.5,
        scheduler="euler",
    )
    async with comfyui(server, clock) as backend:
        (made,) = [event for event in await collect(backend.run(call)) if isinstance(event, Made)]
    graph = server.prompts[0].graph
    assert graph["prompt"]["inputs"]["text"] == "a fox"
    assert graph["negative"]["inputs"]["text"] == "a wolf"
    assert (graph["latent"]["inputs"]["width"], graph["latent"]["inputs"]["height"]) == (512, 768)
    sampler = graph["sampler"]["inputs"]
    assert [sampler[name] for name in ("seed", "steps", "cfg", "sampler_name")] == [2147483647, 9, 2.5, "euler"]
    with Image.open(made.path) as image:
        assert image.size == (512, 768)


async def test_what_is_left_open_has_the_values_of_the_official_graphs(
    server: ComfyUIServer, clock: FakeClock, tmp_path: Path
) -> None:
    values = {}
    async with comfyui(server, clock) as backend:
        for number, model in enumerate(("hidream-i1-dev", "hidream-i1-full", "hidream-i1-fast")):
            call = make_call(offer(f"comfyui:{model}"), tmp_path, submission=str(number))
            await collect(backend.run(call))
            graph = server.prompts[-1].graph
            sampler = graph["sampler"]["inputs"]
            values[model] = (
                graph["shifted"]["inputs"]["shift"],
                *[sampler[name] for name in ("sampler_name", "scheduler", "steps", "cfg")],
            )
    assert values == {
        "hidream-i1-dev": (6, "lcm", "normal", 28, 1),
        "hidream-i1-full": (3, "uni_pc", "simple", 50, 5),
        "hidream-i1-fast": (3, "lcm", "normal", 16, 1),
    }


async def test_an_edit_uploads_its_picture_and_uses_the_name_that_it_gets(
    server: ComfyUIServer, clock: FakeClock, tmp_path: Path
) -> None:
    call = make_call(offer("comfyui:hidream-e1.1"), tmp_path)
    assert call.source is not None
    async with comfyui(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    ((name, content),) = server.uploads.items()
    assert content == call.source.read_bytes()
    assert server.prompts[0].graph["source"]["inputs"]["image"] == f"here/{name}"


async def test_steps_and_previews_are_told_as_they_come(server: ComfyUIServer, clock: FakeClock, call: Call) -> None:
    server.set_plan(plays=True)
    async with asyncio.timeout(60), comfyui(server, clock, **PATIENT) as backend:
        events = await collect(backend.run(call))
    assert [type(event) for event in events] == [Accepted, Working, Working, Progress, Progress, Preview, Made]
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2]
    (preview,) = [event for event in events if isinstance(event, Preview)]
    assert preview.media_type == "image/jpeg"
    assert preview.data.startswith(b"\xff\xd8")


@pytest.mark.parametrize("fault", [Fault(404), Fault(cut="before")])
async def test_without_a_websocket_it_works_all_the_same(
    server: ComfyUIServer, clock: FakeClock, call: Call, fault: Fault
) -> None:
    server.fail("socket", fault)
    async with comfyui(server, clock) as backend:
        assert [type(event) for event in await collect(backend.run(call))] == [Accepted, Working, Made]


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("how", [{"cut": "before"}, {"cut": "middle"}, {"status": 500}, {"status": 503}])
async def test_a_submit_whose_answer_was_lost_is_looked_up_before_it_is_sent_again(
    server: ComfyUIServer, clock: FakeClock, call: Call, accepted: bool, how: dict[str, object]
) -> None:
    server.fail("submit", Fault(**how, accepted=accepted))  # type: ignore[arg-type]
    async with comfyui(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert len(server.prompts) == 1
    assert server.submits == (1 if accepted else 2)


async def test_what_an_earlier_process_submitted_is_not_submitted_again(
    server: ComfyUIServer, clock: FakeClock, call: Call
) -> None:
    async with comfyui(server, clock) as backend:
        events = backend.run(call)
        await anext(events)
        await events.aclose()
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.submits == 1


async def test_a_server_that_gives_ids_of_its_own(server: ComfyUIServer, clock: FakeClock, call: Call) -> None:
    server.set_plan(own_ids=True)
    async with comfyui(server, clock) as backend:
        events = await collect(backend.run(call))
    assert isinstance(events[0], Accepted)
    assert events[0].remote_id == server.prompts[0].id != call.pictures[0].submission_id
    assert isinstance(events[-1], Made)


async def test_a_server_that_was_started_anew_has_lost_the_prompt(
    server: ComfyUIServer, clock: FakeClock, call: Call
) -> None:
    server.set_plan(looks=10**9)
    async with comfyui(server, clock) as backend, aclosing(backend.run(call)) as events:
        await anext(events)
        server.forget()
        with pytest.raises(WorkerDied):
            await collect(events)


async def test_a_server_that_is_gone_for_a_minute_has_lost_the_prompt(
    server: ComfyUIServer, clock: FakeClock, call: Call
) -> None:
    async with comfyui(server, clock) as backend, aclosing(backend.run(call)) as events:
        await anext(events)
        begun = clock.time
        await server.stop()
        with pytest.raises(WorkerDied) as ended:
            await collect(events)
    assert ended.value.error.code is Code.BACKEND_UNREACHABLE
    assert 60 < clock.time - begun < 120


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        ({"error": "the sampler\nbroke"}, Code.BACKEND_FAILED),
        ({"error": "no room", "exception": "torch.OutOfMemoryError"}, Code.OUT_OF_MEMORY),
        ({"error": "no room", "exception": "torch.cuda.OutOfMemoryError"}, Code.OUT_OF_MEMORY),
        ({"interrupted": True}, Code.BACKEND_FAILED),
        ({"output": "nothing"}, Code.BACKEND_ANSWER_INVALID),
        ({"output": "missing"}, Code.BACKEND_ANSWER_INVALID),
        ({"output": "text"}, Code.BACKEND_ANSWER_INVALID),
    ],
)
async def test_how_a_prompt_can_end(
    server: ComfyUIServer, clock: FakeClock, call: Call, plan: dict[str, object], code: Code
) -> None:
    server.set_plan(**plan)
    async with comfyui(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is code
    assert ended.value.cost == 0
    assert list(call.workspace.iterdir()) == []


@pytest.mark.parametrize(("folder", "file"), [(folder, names[0]) for folder, names in FILES.items()])
async def test_a_missing_file_is_named(
    server: ComfyUIServer, clock: FakeClock, tmp_path: Path, folder: str, file: str
) -> None:
    server.files[folder].remove(file)
    async with comfyui(server, clock) as backend:
        with pytest.raises(RequestRefused) as ended:
            await collect(backend.run(make_call(offer("comfyui:hidream-i1-dev"), tmp_path)))
    assert ended.value.error.code is Code.MODEL_NOT_FOUND
    assert ended.value.error.parameters["model"] == file


async def test_what_it_objects_to_is_told(server: ComfyUIServer, clock: FakeClock, tmp_path: Path) -> None:
    async with comfyui(server, clock) as backend:
        server.fail("submit", Fault(400, {"error": {"message": "Prompt has no outputs"}, "node_errors": []}))
        with pytest.raises(RequestRefused) as ended:
            await collect(backend.run(make_call(offer("comfyui:hidream-i1-dev"), tmp_path)))
    assert ended.value.error.parameters["reason"] == "Prompt has no outputs"


async def test_a_prompt_that_takes_too_long_is_interrupted(
    server: ComfyUIServer, clock: FakeClock, tmp_path: Path
) -> None:
    server.set_plan(looks=10**9)
    short = offer("comfyui:hidream-i1-dev").model_copy(update={"deadline_seconds": 20})
    async with comfyui(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(make_call(short, tmp_path)))
    assert ended.value.error.code is Code.DEADLINE_PASSED
    assert server.prompts[0].state == "interrupted"


async def test_cancelling_takes_a_waiting_prompt_out_and_interrupts_a_running_one(
    server: ComfyUIServer, clock: FakeClock, tmp_path: Path
) -> None:
    server.set_plan(looks=10**9)
    async with comfyui(server, clock) as backend:
        assert isinstance(backend, Cancelling)
        for word in ("running", "waiting", "of somebody else"):
            events = backend.run(make_call(offer("comfyui:hidream-i1-dev"), tmp_path, submission=word))
            await anext(events)
            await events.aclose()
        running, waiting, other = server.prompts
        waiting.state = "waiting"
        await backend.cancel(waiting.id)
        assert server.prompts == [running, other]
        await backend.cancel(running.id)
        assert (running.state, other.state) == ("interrupted", "running")
        await backend.cancel("unknown")
        assert (server.count("interrupt"), server.count("delete")) == (1, 1)
        await server.stop()
        await backend.cancel(other.id)


async def test_a_server_that_takes_no_uploads(server: ComfyUIServer, clock: FakeClock, tmp_path: Path) -> None:
    server.fail("upload", Fault(404))
    async with comfyui(server, clock) as backend:
        with pytest.raises(BackendUnavailable):
            await collect(backend.run(make_call(offer("comfyui:hidream-e1-full"), tmp_path)))
    assert server.submits == 0


@pytest.mark.parametrize("new_lists", [False, True])
async def test_health_names_the_server_and_the_models_that_it_lacks(
    server: ComfyUIServer, clock: FakeClock, new_lists: bool
) -> None:
    server.set_plan(new_lists=new_lists)
    server.files["diffusion_models"].remove("hidream_e1_1_bf16.safetensors")
    async with comfyui(server, clock) as backend:
        health = await backend.health()
        assert health.state is HealthState.UP
        assert health.detail == (
            "ComfyUI 0.3.60 on cuda:0 Stand-in; without hidream-e1.1 (hidream_e1_1_bf16.safetensors)"
        )
        server.files["vae"].clear()
        clock.time += 61
        health = await backend.health()
    assert health.state is HealthState.DOWN
    assert health.problem is not None
    assert (health.problem.code, health.problem.parameters["model"]) == (Code.MODEL_NOT_FOUND, "ae.safetensors")


@pytest.mark.parametrize("fault", [Fault(500), Fault(404), Fault(raw="<html>"), Fault(silent=True), Fault(json=[1])])
async def test_health_of_something_else(server: ComfyUIServer, clock: FakeClock, fault: Fault) -> None:
    server.fail("stats", fault)
    async with comfyui(server, clock, timeouts=IMPATIENT) as backend:
        assert (await backend.health()).state is HealthState.DOWN


async def test_the_settings_describe_it(tmp_path: Path) -> None:
    assert ComfyUIBackend.from_settings(load({}, tmp_path), {}) is None
    settings = load(
        {"COMFYUI_URL": "http://10.0.0.5:8188", "COMFYUI_MODELS": "hidream-i1-dev=mine.safetensors, hidream-e1.1"},
        tmp_path,
    )
    own = CATALOGUE.with_own("comfyui", settings.comfyui_models)
    backend = ComfyUIBackend.from_settings(settings, own.offers())
    assert backend is not None
    assert backend._models == {
        "hidream-i1-dev": "mine.safetensors",
        "hidream-e1.1": "hidream_e1_1_bf16.safetensors",
    }
    await backend.aclose()
