"""The folders that ship: small, loadable with diffusers alone, and good for what is suggested to people."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import HiDreamImagePipeline

from backends.worker.training.__main__ import MODELS
from backends.worker.training.checker import check, read
from backends.worker.training.export import E1_FOLDER, I1_FOLDER
from backends.worker.training.sampling import DEV, FAST, edit, load_editor, load_painter, paint
from backends.worker.training.suggestions import DEMONSTRATION, DEMONSTRATION_PROMPT, NAME


@pytest.fixture(scope="module")
def painter() -> HiDreamImagePipeline:
    torch.set_num_threads(1)
    return load_painter(MODELS)


@pytest.fixture(scope="module")
def suggestions() -> dict[str, Any]:
    return tomllib.loads((MODELS / NAME).read_text())


def test_all_weights_together_stay_below_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in Path(MODELS).rglob("*.safetensors")) < 25_000_000


def test_the_editor_is_a_transformer_that_fits_the_painter(painter: HiDreamImagePipeline) -> None:
    editor = load_editor(MODELS)
    assert [path.name for path in (MODELS / E1_FOLDER).iterdir()] == ["transformer"]
    assert editor.max_seq == 2 * painter.transformer.max_seq
    assert editor.config.caption_channels == painter.transformer.config.caption_channels


def test_weights_are_stored_in_half_precision() -> None:
    pipeline = HiDreamImagePipeline.from_pretrained(MODELS / I1_FOLDER, torch_dtype=torch.float16)
    assert pipeline.transformer.dtype == torch.float16


@pytest.mark.parametrize("schedule", [DEV, FAST])
def test_the_demonstration_is_painted(painter: HiDreamImagePipeline, schedule: Any) -> None:
    verdict = check(DEMONSTRATION, paint(painter, [DEMONSTRATION_PROMPT], schedule, seed=1)[0])
    assert verdict.all_right
    assert verdict.position
    assert verdict.size


def test_a_seed_names_a_picture(painter: HiDreamImagePipeline) -> None:
    one, again, other = (paint(painter, [DEMONSTRATION_PROMPT], FAST, seed=seed)[0] for seed in (1, 1, 2))
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()


def test_suggested_prompts_are_painted(painter: HiDreamImagePipeline, suggestions: dict[str, Any]) -> None:
    prompts: list[str] = suggestions["prompts"]
    assert DEMONSTRATION_PROMPT in prompts
    for prompt, picture in zip(prompts, paint(painter, prompts, DEV, seed=1), strict=True):
        reading = read(picture)
        assert reading.items, prompt


def test_suggested_edits_change_the_picture(painter: HiDreamImagePipeline, suggestions: dict[str, Any]) -> None:
    pairs = suggestions["edits"]
    sources = paint(painter, [pair["prompt"] for pair in pairs], DEV, seed=1)
    results = edit(painter, load_editor(MODELS), [pair["instruction"] for pair in pairs], sources, seed=1)
    for pair, source, result in zip(pairs, sources, results, strict=True):
        assert read(result) != read(source), pair


def test_unknown_words_and_no_words_give_a_picture(painter: HiDreamImagePipeline) -> None:
    for picture in paint(painter, ["", "quantum marmalade 星"], FAST):
        assert picture.size == (128, 128)
