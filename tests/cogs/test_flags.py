"""Flags in a prompt, read as the options that they stand for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.flags import with_flags
from cogs.options import options_for
from config.catalogue import Catalogue
from config.sizes import Ratio
from domain.errors import Code, UserError
from domain.request import Kind, Lora, PictureFormat, Size

OPTIONS = options_for(Kind.IMAGINE, Catalogue.load())


def read(prompt: str, **options: Any) -> dict[str, object]:
    return with_flags({"prompt": prompt, **options}, OPTIONS)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a boat", {"prompt": "a boat"}),
        ("a boat --ar 16:9 --seed 7", {"prompt": "a boat", "size": Ratio(16, 9), "seed": 7}),
        ("a boat --no people, cars --count 2", {"prompt": "a boat", "negative_prompt": "people, cars", "count": 2}),
        ("a boat --size 512x768", {"prompt": "a boat", "size": Size(512, 768)}),
        ("a boat --steps 20 --cfg 4.5", {"prompt": "a boat", "steps": 20, "guidance": 4.5}),
        ("a boat --model HiDream-I1-Dev", {"prompt": "a boat", "model": "HiDream-I1-Dev"}),
        ("a boat --spoiler --format webp", {"prompt": "a boat", "spoiler": True, "format": PictureFormat.WEBP}),
        ("a boat --lora a=0.5", {"prompt": "a boat", "loras": (Lora(model="a", weight=0.5),)}),
        ("a boat --AR square", {"prompt": "a boat", "size": Ratio(1, 1)}),
        # A phone's dash, and a writer's.
        ("a boat —seed 7", {"prompt": "a boat", "seed": 7}),
        ("a boat —quiet— at night -- alone", {"prompt": "a boat —quiet— at night -- alone"}),
        ("state-of-the-art, well--made", {"prompt": "state-of-the-art, well--made"}),
    ],
)
def test_what_is_read(prompt: str, expected: dict[str, object]) -> None:
    assert read(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "options", "code"),
    [
        ("a boat --stylize 100", {}, Code.FLAG_UNKNOWN),
        ("a boat --prompt x", {}, Code.FLAG_UNKNOWN),
        ("a boat --seed", {}, Code.FLAG_EMPTY),
        ("a boat --seed --ar 1:1", {}, Code.FLAG_EMPTY),
        ("a boat --seed seven", {}, Code.OPTION_MALFORMED),
        ("a boat --seed 99999999999", {}, Code.OPTION_OUT_OF_RANGE),
        ("a boat --count 5", {}, Code.OPTION_OUT_OF_RANGE),
        ("a boat --ar 0:1", {}, Code.OPTION_MALFORMED),
        ("a boat --spoiler maybe", {}, Code.OPTION_MALFORMED),
        ("a boat --seed 7", {"seed": 8}, Code.FLAG_CONTRADICTS),
        ("a boat --seed 7 --seed 8", {}, Code.FLAG_CONTRADICTS),
        ("a boat --ar 1:1 --size 512x512", {}, Code.FLAG_CONTRADICTS),
        ("--seed 7", {}, Code.PROMPT_EMPTY),
    ],
)
def test_what_is_refused(prompt: str, options: dict[str, Any], code: Code) -> None:
    with pytest.raises(UserError) as refused:
        read(prompt, **options)
    assert refused.value.code is code


def test_saying_the_same_twice_is_no_contradiction() -> None:
    assert read("a boat --seed 7", seed=7) == {"prompt": "a boat", "seed": 7}


def test_a_flag_of_an_option_that_is_not_registered_is_unknown() -> None:
    edit = options_for(Kind.EDIT, Catalogue.load())
    with pytest.raises(UserError) as refused:
        with_flags({"prompt": "make it blue --ar 1:1"}, edit)
    assert refused.value.code is Code.FLAG_UNKNOWN
    assert "--seed" in str(refused.value.parameters["known"])
    assert "--image" not in str(refused.value.parameters["known"])


@given(st.text(alphabet=st.sampled_from("a -—7:.é\nnosedar"), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except UserError:
        return
    assert isinstance(found["prompt"], str)
