"""The ways to predict that are compared: stock diffusers' transformer, and ours over the same weights."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

from diffusers import HiDreamImageTransformer2DModel
from torch import Tensor

from backends.worker.acceleration.accelerate import Hardware, Means, accelerate
from backends.worker.acceleration.attention_kernels import Kernel
from backends.worker.acceleration.graphs import StepGraphs, capture_on_gpu
from backends.worker.acceleration.switch import as_written
from backends.worker.engine.step_cache import caching
from backends.worker.engine.tea_cache import CURVES
from benchmarks.gpu_speed.model import Shape, twin
from config.catalogue import Catalogue
from config.parameters import Option, PresetParameter
from domain.accelerators import StepCache

STOCK: Final = "stock diffusers"
MEANS: Final = {
    STOCK: Means(),
    "grouped": Means(grouped=True),
    "fp8": Means(grouped=True, float8=True),
}
"""What is done to the weights; compiled or not, the arithmetic is the same."""


@dataclass(frozen=True)
class Version:
    """A way to predict."""

    name: str
    predict: Callable[..., Tensor]
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    """What one picture's steps run in."""
    everywhere: bool = True
    """Timed on every task, and not at the model's own size alone."""


@dataclass(frozen=True)
class Versions:
    """All that can be had on a machine, stock diffusers' first, and the one that the cache is on."""

    all: list[Version]
    cached: Version
    cached_transformer: HiDreamImageTransformer2DModel


def versions_on(
    hardware: Hardware, shape: Shape, stock: HiDreamImageTransformer2DModel, kernel: Kernel | None, steps: int
) -> Versions:
    """Three transformers over ``stock``'s weights; what is compiled is also timed as it is written, and recorded."""
    found = [Version(STOCK, predictor(stock))]
    last = stock
    for title, chosen in list(MEANS.items())[1:]:
        last = twin(shape, stock)
        done = accelerate(last, replace(chosen, compiled=hardware.has_compiler), kernel=kernel)
        if not hardware.has_compiler:
            found.append(Version(title, predictor(last)))
            continue
        if not chosen.float8:
            found.append(Version(title, predictor(last), lambda done=done: as_written(done)))  # type: ignore[misc]
        title = f"{title}, compiled"
        found.append(Version(title, predictor(last)))
        if hardware.is_gpu:
            # Every size, to see from which on it is worth it; the worker records small ones alone.
            graphs = StepGraphs(last, capture_on_gpu(), most_tokens=1 << 20)
            found.append(Version(f"{title}, CUDA graph", predictor(graphs)))
    cached = Version(
        f"{title}, balanced mask",
        predictor(last),
        lambda: caching(last, forced_mask(steps), CURVES["dev"]),
        everywhere=False,
    )
    return Versions([*found, cached], cached, last)


def predictor(forward: Callable[..., Any]) -> Callable[..., Tensor]:
    """Its answer alone."""

    def predict(**given: Any) -> Tensor:
        answer: Tensor = forward(**given)[0]
        return answer

    return predict


def forced_mask(steps: int) -> StepCache:
    """The steps that the preset ``balanced`` of I1-Dev may skip, all of them skipped.

    Whether a cache would find them alike depends on the weights; on random ones that would mean nothing.
    """
    speed = Catalogue.load().offers()["worker:hidream-i1-dev"].parameters[Option.SPEED]
    assert isinstance(speed, PresetParameter)
    cache = speed.presets["balanced"].step_cache(steps)
    assert cache is not None
    return replace(cache, threshold=float("inf"))


@contextmanager
def counting(transformer: HiDreamImageTransformer2DModel) -> Iterator[list[None]]:
    """One member for each block that is computed."""
    computed: list[None] = []
    blocks = [*transformer.double_stream_blocks, *transformer.single_stream_blocks]
    hooks = [block.register_forward_hook(lambda *_: computed.append(None)) for block in blocks]
    try:
        yield computed
    finally:
        for hook in hooks:
            hook.remove()
