"""What the GPU benchmark counts and compares is what it says."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu_speed

CPU = torch.device("cpu")
SHAPE = gpu_speed.SMALL


@pytest.mark.parametrize(("side", "batch"), [(32, 1), (16, 2)])
def test_the_arithmetic_is_counted_as_torch_counts_it(side: int, batch: int) -> None:
    transformer = gpu_speed.build(SHAPE, CPU, torch.bfloat16)
    given = gpu_speed.inputs(SHAPE, side, batch, CPU, torch.bfloat16)
    # torch counts attention where it is written out
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        transformer(**given, timesteps=torch.full((batch,), 500.0))
    assert gpu_speed.forward_flops(SHAPE, side, batch) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_full_forward_at_1024_is_what_has_been_published() -> None:
    """77.8 TFLOP: 4096 tokens of the picture, 384 of text."""
    assert gpu_speed.forward_flops(gpu_speed.FULL, 128, 1) == pytest.approx(77.8e12, rel=0.001)


def test_the_full_configuration_has_the_published_number_of_parameters() -> None:
    transformer = gpu_speed.build(gpu_speed.FULL, torch.device("meta"), torch.bfloat16)
    assert sum(parameter.numel() for parameter in transformer.parameters()) == pytest.approx(17.1e9, rel=0.005)


def test_a_twin_has_the_same_weights_and_not_a_copy() -> None:
    transformer = gpu_speed.build(SHAPE, CPU, torch.bfloat16)
    other = gpu_speed.twin(SHAPE, transformer)
    for one, same in zip(transformer.parameters(), other.parameters(), strict=True):
        assert one.data_ptr() == same.data_ptr()


def test_skewed_routers_leave_two_experts_without_a_token() -> None:
    transformer = gpu_speed.build(SHAPE, CPU, torch.bfloat16)
    gpu_speed.skew(transformer)
    router = transformer.single_stream_blocks[0].block.ff_i.gate
    chosen, _, _ = router(torch.randn(1, 50, SHAPE.width).bfloat16())
    assert len(chosen.unique()) == SHAPE.active


def test_the_grouped_version_is_as_near_to_float32_as_stock() -> None:
    found = gpu_speed.errors(SHAPE, CPU)
    assert found["grouped"] < 1.05 * found["stock diffusers"]
    assert found["stock diffusers"] < found["fp8"] < 1.5 * found["stock diffusers"]
