"""Variations of a picture: the same wish with a little of another seed's noise in it."""

import secrets
from enum import StrEnum
from typing import Final

from config.catalogue import Catalogue
from config.parameters import Option
from domain.guild import GuildSettings
from domain.job import Job
from domain.request import MAX_SEED, ImageRequest, Variation


class Strength(StrEnum):
    """How far a variation may go, in the words that people know from elsewhere."""

    SUBTLE = "subtle"
    STRONG = "strong"

    @property
    def share(self) -> float:
        """The variation strength."""
        return _SHARES[self]


_SHARES: Final = {Strength.SUBTLE: 0.2, Strength.STRONG: 0.5}
"""Of the way to another seed's picture. At a half both noises weigh the same. Looked at with the bundled model: a fifth
leaves every shape where it is, a half moves and reshapes them."""


def can_blend(job: Job, catalogue: Catalogue, settings: GuildSettings) -> bool:
    """Whether the job's pictures can be varied by blending noise: only where they were made is theirs known."""
    offer = catalogue.offer(job.offer) if job.offer is not None else None
    if offer is None or Option.VARIATIONS not in offer.parameters:
        return False
    return settings.allowed_backends is None or offer.backend in settings.allowed_backends


def varied(request: ImageRequest, strength: Strength) -> ImageRequest:
    """The request with one more variation, of a seed that is drawn. Its seed must have been drawn."""
    assert request.seed is not None
    taken = {request.seed, *(variation.seed for variation in request.variations)}
    seed = secrets.randbelow(MAX_SEED + 1)
    while seed in taken:
        seed = (seed + 1) % (MAX_SEED + 1)
    variation = Variation(seed=seed, strength=strength.share)
    return request.model_copy(update={"variations": (*request.variations, variation)})
