"""Several linear layers that read the same input, as one matrix."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def pack(linears: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """The layers' weights below each other, (sum of outputs, inputs), and their biases.

    The layers' own parameters become views of what is returned: nothing is held twice, and what changes a weight in
    place changes both. Whoever moves them to another device has to ``share`` them again.
    """
    weight = torch.cat([linear.weight for linear in linears])
    bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
    share(linears, weight, bias)
    return weight, bias


def share(linears: Sequence[nn.Linear], weight: Tensor, bias: Tensor | None) -> None:
    """Make the layers' own parameters views of the packed ones."""
    sizes = [linear.out_features for linear in linears]
    for linear, part in zip(linears, torch.split(weight, sizes), strict=True):
        linear.weight.data = part
    if bias is not None:
        for linear, part in zip(linears, torch.split(bias, sizes), strict=True):
            linear.bias.data = part


def are_plain(*layers: nn.Module) -> bool:
    """Nothing has been put around these layers since (a LoRA, say): their own weights are all there is."""
    return all(type(layer) is nn.Linear for layer in layers)
