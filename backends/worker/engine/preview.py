"""A cheap look at latents: a linear map to RGB, fitted once to each VAE. Never a decode."""

import io

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.nn.functional import interpolate

from backends.worker.engine.interface import Preview

SAMPLES = 4
SAMPLE_SIDE = 128
LONGEST_SIDE = 256
"""Pixels of a preview's longer side."""
QUALITY = 75


class PreviewProjection:
    """Colour as an affine function of one latent pixel.

    Fitted by least squares on smooth random colour fields that went through the VAE's encoder, drawn from a
    generator of its own: making previews changes no picture.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand((SAMPLES, 3, 4, 4), generator=generator)
        fields = interpolate(coarse, SAMPLE_SIDE, mode="bicubic", align_corners=False).clamp(0, 1) * 2 - 1
        with torch.no_grad():
            encoded = vae.encode(fields.to(vae.device, vae.dtype)).latent_dist.mode()
        latents = ((encoded - vae.config.shift_factor) * vae.config.scaling_factor).float().cpu()
        colours = interpolate(fields, latents.shape[-2:], mode="area")
        inputs = _with_ones(latents.movedim(1, -1).reshape(-1, latents.shape[1]))
        targets = colours.movedim(1, -1).reshape(-1, 3)
        # Ridge term: a VAE with unused channels would make the problem singular.
        gram = inputs.T @ inputs + 1e-4 * torch.eye(inputs.shape[1])
        self._weights = torch.linalg.solve(gram, inputs.T @ targets)

    def picture(self, latents: torch.Tensor) -> Image.Image:
        """Latents of shape (1, channels, height, width) as a picture of at most LONGEST_SIDE pixels."""
        pixels = latents[0].float().cpu().movedim(0, -1)
        height, width, channels = pixels.shape
        colours = _with_ones(pixels.reshape(-1, channels)) @ self._weights
        bytes_ = ((colours.nan_to_num() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        image = Image.fromarray(bytes_.reshape(height, width, 3).numpy())
        scale = LONGEST_SIDE / max(height, width)
        return image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)

    def preview(self, latents: torch.Tensor) -> Preview:
        """The same, encoded."""
        file = io.BytesIO()
        self.picture(latents).save(file, "WEBP", quality=QUALITY, method=0)
        return Preview("image/webp", file.getvalue())


def _with_ones(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, torch.ones((rows.shape[0], 1))], dim=1)
