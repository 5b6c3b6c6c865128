"""The data: a seed names it, held-out combinations stay out of it, and the checker reads all of it."""

import numpy as np
import pytest

from backends.worker.training.captions import caption
from backends.worker.training.checker import check, read
from backends.worker.training.drawing import draw_scene
from backends.worker.training.edit_checker import check_edit
from backends.worker.training.edits import is_held_out_edit, sample_any_edit, sample_edit
from backends.worker.training.latents import draw_captioned, draw_edit
from backends.worker.training.scenes import (
    COLOURS,
    HELD_OUT_PAIRS,
    SHAPES,
    is_held_out,
    is_held_out_triple,
    sample_group,
    sample_pair,
    sample_scene,
    sample_single,
)


def test_a_seed_and_a_number_name_a_picture() -> None:
    first, again, other = draw_captioned(1, 7), draw_captioned(1, 7), draw_captioned(2, 7)
    assert first.subject == again.subject
    assert (first.pictures[0] == again.pictures[0]).all()
    assert first.subject != other.subject


def test_a_seed_and_a_number_name_an_edit() -> None:
    first, again = draw_edit(1, 7), draw_edit(1, 7)
    assert first.subject == again.subject
    assert all((one == two).all() for one, two in zip(first.pictures, again.pictures, strict=True))


def test_captions_depend_on_their_generator_alone() -> None:
    scene = sample_scene(np.random.default_rng(3))
    assert caption(np.random.default_rng(4), scene) == caption(np.random.default_rng(4), scene)


def test_training_never_samples_what_is_held_out() -> None:
    rng = np.random.default_rng(5)
    assert not any(is_held_out(sample_scene(rng)) for _ in range(3000))
    assert not any(is_held_out_edit(sample_edit(rng)) for _ in range(1500))


def test_one_pair_of_every_shape_and_a_tenth_of_the_triples_are_held_out() -> None:
    assert {shape for shape, _ in HELD_OUT_PAIRS} == set(SHAPES)
    triples = [is_held_out_triple(s, c, b) for s in SHAPES for c in COLOURS for b in COLOURS if b != c]
    assert 0.07 < sum(triples) / len(triples) < 0.12


def test_the_demonstration_is_not_held_out() -> None:
    assert not is_held_out_triple("star", "red", "blue")
    assert not is_held_out_triple("star", "green", "blue")
    assert {("star", "red"), ("star", "green")}.isdisjoint(HELD_OUT_PAIRS)


@pytest.mark.parametrize("sampler", [sample_single, sample_pair, sample_group])
def test_the_checker_reads_true_pictures(sampler: type) -> None:
    rng = np.random.default_rng(6)
    verdicts = []
    for _ in range(100):
        scene = sampler(rng)
        verdict = check(scene, draw_scene(scene))
        verdicts.append(verdict.all_right and verdict.position is not False and verdict.size is not False)
    assert sum(verdicts) >= 98


def test_the_checker_sees_a_wrong_picture() -> None:
    rng = np.random.default_rng(7)
    scenes = [sample_single(rng) for _ in range(60)]
    crossed = [
        check(asked, draw_scene(shown)).all_right
        for asked, shown in zip(scenes, scenes[1:] + scenes[:1], strict=True)
        if (asked.background, asked.items[0].shape, asked.items[0].colour)
        != (shown.background, shown.items[0].shape, shown.items[0].colour)
    ]
    assert not any(crossed)


def test_the_edit_checker_accepts_true_edits_and_refuses_untouched_pictures() -> None:
    rng = np.random.default_rng(8)
    accepted, untouched = [], []
    for _ in range(100):
        edit = sample_any_edit(rng)
        source, target = draw_scene(edit.source), draw_scene(edit.target)
        verdict = check_edit(edit, source, target)
        accepted.append(verdict.changed and verdict.kept)
        untouched.append(check_edit(edit, source, source).changed)
    assert sum(accepted) >= 98
    assert not any(untouched)


def test_an_edit_changes_only_what_it_names() -> None:
    rng = np.random.default_rng(9)
    for _ in range(200):
        edit = sample_edit(rng)
        kept = set(edit.source.items) & set(edit.target.items)
        assert len(kept) >= len(edit.source.items) - 1


def test_an_empty_picture_has_no_items() -> None:
    rng = np.random.default_rng(10)
    edit = next(edit for edit in iter(lambda: sample_any_edit(rng), None) if not edit.target.items)
    assert read(draw_scene(edit.target)).items == ()
