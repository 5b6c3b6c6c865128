"""Loading of pipelines. A tiny model and the full-size one take the same road."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    PipelineQuantizationConfig,
)
from safetensors import SafetensorError
from transformers import AutoTokenizer, LlamaForCausalLM

from backends.worker.engine.packing import quantization, store_in_8_bits
from backends.worker.engine.preview import PreviewProjection
from backends.worker.engine.residency import Residency
from backends.worker.engine.weights import find_llama, find_model, same_files
from backends.worker.files import LARGE, SMALL
from backends.worker.variants import LocalModel
from config.settings import LocalMemory
from domain.errors import Code, OperatorError

ENCODERS = tuple(f"{part}{suffix}" for part in ("text_encoder", "tokenizer") for suffix in ("", "_2", "_3", "_4"))
SHARED = (*ENCODERS, "vae")
"""I1 and E1 have these in common."""
GRID = 16
"""Pixels: the VAE's factor of 8 times the transformer's patches of 2."""

# What diffusers and transformers raise for damaged, missing or foreign files has no common type.
LOADING_ERRORS = (
    SafetensorError,
    OSError,
    ValueError,
    RuntimeError,
    MemoryError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to paint."""

    local: LocalModel
    folder: Path
    pipeline: HiDreamImagePipeline
    previews: PreviewProjection

    @property
    def side(self) -> int:
        """Pixels of the square that the model was made for.

        An editor's ``max_resolution`` is twice as wide, for the source picture beside the noise.
        """
        return int(min(self.pipeline.transformer.config.max_resolution)) * int(self.pipeline.vae_scale_factor)

    @property
    def max_pixels(self) -> int:
        """The most pixels that a picture can have."""
        return self.side**2


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the parts of the models are kept, and in what."""

    device: torch.device
    dtype: torch.dtype
    """In what they compute."""
    mode: LocalMemory
    residency: Residency


def load(model: LocalModel, llama: str, placement: Placement, others: list[LoadedModel]) -> LoadedModel:
    """Load a model; parts whose files equal those of ``others`` are shared with them.

    An editor's folder may hold a transformer alone (as HiDream-E1-1 does): the rest is then that of ``others``.
    ``llama`` is where text_encoder_4 comes from when the folder has none.
    Raises OperatorError (MODEL_NOT_FOUND, MODEL_LOADING_FAILED, OUT_OF_MEMORY).
    """
    folder = find_model(model)
    try:
        pipeline = _pipeline(model, folder, llama, placement, others)
        _settle(pipeline, placement, others)
        previews = _previews(pipeline, others)
    except LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise out_of_memory(model, placement.device) from error
        raise OperatorError(
            Code.MODEL_LOADING_FAILED, model=model.shown_name, problem=f"{type(error).__name__}: {first_line(error)}"
        ) from error
    return LoadedModel(model, folder, pipeline, previews)


def _pipeline(
    model: LocalModel, folder: Path, llama: str, placement: Placement, others: list[LoadedModel]
) -> HiDreamImagePipeline:
    dtype, packed = placement.dtype, quantization(placement.mode, placement.dtype)
    base = folder if (folder / "model_index.json").is_file() else None
    parts: dict[str, Any] = {"scheduler": FlowMatchEulerDiscreteScheduler()}  # each picture brings its own
    for name in SHARED:
        for other in others:
            if base is None or same_files(folder / name, other.folder / name):
                parts[name] = getattr(other.pipeline, name)
    if base is None:
        if not others:
            raise OperatorError(
                Code.MODEL_LOADING_FAILED,
                model=model.shown_name,
                problem="the folder holds a transformer alone; set EASEL_LOCAL_MODEL for the rest",
            )
        transformer = HiDreamImageTransformer2DModel.from_pretrained(
            folder,
            subfolder="transformer",
            dtype=dtype,
            use_safetensors=True,
            quantization_config=packed["transformer"] if packed else None,
        )
        return HiDreamImagePipeline(**parts, transformer=transformer)
    if "text_encoder_4" not in parts and not (base / "text_encoder_4" / "config.json").is_file():
        parts |= _llama(llama, placement)
    return HiDreamImagePipeline.from_pretrained(
        base,
        dtype=dtype,
        use_safetensors=True,
        quantization_config=PipelineQuantizationConfig(quant_mapping=packed) if packed else None,
        **parts,
    )


def _llama(name: str, placement: Placement) -> dict[str, Any]:
    folder = find_llama(name)
    packed = quantization(placement.mode, placement.dtype)
    encoder = LlamaForCausalLM.from_pretrained(
        folder,
        dtype=placement.dtype,
        use_safetensors=True,
        quantization_config=packed["text_encoder_4"] if packed else None,
    )
    return {"text_encoder_4": encoder, "tokenizer_4": AutoTokenizer.from_pretrained(folder)}


def _settle(pipeline: HiDreamImagePipeline, placement: Placement, others: list[LoadedModel]) -> None:
    """Pack what the mode wants packed, and put every part where it belongs; shared ones are there already."""
    there = {id(part) for other in others for part in other.pipeline.components.values()}
    new = {name: part for name, part in pipeline.components.items() if id(part) not in there}
    large = [new[name] for name in LARGE if name in new]
    for name in SMALL:
        if name in new:
            new[name].to(placement.device)
    try:
        for part in large:
            if placement.mode is LocalMemory.FP8:
                store_in_8_bits(part, placement.dtype)
            placement.residency.add(part)
    except LOADING_ERRORS:
        placement.residency.forget(large)
        raise
    if "vae" in new:
        placement.residency.add_decoder(pipeline.vae.decoder)


def _previews(pipeline: HiDreamImagePipeline, others: list[LoadedModel]) -> PreviewProjection:
    for other in others:
        if other.pipeline.vae is pipeline.vae:
            return other.previews
    return PreviewProjection(pipeline.vae)


def is_out_of_memory(error: BaseException) -> bool:
    """The memory of the GPU or of the machine was not enough."""
    # torch has a type of its own for a GPU, and for main memory only this text.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def out_of_memory(model: LocalModel, device: torch.device) -> OperatorError:
    """The error for a model or a picture that does not fit."""
    return OperatorError(Code.OUT_OF_MEMORY, model=model.shown_name, device=str(device))


def first_line(error: BaseException) -> str:
    """The beginning of an error's text, short enough to be shown."""
    return (str(error).strip() or "no reason given").splitlines()[0][:200]
