"""Recorded steps answer what computed ones do, are bounded, and are left alone wherever they could be wrong.

A CUDA graph needs a GPU. What stands for one here has its two properties: it takes its inputs from the memory that they
lay in when it was recorded, and every time it is played it writes over its last answer.
"""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import Tensor
from torch.overrides import TorchFunctionMode

from backends.worker.acceleration.accelerate import Acceleration, Means, accelerate
from backends.worker.acceleration.graphs import Compute, StepGraphs
from backends.worker.acceleration.switch import as_written
from backends.worker.engine.step_cache import caching
from backends.worker.engine.tea_cache import CURVES
from domain.accelerators import CacheKind, StepCache
from tests.worker.acceleration.small import build_transformer, inputs, predict

RECORDED = Means(grouped=True, graphs=True)


class Graphs:
    """Stands for the GPU's: counts what is recorded and played."""

    def __init__(self) -> None:
        self.recorded = 0
        self.played = 0

    def __call__(self, compute: Compute) -> Compute:
        self.recorded += 1
        with torch.no_grad():
            answer = compute()

        def replay() -> Tensor:
            self.played += 1
            return answer.copy_(compute())

        return replay


@pytest.fixture
def graphs() -> Graphs:
    return Graphs()


@pytest.fixture
def transformer() -> HiDreamImageTransformer2DModel:
    return build_transformer(torch.float32)


def steps(number: int, side: int = 16, width: int | None = None, batch: int = 1) -> list[dict[str, Any]]:
    """Inputs of so many steps: everything is another at each."""
    given = inputs(side, width or side, batch, torch.float32)
    made = []
    for step in range(number):
        moved = {name: value + 0.1 * step if isinstance(value, Tensor) else value for name, value in given.items()}
        # as the pipeline hands it in: one number, expanded
        moved["timesteps"] = torch.tensor(900.0 - 100 * step).expand(batch)
        made.append(moved)
    return made


def answers(transformer: HiDreamImageTransformer2DModel, given: list[dict[str, Any]]) -> list[Tensor]:
    return [predict(transformer, **one) for one in given]


def record(transformer: HiDreamImageTransformer2DModel, capture: Callable[[Compute], Compute]) -> StepGraphs:
    done = accelerate(transformer, RECORDED, capture=capture)
    assert done.graphs is not None
    return done.graphs


def expected(given: list[dict[str, Any]]) -> list[Tensor]:
    """Without recordings, otherwise the same."""
    plain = build_transformer(torch.float32)
    accelerate(plain, Means(grouped=True))
    return answers(plain, given)


@pytest.mark.parametrize("batch", [1, 2])
def test_every_step_is_what_it_is_without(
    transformer: HiDreamImageTransformer2DModel, graphs: Graphs, batch: int
) -> None:
    given = steps(7, batch=batch)
    own = record(transformer, graphs)
    for found, wanted in zip(answers(transformer, given), expected(given), strict=True):
        assert torch.equal(found, wanted)
    assert own.ready == 1
    assert (graphs.recorded, graphs.played) == (1, 5)  # once to be compared, and from the fourth step on


def test_only_the_shapes_that_were_used_last_are_kept(
    transformer: HiDreamImageTransformer2DModel, graphs: Graphs
) -> None:
    own = record(transformer, graphs)
    for side in (4, 6, 8, 10, 12, 14):
        answers(transformer, steps(4, side))
        assert own.ready <= 4
    assert graphs.recorded == 6
    answers(transformer, steps(1, 14))
    assert graphs.recorded == 6
    given = steps(4, 4)
    for found, wanted in zip(answers(transformer, given), expected(given), strict=True):
        assert torch.equal(found, wanted)
    assert graphs.recorded == 7


def test_a_large_picture_is_not_recorded(transformer: HiDreamImageTransformer2DModel, graphs: Graphs) -> None:
    """One that is no square counts as the longest sequence, to which it is filled up."""
    transformer.forward = StepGraphs(transformer, graphs, most_tokens=16)
    answers(transformer, [*steps(4, 16), *steps(4, 8, batch=2), *steps(4, 2, width=4)])
    assert graphs.recorded == 0
    answers(transformer, steps(4, 8))
    assert graphs.recorded == 1


def test_what_is_no_square_is_recorded_like_the_rest(
    transformer: HiDreamImageTransformer2DModel, graphs: Graphs
) -> None:
    record(transformer, graphs)
    given = steps(5, 8, width=16)
    for found, wanted in zip(answers(transformer, given), expected(given), strict=True):
        assert torch.equal(found, wanted)
    assert graphs.recorded == 1


