"""Paints and edits with the shipped folders through diffusers' stock pipeline, in batches, for the judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    UniPCMultistepScheduler,
)
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from torch import Tensor
from transformers.utils import logging as transformers_logging

from backends.worker.training.export import E1_FOLDER, I1_FOLDER
from backends.worker.training.scenes import CANVAS

BATCH: Final = 20


@dataclass(frozen=True)
class Schedule:
    """A scheduler with its steps and guidance scale."""

    name: str
    steps: int
    guidance: float
    shift: float
    kind: str
    """``euler``, ``lcm`` or ``unipc``."""

    def scheduler(self) -> Any:
        match self.kind:
            case "euler":
                return FlowMatchEulerDiscreteScheduler(shift=self.shift)
            case "lcm":
                return FlowMatchLCMScheduler(shift=self.shift)
            case _:
                return UniPCMultistepScheduler(
                    prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=self.shift
                )


EULER: Final = Schedule("Euler 28", 28, 0.0, 3.0, "euler")
EULER_16: Final = Schedule("Euler 16", 16, 0.0, 3.0, "euler")
DEV: Final = Schedule("Dev (LCM 28)", 28, 0.0, 6.0, "lcm")
FAST: Final = Schedule("Fast (LCM 16)", 16, 0.0, 3.0, "lcm")
FULL: Final = Schedule("Full (UniPC 50, guidance 5)", 50, 5.0, 3.0, "unipc")
EDIT: Final = Schedule("E1 (UniPC 28)", 28, 0.0, 3.0, "unipc")


def load_painter(models: Path) -> HiDreamImagePipeline:
    """tiny-i1, ready to paint 128x128; diffusers and transformers warn no more (of text beyond T5's 8 pieces)."""
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    pipeline = HiDreamImagePipeline.from_pretrained(models / I1_FOLDER, torch_dtype=torch.float32)
    pipeline.default_sample_size = pipeline.transformer.config.max_resolution[0]
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_editor(models: Path) -> HiDreamImageTransformer2DModel:
    """tiny-e1's transformer; it edits with tiny-i1's other parts."""
    transformer: HiDreamImageTransformer2DModel = HiDreamImageTransformer2DModel.from_pretrained(
        models / E1_FOLDER, subfolder="transformer", torch_dtype=torch.float32
    )
    return transformer.eval()


@torch.no_grad()
def paint(
    pipeline: HiDreamImagePipeline,
    prompts: list[str],
    schedule: Schedule = EULER,
    seed: int = 0,
    negative_prompt: str = "",
) -> list[Image.Image]:
    """One 128x128 picture a prompt; the same seed gives the same pictures."""
    pictures: list[Image.Image] = []
    pipeline.scheduler = schedule.scheduler()
    for start in range(0, len(prompts), BATCH):
        torch.manual_seed(seed + start)  # FlowMatchLCM draws from the global generator
        pictures += pipeline(
            prompt=prompts[start : start + BATCH],
            negative_prompt=negative_prompt,
            height=CANVAS,
            width=CANVAS,
            num_inference_steps=schedule.steps,
            guidance_scale=schedule.guidance,
            generator=torch.Generator().manual_seed(seed + start),
        ).images
    return pictures


@torch.no_grad()
def edit(
    pipeline: HiDreamImagePipeline,
    editor: HiDreamImageTransformer2DModel,
    instructions: list[str],
    sources: list[Image.Image],
    schedule: Schedule = EDIT,
    seed: int = 0,
) -> list[Image.Image]:
    """Edits as E1.1 does without guidance: the source's latents stand to the right of the noise."""
    pictures: list[Image.Image] = []
    config = pipeline.vae.config
    for start in range(0, len(instructions), BATCH):
        part = instructions[start : start + BATCH]
        embeds = pipeline.encode_prompt(prompt=part, do_classifier_free_guidance=False)
        t5, llama, pooled = embeds[0], embeds[2], embeds[4]
        pixels = pipeline.image_processor.preprocess(sources[start : start + BATCH])
        source = (pipeline.vae.encode(pixels).latent_dist.mode() - config.shift_factor) * config.scaling_factor
        latents: Tensor = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed + start))
        scheduler = schedule.scheduler()
        scheduler.set_timesteps(schedule.steps)
        for timestep in scheduler.timesteps:
            joined = torch.cat([latents, source], dim=-1)
            answer = editor(joined, timestep.expand(len(part)), t5, llama, pooled, return_dict=False)[0]
            velocity = -answer[..., : latents.shape[-1]]
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        decoded = pipeline.vae.decode(latents / config.scaling_factor + config.shift_factor, return_dict=False)[0]
        pictures += pipeline.image_processor.postprocess(decoded, output_type="pil")
    return pictures
