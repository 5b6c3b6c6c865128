"""One picture from noise: the part that I1 and E1 have in common."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, HiDreamImagePipeline
from PIL import Image

from backends.worker.engine.embeddings import Embeddings
from backends.worker.engine.interface import Painted
from backends.worker.engine.noise import Noise
from backends.worker.engine.pacing import Pace
from backends.worker.engine.schedulers import Scheduler, new_scheduler
from backends.worker.engine.step_cache import caching
from backends.worker.engine.tea_cache import CURVES
from backends.worker.variants import Variant
from domain.accelerators import StepCache
from domain.request import Size, Variation

OnStep = Callable[[int, Scheduler], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a picture's pixels, given the model."""

    variant: Variant
    prompt: Embeddings
    negative: Embeddings | None
    """Present where guidance is above 1."""
    size: Size
    steps: int
    guidance: float
    seed: int
    variations: tuple[Variation, ...] = ()
    cache: StepCache | None = None
    """Blocks that may be left out in some steps."""
    vae_pixels: int = 1 << 20
    """The most that the VAE works on at once."""


def paint(pipeline: HiDreamImagePipeline, transformer: Any, recipe: Recipe, on_step: OnStep) -> Painted:
    """Denoise through diffusers' own loop, then decode.

    ``transformer`` is the pipeline's, or one that stands before it. ``on_step`` gets the number of the step
    that is done, from 1; what it raises ends the job before anything is decoded.
    """
    noise = Noise(recipe.seed, recipe.variations)
    scheduler = new_scheduler(recipe.variant.sampler, recipe.variant.shift, noise)
    # A pipeline of its own for each picture: no scheduler, flag or size is left over from another job.
    own = HiDreamImagePipeline(**{**pipeline.components, "transformer": transformer, "scheduler": scheduler})
    own.set_progress_bar_config(disable=True)
    own.default_sample_size = sample_size(recipe.size, own.vae_scale_factor)

    pace = Pace(own.device)

    def step_end(_pipeline: object, index: int, _timestep: object, _tensors: object) -> dict[str, torch.Tensor]:
        pace.step()
        on_step(index + 1, scheduler)
        return {}

    negative = recipe.negative
    started = time.monotonic()
    try:
        with caching(pipeline.transformer, recipe.cache, CURVES[recipe.variant.name]):
            latents = own(
                prompt_embeds_t5=recipe.prompt.t5,
                prompt_embeds_llama3=recipe.prompt.llama,
                pooled_prompt_embeds=recipe.prompt.pooled,
                negative_prompt_embeds_t5=negative.t5 if negative else None,
                negative_prompt_embeds_llama3=negative.llama if negative else None,
                negative_pooled_prompt_embeds=negative.pooled if negative else None,
                width=recipe.size.width,
                height=recipe.size.height,
                num_inference_steps=recipe.steps,
                guidance_scale=recipe.guidance,
                generator=noise.generator,
                latents=_first_latents(own, noise, recipe) if noise.is_blended else None,
                output_type="latent",
                return_dict=False,
                callback_on_step_end=step_end,
                callback_on_step_end_tensor_inputs=[],
            )[0]
        image = decode(own, latents, recipe.size, recipe.vae_pixels)
    finally:
        own.maybe_free_model_hooks()
    return Painted(image, time.monotonic() - started)


def _first_latents(pipeline: HiDreamImagePipeline, noise: Noise, recipe: Recipe) -> torch.Tensor:
    """What the denoising begins with, drawn as the pipeline itself draws it; it moves it to where it computes."""
    return noise.blended(
        lambda generator: pipeline.prepare_latents(
            1,
            pipeline.transformer.config.in_channels,
            recipe.size.height,
            recipe.size.width,
            recipe.prompt.pooled.dtype,
            torch.device("cpu"),
            generator,
        )
    )


@torch.no_grad()
def decode(pipeline: HiDreamImagePipeline, latents: torch.Tensor, size: Size, vae_pixels: int) -> Image.Image:
    """Latents of shape (1, channels, height, width) as a picture of that size."""
    use_tiles(pipeline.vae, size, vae_pixels)
    config = pipeline.vae.config
    unscaled = latents.to(pipeline.vae.dtype) / config.scaling_factor + config.shift_factor
    pixels = pipeline.vae.decode(unscaled, return_dict=False)[0]
    image = pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
    assert isinstance(image, Image.Image)
    return image


def use_tiles(vae: AutoencoderKL, size: Size, vae_pixels: int) -> None:
    """Let the VAE work on a picture in tiles if it has more than ``vae_pixels``, and in one piece if not.

    The tiles overlap by a quarter and are blended there, so that no seams are seen; the pixels differ a little
    from those of one piece.
    """
    side = math.isqrt(vae_pixels)
    vae.use_tiling = size.width * size.height > vae_pixels
    vae.tile_sample_min_size = side
    vae.tile_latent_min_size = side // 2 ** (len(vae.config.block_out_channels) - 1)


def sample_size(size: Size, vae_scale_factor: int) -> float:
    """The ``default_sample_size`` with which the pipeline leaves a size alone.

    It scales every size to ``(default_sample_size * vae_scale_factor)**2`` pixels and rounds down to its grid,
    so the area has to be this picture's own, and a hair more against rounding.
    """
    return math.sqrt(size.width * size.height) / vae_scale_factor * (1 + 1e-9)
