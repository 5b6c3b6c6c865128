"""The benchmark of the step caches: what it counts is true, and what it writes is a page."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.variants import VARIANTS, LocalModel, local_models
from benchmarks import step_cache
from benchmarks.step_cache import (
    SAME,
    Line,
    Report,
    Setting,
    make,
    measure,
    plot,
    psnr,
    settings,
    ssim,
    table,
    tasks,
    write,
)
from config.catalogue import Catalogue
from domain.accelerators import AcceleratorOptions

TINY, TINY_EDIT = local_models("tiny", "tiny")


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    engine = TorchEngine([TINY, TINY_EDIT], llama="unused")
    engine.load()
    return engine


def setting(**options: object) -> Setting:
    return Setting("teaCache", "a setting", AcceleratorOptions.model_validate(options))


def test_equal_pictures_are_as_close_as_can_be() -> None:
    picture = Image.effect_noise((64, 48), 60).convert("RGB")
    assert psnr(picture, picture) == SAME
    assert ssim(picture, picture) == pytest.approx(1)
    blurred, more = (picture.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 3))
    assert 10 < psnr(picture, more) < psnr(picture, blurred) < 40
    assert ssim(picture, more) < ssim(picture, blurred) < 0.9


def test_psnr_is_in_decibels() -> None:
    black, grey = (Image.new("RGB", (8, 8), colour) for colour in ("black", (255, 0, 0)))
    assert psnr(black, grey) == pytest.approx(4.77, abs=0.01)  # a third of the values is off by all there is


def test_every_setting_is_one_that_the_worker_takes() -> None:
    for variant in VARIANTS:
        found = settings(variant, Catalogue.load())
        assert {line.group for line in found} >= {"fbCache", "teaCache", "dbCache", "preset"}
        assert all(line.options.problem_for_worker() is None for line in found)


def test_blocks_are_counted_and_pictures_checked(engine: TorchEngine) -> None:
    none = setting(teaCache=True, teaCacheDistance=0.0)
    half = setting(teaCache=True, teaCacheDistance=1.0, cacheMaxConsecutiveSteps=1)
    done: list[int] = []
    report = measure(engine, TINY, "fast", [none, half], 2, lambda: done.append(1))
    assert len(done) == 4
    unchanged, halved = report.lines
    assert unchanged.skipped == [0, 0]
    assert unchanged.psnr == [SAME, SAME]
    assert halved.skipped == [0.5, 0.5]
    assert max(halved.psnr) < SAME
    assert report.followed == sum(unchanged.followed) / 2


def test_an_edit_has_a_source_and_a_judge(engine: TorchEngine) -> None:
    (task,) = tasks(TINY_EDIT, 1)
    assert task.source is not None
    assert task.follows is not None
    assert not task.follows(Image.new("RGB", (128, 128), "black"))
    picture, seconds, skipped = make(engine, TINY_EDIT, "e1", task, setting(fbCache=True).options)
    assert picture.size == (128, 128)
    assert seconds > 0
    assert 0 <= skipped < 1


def test_other_weights_have_no_judge() -> None:
    for key, variant in (("hidream-i1-full", "full"), ("hidream-e1.1", "e1.1")):
        assert all(task.follows is None for task in tasks(LocalModel(key, VARIANTS[variant], "/models/x"), 3))


def report_of(variant: str, followed: bool) -> Report:
    line = Line(setting(teaCache=True), [0.5, 0.5], [1.0, 1.0], [2.0, 2.0], [30.0, 20.0], [0.9, 0.8])
    preset = Line(
        Setting("preset", "**fast**", AcceleratorOptions.model_validate({"teaCache": True})), [0.4], [1], [2], [35], [1]
    )
    if followed:
        line.followed = [True, False]
    return Report(variant, 2, 2.0, 0.5 if followed else None, [line, preset])


def test_a_table_tells_means_and_the_worst() -> None:
    text = table(report_of("dev", followed=True))
    assert "| a setting | 50 % | 0.50 | 25.0 / 20.0 | 0.850 / 0.800 | 50 % |" in text
    assert "50 % show what was asked for" in text
    assert "| – |" in table(report_of("dev", followed=False))


def test_the_page_keeps_its_prose(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.md", tmp_path / "plot.png"
    page.write_text(f"before\n{step_cache.START}\nold\n{step_cache.END}\nafter\n")
    write([report_of("dev", followed=True), report_of("full", followed=False)], "a machine", page, picture)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "### full" in text
    assert "Measured on a machine." in text
    with Image.open(io.BytesIO(plot([report_of("dev", followed=True)]))) as image:
        assert image.format == "PNG"
    assert Image.open(picture).width > 600
