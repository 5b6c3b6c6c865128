"""How far each version is from float32."""

import copy
from dataclasses import replace
from typing import Any

import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import Tensor

from backends.worker.acceleration.accelerate import accelerate
from benchmarks.gpu_speed.model import Shape, build, inputs
from benchmarks.gpu_speed.versions import MEANS


def errors(shape: Shape, device: torch.device) -> dict[str, float]:
    """How far one double and one single block at full width are from float32.

    Of what each adds to the picture's tokens, relative in the Euclidean norm; the worse of the two.
    """
    shallow = replace(shape, double=1, single=1, side=min(shape.side, 64))
    torch.manual_seed(11)
    exact = build(shallow, device, torch.float32)
    with torch.no_grad():
        for parameter in exact.parameters():
            parameter.copy_(parameter.bfloat16())  # so that all have the same weights
    given = inputs(shallow, shallow.side, 1, device, torch.bfloat16)
    given["timesteps"] = torch.full((1,), 500.0, device=device)
    wide = {name: value.float() if isinstance(value, Tensor) else value for name, value in given.items()}
    truth = changes(exact, wide)
    found: dict[str, float] = {}
    for name, chosen in MEANS.items():
        same = copy.deepcopy(exact)
        for part in same.modules():
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.bfloat16()
        accelerate(same, chosen)
        each = zip(changes(same, given), truth, strict=True)
        found[name] = max(float((one - true).norm() / true.norm()) for one, true in each)
    return found


@torch.no_grad()
def changes(transformer: HiDreamImageTransformer2DModel, given: dict[str, Any]) -> list[Tensor]:
    """What each block adds to the tokens that it is given."""
    found: list[Tensor] = []

    def look(_block: object, _arguments: object, named: dict[str, Any], answer: Any) -> None:
        after = answer[0] if isinstance(answer, tuple) else answer
        found.append(after.float() - named["hidden_states"].float())

    hooks = [
        block.register_forward_hook(look, with_kwargs=True)
        for block in (*transformer.double_stream_blocks, *transformer.single_stream_blocks)
    ]
    transformer(**given)
    for hook in hooks:
        hook.remove()
    return found
