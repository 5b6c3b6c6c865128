"""Which kernel computes attention: the fastest on this device, at this model's size, that gives the right answer."""

import importlib
import importlib.util
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

log = logging.getLogger(__name__)

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention without a mask: query, key and value of (batch, heads, tokens, width) to an answer of that shape."""
Clock = Callable[[Callable[[], object], torch.device], float]
"""Seconds that something takes on a device."""

REPEATS: Final = 5
LEAD: Final = 1.05
"""So much slower than the fastest an earlier kernel of the list may be and is still taken: what is about as fast must
not change places from one start to the next, for its roundings are others."""
TOLERANCE: Final = {torch.bfloat16: 2**-7, torch.float16: 2**-10, torch.float32: 2**-19}
"""How far from the exact answer, relative in the Euclidean norm: three times what kernels that keep the probabilities
in that type were seen to be off (0.0025 in bf16, 3e-7 in float32)."""
CHECKED_ROWS: Final = 128
"""Queries whose answers are compared, at either end: exact attention over all would take gigabytes."""
TORCHS: Final = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
FLASH_3: Final = "flash 3"
FLASH_3_PACKAGE: Final = "flash_attn_interface"
"""FlashAttention 3, for Hopper GPUs; built from source, so no package index has it."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A way to compute attention."""

    name: str
    attend: Attend


@dataclass(frozen=True, slots=True)
class Timing:
    """What one kernel needs for one attention."""

    kernel: Kernel
    seconds: float
    error: float
    """Relative to the exact answer, in the Euclidean norm."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One attention of a model."""

    heads: int
    tokens: int
    width: int
    """Of a head."""


def attend_by_torch(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """With the kernel that torch takes by itself."""
    return functional.scaled_dot_product_attention(query, key, value, dropout_p=0.0, is_causal=False)


def candidates() -> list[Kernel]:
    """Every kernel that this installation may have, those that are taken when times are alike first."""
    found = [Kernel(FLASH_3, _attend_by_flash_3)] if importlib.util.find_spec(FLASH_3_PACKAGE) is not None else []
    return found + [Kernel(name, _in_order([backend])) for name, backend in TORCHS.items()]


def fastest(
    shape: AttentionShape, device: torch.device, dtype: torch.dtype, kernels: Sequence[Kernel], clock: Clock
) -> Kernel | None:
    """The kernel to take; None where none gives the right answer, which leaves the choice to torch.

    For sizes that it cannot do, a kernel of torch's gives way to the next fastest.
    """
    timings = measured(shape, device, dtype, kernels, clock)
    if not timings:
        return None
    least = min(timing.seconds for timing in timings)
    chosen = next(timing.kernel for timing in timings if timing.seconds <= LEAD * least)
    log.info(
        "attention over %d tokens by %s (%s)",
        shape.tokens,
        chosen.name,
        ", ".join(f"{timing.kernel.name} {timing.seconds * 1000:.2f} ms" for timing in timings),
    )
    if chosen.name == FLASH_3:
        return chosen
    rest = [timing.kernel.name for timing in sorted(timings, key=lambda timing: timing.seconds)]
    names = [chosen.name, *(name for name in rest if name in TORCHS and name != chosen.name)]
    return Kernel(chosen.name, _in_order([TORCHS[name] for name in names]))


@torch.no_grad()
def measured(
    shape: AttentionShape, device: torch.device, dtype: torch.dtype, kernels: Sequence[Kernel], clock: Clock
) -> list[Timing]:
    """Those that there are and that agree with the exact answer, in the order given. The others are logged."""
    # numbers from a generator of its own, so that no picture's are moved
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, shape.heads, shape.tokens, shape.width, generator=generator).to(device, dtype) for _ in range(3)
    )
    exact = _exact(query, key, value)
    timings: list[Timing] = []
    for kernel in kernels:
        try:
            error = _difference(_rows(kernel.attend(query, key, value)), exact)
            # A comparison with NaN is false, so that a kernel that gives one is out as well.
            if not error <= TOLERANCE[dtype]:
                log.warning("attention by %s is off by %.2g here and is not used", kernel.name, error)
                continue
            seconds = [
                clock(lambda kernel=kernel: kernel.attend(query, key, value), device)  # type: ignore[misc]
                for _ in range(REPEATS)
            ]
        except RuntimeError as error_of_torch:  # its type for a kernel that a device lacks, and for too little memory
            log.debug("no attention by %s here: %s", kernel.name, str(error_of_torch).splitlines()[0][:200])
            continue
        timings.append(Timing(kernel, statistics.median(seconds), error))
    return timings


def seconds_on(work: Callable[[], object], device: torch.device) -> float:
    """By the wall's clock, with the device idle before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _in_order(backends: list[SDPBackend]) -> Attend:
    """The first of torch's backends that can do what is asked."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backends, set_priority=True):
            return attend_by_torch(query, key, value)

    return attend


def _attend_by_flash_3(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    answer: Tensor = _flash_3(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return answer.transpose(1, 2)


@torch.library.custom_op("easel::flash_3", mutates_args=())
def _flash_3(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As one operation that a compiler need not look into; (batch, tokens, heads, width)."""
    answer: Any = importlib.import_module(FLASH_3_PACKAGE).flash_attn_func(query, key, value)
    # Older releases give the logarithms of the sums as well.
    out: Tensor = answer[0] if isinstance(answer, tuple) else answer
    return out.contiguous()


@_flash_3.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.new_empty(query.shape)


def _exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return attend_by_torch(_rows(query).double(), key.double(), value.double())


def _rows(tokens: Tensor) -> Tensor:
    if tokens.shape[2] <= 2 * CHECKED_ROWS:
        return tokens
    return torch.cat([tokens[:, :, :CHECKED_ROWS], tokens[:, :, -CHECKED_ROWS:]], dim=2)


def _difference(one: Tensor, exact: Tensor) -> float:
    return float((one.double() - exact).norm() / exact.norm())
