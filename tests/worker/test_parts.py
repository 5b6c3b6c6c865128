"""The engine's small parts: the prompt cache's bound, the preview's fit, what counts as the same weights."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from backends.worker.engine.embeddings import EmbeddingsCache
from backends.worker.engine.noise import Noise
from backends.worker.engine.painting import sample_size
from backends.worker.engine.preview import PreviewProjection
from backends.worker.engine.schedulers import new_scheduler
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.engine.weights import same_files
from backends.worker.variants import Sampler
from domain.request import Size
from tests.worker.conftest import TINY_I1
from tests.worker.test_engine import counting


def test_the_prompt_cache_forgets_the_least_recently_used(engine: TorchEngine) -> None:
    pipeline = engine.loaded_model("tiny").pipeline
    size = EmbeddingsCache().encode(pipeline, "one").bytes
    cache = EmbeddingsCache(max_bytes=2 * size)
    with counting(pipeline.text_encoder_4) as calls:
        for prompt in ("one", "two", "one", "three", "one"):
            cache.encode(pipeline, prompt)
        assert len(calls) == 3
        cache.encode(pipeline, "two")
        assert len(calls) == 4


class LinearVae:
    """An encoder whose latents are known mixtures of the colours."""

    config = SimpleNamespace(shift_factor=0.25, scaling_factor=2.0)
    device, dtype = torch.device("cpu"), torch.float32
    mixture = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.5, 0.0, 1.0], [0.0, 0.0, 0.0]])

    def encode(self, pixels: torch.Tensor) -> Any:
        small = torch.nn.functional.interpolate(pixels, scale_factor=1 / 8, mode="area")
        latents = torch.einsum("lc,bchw->blhw", self.mixture, small)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 128, 255), (255, 255, 255), (10, 20, 30)])
def test_a_preview_shows_the_colours_that_a_linear_vae_means(colour: tuple[int, int, int]) -> None:
    vae: Any = LinearVae()
    wanted = torch.tensor(colour) / 127.5 - 1
    latents = ((vae.mixture @ wanted - 0.25) * 2.0).reshape(1, 4, 1, 1).expand(1, 4, 8, 16)
    image = PreviewProjection(vae).picture(latents)
    assert image.size == (256, 128)
    assert image.getpixel((100, 60)) == pytest.approx(colour, abs=3)


def test_a_preview_survives_numbers_that_are_none() -> None:
    vae: Any = LinearVae()
    assert isinstance(PreviewProjection(vae).picture(torch.full((1, 4, 2, 2), torch.nan)), Image.Image)


@pytest.mark.parametrize("sampler", list(Sampler))
def test_what_the_last_step_believed_in_is_x0(sampler: Sampler) -> None:
    """With the true velocity (noise - picture) every step believes in the picture."""
    scheduler = new_scheduler(sampler, 3.0, Noise(0))
    scheduler.set_timesteps(5)
    picture, noise = (
        torch.full((1, 2, 4, 4), 0.5),
        torch.randn((1, 2, 4, 4), generator=torch.Generator().manual_seed(1)),
    )
    sigma = scheduler.sigmas[0]
    sample = (1 - sigma) * picture + sigma * noise
    scheduler.step(noise - picture, scheduler.timesteps[0], sample, return_dict=False)
    assert torch.allclose(scheduler.denoised(), picture, atol=1e-5)


@pytest.mark.parametrize("width", range(16, 2049, 112))
@pytest.mark.parametrize("height", [16, 64, 400, 1024, 2048])
def test_the_pipeline_s_own_rescaling_leaves_a_size_alone(width: int, height: int) -> None:
    scale = ((sample_size(Size(width, height), 8) * 8) ** 2 / (width * height)) ** 0.5
    assert (int(width * scale // 16 * 16), int(height * scale // 16 * 16)) == (width, height)


def test_the_same_weights_are_recognised_by_what_is_in_them(tmp_path: Path) -> None:
    shutil.copytree(TINY_I1 / "vae", tmp_path / "copy")
    assert same_files(TINY_I1 / "vae", tmp_path / "copy")
    weights = tmp_path / "copy" / "diffusion_pytorch_model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert not same_files(TINY_I1 / "vae", tmp_path / "copy")
