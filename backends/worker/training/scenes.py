"""The world the tiny models know: flat shapes of named colours on a plain background.

A :class:`Scene` is what a picture shows, independent of how it is worded (captions.py) and how it is drawn
(drawing.py). Lengths are pixels on a 128x128 canvas. Sampling takes a seeded ``numpy`` generator, so that a
seed names a data set. Some combinations are held out of every training set by :func:`is_held_out`; they
measure whether a model has learnt colours and shapes apart, rather than pictures by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

import numpy as np

CANVAS: Final = 128
T = TypeVar("T")

PALETTE: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 32, 38),
    "orange": (250, 140, 22),
    "yellow": (250, 224, 44),
    "green": (36, 160, 64),
    "blue": (36, 78, 214),
    "purple": (130, 46, 170),
    "pink": (250, 140, 190),
    "white": (248, 248, 248),
    "black": (20, 20, 22),
    "gray": (128, 128, 130),
    "brown": (116, 66, 28),
    "cyan": (62, 208, 224),
}
COLOURS: Final = tuple(PALETTE)
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring")

HELD_OUT_PAIRS: Final = frozenset(
    {
        ("star", "purple"),
        ("heart", "cyan"),
        ("circle", "orange"),
        ("square", "pink"),
        ("triangle", "white"),
        ("diamond", "yellow"),
        ("cross", "green"),
        ("ring", "brown"),
    }
)
"""(shape, colour) pairs that no training picture contains."""


class Size(StrEnum):
    """A size that a caption can name; ``MEDIUM`` is what a caption without a size word means."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Place(StrEnum):
    """Where an item's centre lies; ``CENTER`` is what a caption without a place means for a single item."""

    CENTER = "center"
    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"
    TOP_LEFT = "top left"
    TOP_RIGHT = "top right"
    BOTTOM_LEFT = "bottom left"
    BOTTOM_RIGHT = "bottom right"


DIRECTIONS: Final[dict[Place, tuple[int, int]]] = {
    Place.CENTER: (0, 0),
    Place.LEFT: (-1, 0),
    Place.RIGHT: (1, 0),
    Place.TOP: (0, -1),
    Place.BOTTOM: (0, 1),
    Place.TOP_LEFT: (-1, -1),
    Place.TOP_RIGHT: (1, -1),
    Place.BOTTOM_LEFT: (-1, 1),
    Place.BOTTOM_RIGHT: (1, 1),
}
SIDES: Final = (Place.LEFT, Place.RIGHT, Place.TOP, Place.BOTTOM)
CORNERS: Final = (Place.TOP_LEFT, Place.TOP_RIGHT, Place.BOTTOM_LEFT, Place.BOTTOM_RIGHT)

SINGLE_RADIUS: Final[dict[Size, float]] = {Size.SMALL: 17.0, Size.MEDIUM: 29.0, Size.LARGE: 43.0}
PAIR_RADIUS: Final[dict[Size, float]] = {Size.SMALL: 14.0, Size.MEDIUM: 22.0, Size.LARGE: 28.0}
GROUP_RADIUS: Final[dict[int, float]] = {2: 22.0, 3: 17.0, 4: 20.0}
RADIUS_JITTER: Final = 1.5
CENTRE_JITTER: Final = 2.5


@dataclass(frozen=True)
class Item:
    """One drawn shape: what it is and where its centre and radius are, in canvas pixels."""

    shape: str
    colour: str
    size: Size
    place: Place
    x: float
    y: float
    radius: float


class Layout(StrEnum):
    """How a scene's items stand to each other."""

    EMPTY = "empty"
    SINGLE = "single"
    ROW = "row"
    COLUMN = "column"
    GROUP = "group"
    """Several equal items, named by their count."""
    FREE = "free"
    """Left over from an edit; no caption describes it."""


@dataclass(frozen=True)
class Scene:
    """A background colour and the items on it, first named first."""

    background: str
    items: tuple[Item, ...]
    layout: Layout


def is_held_out_triple(shape: str, colour: str, background: str) -> bool:
    """Whether this (shape, colour, background) is kept out of training: one in eleven is."""
    code = SHAPES.index(shape) * 7 + COLOURS.index(colour) * 5 + COLOURS.index(background) * 3
    return code % 11 == 1


def is_held_out(scene: Scene) -> bool:
    """Whether the scene shows a held-out pair or triple, and so may only be used to judge."""
    return any(
        (item.shape, item.colour) in HELD_OUT_PAIRS or is_held_out_triple(item.shape, item.colour, scene.background)
        for item in scene.items
    )


