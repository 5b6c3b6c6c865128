"""The tiny models' shapes: diffusers' and transformers' own classes, small enough for a CPU.

Everything the real pipeline has is there: two CLIP encoders, T5, Llama with one hidden layer per block, double and
single blocks with a mixture of experts (one routed expert beside the shared one), and an AutoencoderKL at f8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, HiDreamImageTransformer2DModel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5EncoderModel,
)

from backends.worker.training.tokenization import Tokenizers

LATENT_CHANNELS: Final = 12
LATENT_SIDE: Final = 16
PATCH: Final = 2
HEADS: Final = 5
HEAD_WIDTH: Final = 32
DOUBLE_BLOCKS: Final = 2
SINGLE_BLOCKS: Final = 4
CLIP_WIDTH: Final = 64
T5_WIDTH: Final = 96
LLAMA_WIDTH: Final = 128
LLAMA_LAYERS: Final = (0, 1, 1, 2, 2, 2)
"""Which Llama layer each block reads, counted from the first hidden layer."""


def build_vae() -> AutoencoderKL:
    """128x128x3 to 16x16x12 and back; no attention, so that any multiple of 8 px works."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=128,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        force_upcast=False,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


def build_transformer(editing: bool) -> HiDreamImageTransformer2DModel:
    """The denoiser; for editing its sequence is twice as long (noisy latents left, source latents right)."""
    transformer = HiDreamImageTransformer2DModel(
        patch_size=PATCH,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=DOUBLE_BLOCKS,
        num_single_layers=SINGLE_BLOCKS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        caption_channels=[T5_WIDTH, LLAMA_WIDTH],
        text_emb_dim=2 * CLIP_WIDTH,
        num_routed_experts=1,
        num_activated_experts=1,
        axes_dims_rope=(16, 8, 8),
        max_resolution=(LATENT_SIDE, LATENT_SIDE * (2 if editing else 1)),
        llama_layers=list(LLAMA_LAYERS),
    )
    _initialise(transformer)
    return transformer


def _initialise(transformer: HiDreamImageTransformer2DModel) -> None:
    """Blocks start as near-identities (adaLN-Zero, arXiv 2212.09748), gates ajar so that text gets through."""
    width = transformer.inner_dim
    for block in (*transformer.double_stream_blocks, *transformer.single_stream_blocks):
        modulation = block.block.adaLN_modulation[1]
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)
        with torch.no_grad():
            for gate in range(2, modulation.bias.shape[0] // width, 3):
                modulation.bias[gate * width : (gate + 1) * width] = 0.5
    nn.init.zeros_(transformer.final_layer.linear.weight)
    nn.init.zeros_(transformer.final_layer.linear.bias)


@dataclass(frozen=True)
class TextEncoders:
    """The pipeline's text encoders, by its names."""

    text_encoder: CLIPTextModelWithProjection
    text_encoder_2: CLIPTextModelWithProjection
    text_encoder_3: T5EncoderModel
    text_encoder_4: LlamaForCausalLM

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def as_module(self) -> nn.ModuleDict:
        return nn.ModuleDict(self.as_dict())


def _clip(vocabulary: int, start: int, end: int) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=CLIP_WIDTH,
            intermediate_size=CLIP_WIDTH * 3,
            projection_dim=CLIP_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=248,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def build_text_encoders(tokenizers: Tokenizers) -> TextEncoders:
    """Untrained encoders that fit the tokenizers."""
    clip = tokenizers.tokenizer
    clip_arguments = (len(clip), clip.bos_token_id, clip.eos_token_id)
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizers.tokenizer_3),
            d_model=T5_WIDTH,
            d_kv=32,
            d_ff=T5_WIDTH * 2,
            num_layers=2,
            num_heads=3,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizers.tokenizer_4),
            hidden_size=LLAMA_WIDTH,
            intermediate_size=LLAMA_WIDTH * 2,
            num_hidden_layers=max(LLAMA_LAYERS) + 1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=tokenizers.tokenizer_4.bos_token_id,
            eos_token_id=tokenizers.tokenizer_4.eos_token_id,
            attn_implementation="eager",
        )
    )
    return TextEncoders(_clip(*clip_arguments), _clip(*clip_arguments), t5, llama)
