"""Words for scenes: several wordings of the same picture, as people type them."""

from __future__ import annotations

from typing import Final

import numpy as np

from backends.worker.training.scenes import Item, Layout, Place, Scene, Size, choose

SIZE_WORDS: Final[dict[Size, str]] = {Size.SMALL: "small", Size.LARGE: "large"}
SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "small": ("little", "tiny", "mini"),
    "large": ("big", "huge", "giant"),
    "larger": ("bigger",),
    "gray": ("grey", "silver"),
    "purple": ("violet",),
    "cyan": ("turquoise", "teal", "aqua"),
    "red": ("crimson", "scarlet"),
    "yellow": ("golden",),
    "circle": ("disc", "disk", "ball", "dot"),
    "square": ("box",),
    "cross": ("plus",),
    "diamond": ("rhombus",),
    "center": ("middle", "centre"),
    "color": ("colour",),
    "picture": ("image", "drawing"),
    "paint": ("draw",),
    "remove": ("delete", "erase"),
    "under": ("beneath",),
    "above": ("over",),
}
"""What the model's words may also be called; the Llama tokenizer folds them together."""
SYNONYM_SHARE: Final = 0.12
COUNT_WORDS: Final = {2: "two", 3: "three", 4: "four"}
OPENINGS: Final = (
    "a picture of",
    "an image of",
    "a drawing of",
    "draw",
    "paint",
    "please paint",
    "show me",
    "make a picture of",
)
FILLERS: Final = ("nice", "beautiful", "simple", "cute", "shiny", "pretty", "cool", "flat")
PLACE_PHRASES: Final[dict[Place, tuple[str, ...]]] = {
    Place.CENTER: ("in the center", "in the middle"),
    Place.LEFT: ("on the left", "on the left side", "at the left"),
    Place.RIGHT: ("on the right", "on the right side", "at the right"),
    Place.TOP: ("at the top", "on top"),
    Place.BOTTOM: ("at the bottom",),
    Place.TOP_LEFT: ("at the top left", "in the top left corner"),
    Place.TOP_RIGHT: ("at the top right", "in the top right corner"),
    Place.BOTTOM_LEFT: ("at the bottom left", "in the bottom left corner"),
    Place.BOTTOM_RIGHT: ("at the bottom right", "in the bottom right corner"),
}


def article(word: str) -> str:
    """The indefinite article for a word."""
    return "an" if word[0] in "aeiou" else "a"


def word_for(rng: np.random.Generator, word: str) -> str:
    """The word, or now and then one of its synonyms."""
    return choose(rng, SYNONYMS[word]) if word in SYNONYMS and rng.random() < SYNONYM_SHARE else word


def plural(word: str) -> str:
    return word + ("es" if word.endswith(("s", "x")) else "s")


def size_word(rng: np.random.Generator, size: Size) -> str:
    """A word for the size, or nothing for medium."""
    return word_for(rng, SIZE_WORDS[size]) if size in SIZE_WORDS else ""


def place_phrase(rng: np.random.Generator, place: Place) -> str:
    phrases = PLACE_PHRASES[place]
    return phrases[0] if rng.random() < 0.6 else choose(rng, phrases)


def noun(rng: np.random.Generator, item: Item) -> str:
    """Size, colour and shape without an article."""
    words = [size_word(rng, item.size), word_for(rng, item.colour), word_for(rng, item.shape)]
    if rng.random() < 0.03:
        words.insert(0, choose(rng, FILLERS))
    return " ".join(word for word in words if word)


def a_noun(rng: np.random.Generator, item: Item) -> str:
    """:func:`noun` with its article."""
    words = noun(rng, item)
    return f"{article(words)} {words}"


def unstated_background(scene: Scene) -> str:
    """The background that a caption without one stands for: white, or black behind something white."""
    return "black" if any(item.colour == "white" for item in scene.items) else "white"


def _subject(rng: np.random.Generator, scene: Scene) -> str:
    items = scene.items
    if scene.layout is Layout.GROUP:
        return plural(f"{COUNT_WORDS[len(items)]} {noun(rng, items[0])}")
    first = a_noun(rng, items[0])
    if scene.layout is Layout.SINGLE:
        place = items[0].place
        if place is Place.CENTER and rng.random() < 0.85:
            return first
        return f"{first} {place_phrase(rng, place)}"
    second = a_noun(rng, items[1])
    if scene.layout is Layout.ROW:
        wordings: tuple[str, ...] = (
            f"{first} and {second}",
            f"{first} and {second}",
            f"{first} next to {second}",
            f"{first} on the left and {second} on the right",
            f"{first} to the left of {second}",
            f"{second} to the right of {first}",
        )
    else:
        wordings = (
            f"{first} above {second}",
            f"{first} above {second}",
            f"{first} at the top and {second} at the bottom",
            f"{second} below {first}",
            f"{second} under {first}",
        )
    return choose(rng, wordings)


def caption(rng: np.random.Generator, scene: Scene, plain: bool = False) -> str:
    """A caption of the scene; ``plain`` keeps to the usual wording, without openings, capitals or full stops."""
    subject = _subject(rng, scene)
    background = word_for(rng, scene.background)
    kind = rng.random()
    if not plain and scene.background == unstated_background(scene) and kind < 0.5:
        text = subject
    elif kind < 0.7:
        text = f"{subject} on {article(background)} {background} background"
    elif kind < 0.85:
        text = f"{subject}, {background} background"
    elif kind < 0.9:
        text = f"{subject} on {background}"
    else:
        text = f"{article(background)} {background} background with {subject}"
    if plain:
        return text
    if rng.random() < 0.15:
        text = f"{choose(rng, OPENINGS)} {text}"
    if rng.random() < 0.1:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.1:
        text += "."
    return text