def test_an_editors_longer_sequence_is_another_shape(
    transformer: HiDreamImageTransformer2DModel, graphs: Graphs
) -> None:
    record(transformer, graphs)
    answers(transformer, steps(4, 8, width=16))
    transformer.max_seq *= 2
    answers(transformer, steps(4, 8, width=16))
    assert graphs.recorded == 2


def test_a_capture_that_fails_is_told_once_and_not_tried_again(
    transformer: HiDreamImageTransformer2DModel, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Compute] = []

    def fail(compute: Compute) -> Compute:
        tried.append(compute)
        raise RuntimeError("operation not permitted when stream is capturing\nand a long story")

    record(transformer, fail)
    given = [*steps(4), *steps(4, 8)]
    with caplog.at_level(logging.WARNING):
        found = answers(transformer, given)
    assert all(torch.equal(one, other) for one, other in zip(found, expected(given), strict=True))
    assert len(tried) == len(caplog.records) == 1
    assert "operation not permitted" in caplog.text
    assert "long story" not in caplog.text


def test_a_recording_that_answers_otherwise_is_never_used(
    transformer: HiDreamImageTransformer2DModel, caplog: pytest.LogCaptureFixture
) -> None:
    """One that kept something of the step in which it was recorded."""

    def frozen(compute: Compute) -> Compute:
        with torch.no_grad():
            answer = compute()
        return lambda: answer

    own = record(transformer, frozen)
    given = steps(6)
    found = answers(transformer, given)
    assert all(torch.equal(one, other) for one, other in zip(found, expected(given), strict=True))
    assert own.ready == 0
    assert "did not answer what a computed one does" in caplog.text


def test_a_step_cache_computes(transformer: HiDreamImageTransformer2DModel, graphs: Graphs) -> None:
    record(transformer, graphs)
    answers(transformer, steps(5))
    played = graphs.played
    cache = StepCache(CacheKind.FIRST_BLOCK, float("inf"), start=1, end=4, max_consecutive=5)
    computed: list[None] = []
    transformer.single_stream_blocks[-1].register_forward_hook(lambda *_: computed.append(None))
    with caching(transformer, cache, CURVES["dev"]):
        answers(transformer, steps(4))
    assert graphs.played == played
    assert len(computed) == 1
    answers(transformer, steps(1))
    assert graphs.played == played + 1


def test_other_layers_than_those_recorded_compute(transformer: HiDreamImageTransformer2DModel, graphs: Graphs) -> None:
    done: Acceleration = accelerate(transformer, RECORDED, capture=graphs)
    answers(transformer, steps(5))
    played = graphs.played
    with as_written(done):
        answers(transformer, steps(2))
    assert graphs.played == played
    answers(transformer, steps(1))
    assert graphs.played == played + 1


def test_weights_that_move_take_the_recordings_with_them(
    transformer: HiDreamImageTransformer2DModel, graphs: Graphs
) -> None:
    own = record(transformer, graphs)
    answers(transformer, steps(4))
    assert own.ready == 1
    torch.nn.ModuleList([transformer]).to("cpu")
    assert own.ready == 0
    given = steps(4)
    found = answers(transformer, given)
    assert all(torch.equal(one, other) for one, other in zip(found, expected(given), strict=True))


def test_undone_nothing_is_recorded(transformer: HiDreamImageTransformer2DModel, graphs: Graphs) -> None:
    accelerate(transformer, RECORDED, capture=graphs).undo()
    answers(transformer, steps(4))
    assert graphs.recorded == 0
    assert not {"forward", "_apply"} & set(vars(transformer))


class _Crossings(TorchFunctionMode):
    """Notes what is sent between the CPU and the device "meta", which no recording may contain."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        given = [one for one in args if isinstance(one, Tensor) and one.ndim]
        sent = isinstance(answer, Tensor) and any(one.device != answer.device for one in given)
        if sent or func in (torch.tensor, torch.as_tensor):  # these take Python's numbers over
            self.seen.append(str(func))
        return answer


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16)])
def test_nothing_is_sent_to_the_device_in_a_step(height: int, width: int) -> None:
    transformer = build_transformer(device="meta")
    accelerate(transformer, Means(grouped=True))
    given = inputs(height, width, 2, device="meta")
    with _Crossings() as crossings:
        predict(transformer, **given)
    assert crossings.seen == []


def test_diffusers_own_sends_the_size_at_every_step() -> None:
    """What the test above would say of diffusers' own."""
    transformer = build_transformer(device="meta")
    latents = inputs(device="meta")["hidden_states"]
    with _Crossings() as crossings:
        transformer.patchify(latents)
    assert crossings.seen
