"""How a picture came from another is told by what differs."""

import pytest

from domain.request import InputPicture, Kind, Variation
from jobs.family import Kinship, kinship
from tests.cogs.jobs import made

PICTURE = InputPicture(name="input.png", width=64, height=64)
OTHER = InputPicture(name="other.png", width=64, height=64)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": Kind.EDIT, "source": PICTURE, "prompt": "make it blue"}, Kinship.EDITED),
        ({"model": "another"}, Kinship.REDONE),
        ({"prompt": "a blue circle", "seed": 7}, Kinship.REWORDED),
        ({"seed": 7}, Kinship.REPEATED),
        ({"seed": 9}, Kinship.VARIED),
        ({"seed": 7, "variations": (Variation(seed=99, strength=0.2),)}, Kinship.VARIED),
        ({"seed": 1234}, Kinship.REROLLED),
    ],
)
def test_kinship(changes: dict[str, object], expected: Kinship) -> None:
    parent = made(seed=7, count=2)
    child = made(**({"seed": 5, "count": 2} | changes))  # type: ignore[arg-type]
    assert kinship(parent, child) is expected


def test_a_variation_once_more_and_varied_again() -> None:
    variation, another = Variation(seed=99, strength=0.2), Variation(seed=98, strength=0.5)
    parent = made(variations=(variation,))
    assert kinship(parent, made(variations=(variation,))) is Kinship.REPEATED
    assert kinship(parent, made(variations=(variation, another))) is Kinship.VARIED
    assert kinship(parent, made(seed=8)) is Kinship.VARIED
    assert kinship(parent, made(seed=1234)) is Kinship.REROLLED


def test_an_edit_of_an_edit_and_the_same_edit_again() -> None:
    parent = made(kind=Kind.EDIT, source=PICTURE)
    assert kinship(parent, made(kind=Kind.EDIT, source=OTHER)) is Kinship.EDITED
    assert kinship(parent, made(kind=Kind.EDIT, source=PICTURE, seed=99)) is Kinship.REROLLED


def test_the_seeds_that_follow_begin_again_after_the_last() -> None:
    parent = made(seed=2**31 - 2, count=2)
    assert kinship(parent, made(seed=0, count=2)) is Kinship.VARIED
