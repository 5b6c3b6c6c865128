"""What E1 is told about the picture to come, when the person gave an instruction alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.worker.descriptions import describe_target
from backends.worker.training.description_judge import check_description, judge, share, words_of
from backends.worker.training.edits import Edit, EditKind
from backends.worker.training.scenes import Item, Layout, Place, Scene, Size

RIGHT = 0.95
"""Least share of right descriptions on the edit data."""


@pytest.mark.parametrize(
    ("instruction", "description"),
    [
        ("Make the red car blue.", "The car is blue."),
        ("could you turn the sky dark red, please?", "The sky is dark red."),
        ("change the color of the shirt to green", "The shirt is green."),
        ("change the background to a beach at sunset", "The background is a beach at sunset."),
        ("use a yellow background", "The background is yellow."),
        ("replace the dog with a cat", "There is a cat."),
        ("turn the red car into a truck", "There is a truck."),
        ("convert the image into a Ghibli style", "The picture is in a Ghibli style."),
        ("turn it into night", "The picture is now night."),
        ("make it look like winter", "The picture looks like winter."),
        ("add sunglasses to the woman", "The woman has sunglasses."),
        ("give the man a beard", "The man has a beard."),
        ("give her red hair", "She has red hair."),
        ("add a boat on the lake", "There is a boat on the lake."),
        ("move the star to the left", "The star is on the left."),
        ("put the cat in the top right corner", "The cat is in the top right corner."),
        ("move the tree to the top of the hill", "The tree is at the top of the hill."),
        ("make her hair much longer", "Her hair is much longer."),
        ("make the man smile", "We see the man smile."),
        ("make the dog wear a hat", "We see the dog wear a hat."),
        ("make the picture black and white", "We see the picture black and white."),
    ],
)
def test_it_says_what_the_instruction_makes_true(instruction: str, description: str) -> None:
    assert describe_target(instruction) == f"{description} Everything else looks as before."


def test_what_is_removed_is_not_named() -> None:
    assert "person" not in describe_target("remove the person from the photo")


@pytest.mark.parametrize("instruction", ["zoom in", "mach das Auto blau", "赤くして", "?!"])
def test_what_no_rule_knows_is_told_as_an_outcome(instruction: str) -> None:
    description = describe_target(instruction)
    assert instruction.strip("?!") in description
    assert words_of(description) != words_of(instruction)


@given(st.text(max_size=2000))
def test_it_is_never_empty_nor_the_instruction_itself(instruction: str) -> None:
    description = describe_target(instruction)
    assert description.strip()
    assert description.casefold() != instruction.casefold()


def test_on_the_edit_data_it_is_right() -> None:
    """Its score by the program, against the scenes that the instructions lead to."""
    for kind, verdicts in judge(describe_target, count=400).items():
        assert share(one.right for one in verdicts) >= RIGHT, kind


def test_the_program_sees_what_is_wrong_with_a_copied_instruction() -> None:
    copied = judge(str, count=400)
    assert share(one.right for verdicts in copied.values() for one in verdicts) == 0
    assert share(one.true for one in copied[EditKind.SHAPE]) < 0.1
    assert share(one.states for one in copied[EditKind.REMOVE]) == 0


@pytest.mark.parametrize(
    ("description", "own", "states", "true"),
    [
        ("the circle is blue", True, True, True),
        ("the dot is blue", True, True, True),
        ("make the red circle blue", False, True, False),
        ("the red circle is blue", True, True, False),
        ("the circle is green", True, False, False),
        ("something is blue", True, False, True),
        ("", False, False, True),
    ],
)
def test_the_program_reads_descriptions(description: str, own: bool, states: bool, true: bool) -> None:
    before = Item("circle", "red", Size.MEDIUM, Place.CENTER, 64, 64, 20)
    after = Item("circle", "blue", Size.MEDIUM, Place.CENTER, 64, 64, 20)
    edit = Edit(
        EditKind.RECOLOUR,
        "make the red circle blue",
        Scene("white", (before,), Layout.SINGLE),
        Scene("white", (after,), Layout.SINGLE),
        0,
    )
    verdict = check_description(edit, edit.instruction, description)
    assert (verdict.own, verdict.states, verdict.true) == (own, states, true)
