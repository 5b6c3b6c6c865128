"""Endless training sets of latents: a window over a numbered stream of pictures, encoded as it moves on.

Picture ``i`` of a stream depends on the seed and ``i`` alone, so a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from backends.worker.training.drawing import draw_scene, jittered_palette
from backends.worker.training.edits import Edit, sample_edit
from backends.worker.training.runs import Machine
from backends.worker.training.scenes import CANVAS, SINGLE_SHARE, Scene, sample_scene
from backends.worker.training.vae import to_tensor

TOKEN_SIDE: Final = 16
"""Pixels of one transformer token: f8 latents in 2x2 patches."""
ENCODE_BATCH: Final = 64
Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Drawn(Generic[Subject]):
    """What is shown, its pictures (target first), and how much each 16x16 block of the target matters (8, 8)."""

    subject: Subject
    pictures: tuple[npt.NDArray[np.uint8], ...]
    emphasis: npt.NDArray[np.float32]


def _blocks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    side = CANVAS // TOKEN_SIDE
    blocks = values.reshape(side, TOKEN_SIDE, side, TOKEN_SIDE).mean(axis=(1, 3))
    some: npt.NDArray[np.float32] = (blocks > 0).astype(np.float32)
    return some


def draw_captioned(seed: int, index: int, single_share: float = SINGLE_SHARE) -> Drawn[Scene]:
    """Number ``index`` of the pictures to paint; blocks with an edge in them matter."""
    rng = np.random.default_rng((seed, 11, index))
    scene = sample_scene(rng, single_share)
    picture = np.asarray(draw_scene(scene))
    plain = (picture == picture[0, 0]).all(axis=-1)
    return Drawn(scene, (picture,), _blocks((~plain).astype(np.float32)))


def draw_edit(seed: int, index: int, single_share: float = SINGLE_SHARE) -> Drawn[Edit]:
    """Number ``index`` of the edits; blocks that change matter."""
    rng = np.random.default_rng((seed, 12, index))
    edit = sample_edit(rng, single_share)
    palette = jittered_palette(rng) if rng.random() < 0.3 else None
    source, target = (np.asarray(draw_scene(scene, palette)) for scene in (edit.source, edit.target))
    return Drawn(edit, (target, source), _blocks((source != target).any(axis=-1).astype(np.float32)))


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: npt.NDArray[np.uint8], machine: Machine) -> Tensor:
    """(N, 128, 128, 3) bytes to scaled latents (N, 12, 16, 16)."""
    with machine.autocast():
        mean = vae.encode(to_tensor(pictures).to(machine.device)).latent_dist.mean.float()
    scaled: Tensor = (mean - vae.config.shift_factor) * vae.config.scaling_factor
    return scaled


@dataclass(frozen=True)
class Batch(Generic[Subject]):
    """Subjects with their latents: target, source (edits) or None, and emphasis (N, 64)."""

    subjects: list[Subject]
    target: Tensor
    source: Tensor | None
    emphasis: Tensor


class LatentWindow(Generic[Subject]):
    """The latest ``capacity`` members of a stream; :meth:`advance` drops the oldest for new ones."""

    def __init__(
        self,
        vae: AutoencoderKL,
        machine: Machine,
        draw: Callable[[int, int], Drawn[Subject]],
        seed: int,
        capacity: int,
        start: int = 0,
    ) -> None:
        self._vae = vae
        self._machine = machine
        self._draw = draw
        self._seed = seed
        self._next = start
        self._capacity = capacity
        self._subjects: deque[Subject] = deque(maxlen=capacity)
        self._latents: deque[Tensor] = deque(maxlen=capacity)
        self._emphasis: deque[npt.NDArray[np.float32]] = deque(maxlen=capacity)
        while len(self._subjects) < capacity:
            self.advance(min(ENCODE_BATCH, capacity - len(self._subjects)))

    @property
    def start(self) -> int:
        """Number of the oldest member: pass it as ``start`` to have this window again."""
        return self._next - len(self._subjects)

    def advance(self, count: int) -> None:
        """Draws and encodes ``count`` more."""
        drawn = [self._draw(self._seed, self._next + offset) for offset in range(count)]
        self._next += count
        pictures = np.stack([picture for one in drawn for picture in one.pictures])
        latents = encode_pictures(self._vae, pictures, self._machine).half()
        per_subject = latents.reshape(count, -1, *latents.shape[1:])
        for one, tensors in zip(drawn, per_subject, strict=True):
            self._subjects.append(one.subject)
            self._latents.append(tensors.clone())
            self._emphasis.append(one.emphasis.reshape(-1))

    def sample(self, rng: np.random.Generator, count: int) -> Batch[Subject]:
        """``count`` members drawn with replacement."""
        chosen = [int(index) for index in rng.integers(len(self._subjects), size=count)]
        latents = torch.stack([self._latents[index] for index in chosen]).float()
        return Batch(
            [self._subjects[index] for index in chosen],
            latents[:, 0],
            latents[:, 1] if latents.shape[1] > 1 else None,
            torch.from_numpy(np.stack([self._emphasis[index] for index in chosen])).to(latents.device),
        )
