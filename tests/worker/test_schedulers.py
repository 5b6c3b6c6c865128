"""The scheduler's own step is the library's, and waits for nothing."""

import pytest
import torch
from diffusers import FlowMatchLCMScheduler

from backends.worker.engine.noise import Noise
from backends.worker.engine.schedulers import new_scheduler
from backends.worker.variants import Sampler


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shift", [3.0, 6.0])
def test_every_step_is_the_librarys_bit_for_bit(dtype: torch.dtype, shift: float) -> None:
    ours, theirs = new_scheduler(Sampler.LCM, shift, Noise(5)), FlowMatchLCMScheduler(shift=shift)
    generator = torch.Generator().manual_seed(5)
    draw = torch.Generator().manual_seed(6)
    latents = other = torch.randn(1, 4, 8, 8, generator=draw).to(dtype)
    ours.set_timesteps(6)
    theirs.set_timesteps(6)
    for timestep in theirs.timesteps:
        prediction = torch.randn(1, 4, 8, 8, generator=draw).to(dtype)
        latents = ours.step(prediction, timestep, latents, return_dict=False)[0]
        other = theirs.step(prediction, timestep, other, generator=generator, return_dict=False)[0]
        assert latents.dtype is other.dtype
        assert torch.equal(latents, other)