def nominal_centre(place: Place, radius: float) -> tuple[float, float]:
    """Centre that a single item of this radius has at that place: as far out as 32 px, 4 px off the edge."""
    reach = min(CANVAS / 2 - radius - 4, 32.0)
    dx, dy = DIRECTIONS[place]
    return CANVAS / 2 + dx * reach, CANVAS / 2 + dy * reach


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def _jitter(rng: np.random.Generator, amount: float) -> float:
    return float(rng.uniform(-amount, amount))


def placed(
    rng: np.random.Generator, shape: str, colour: str, size: Size, place: Place, x: float, y: float, radius: float
) -> Item:
    """An item near the given centre and radius, moved a little so that seeds differ."""
    return Item(
        shape,
        colour,
        size,
        place,
        x + _jitter(rng, CENTRE_JITTER),
        y + _jitter(rng, CENTRE_JITTER),
        radius + _jitter(rng, RADIUS_JITTER),
    )


def sample_single(rng: np.random.Generator) -> Scene:
    """One item of any size at any place."""
    background, colour = _two_colours(rng)
    size = choose(rng, (Size.MEDIUM, Size.MEDIUM, Size.SMALL, Size.LARGE))
    kind = rng.random()
    place = Place.CENTER if kind < 0.4 else choose(rng, SIDES) if kind < 0.85 else choose(rng, CORNERS)
    radius = SINGLE_RADIUS[size]
    x, y = nominal_centre(place, radius)
    item = placed(rng, choose(rng, SHAPES), colour, size, place, x, y, radius)
    return Scene(background, (item,), Layout.SINGLE)


def sample_pair(rng: np.random.Generator) -> Scene:
    """Two different items, side by side or one above the other."""
    background = choose(rng, COLOURS)
    others = [colour for colour in COLOURS if colour != background]
    row = rng.random() < 0.55
    places = (Place.LEFT, Place.RIGHT) if row else (Place.TOP, Place.BOTTOM)
    sized = rng.random() < 0.3
    while True:
        looks = [(choose(rng, SHAPES), choose(rng, others)) for _ in range(2)]
        if looks[0] != looks[1]:
            break
    items = []
    for (shape, colour), place in zip(looks, places, strict=True):
        size = choose(rng, (Size.SMALL, Size.MEDIUM, Size.LARGE)) if sized else Size.MEDIUM
        dx, dy = DIRECTIONS[place]
        items.append(placed(rng, shape, colour, size, place, 64 + 31 * dx, 64 + 31 * dy, PAIR_RADIUS[size]))
    return Scene(background, tuple(items), Layout.ROW if row else Layout.COLUMN)


def sample_group(rng: np.random.Generator) -> Scene:
    """Two, three or four equal items: two and three in a row, four in a square."""
    background, colour = _two_colours(rng)
    shape = choose(rng, SHAPES)
    count = int(rng.integers(2, 5))
    spots = {
        2: ((-31, 0), (31, 0)),
        3: ((-41, 0), (0, 0), (41, 0)),
        4: ((-30, -30), (30, -30), (-30, 30), (30, 30)),
    }[count]
    radius = GROUP_RADIUS[count]
    items = tuple(placed(rng, shape, colour, Size.MEDIUM, Place.CENTER, 64 + dx, 64 + dy, radius) for dx, dy in spots)
    return Scene(background, items, Layout.GROUP)


def _two_colours(rng: np.random.Generator) -> tuple[str, str]:
    first, second = rng.choice(len(COLOURS), size=2, replace=False)
    return COLOURS[int(first)], COLOURS[int(second)]


SINGLE_SHARE: Final = 0.58
PAIR_SHARE: Final = 0.81
"""Share of pairs among the scenes of more than one item."""


def sample_scene(rng: np.random.Generator, single_share: float = SINGLE_SHARE) -> Scene:
    """A scene of the training mix that is not held out."""
    while True:
        sampler: Callable[[np.random.Generator], Scene]
        if rng.random() < single_share:
            sampler = sample_single
        else:
            sampler = sample_pair if rng.random() < PAIR_SHARE else sample_group
        scene = sampler(rng)
        if not is_held_out(scene):
            return scene


def with_item(scene: Scene, index: int, item: Item | None) -> Scene:
    """The scene with one item replaced, or without it (``None``)."""
    items = list(scene.items)
    items[index : index + 1] = [] if item is None else [item]
    return replace(scene, items=tuple(items), layout=Layout.FREE if items else Layout.EMPTY)
