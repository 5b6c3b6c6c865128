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
from backends.worker.acceleration.experts import GroupedExperts, PackedSwiGLU
from backends.worker.acceleration.float8 import Float8Attention, Float8Experts, Float8SwiGLU
from config.settings import LocalSpeed

GROUPED_CAPABILITY: Final = (9, 0)
"""From here on (Hopper) torch's grouped product reads nothing back; below, it falls back to one that does."""
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
    return Means(grouped=True, float8=speed is LocalSpeed.FP8, compiled=hardware.has_compiler, lacking=lacking)


@dataclass
class Acceleration:
    """What was done to one transformer."""

    means: Means
    _undo: list[Callable[[], None]] = field(default_factory=list)

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
    transformer: HiDreamImageTransformer2DModel, chosen: Means, backend: str | Callable[..., Any] = "inductor"
) -> Acceleration:
    """Exchange what the means name. The transformer has to be on the device where it stays.

    ``backend`` is torch.compile's.
    """
    done = Acceleration(chosen)
    blocks: list[Any] = [
        outer.block for outer in (*transformer.double_stream_blocks, *transformer.single_stream_blocks)
    ]
    if chosen.grouped:
        done.override(transformer, "patchify", _with_sizes_at_hand(transformer))
        for block in blocks:
            _exchange_parts(done, block, chosen.float8)
    if chosen.compiled:
        torch._dynamo.config.recompile_limit = KERNEL_SETS
        for block in blocks:
            # Each kind of block once, not the whole: seconds instead of minutes. The second size that comes makes
            # kernels for any size, so that no size has to be compiled for after the warm-up.
            done.override(block, "forward", torch.compile(block.forward, fullgraph=True, backend=backend))
    return done


def _exchange_parts(done: Acceleration, block: Any, float8: bool) -> None:
    attention = PackedAttention(block.attn1)
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
    """Diffusers keeps the picture's size in a tensor on the GPU, and reads it back at the end of every step."""
    plain = transformer.patchify

    def patchify(hidden_states: torch.Tensor) -> tuple[Any, ...]:
        patch = transformer.config.patch_size
        height, width = hidden_states.shape[-2] // patch, hidden_states.shape[-1] // patch
        states, masks, _, ids = plain(hidden_states)
        return states, masks, [(height, width)] * len(hidden_states), ids

    return patchify
