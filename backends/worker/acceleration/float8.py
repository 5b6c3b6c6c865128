"""Linear layers in 8-bit floats (e4m3), scaled by row: twice the arithmetic of bf16 on Hopper GPUs and later.

Weights are scaled once by output row, activations at every call by token. What that costs is measured, not promised:
``python -m benchmarks.gpu_speed`` prints the error of each version.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from backends.worker.acceleration.attention import PackedAttention
from backends.worker.acceleration.experts import GroupedExperts, PackedSwiGLU, back_in_place, sorted_by_expert

FLOAT8: Final = torch.float8_e4m3fn
LARGEST: Final = torch.finfo(FLOAT8).max
SMALLEST_SCALE: Final = 1e-12


def quantized(values: Tensor) -> tuple[Tensor, Tensor]:
    """(…, n) as e4m3 and the float32 scale of each row, (…, 1): ``values ≈ quantized * scale``."""
    wide = values.float()
    scale = (wide.abs().amax(dim=-1, keepdim=True) / LARGEST).clamp(min=SMALLEST_SCALE)
    return (wide / scale).to(FLOAT8), scale


class Float8Linear(nn.Module):
    """A linear layer whose weight is kept and multiplied in 8 bits."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        rows, scale = quantized(weight)
        self.register_buffer("weight", rows)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        rows, scale = quantized(x.flatten(0, -2))
        # bf16 is the only thing that the GPU's product with a scale a row gives out
        product = torch._scaled_mm(
            rows, self.weight.t(), scale_a=scale, scale_b=self.scale.t(), out_dtype=torch.bfloat16
        ).to(x.dtype)
        if self.bias is not None:
            product = product + self.bias
        return product.view(*x.shape[:-1], -1)


class Float8SwiGLU(nn.Module):
    """A gated feed-forward layer in 8 bits."""

    def __init__(self, packed: PackedSwiGLU) -> None:
        super().__init__()
        self.gate_and_up = Float8Linear(packed.gate_and_up, None)
        self.w2 = _from(packed.w2)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same shape."""
        gate, up = self.gate_and_up(x).chunk(2, dim=-1)
        out: Tensor = self.w2(functional.silu(gate) * up)
        return out


class Float8Experts(nn.Module):
    """The grouped mixture of experts in 8 bits; the router stays as it is."""

    gate_and_up: Tensor
    gate_and_up_scale: Tensor
    down: Tensor
    down_scale: Tensor

    def __init__(self, packed: GroupedExperts) -> None:
        super().__init__()
        self.gate = packed.gate
        self.shared_experts = Float8SwiGLU(packed.shared_experts)
        self.num_activated_experts = packed.num_activated_experts
        for name, weights in (("gate_and_up", packed.gate_and_up), ("down", packed.down)):
            rows, scale = quantized(weights)
            self.register_buffer(name, rows)
            self.register_buffer(f"{name}_scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same shape."""
        chosen, weights, _ = self.gate(x)
        tokens = x.reshape(-1, x.shape[-1])
        order, ends = sorted_by_expert(chosen.reshape(-1), len(self.down))
        rows = tokens[order // self.num_activated_experts]
        gate, up = grouped(rows, self.gate_and_up, self.gate_and_up_scale, ends).chunk(2, dim=-1)
        out = grouped(functional.silu(gate) * up, self.down, self.down_scale, ends)
        routed = back_in_place(out * weights.reshape(-1, 1)[order], order, self.num_activated_experts).view_as(x)
        summed: Tensor = routed + self.shared_experts(x)
        return summed


class Float8Attention(PackedAttention):
    """Joint attention whose products with weights are in 8 bits; attention itself stays as it is."""

    def __init__(self, packed: PackedAttention) -> None:
        nn.Module.__init__(self)
        self.heads, self.single, self.attend = packed.heads, packed.single, packed.attend
        self.q_rms_norm, self.k_rms_norm = packed.q_rms_norm, packed.k_rms_norm
        self.image = Float8Linear(packed.image_weight, packed.image_bias)
        self.to_out = _from(packed.to_out)
        if not packed.single:
            self.q_rms_norm_t, self.k_rms_norm_t = packed.q_rms_norm_t, packed.k_rms_norm_t
            self.text = Float8Linear(packed.text_weight, packed.text_bias)
            self.to_out_t = _from(packed.to_out_t)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # nothing is packed here
        return nn.Module._apply(self, fn, recurse)  # type: ignore[no-untyped-call]

    def _image_products(self, x: Tensor) -> tuple[Tensor, ...]:
        products: Tensor = self.image(x)
        return products.chunk(3, dim=-1)

    def _text_products(self, x: Tensor) -> tuple[Tensor, ...]:
        products: Tensor = self.text(x)
        return products.chunk(3, dim=-1)


def _from(linear: nn.Linear) -> Float8Linear:
    return Float8Linear(linear.weight.detach(), None if linear.bias is None else linear.bias.detach())


def grouped(rows: Tensor, weight: Tensor, scale: Tensor, ends: Tensor) -> Tensor:
    """Each group of rows times its expert's weights, (experts, outputs, inputs) with a scale each output."""
    values, row_scale = quantized(rows)
    if rows.device.type != "cpu":
        product: Tensor = torch._scaled_grouped_mm(
            values,
            weight.transpose(1, 2),
            row_scale.squeeze(-1),
            scale.squeeze(-1),
            offs=ends,
            out_dtype=torch.bfloat16,
        )
        return product.to(rows.dtype)
    # torch has no such product for a CPU: the same numbers, one expert at a time
    parts = values.float().tensor_split(ends[:-1].cpu().long())
    products = [
        part @ one.float().t() * one_scale.t() for part, one, one_scale in zip(parts, weight, scale, strict=True)
    ]
    return (torch.cat(products) * row_scale).to(torch.bfloat16).to(rows.dtype)
