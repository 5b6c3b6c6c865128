"""From a person's ``speed`` to the blocks that are left out, over a real socket; and what the worker's door refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from backends.base import Made, RequestRefused
from backends.worker.client import socket_client
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.service import create_app
from config.catalogue import Offer
from config.parameters import Option
from domain.accelerators import AcceleratorOptions
from domain.errors import Code
from tests.backends.calls import CATALOGUE, collect, make_call
from tests.worker.conftest import GatedEngine, body, serving
from tests.worker.test_client import working_backend
from tests.worker.test_step_cache import counting


def with_word(**options: Any) -> Offer:
    """The bundled model's offer, in which an operator's ``mine`` stands for these options."""
    presets = {"worker": {"mine": AcceleratorOptions.model_validate(options)}}
    offer = CATALOGUE.with_presets(presets).offer("worker:tiny")
    assert offer is not None
    return offer


async def skipped(engine: TorchEngine, folder: Path, speed: str | None, **options: Any) -> list[int]:
    """The steps of eight in which the last block was not computed."""
    offer = with_word(**options) if options else with_word(fbCache=True)
    async with working_backend(engine, folder) as backend:
        with counting(engine.loaded_model("tiny").pipeline.transformer) as calls:
            events = await collect(backend.run(make_call(offer, folder, speed=speed, steps=8)))
    assert isinstance(events[-1], Made)
    return [number for number, counts in enumerate(calls.steps) if not counts[-1]]


async def test_an_operators_word_skips_what_it_says(engine: TorchEngine, tmp_path: Path) -> None:
    options = {"teaCache": True, "teaCacheDistance": 1.0, "cacheStartStep": 2, "cacheEndStep": 5}
    assert await skipped(engine, tmp_path, "mine", **options) == [2, 3, 4]


@pytest.mark.parametrize("speed", ["exact", None])
async def test_exact_is_what_nobody_asked_to_hurry(engine: TorchEngine, tmp_path: Path, speed: str | None) -> None:
    assert await skipped(engine, tmp_path, speed) == []


async def test_balanced_and_fast_skip_more_and_more(engine: TorchEngine, tmp_path: Path) -> None:
    balanced = await skipped(engine, tmp_path, "balanced")
    fast = await skipped(engine, tmp_path, "fast")
    assert 0 < len(balanced) < len(fast)


@pytest.mark.parametrize("offer", [offer for offer in CATALOGUE.offers().values() if offer.backend == "worker"])
def test_every_offer_of_the_worker_has_the_three_speeds(offer: Offer) -> None:
    speed: Any = offer.parameters[Option.SPEED]
    assert (speed.default, list(speed.presets)) == ("exact", ["exact", "balanced", "fast"])
    assert speed.presets["exact"] == AcceleratorOptions()
    steps: Any = offer.parameters[Option.STEPS]
    for word in ("balanced", "fast"):
        for count in (2, steps.default, steps.maximum):
            assert speed.presets[word].step_cache(count) is not None


@pytest.mark.parametrize(("bundled", "real"), [("tiny", "hidream-i1-dev"), ("tiny-edit", "hidream-e1-full")])
def test_what_is_measured_on_the_bundled_models_is_what_the_real_ones_get(bundled: str, real: str) -> None:
    speeds = [CATALOGUE.model(key).offers[0].parameters[Option.SPEED] for key in (bundled, real)]
    assert speeds[0] == speeds[1]


@pytest.mark.parametrize(
    ("accelerators", "more", "named"),
    [
        ({"fbCache": True, "teaCache": True}, {}, ["fbCache", "teaCache"]),
        ({"fbCache": True, "cacheStartStep": 5, "cacheEndStep": 5}, {}, ["cacheStartStep", "cacheEndStep"]),
        (
            {"dbCache": True, "cacheStartStep": 1, "cacheEndStepPercentage": 50},
            {},
            ["cacheStartStep", "cacheEndStepPercentage"],
        ),
        ({"fbCacheThreshold": 0.5}, {}, ["fbCacheThreshold"]),
        ({"fbCache": True, "fbCacheThreshold": 1.5}, {}, ["fbCacheThreshold"]),
        ({"cacheEndStep": 3}, {}, ["cacheEndStep"]),
        ({"warpCache": True}, {}, ["warpCache"]),
        ({"fbCache": True}, {"steps": 1}, ["fbCache"]),
        ({"teaCache": True, "cacheEndStep": 9}, {"steps": 8}, ["cacheEndStep 9"]),
        ({"teaCache": True, "cacheStartStep": 28}, {"steps": None}, ["cacheStartStep 28"]),
    ],
)
async def test_what_cannot_be_is_refused_by_name_before_anything_runs(
    gated: GatedEngine, tmp_path: Path, accelerators: dict[str, Any], more: dict[str, Any], named: list[str]
) -> None:
    app = create_app(lambda: gated, gated.models)
    job = body().model_dump(mode="json") | more | {"accelerators": accelerators}
    async with serving(app, tmp_path / "w.sock") as path, socket_client(path) as client:
        answer = await client.post("/jobs", content=json.dumps(job), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["at_fault"] == "request"
    told = answer.json()["parameters"]
    for name in named:
        assert name in told.get("option", told.get("reason"))
    assert gated.made == []


async def test_too_few_steps_are_told_to_the_person(gated: GatedEngine, tmp_path: Path) -> None:
    """As the worker sees it, should the bot's catalogue ever let such a request through."""
    offer = with_word(fbCache=True, cacheEndStep=20)
    async with working_backend(gated, tmp_path) as backend:
        with pytest.raises(RequestRefused) as refused:
            await collect(backend.run(make_call(offer, tmp_path, speed="mine", steps=10)))
    assert refused.value.error.code is Code.STEPS_TOO_FEW
    assert refused.value.error.parameters == {"option": "cacheEndStep 20", "steps": 10, "minimum": 20}
