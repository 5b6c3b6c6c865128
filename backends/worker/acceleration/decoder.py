"""The VAE's decoder, compiled: for its own size first, then once for any size."""

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL

from backends.worker.acceleration.accelerate import Acceleration, Means

log = logging.getLogger(__name__)


def compile_decoder(
    vae: AutoencoderKL,
    chosen: Means,
    try_out: Callable[[], object],
    backend: str | Callable[..., Any] = "inductor",
) -> Acceleration:
    """Compile it where the means say so, and try it out, so that no job waits for the compiler.

    The decoder alone: what stands before it (tiles, the check of what is free) stays Python. ``try_out`` decodes in
    each kind of size. Where torch cannot do it, the decoder is diffusers' own again and a log line says why. A VAE
    that several models share is compiled for the first of them.
    """
    done = Acceleration(chosen)
    if not chosen.compiled or "forward" in vars(vae.decoder):
        return done
    started = time.monotonic()
    # The second size that comes makes kernels for any size, as with the transformer's blocks.
    done.override(vae.decoder, "forward", torch.compile(vae.decoder.forward, fullgraph=True, backend=backend))
    try:
        try_out()
    except RuntimeError as error:  # the compiler's errors have no other type in common
        log.warning("decoding as diffusers does: %s", " ".join(str(error).strip().splitlines()[:2])[:300])
        done.undo()
        return done
    log.info("the decoder is compiled (%.0f s)", time.monotonic() - started)
    return done
