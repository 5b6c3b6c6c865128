"""Schedulers that give the same picture for the same seed, and can say what the picture looks like so far."""

from typing import Any, assert_never

import torch
from diffusers import FlowMatchLCMScheduler, UniPCMultistepScheduler

from backends.worker.engine.noise import Noise
from backends.worker.variants import Sampler


class _Remembering:
    """Keeps a step's input and output, so that a preview costs nothing unless it is asked for."""

    sigmas: torch.Tensor
    step_index: int
    _last: tuple[torch.Tensor, torch.Tensor] | None = None

    def denoised(self) -> torch.Tensor:
        """The clean latents that the last step believed in: x0 = x - sigma * velocity."""
        assert self._last is not None
        prediction, sample = self._last
        sigma = self.sigmas[self.step_index - 1].to(sample.device)
        return sample.float() - sigma * prediction.float()


class SeededLCMScheduler(_Remembering, FlowMatchLCMScheduler):  # type: ignore[misc]
    """FlowMatchLCM draws noise at every step, and the pipeline calls it without a generator: hold the noise."""

    noise: Noise

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **_options: Any
    ) -> tuple[torch.Tensor]:
        """What the library's step gives, bit for bit.

        That one takes one generator's noise, and waits until the GPU has done all before to hand it over.
        """
        self._last = (model_output, sample)
        if self.step_index is None:
            self._init_step_index(timestep)
        sigma, sigma_next = self.sigmas[self.step_index], self.sigmas[self.step_index + 1]
        denoised = sample.to(torch.float32) - sigma * model_output
        noise = self.noise.blended(
            lambda generator: torch.randn(denoised.shape, generator=generator, dtype=denoised.dtype)
        )
        self._step_index += 1
        there = noise.pin_memory().to(denoised.device, non_blocking=True) if denoised.is_cuda else noise
        noisy = (1 - sigma_next) * denoised + sigma_next * there
        return (noisy.to(model_output.dtype),)


class RememberingUniPCScheduler(_Remembering, UniPCMultistepScheduler):  # type: ignore[misc]
    """UniPC draws nothing."""

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any) -> Any:
        self._last = (model_output, sample)
        return super().step(model_output, timestep, sample, **options)


Scheduler = SeededLCMScheduler | RememberingUniPCScheduler


def new_scheduler(sampler: Sampler, shift: float, noise: Noise) -> Scheduler:
    """A fresh scheduler for one picture: none of its state outlives the job."""
    match sampler:
        case Sampler.LCM:
            scheduler = SeededLCMScheduler(shift=shift)
            scheduler.noise = noise
            return scheduler
        case Sampler.UNIPC:
            return RememberingUniPCScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
        case _:
            assert_never(sampler)
