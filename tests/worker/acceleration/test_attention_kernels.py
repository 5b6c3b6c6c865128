"""The kernel that computes attention is the fastest that gives the right answer, and it is timed where it will run."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backends.worker.acceleration.accelerate import Means, accelerate, attention_shape
from backends.worker.acceleration.attention_kernels import (
    FLASH_3,
    FLASH_3_PACKAGE,
    TOLERANCE,
    AttentionShape,
    Kernel,
    attend_by_torch,
    candidates,
    fastest,
    measured,
    seconds_on,
)
from tests.worker.acceleration.small import build_transformer, difference, inputs, predict

CPU = torch.device("cpu")
SHAPE = AttentionShape(heads=2, tokens=300, width=16)

FLASH_3_STAND_IN = """
from torch.nn.functional import scaled_dot_product_attention

def flash_attn_func(query, key, value):
    turned = (one.transpose(1, 2) for one in (query, key, value))
    return {answer}
"""


class Stopwatch:
    """Kernels that all answer alike, and a clock on which each takes the time that it is said to take."""

    def __init__(self, **seconds: float) -> None:
        self._seconds = seconds
        self._last = ""
        self.kernels = [self.kernel(name, attend_by_torch) for name in seconds]

    def kernel(self, name: str, compute: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Kernel:
        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self._last = name
            return compute(query, key, value)

        return Kernel(name, attend)

    def __call__(self, work: Callable[[], object], device: torch.device) -> float:
        work()
        return self._seconds[self._last]


def choice(stopwatch: Stopwatch) -> str | None:
    kernel = fastest(SHAPE, CPU, torch.float32, stopwatch.kernels, stopwatch)
    return kernel.name if kernel is not None else None


def test_the_fastest_is_taken_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert choice(Stopwatch(flash=3.0, efficient=1.0, math=2.0)) == "efficient"
    assert len(caplog.records) == 1
    for told in ("300 tokens by efficient", "flash 3000.00 ms", "math 2000.00 ms"):
        assert told in caplog.text


def test_of_kernels_that_are_about_as_fast_the_same_is_taken_at_every_start() -> None:
    assert choice(Stopwatch(flash=1.03, efficient=1.0)) == "flash"
    assert choice(Stopwatch(flash=1.0, efficient=1.03)) == "flash"


@pytest.mark.parametrize("wrong", [lambda q, k, v: attend_by_torch(q, k, v) * 1.001, lambda q, k, v: q * float("nan")])
def test_a_wrong_answer_is_not_taken_however_fast(
    wrong: Callable[[Tensor, Tensor, Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    stopwatch = Stopwatch(flash=1.0, math=9.0)
    stopwatch.kernels[0] = stopwatch.kernel("flash", wrong)
    assert choice(stopwatch) == "math"
    assert "attention by flash is off" in caplog.text


def test_what_a_machine_lacks_is_passed_over() -> None:
    def lacking(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        raise RuntimeError("No available kernel")

    stopwatch = Stopwatch(flash=1.0, math=9.0)
    stopwatch.kernels[0] = stopwatch.kernel("flash", lacking)
    assert choice(stopwatch) == "math"
    stopwatch.kernels.pop()
    assert choice(stopwatch) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_those_of_this_machine_are_really_timed_and_near_the_exact_answer(dtype: torch.dtype) -> None:
    timings = measured(SHAPE, CPU, dtype, candidates(), seconds_on)
    assert "math" in [timing.kernel.name for timing in timings]
    for timing in timings:
        assert timing.seconds > 0
        assert 0 < timing.error < TOLERANCE[dtype]


def test_a_kernel_gives_way_where_it_cannot_do_a_size() -> None:
    """cuDNN's is no CPU's: what comes after it answers."""
    stopwatch = Stopwatch(cuDNN=1.0, math=2.0)
    kernel = fastest(SHAPE, CPU, torch.float32, stopwatch.kernels, stopwatch)
    assert kernel is not None
    assert kernel.name == "cuDNN"
    query, key, value = (torch.randn(1, 2, 40, 16) for _ in range(3))
    assert difference(kernel.attend(query, key, value), attend_by_torch(query, key, value)) < 1e-6


class TestFlash3:
    def test_without_the_package_it_is_no_candidate(self) -> None:
        assert FLASH_3 not in [kernel.name for kernel in candidates()]

    @pytest.mark.parametrize(
        "answer",
        [
            "scaled_dot_product_attention(*turned).transpose(1, 2)",
            "(scaled_dot_product_attention(*turned).transpose(1, 2), None)",
        ],
        ids=["newer", "older"],
    )
    def test_with_it_it_answers_the_same_also_compiled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        """The package needs a Hopper GPU: one with its signature stands for it."""
        (tmp_path / f"{FLASH_3_PACKAGE}.py").write_text(FLASH_3_STAND_IN.replace("{answer}", answer), "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, FLASH_3_PACKAGE, raising=False)
        first = candidates()[0]
        assert first.name == FLASH_3
        query, key, value = (torch.randn(1, 2, 40, 16) for _ in range(3))
        expected = attend_by_torch(query, key, value)
        torch._dynamo.reset()
        for attend in (first.attend, torch.compile(first.attend, fullgraph=True, backend="eager")):
            assert torch.equal(attend(query, key, value), expected)
        monkeypatch.delitem(sys.modules, FLASH_3_PACKAGE)


class TestInATransformer:
    def test_it_is_measured_at_the_models_own_size(self) -> None:
        shape = attention_shape(build_transformer())
        assert shape == AttentionShape(heads=4, tokens=16 * 16 // 4 + 384, width=32)

    def test_the_answer_is_the_same_with_the_chosen_one(self) -> None:
        transformer = build_transformer(torch.float32)
        expected = predict(transformer, **inputs(dtype=torch.float32))
        kernel = fastest(attention_shape(transformer), CPU, torch.float32, candidates(), seconds_on)
        assert kernel is not None
        done = accelerate(transformer, Means(grouped=True), kernel=kernel)
        assert difference(predict(transformer, **inputs(dtype=torch.float32)), expected) < 1e-6
        assert f"attention by {kernel.name}" in done.words

    def test_blocks_are_compiled_whole_with_it(self) -> None:
        torch._dynamo.reset()
        made: list[Any] = []

        def compiler(graph: Any, example: object) -> Any:
            made.append(graph)
            return graph.forward

        transformer = build_transformer()
        expected = predict(transformer, **inputs())
        kernel = fastest(attention_shape(transformer), CPU, torch.bfloat16, candidates(), seconds_on)
        accelerate(transformer, Means(grouped=True, compiled=True), compiler, kernel)
        assert difference(predict(transformer, **inputs()), expected) < 0.01
        assert len(made) == 2
        torch._dynamo.reset()
