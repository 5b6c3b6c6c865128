"""Trains the autoencoder: pictures of 128x128 to latents of 12x16x16 and back.

It learns on crops first (most of a picture is plain background, the edges are what is hard), then on whole
pictures, because its group norms see the whole field. A second stage (:func:`sharpen_decoder`) freezes the
encoder and goes on with the decoder alone on slightly noisy latents, as a denoiser leaves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from backends.worker.training.drawing import draw_scene, jittered_palette
from backends.worker.training.runs import LOG_EVERY, Machine, NonFiniteGuard, Run, learning_rate_factor, progress_bar
from backends.worker.training.scenes import CANVAS, sample_scene

POOL_SIZE: Final = 3000
POOL_STEPS: Final = 1000
KL_WEIGHT: Final = 2e-3


@dataclass(frozen=True)
class Crops:
    """Side and number of the crops of one step, from this share of the run on."""

    start: float
    side: int
    count: int


CROPS: Final = (Crops(0.0, 32, 48), Crops(0.4, 64, 16), Crops(0.8, CANVAS, 4))


@dataclass(frozen=True)
class VaeSettings:
    """Length and pace of a run."""

    steps: int = 7500
    learning_rate: float = 2e-3
    crops: tuple[Crops, ...] = CROPS
    decoder_only: bool = False
    latent_noise: float = 0.0
    """Standard deviation of the noise added to latents, in units of their own."""


def draw_pool(seed: int, size: int = POOL_SIZE) -> npt.NDArray[np.uint8]:
    """``size`` pictures (N, 128, 128, 3), half in a moved palette, some over a gradient, all from one seed."""
    rng = np.random.default_rng((seed, 0x7AE))
    pool = np.empty((size, CANVAS, CANVAS, 3), np.uint8)
    for index in range(size):
        kind = rng.random()
        palette = jittered_palette(rng, 40 if kind < 0.15 else 8) if kind < 0.5 else None
        picture = np.asarray(draw_scene(sample_scene(rng), palette))
        if kind > 0.92:
            ramp = np.linspace(-30, 30, CANVAS)[:, None, None] * rng.uniform(-1, 1, 3)
            picture = (picture + (ramp if rng.random() < 0.5 else ramp.swapaxes(0, 1))).clip(0, 255).astype(np.uint8)
        pool[index] = picture
    return pool


def to_tensor(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) bytes to (N, 3, H, W) floats in -1..1, channels last in memory."""
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def cut(pool: npt.NDArray[np.uint8], rng: np.random.Generator, side: int, count: int) -> npt.NDArray[np.uint8]:
    """``count`` crops; up to four tries each to find one that is not plain."""
    crops = np.empty((count, side, side, 3), np.uint8)
    for index in range(count):
        for _ in range(4):
            y, x = rng.integers(0, CANVAS - side + 1, 2)
            crops[index] = pool[rng.integers(len(pool)), y : y + side, x : x + side]
            if side == CANVAS or np.ptp(crops[index], axis=(0, 1)).max() > 40 or rng.random() < 0.1:
                break
    return crops


def _losses(
    vae: AutoencoderKL, pictures: Tensor, settings: VaeSettings, noise: torch.Generator
) -> tuple[Tensor, Tensor]:
    moments = vae.encoder(pictures)
    mean, log_variance = moments.float().chunk(2, dim=1)
    log_variance = log_variance.clamp(-20, 10)
    epsilon = torch.randn(mean.shape, generator=noise).to(mean.device)
    if settings.decoder_only:
        strength = settings.latent_noise * torch.rand((len(mean), 1, 1, 1), generator=noise).to(mean.device)
        latents = mean.detach() + strength * epsilon
    else:
        latents = mean + torch.exp(0.5 * log_variance) * epsilon
    decoded = vae.decoder(latents).float()
    error = decoded - pictures
    edges = sum(F.l1_loss(decoded.diff(dim=axis), pictures.diff(dim=axis)) for axis in (-1, -2))
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    reconstruction = error.abs().mean() + (error**2).mean()
    loss = reconstruction + edges
    if not settings.decoder_only:
        loss = loss + KL_WEIGHT * divergence
    return loss, (error / 2).pow(2).mean()


def train_vae(vae: AutoencoderKL, run: Run, machine: Machine, settings: VaeSettings, seed: int, title: str) -> None:
    """Trains in place, from the run's checkpoint if it has one, to ``settings.steps``."""
    vae.train().to(machine.device, memory_format=torch.channels_last)
    trained = vae.decoder if settings.decoder_only else vae
    vae.encoder.requires_grad_(not settings.decoder_only)
    parameters = list(trained.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    rng = np.random.default_rng((seed, 1))
    noise = torch.Generator().manual_seed(seed + 1)
    step = 0
    if (state := run.load()) is not None:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        rng.bit_generator.state = state["rng"]
        noise.set_state(state["noise"])
        step = state["step"]
    pool = draw_pool(seed + step // POOL_STEPS)
    guard = NonFiniteGuard()

    def checkpoint() -> dict[str, Any]:
        return {
            "vae": vae.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": rng.bit_generator.state,
            "noise": noise.get_state(),
            "step": step,
        }

    sums = np.zeros(3)
    with progress_bar(title, settings.steps, step) as (progress, task):
        while step < settings.steps:
            crops = [crop for crop in settings.crops if step >= crop.start * settings.steps][-1]
            rate = settings.learning_rate * learning_rate_factor(step / settings.steps, step, flat=0.4)
            for group in optimizer.param_groups:
                group["lr"] = rate
            pictures = to_tensor(cut(pool, rng, crops.side, crops.count)).to(machine.device)
            with machine.autocast(enabled=step < 0.93 * settings.steps):
                loss, squared = _losses(vae, pictures, settings, noise)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            if guard.accept(loss.item() + norm.item()):
                optimizer.step()
                sums += (loss.item(), squared.item(), 1)
            step += 1
            if step % POOL_STEPS == 0:
                pool = draw_pool(seed + step // POOL_STEPS)
            if step % LOG_EVERY == 0:
                mean_loss, mean_squared = sums[:2] / max(1.0, sums[2])
                psnr = -10 * float(np.log10(mean_squared))
                run.log(step, loss=float(mean_loss), psnr=psnr, rate=rate)
                progress.update(task, completed=step, loss=f"loss {mean_loss:.4f}  {psnr:.1f} dB")
                sums[:] = 0
            if run.save_is_due():
                run.save(checkpoint())
    run.save(checkpoint())
    vae.encoder.requires_grad_(True)


@torch.no_grad()
def measure_latents(vae: AutoencoderKL, machine: Machine, seed: int, count: int = 128) -> tuple[float, float, float]:
    """Mean of the latents, one over their standard deviation, and the PSNR in dB of decoded pictures."""
    vae.eval()
    pictures = to_tensor(draw_pool(seed, count)).to(machine.device)
    latents = vae.encode(pictures).latent_dist.mean
    decoded = vae.decode(latents).sample.clamp(-1, 1)
    squared = ((decoded - pictures) / 2).pow(2).mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return latents.mean().item(), 1 / latents.std().item(), (-10 * squared.log10()).mean().item()
