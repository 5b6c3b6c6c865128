"""Variations: another seed's noise blended into a picture's own, exactly."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from backends.worker.engine.noise import Noise
from backends.worker.engine.torch_engine import TorchEngine
from domain.request import MAX_VARIATIONS, Variation
from jobs.variations import Strength
from tests.worker.conftest import ROOT, Recorder, body
from tests.worker.test_engine import FRESH_PROCESS

SOURCE = Image.linear_gradient("L").resize((128, 128)).convert("RGB")
SAMPLERS = [("tiny", "dev"), ("tiny", "full"), ("tiny-edit", "e1")]
"""One that draws noise between its steps, one that draws it once, and an editor."""


def painted(engine: TorchEngine, model: str, variant: str, seed: int, *variations: tuple[int, float]) -> Image.Image:
    listed = [{"seed": seed, "strength": strength} for seed, strength in variations]
    job = body(model=model, variant=variant, seed=seed, variations=listed)
    return engine.make(job, SOURCE, Recorder()).image


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of a channel's values."""
    return float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).mean())


@pytest.mark.parametrize(("model", "variant"), SAMPLERS)
def test_strength_0_is_the_same_picture_and_strength_1_the_other_seed_s_bit_for_bit(
    engine: TorchEngine, model: str, variant: str
) -> None:
    parent, other = painted(engine, model, variant, 7), painted(engine, model, variant, 99)
    assert parent.tobytes() != other.tobytes()
    assert painted(engine, model, variant, 7, (99, 0.0)).tobytes() == parent.tobytes()
    assert painted(engine, model, variant, 7, (99, 1.0)).tobytes() == other.tobytes()


@pytest.mark.parametrize(("model", "variant"), SAMPLERS)
def test_a_subtle_variation_is_closer_to_its_parent_than_a_strong_one_and_that_than_another_picture(
    engine: TorchEngine, model: str, variant: str
) -> None:
    subtle, strong, other = [], [], []
    for seed in (7, 100, 2000):
        parent = painted(engine, model, variant, seed)
        subtle.append(distance(parent, painted(engine, model, variant, seed, (seed + 1, Strength.SUBTLE.share))))
        strong.append(distance(parent, painted(engine, model, variant, seed, (seed + 1, Strength.STRONG.share))))
        other.append(distance(parent, painted(engine, model, variant, seed + 1)))
    assert all(0 < less < more for less, more in zip(subtle, strong, strict=True))
    # Two pictures may be alike by chance; all of them are not.
    assert sum(strong) < sum(other)


def test_a_variation_of_a_variation_begins_with_its_parent_s_noise(engine: TorchEngine) -> None:
    parent = painted(engine, "tiny", "dev", 7, (50, 0.5))
    child = painted(engine, "tiny", "dev", 7, (50, 0.5), (60, 0.2))
    sibling = painted(engine, "tiny", "dev", 7, (60, 0.2))
    assert painted(engine, "tiny", "dev", 7, (50, 0.5), (60, 0.0)).tobytes() == parent.tobytes()
    assert 0 < distance(parent, child) < distance(parent, sibling)


def test_a_fresh_process_gives_the_same_variation(engine: TorchEngine) -> None:
    jobs = [
        body(variant=variant, variations=[{"seed": 50, "strength": 0.2}, {"seed": 60, "strength": 0.5}])
        for variant in ("dev", "full")
    ]
    here = [hashlib.sha256(engine.make(job, None, Recorder()).image.tobytes()).hexdigest() for job in jobs]
    there = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS],
        input="\n".join(job.model_dump_json() for job in jobs),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert there.stdout.split() == here


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("strength", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_blended_noise_is_noise_as_any_other(strength: float, dtype: torch.dtype) -> None:
    noise = Noise(1, [Variation(seed=2, strength=strength), Variation(seed=3, strength=0.3)])
    drawn = noise.blended(lambda generator: torch.randn((4, 128, 128), generator=generator, dtype=dtype))
    assert drawn.dtype is dtype
    # 65536 samples: the mean's standard error is 0.004, the variance's 0.006.
    assert drawn.float().mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.float().var().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    "variations",
    [
        [{"seed": 7, "strength": 0.5}],
        [{"seed": 8, "strength": 0.5}, {"seed": 8, "strength": 0.5}],
        [{"seed": -1, "strength": 0.5}],
        [{"seed": 2**31, "strength": 0.5}],
        [{"seed": 8, "strength": 1.01}],
        [{"seed": 8, "strength": float("nan")}],
        [{"seed": 8}],
        [{"seed": seed, "strength": 0.1} for seed in range(100, 101 + MAX_VARIATIONS)],
    ],
    ids=["the picture's own", "twice", "negative", "too large", "too strong", "no number", "no strength", "too many"],
)
def test_what_is_no_variation_is_refused(variations: list[dict[str, float]]) -> None:
    with pytest.raises(ValidationError):
        body(variations=variations)
