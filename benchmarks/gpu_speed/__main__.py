"""``python -m benchmarks.gpu_speed``."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import benchmarks.gpu_speed
from backends.worker.acceleration.accelerate import Hardware, attention_shape, means
from backends.worker.acceleration.attention_kernels import candidates, fastest, seconds_on
from benchmarks.gpu_speed.accuracy import errors
from benchmarks.gpu_speed.model import FULL, SMALL, Shape, build, forward_flops, inputs, skew
from benchmarks.gpu_speed.parts import attention_kernels, decoding
from benchmarks.gpu_speed.timing import Deadline, Effort, Row, Task, ceiling, compare, share_skipped
from benchmarks.gpu_speed.versions import versions_on
from config.settings import LocalSpeed

SHOWN = ("task", "version", "s", "of ceiling", "x stock")
"""In the short table; the long one has these in between."""
ALL = ("task", "version", "s", "least–most", "TFLOP/s", "of ceiling", "x stock", "first, s")


def run(options: Any, console: Console) -> dict[str, Any]:
    """Everything, printed and returned."""
    deadline = Deadline(options.seconds)
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
    # What takes little time comes first: it is there whenever the deadline comes.
    report: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "small": small,
        "steps": options.steps,
        "bf16 TFLOP/s": rate / 1e12,
        "error against float32": errors(shape, device),
        "attention, ms": attention_kernels(shape, device),
        "decoding, s": decoding(device, small),
    }
    for heading in ("error against float32", "attention, ms", "decoding, s"):
        console.print(heading + ": " + ", ".join(f"{key} {value:.4g}" for key, value in report[heading].items()))
    torch.manual_seed(1)
    stock = build(shape, device, torch.bfloat16)
    parameters = sum(parameter.numel() for parameter in stock.parameters())
    console.print(f"{parameters / 1e9:.3f}B parameters")
    kernel = fastest(attention_shape(stock), device, torch.bfloat16, candidates(), seconds_on)
    report["attention by"] = kernel.name if kernel is not None else None
    versions = versions_on(hardware, shape, stock, kernel, options.steps)
    effort = Effort(options.rounds, options.steps, rate, deadline)
    own = _task(shape, shape.side, 1, device)
    rows = compare(versions.all, own, effort)
    skipped = share_skipped(versions.cached_transformer, versions.cached, own.given, options.steps)
    console.print(f"balanced mask: {skipped:.0%} of the block computations are skipped, whatever they would give")
    everywhere = [version for version in versions.all if version.everywhere]
    for batch in (1, 4):
        rows += compare(everywhere, _task(shape, shape.side // 2, batch, device), effort)
    skew(stock)  # the twins' routers are the same tensors
    rows += compare(everywhere, Task(f"{own.name}, skewed", own.given, own.flops), effort)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if hardware.is_gpu else None
    return report | {
        "share skipped by the balanced mask": skipped,
        "GiB at the most, all versions together": memory,
        "rows": [asdict(row) for row in rows],
    }


def _task(shape: Shape, side: int, batch: int, device: torch.device) -> Task:
    name = f"{side * 8}²" if side == shape.side else f"{side * 8}², batch {batch}"
    given = inputs(shape, side, batch, device, torch.bfloat16)
    return Task(name, given, forward_flops(shape, side, batch))


def table(rows: list[Row], steps: int, columns: tuple[str, ...]) -> Table:
    """The rows, with these of their columns."""
    made = Table(title=f"Denoising, {steps} steps", title_justify="left")
    for column in columns:
        made.add_column(column, justify="left" if column in ("task", "version") else "right")
    for row in rows:
        cells = {
            "task": row.task,
            "version": row.version,
            "s": f"{row.median:.3f}",
            "least–most": f"{row.least:.3f}–{row.most:.3f}",
            "TFLOP/s": f"{row.tflops:.2f}",
            "of ceiling": f"{row.ceiling:.0%}",
            "x stock": f"{row.stock:.2f}",
            "first, s": f"{row.first:.1f}",
        }
        made.add_row(*(cells[column] for column in columns))
    return made


def main(arguments: list[str]) -> None:
    """Run it, write everything to a file, and print the short table last."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_speed",
        description=benchmarks.gpu_speed.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("build/gpu_speed.json"), help="where everything is kept")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=28, help="I1-Dev has 28")
    parser.add_argument("--seconds", type=float, default=360, help="after so many nothing new is begun")
    parser.add_argument("--small", action="store_true", help="the small configuration also on a GPU")
    options = parser.parse_args(arguments)
    console = Console(width=100)
    report = run(options, console)
    rows = [Row(**row) for row in report["rows"]]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    long_table = options.out.with_suffix(".txt")
    with long_table.open("w", encoding="utf-8") as file:
        Console(width=140, file=file).print(table(rows, options.steps, ALL))
    console.print(f"everything: {options.out}, {long_table}")
    console.print(table(rows, options.steps, SHOWN))


if __name__ == "__main__":
    main(sys.argv[1:])
