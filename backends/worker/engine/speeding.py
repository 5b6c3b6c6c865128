"""Makes a loaded model as fast as the machine can, and warms it up before the first job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image

from backends.worker.acceleration.accelerate import Acceleration, Hardware, Means, attention_shape, means
from backends.worker.acceleration.attention_kernels import candidates, fastest, seconds_on
from backends.worker.acceleration.decoder import compile_decoder
from backends.worker.acceleration.graphs import capture_on_gpu
from backends.worker.acceleration.switch import SpeedUnusable, has_plain_weights, switch_on
from backends.worker.engine.loading import LoadedModel, Placement
from backends.worker.engine.painting import decode
from backends.worker.protocol import JobBody
from config.settings import LocalSpeed
from domain.errors import Code, OperatorError
from domain.request import Size

PaintOnce = Callable[[JobBody, Image.Image], object]

WARM_UP_STEPS: Final = 4
"""So many does a recorded shape need to be compared with a computed one and played once."""
COMPILING_SECONDS: Final = 90.0
"""For what a waiting card says, of one model: its blocks and the decoder in three kinds of size. Not measured on a GPU;
torch's own figure for Flux's blocks in one size, on an H100, is 9.6 s."""


def warm_up_seconds(speed: LocalSpeed, device: torch.device) -> float:
    """How long one model's warm-up takes, by estimate."""
    return COMPILING_SECONDS if means(speed, Hardware.of(device)).compiled else 0.0


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What one model is warmed up with."""

    model: LoadedModel
    vae_pixels: int
    paint: PaintOnce

    @property
    def sizes(self) -> tuple[Size, ...]:
        """One of each kind that needs kernels of its own: the model's own, another square, and one that is none."""
        side = self.model.side
        return Size(side, side), Size(side // 2, side // 2), Size(side, side // 2)

    def paint_each(self) -> None:
        """Paint once in each kind of size, and decode as it will be decoded."""
        for width, height in self.sizes:
            body = JobBody(
                job_id="warm-up",
                model=self.model.local.key,
                variant=self.model.local.variant.name,
                prompt="",
                width=width,
                height=height,
                seed=0,
                steps=WARM_UP_STEPS,
            )
            self.paint(body, Image.new("RGB", (width, height)))

    def decode_each(self) -> None:
        """Decode nothing in each kind of size."""
        pipeline: Any = self.model.pipeline
        vae = pipeline.vae
        for size in self.sizes:
            height, width = (pixels // pipeline.vae_scale_factor for pixels in (size.height, size.width))
            empty = torch.zeros(1, vae.config.latent_channels, height, width, device=vae.device, dtype=vae.dtype)
            decode(pipeline, empty, size, self.vae_pixels)


def speed_up(warm_up: WarmUp, speed: LocalSpeed, placement: Placement) -> Acceleration:
    """Do what was asked for, as far as the machine can.

    Raises OperatorError (MODEL_LOADING_FAILED, OUT_OF_MEMORY).
    """
    model, device = warm_up.model, placement.device
    transformer = model.pipeline.transformer
    chosen = means(speed, Hardware.of(device))
    if speed is not LocalSpeed.PLAIN and not has_plain_weights(transformer):
        chosen = Means(lacking="weights that are not packed to save memory")
    kernel = None
    if chosen.grouped:
        shape = attention_shape(transformer)
        kernel = fastest(shape, device, transformer.dtype, candidates(), seconds_on)
    # Where parts come and go, recordings would be lost with each.
    records = chosen.graphs and placement.residency.budget is None
    try:
        done = switch_on(
            transformer,
            chosen,
            warm_up.paint_each,
            kernel=kernel,
            capture=capture_on_gpu() if records else None,
        )
    except OperatorError:
        placement.residency.forget([transformer])
        raise
    except SpeedUnusable as error:
        placement.residency.forget([transformer])
        raise OperatorError(
            Code.MODEL_LOADING_FAILED,
            model=model.local.shown_name,
            problem=f"EASEL_LOCAL_SPEED=fp8 does not work on this GPU ({error})",
        ) from error
    compile_decoder(model.pipeline.vae, chosen, warm_up.decode_each)
    return done
