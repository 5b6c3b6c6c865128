"""How fast HiDream-I1 denoises: stock diffusers and ours, side by side in one process.

    python -m benchmarks.gpu_speed [--out FILE] [--rounds N] [--steps N] [--small]

On a GPU it builds the published transformer (17.1B parameters) with random bf16 weights: the shapes, the arithmetic
and the router's code are the real ones, what it paints is not, so nothing here speaks of quality. Without a GPU, or
with ``--small``, it does the same with a small configuration and says so; those seconds mean nothing, the errors do.

Each round times every version once, so that a machine that slows down slows all of them. Figures are medians with
the least and the most. The short table comes last; ``--out`` keeps everything as JSON.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, HiDreamImageTransformer2DModel
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from backends.worker.acceleration.accelerate import Hardware, Means, accelerate, means
from backends.worker.engine.noise import Noise
from backends.worker.engine.schedulers import new_scheduler
from backends.worker.engine.step_cache import caching
from backends.worker.engine.tea_cache import CURVES
from backends.worker.variants import Sampler
from config.catalogue import Catalogue
from config.parameters import Option, PresetParameter
from config.settings import LocalSpeed
from domain.accelerators import StepCache

SHIFT: Final = 6.0
"""I1-Dev's, with its 28 steps and no guidance."""


@dataclass(frozen=True)
class Shape:
    """A transformer's configuration, and how much text it reads."""

    double: int = 16
    single: int = 32
    heads: int = 20
    head_width: int = 128
    channels: int = 16
    caption: int = 4096
    pooled: int = 2048
    experts: int = 4
    active: int = 2
    side: int = 128
    """Of the latents that it was made for."""
    text: int = 128
    """Tokens of T5's and of each of Llama's layers."""
    llama: int = 32

    @property
    def width(self) -> int:
        return self.heads * self.head_width


FULL: Final = Shape()
"""HiDream-ai/HiDream-I1-Dev, transformer/config.json."""
SMALL: Final = Shape(
    double=2, single=2, heads=4, head_width=32, caption=64, pooled=32, side=32, text=16, llama=4, channels=16
)


def build(shape: Shape, device: torch.device, dtype: torch.dtype) -> HiDreamImageTransformer2DModel:
    """The transformer with random weights, made where it stays."""
    layers = [min(index, shape.llama - 1) for index in range(shape.double + shape.single)]
    half = shape.head_width // 4
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return HiDreamImageTransformer2DModel(
                patch_size=2,
                in_channels=shape.channels,
                out_channels=shape.channels,
                num_layers=shape.double,
                num_single_layers=shape.single,
                attention_head_dim=shape.head_width,
                num_attention_heads=shape.heads,
                caption_channels=[shape.caption, shape.caption],
                text_emb_dim=shape.pooled,
                num_routed_experts=shape.experts,
                num_activated_experts=shape.active,
                axes_dims_rope=(2 * half, half, half),
                max_resolution=(shape.side, shape.side),
                llama_layers=layers,
            ).eval()
    finally:
        torch.set_default_dtype(default)


def twin(shape: Shape, of: HiDreamImageTransformer2DModel) -> HiDreamImageTransformer2DModel:
    """Another transformer over the very same weights: only what is exchanged later takes memory of its own."""
    other = build(shape, torch.device("meta"), next(of.parameters()).dtype)
    other.load_state_dict(of.state_dict(), assign=True)
    return other


