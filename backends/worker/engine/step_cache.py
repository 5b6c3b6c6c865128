"""Leaves out transformer blocks in denoising steps whose answer the last computed step foretells.

A step that is skipped adds to its tokens what the skipped blocks added to them last time. What decides differs:

- fbCache: how much the first block's contribution has changed since the last computed step (First Block Cache,
  ParaAttention);
- dbCache: the same after all double-stream blocks. In the full-size model these are 16 of 48, the share that
  cache-dit's DBCache (F8B0 on both of HiDream's stacks) computes as well;
- teaCache: nothing but the transformer's inputs (``tea_cache``); a skipped step computes no block.

This is ours and no library's. diffusers' own hooks refuse HiDream or do nothing (0.42.1). cache-dit (1.5.3) knows it,
but puts copies of HiDream's forward methods over the model's and leaves them there when it is switched off: hooks that
were there before, such as those that offload weights, are never called again, and nothing would guarantee that an
exact picture after a cached one runs diffusers' code. It also decides on each stack by itself, and has no TeaCache.
Here the transformer's two lists of blocks are exchanged for the length of one run and put back however it ends; all
that a run remembers dies with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, assert_never

from torch import Tensor, nn

from backends.worker.engine.tea_cache import Curve, Estimate, Signal, relative_change
from domain.accelerators import CacheKind, StepCache


@contextmanager
def caching(transformer: Any, cache: StepCache | None, curve: Curve) -> Iterator[None]:
    """The transformer (HiDreamImageTransformer2DModel) with this cache for the length of the block, a run's every
    step in it and nothing else.

    ``curve`` is for teaCache. The batch is decided on as a whole: with guidance, its two or three passes are skipped
    together. Without a cache nothing is touched.
    """
    if cache is None:
        yield
        return
    double, single = transformer.double_stream_blocks, transformer.single_stream_blocks
    with ExitStack() as stack:
        run = _run(transformer, cache, curve, stack)
        run.last = len(double) + len(single) - 1
        transformer.double_stream_blocks = _stand_ins(run, double, 0)
        transformer.single_stream_blocks = _stand_ins(run, single, len(double))
        try:
            yield
        finally:
            transformer.double_stream_blocks, transformer.single_stream_blocks = double, single


def _run(transformer: Any, cache: StepCache, curve: Curve, stack: ExitStack) -> "_Run":
    match cache.kind:
        case CacheKind.FIRST_BLOCK:
            return _Residual(cache, front=1)
        case CacheKind.DUAL_BLOCK:
            return _Residual(cache, front=len(transformer.double_stream_blocks))
        case CacheKind.TEA:
            estimate = Estimate(curve, cache.threshold)
            embedder = transformer.t_embedder if curve.signal is Signal.TIMESTEP else transformer.x_embedder
            hook = embedder.register_forward_hook(lambda _module, _inputs, output: estimate.see(output))
            stack.callback(hook.remove)
            return _Tea(cache, estimate)
        case _:
            assert_never(cache.kind)


class _Run(ABC):
    """What is known of one picture's steps. Tokens are those of the image: (batch, tokens, width)."""

    front: int
    """So many blocks are computed in every step before it is decided whether to go on."""
    last: int
    """The last block's place."""

    def __init__(self, cache: StepCache) -> None:
        self._cache = cache
        self._step = -1
        self._skipped = 0
        self._at_front: Tensor | None = None
        self._rest: Tensor | None = None
        self.reusing = False

    def begin(self, tokens: Tensor) -> None:
        """A step begins, with the tokens that go into the first block."""
        self._step += 1
        self.reusing = False

    def decide(self, tokens: Tensor) -> None:
        """The front is computed, and these are its tokens."""
        self._at_front = tokens
        self.reusing = self._may_be_skipped() and self.is_near(tokens)
        self._skipped = self._skipped + 1 if self.reusing else 0
        if not self.reusing:
            self.compute(tokens)

    def finish(self, tokens: Tensor) -> Tensor:
        """The tokens behind the last block, given those that came out of it."""
        assert self._at_front is not None
        if self.reusing:
            assert self._rest is not None
            return self._at_front + self._rest
        self._rest = tokens[:, : self._at_front.shape[1]] - self._at_front
        return tokens

    @abstractmethod
    def is_near(self, tokens: Tensor) -> bool:
        """The answer should be close to the last computed one."""

    @abstractmethod
    def compute(self, tokens: Tensor) -> None:
        """The step is going to be computed: the next ones are compared with it."""

    def _may_be_skipped(self) -> bool:
        cache = self._cache
        if self._rest is None or not cache.start <= self._step < cache.end:
            return False
        if cache.skip_interval is not None and (self._step - cache.start) % (cache.skip_interval + 1) == 0:
            return False
        return self._skipped < cache.max_consecutive


class _Residual(_Run):
    """Compares what the front's blocks add to the tokens."""

    def __init__(self, cache: StepCache, front: int) -> None:
        super().__init__(cache)
        self.front = front
        self._input: Tensor | None = None
        self._computed: Tensor | None = None

    def begin(self, tokens: Tensor) -> None:
        super().begin(tokens)
        self._input = tokens

    def is_near(self, tokens: Tensor) -> bool:
        assert self._computed is not None
        return relative_change(self._computed, self._added(tokens)) < self._cache.threshold

    def compute(self, tokens: Tensor) -> None:
        self._computed = self._added(tokens)

    def _added(self, tokens: Tensor) -> Tensor:
        assert self._input is not None
        return tokens - self._input


class _Tea(_Run):
    """Asks the estimate, before any block."""

    front = 0

    def __init__(self, cache: StepCache, estimate: Estimate) -> None:
        super().__init__(cache)
        self._estimate = estimate

    def begin(self, tokens: Tensor) -> None:
        super().begin(tokens)
        self.decide(tokens)

    def is_near(self, tokens: Tensor) -> bool:
        return self._estimate.is_near

    def compute(self, tokens: Tensor) -> None:
        self._estimate.start_over()


class _StandIn(nn.Module):
    """A block in its place in the transformer: computes or passes on."""

    def __init__(self, run: _Run, block: nn.Module, place: int) -> None:
        super().__init__()
        self._run = run
        self._block = block
        self._place = place

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **others: Any) -> Any:
        """As HiDreamBlock: tokens, and those of the text where the block is a double-stream one."""
        run = self._run
        if self._place == 0:
            run.begin(hidden_states)
        if not run.reusing:
            answer = self._block(hidden_states=hidden_states, encoder_hidden_states=encoder_hidden_states, **others)
            hidden_states, encoder_hidden_states = answer if isinstance(answer, tuple) else (answer, None)
            if self._place == run.front - 1:
                run.decide(hidden_states)
        if self._place == run.last:
            hidden_states = run.finish(hidden_states)
        return hidden_states if encoder_hidden_states is None else (hidden_states, encoder_hidden_states)


def _stand_ins(run: _Run, blocks: nn.ModuleList, first: int) -> nn.ModuleList:
    return nn.ModuleList(_StandIn(run, block, first + index) for index, block in enumerate(blocks))
