"""What step caches save and what they cost: ``python -m benchmarks.step_cache``.

For each variant, each cache and a sweep of its threshold: the share of transformer blocks that was left out, the time
against the same picture without a cache (one after the other in this process), how far the picture is from that one
(PSNR, SSIM) and, with the bundled models, how many pictures still show what was asked for. ``--write`` puts tables and
plot into docs/step_caches.md. Other weights, on a GPU too: ``--model FOLDER --device cuda``; there nobody can tell by
program whether a prompt was followed, so that column is left out.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from scipy import ndimage  # type: ignore[import-untyped]

from backends.worker.engine.interface import Preview
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.protocol import JobBody
from backends.worker.training.captions import caption
from backends.worker.training.checker import check
from backends.worker.training.drawing import draw_scene
from backends.worker.training.edit_checker import check_edit
from backends.worker.training.edits import Edit
from backends.worker.training.judge import edits, scenes
from backends.worker.training.scenes import Scene, sample_single
from backends.worker.variants import BUNDLED, VARIANTS, LocalModel, local_models
from config.catalogue import WORKER, Catalogue
from config.parameters import Option, PresetParameter
from domain.accelerators import AcceleratorOptions
from domain.request import Kind

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE, PLOT = DOCS / "step_caches.md", DOCS / "pictures" / "step_caches.png"
START, END = "<!-- figures: python -m benchmarks.step_cache --write -->", "<!-- end of figures -->"
SEED: Final = 20
SAME: Final = 99.0
"""dB that stand for two equal pictures."""
PROMPTS: Final = (
    "a lighthouse on a cliff at dusk, oil painting",
    "portrait of an old fisherman, photograph, window light",
    "a red fox in fresh snow, close-up",
    "an isometric cutaway of a small library",
    "the words HELLO WORLD in neon above a bar",
    "a bowl of ramen, studio photograph",
    "watercolour of a market street in the rain",
    "a robot repairing a bicycle, pencil drawing",
)
INSTRUCTIONS: Final = ("make it night", "turn it into a watercolour", "add a red balloon", "remove the background")
SWEEPS: Final = {
    "fbCache": ("fbCacheThreshold", (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)),
    "dbCache": ("dbCacheThreshold", (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)),
    "teaCache": ("teaCacheDistance", (0.2, 0.25, 0.3, 0.45, 0.7, 1.0)),
}
WINDOWS: Final = (25, 40, 50, 60)
"""Percent of the steps, from the start, in which everything is skipped that may be: for samplers that re-noise."""
CATALOGUE_MODELS: Final = {
    "dev": "hidream-i1-dev",
    "fast": "hidream-i1-fast",
    "full": "hidream-i1-full",
    "e1": "hidream-e1-full",
    "e1.1": "hidream-e1.1",
}


@dataclass(frozen=True)
class Task:
    """One picture to make, and how to tell whether it shows what was asked for."""

    prompt: str
    seed: int
    source: Image.Image | None = None
    follows: Callable[[Image.Image], bool] | None = None


@dataclass(frozen=True)
class Setting:
    """A cache with its options."""

    group: str
    name: str
    options: AcceleratorOptions


@dataclass
class Line:
    """Measured with one setting, an entry a picture."""

    setting: Setting
    skipped: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    exact_seconds: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    followed: list[bool] = field(default_factory=list)

    def cells(self) -> list[str]:
        """A row of the table."""
        return [
            self.setting.name,
            f"{100 * np.mean(self.skipped):.0f} %",
            f"{np.median(np.divide(self.seconds, self.exact_seconds)):.2f}",
            f"{np.mean(self.psnr):.1f} / {min(self.psnr):.1f}",
            f"{np.mean(self.ssim):.3f} / {min(self.ssim):.3f}",
            f"{100 * np.mean(self.followed):.0f} %" if self.followed else "–",
        ]


@dataclass
class Report:
    """All that was measured with one variant."""

    variant: str
    pictures: int
    seconds: float
    """Of a picture without a cache, on average."""
    followed: float | None
    """Share of uncached pictures that show what was asked for."""
    lines: list[Line]


class Silent:
    """Follows a job and says nothing."""

    def step(self, step: int, steps: int) -> None: ...

    def preview(self, preview: Preview) -> None: ...


def settings(variant: str, catalogue: Catalogue) -> list[Setting]:
    """Every cache with every threshold, windows for samplers that re-noise, and the catalogue's presets."""
    found = []
    for cache, (option, thresholds) in SWEEPS.items():
        for threshold in thresholds:
            options = AcceleratorOptions.model_validate({cache: True, option: threshold})
            found.append(Setting(cache, f"{cache} {threshold:g}", options))
    if VARIANTS[variant].sampler.value == "FlowMatchLCMScheduler":
        for cache in ("teaCache", "fbCache"):
            for percent in WINDOWS:
                given = {cache: True, SWEEPS[cache][0]: 1.0, "cacheEndStepPercentage": percent}
                options = AcceleratorOptions.model_validate(given | {"cacheMaxConsecutiveSteps": 5})
                found.append(Setting(f"{cache}, early steps", f"{cache} 1, first {percent} %", options))
    offer = catalogue.offer(f"{WORKER}:{CATALOGUE_MODELS[variant]}")
    speed = offer.parameters.get(Option.SPEED) if offer is not None else None
    if isinstance(speed, PresetParameter):
        found += [Setting("preset", f"**{word}**", options) for word, options in speed.presets.items() if options.kinds]
    return found


