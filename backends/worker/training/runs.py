"""What every training stage shares: where it runs, its checkpoint, its log, its progress bar.

A run's folder holds ``checkpoint.pt`` (weights, averaged weights, optimisers, generators, step) and
``losses.jsonl``. A stage that is started again goes on from its checkpoint with the numbers it would have drawn.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

CHECKPOINT_NAME: Final = "checkpoint.pt"
LOSSES_NAME: Final = "losses.jsonl"
CHECKPOINT_SECONDS: Final = 120.0
LOG_EVERY: Final = 50


class TrainingDiverged(RuntimeError):
    """The loss or the gradient stopped being a number too often; the last checkpoint is still good."""


@dataclass(frozen=True)
class Machine:
    """Where tensors live and how matrices are multiplied."""

    device: torch.device
    low_precision: bool
    """Multiply in bfloat16 (a GPU, or a CPU with AVX512-BF16 or AMX); plain float32 elsewhere."""

    @classmethod
    def detect(cls, device: str = "auto") -> Machine:
        """The named device, or with ``auto`` a GPU where there is one."""
        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        if name.startswith("cuda"):
            return cls(torch.device(name), torch.cuda.is_bf16_supported())
        flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        return cls(torch.device(name), "avx512_bf16" in flags or "amx_bf16" in flags)

    def autocast(self, enabled: bool = True) -> AbstractContextManager[Any]:
        """bfloat16 matrix products where the machine is good at them."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled and self.low_precision)


def learning_rate_factor(
    progress: float, step: int, warmup: int = 100, floor: float = 0.02, flat: float = 0.5
) -> float:
    """Linear warm-up, then 1 for the ``flat`` share of the run, then a cosine down to ``floor``.

    ``progress`` is the share of the run that is done (0..1).
    """
    if step < warmup:
        return (step + 1) / warmup
    if progress <= flat:
        return 1.0
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (min(1.0, progress) - flat) / (1 - flat)))


@dataclass
class Run:
    """One stage's folder: saves and restores its checkpoint and writes its losses."""

    folder: Path
    _last_save: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT_NAME

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None on a first start."""
        if not self.checkpoint.exists():
            return None
        state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces the checkpoint at once: a cut in the middle leaves the old one whole."""
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(dict(state), partial)
        partial.replace(self.checkpoint)
        self._last_save = time.monotonic()

    def save_is_due(self) -> bool:
        return time.monotonic() - self._last_save > CHECKPOINT_SECONDS

    def log(self, step: int, **values: float) -> None:
        with (self.folder / LOSSES_NAME).open("a") as losses:
            losses.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in values.items()}}) + "\n")

    def losses(self) -> list[dict[str, float]]:
        """Everything logged so far, oldest first."""
        path = self.folder / LOSSES_NAME
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def progress_bar(title: str, total: int, done: int) -> Iterator[tuple[Progress, Any]]:
    """A bar with the current loss; it writes plain lines where there is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, refresh_per_second=2) as progress:
        yield progress, progress.add_task(title, total=total, completed=done, loss="")


@dataclass
class NonFiniteGuard:
    """Skips a step whose loss or gradient is not finite; gives up after many in a row."""

    patience: int = 20
    _bad: int = 0

    def accept(self, value: float) -> bool:
        if math.isfinite(value):
            self._bad = 0
            return True
        self._bad += 1
        if self._bad >= self.patience:
            raise TrainingDiverged(f"{self._bad} steps in a row had no finite loss or gradient")
        return False
