"""The gate's table: what the shipped models paint and edit, judged by program."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
from rich.console import Console
from rich.table import Table

from backends.worker.training.captions import caption
from backends.worker.training.checker import Verdict, check, read
from backends.worker.training.contact_sheet import save_edit_sheet, save_paint_sheet
from backends.worker.training.drawing import draw_scene
from backends.worker.training.edit_checker import check_edit
from backends.worker.training.edits import Edit, EditKind, is_held_out_edit, sample_any_edit
from backends.worker.training.sampling import (
    DEV,
    EDIT,
    EULER,
    EULER_16,
    FAST,
    FULL,
    Schedule,
    edit,
    load_editor,
    load_painter,
    paint,
)
from backends.worker.training.scenes import Scene, is_held_out, sample_group, sample_pair, sample_single

SEED: Final = 4242
REPORT_NAME: Final = "judgement.json"
NEGATIVE_COUNT: Final = 60
CARD_NAME: Final = "MODEL_CARD.md"
CARD_START, CARD_END = "<!-- figures: written by the judge -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class PaintLine:
    """Shares of right answers (0..1) over ``count`` pictures; None where a line does not ask for it."""

    name: str
    schedule: str
    count: int
    background: float
    colour: float
    shape: float
    all_right: float
    position: float | None
    size: float | None


@dataclass(frozen=True)
class EditLine:
    """Shares of edits with the asked change, with the rest kept, and with both; median PSNR in dB."""

    name: str
    count: int
    changed: float
    kept: float
    both: float
    psnr: float


@dataclass(frozen=True)
class Judgement:
    """Everything measured about the shipped folders."""

    painting: list[PaintLine]
    editing: list[EditLine]
    circles_without_negative: float
    circles_with_negative: float
    seconds_a_picture: float
    seconds_to_load: float


def scenes(
    sampler: Callable[[np.random.Generator], Scene], held_out: bool, count: int, seed: int = SEED
) -> list[Scene]:
    """``count`` scenes of one kind, all held out or none."""
    rng = np.random.default_rng(seed)
    found: list[Scene] = []
    while len(found) < count:
        scene = sampler(rng)
        if is_held_out(scene) == held_out:
            found.append(scene)
    return found


def edits(held_out: bool, count: int, single_share: float, seed: int = SEED) -> list[Edit]:
    """``count`` edits of the training mix's kinds, all held out or none.

    ``single_share``: of pictures with one item; the others have two.
    """
    rng = np.random.default_rng(seed)
    found: list[Edit] = []
    while len(found) < count:
        one = sample_any_edit(rng, single_share)
        if is_held_out_edit(one) == held_out:
            found.append(one)
    return found


def _share(answers: Iterable[bool | None]) -> float | None:
    given = [answer for answer in answers if answer is not None]
    return round(sum(given) / len(given), 4) if given else None


def paint_line(
    pipeline: HiDreamImagePipeline, name: str, asked: list[Scene], schedule: Schedule, seed: int = SEED
) -> PaintLine:
    """Paints plain captions of the scenes and checks them."""
    rng = np.random.default_rng(seed)
    pictures = paint(pipeline, [caption(rng, scene, plain=True) for scene in asked], schedule, seed)
    verdicts: list[Verdict] = [check(scene, picture) for scene, picture in zip(asked, pictures, strict=True)]
    return PaintLine(
        name,
        schedule.name,
        len(asked),
        _share(verdict.background for verdict in verdicts) or 0.0,
        _share(verdict.colour for verdict in verdicts) or 0.0,
        _share(verdict.shape for verdict in verdicts) or 0.0,
        _share(verdict.all_right for verdict in verdicts) or 0.0,
        _share(verdict.position for verdict in verdicts),
        _share(verdict.size for verdict in verdicts),
    )


def edit_lines(
    pipeline: HiDreamImagePipeline,
    editor: HiDreamImageTransformer2DModel,
    name: str,
    asked: list[Edit],
    by_kind: bool = False,
) -> list[EditLine]:
    """Edits drawn pictures and checks the answers; with ``by_kind`` also one line for each kind."""
    sources = [draw_scene(one.source) for one in asked]
    results = edit(pipeline, editor, [one.instruction for one in asked], sources, EDIT, SEED)
    verdicts = [check_edit(one, source, result) for one, source, result in zip(asked, sources, results, strict=True)]

    def line(title: str, kinds: tuple[EditKind, ...]) -> EditLine:
        chosen = [verdict for one, verdict in zip(asked, verdicts, strict=True) if one.kind in kinds]
        changed = [verdict.changed for verdict in chosen]
        kept = [verdict.kept for verdict in chosen]
        both = [verdict.changed and verdict.kept for verdict in chosen]
        return EditLine(
            title,
            len(chosen),
            _share(changed) or 0.0,
            _share(kept) or 0.0,
            _share(both) or 0.0,
            round(float(np.median([verdict.psnr for verdict in chosen])), 1) if chosen else 0.0,
        )

    lines = [line(name, tuple(EditKind))]
    if by_kind:
        lines += [line(f"{name}: {kind.value}", (kind,)) for kind in EditKind]
    return lines


def circle_share(pipeline: HiDreamImagePipeline, negative_prompt: str) -> float:
    """Share of pictures with a circle or ring when the prompt leaves everything open (Full schedule)."""
    pictures = paint(pipeline, [""] * NEGATIVE_COUNT, FULL, SEED, negative_prompt)
    circles = [any(found.shape == "circle" for found in read(picture).items) for picture in pictures]
    return sum(circles) / len(circles)


def _timings(models: Path) -> tuple[float, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        started = time.perf_counter()
        pipeline = load_painter(models)
        loading = time.perf_counter() - started
        paint(pipeline, ["a red star on a blue background"], EULER)
        seconds = []
        for seed in range(3):
            started = time.perf_counter()
            paint(pipeline, ["a red star on a blue background"], EULER, seed)
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return min(seconds), loading


def measure(models: Path, count: int, report: Callable[[str], None]) -> Judgement:
    """Everything in the table: ``count`` pictures for each line of the gate, a quarter of that for the others.

    ``report`` hears of each line as it is done.
    """
    seconds, loading = _timings(models)
    pipeline, editor = load_painter(models), load_editor(models)
    held, pairs = scenes(sample_single, True, count), scenes(sample_pair, True, count)
    few = max(1, count // 4)
    asked = [
        ("single, held out", held, EULER),
        ("two objects, held out", pairs, EULER),
        ("single, held out", held, EULER_16),
        ("single, held out", held[:few], DEV),
        ("single, held out", held[:few], FAST),
        ("single, held out", held[:few], FULL),
        ("two objects, held out", pairs[:few], DEV),
        ("two to four alike, held out", scenes(sample_group, True, few), EULER),
        ("single, seen", scenes(sample_single, False, few), EULER),
        ("two objects, seen", scenes(sample_pair, False, few), EULER),
    ]
    painting = []
    for name, wanted, schedule in asked:
        painting.append(paint_line(pipeline, name, wanted, schedule))
        report(f"{name}, {schedule.name}: {painting[-1].all_right:.3f} all right")
    editing = edit_lines(pipeline, editor, "one item, held out", edits(True, count, 1.0), by_kind=True)
    editing += edit_lines(pipeline, editor, "one item, seen", edits(False, few, 1.0))
    editing += edit_lines(pipeline, editor, "two items, held out", edits(True, few, 0.0))
    without, with_negative = circle_share(pipeline, ""), circle_share(pipeline, "a circle")
    return Judgement(painting, editing, without, with_negative, seconds, loading)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def tables(judgement: Judgement) -> list[Table]:
    """The judgement as tables, shares in percent."""
    painting = Table(
        "pictures", "schedule", "n", "background", "colour", "shape", "all right", "position", "size", title="Painting"
    )
    for line in judgement.painting:
        read_shares = (line.background, line.colour, line.shape, line.all_right, line.position, line.size)
        painting.add_row(line.name, line.schedule, str(line.count), *map(_percent, read_shares))
    editing = Table("edits", "n", "change right", "rest kept", "both", "median PSNR dB", title="Editing, E1 28 steps")
    for entry in judgement.editing:
        shares = (entry.changed, entry.kept, entry.both)
        editing.add_row(entry.name, str(entry.count), *map(_percent, shares), f"{entry.psnr:.1f}")
    other = Table("measured", "value", title="Other")
    other.add_row("circles, empty prompt, Full", _percent(judgement.circles_without_negative))
    other.add_row("the same, negative prompt 'a circle'", _percent(judgement.circles_with_negative))
    other.add_row("seconds a 28-step picture, one core", f"{judgement.seconds_a_picture:.2f}")
    other.add_row("seconds to load", f"{judgement.seconds_to_load:.2f}")
    return [painting, editing, other]


def markdown(table: Table) -> str:
    """A table as Markdown."""
    columns = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    rows = ["| " + " | ".join(cells) + " |" for cells in zip(*columns, strict=True)]
    return "\n".join([f"**{table.title}**", "", rows[0], "|" + "---|" * len(columns), *rows[1:]])


def update_card(card: Path, shown: list[Table]) -> None:
    """Replaces the card's figures, between its two marks."""
    text = card.read_text()
    before, _, rest = text.partition(CARD_START)
    _, _, after = rest.partition(CARD_END)
    figures = "\n\n".join(markdown(table) for table in shown)
    card.write_text(f"{before}{CARD_START}\n\n{figures}\n\n{CARD_END}{after}")


def judge(models: Path, count: int) -> Judgement:
    """Measures, prints the tables, and writes the report, the card's figures and the contact sheets."""
    pipeline, editor = load_painter(models), load_editor(models)
    save_paint_sheet(pipeline, models / "contact_sheet.png")
    save_edit_sheet(pipeline, editor, models / "contact_sheet_edits.png")
    console = Console(width=130)
    judgement = measure(models, count, console.print)
    shown = tables(judgement)
    for table in shown:
        console.print(table)
    (models / REPORT_NAME).write_text(json.dumps(asdict(judgement), indent=1) + "\n")
    if (models / CARD_NAME).exists():
        update_card(models / CARD_NAME, shown)
    return judgement
