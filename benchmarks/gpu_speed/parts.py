"""What is timed by itself: attention by each kernel, and the VAE's decode."""

import statistics
from typing import Any

import torch
from diffusers import AutoencoderKL

from backends.worker.acceleration.attention_kernels import AttentionShape, candidates, measured, seconds_on
from benchmarks.gpu_speed.model import Shape
from benchmarks.gpu_speed.timing import timed


def attention_kernels(shape: Shape, device: torch.device) -> dict[str, float]:
    """Milliseconds of one attention over a picture and its text, at the model's own side and at half of it.

    Those that a machine has and that agree with the exact answer.
    """
    found: dict[str, float] = {}
    for side in (shape.side, shape.side // 2):
        attention = AttentionShape(shape.heads, (side // 2) ** 2 + 3 * shape.text, shape.head_width)
        for timing in measured(attention, device, torch.bfloat16, candidates(), seconds_on):
            found[f"{timing.kernel.name} {side * 8}²"] = timing.seconds * 1000
    return found


@torch.no_grad()
def decoding(device: torch.device, small: bool) -> dict[str, float]:
    """Seconds of the VAE's decode of one picture, as it is and compiled (published shape: FLUX's, f8, 16 channels)."""
    widths = (16, 32, 32, 32) if small else (128, 256, 512, 512)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=8 if small else 32,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae = vae.to(device, torch.bfloat16).eval()
    latents = torch.randn(1, 16, 32 if small else 128, 32 if small else 128, device=device, dtype=torch.bfloat16)
    ways: dict[str, Any] = {"VAE decode": vae.decode}
    if device.type == "cuda":
        ways["VAE decode, compiled"] = torch.compile(vae.decode)
    found: dict[str, float] = {}
    for name, decode in ways.items():
        decode(latents)
        runs = []
        for _ in range(5):
            with timed(device) as seconds:
                decode(latents)
            runs.append(seconds[0])
        found[name] = statistics.median(runs)
    return found
