"""LoRAs around one job: put into the transformer before it, and taken out again whatever happens."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
from peft.tuners.lora import LoraLayer

from backends.worker.engine.loading import LOADING_ERRORS, is_out_of_memory
from domain.errors import Code, OperatorError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA's name, its file, and how strongly it works (1 is as it was trained)."""

    name: str
    file: Path
    weight: float


@contextmanager
def wearing(pipeline: HiDreamImagePipeline, adapters: Sequence[Adapter], model: str) -> Iterator[None]:
    """The pipeline's transformer with these LoRAs, for the length of the block.

    They stand beside the weights and are never merged into them, so that the transformer afterwards is bit for
    bit what it was. One of weight 0 changes nothing and is not loaded. ``model`` is for the error.
    Raises OperatorError (LORA_UNUSABLE) for a file that is damaged or was made for another model.
    """
    worn = [adapter for adapter in adapters if adapter.weight]
    if not worn:
        yield
        return
    try:
        for number, adapter in enumerate(worn):
            _load(pipeline, adapter, _key(number), model)
        _compute_as(pipeline.transformer)
        pipeline.set_adapters([_key(number) for number in range(len(worn))], [adapter.weight for adapter in worn])
        yield
    finally:
        pipeline.unload_lora_weights()


def _compute_as(transformer: HiDreamImageTransformer2DModel) -> None:
    """Give the LoRAs the type in which the transformer computes: they got that of the weights they stand beside."""
    for layer in transformer.modules():
        if isinstance(layer, LoraLayer):
            layer.lora_A.to(transformer.dtype)
            layer.lora_B.to(transformer.dtype)


def _key(number: int) -> str:
    # Not the name: torch's modules allow no dots in theirs, and the same LoRA may be asked for twice.
    return f"lora{number}"


def _load(pipeline: HiDreamImagePipeline, adapter: Adapter, key: str, model: str) -> None:
    try:
        pipeline.load_lora_weights(
            str(adapter.file.parent),
            weight_name=adapter.file.name,
            adapter_name=key,
            use_safetensors=True,
            local_files_only=True,
        )
    except LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise
        log.warning("the LoRA %s cannot be used with %s: %s", adapter.name, model, error)
        raise _unusable(adapter, model) from error
    if key not in getattr(pipeline.transformer, "peft_config", {}):
        # diffusers only warns where no weight in the file is for this transformer.
        log.warning("the LoRA %s has no weights for %s", adapter.name, model)
        raise _unusable(adapter, model)


def _unusable(adapter: Adapter, model: str) -> OperatorError:
    return OperatorError(Code.LORA_UNUSABLE, lora=adapter.name, model=model)
