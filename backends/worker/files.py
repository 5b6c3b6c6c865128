"""What a model's folder holds, told from its files' names and headers alone. Imports no torch."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LARGE: Final = ("transformer", "text_encoder_3", "text_encoder_4")
"""Parts that are worth being moved or packed."""
SMALL: Final = ("text_encoder", "text_encoder_2", "vae")
MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the format's own library."""


def parameters_in(folder: Path) -> int:
    """Numbers in the ``.safetensors`` files of a folder; 0 where there is none.

    The same weights in two files (a variant in another precision) count once. Raises ValueError for a damaged file,
    OSError for one that cannot be read.
    """
    sizes: dict[str, int] = {}
    for path in folder.glob("*.safetensors"):
        sizes |= {name: math.prod(shape) for name, shape in _shapes(path)}
    return sum(sizes.values())


def _shapes(path: Path) -> Iterable[tuple[str, list[int]]]:
    # Eight bytes of length, then JSON: https://github.com/huggingface/safetensors#format
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is damaged")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{path.name} is damaged")
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, entry["shape"]
