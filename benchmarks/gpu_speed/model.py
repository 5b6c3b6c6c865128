"""The transformer in its published size, with random weights, and what one forward of it costs."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """A transformer's configuration, and how much text it reads."""

    double: int = 16
    single: int = 32
    heads: int = 20
    head_width: int = 128
    channels: int = 16
    caption: int = 4096
    pooled: int = 2048
    experts: int = 4
    active: int = 2
    side: int = 128
    """Of the latents that it was made for."""
    text: int = 128
    """Tokens of T5's and of each of Llama's layers."""
    llama: int = 32

    @property
    def width(self) -> int:
        return self.heads * self.head_width


FULL: Final = Shape()
"""HiDream-ai/HiDream-I1-Dev, transformer/config.json."""
SMALL: Final = Shape(
    double=2, single=2, heads=4, head_width=32, caption=64, pooled=32, side=32, text=16, llama=4, channels=16
)


def build(shape: Shape, device: torch.device, dtype: torch.dtype) -> HiDreamImageTransformer2DModel:
    """The transformer with random weights, made where it stays."""
    layers = [min(index, shape.llama - 1) for index in range(shape.double + shape.single)]
    half = shape.head_width // 4
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return HiDreamImageTransformer2DModel(
                patch_size=2,
                in_channels=shape.channels,
                out_channels=shape.channels,
                num_layers=shape.double,
                num_single_layers=shape.single,
                attention_head_dim=shape.head_width,
                num_attention_heads=shape.heads,
                caption_channels=[shape.caption, shape.caption],
                text_emb_dim=shape.pooled,
                num_routed_experts=shape.experts,
                num_activated_experts=shape.active,
                axes_dims_rope=(2 * half, half, half),
                max_resolution=(shape.side, shape.side),
                llama_layers=layers,
            ).eval()
    finally:
        torch.set_default_dtype(default)


def twin(shape: Shape, of: HiDreamImageTransformer2DModel) -> HiDreamImageTransformer2DModel:
    """Another transformer over the very same weights: only what is exchanged later takes memory of its own."""
    other = build(shape, torch.device("meta"), next(of.parameters()).dtype)
    other.load_state_dict(of.state_dict(), assign=True)
    return other


def inputs(shape: Shape, side: int, batch: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Everything that a forward takes besides the time."""
    generator = torch.Generator("cpu").manual_seed(7)

    def drawn(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator).to(device, dtype)

    return {
        "hidden_states": drawn(batch, shape.channels, side, side),
        "encoder_hidden_states_t5": drawn(batch, shape.text, shape.caption),
        "encoder_hidden_states_llama3": drawn(shape.llama, batch, shape.text, shape.caption),
        "pooled_embeds": drawn(batch, shape.pooled),
        "return_dict": False,
    }


def skew(transformer: HiDreamImageTransformer2DModel) -> None:
    """Make every router send all tokens to the same experts: the others get none."""
    with torch.no_grad():
        for block in (*transformer.double_stream_blocks, *transformer.single_stream_blocks):
            block.block.ff_i.gate.weight.zero_()


def forward_flops(shape: Shape, side: int, batch: int) -> float:
    """Multiplications and additions of one forward on latents of side x side: matrix products and attention."""
    width, image = shape.width, (side // 2) ** 2
    read = 3 * shape.text

    def feed_forward(hidden: int) -> int:
        return 2 * 3 * width * (256 * -(-int(2 * hidden / 3) // 256))

    routed = feed_forward(4 * width) * shape.active + feed_forward(2 * width) + 2 * width * shape.experts
    products = 2 * 4 * width * width
    attention = 2 * 2 * (image + read) ** 2 * width
    double = image * (products + routed) + read * (products + feed_forward(4 * width)) + attention
    single = (image + read) * (products + routed) + attention
    modulation = 2 * width * width * (12 * shape.double + 6 * shape.single + 2)
    captions = 2 * shape.text * shape.caption * width * (shape.double + shape.single + 1)
    edges = 2 * 2 * image * 4 * shape.channels * width
    times = 2 * (256 + shape.pooled + 2 * width) * width
    return float(batch * (shape.double * double + shape.single * single + modulation + captions + edges + times))
