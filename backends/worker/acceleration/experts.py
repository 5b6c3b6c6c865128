"""The mixture of experts without a look back at the CPU.

Diffusers counts each expert's tokens on the GPU, reads the counts back and starts one matrix product an expert: a
wait in each of 48 blocks. Here the tokens are sorted by expert and one grouped product takes all experts at once; the
counts stay where they are. Any routing will do, an expert that nobody chose included.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.transformers.transformer_hidream_image import (
    HiDreamImageFeedForwardSwiGLU,
    MOEFeedForwardSwiGLU,
)
from torch import Tensor, nn
from torch.nn import functional

from backends.worker.acceleration.packing import are_plain, pack, share


class PackedSwiGLU(nn.Module):
    """``w2(silu(w1(x)) * w3(x))`` with ``w1`` and ``w3`` as one product."""

    gate_and_up: Tensor

    def __init__(self, plain: HiDreamImageFeedForwardSwiGLU) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = plain.w1, plain.w2, plain.w3
        self.register_buffer("gate_and_up", pack([plain.w1, plain.w3])[0], persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # What torch does to move a module; its recurrent layers keep their packed weights together in the same place.
        moved = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if are_plain(self.w1, self.w3):
            share([self.w1, self.w3], self.gate_and_up, None)
        return moved

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same shape."""
        if are_plain(self.w1, self.w3):
            gate, up = functional.linear(x, self.gate_and_up).chunk(2, dim=-1)
        else:
            gate, up = self.w1(x), self.w3(x)
        out: Tensor = self.w2(functional.silu(gate) * up)
        return out


class GroupedExperts(nn.Module):
    """Takes the place of diffusers' ``MOEFeedForwardSwiGLU``, whose parts it keeps under their names."""

    gate_and_up: Tensor
    down: Tensor

    def __init__(self, plain: MOEFeedForwardSwiGLU) -> None:
        super().__init__()
        self.gate = plain.gate
        self.experts = plain.experts
        self.shared_experts = PackedSwiGLU(plain.shared_experts)
        self.num_activated_experts: int = plain.num_activated_experts
        self._plain = [plain]  # in a list: its parts are registered above already
        count, width = len(plain.experts), plain.experts[0].w1.in_features
        self.register_buffer("gate_and_up", pack(self._inward)[0].view(count, -1, width), persistent=False)
        self.register_buffer("down", pack(self._downward)[0].view(count, width, -1), persistent=False)

    @property
    def _inward(self) -> list[nn.Linear]:
        return [layer for expert in self.experts for layer in (expert.w1, expert.w3)]

    @property
    def _downward(self) -> list[nn.Linear]:
        return [expert.w2 for expert in self.experts]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        moved = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for layers, packed in ((self._inward, self.gate_and_up), (self._downward, self.down)):
            if are_plain(*layers):
                share(layers, packed.flatten(0, 1), None)
        return moved

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same shape."""
        if not are_plain(*self._inward, *self._downward):
            plain: MOEFeedForwardSwiGLU = self._plain[0]
            routed = self._read_back(plain, x)
        else:
            routed = self._grouped(x)
        out: Tensor = routed + self.shared_experts(x)
        return out

    def _grouped(self, x: Tensor) -> Tensor:
        chosen, weights, _ = self.gate(x)
        tokens = x.reshape(-1, x.shape[-1])
        order, ends = sorted_by_expert(chosen.reshape(-1), len(self.experts))
        rows = tokens[order // self.num_activated_experts]
        gate, up = functional.grouped_mm(rows, self.gate_and_up.transpose(1, 2), offs=ends).chunk(2, dim=-1)
        out = functional.grouped_mm(functional.silu(gate) * up, self.down.transpose(1, 2), offs=ends)
        return back_in_place(out * weights.reshape(-1, 1)[order], order, self.num_activated_experts).view_as(x)

    def _read_back(self, plain: MOEFeedForwardSwiGLU, x: Tensor) -> Tensor:
        """As diffusers does it, for experts that are more than their weights."""
        chosen, weights, _ = self.gate(x)
        routed: Tensor = plain.moe_infer(x.reshape(-1, x.shape[-1]), chosen.view(-1), weights.view(-1, 1))
        return routed.view_as(x)


def sorted_by_expert(chosen: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """For the expert of each row: the rows in order of experts, and where in it each expert's rows end (int32)."""
    order = chosen.argsort(stable=True)
    every = torch.arange(experts, device=chosen.device)
    return order, torch.searchsorted(chosen[order], every, right=True).to(torch.int32)


def back_in_place(rows: Tensor, order: Tensor, each: int) -> Tensor:
    """Rows sorted by expert, put back and added up by token, ``each`` rows a token.

    By gathering rather than by adding in place: atomic additions come in another order every time.
    """
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    return rows[inverse].view(-1, each, rows.shape[-1]).sum(dim=1)
