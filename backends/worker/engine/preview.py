"""A cheap look at latents: a linear map to RGB, fitted once to each VAE. Never a decode."""

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

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
        # where latents will be: sending it there each time would wait for the GPU
        self._weights = torch.linalg.solve(gram, inputs.T @ targets).to(vae.device)

    def begin(self, latents: torch.Tensor) -> Callable[[], Image.Image]:
        """Begin a picture of latents of shape (1, channels, height, width), with at most LONGEST_SIDE pixels a side.

        Nothing is waited for here; what is returned does that, on any thread.
        """
        pixels = latents[0].float().movedim(0, -1)
        height, width, channels = pixels.shape
        colours = _with_ones(pixels.reshape(-1, channels)) @ self._weights
        bytes_ = ((colours.nan_to_num() + 1) * 127.5).clamp(0, 255).to(torch.uint8).reshape(height, width, 3)
        there = None
        if bytes_.is_cuda:
            bytes_ = bytes_.to("cpu", non_blocking=True)
            there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            there.record()

        def finish() -> Image.Image:
            if there is not None:
                there.synchronize()
            image = Image.fromarray(bytes_.numpy())
            scale = LONGEST_SIDE / max(height, width)
            return image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)

        return finish

    def picture(self, latents: torch.Tensor) -> Image.Image:
        """The same at once."""
        return self.begin(latents)()


class PreviewThread:
    """Encodes one picture's previews beside its steps, in their order. When the block ends, all are handed over."""

    def __init__(self, take: Callable[[Preview], None]) -> None:
        self._take = take
        self._thread = ThreadPoolExecutor(1, "previews")
        self._begun: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Of a job that failed or was cancelled nobody wants another.
        self._thread.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for one in self._begun:
                one.result()

    def encode(self, finish: Callable[[], Image.Image]) -> None:
        """Finish a picture, encode it and hand it over, without waiting for that."""
        self._begun.append(self._thread.submit(self._encode, finish))

    def _encode(self, finish: Callable[[], Image.Image]) -> None:
        file = io.BytesIO()
        finish().save(file, "WEBP", quality=QUALITY, method=0)
        self._take(Preview("image/webp", file.getvalue()))


def _with_ones(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, torch.ones((rows.shape[0], 1), device=rows.device)], dim=1)
