"""Versions timed side by side, as long as there is time."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import Tensor

from backends.worker.engine.noise import Noise
from backends.worker.engine.schedulers import new_scheduler
from backends.worker.variants import Sampler
from benchmarks.gpu_speed.versions import Version, counting

WARM_UP_STEPS: Final = 4
"""So many does a recorded shape need to be played once."""
SHIFT: Final = 6.0
"""I1-Dev's, with its 28 steps and no guidance."""


@torch.no_grad()
def denoise(predict: Callable[..., Tensor], given: dict[str, Any], steps: int) -> Tensor:
    """All steps of Dev's schedule; returns the latents."""
    scheduler = new_scheduler(Sampler.LCM, SHIFT, Noise(3))
    latents: Tensor = given["hidden_states"]
    scheduler.set_timesteps(steps, device=latents.device)
    for timestep in scheduler.timesteps:
        prediction = predict(**{**given, "hidden_states": latents}, timesteps=timestep.expand(len(latents)))
        latents = scheduler.step(-prediction, timestep, latents, return_dict=False)[0].to(prediction.dtype)
    return latents


@contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """Seconds until the device is done, as the list's only member."""
    seconds: list[float] = []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    yield seconds
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds.append(time.perf_counter() - started)


@dataclass(frozen=True)
class Row:
    """One version on one task."""

    version: str
    task: str
    median: float
    least: float
    most: float
    tflops: float
    ceiling: float
    """Share of the measured bf16 matrix product rate."""
    stock: float
    """How many times stock diffusers' speed."""
    first: float
    """Seconds of the first run, of four steps: what a warm-up takes, compilation included."""


def ceiling(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a large square matrix product, the best of several."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        with timed(device) as seconds:
            for _ in range(5):
                one @ other
        best = min(best, seconds[0] / 5)
    return 2.0 * size**3 / best


class Deadline:
    """The time that the whole run has. What is under way is ended, and nothing new is begun."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    @property
    def passed(self) -> bool:
        return self._clock() >= self._at


@dataclass(frozen=True)
class Task:
    """What is painted."""

    name: str
    given: dict[str, Any]
    flops: float
    """Of one forward."""


@dataclass(frozen=True)
class Effort:
    """How much is timed."""

    rounds: int
    steps: int
    rate: float
    """The ceiling: FLOP/s of a large bf16 matrix product."""
    deadline: Deadline


def compare(versions: list[Version], task: Task, effort: Effort) -> list[Row]:
    """Every version once a round, stock diffusers' first; a round that has begun is ended.

    A version that the deadline leaves without a time is left out, and so is a task without stock diffusers.
    """
    device = task.given["hidden_states"].device
    seconds: dict[str, list[float]] = {}
    first: dict[str, float] = {}
    for version in versions:
        if effort.deadline.passed:
            print(f"no time left for {version.name} at {task.name}")
            continue
        try:
            with version.around(), timed(device) as once:
                denoise(version.predict, task.given, WARM_UP_STEPS)
        except RuntimeError as error:  # torch's for all that a machine or a compiler cannot do
            print(f"{version.name} cannot be had at {task.name}: {str(error).splitlines()[0][:200]}")
            continue
        first[version.name] = once[0]
    for number in range(effort.rounds):
        if number and effort.deadline.passed:
            print(f"no time left for more than {number} rounds at {task.name}")
            break
        for version in versions:
            if version.name in first:
                with version.around(), timed(device) as once:
                    denoise(version.predict, task.given, effort.steps)
                seconds.setdefault(version.name, []).append(once[0])
    if versions[0].name not in seconds:
        return []
    stock = statistics.median(seconds[versions[0].name])
    return [_row(name, task, effort, found, stock, first[name]) for name, found in seconds.items()]


def _row(name: str, task: Task, effort: Effort, found: list[float], stock: float, first: float) -> Row:
    median = statistics.median(found)
    rate = task.flops * effort.steps / median
    return Row(name, task.name, median, min(found), max(found), rate / 1e12, rate / effort.rate, stock / median, first)


def share_skipped(
    transformer: HiDreamImageTransformer2DModel, version: Version, given: dict[str, Any], steps: int
) -> float:
    """Of all block computations, counted."""
    blocks = len(transformer.double_stream_blocks) + len(transformer.single_stream_blocks)
    with counting(transformer) as computed, version.around():
        denoise(version.predict, given, steps)
    return 1 - len(computed) / (steps * blocks)
