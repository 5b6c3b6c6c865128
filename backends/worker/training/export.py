"""Puts trained parts together as the folders that ship: half-precision safetensors in diffusers' layout."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
)

from backends.worker.training.architecture import TextEncoders
from backends.worker.training.tokenization import Tokenizers

I1_FOLDER: Final = "tiny-i1"
E1_FOLDER: Final = "tiny-e1"
SAMPLING_SHIFT: Final = 3.0


def _half(module: Any) -> Any:
    """A copy for the file, plain in memory whatever layout it was trained in."""
    half = copy.deepcopy(module).eval().to("cpu", torch.float16)
    return half.to(memory_format=torch.contiguous_format)


def export_i1(
    models: Path,
    tokenizers: Tokenizers,
    encoders: TextEncoders,
    vae: AutoencoderKL,
    transformer: HiDreamImageTransformer2DModel,
) -> None:
    """Writes the whole I1 pipeline to ``tiny-i1``, for ``HiDreamImagePipeline.from_pretrained``."""
    pipeline = HiDreamImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SAMPLING_SHIFT),
        vae=_half(vae),
        transformer=_half(transformer),
        **{name: _half(encoder) for name, encoder in encoders.as_dict().items()},
        **tokenizers.as_dict(),
    )
    pipeline.save_pretrained(models / I1_FOLDER)


def export_e1(models: Path, transformer: HiDreamImageTransformer2DModel) -> None:
    """Writes E1.1's part, its transformer; everything else is I1's, as with the real weights."""
    _half(transformer).save_pretrained(models / E1_FOLDER / "transformer")
