"""The random numbers of a picture: those of its seed, or those of several seeds blended.

The noises of two seeds are independent, and in as many dimensions as a picture has as good as orthogonal: the way on
the sphere from one to the other (spherical interpolation) is a quarter of a circle, whose weights cos² + sin² = 1
leave the variance what it was. With these weights no norm has to be computed, which would come out a little
different on another machine; and all is drawn and blended on the CPU, so that a seed means the same on every device.
"""

import math
from collections.abc import Callable, Sequence

import torch

from domain.request import Variation


class Noise:
    """Draws for one picture. Every draw is blended alike, those between the steps too: so at strength 1 it is the
    variation seed's picture."""

    def __init__(self, seed: int, variations: Sequence[Variation] = ()) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(one) for one in (seed, *(v.seed for v in variations))]
        self._strengths = [variation.strength for variation in variations]

    @property
    def generator(self) -> torch.Generator:
        """The seed's own."""
        return self._generators[0]

    @property
    def is_blended(self) -> bool:
        """It is not the seed's noise alone."""
        return bool(self._strengths)

    def blended(self, draw: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        """What ``draw`` gets from each seed's generator, as one of the same type."""
        noise, *others = [draw(generator) for generator in self._generators]
        blend = noise.float()
        for other, strength in zip(others, self._strengths, strict=True):
            blend = other.float() if strength == 1 else _blend(blend, other.float(), strength)
        return blend.to(noise.dtype)


def _blend(noise: torch.Tensor, other: torch.Tensor, strength: float) -> torch.Tensor:
    angle = strength * math.pi / 2
    return math.cos(angle) * noise + math.sin(angle) * other