def tasks(model: LocalModel, count: int) -> list[Task]:
    """What to paint or edit: scenes that a program can check for the bundled models, prose for all others."""
    if model.kind is Kind.IMAGINE:
        if model.name != BUNDLED:
            return [Task(PROMPTS[index % len(PROMPTS)], SEED + index) for index in range(count)]
        rng = np.random.default_rng(SEED)
        return [
            Task(caption(rng, scene, plain=True), SEED + index, follows=_shows(scene))
            for index, scene in enumerate(scenes(sample_single, True, count, SEED))
        ]
    if model.name != BUNDLED:
        pictures = [draw_scene(scene) for scene in scenes(sample_single, True, count, SEED)]
        return [
            Task(INSTRUCTIONS[index % len(INSTRUCTIONS)], SEED + index, picture.resize((1024, 1024)))
            for index, picture in enumerate(pictures)
        ]
    return [
        Task(edit.instruction, SEED + index, draw_scene(edit.source), _edited(edit))
        for index, edit in enumerate(edits(True, count, SEED))
    ]


def _shows(scene: Scene) -> Callable[[Image.Image], bool]:
    return lambda picture: check(scene, picture).all_right


def _edited(edit: Edit) -> Callable[[Image.Image], bool]:
    def follows(picture: Image.Image) -> bool:
        verdict = check_edit(edit, draw_scene(edit.source), picture)
        return verdict.changed and verdict.kept

    return follows


@contextmanager
def counting(transformer: Any) -> Iterator[list[int]]:
    """Counts the blocks that are computed, and the steps: [blocks, steps]."""
    counts = [0, 0]

    def count(index: int) -> Callable[..., None]:
        def add(*_: object) -> None:
            counts[index] += 1

        return add

    blocks = [*transformer.double_stream_blocks, *transformer.single_stream_blocks]
    hooks = [block.block.register_forward_hook(count(0)) for block in blocks]
    hooks.append(transformer.register_forward_hook(count(1)))
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def make(
    engine: TorchEngine, model: LocalModel, variant: str, task: Task, options: AcceleratorOptions | None
) -> tuple[Image.Image, float, float]:
    """A picture, its seconds, and the share of blocks that were left out."""
    transformer = engine.loaded_model(model.key).pipeline.transformer
    blocks = len(transformer.double_stream_blocks) + len(transformer.single_stream_blocks)
    job = JobBody(
        job_id="benchmark", model=model.key, variant=variant, prompt=task.prompt, seed=task.seed, accelerators=options
    )
    with counting(transformer) as counts:
        painted = engine.make(job, task.source, Silent())
    computed, steps = counts
    return painted.image, painted.seconds, 1 - computed / (steps * blocks)


def measure(
    engine: TorchEngine,
    model: LocalModel,
    variant: str,
    wanted: Sequence[Setting],
    count: int,
    advance: Callable[[], None],
) -> Report:
    """Each of ``count`` pictures without a cache and then with every setting, so that all share the machine's mood."""
    lines = [Line(setting) for setting in wanted]
    asked = tasks(model, count)
    make(engine, model, variant, asked[0], None)  # warms up
    seconds, followed = [], []
    for task in asked:
        exact, exact_seconds, _ = make(engine, model, variant, task, None)
        seconds.append(exact_seconds)
        if task.follows is not None:
            followed.append(task.follows(exact))
        for line in lines:
            picture, taken, skipped = make(engine, model, variant, task, line.setting.options)
            line.skipped.append(skipped)
            line.seconds.append(taken)
            line.exact_seconds.append(exact_seconds)
            line.psnr.append(psnr(exact, picture))
            line.ssim.append(ssim(exact, picture))
            if task.follows is not None:
                line.followed.append(task.follows(picture))
            advance()
    share = float(np.mean(followed)) if followed else None
    return Report(variant, count, float(np.mean(seconds)), share, lines)


