"""The whole engine with an accelerated transformer paints what it paints without one."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backends.worker.acceleration.accelerate import Means
from backends.worker.acceleration.experts import GroupedExperts, PackedSwiGLU
from backends.worker.acceleration.switch import SpeedUnusable
from backends.worker.engine import speeding
from backends.worker.engine.interface import Cancelled
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.loras import LoraFolder
from backends.worker.variants import BUNDLED_EDIT, VARIANTS, LocalModel
from config.settings import LocalSpeed
from domain.errors import Code
from tests.worker.acceleration.test_graphs import Graphs
from tests.worker.conftest import LORAS, TINY_I1, Recorder, body

ACCELERATED = Means(grouped=True, graphs=True)


def models(editor_folder: Path) -> list[LocalModel]:
    return [
        LocalModel("tiny", VARIANTS["dev"], str(TINY_I1)),
        LocalModel("tiny-edit", BUNDLED_EDIT, str(editor_folder)),
    ]


@pytest.fixture(scope="module")
def recorded() -> list[Graphs]:
    """Those of each model."""
    return []


@pytest.fixture(scope="module")
def fast(editor_folder: Path, lora_folder: Path, recorded: list[Graphs]) -> TorchEngine:
    """What a GPU would have, on this CPU: all but the compiler. Its recordings play what they recorded."""

    def new_graphs() -> Graphs:
        recorded.append(Graphs())
        return recorded[-1]

    made = TorchEngine(models(editor_folder), llama="unused", loras=LoraFolder(lora_folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speeding, "means", lambda speed, hardware: ACCELERATED)
        patch.setattr(speeding, "capture_on_gpu", new_graphs)
        made.load()
    assert not made.problems
    return made


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


JOBS = {
    "dev": body(),
    "full, with guidance": body(variant="full", guidance=4.0, negative_prompt="blue"),
    "another size": body(width=96, height=64),
    "with a LoRA": body(loras=[{"name": LORAS[0], "weight": 0.7}]),
    "with a step cache": body(
        steps=8, accelerators={"fbCache": True, "fbCacheThreshold": 0.3, "cacheStartStep": 1, "cacheEndStep": 6}
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_picture_is_the_same_within_rounding(fast: TorchEngine, engine: TorchEngine, name: str) -> None:
    assert isinstance(fast.loaded_model("tiny").pipeline.transformer.single_stream_blocks[0].block.ff_i, GroupedExperts)
    plain, ours = (pixels(one.make(JOBS[name], None, Recorder()).image) for one in (engine, fast))
    assert np.abs(plain - ours).max() <= 1


def test_an_edit_is_the_same_within_rounding(fast: TorchEngine, engine: TorchEngine) -> None:
    job = body(model="tiny-edit", variant=BUNDLED_EDIT.name, prompt="make the circle blue")
    source = Image.linear_gradient("L").resize((128, 96)).convert("RGB")
    plain, ours = (pixels(one.make(job, source, Recorder()).image) for one in (engine, fast))
    assert np.abs(plain - ours).max() <= 1


def test_steps_are_recorded_in_the_warm_up_and_played_in_jobs(fast: TorchEngine, recorded: list[Graphs]) -> None:
    """But those of a LoRA and of a step cache never are."""
    graphs = recorded[0]
    assert graphs.recorded >= 3
    fast.make(body(), None, Recorder())
    played = graphs.played
    fast.make(body(), None, Recorder())
    assert graphs.played == played + 4
    for name in ("with a LoRA", "with a step cache"):
        fast.make(JOBS[name], None, Recorder())
    assert graphs.played == played + 4


def test_previews_of_played_steps_are_those_of_computed_ones(fast: TorchEngine, engine: TorchEngine) -> None:
    ours, plain = Recorder(), Recorder()
    for one, recorder in ((fast, ours), (engine, plain)):
        one.make(body(preview_every=1), None, recorder)
    assert len(ours.previews) == len(plain.previews) == 3
    for mine, theirs in zip(ours.previews, plain.previews, strict=True):
        near = [np.asarray(Image.open(io.BytesIO(one.data)).convert("RGB")).astype(int) for one in (mine, theirs)]
        assert np.abs(near[0] - near[1]).max() <= 8  # two lossy files


def test_by_what_means_it_computes_is_told(fast: TorchEngine, engine: TorchEngine) -> None:
    assert fast.device.startswith("CPU (grouped experts, attention by ")
    assert engine.device == "CPU"


def test_the_same_seed_gives_the_same_pixels_after_other_jobs(fast: TorchEngine) -> None:
    first = fast.make(body(), None, Recorder()).image.tobytes()
    fast.make(JOBS["with a LoRA"], None, Recorder())
    fast.make(JOBS["with a step cache"], None, Recorder())
    with pytest.raises(Cancelled):
        fast.make(body(), None, Recorder(cancel_at=2))
    assert fast.make(body(), None, Recorder()).image.tobytes() == first


def test_feed_forward_layers_of_the_text_are_packed_too(fast: TorchEngine) -> None:
    block = fast.loaded_model("tiny").pipeline.transformer.double_stream_blocks[0].block
    assert isinstance(block.ff_t, PackedSwiGLU)


def test_on_a_cpu_it_stays_with_diffusers(engine: TorchEngine) -> None:
    transformer = engine.loaded_model("tiny").pipeline.transformer
    assert not any(isinstance(part, GroupedExperts) for part in transformer.modules())


def test_8_bits_where_there_are_none_are_told_to_the_operator(
    monkeypatch: pytest.MonkeyPatch, editor_folder: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SpeedUnusable("no kernel")

    monkeypatch.setattr(speeding, "switch_on", fail)
    made = TorchEngine(models(editor_folder)[:1], llama="unused", speed=LocalSpeed.FP8)
    made.load()
    problem = made.problems["tiny"]
    assert problem.code is Code.MODEL_LOADING_FAILED
    assert "EASEL_LOCAL_SPEED=fp8" in str(problem.parameters["problem"])
