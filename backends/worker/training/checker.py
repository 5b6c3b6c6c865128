"""Reads a picture: what is on it, by colour and outline alone. Judges use it; it knows nothing of the models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from backends.worker.training.drawing import shape_mask
from backends.worker.training.scenes import CANVAS, COLOURS, PALETTE, SHAPES, Item, Layout, Scene, Size

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.float64]

TEMPLATE_SIDE: Final = 32
MINIMUM_AREA: Final = 60
"""Square pixels of the smallest thing that counts as an item; the smallest drawn one has about 190."""
POSITION_TOLERANCE: Final = 12.0
SIZE_LIMITS: Final = (23.0, 36.0)
"""Radii between small and medium, and between medium and large, for a single item."""
_PALETTE: Final = np.array([PALETTE[name] for name in COLOURS], dtype=np.float64)


@dataclass(frozen=True)
class Found:
    """One item read from a picture; ``overlap`` (0..1) says how well its outline fits the shape."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    overlap: float


@dataclass(frozen=True)
class Reading:
    """What a picture shows, largest item first."""

    background: str
    items: tuple[Found, ...]


def pixels_of(picture: Image.Image) -> Pixels:
    """The picture as (128, 128, 3) numbers, shrunk if it is larger."""
    if picture.size != (CANVAS, CANVAS):
        picture = picture.resize((CANVAS, CANVAS), Image.Resampling.BOX)
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def _normalised(mask: Mask) -> npt.NDArray[np.float64]:
    rows, columns = np.where(mask)
    cut = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    side = max(cut.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut * 255
    small = Image.fromarray(square).resize((TEMPLATE_SIDE, TEMPLATE_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float64) / 255


@cache
def _template(shape: str) -> tuple[npt.NDArray[np.float64], float]:
    """A shape's normalised mask, and its radius as a share of its bounding box's longer side."""
    mask = shape_mask(shape, 40.0) > 0.5
    rows, columns = np.where(mask)
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    return _normalised(mask), 40.0 / float(longer)


def _centre_offset(shape: str) -> tuple[float, float]:
    """Where a shape's origin lies from the middle of its bounding box, for radius 1."""
    rows, columns = np.where(shape_mask(shape, 40.0) > 0.5)
    return (
        (CANVAS / 2 - 0.5 - (columns.min() + columns.max()) / 2) / 40,
        (CANVAS / 2 - 0.5 - (rows.min() + rows.max()) / 2) / 40,
    )


_offset = cache(_centre_offset)


def _read_item(mask: Mask, colour: str) -> Found:
    normal = _normalised(mask)
    scores = {
        shape: float(np.minimum(normal, _template(shape)[0]).sum() / np.maximum(normal, _template(shape)[0]).sum())
        for shape in SHAPES
    }
    shape = max(scores, key=lambda name: scores[name])
    rows, columns = np.where(mask)
    radius = float(max(np.ptp(rows), np.ptp(columns)) + 1) * _template(shape)[1]
    dx, dy = _offset(shape)
    x = float(columns.min() + columns.max()) / 2 + 0.5 + dx * radius
    y = float(rows.min() + rows.max()) / 2 + 0.5 + dy * radius
    return Found(shape, colour, x, y, radius, scores[shape])


def read(picture: Image.Image) -> Reading:
    """The background (by the border) and every patch of another colour."""
    pixels = pixels_of(picture)
    border = np.concatenate(
        [
            pixels[:2].reshape(-1, 3),
            pixels[-2:].reshape(-1, 3),
            pixels[:, :2].reshape(-1, 3),
            pixels[:, -2:].reshape(-1, 3),
        ]
    )
    distances = np.abs(pixels[:, :, None] - _PALETTE).sum(axis=-1)
    nearest = distances.argmin(axis=-1)
    middle = np.median(border, axis=0)
    background = int(np.abs(_PALETTE - middle).sum(axis=-1).argmin())
    items: list[tuple[int, Found]] = []
    for index, colour in enumerate(COLOURS):
        if index == background:
            continue
        # an edge between two colours passes through others: opening drops such seams, growing back keeps outlines
        mask = nearest == index
        core = ndimage.binary_opening(mask, np.ones((3, 3), bool))
        labels, count = ndimage.label(core, np.ones((3, 3), int))
        for label in range(1, count + 1):
            part = labels == label
            if part.sum() < MINIMUM_AREA or ndimage.binary_erosion(part, iterations=2).sum() == 0:
                continue
            whole = ndimage.binary_dilation(part, np.ones((3, 3), bool), iterations=3) & _inside(
                pixels, _PALETTE[index], middle
            )
            items.append((int(part.sum()), _read_item(whole | part, colour)))
    items.sort(key=lambda pair: -pair[0])
    return Reading(COLOURS[background], tuple(found for _, found in items))


def _inside(pixels: Pixels, colour: npt.NDArray[np.float64], background: npt.NDArray[np.float64]) -> Mask:
    """Pixels on the colour's side of the way from the background to it."""
    axis = colour - background
    share = (pixels - background) @ axis / max(1.0, float(axis @ axis))
    closeness = np.abs(pixels - (background + share[..., None] * axis)).sum(axis=-1)
    inside: Mask = (share > 0.5) & (share < 1.5) & (closeness < 90)
    return inside


def at_place(found: Found, x: float, y: float, tolerance: float = POSITION_TOLERANCE) -> bool:
    """Whether an item's centre is within the tolerance in both directions."""
    return abs(found.x - x) <= tolerance and abs(found.y - y) <= tolerance


def size_of(radius: float) -> Size:
    """The size word for a single item of this radius."""
    if radius < SIZE_LIMITS[0]:
        return Size.SMALL
    return Size.MEDIUM if radius < SIZE_LIMITS[1] else Size.LARGE


@dataclass(frozen=True)
class Verdict:
    """What of a scene is right in a picture; ``position`` and ``size`` are None where they were not asked for."""

    background: bool
    colour: bool
    shape: bool
    count: bool
    position: bool | None
    size: bool | None

    @property
    def all_right(self) -> bool:
        """Background, and colour and shape of every item, and no item more or less."""
        return self.background and self.colour and self.shape and self.count


def _nearest(items: tuple[Found, ...], item: Item) -> Found | None:
    return min(items, key=lambda found: abs(found.x - item.x) + abs(found.y - item.y), default=None)


def check(scene: Scene, picture: Image.Image) -> Verdict:
    """Compares what the picture shows with the scene that was asked for."""
    reading = read(picture)
    pairs = [(item, _nearest(reading.items, item)) for item in scene.items]
    present = [(item, found) for item, found in pairs if found is not None]
    complete = len(present) == len(pairs)
    single = scene.layout is Layout.SINGLE and complete
    return Verdict(
        background=reading.background == scene.background,
        colour=complete and all(found.colour == item.colour for item, found in present),
        shape=complete and all(found.shape == item.shape for item, found in present),
        count=len(reading.items) == len(scene.items),
        position=all(at_place(found, item.x, item.y) for item, found in present) if single else None,
        size=all(size_of(found.radius) is item.size for item, found in present) if single else None,
    )
