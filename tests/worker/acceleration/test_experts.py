"""The grouped mixture of experts gives what diffusers' gives, whatever the router says."""

from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_hidream_image import MOEFeedForwardSwiGLU
from peft import LoraConfig, inject_adapter_in_model

from backends.worker.acceleration.experts import GroupedExperts, back_in_place, sorted_by_expert
from tests.worker.acceleration.small import difference

WIDTH = 64
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 4e-3}
"""Of one product in another order; a wrong expert or weight is off by a hundred times as much."""


def mixture(experts: int = 4, active: int = 2, dtype: torch.dtype = torch.bfloat16) -> MOEFeedForwardSwiGLU:
    torch.manual_seed(5)
    made: MOEFeedForwardSwiGLU = MOEFeedForwardSwiGLU(WIDTH, 4 * WIDTH, experts, active).to(dtype).eval()
    return made


def tokens(count: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(2, count, WIDTH, generator=torch.Generator().manual_seed(6)).to(dtype)


def route(mixture: MOEFeedForwardSwiGLU, kind: str) -> None:
    """Turn the router's weights so that its choice is of that kind."""
    with torch.no_grad():
        match kind:
            case "balanced":
                pass
            case "skewed":
                mixture.gate.weight[0] *= 8
            case "two experts only":
                mixture.gate.weight.zero_()  # every score alike: top-k takes the same two for every token


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("routing", ["balanced", "skewed", "two experts only"])
@pytest.mark.parametrize("count", [1, 2, 37])
@torch.no_grad()
def test_any_routing_gives_the_same_numbers(dtype: torch.dtype, routing: str, count: int) -> None:
    plain = mixture(dtype=dtype)
    route(plain, routing)
    x = tokens(count, dtype)
    expected = plain(x)
    assert difference(GroupedExperts(plain)(x), expected) < ROUNDING[x.dtype]


@pytest.mark.parametrize(("experts", "active"), [(1, 1), (2, 1), (4, 1), (8, 2)])
@torch.no_grad()
def test_any_number_of_experts(experts: int, active: int) -> None:
    plain = mixture(experts, active)
    x = tokens(11)
    expected = plain(x)
    assert difference(GroupedExperts(plain)(x), expected) < ROUNDING[x.dtype]


@torch.no_grad()
def test_some_expert_had_no_token_in_that_test() -> None:
    plain = mixture()
    route(plain, "two experts only")
    chosen, _, _ = plain.gate(tokens(37))
    assert len(chosen.unique()) == 2


def test_rows_are_sorted_by_expert_and_each_experts_end_is_told() -> None:
    order, ends = sorted_by_expert(torch.tensor([3, 0, 3, 1, 0]), experts=5)
    assert order.tolist() == [1, 4, 3, 0, 2]
    assert ends.tolist() == [2, 3, 3, 5, 5]


def test_sorted_rows_come_back_and_are_added_up_by_token() -> None:
    rows = torch.tensor([[10.0], [20.0], [3.0], [4.0]])
    order = torch.tensor([2, 0, 3, 1])  # rows 0 and 1 belong to the first token
    assert back_in_place(rows, order, each=2).tolist() == [[24.0], [13.0]]


@torch.no_grad()
def test_weights_are_held_once() -> None:
    plain = mixture()
    grouped = GroupedExperts(plain)
    expert = grouped.experts[2]
    assert expert.w1.weight.data_ptr() == grouped.gate_and_up[2].data_ptr()
    assert expert.w2.weight.data_ptr() == grouped.down[2].data_ptr()
    x = tokens(5)
    before = grouped(x)
    expert.w2.weight.mul_(2)
    assert not torch.equal(grouped(x), before)


@torch.no_grad()
def test_a_lora_on_an_expert_is_not_passed_over() -> None:
    parent = torch.nn.Module()
    parent.ff_i = GroupedExperts(mixture(dtype=torch.float32))
    x = tokens(9, torch.float32)
    without = parent.ff_i(x)
    adapted: Any = inject_adapter_in_model(
        LoraConfig(r=2, target_modules=["w1"], init_lora_weights=False), parent, "somebodys"
    )
    assert not torch.allclose(adapted.ff_i(x), without)
