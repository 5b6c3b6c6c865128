"""Small pictures as CUDA graphs: a whole forward recorded once a shape, and played again at every step.

A forward of HiDream is some two thousand kernels. At 1024² they compute for about 100 ms a step, and the CPU has
queued them long before; at 512² and below, and in 8 bits, they may be done before the CPU has named the next one. Only
those are recorded. A recording answers bit for bit what the forward answers, which is looked at before it is used, so
that no picture depends on whether its size had been asked for before.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers import HiDreamImageTransformer2DModel
from torch import Tensor

log = logging.getLogger(__name__)

MOST_TOKENS: Final = 2048
"""Tokens of the picture in all rows of the batch: 512² with guidance. 1024² has 4096, as has all that is no square."""
MOST_SHAPES: Final = 4
"""Recordings that are kept. Each has inputs and an answer of its own (35 MB); what lies between, they share."""
WARM_UPS: Final = 2
"""Forwards beside the recording, in which libraries allocate what must not be allocated in it."""

Compute = Callable[[], Tensor]
Capture = Callable[[Compute], Compute]
"""Records what is computed; what it gives computes the same again, on what then lies in the same memory."""

_TENSORS: Final = (
    "hidden_states",
    "timesteps",
    "encoder_hidden_states_t5",
    "encoder_hidden_states_llama3",
    "pooled_embeds",
)

_Shapes = tuple[object, ...]


def capture_on_gpu() -> Capture:
    """As a CUDA graph. All share their memory: their answers are copied before another is played."""
    pool = torch.cuda.graph_pool_handle()

    @torch.no_grad()
    def capture(compute: Compute) -> Compute:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls count: another one may be waiting for a preview meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            answer = compute()

        def replay() -> Tensor:
            graph.replay()
            return answer

        return replay

    return capture


class _Recording:
    """A forward for inputs of one shape."""

    def __init__(self, forward: Callable[..., Any], given: dict[str, Any], capture: Capture) -> None:
        self._held = {name: given[name].clone(memory_format=torch.contiguous_format) for name in _TENSORS}
        held = self._held

        def compute() -> Tensor:
            answer: Tensor = forward(**held, return_dict=False)[0]
            return answer

        self._replay = capture(compute)
        self.is_checked = False

    def play(self, given: dict[str, Any]) -> Tensor:
        for name, held in self._held.items():
            held.copy_(given[name])
        # The next one to be played writes over the answer.
        return self._replay().clone()


class StepGraphs:
    """Stands before a transformer's ``forward``.

    The first step of a shape is computed as ever, the second recorded, the third computed both ways and compared, and
    from then on it is played. What fails ends it for good, with a line in the log: the transformer computes as before.
    """

    def __init__(
        self,
        transformer: HiDreamImageTransformer2DModel,
        capture: Capture,
        *,
        most_tokens: int = MOST_TOKENS,
        most_shapes: int = MOST_SHAPES,
    ) -> None:
        self._transformer: Any = transformer
        self._forward: Callable[..., Any] = transformer.forward
        self._capture: Capture | None = capture
        self._most_tokens = most_tokens
        self._most_shapes = most_shapes
        self._blocks = (transformer.double_stream_blocks, transformer.single_stream_blocks)
        self._recordings: OrderedDict[_Shapes, _Recording | None] = OrderedDict()
        """By shape, the one that was used last at the end; None for a shape that was seen once."""
        self._is_aside = False

    def __call__(self, *arguments: Any, **given: Any) -> Any:
        """What the transformer's ``forward`` answers."""
        if arguments or not self._may_record(given):
            return self._forward(*arguments, **given)
        shapes = self._shapes(given)
        if shapes not in self._recordings:
            self._keep(shapes, None)
            return self._forward(**given)
        self._recordings.move_to_end(shapes)
        recording = self._recordings[shapes]
        if recording is not None and recording.is_checked:
            return (recording.play(given),)
        answer = self._forward(**given)
        if recording is None:
            self._record(shapes, given)
        elif torch.equal(recording.play(given), answer[0]):
            recording.is_checked = True
        else:
            self._give_up("a recorded step did not answer what a computed one does")
        return answer

    @property
    def ready(self) -> int:
        """Shapes that are played."""
        return sum(recording is not None and recording.is_checked for recording in self._recordings.values())

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For the length of the block the transformer computes: its layers are not those that were recorded."""
        before, self._is_aside = self._is_aside, True
        try:
            yield
        finally:
            self._is_aside = before

    def forget(self) -> None:
        """The weights go elsewhere, and recordings know them by their place."""
        self._recordings.clear()

    def _may_record(self, given: dict[str, Any]) -> bool:
        transformer = self._transformer
        return (
            self._capture is not None
            and not self._is_aside
            # A step cache decides anew at every step, and puts blocks of its own in their place meanwhile.
            and (transformer.double_stream_blocks, transformer.single_stream_blocks) == self._blocks
            and given.get("return_dict") is False
            and not given.get("attention_kwargs")
            and set(given) <= {*_TENSORS, "return_dict", "attention_kwargs"}
            and self._tokens(given["hidden_states"]) <= self._most_tokens
        )

    def _tokens(self, latents: Tensor) -> int:
        rows, _, height, width = latents.shape
        tokens = height * width // self._transformer.config.patch_size**2
        return int(rows * (tokens if height == width else self._transformer.max_seq))

    def _shapes(self, given: dict[str, Any]) -> _Shapes:
        # An editor's transformer is told for each job how long its longest sequence is.
        kinds = tuple((given[name].shape, given[name].dtype) for name in _TENSORS)
        return (self._transformer.max_seq, *kinds)

    def _record(self, shapes: _Shapes, given: dict[str, Any]) -> None:
        assert self._capture is not None
        try:
            self._keep(shapes, _Recording(self._forward, given, self._capture))
        except RuntimeError as error:  # torch's, for what cannot be recorded and for too little memory
            self._give_up(str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__)

    def _keep(self, shapes: _Shapes, recording: _Recording | None) -> None:
        self._recordings[shapes] = recording
        while len(self._recordings) > self._most_shapes:
            self._recordings.popitem(last=False)

    def _give_up(self, reason: str) -> None:
        log.warning("steps are not recorded as CUDA graphs: %s", reason)
        self._capture = None
        self._recordings.clear()
