"""What a model's folder holds, told from its files' names and headers alone. Imports no torch."""

import contextlib
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


TOKENIZERS: Final = ("tokenizer", "tokenizer_2", "tokenizer_3")


def missing_parts(folder: Path) -> list[str]:
    """What a model's folder lacks, by path: files that are not there, and weights that were cut short.

    A folder without ``model_index.json`` holds a transformer alone. The fourth text encoder may lie elsewhere, so
    it is looked at only where there is one.
    """
    whole = (folder / "model_index.json").is_file()
    parts = ["transformer", *(name for name in (*LARGE, *SMALL) if whole and name != "transformer")]
    if not (folder / "text_encoder_4").is_dir():
        parts = [name for name in parts if name != "text_encoder_4"]
    missing = [f"{name}/config.json" for name in parts if not (folder / name / "config.json").is_file()]
    missing += [name for name in TOKENIZERS if whole and not (folder / name / "tokenizer_config.json").is_file()]
    for name in parts:
        missing += [f"{name}/{file}" for file in _missing_weights(folder / name)]
    return missing


def _missing_weights(folder: Path) -> list[str]:
    wanted: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        with contextlib.suppress(ValueError, LookupError, AttributeError):
            wanted |= set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    wanted |= {path.name for path in folder.glob("*.safetensors")}
    return sorted(name for name in wanted if not _is_whole(folder / name)) or ([] if wanted else ["*.safetensors"])


def _is_whole(path: Path) -> bool:
    """The file is there, and as long as its header says: a download that was cut short is not."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return bool(path.stat().st_size == 8 + length + max(ends, default=0))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return False
