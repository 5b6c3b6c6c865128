"""Switched on, tried out, and back to diffusers where a machine cannot do it."""

import logging
from typing import Any

import pytest
import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import nn

from backends.worker.acceleration.accelerate import Means
from backends.worker.acceleration.attention import PackedAttention
from backends.worker.acceleration.switch import SpeedUnusable, as_written, has_plain_weights, switch_on
from tests.worker.acceleration.small import build_transformer, inputs, predict

COMPILED = Means(grouped=True, compiled=True)


@pytest.fixture
def transformer() -> HiDreamImageTransformer2DModel:
    torch._dynamo.reset()
    return build_transformer()


def is_accelerated(transformer: nn.Module) -> bool:
    return any(isinstance(part, PackedAttention) for part in transformer.modules())


def paint_with(transformer: HiDreamImageTransformer2DModel) -> None:
    predict(transformer, **inputs())


def broken_compiler(graph: Any, example: object) -> Any:
    raise RuntimeError("no kernel for this machine\nand then\nand a long story")


def test_it_is_tried_out_before_anybody_waits(transformer: HiDreamImageTransformer2DModel) -> None:
    tried: list[bool] = []
    done = switch_on(transformer, Means(grouped=True), lambda: tried.append(is_accelerated(transformer)))
    assert tried == [True]
    assert done.means == Means(grouped=True)


def test_a_compiler_that_fails_leaves_diffusers_own_and_a_line_in_the_log(
    transformer: HiDreamImageTransformer2DModel, caplog: pytest.LogCaptureFixture
) -> None:
    expected = predict(transformer, **inputs())
    with caplog.at_level(logging.WARNING):
        done = switch_on(transformer, COMPILED, lambda: paint_with(transformer), broken_compiler)
    assert not is_accelerated(transformer)
    assert not done.means.grouped
    assert "painting as diffusers does" in caplog.text
    assert "no kernel for this machine" in caplog.text
    assert "long story" not in caplog.text
    assert torch.equal(predict(transformer, **inputs()), expected)


def test_8_bits_that_fail_are_an_error_for_the_weights_are_gone(transformer: HiDreamImageTransformer2DModel) -> None:
    chosen = Means(grouped=True, float8=True, compiled=True)
    with pytest.raises(SpeedUnusable, match="no kernel"):
        switch_on(transformer, chosen, lambda: paint_with(transformer), broken_compiler)


def test_nothing_to_do_is_not_tried_out(
    transformer: HiDreamImageTransformer2DModel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise AssertionError

    with caplog.at_level(logging.INFO):
        switch_on(transformer, Means(lacking="a GPU"), fail)
    assert "a GPU" in caplog.text


def test_what_cannot_be_compiled_computes_as_it_is_written(transformer: HiDreamImageTransformer2DModel) -> None:
    made: list[object] = []

    def compiler(graph: Any, example: object) -> Any:
        made.append(graph)
        return graph.forward

    done = switch_on(transformer, COMPILED, lambda: None, compiler)
    with as_written(done):
        predict(transformer, **inputs())
    assert not made
    predict(transformer, **inputs())
    assert made


def test_weights_packed_to_save_memory_are_told_from_plain_ones(transformer: HiDreamImageTransformer2DModel) -> None:
    class PackedTo4Bits(nn.Linear):
        pass

    assert has_plain_weights(transformer)
    transformer.single_stream_blocks[1].block.attn1.to_q = PackedTo4Bits(128, 128)
    assert not has_plain_weights(transformer)
