"""Sizes as proportions: ``16:9`` or ``portrait`` instead of pixels, and the size that comes closest."""

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from config.catalogue import Model
from config.parameters import Option, SizeParameter
from domain.errors import UserError
from domain.request import ImageRequest, Size


class Ratio(NamedTuple):
    """Width to height."""

    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> "Ratio":
        """Read ``16:9``, ``16/9``, ``1.91:1`` or one of ``NAMED``. Raises ValueError for anything else."""
        named = NAMED.get(text.strip().casefold())
        if named is not None:
            return named
        match = re.fullmatch(r"\s*(\d{1,4}(?:\.\d{1,3})?)\s*[:/]\s*(\d{1,4}(?:\.\d{1,3})?)\s*", text, re.ASCII)
        if match is None or not float(match[1]) or not float(match[2]):
            raise ValueError(f"not a ratio: {text!r}")
        return cls(float(match[1]), float(match[2]))

    def __str__(self) -> str:
        return f"{self.width:g}:{self.height:g}"


NAMED: Final = {"square": Ratio(1, 1), "portrait": Ratio(2, 3), "landscape": Ratio(3, 2)}
SHAPE_WEIGHT: Final = 4.0
"""How much more a wrong shape counts than a wrong number of pixels, both as logarithms."""


def nearest(model: Model, ratio: Ratio, request: ImageRequest, order: tuple[str, ...]) -> Size | None:
    """The size closest to the ratio that the first offer able to take the rest of the request makes.

    Where none is able, the first that takes a size at all; None where none does. ``order`` is of the backends.
    """
    found = []
    for offer in sorted(model.offers, key=lambda offer: order.index(offer.backend)):
        parameter = offer.parameters.get(Option.SIZE)
        if isinstance(parameter, SizeParameter):
            size = _closest(parameter, ratio)
            if not offer.objections(request.model_copy(update={"size": size})):
                return size
            found.append(size)
    return found[0] if found else None


def largest_within(parameter: SizeParameter, ratio: Ratio, limit: Size) -> Size | None:
    """The size of about that shape with the most pixels that are not more than the limit's; None where none is."""
    wanted, most = math.log(ratio.width / ratio.height), limit.width * limit.height

    def merit(size: Size) -> float:
        shape = abs(math.log(size.width / size.height) - wanted)
        return math.log(size.width * size.height) - SHAPE_WEIGHT * shape

    small = (size for size in _candidates(parameter, ratio) if size.width * size.height <= most)
    return max(small, key=merit, default=None)


def _closest(parameter: SizeParameter, ratio: Ratio) -> Size:
    wanted = math.log(ratio.width / ratio.height)
    usual = math.log(parameter.default.width * parameter.default.height)

    def distance(size: Size) -> float:
        shape = abs(math.log(size.width / size.height) - wanted)
        return SHAPE_WEIGHT * shape + abs(math.log(size.width * size.height) - usual)

    return min(_candidates(parameter, ratio), key=distance, default=parameter.default)


def _candidates(parameter: SizeParameter, ratio: Ratio) -> Iterator[Size]:
    if parameter.choices:
        yield from parameter.choices
        return
    first = math.ceil(parameter.minimum / parameter.step)
    last = parameter.maximum // parameter.step
    for columns in range(first, last + 1):
        # The two rows between which the exact shape lies, within the bounds.
        exact = columns * ratio.height / ratio.width
        for rows in {min(last, max(first, math.floor(exact))), min(last, max(first, math.ceil(exact)))}:
            size = Size(columns * parameter.step, rows * parameter.step)
            try:
                parameter.check(Option.SIZE.value, size)
            except UserError:
                continue
            yield size
