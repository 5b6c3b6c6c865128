"""Which of the memory modes fits: a pure choice from sizes. Imports no torch, so that ``doctor`` can ask it too."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from config.settings import LocalMemory

WORKING_BYTES: Final = 6 << 30
"""Room beside the weights for what a picture of 1 MP needs on the way. An estimate; it has not been measured."""

BYTES_PER_PARAMETER: Final = {
    LocalMemory.FULL: 2.0,
    LocalMemory.OFFLOAD: 2.0,
    LocalMemory.FP8: 1.0,
    # 4 bits and, for each 64 weights, a scale of 8 bits that has scales of its own (Dettmers et al. 2023, section 3).
    LocalMemory.NF4: 0.53,
}
"""Of the large parts; the others stay in bfloat16."""
LARGEST_FIRST: Final = (LocalMemory.FULL, LocalMemory.OFFLOAD, LocalMemory.FP8, LocalMemory.NF4)
"""In the order of preference: the first two paint the same picture, the others coarser ones."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Parameters of what the models are made of. Parts that several models share count once."""

    large: tuple[int, ...]
    """The transformers and the two large text encoders: what can wait in main memory, one by one."""
    small: int = 0
    """All else, in sum."""


def needed_bytes(mode: LocalMemory, parts: Parts) -> int:
    """The least memory that the GPU has to have free before anything is loaded."""
    # In full everything stays; otherwise one large part at a time is enough.
    large = sum(parts.large) if mode is LocalMemory.FULL else max(parts.large, default=0)
    return round(large * BYTES_PER_PARAMETER[mode]) + 2 * parts.small + WORKING_BYTES


def choose_mode(
    wanted: LocalMemory, free_bytes: int | None, parts: Parts, possible: Collection[LocalMemory]
) -> LocalMemory:
    """The mode to load in: the wanted one, or with ``auto`` the first that fits.

    ``free_bytes``: what is free on the GPU; None where there is none (main memory has no smaller mode: ``full``).
    ``possible``: modes whose library is installed. Where not even the smallest fits, that one is tried.
    """
    if wanted is not LocalMemory.AUTO:
        return wanted
    if free_bytes is None:
        return LocalMemory.FULL
    modes = [mode for mode in LARGEST_FIRST if mode in possible]
    return next((mode for mode in modes if needed_bytes(mode, parts) <= free_bytes), modes[-1])


def weights_budget(mode: LocalMemory, free_bytes: int | None, small_bytes: int) -> int | None:
    """Bytes of large parts that may be on the device at a time; None where nothing has to move.

    With 0 there is always just the one that computes; so it is without a GPU too, where moving costs nothing.
    """
    if mode is LocalMemory.FULL:
        return None
    return 0 if free_bytes is None else max(0, free_bytes - small_bytes - WORKING_BYTES)


def gibibytes(amount: Iterable[int] | int) -> str:
    """For people: ``31.9 GiB``."""
    total = amount if isinstance(amount, int) else sum(amount)
    return f"{total / 2**30:.1f} GiB"