def _pixels(picture: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB, at most ``SAME``."""
    error = float(((_pixels(one) - _pixels(other)) ** 2).mean())
    return SAME if error == 0 else min(SAME, 10 * float(np.log10(255**2 / error)))


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity (Wang et al. 2004: Gaussian window, sigma 1.5), the mean over pixels and channels."""

    def smooth(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        smoothed: npt.NDArray[np.float64] = ndimage.gaussian_filter(values, sigma=(1.5, 1.5, 0), truncate=3.5)
        return smoothed

    a, b = _pixels(one), _pixels(other)
    mean_a, mean_b = smooth(a), smooth(b)
    variance_a, variance_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return float((above / below).mean())


def table(report: Report) -> str:
    """A variant's figures as Markdown."""
    variant = VARIANTS[report.variant]
    followed = "" if report.followed is None else f", {100 * report.followed:.0f} % show what was asked for"
    return "\n".join(
        [
            f"### {report.variant}",
            "",
            f"{variant.steps} steps, {variant.sampler.value}; {report.pictures} pictures, without a cache "
            f"{report.seconds:.2f} s each{followed}.",
            "",
            "| setting | blocks left out | time | PSNR, mean / worst (dB) | SSIM, mean / worst | as asked |",
            "|---|---|---|---|---|---|",
            *("| " + " | ".join(line.cells()) + " |" for line in report.lines),
        ]
    )


STYLES: Final[Mapping[str, dict[str, Any]]] = {
    "fbCache": {"color": "C0", "marker": "o"},
    "dbCache": {"color": "C1", "marker": "s"},
    "teaCache": {"color": "C2", "marker": "^"},
    "fbCache, early steps": {"color": "C0", "marker": "o", "linestyle": "--"},
    "teaCache, early steps": {"color": "C2", "marker": "^", "linestyle": "--"},
    "preset": {"color": "black", "marker": "*", "linestyle": "", "markersize": 13, "zorder": 3},
}


def plot(reports: Sequence[Report]) -> bytes:
    """Worst PSNR over the share of blocks left out, a panel a variant, as PNG."""
    figure = Figure(figsize=(4.2 * len(reports) + 1.8, 4.0), layout="constrained")
    panels = figure.subplots(1, len(reports), squeeze=False, sharex=True, sharey=True)[0]
    shown: dict[str, Any] = {}
    for panel, report in zip(panels, reports, strict=True):
        for group, style in STYLES.items():
            lines = [line for line in report.lines if line.setting.group == group]
            points = sorted((100 * float(np.mean(line.skipped)), min(line.psnr)) for line in lines)
            if points:
                (shown[group],) = panel.plot(*zip(*points, strict=True), **({"markersize": 4} | style))
        for line in report.lines:
            if line.setting.group == "preset":
                at = (100 * float(np.mean(line.skipped)), min(line.psnr))
                panel.annotate(line.setting.name.strip("*"), at, textcoords="offset points", xytext=(7, 5))
        panel.set_title(f"{report.variant}, {VARIANTS[report.variant].steps} steps, {report.pictures} pictures")
        panel.set_xlabel("blocks left out (%)")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("worst picture: PSNR against exact (dB)")
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
    return file.getvalue()


def write(reports: Sequence[Report], where: str, page: Path = PAGE, picture: Path = PLOT) -> None:
    """Replace the page's figures, between its two marks, and the plot."""
    before, _, rest = page.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    figures = "\n\n".join([f"Measured on {where}.", *map(table, reports)])
    page.write_text(f"{before}{START}\n\n{figures}\n\n{END}{after}", "utf-8")
    picture.write_bytes(plot(reports))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_cache", description=__doc__)
    parser.add_argument("--model", default=BUNDLED, help="folder or hub id of an I1 model, or `none`")
    parser.add_argument("--edit-model", default=None, help="the same of an E1 model; bundled where --model is")
    parser.add_argument("--llama", default="meta-llama/Llama-3.1-8B-Instruct", help="where text_encoder_4 comes from")
    parser.add_argument("--device", default=None, help="torch's name of one; the first GPU, or else the CPU")
    parser.add_argument(
        "--variants", default=None, help="dev,fast,full,e1,e1.1; the default is what the models are for"
    )
    parser.add_argument("--pictures", type=int, default=24, help="pictures a variant")
    parser.add_argument("--write", action="store_true", help=f"put tables and plot into docs/{PAGE.name}")
    given = parser.parse_args(arguments)
    edit_model = given.edit_model or (BUNDLED if given.model == BUNDLED else None)
    models = local_models(None if given.model == "none" else given.model, edit_model)
    engine = TorchEngine(models, given.llama, given.device)
    engine.load()
    for problem in engine.problems.values():
        raise SystemExit(str(problem))
    default = "dev,fast,full,e1" if given.model == BUNDLED else ",".join(model.variant.name for model in models)
    catalogue = Catalogue.load()
    runs = [
        (_model_for(models, name), name, settings(name, catalogue)) for name in (given.variants or default).split(",")
    ]
    reports = []
    with Progress(console=Console(stderr=True)) as progress:
        for model, variant, wanted in runs:
            bar = progress.add_task(variant, total=given.pictures * len(wanted))
            reports.append(measure(engine, model, variant, wanted, given.pictures, partial(progress.advance, bar)))
            print(table(reports[-1]), end="\n\n", flush=True)
    if given.write:
        write(reports, f"{', '.join(model.shown_name for model in models)} on the {engine.device}")


def _model_for(models: Sequence[LocalModel], variant: str) -> LocalModel:
    for model in models:
        if model.variant_named(variant) is not None:
            return model
    raise SystemExit(f"no model for the variant {variant!r}")


if __name__ == "__main__":
    main()
