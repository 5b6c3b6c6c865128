"""Small transformers in HiDream's published proportions: four experts, two of them active, and the shared one."""

from typing import Any

import torch
from diffusers import HiDreamImageTransformer2DModel


def build_transformer(dtype: torch.dtype = torch.bfloat16, device: str = "cpu") -> HiDreamImageTransformer2DModel:
    torch.manual_seed(1)
    with torch.device(device):
        made = HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=32,
            num_attention_heads=4,
            caption_channels=[24, 40],
            text_emb_dim=16,
            num_routed_experts=4,
            num_activated_experts=2,
            axes_dims_rope=(16, 8, 8),
            max_resolution=(16, 16),
            llama_layers=[0, 1, 1, 0],
        )
    for part in made.modules():  # not ``made.to``: diffusers warns of it
        for parameter in part.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
    return made.eval()


def inputs(
    height: int = 16, width: int = 16, batch: int = 1, dtype: torch.dtype = torch.bfloat16, device: str = "cpu"
) -> dict[str, Any]:
    """Everything that a forward takes, for latents of that size."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype).to(device)

    return {
        "hidden_states": drawn(batch, 4, height, width),
        "timesteps": torch.full((batch,), 500.0, dtype=dtype, device=device),
        "encoder_hidden_states_t5": drawn(batch, 6, 24),
        "encoder_hidden_states_llama3": drawn(2, batch, 6, 40),
        "pooled_embeds": drawn(batch, 16),
        "return_dict": False,
    }


@torch.no_grad()
def predict(transformer: HiDreamImageTransformer2DModel, **given: Any) -> torch.Tensor:
    """The transformer's answer."""
    answer: torch.Tensor = transformer(**given)[0]
    return answer


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative, in the Euclidean norm."""
    return float((one.float() - other.float()).norm() / other.float().norm())
