"""What ``EASEL_LOCAL_SPEED`` does to a transformer, and how it is taken back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from diffusers import HiDreamImageTransformer2DModel
from diffusers.models.transformers.transformer_hidream_image import MOEFeedForwardSwiGLU
from torch import nn
from torch.utils._triton import has_triton

from backends.worker.acceleration.attention import PackedAttention
from backends.worker.acceleration.attention_kernels import Attend, AttentionShape, Kernel, attend_by_torch
from backends.worker.acceleration.experts import GroupedExperts, PackedSwiGLU
from backends.worker.acceleration.float8 import Float8Attention, Float8Experts, Float8SwiGLU
from backends.worker.acceleration.graphs import Capture, StepGraphs
from config.settings import LocalSpeed

GROUPED_CAPABILITY: Final = (9, 0)
"""From here on (Hopper) torch's grouped product reads nothing back; below, it falls back to one that does."""
TEXT_TOKENS: Final = 3 * 128
"""T5's, and those of two of Llama's layers: the pipeline's longest."""
KERNEL_SETS: Final = 32
"""How many sets of kernels torch.compile may make of one function: two (the model's own size, all others), for one,
two and three pictures at a time, with and without padding."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What decides which means can be had."""

    is_gpu: bool
    capability: tuple[int, int] = (0, 0)
    has_compiler: bool = False

    @classmethod
    def of(cls, device: torch.device) -> "Hardware":
        """The device's."""
        if device.type != "cuda":
            return cls(is_gpu=False)
        return cls(True, torch.cuda.get_device_capability(device), has_triton())


@dataclass(frozen=True, slots=True)
class Means:
    """What is done to make a transformer faster."""

    grouped: bool = False
    """A mixture of experts that reads nothing back, and packed products around it."""
    float8: bool = False
    compiled: bool = False
    graphs: bool = False
    """Small pictures' steps as CUDA graphs."""
    lacking: str | None = None
    """What the machine would need for more, in words for the log."""


def means(speed: LocalSpeed, hardware: Hardware) -> Means:
    """The most that the hardware can do of what was asked for."""
    if speed is LocalSpeed.PLAIN:
        return Means()
    if not hardware.is_gpu:
        return Means(lacking="a GPU")
    if hardware.capability < GROUPED_CAPABILITY:
        return Means(lacking="a GPU with compute capability 9.0 or more (Hopper)")
    lacking = None if hardware.has_compiler else "Triton, for torch.compile"
    return Means(
        grouped=True, float8=speed is LocalSpeed.FP8, compiled=hardware.has_compiler, graphs=True, lacking=lacking
    )


@dataclass
class Acceleration:
    """What was done to one transformer."""

    means: Means
    attention: str | None = None
    """The name of the kernel that computes it, where one was chosen."""
    graphs: StepGraphs | None = None
    _undo: list[Callable[[], None]] = field(default_factory=list)

    @property
    def words(self) -> str:
        """What was done, for people."""
        chosen = self.means
        parts = {
            "grouped experts": chosen.grouped,
            "8 bits": chosen.float8,
            "compiled": chosen.compiled,
            f"attention by {self.attention}": self.attention is not None,
        }
        return ", ".join(name for name, there in parts.items() if there)

    def undo(self) -> None:
        """Make the transformer diffusers' own again; weights that are in 8 bits stay so."""
        while self._undo:
            self._undo.pop()()

    def override(self, module: Any, name: str, value: Any) -> None:
        """Give an object another part or method."""
        own = name in vars(module) or (isinstance(module, nn.Module) and name in module._modules)
        before = getattr(module, name)
        setattr(module, name, value)
        self._undo.append((lambda: setattr(module, name, before)) if own else (lambda: delattr(module, name)))


