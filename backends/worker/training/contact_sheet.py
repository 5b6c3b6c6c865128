"""Contact sheets: what the models paint and edit, for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
from PIL import Image, ImageDraw, ImageFont

from backends.worker.training.captions import caption
from backends.worker.training.drawing import draw_scene
from backends.worker.training.edits import Edit, is_held_out_edit, sample_any_edit
from backends.worker.training.sampling import DEV, edit, paint
from backends.worker.training.scenes import CANVAS, Scene, is_held_out, sample_group, sample_pair, sample_single

COLUMNS: Final = 8
GAP: Final = 6
TEXT_HEIGHT: Final = 34
SHEET_SEED: Final = 77


def _wrap(text: str, width: int = 23) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines[:3])


def sheet(rows: list[tuple[list[Image.Image], str]], columns: int) -> Image.Image:
    """Entries of one or more pictures side by side, with their text below, in a grid."""
    pictures = len(rows[0][0])
    cell = (CANVAS * pictures + GAP, CANVAS + TEXT_HEIGHT + GAP)
    height = -(-len(rows) // columns)
    result = Image.new("RGB", (cell[0] * columns + GAP, cell[1] * height + GAP), (54, 57, 63))
    draw = ImageDraw.Draw(result)
    font = ImageFont.load_default(10)
    for index, (entry, text) in enumerate(rows):
        x, y = GAP + cell[0] * (index % columns), GAP + cell[1] * (index // columns)
        for number, picture in enumerate(entry):
            result.paste(picture, (x + CANVAS * number, y))
        draw.multiline_text((x, y + CANVAS + 1), _wrap(text, 23 * pictures), (220, 221, 222), font, spacing=1)
    return result


def sheet_scenes() -> list[Scene]:
    """What the painting sheet asks for: 24 single items, 16 pairs and 8 groups, half of them held out."""
    rng = np.random.default_rng(SHEET_SEED)
    chosen: list[Scene] = []
    for sampler, count in ((sample_single, 24), (sample_pair, 16), (sample_group, 8)):
        of_kind: list[Scene] = []
        while len(of_kind) < count:
            scene = sampler(rng)
            if is_held_out(scene) == (len(of_kind) % 2 == 0):
                of_kind.append(scene)
        chosen += of_kind
    return chosen


def save_paint_sheet(pipeline: HiDreamImagePipeline, path: Path) -> None:
    """48 pictures on Dev's schedule with their prompts; every other one is held out."""
    rng = np.random.default_rng(SHEET_SEED)
    prompts = [caption(rng, scene, plain=True) for scene in sheet_scenes()]
    prompts[0] = "a red star on a blue background"
    pictures = paint(pipeline, prompts, DEV, SHEET_SEED)
    sheet([([picture], prompt) for picture, prompt in zip(pictures, prompts, strict=True)], COLUMNS).save(path)


def save_edit_sheet(pipeline: HiDreamImagePipeline, editor: HiDreamImageTransformer2DModel, path: Path) -> None:
    """24 edits, source and result side by side; every other one is held out."""
    rng = np.random.default_rng(SHEET_SEED)
    chosen: list[Edit] = []
    while len(chosen) < 24:
        one = sample_any_edit(rng)
        if is_held_out_edit(one) == (len(chosen) % 2 == 0):
            chosen.append(one)
    sources = [draw_scene(one.source) for one in chosen]
    results = edit(pipeline, editor, [one.instruction for one in chosen], sources, seed=SHEET_SEED)
    rows = [([source, result], one.instruction) for source, result, one in zip(sources, results, chosen, strict=True)]
    sheet(rows, COLUMNS // 2).save(path)
