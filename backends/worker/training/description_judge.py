"""``python -m backends.worker.training.description_judge``: how true are the descriptions made for E1?

The bundled models' edit data knows, for every instruction, the scene that it leads to. A description is read back
into that world's words (colours, shapes, places) and compared with the target scene.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from backends.worker.descriptions import describe_target
from backends.worker.training.captions import SYNONYMS
from backends.worker.training.edits import Edit, EditKind, sample_any_edit, vary
from backends.worker.training.scenes import COLOURS, SHAPES, Place, Size

SEED: Final = 4242
COUNT: Final = 700
_CANONICAL: Final = {other: word for word, others in SYNONYMS.items() for other in others}
_PLACES: Final = ("top", "bottom", "left", "right", "center")


@dataclass(frozen=True)
class DescriptionVerdict:
    """``own``: neither empty nor the instruction again. ``states``: what the edit makes true is in it. ``true``: it
    names no colour and no shape that the target lacks."""

    own: bool
    states: bool
    true: bool

    @property
    def right(self) -> bool:
        """All of it."""
        return self.own and self.states and self.true


def words_of(text: str) -> list[str]:
    """The text's words, in lower case, synonyms folded together."""
    return [_CANONICAL.get(word, word) for word in re.findall(r"[a-z]+", text.casefold())]


def check_description(edit: Edit, instruction: str, description: str) -> DescriptionVerdict:
    """Compares a description with the scene that the instruction leads to."""
    words, target = words_of(description), edit.target
    colours = {target.background, *(item.colour for item in target.items)}
    shapes = {item.shape for item in target.items}
    return DescriptionVerdict(
        own=bool(words) and words != words_of(instruction),
        states=_stated(edit) <= set(words) and not _still_there(edit, words),
        true=all(word in colours for word in words if word in COLOURS)
        and all(word in shapes for word in words if word in SHAPES),
    )


def _stated(edit: Edit) -> set[str]:
    """The words without which a description does not say what the edit makes true."""
    if edit.kind is EditKind.BACKGROUND:
        return {"background", edit.target.background}
    if edit.kind is EditKind.REMOVE:
        return set()
    assert edit.item is not None
    item = edit.target.items[edit.item]
    match edit.kind:
        case EditKind.RECOLOUR:
            return {item.shape, item.colour}
        case EditKind.SHAPE:
            return {item.shape}
        case EditKind.MOVE:
            return {item.shape, *_place(item.place)}
        case EditKind.RESIZE:
            order = list(Size)
            grown = order.index(item.size) > order.index(edit.source.items[edit.item].size)
            return {item.shape, "larger" if grown else "smaller"}
        case _:
            return {item.shape, item.colour, *_place(item.place)}


def _place(place: Place | None) -> set[str]:
    return {word for word in _PLACES if place is not None and word in place.value}


def _still_there(edit: Edit, words: list[str]) -> bool:
    """It speaks of what is gone."""
    if edit.kind is not EditKind.REMOVE:
        return False
    assert edit.item is not None
    return edit.source.items[edit.item].shape in words


Describe = Callable[[str], str]


def judge(describe: Describe, count: int = COUNT, seed: int = SEED) -> dict[EditKind, list[DescriptionVerdict]]:
    """Verdicts on the descriptions of ``count`` instructions as people word them, by kind of edit."""
    rng = np.random.default_rng(seed)
    verdicts: dict[EditKind, list[DescriptionVerdict]] = {kind: [] for kind in EditKind}
    for _ in range(count):
        edit = sample_any_edit(rng)
        instruction = vary(rng, edit.instruction)
        verdicts[edit.kind].append(check_description(edit, instruction, describe(instruction)))
    return verdicts


def share(verdicts: Iterable[bool]) -> float:
    """The share that is true, 0..1."""
    given = list(verdicts)
    return sum(given) / len(given)


def main() -> None:
    """Prints the score beside that of the instruction repeated as its own description."""
    parser = argparse.ArgumentParser(prog="python -m backends.worker.training.description_judge", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="instructions (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the instructions (default: %(default)s)")
    options = parser.parse_args()
    made, copied = (judge(describe, options.count, options.seed) for describe in (describe_target, str))
    table = Table(title=f"Descriptions of E1's target picture, {options.count} edits")
    for heading in (
        "edit",
        "count",
        "own words",
        "states the change",
        "nothing false",
        "all three",
        "instruction copied",
    ):
        table.add_column(heading, justify="left" if heading == "edit" else "right")
    rows = [(kind.value, made[kind], copied[kind]) for kind in EditKind if made[kind]]
    rows.append(("all", [one for row in rows for one in row[1]], [one for row in rows for one in row[2]]))
    for name, verdicts, baseline in rows:
        parts = [[one.own for one in verdicts], [one.states for one in verdicts], [one.true for one in verdicts]]
        parts += [[one.right for one in verdicts], [one.states and one.true for one in baseline]]
        table.add_row(name, str(len(verdicts)), *(f"{share(part):.2f}" for part in parts))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
