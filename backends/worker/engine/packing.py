"""Weights in fewer bits than they compute in."""

from typing import Any, Final

import torch
import transformers
from diffusers import BitsAndBytesConfig, ModelMixin
from diffusers.hooks import apply_layerwise_casting

from config.settings import LocalMemory

PLAIN_PARTS: Final = ("norm", "embed", "shared", "lm_head", r"\bwo$")
"""Of the text encoders: normalisation; embeddings, whose weights others may share; and T5's ``wo``, whose type is
looked at from outside to know in what to compute."""


def store_in_8_bits(part: torch.nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of a part as float8 (e4m3) and make ``dtype`` of each layer's when it computes."""
    if isinstance(part, ModelMixin):
        part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    else:
        apply_layerwise_casting(part, torch.float8_e4m3fn, dtype, skip_modules_pattern=PLAIN_PARTS)


def quantization(mode: LocalMemory, dtype: torch.dtype) -> dict[str, Any]:
    """What the libraries are told on loading, by the part's name; empty where weights are loaded as they are."""
    if mode is not LocalMemory.NF4:
        return {}
    options = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": dtype,
    }
    encoder = transformers.BitsAndBytesConfig(**options)
    return {"transformer": BitsAndBytesConfig(**options), "text_encoder_3": encoder, "text_encoder_4": encoder}
