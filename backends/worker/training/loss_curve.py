"""Draws a training folder's losses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from backends.worker.training.runs import Run

STAGES: Final = ("vae", "trunk", "i1", "e1", "decoder")


def save_loss_curve(folder: Path, path: Path) -> None:
    """One panel a stage that has been trained, every logged loss over its steps."""
    trained = [stage for stage in STAGES if (folder / stage).exists() and Run(folder / stage).losses()]
    if not trained:
        return
    figure, panels = plt.subplots(1, len(trained), figsize=(4.6 * len(trained), 3.4), squeeze=False)
    for panel, stage in zip(panels[0], trained, strict=True):
        entries = Run(folder / stage).losses()
        for name in sorted({key for entry in entries for key in entry} - {"step", "rate", "psnr"}):
            points = [(entry["step"], entry[name]) for entry in entries if name in entry]
            panel.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
        panel.set_title(stage)
        panel.set_xlabel("step")
        panel.set_yscale("log")
        panel.grid(alpha=0.3, which="both")
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
