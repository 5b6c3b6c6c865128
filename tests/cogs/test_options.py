"""Options are made from the catalogue and checked again when they come back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs import command_options, options
from config.catalogue import Catalogue
from config.parameters import Option
from domain.errors import Code, UserError
from domain.request import Kind, Lora, Size

CATALOGUE = Catalogue.load()


def names(kind: Kind, catalogue: Catalogue) -> list[str]:
    return [option.name for option in options.options_for(kind, catalogue)]


def test_an_option_that_no_offer_takes_is_not_there() -> None:
    tiny = CATALOGUE.restricted_to(["worker"], ["tiny"])
    assert "scheduler" not in names(Kind.IMAGINE, tiny)
    assert "lora" in names(Kind.IMAGINE, tiny)
    assert "lora" not in names(Kind.IMAGINE, tiny.without("worker", Option.LORA))
    assert {"prompt", "steps", "guidance", "size", "seed"} <= set(names(Kind.IMAGINE, tiny))
    assert names(Kind.EDIT, tiny) == []


def test_required_options_come_first_as_discord_wants_it() -> None:
    for kind in Kind:
        required = [option.required for option in options.options_for(kind, CATALOGUE)]
        assert required == sorted(required, reverse=True)


def test_no_command_is_larger_than_discord_allows() -> None:
    for kind in Kind:
        found = options.options_for(kind, CATALOGUE)
        assert len(found) <= 25
        for option in found:
            assert 1 <= len(option.description) <= 100
            assert len(option.choices) <= 25


def test_ranges_are_those_of_the_widest_offer() -> None:
    steps = next(option for option in options.options_for(Kind.IMAGINE, CATALOGUE) if option.name == "steps")
    assert steps.read(1) == 1
    with pytest.raises(UserError) as refused:
        steps.read(10**6)
    assert refused.value.code is Code.OPTION_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("read", "value", "result"),
    [
        (command_options.read_text("prompt", 10), "  a boat ", "a boat"),
        (command_options.read_text("prompt", 2), "\ud800x", "?x"),
        (command_options.read_integer("seed", 0, 9), 7.0, 7),
        (command_options.read_integer("seed", 0, 9), "7", 7),
        (command_options.read_number("guidance", 0, 20), 3, 3.0),
        (options.read_size, " 512 x 768", Size(512, 768)),
        (options.read_size, "512×768", Size(512, 768)),
        (options.read_loras, "a=0.5, b", (Lora(model="a", weight=0.5), Lora(model="b"))),
    ],
)
def test_what_is_read(read: command_options.Read, value: object, result: object) -> None:
    assert read(value) == result


READERS: dict[str, command_options.Read] = {
    "prompt": command_options.read_text("prompt", 2000),
    "seed": command_options.read_integer("seed", 0, 2**31 - 1),
    "guidance": command_options.read_number("guidance", 0, 20),
    "format": command_options.read_choice("format", ("png", "jpeg")),
    "spoiler": command_options.read_flag("spoiler"),
    "size": options.read_size,
    "lora": options.read_loras,
    "image": options.read_attachment,
}

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(alphabet=st.characters(exclude_categories=())),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
)


@given(st.sampled_from(sorted(READERS)), ANYTHING)
def test_a_hostile_value_is_read_or_refused_by_name(name: str, value: Any) -> None:
    refusal = refusal_of(READERS[name], value)
    assert refusal is None or refusal.code is Code.PROMPT_EMPTY or name in str(refusal.parameters["option"])


def refusal_of(read: command_options.Read, value: object) -> UserError | None:
    try:
        read(value)
    except UserError as refusal:
        return refusal
    return None
