"""The choice of a memory mode, from what is free and what the models' files hold."""

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from backends.worker.engine.loading import Placement
from backends.worker.engine.residency import Residency
from backends.worker.engine.weights import find_llama, find_model
from backends.worker.files import LARGE, SMALL, parameters_in
from backends.worker.memory import LARGEST_FIRST, Parts, choose_mode, gibibytes, weights_budget
from backends.worker.variants import LocalModel
from config.settings import LocalMemory
from domain.errors import Code, OperatorError

log = logging.getLogger(__name__)


def place(
    models: Sequence[LocalModel], llama: str, device: torch.device, dtype: torch.dtype, wanted: LocalMemory
) -> Placement:
    """Decide for all models together. Weights on the hub are downloaded first.

    Raises OperatorError (SETTING_INVALID) for a mode whose library is not installed.
    """
    has_nf4 = importlib.util.find_spec("bitsandbytes") is not None
    if wanted is LocalMemory.NF4 and not has_nf4:
        raise OperatorError(
            Code.SETTING_INVALID, setting="EASEL_LOCAL_MEMORY", problem="nf4 needs the package bitsandbytes"
        )
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    parts = parts_of(models, llama)
    mode = choose_mode(wanted, free, parts, [one for one in LARGEST_FIRST if has_nf4 or one is not LocalMemory.NF4])
    if free is not None:
        log.info("memory mode %s: %s free on the GPU", mode.value, gibibytes(free))
    return Placement(device, dtype, mode, Residency(device, weights_budget(mode, free, 2 * parts.small)))


def parts_of(models: Sequence[LocalModel], llama: str) -> Parts:
    """Sizes from the files' headers. What cannot be found or read counts as nothing: loading it tells why."""
    large: set[tuple[str, int]] = set()
    small: set[tuple[str, int]] = set()
    for number, model in enumerate(models):
        try:
            folder = find_model(model)
            sizes = {name: _parameters(folder / name) for name in (*LARGE, *SMALL)}
            if (folder / "model_index.json").is_file() and not sizes["text_encoder_4"]:
                sizes["text_encoder_4"] = _parameters(find_llama(llama))
        except OperatorError:
            continue
        # Encoders and VAE of the same size are the same: I1 and E1 share them. A transformer is each model's own.
        large |= {(name if name != "transformer" else f"{name} {number}", sizes[name]) for name in LARGE}
        small |= {(name, sizes[name]) for name in SMALL}
    return Parts(tuple(sorted(size for _, size in large if size)), sum(size for _, size in small))


def _parameters(folder: Path) -> int:
    try:
        return parameters_in(folder)
    except (OSError, ValueError):
        return 0
