"""Finds prompts and instructions that the shipped models carry out, for people who try them first.

The result is ``suggestions.toml`` beside the models; read it with :func:`tomllib.load`:
``prompts`` is a list of texts, ``edits`` a list of tables with ``prompt`` (what to paint first) and ``instruction``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
from PIL import Image

from backends.worker.training.captions import caption
from backends.worker.training.checker import check
from backends.worker.training.edit_checker import check_edit
from backends.worker.training.edits import Edit, EditKind, sample_any_edit
from backends.worker.training.sampling import DEV, edit, load_editor, load_painter, paint
from backends.worker.training.scenes import (
    PAIR_RADIUS,
    SINGLE_RADIUS,
    Item,
    Layout,
    Place,
    Scene,
    Size,
    sample_group,
    sample_pair,
    sample_single,
)

NAME: Final = "suggestions.toml"
SEEDS: Final = (1, 2, 3)
PROMPTS: Final = 12
EDITS: Final = 6
_CANDIDATES: Final = 90
_SEED: Final = 31

DEMONSTRATION: Final = Scene(
    "blue", (Item("star", "red", Size.MEDIUM, Place.CENTER, 64, 64, SINGLE_RADIUS[Size.MEDIUM]),), Layout.SINGLE
)
DEMONSTRATION_PROMPT: Final = "a red star on a blue background"
DEMONSTRATION_EDIT: Final = Edit(
    EditKind.RECOLOUR,
    "make the star green",
    DEMONSTRATION,
    replace(DEMONSTRATION, items=(replace(DEMONSTRATION.items[0], colour="green"),)),
    0,
)
PAIR_DEMONSTRATION: Final = Scene(
    "white",
    (
        Item("circle", "red", Size.MEDIUM, Place.LEFT, 33, 64, PAIR_RADIUS[Size.MEDIUM]),
        Item("square", "blue", Size.MEDIUM, Place.RIGHT, 95, 64, PAIR_RADIUS[Size.MEDIUM]),
    ),
    Layout.ROW,
)


def _candidates() -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(_SEED)
    scenes = [sample_single(rng) for _ in range(_CANDIDATES * 2 // 3)]
    scenes += [sample_pair(rng) for _ in range(_CANDIDATES // 6)] + [sample_group(rng) for _ in range(_CANDIDATES // 6)]
    return [
        (DEMONSTRATION, DEMONSTRATION_PROMPT),
        (PAIR_DEMONSTRATION, "a red circle and a blue square on a white background"),
        *((scene, caption(rng, scene, plain=True)) for scene in scenes),
    ]


def _is_right(scene: Scene, picture: Image.Image) -> bool:
    verdict = check(scene, picture)
    return verdict.all_right and verdict.position is not False and verdict.size is not False


def find_prompts(pipeline: HiDreamImagePipeline) -> list[str]:
    """Up to twelve prompts that came out right with every seed tried, on Dev's schedule; varied where possible."""
    candidates = _candidates()
    for seed in SEEDS:
        pictures = paint(pipeline, [prompt for _, prompt in candidates], DEV, seed)
        candidates = [pair for pair, picture in zip(candidates, pictures, strict=True) if _is_right(pair[0], picture)]
    chosen: list[str] = []
    used: dict[str, int] = {}
    for scene, prompt in candidates:
        shape = scene.items[0].shape
        if used.get(shape, 0) < 3 and len(chosen) < PROMPTS:
            used[shape] = used.get(shape, 0) + 1
            chosen.append(prompt)
    return chosen


def find_edits(pipeline: HiDreamImagePipeline, editor: HiDreamImageTransformer2DModel) -> list[tuple[str, str]]:
    """Up to six (prompt, instruction) that came out right on a painted source with every seed, one of a kind first."""
    rng = np.random.default_rng(_SEED)
    asked = [(DEMONSTRATION_EDIT, DEMONSTRATION_PROMPT)]
    while len(asked) < _CANDIDATES:
        one = sample_any_edit(rng)
        if one.source.layout is Layout.SINGLE:
            asked.append((one, caption(rng, one.source, plain=True)))
    for seed in SEEDS[:2]:
        sources = paint(pipeline, [prompt for _, prompt in asked], DEV, seed)
        results = edit(pipeline, editor, [one.instruction for one, _ in asked], sources, seed=seed)
        asked = [
            pair
            for pair, source, result in zip(asked, sources, results, strict=True)
            if check(pair[0].source, source).all_right and check_edit(pair[0], source, result).changed
        ]
    first_of_kind = {one.kind: (one, prompt) for one, prompt in reversed(asked)}
    ordered = [*reversed(first_of_kind.values()), *asked]
    chosen: list[tuple[str, str]] = []
    for one, prompt in ordered:
        if (prompt, one.instruction) not in chosen and len(chosen) < EDITS:
            chosen.append((prompt, one.instruction))
    return chosen


def write_suggestions(models: Path) -> None:
    """Writes ``suggestions.toml``: only what worked is in it."""
    pipeline = load_painter(models)
    prompts, edits = find_prompts(pipeline), find_edits(pipeline, load_editor(models))
    lines = [
        "# Written by python -m backends.worker.training --stages suggest: each came out right with every seed.",
        "prompts = [",
        *(f"    {json.dumps(prompt)}," for prompt in prompts),
        "]",
    ]
    for prompt, instruction in edits:
        lines += ["", "[[edits]]", f"prompt = {json.dumps(prompt)}", f"instruction = {json.dumps(instruction)}"]
    (models / NAME).write_text("\n".join(lines) + "\n")
