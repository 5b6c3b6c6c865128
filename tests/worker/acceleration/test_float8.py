"""Numbers in 8 bits: near, whatever their size, and the same grouped as one by one."""

import pytest
import torch

from backends.worker.acceleration.float8 import Float8Linear, grouped, quantized
from tests.worker.acceleration.small import difference


def drawn(*shape: int, spread: float = 1.0) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(2)) * spread).bfloat16()


@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_a_row_of_any_size_is_near_what_it_was(spread: float) -> None:
    values = drawn(7, 64, spread=spread)
    rows, scale = quantized(values)
    assert rows.dtype is torch.float8_e4m3fn
    assert difference(rows.float() * scale, values) < 0.04


def test_a_row_of_zeros_stays_one() -> None:
    rows, scale = quantized(torch.zeros(2, 32))
    assert not rows.float().any()
    assert scale.isfinite().all()


def test_a_large_row_takes_no_precision_from_its_neighbour() -> None:
    values = drawn(2, 64).float()
    values[0] *= 1e4
    rows, scale = quantized(values)
    assert difference(rows[1].float() * scale[1], values[1]) < 0.04


def test_a_layer_gives_nearly_what_it_gave() -> None:
    weight, bias, x = drawn(32, 64), drawn(32), drawn(2, 5, 64)
    expected = torch.nn.functional.linear(x, weight, bias)
    found = Float8Linear(weight, bias)(x)
    assert found.shape == expected.shape
    assert difference(found, expected) < 0.05


def test_grouped_rows_are_multiplied_with_their_own_experts_weights() -> None:
    weights = drawn(4, 32, 64)
    rows = drawn(10, 64)
    packed, scale = quantized(weights)
    ends = torch.tensor([3, 3, 7, 10], dtype=torch.int32)  # the second has no row
    found = grouped(rows, packed, scale, ends)
    expected = torch.cat([rows[:3] @ weights[0].t(), rows[3:7] @ weights[2].t(), rows[7:] @ weights[3].t()])
    assert difference(found, expected) < 0.05