def accelerate(
    transformer: HiDreamImageTransformer2DModel,
    chosen: Means,
    backend: str | Callable[..., Any] = "inductor",
    kernel: Kernel | None = None,
    capture: Capture | None = None,
) -> Acceleration:
    """Exchange what the means name. The transformer has to be on the device where it stays.

    ``backend`` is torch.compile's. ``kernel`` computes attention; without one torch chooses. ``capture`` records
    steps, where the means say so.
    """
    done = Acceleration(chosen, kernel.name if kernel is not None else None)
    blocks: list[Any] = [
        outer.block for outer in (*transformer.double_stream_blocks, *transformer.single_stream_blocks)
    ]
    if chosen.grouped:
        done.override(transformer, "patchify", _with_sizes_at_hand(transformer))
        attend = kernel.attend if kernel is not None else attend_by_torch
        for block in blocks:
            _exchange_parts(done, block, attend, chosen.float8)
    if chosen.compiled:
        torch._dynamo.config.recompile_limit = KERNEL_SETS
        for block in blocks:
            # Each kind of block once, not the whole: seconds instead of minutes. The second size that comes makes
            # kernels for any size, so that no size has to be compiled for after the warm-up.
            done.override(block, "forward", torch.compile(block.forward, fullgraph=True, backend=backend))
    if chosen.graphs and capture is not None:
        done.graphs = graphs = StepGraphs(transformer, capture)
        done.override(transformer, "forward", graphs)
        done.override(transformer, "_apply", _forgetting(graphs, transformer._apply))
    return done


def attention_shape(transformer: HiDreamImageTransformer2DModel) -> AttentionShape:
    """Attention over a picture of the model's own size and its text."""
    config: Any = transformer.config
    tokens = int(transformer.max_seq) + TEXT_TOKENS
    return AttentionShape(config.num_attention_heads, tokens, config.attention_head_dim)


def _forgetting(graphs: StepGraphs, apply: Callable[..., Any]) -> Callable[..., Any]:
    """What torch calls to move a module."""

    def forget_and_apply(*arguments: Any, **options: Any) -> Any:
        graphs.forget()
        return apply(*arguments, **options)

    return forget_and_apply


def _exchange_parts(done: Acceleration, block: Any, attend: Attend, float8: bool) -> None:
    attention = PackedAttention(block.attn1, attend)
    mixture: nn.Module
    if isinstance(block.ff_i, MOEFeedForwardSwiGLU):
        grouped = GroupedExperts(block.ff_i)
        mixture = Float8Experts(grouped) if float8 else grouped
    else:
        mixture = _feed_forward(block.ff_i, float8)
    parts: dict[str, nn.Module] = {"attn1": Float8Attention(attention) if float8 else attention, "ff_i": mixture}
    if hasattr(block, "ff_t"):
        parts["ff_t"] = _feed_forward(block.ff_t, float8)
    for name, part in parts.items():
        if float8:
            setattr(block, name, part)  # for good: nobody keeps the large weights
        else:
            done.override(block, name, part)


def _feed_forward(plain: Any, float8: bool) -> nn.Module:
    packed = PackedSwiGLU(plain)
    return Float8SwiGLU(packed) if float8 else packed


def _with_sizes_at_hand(transformer: HiDreamImageTransformer2DModel) -> Callable[[torch.Tensor], tuple[Any, ...]]:
    """As diffusers', which sends the picture's size to the GPU at every step, and reads it back at the end of it."""
    patch: int = transformer.config.patch_size

    def patchify(hidden_states: torch.Tensor) -> tuple[Any, ...]:
        rows, channels, height, width = hidden_states.shape
        high, wide = height // patch, width // patch
        tokens, device = high * wide, hidden_states.device
        by_patch = hidden_states.reshape(rows, channels, high, patch, wide, patch).permute(0, 2, 4, 3, 5, 1)
        states = by_patch.reshape(rows, tokens, patch * patch * channels)
        places = torch.zeros(high, wide, 3, device=device)
        places[..., 1] += torch.arange(high, device=device)[:, None]
        places[..., 2] += torch.arange(wide, device=device)[None, :]
        ids = places.reshape(tokens, 3)
        masks = None
        if height != width:
            # What is no square is filled up to the longest sequence.
            rest = int(transformer.max_seq) - tokens
            states, ids = (torch.nn.functional.pad(part, (0, 0, 0, rest)) for part in (states, ids))
            masks = torch.zeros(rows, tokens + rest, dtype=hidden_states.dtype, device=device)
            masks[:, :tokens] = 1.0
        return states, masks, [(high, wide)] * rows, ids.unsqueeze(0).repeat(rows, 1, 1)

    return patchify
