"""How a picture came from another is told by what differs."""

import pytest

from domain.request import InputPicture, Kind
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
        ({"seed": 1234}, Kinship.REROLLED),
    ],
)
def test_kinship(changes: dict[str, object], expected: Kinship) -> None:
    parent = made(seed=7, count=2)
    child = made(**({"seed": 5, "count": 2} | changes))  # type: ignore[arg-type]
    assert kinship(parent, child) is expected


def test_an_edit_of_an_edit_and_the_same_edit_again() -> None:
    parent = made(kind=Kind.EDIT, source=PICTURE)
    assert kinship(parent, made(kind=Kind.EDIT, source=OTHER)) is Kinship.EDITED
    assert kinship(parent, made(kind=Kind.EDIT, source=PICTURE, seed=99)) is Kinship.REROLLED


def test_the_seeds_that_follow_begin_again_after_the_last() -> None:
    parent = made(seed=2**31 - 2, count=2)
    assert kinship(parent, made(seed=0, count=2)) is Kinship.VARIED
