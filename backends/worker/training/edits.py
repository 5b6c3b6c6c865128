"""Edit pairs: a scene, an instruction, and the scene after it, with everything else left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from backends.worker.training.captions import (
    article,
    noun,
    place_phrase,
    word_for,
)
from backends.worker.training.scenes import (
    CANVAS,
    COLOURS,
    CORNERS,
    DIRECTIONS,
    SHAPES,
    SIDES,
    SINGLE_RADIUS,
    SINGLE_SHARE,
    Layout,
    Place,
    Scene,
    Size,
    choose,
    is_held_out,
    nominal_centre,
    placed,
    sample_pair,
    sample_single,
    with_item,
)


class EditKind(StrEnum):
    """What an instruction asks for."""

    RECOLOUR = "recolour"
    BACKGROUND = "background"
    SHAPE = "shape"
    MOVE = "move"
    RESIZE = "resize"
    ADD = "add"
    REMOVE = "remove"


SHARES: Final[dict[EditKind, float]] = {
    EditKind.RECOLOUR: 0.24,
    EditKind.BACKGROUND: 0.12,
    EditKind.SHAPE: 0.18,
    EditKind.MOVE: 0.14,
    EditKind.RESIZE: 0.12,
    EditKind.ADD: 0.12,
    EditKind.REMOVE: 0.08,
}
ADDED_RADIUS: Final[dict[Size, float]] = {Size.SMALL: 14.0, Size.MEDIUM: 20.0}


@dataclass(frozen=True)
class Edit:
    """A source scene, what is asked, the target scene, and the index of the item it is about.

    ``item`` indexes the source's items (for ADD: the target's); it is None for the background.
    """

    kind: EditKind
    instruction: str
    source: Scene
    target: Scene
    item: int | None


def _the(rng: np.random.Generator, scene: Scene, index: int) -> str:
    """How an instruction names an item: by shape, with its colour where that is needed or by whim."""
    item = scene.items[index]
    shared = sum(other.shape == item.shape for other in scene.items) > 1
    colour = f"{word_for(rng, item.colour)} " if shared or rng.random() < 0.35 else ""
    return f"the {colour}{word_for(rng, item.shape)}"


def _new_colour(rng: np.random.Generator, scene: Scene) -> str:
    used = {scene.background, *(item.colour for item in scene.items)}
    return choose(rng, [colour for colour in COLOURS if colour not in used])


def _recolour(rng: np.random.Generator, scene: Scene) -> Edit:
    index = int(rng.integers(len(scene.items)))
    colour = _new_colour(rng, scene)
    word, name = word_for(rng, colour), _the(rng, scene, index)
    wordings = (
        f"make {name} {word}",
        f"make {name} {word}",
        f"change {name} to {word}",
        f"paint {name} {word}",
        f"turn {name} {word}",
        f"change the color of {name} to {word}",
    )
    target = with_item(scene, index, replace(scene.items[index], colour=colour))
    return Edit(EditKind.RECOLOUR, choose(rng, wordings), scene, target, index)


def _background(rng: np.random.Generator, scene: Scene) -> Edit:
    colour = _new_colour(rng, scene)
    word = word_for(rng, colour)
    wordings = (
        f"make the background {word}",
        f"make the background {word}",
        f"change the background to {word}",
        f"paint the background {word}",
        f"use {article(word)} {word} background",
    )
    return Edit(EditKind.BACKGROUND, choose(rng, wordings), scene, replace(scene, background=colour), None)


def _shape(rng: np.random.Generator, scene: Scene) -> Edit:
    index = int(rng.integers(len(scene.items)))
    used = {item.shape for item in scene.items}
    shape = choose(rng, [other for other in SHAPES if other not in used])
    word, name = word_for(rng, shape), _the(rng, scene, index)
    wordings = (
        f"turn {name} into {article(word)} {word}",
        f"turn {name} into {article(word)} {word}",
        f"replace {name} with {article(word)} {word}",
        f"change {name} to {article(word)} {word}",
        f"make {name} {article(word)} {word}",
    )
    target = with_item(scene, index, replace(scene.items[index], shape=shape))
    return Edit(EditKind.SHAPE, choose(rng, wordings), scene, target, index)


def _move(rng: np.random.Generator, scene: Scene) -> Edit | None:
    if len(scene.items) > 1:
        return None
    item = scene.items[0]
    places = [place for place in (*SIDES, *CORNERS, Place.CENTER) if place is not item.place]
    place = choose(rng, places)
    x, y = nominal_centre(place, SINGLE_RADIUS[item.size])
    if np.hypot(x - item.x, y - item.y) < 14:
        return None
    name = _the(rng, scene, 0)
    phrase = place_phrase(rng, place)
    to = (
        "to " + phrase.removeprefix("on ").removeprefix("at ").removeprefix("in ")
        if phrase != "on top"
        else "to the top"
    )
    wordings = (f"move {name} {to}", f"move {name} {to}", f"put {name} {phrase}")
    target = with_item(scene, 0, replace(item, place=place, x=x, y=y))
    return Edit(EditKind.MOVE, choose(rng, wordings), scene, target, 0)


def _resize(rng: np.random.Generator, scene: Scene) -> Edit | None:
    if len(scene.items) > 1:
        return None
    item = scene.items[0]
    order = (Size.SMALL, Size.MEDIUM, Size.LARGE)
    larger = rng.random() < 0.5
    rank = order.index(item.size) + (1 if larger else -1)
    if not 0 <= rank < len(order):
        return None
    radius = SINGLE_RADIUS[order[rank]]
    inside = (radius + 3, CANVAS - radius - 3)
    word = word_for(rng, "larger" if larger else "smaller")
    name = _the(rng, scene, 0)
    moved = replace(
        item,
        size=order[rank],
        radius=radius,
        x=float(np.clip(item.x, *inside)),
        y=float(np.clip(item.y, *inside)),
    )
    return Edit(EditKind.RESIZE, f"make {name} {word}", scene, with_item(scene, 0, moved), 0)


def _add(rng: np.random.Generator, scene: Scene) -> Edit | None:
    if len(scene.items) > 1:
        return None
    old = scene.items[0]
    size = choose(rng, (Size.SMALL, Size.MEDIUM))
    radius = ADDED_RADIUS[size]
    place = choose(rng, (*SIDES, *CORNERS))
    dx, dy = DIRECTIONS[place]
    reach = CANVAS / 2 - radius - 6
    x, y = 64 + dx * reach, 64 + dy * reach
    if np.hypot(x - old.x, y - old.y) < radius + old.radius + 5:
        return None
    shape = choose(rng, [other for other in SHAPES if other != old.shape])
    item = placed(rng, shape, _new_colour(rng, scene), size, place, x, y, radius)
    words = noun(rng, item)
    phrase = place_phrase(rng, place)
    wordings = (f"add {article(words)} {words} {phrase}", f"place {article(words)} {words} {phrase}")
    target = Scene(scene.background, (old, item), Layout.FREE)
    return Edit(EditKind.ADD, wordings[0] if rng.random() < 0.75 else wordings[1], scene, target, 1)


def _remove(rng: np.random.Generator, scene: Scene) -> Edit:
    index = int(rng.integers(len(scene.items)))
    instruction = f"{word_for(rng, 'remove')} {_the(rng, scene, index)}"
    return Edit(EditKind.REMOVE, instruction, scene, with_item(scene, index, None), index)


_MAKERS: Final[dict[EditKind, Callable[[np.random.Generator, Scene], Edit | None]]] = {
    EditKind.RECOLOUR: _recolour,
    EditKind.BACKGROUND: _background,
    EditKind.SHAPE: _shape,
    EditKind.MOVE: _move,
    EditKind.RESIZE: _resize,
    EditKind.ADD: _add,
    EditKind.REMOVE: _remove,
}


def sample_any_edit(rng: np.random.Generator, single_share: float = SINGLE_SHARE) -> Edit:
    """An edit of the mix, held out or not."""
    kinds = tuple(SHARES)
    weights = np.array([SHARES[kind] for kind in kinds])
    while True:
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        for _ in range(20):
            scene = sample_single(rng) if rng.random() < single_share else sample_pair(rng)
            edit = _MAKERS[kind](rng, scene)
            if edit is not None:
                return edit


def is_held_out_edit(edit: Edit) -> bool:
    """Whether source or target shows a held-out combination."""
    return is_held_out(edit.source) or is_held_out(edit.target)


def sample_edit(rng: np.random.Generator, single_share: float = SINGLE_SHARE) -> Edit:
    """An edit of the training mix that touches nothing held out."""
    while True:
        edit = sample_any_edit(rng, single_share)
        if not is_held_out_edit(edit):
            return edit


def vary(rng: np.random.Generator, instruction: str) -> str:
    """The instruction with a polite opening, a capital or a full stop now and then."""
    if rng.random() < 0.07:
        instruction = f"please {instruction}"
    if rng.random() < 0.1:
        instruction = instruction[0].upper() + instruction[1:]
    if rng.random() < 0.1:
        instruction += "."
    return instruction
