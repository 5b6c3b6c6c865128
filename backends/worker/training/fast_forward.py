"""The transformer's training pass, equal in value to diffusers' own and friendly to torch.compile.

Two pieces of diffusers' HiDream stand in the way of speed on a CPU: the mixture of experts picks tokens by boolean
masks (with one routed expert the choice is always that one, with weight softmax of a single score = 1), and
bfloat16 ``scaled_dot_product_attention`` is slower than plain products that the compiler fuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import HiDreamImageTransformer2DModel
from diffusers.models.transformers.transformer_hidream_image import (
    HiDreamAttention,
    MOEFeedForwardSwiGLU,
    apply_rope,
)
from torch import Tensor


class PlainAttention:
    """HiDream's joint attention with the softmax written out."""

    def __call__(
        self,
        attn: HiDreamAttention,
        hidden_states: Tensor,
        hidden_states_masks: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        batch, images = hidden_states.shape[:2]
        query = attn.q_rms_norm(attn.to_q(hidden_states).float())
        key = attn.k_rms_norm(attn.to_k(hidden_states).float())
        value = attn.to_v(hidden_states)
        if hidden_states_masks is not None:
            key = key * hidden_states_masks.view(batch, -1, 1)
        if not attn.single:
            query = torch.cat([query, attn.q_rms_norm_t(attn.to_q_t(encoder_hidden_states).float())], dim=1)
            key = torch.cat([key, attn.k_rms_norm_t(attn.to_k_t(encoder_hidden_states).float())], dim=1)
            value = torch.cat([value, attn.to_v_t(encoder_hidden_states)], dim=1)
        shape = (batch, query.shape[1], attn.heads, query.shape[2] // attn.heads)
        query, key = apply_rope(query.view(shape), key.view(shape), image_rotary_emb)
        query = (query * shape[-1] ** -0.5).to(value.dtype).transpose(1, 2)
        key = key.to(value.dtype).transpose(1, 2)
        value = value.view(shape).transpose(1, 2)
        weights = torch.softmax((query @ key.transpose(-1, -2)).float(), dim=-1).to(value.dtype)
        hidden = (weights @ value).transpose(1, 2).reshape(batch, shape[1], -1)
        if attn.single:
            out: Tensor = attn.to_out(hidden)
            return out
        return attn.to_out(hidden[:, :images]), attn.to_out_t(hidden[:, images:])


def prepare_for_training(transformer: HiDreamImageTransformer2DModel) -> None:
    """Gives this instance the training pass; its weights and state dict stay what they are."""
    for module in transformer.modules():
        if isinstance(module, HiDreamAttention):
            module.set_processor(PlainAttention())
        elif isinstance(module, MOEFeedForwardSwiGLU):
            if len(module.experts) != 1:
                raise ValueError("the fast training pass is for one routed expert")
            module.forward = _only_expert(module)
    transformer.train()


def _only_expert(mixture: Any) -> Callable[[Tensor], Tensor]:
    def forward(hidden_states: Tensor) -> Tensor:
        routed: Tensor = mixture.experts[0](hidden_states)
        shared: Tensor = mixture.shared_experts(hidden_states)
        return routed + shared

    return forward
