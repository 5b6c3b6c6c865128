"""Edits as HiDream-E1 makes them: the source picture's latents stand beside the noise.

The published script (HiDream-ai/HiDream-E1) joins both on the width axis, lets the transformer see twice as many
tokens, and keeps the left half of its answer. Here that is a transformer that stands before the real one, so that
diffusers' own loop runs unchanged. The optional refinement by I1 is in ``refining``.
"""

import math
from typing import Any

import torch
from diffusers import HiDreamImagePipeline
from PIL import Image

from backends.worker.descriptions import describe_target
from backends.worker.engine.loading import GRID
from backends.worker.engine.painting import use_tiles
from backends.worker.variants import Variant
from domain.request import Size

INSTRUCTION, DESCRIPTION = "Editing Instruction:", "Target Image Description:"
"""The two halves of E1's prompt."""


class SourceBeside(torch.nn.Module):
    """The transformer as the pipeline sees it while editing.

    With guidance the pipeline hands in a batch of two (negative, prompt). It becomes the three of E1 (negative
    without source, negative with source, prompt with source); the combined answer goes back twice, so that the
    pipeline's own guidance leaves it as it is.
    """

    def __init__(
        self, transformer: torch.nn.Module, source: torch.Tensor, variant: Variant, guidance: float, max_seq: int
    ) -> None:
        super().__init__()
        self._transformer = transformer
        self._source = source
        self._variant = variant
        self._guidance = guidance
        self.max_seq = max_seq

    @property
    def config(self) -> Any:
        """The real transformer's."""
        return self._transformer.config

    @property
    def device(self) -> torch.device:
        """Where the pipeline puts its tensors."""
        return self._source.device

    @property
    def dtype(self) -> torch.dtype:
        """In what it computes."""
        return self._source.dtype

    def forward(
        self,
        hidden_states: torch.Tensor,
        timesteps: torch.Tensor,
        encoder_hidden_states_t5: torch.Tensor,
        encoder_hidden_states_llama3: torch.Tensor,
        pooled_embeds: torch.Tensor,
        **options: Any,
    ) -> tuple[torch.Tensor]:
        """Predict for latents of shape (1 or 2, channels, height, width)."""
        rows = [0, 0, 1] if len(hidden_states) == 2 else [0]
        sources = self._source.to(hidden_states.dtype).repeat(len(rows), 1, 1, 1)
        if len(rows) == 3:
            sources[0] = 0
        transformer: Any = self._transformer
        own_max_seq, transformer.max_seq = transformer.max_seq, self.max_seq
        try:
            joined = transformer(
                hidden_states=torch.cat([hidden_states[rows], sources], dim=-1),
                timesteps=timesteps[rows],
                encoder_hidden_states_t5=encoder_hidden_states_t5[rows],
                encoder_hidden_states_llama3=encoder_hidden_states_llama3[:, rows],
                pooled_embeds=pooled_embeds[rows],
                **options,
            )[0]
        finally:
            transformer.max_seq = own_max_seq
        prediction = joined[..., : hidden_states.shape[-1]]
        if len(rows) == 1:
            return (prediction,)
        return (self._guided(*prediction.chunk(3)).repeat(2, 1, 1, 1),)

    def _guided(self, nothing: torch.Tensor, image: torch.Tensor, full: torch.Tensor) -> torch.Tensor:
        """Two guidances in one: by the source picture and by the prompt."""
        if not self._variant.keep_length:
            return nothing + self._variant.image_guidance * (image - nothing) + self._guidance * (full - image)
        text = image + self._guidance * (full - image)
        lengths = full.norm(dim=1, keepdim=True) / (text.norm(dim=1, keepdim=True) + 1e-8)
        guided: torch.Tensor = nothing + self._variant.image_guidance * (text * lengths.clamp(max=1.0) - nothing)
        return guided


def canvas(size: Size, side: int, square: bool) -> Size:
    """The size in which the model works on a picture: at most ``side``² pixels, on the grid."""
    if square:
        return Size(side, side)
    scale = side / math.sqrt(size.width * size.height)
    longest = side * side // GRID

    def fit(length: int) -> int:
        return min(max(int(length * scale) // GRID * GRID, GRID), longest)

    return Size(fit(size.width), fit(size.height))


def result_size(size: Size, side: int) -> Size:
    """The input's aspect with the model's area."""
    scale = side / math.sqrt(size.width * size.height)
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def edit_prompt(variant: Variant, instruction: str) -> str:
    """The instruction in the words that the weights were trained on.

    A person who knows E1's format may write it out; else the description is made from the instruction.
    """
    if not variant.wants_description or given_description(instruction) is not None:
        return instruction
    wish = instruction.partition(DESCRIPTION)[0].strip().removeprefix(INSTRUCTION).strip().rstrip(".")
    return f"{INSTRUCTION} {wish}. {DESCRIPTION} {describe_target(wish)}"


def given_description(instruction: str) -> str | None:
    """The description of the picture to come that a person wrote out; None where there is none."""
    return instruction.partition(DESCRIPTION)[2].strip() or None


@torch.no_grad()
def source_latents(pipeline: HiDreamImagePipeline, source: Image.Image, size: Size, vae_pixels: int) -> torch.Tensor:
    """The source picture, resized to the canvas, as latents of shape (1, channels, height / 8, width / 8)."""
    fitted = source.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    pixels = pipeline.image_processor.preprocess(fitted).to(pipeline.vae.device, pipeline.vae.dtype)
    use_tiles(pipeline.vae, size, vae_pixels)
    config = pipeline.vae.config
    latents: torch.Tensor = pipeline.vae.encode(pixels).latent_dist.mode()
    scaled: torch.Tensor = (latents - config.shift_factor) * config.scaling_factor
    return scaled
