"""Judges an edit: whether what was asked has changed, and whether everything else has stayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from backends.worker.training.checker import Found, Mask, Reading, at_place, pixels_of, read
from backends.worker.training.drawing import draw_scene
from backends.worker.training.edits import Edit, EditKind
from backends.worker.training.scenes import Item

KEPT_PSNR: Final = 25.0
"""dB outside the changed region that count as kept."""
MARGIN: Final = 4
"""Pixels around the changed region that are not compared."""
RADIUS_TOLERANCE: Final = 0.2


@dataclass(frozen=True)
class EditVerdict:
    """``kept`` means a PSNR of at least 25 dB against the source outside the changed region."""

    changed: bool
    kept: bool
    psnr: float


def changed_region(edit: Edit, margin: int = MARGIN) -> Mask:
    """Where source and target differ, and a margin around."""
    source, target = (np.asarray(draw_scene(scene), dtype=np.int16) for scene in (edit.source, edit.target))
    differs: Mask = (source != target).any(axis=-1)
    grown: Mask = ndimage.binary_dilation(differs, np.ones((3, 3), bool), iterations=margin)
    return grown


def _shows(reading: Reading, item: Item) -> Found | None:
    for found in reading.items:
        if found.shape == item.shape and found.colour == item.colour and at_place(found, item.x, item.y):
            return found
    return None


def _changed(edit: Edit, reading: Reading) -> bool:
    target = edit.target
    if edit.kind is EditKind.BACKGROUND:
        return reading.background == target.background
    if edit.kind is EditKind.REMOVE:
        assert edit.item is not None
        return len(reading.items) == len(target.items) and _shows(reading, edit.source.items[edit.item]) is None
    assert edit.item is not None
    wanted = target.items[edit.item]
    found = _shows(reading, wanted)
    if found is None:
        return False
    if edit.kind is EditKind.RESIZE:
        return abs(found.radius / wanted.radius - 1) <= RADIUS_TOLERANCE
    if edit.kind in (EditKind.MOVE, EditKind.ADD):
        return len(reading.items) == len(target.items)
    return True


def check_edit(edit: Edit, source: Image.Image, result: Image.Image) -> EditVerdict:
    """Compares an edited picture with its source picture and with what was asked."""
    outside = ~changed_region(edit)
    if outside.any():
        error = (pixels_of(result)[outside] - pixels_of(source)[outside]) / 255
        psnr = float(-10 * np.log10(max(1e-10, float((error**2).mean()))))
    else:
        psnr = 100.0
    return EditVerdict(_changed(edit, read(result)), psnr >= KEPT_PSNR, psnr)