def inputs(shape: Shape, side: int, batch: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Everything that a forward takes besides the time."""
    generator = torch.Generator("cpu").manual_seed(7)

    def drawn(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator).to(device, dtype)

    return {
        "hidden_states": drawn(batch, shape.channels, side, side),
        "encoder_hidden_states_t5": drawn(batch, shape.text, shape.caption),
        "encoder_hidden_states_llama3": drawn(shape.llama, batch, shape.text, shape.caption),
        "pooled_embeds": drawn(batch, shape.pooled),
        "return_dict": False,
    }


def skew(transformer: HiDreamImageTransformer2DModel) -> None:
    """Make every router send all tokens to the same experts: the others get none."""
    with torch.no_grad():
        for block in (*transformer.double_stream_blocks, *transformer.single_stream_blocks):
            block.block.ff_i.gate.weight.zero_()


def forward_flops(shape: Shape, side: int, batch: int) -> float:
    """Multiplications and additions of one forward on latents of side x side: matrix products and attention."""
    width, image = shape.width, (side // 2) ** 2
    read = 3 * shape.text

    def feed_forward(hidden: int) -> int:
        return 2 * 3 * width * (256 * -(-int(2 * hidden / 3) // 256))

    routed = feed_forward(4 * width) * shape.active + feed_forward(2 * width) + 2 * width * shape.experts
    products = 2 * 4 * width * width
    attention = 2 * 2 * (image + read) ** 2 * width
    double = image * (products + routed) + read * (products + feed_forward(4 * width)) + attention
    single = (image + read) * (products + routed) + attention
    modulation = 2 * width * width * (12 * shape.double + 6 * shape.single + 2)
    captions = 2 * shape.text * shape.caption * width * (shape.double + shape.single + 1)
    edges = 2 * 2 * image * 4 * shape.channels * width
    times = 2 * (256 + shape.pooled + 2 * width) * width
    return float(batch * (shape.double * double + shape.single * single + modulation + captions + edges + times))


@torch.no_grad()
def denoise(predict: Callable[..., Tensor], given: dict[str, Any], steps: int) -> Tensor:
    """All steps of Dev's schedule; returns the latents."""
    scheduler = new_scheduler(Sampler.LCM, SHIFT, Noise(3))
    latents: Tensor = given["hidden_states"]
    scheduler.set_timesteps(steps, device=latents.device)
    for timestep in scheduler.timesteps:
        prediction = predict(**{**given, "hidden_states": latents}, timesteps=timestep.expand(len(latents)))
        latents = scheduler.step(-prediction, timestep, latents, return_dict=False)[0].to(prediction.dtype)
    return latents


@contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """Seconds until the device is done, as the list's only member."""
    seconds: list[float] = []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    yield seconds
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds.append(time.perf_counter() - started)


@dataclass(frozen=True)
class Row:
    """One version on one task."""

    version: str
    task: str
    median: float
    least: float
    most: float
    tflops: float
    ceiling: float
    """Share of the measured bf16 matrix product rate."""
    stock: float
    """How many times stock diffusers' speed."""
    first: float
    """Seconds of the first run: what a warm-up takes, compilation included."""


@dataclass(frozen=True)
class Version:
    """A way to predict."""

    name: str
    predict: Callable[..., Tensor]
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    """What one picture's steps run in."""


def forced_mask(steps: int) -> StepCache:
    """The steps that the preset ``balanced`` of I1-Dev may skip, all of them skipped.

    Whether a cache would find them alike depends on the weights; on random ones that would mean nothing.
    """
    speed = Catalogue.load().offers()["worker:hidream-i1-dev"].parameters[Option.SPEED]
    assert isinstance(speed, PresetParameter)
    cache = speed.presets["balanced"].step_cache(steps)
    assert cache is not None
    return replace(cache, threshold=float("inf"))


def share_skipped(
    transformer: HiDreamImageTransformer2DModel, version: Version, given: dict[str, Any], steps: int
) -> float:
    """Of all block computations, counted."""
    computed: list[None] = []
    blocks = [*transformer.double_stream_blocks, *transformer.single_stream_blocks]
    hooks = [block.register_forward_hook(lambda *_: computed.append(None)) for block in blocks]
    with version.around():
        denoise(version.predict, given, steps)
    for hook in hooks:
        hook.remove()
    return 1 - len(computed) / (steps * len(blocks))


def ceiling(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a large square matrix product, the best of several."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        with timed(device) as seconds:
            for _ in range(5):
                one @ other
        best = min(best, seconds[0] / 5)
    return 2.0 * size**3 / best


def compare(
    versions: list[Version], task: str, given: dict[str, Any], flops: float, rate: float, options: Any
) -> list[Row]:
    """Every version once a round."""
    device = given["hidden_states"].device
    seconds: dict[str, list[float]] = {version.name: [] for version in versions}
    first: dict[str, float] = {}
    for version in versions:
        try:
            with version.around(), timed(device) as once:
                denoise(version.predict, given, 2)
        except RuntimeError as error:  # torch's for all that a machine or a compiler cannot do
            print(f"{version.name} cannot be had at {task}: {str(error).splitlines()[0][:200]}")
            continue
        first[version.name] = once[0]
    versions = [version for version in versions if version.name in first]
    for _ in range(options.rounds):
        for version in versions:
            with version.around(), timed(device) as once:
                denoise(version.predict, given, options.steps)
            seconds[version.name].append(once[0])
    stock = statistics.median(seconds[versions[0].name])
    rows = []
    for version in versions:
        median = statistics.median(seconds[version.name])
        tflops = flops * options.steps / median / 1e12
        spread = min(seconds[version.name]), max(seconds[version.name])
        rows.append(
            Row(version.name, task, median, *spread, tflops, tflops * 1e12 / rate, stock / median, first[version.name])
        )
    return rows


def predictor(transformer: HiDreamImageTransformer2DModel) -> Callable[..., Tensor]:
    """Its answer alone."""

    def predict(**given: Any) -> Tensor:
        answer: Tensor = transformer(**given)[0]
        return answer

    return predict


@torch.no_grad()
def graphed(transformer: HiDreamImageTransformer2DModel, given: dict[str, Any]) -> Callable[..., Tensor]:
    """The whole forward as one CUDA graph, for inputs of these shapes."""
    held = {name: value.clone() if isinstance(value, Tensor) else value for name, value in given.items()}
    held["timesteps"] = torch.zeros(len(given["hidden_states"]), device=given["hidden_states"].device)
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            transformer(**held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer: Tensor = transformer(**held)[0]

    def predict(**now: Any) -> Tensor:
        held["hidden_states"].copy_(now["hidden_states"])
        held["timesteps"].copy_(now["timesteps"])
        graph.replay()
        return answer.clone()

    return predict


def errors(shape: Shape, device: torch.device) -> dict[str, float]:
    """How far one double and one single block at full width are from float32.

    Of what each adds to the picture's tokens, relative in the Euclidean norm; the worse of the two.
    """
    shallow = replace(shape, double=1, single=1, side=min(shape.side, 64))
    torch.manual_seed(11)
    exact = build(shallow, device, torch.float32)
    with torch.no_grad():
        for parameter in exact.parameters():
            parameter.copy_(parameter.bfloat16())  # so that all have the same weights
    given = inputs(shallow, shallow.side, 1, device, torch.bfloat16)
    given["timesteps"] = torch.full((1,), 500.0, device=device)
    wide = {name: value.float() if isinstance(value, Tensor) else value for name, value in given.items()}
    truth = changes(exact, wide)
    found: dict[str, float] = {}
    for name, chosen in VERSIONS.items():
        same = copy.deepcopy(exact)
        for part in same.modules():
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.bfloat16()
        accelerate(same, replace(chosen, compiled=False))
        each = zip(changes(same, given), truth, strict=True)
        found[name.replace(", compiled", "")] = max(float((one - true).norm() / true.norm()) for one, true in each)
    return found


@torch.no_grad()
def changes(transformer: HiDreamImageTransformer2DModel, given: dict[str, Any]) -> list[Tensor]:
    """What each block adds to the tokens that it is given."""
    found: list[Tensor] = []

    def look(_block: object, _arguments: object, named: dict[str, Any], answer: Any) -> None:
        after = answer[0] if isinstance(answer, tuple) else answer
        found.append(after.float() - named["hidden_states"].float())

    hooks = [
        block.register_forward_hook(look, with_kwargs=True)
        for block in (*transformer.double_stream_blocks, *transformer.single_stream_blocks)
    ]
    transformer(**given)
    for hook in hooks:
        hook.remove()
    return found


VERSIONS: Final = {
    "stock diffusers": Means(),
    "grouped": Means(grouped=True),
    "grouped, compiled": Means(grouped=True, compiled=True),
    "fp8, compiled": Means(grouped=True, float8=True, compiled=True),
}


def attention_backends(shape: Shape, device: torch.device) -> dict[str, float]:
    """Milliseconds of one attention over a full-size picture and its text, by torch's backend."""
    tokens = (shape.side // 2) ** 2 + 3 * shape.text
    query, key, value = (
        torch.randn(1, shape.heads, tokens, shape.head_width, device=device, dtype=torch.bfloat16) for _ in range(3)
    )
    found: dict[str, float] = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
        try:
            with sdpa_kernel(backend):
                runs = []
                for _ in range(7):
                    with timed(device) as seconds:
                        torch.nn.functional.scaled_dot_product_attention(query, key, value)
                    runs.append(seconds[0] * 1000)
            found[backend.name] = statistics.median(runs)
        except RuntimeError:
            continue  # torch says so where a backend has no kernel for this machine
    return found


@torch.no_grad()
def decoding(device: torch.device, small: bool) -> dict[str, float]:
    """Seconds of the VAE's decode of one picture, as it is and compiled (published shape: FLUX's, f8, 16 channels)."""
    widths = (16, 32, 32, 32) if small else (128, 256, 512, 512)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=8 if small else 32,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae = vae.to(device, torch.bfloat16).eval()
    latents = torch.randn(1, 16, 32 if small else 128, 32 if small else 128, device=device, dtype=torch.bfloat16)
    ways: dict[str, Any] = {"VAE decode": vae.decode}
    if device.type == "cuda":
        ways["VAE decode, compiled"] = torch.compile(vae.decode)
    found: dict[str, float] = {}
    for name, decode in ways.items():
        decode(latents)
        runs = []
        for _ in range(5):
            with timed(device) as seconds:
                decode(latents)
            runs.append(seconds[0])
        found[name] = statistics.median(runs)
    return found


def run(options: Any, console: Console) -> dict[str, Any]:
    """Everything, printed and returned."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = options.small or device.type == "cpu"
    shape = SMALL if small else FULL
    hardware = Hardware.of(device)
    name = torch.cuda.get_device_name(device) if hardware.is_gpu else f"CPU, {torch.get_num_threads()} threads"
    console.print(f"torch {torch.__version__} on {name}")
    if small:
        console.print("[bold]A small configuration: these seconds say nothing about a GPU.[/bold]")
    rate = ceiling(device, torch.bfloat16, 512 if small else 8192)
    console.print(f"bf16 matrix product: {rate / 1e12:.2f} TFLOP/s")
    wanted = means(LocalSpeed.FP8, hardware)
    if wanted.lacking is not None:
        console.print(f"EASEL_LOCAL_SPEED=auto would change nothing here: it needs {wanted.lacking}.")
    torch.manual_seed(1)
    stock = build(shape, device, torch.bfloat16)
    parameters = sum(parameter.numel() for parameter in stock.parameters())
    console.print(f"{parameters / 1e9:.3f}B parameters")
    versions = [Version("stock diffusers", predictor(stock))]
    transformers = {"stock diffusers": stock}
    for title, chosen in list(VERSIONS.items())[1:]:
        if chosen.compiled and not hardware.has_compiler:
            chosen = replace(chosen, compiled=False)
            title = title.replace(", compiled", "")
            if title in transformers:
                continue
        transformers[title] = twin(shape, stock)
        accelerate(transformers[title], chosen)
        versions.append(Version(title, predictor(transformers[title])))
    native = inputs(shape, shape.side, 1, device, torch.bfloat16)
    last = transformers[versions[-1].name]
    cached = Version(
        f"{versions[-1].name}, balanced mask",
        predictor(last),
        lambda: caching(last, forced_mask(options.steps), CURVES["dev"]),
    )
    versions.append(cached)
    skipped = share_skipped(last, cached, native, options.steps)
    console.print(f"balanced mask: {skipped:.0%} of the block computations are skipped, whatever they would give")
    if hardware.is_gpu:
        for title in ("grouped, compiled", "fp8, compiled"):
            if title in transformers:
                try:
                    predict = graphed(transformers[title], native)
                except RuntimeError as error:
                    console.print(f"{title}: no CUDA graph: {str(error).splitlines()[0][:200]}")
                    continue
                versions.append(Version(f"{title}, CUDA graph", predict))
        torch.cuda.reset_peak_memory_stats(device)
    pixels = shape.side * 8
    rows = compare(versions, f"{pixels}²", native, forward_flops(shape, shape.side, 1), rate, options)
    eager = [version for version in versions if "graph" not in version.name and version is not cached]
    half = shape.side // 2
    for batch in (1, 4):
        given = inputs(shape, half, batch, device, torch.bfloat16)
        task = f"{pixels // 2}², batch {batch}"
        rows += compare(eager, task, given, forward_flops(shape, half, batch), rate, options)
    skew(stock)  # the twins' routers are the same tensors
    rows += compare(eager, f"{pixels}², skewed", native, forward_flops(shape, shape.side, 1), rate, options)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if hardware.is_gpu else None
    report = {
        "device": name,
        "torch": torch.__version__,
        "small": small,
        "steps": options.steps,
        "share skipped by the balanced mask": skipped,
        "bf16 TFLOP/s": rate / 1e12,
        "GiB at the most, all versions together": memory,
        "rows": [asdict(row) for row in rows],
        "error against float32": errors(shape, device),
        "attention, ms": attention_backends(shape, device),
        "decoding, s": decoding(device, small),
    }
    for heading in ("error against float32", "attention, ms", "decoding, s"):
        found = report[heading]
        assert isinstance(found, dict)
        console.print(heading + ": " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
    console.print(_table(rows, options.steps))
    return report


def _table(rows: list[Row], steps: int) -> Table:
    table = Table(title=f"Denoising, {steps} steps", title_justify="left")
    for column in ("task", "version", "s", "least–most", "TFLOP/s", "of ceiling", "x stock", "first, s"):
        table.add_column(column, justify="left" if column in ("task", "version") else "right")
    for row in rows:
        table.add_row(
            row.task,
            row.version,
            f"{row.median:.3f}",
            f"{row.least:.3f}–{row.most:.3f}",
            f"{row.tflops:.2f}",
            f"{row.ceiling:.0%}",
            f"{row.stock:.2f}",
            f"{row.first:.1f}",
        )
    return table


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_speed", description=__doc__)
    parser.add_argument("--out", type=Path, help="where everything is kept as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=28, help="I1-Dev has 28")
    parser.add_argument("--small", action="store_true", help="the small configuration also on a GPU")
    options = parser.parse_args(arguments)
    report = run(options, Console(width=118))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
