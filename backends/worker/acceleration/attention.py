"""Joint attention with one product for query, key and value of each stream."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.transformers.transformer_hidream_image import HiDreamAttention, apply_rope
from torch import Tensor, nn
from torch.nn import functional

from backends.worker.acceleration.attention_kernels import Attend, attend_by_torch
from backends.worker.acceleration.packing import are_plain, pack, share


class PackedAttention(nn.Module):
    """Takes the place of diffusers' ``HiDreamAttention``, whose parts it keeps under their names."""

    image_weight: Tensor
    image_bias: Tensor
    text_weight: Tensor
    text_bias: Tensor

    def __init__(self, plain: HiDreamAttention, attend: Attend = attend_by_torch) -> None:
        super().__init__()
        self.attend = attend
        self.heads: int = plain.heads
        self.single: bool = plain.single
        self.to_q, self.to_k, self.to_v, self.to_out = plain.to_q, plain.to_k, plain.to_v, plain.to_out
        self.q_rms_norm, self.k_rms_norm = plain.q_rms_norm, plain.k_rms_norm
        self._pack("image", self._image_layers)
        if not self.single:
            self.to_q_t, self.to_k_t, self.to_v_t = plain.to_q_t, plain.to_k_t, plain.to_v_t
            self.to_out_t = plain.to_out_t
            self.q_rms_norm_t, self.k_rms_norm_t = plain.q_rms_norm_t, plain.k_rms_norm_t
            self._pack("text", self._text_layers)

    @property
    def _image_layers(self) -> tuple[nn.Linear, ...]:
        return self.to_q, self.to_k, self.to_v

    @property
    def _text_layers(self) -> tuple[nn.Linear, ...]:
        return self.to_q_t, self.to_k_t, self.to_v_t

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        moved = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if are_plain(*self._image_layers):
            share(self._image_layers, self.image_weight, self.image_bias)
        if not self.single and are_plain(*self._text_layers):
            share(self._text_layers, self.text_weight, self.text_bias)
        return moved

    def _pack(self, stream: str, layers: tuple[nn.Linear, ...]) -> None:
        weight, bias = pack(layers)
        self.register_buffer(f"{stream}_weight", weight, persistent=False)
        self.register_buffer(f"{stream}_bias", bias, persistent=False)

    def forward(
        self,
        norm_hidden_states: Tensor,
        hidden_states_masks: Tensor | None = None,
        norm_encoder_hidden_states: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """What diffusers' attention gives for the same arguments."""
        assert image_rotary_emb is not None
        query, key, value = self._image(norm_hidden_states)
        if hidden_states_masks is not None:
            key = key * hidden_states_masks[..., None, None]
        if not self.single:
            assert norm_encoder_hidden_states is not None
            joined = zip((query, key, value), self._text(norm_encoder_hidden_states), strict=True)
            query, key, value = (torch.cat(pair, dim=1) for pair in joined)
        query, key = _turned(query, key, image_rotary_emb)
        out = self.attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        out = out.transpose(1, 2).flatten(2)
        if self.single:
            image: Tensor = self.to_out(out)
            return image
        tokens = norm_hidden_states.shape[1]
        return self.to_out(out[:, :tokens]), self.to_out_t(out[:, tokens:])

    def _image(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self._image_products(x)
        return self._by_head(self.q_rms_norm(query), x), self._by_head(self.k_rms_norm(key), x), self._by_head(value, x)

    def _text(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self._text_products(x)
        query, key = self.q_rms_norm_t(query), self.k_rms_norm_t(key)
        return self._by_head(query, x), self._by_head(key, x), self._by_head(value, x)

    def _image_products(self, x: Tensor) -> tuple[Tensor, ...]:
        if are_plain(*self._image_layers):
            return functional.linear(x, self.image_weight, self.image_bias).chunk(3, dim=-1)
        return self.to_q(x), self.to_k(x), self.to_v(x)

    def _text_products(self, x: Tensor) -> tuple[Tensor, ...]:
        if are_plain(*self._text_layers):
            return functional.linear(x, self.text_weight, self.text_bias).chunk(3, dim=-1)
        return self.to_q_t(x), self.to_k_t(x), self.to_v_t(x)

    def _by_head(self, projected: Tensor, like: Tensor) -> Tensor:
        return projected.to(like.dtype).view(*like.shape[:2], self.heads, -1)


def _turned(query: Tensor, key: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Rotary positions on all of a head, or on its first half where the angles are for that."""
    if query.shape[-1] == angles.shape[-3] * 2:
        turned: tuple[Tensor, Tensor] = apply_rope(query, key, angles)
        return turned
    half = query.shape[-1] // 2
    first, second = apply_rope(query[..., :half], key[..., :half], angles)
    return torch.cat([first, query[..., half:]], dim=-1), torch.cat([second, key[..., half:]], dim=-1)
