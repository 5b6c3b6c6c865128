"""Switching the acceleration on, with a way back where a machine cannot do what it seemed to."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import nn

from backends.worker.acceleration.accelerate import Acceleration, Means, accelerate
from backends.worker.acceleration.attention_kernels import Kernel
from backends.worker.acceleration.graphs import Capture

log = logging.getLogger(__name__)


class SpeedUnusable(RuntimeError):
    """8-bit weights were asked for, and this machine cannot compute with them. The full weights are gone by then."""


def switch_on(
    transformer: HiDreamImageTransformer2DModel,
    chosen: Means,
    try_out: Callable[[], None],
    backend: str | Callable[..., Any] = "inductor",
    kernel: Kernel | None = None,
    capture: Capture | None = None,
) -> Acceleration:
    """Accelerate the transformer and try it out, so that no job waits for a compiler.

    ``try_out`` paints in every size that needs kernels of its own. Where torch cannot do it, the transformer is
    diffusers' own again and a log line says why; what else is raised goes on.
    Raises SpeedUnusable.
    """
    if chosen.lacking is not None:
        log.info("the worker could be faster; it would need %s", chosen.lacking)
    if not (chosen.grouped or chosen.compiled):
        return Acceleration(chosen)
    started = time.monotonic()
    done = accelerate(transformer, chosen, backend, kernel, capture)
    try:
        try_out()
    except RuntimeError as error:  # the compiler's errors and the kernels' have no other type in common
        reason = " ".join(str(error).strip().splitlines()[:2])[:300]  # a compiler's first line only names it
        if chosen.float8:
            raise SpeedUnusable(reason) from error
        log.warning("painting as diffusers does: %s", reason)
        done.undo()
        return Acceleration(Means(lacking=reason))
    log.info("warmed up in %.0f s (%s)", time.monotonic() - started, done.words)
    return done


@contextmanager
def as_written(acceleration: Acceleration | None) -> Iterator[None]:
    """For the length of the block everything computes as it is written: for layers that nobody compiled or recorded."""
    aside = acceleration.graphs.aside() if acceleration is not None and acceleration.graphs else nullcontext()
    with torch.compiler.set_stance("force_eager"), aside:
        yield


def has_plain_weights(transformer: nn.Module) -> bool:
    """Whether the blocks' products are plain ones; those of weights in 8 or 4 bits to save memory are not."""
    return all(
        type(part := getattr(block, name)) is nn.Linear and part.weight.dtype.itemsize > 1
        for block in transformer.modules()
        for name in ("to_q", "to_out", "w1", "w2")
        if isinstance(getattr(block, name, None), nn.Module)
    )
