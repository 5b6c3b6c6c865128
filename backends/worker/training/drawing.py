"""Draws scenes with Pillow: flat colours, edges smoothed by drawing larger and shrinking."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from backends.worker.training.scenes import CANVAS, PALETTE, Scene

OVERSAMPLING: Final = 4
RING_HOLE: Final = 0.55
"""Inner radius of a ring as a share of its outer one."""

Colour = tuple[int, int, int]
Points = tuple[tuple[float, float], ...]


def _star() -> Points:
    points = []
    for corner in range(10):
        reach = 1.08 if corner % 2 == 0 else 0.45
        angle = math.pi * corner / 5
        points.append((reach * math.sin(angle), 0.06 - reach * math.cos(angle)))
    return tuple(points)


def _heart() -> Points:
    points = []
    for step in range(72):
        t = 2 * math.pi * step / 72
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16.5, -y / 15.5 - 0.1))
    return tuple(points)


def _cross(arm: float = 0.33) -> Points:
    quarter = ((arm, -1.0), (arm, -arm), (1.0, -arm))
    points: list[tuple[float, float]] = []
    for turn in range(4):
        for x, y in quarter:
            for _ in range(turn):
                x, y = -y, x
            points.append((x, y))
    return tuple(points)


OUTLINES: Final[dict[str, Points]] = {
    "square": ((-0.87, -0.87), (0.87, -0.87), (0.87, 0.87), (-0.87, 0.87)),
    "triangle": ((0.0, -0.95), (1.0, 0.82), (-1.0, 0.82)),
    "diamond": ((0.0, -1.05), (0.76, 0.0), (0.0, 1.05), (-0.76, 0.0)),
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
}
"""Corners for radius 1 around the origin, y down. Circle and ring are ellipses."""


def _draw_shape(
    draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, fill: Colour, hole: Colour
) -> None:
    if shape in ("circle", "ring"):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        if shape == "ring":
            inner = radius * RING_HOLE
            draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=hole)
        return
    draw.polygon([(x + radius * px, y + radius * py) for px, py in OUTLINES[shape]], fill=fill)


def draw_scene(scene: Scene, palette: dict[str, Colour] | None = None) -> Image.Image:
    """The scene as a 128x128 RGB picture, in the standard palette or in the one given."""
    colours = PALETTE if palette is None else palette
    side = CANVAS * OVERSAMPLING
    background = colours[scene.background]
    picture = Image.new("RGB", (side, side), background)
    draw = ImageDraw.Draw(picture)
    for item in scene.items:
        _draw_shape(
            draw,
            item.shape,
            item.x * OVERSAMPLING,
            item.y * OVERSAMPLING,
            item.radius * OVERSAMPLING,
            colours[item.colour],
            background,
        )
    return picture.resize((CANVAS, CANVAS), Image.Resampling.BOX)


def shape_mask(shape: str, radius: float, x: float = CANVAS / 2, y: float = CANVAS / 2) -> npt.NDArray[np.float32]:
    """Coverage (0..1) of a single shape on the 128x128 canvas."""
    side = CANVAS * OVERSAMPLING
    picture = Image.new("L", (side, side), 0).convert("RGB")
    _draw_shape(
        ImageDraw.Draw(picture),
        shape,
        x * OVERSAMPLING,
        y * OVERSAMPLING,
        radius * OVERSAMPLING,
        (255, 255, 255),
        (0, 0, 0),
    )
    small = picture.resize((CANVAS, CANVAS), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)[..., 0] / 255.0


def jittered_palette(rng: np.random.Generator, amount: int = 6) -> dict[str, Colour]:
    """The palette with every colour moved by up to ``amount`` a channel."""
    moved: dict[str, Colour] = {}
    for name, colour in PALETTE.items():
        r, g, b = (np.array(colour) + rng.integers(-amount, amount + 1, 3)).clip(0, 255)
        moved[name] = (int(r), int(g), int(b))
    return moved
