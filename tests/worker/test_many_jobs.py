"""A hundred and twenty jobs of every kind, one after the other: each comes out as if it were the engine's first."""

import copy
import gc
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from backends.worker.engine.interface import Cancelled
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.loras import LoraFolder
from backends.worker.protocol import JobBody
from backends.worker.variants import BUNDLED_EDIT, VARIANTS, LocalModel
from domain.errors import EaselError
from tests.worker.conftest import LORAS, Recorder, body

JOBS = 120
KINDS = 24
"""Different jobs; each is made about five times, between ever other ones."""
WARM_UP = 40
"""Jobs after which the allocator has what it needs."""
MEBIBYTE = 1 << 20
MAX_GROWTH = 14 * MEBIBYTE
"""Over the jobs after the warm-up. Keeping one picture's latents, embeddings or LoRA a job would be more."""

SIZES = [(None, None), (128, 128), (96, 64), (64, 160), (16, 16), (112, 112)]
PROMPTS = ["a red circle", "two blue stars on a white background", "", "a small green heart at the top left"]
INSTRUCTIONS = ["make it red", "move the star to the left", "add a small blue circle at the top"]


@dataclass(frozen=True)
class Wish:
    """A job, and what befalls it."""

    job: JobBody
    source: Image.Image | None = None
    cancel_at: int | None = None
    out_of_memory: bool = False


def wishes(draw: random.Random) -> list[Wish]:
    """Jobs of every kind: the first ten are one of each, the rest is drawn."""
    kinds = ["imagine", "edit", "lora", "cancel", "error", "memory", "guided", "previews", "cache", "cached edit"]
    return [_wish(kinds[number] if number < len(kinds) else draw.choice(kinds), draw) for number in range(KINDS)]


def _wish(kind: str, draw: random.Random) -> Wish:
    width, height = draw.choice(SIZES)
    given: dict[str, object] = {
        "variant": draw.choice(["dev", "full", "fast"]),
        "prompt": draw.choice(PROMPTS),
        "seed": draw.randrange(2**31),
        "steps": draw.randint(2, 3),
        "width": width,
        "height": height,
    }
    match kind:
        case "cache":
            return Wish(body(**(given | {"steps": 4}), accelerators=_cache(draw)))
        case "edit" | "cached edit":
            model, variant = draw.choice([("tiny-edit", "e1"), ("hidream-e1.1", "e1.1")])
            source = Image.linear_gradient("L").resize((draw.randint(8, 300), draw.randint(8, 300))).convert("RGB")
            edit: dict[str, object] = {
                "model": model,
                "variant": variant,
                "prompt": draw.choice(INSTRUCTIONS),
                "steps": 2,
            }
            if kind == "cached edit":
                edit |= {"steps": 4, "accelerators": _cache(draw)}
            return Wish(body(**(given | edit)), source)
        case "lora":
            loras = [
                {"name": name, "weight": draw.choice([-1, 0.5, 1])} for name in draw.sample(LORAS, draw.choice([1, 2]))
            ]
            return Wish(body(**given, loras=loras))
        case "cancel":
            return Wish(body(**given, loras=[{"name": LORAS[0]}] * draw.randint(0, 1)), cancel_at=draw.randint(1, 2))
        case "error":
            wrong: dict[str, object] = draw.choice(
                [{"width": 100}, {"model": "no-such"}, {"loras": [{"name": "no-such"}]}, {"variant": "e1"}]
            )
            return Wish(body(**(given | wrong)))
        case "memory":
            return Wish(body(**given), out_of_memory=True)
        case "guided":
            return Wish(body(**given, guidance=draw.choice([2.0, 5.0]), negative_prompt=draw.choice(PROMPTS)))
        case "previews":
            return Wish(body(**given, preview_every=1))
        case _:
            return Wish(body(**given))


def _cache(draw: random.Random) -> dict[str, object]:
    """A step cache that skips what it may."""
    name, threshold = draw.choice(
        [("fbCache", "fbCacheThreshold"), ("teaCache", "teaCacheDistance"), ("dbCache", "dbCacheThreshold")]
    )
    return {name: True, threshold: 1.0, "cacheStartStep": draw.randint(1, 2)}


def outcome(engine: TorchEngine, wish: Wish) -> str:
    """The picture's hash, or how the job ended without one."""

    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    hooks = []
    if wish.out_of_memory:
        hooks.append(engine.loaded_model(wish.job.model).pipeline.transformer.register_forward_pre_hook(run_out))
    try:
        made = engine.make(wish.job, wish.source, Recorder(cancel_at=wish.cancel_at))
    except Cancelled:
        return "cancelled"
    except EaselError as error:
        return str(error)
    finally:
        for hook in hooks:
            hook.remove()
    return hashlib.sha256(made.image.tobytes()).hexdigest()


@pytest.mark.slow
def test_each_of_many_mixed_jobs_is_as_if_it_were_the_first(editor_folder: Path, lora_folder: Path) -> None:
    models = [
        LocalModel("tiny", VARIANTS["dev"], "tiny"),
        LocalModel("tiny-edit", BUNDLED_EDIT, str(editor_folder)),
        LocalModel("hidream-e1.1", VARIANTS["e1.1"], str(editor_folder)),
    ]
    engine = TorchEngine(models, llama="unused", loras=LoraFolder(lora_folder))
    engine.load()
    draw = random.Random(8)
    different = wishes(draw)
    # A copy of an engine that has made nothing yet is a fresh one, without reading the files again.
    expected = []
    for wish in different:
        expected.append(outcome(copy.deepcopy(engine), wish))
        gc.collect()
    assert len(set(expected)) > KINDS / 2
    assert "cancelled" in expected
    process, used = psutil.Process(), []
    for number, which in enumerate(draw.choices(range(KINDS), k=JOBS)):
        assert outcome(engine, different[which]) == expected[which], f"job {number}: {different[which].job}"
        if number >= WARM_UP and number % 5 == 0:
            gc.collect()
            used.append(process.memory_info().rss)
    print("USED", [round(b / MEBIBYTE, 1) for b in used])
    slope = np.polyfit(range(len(used)), used, 1)[0]
    assert slope * len(used) < MAX_GROWTH, [round(bytes_ / MEBIBYTE) for bytes_ in used]
