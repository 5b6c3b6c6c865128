"""The options of /imagine and /edit as a table: how each is shown to Discord, read back, and put into a request.

Discord's client keeps to the ranges that are declared; a hostile client sends anything. So every value is
checked again here, and the error names the option.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import discord
from discord import app_commands

from cogs.sources import MAX_LINK
from cogs.ui import words
from config.catalogue import EXACT, Catalogue, Offer
from config.parameters import (
    ChoiceParameter,
    IntegerParameter,
    NumberParameter,
    Option,
    PresetParameter,
    not_a_choice,
    out_of_range,
)
from config.sizes import Ratio
from domain.errors import Code, UserError
from domain.request import MAX_COUNT, MAX_PROMPT_CHARACTERS, MAX_REFERENCES, MAX_SEED, Kind, Lora, PictureFormat, Size

Read = Callable[[object], object]
Given = Mapping[str, object]
"""What a person gave, read and checked, by the option's name. What they left out is not in it."""

Autocomplete = Callable[[discord.Interaction[Any], str], Any]

_RANGE: Final = cast("Any", app_commands.Range)


@dataclass(frozen=True)
class CommandOption:
    """One option of a command."""

    name: str
    description: str
    annotation: Any
    """What discord.py makes Discord's option type from."""
    read: Read
    """Raw value -> checked value; raises UserError that names the option."""
    required: bool = False
    choices: tuple[str, ...] = ()
    autocomplete: str | None = None
    """Name of the function that completes it."""
    field: str | None = None
    """The request's field that it fills, where that is called otherwise."""


def read_options(options: Iterable[CommandOption], values: Mapping[str, object]) -> dict[str, object]:
    """Read and check every value that was given, by the request's fields. Raises UserError."""
    return {
        option.field or option.name: option.read(values[option.name])
        for option in options
        if values.get(option.name) is not None
    }


def malformed(option: str, value: object, expected: str) -> UserError:
    """The error for a value of the wrong kind."""
    return UserError(Code.OPTION_MALFORMED, option=option, value=str(value)[:100], expected=expected)


def read_text(option: str, maximum: int) -> Read:
    """Trimmed text of 1 to ``maximum`` characters."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise malformed(option, value, "text")
        # Lone surrogates are legal JSON, but no text: they can't be stored or sent on.
        text = value.encode("utf-8", "replace").decode().strip()
        if not text:
            if option == "prompt":
                raise UserError(Code.PROMPT_EMPTY)
            raise malformed(option, value, "text")
        if len(text) > maximum:
            raise UserError(Code.PROMPT_TOO_LONG, option=option, limit=maximum, length=len(text))
        return text

    return read


def read_integer(option: str, minimum: int, maximum: int) -> Read:
    """A whole number in a closed range."""

    def read(value: object) -> int:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 40:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise malformed(option, value, "a whole number")
        if value != int(value):
            raise malformed(option, words.number(value), "a whole number")
        if not minimum <= value <= maximum:
            raise out_of_range(option, value, minimum, maximum)
        return int(value)

    return read


def read_number(option: str, minimum: float, maximum: float) -> Read:
    """A number in a closed range."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise malformed(option, value, "a number")
        if not minimum <= value <= maximum:
            raise out_of_range(option, value, minimum, maximum)
        return float(value)

    return read


def read_choice(option: str, choices: Sequence[str]) -> Read:
    """One of a few words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise not_a_choice(option, str(value), choices)
        return value

    return read


def read_flag(option: str) -> Read:
    """True or false."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise malformed(option, value, "true or false")
        return value

    return read


def read_size(value: object) -> Size | Ratio:
    """Width and height, or their ratio; the catalogue says later which ones a model can make."""
    for kind in (Size, Ratio):
        try:
            return kind.parse(str(value))
        except ValueError:
            continue
    raise malformed("size", value, "width and height, such as 1024x1024, or a ratio such as 16:9 or portrait")


def read_loras(value: object) -> tuple[Lora, ...]:
    """One LoRA or several, with their weights; the catalogue says later how many and how strong."""
    try:
        return Lora.parse_all(str(value))
    except ValueError:
        raise malformed("lora", value, "a name, or name=0.8, or several separated by commas") from None


def read_attachment(value: object) -> discord.Attachment:
    """An attachment that says of itself that it is a picture; its bytes are checked later."""
    if not isinstance(value, discord.Attachment):
        raise malformed("image", "?", "a picture")
    content_type = value.content_type or ""
    if content_type and not content_type.startswith(("image/", "application/octet-stream")):
        raise UserError(Code.PICTURE_UNREADABLE, filename=value.filename[:100])
    return value


PROMPT: Final = CommandOption(
    "prompt",
    "What to paint",
    _RANGE[str, 1, MAX_PROMPT_CHARACTERS],
    read_text("prompt", MAX_PROMPT_CHARACTERS),
    required=True,
)
SEED: Final = CommandOption(
    "seed",
    "The same seed gives the same picture. Left out: a new one",
    _RANGE[int, 0, MAX_SEED],
    read_integer("seed", 0, MAX_SEED),
)
COUNT: Final = CommandOption(
    "count", "How many pictures", _RANGE[int, 1, MAX_COUNT], read_integer("count", 1, MAX_COUNT)
)
_MODEL: Final = CommandOption("model", "Which model paints", str, read_text("model", 100), autocomplete="model")
_FORMATS: Final = tuple(PictureFormat)
_FORMAT: Final = CommandOption(
    "format",
    "File format of the picture. Left out: PNG",
    str,
    read_choice("format", _FORMATS),
    choices=_FORMATS,
)
_SPOILER: Final = CommandOption("spoiler", "Hide the picture until it is clicked", bool, read_flag("spoiler"))
_SIZE: Final = CommandOption(
    "size", "1024x1024, or a ratio: 16:9, square, portrait, landscape", str, read_size, autocomplete="size"
)
_NEGATIVE: Final = CommandOption(
    "negative_prompt",
    "What to leave out of the picture",
    _RANGE[str, 1, MAX_PROMPT_CHARACTERS],
    read_text("negative_prompt", MAX_PROMPT_CHARACTERS),
)
_LORA: Final = CommandOption(
    "lora",
    "LoRA to paint with: name, or name=0.8; several separated by commas",
    _RANGE[str, 1, 500],
    read_loras,
    autocomplete="lora",
    field="loras",
)
_IMAGE: Final = CommandOption("image", "The picture to change", discord.Attachment, read_attachment)
_REFERENCES: Final = tuple(
    CommandOption(
        f"image{number}", "Another picture, to take a subject or a style from", discord.Attachment, read_attachment
    )
    for number in range(2, 2 + MAX_REFERENCES)
)
_LINK: Final = CommandOption(
    "link",
    "Instead of an image: link to a picture of mine, or to any picture on Discord",
    _RANGE[str, 1, MAX_LINK],
    read_text("link", MAX_LINK),
)


def options_for(kind: Kind, catalogue: Catalogue) -> list[CommandOption]:
    """The options that some offer of this kind takes; the others are not registered."""
    offers = [offer for model in catalogue.models(kind) for offer in model.offers]
    if not offers:
        return []
    taken = {option for offer in offers for option in offer.parameters}
    table: list[tuple[Option | None, CommandOption | None]] = [
        (None, _prompt(kind)),
        (Option.IMAGE, _IMAGE if kind is Kind.EDIT else None),
        (Option.IMAGE, _LINK if kind is Kind.EDIT else None),
        *((Option.IMAGE, option) for option in _REFERENCES[: max(0, max(o.pictures_taken for o in offers) - 1)]),
        (None, _MODEL),
        (Option.SIZE, _SIZE if kind is Kind.IMAGINE else None),
        (None, COUNT if kind is Kind.IMAGINE else None),
        (Option.SEED, SEED),
        (Option.NEGATIVE_PROMPT, _NEGATIVE if kind is Kind.IMAGINE else None),
        (Option.STEPS, _steps(offers)),
        (Option.GUIDANCE, _guidance(offers)),
        (Option.SCHEDULER, _scheduler(catalogue) if kind is Kind.IMAGINE else None),
        (Option.LORA, _LORA if kind is Kind.IMAGINE else None),
        (Option.SPEED, _speed(kind, catalogue)),
        (None, _FORMAT),
        (None, _SPOILER if kind is Kind.IMAGINE else None),
    ]
    return [option for needs, option in table if option is not None and (needs is None or needs in taken)]


def words_of(option: Option, kind: Kind, catalogue: Catalogue) -> list[str]:
    """The words that some offer of this kind takes for an option of choices or presets."""
    found: dict[str, None] = {}
    for offer in (offer for model in catalogue.models(kind) for offer in model.offers):
        match offer.parameters.get(option):
            case ChoiceParameter(values=values):
                found |= dict.fromkeys(values)
            case PresetParameter(presets=presets):
                found |= dict.fromkeys([EXACT, *presets])
            case _:
                pass
    return list(found)


def _scheduler(catalogue: Catalogue) -> CommandOption:
    read = read_choice("scheduler", words_of(Option.SCHEDULER, Kind.IMAGINE, catalogue))
    return CommandOption("scheduler", "The scheduler that removes the noise", str, read, autocomplete="scheduler")


def _speed(kind: Kind, catalogue: Catalogue) -> CommandOption:
    read = read_choice("speed", words_of(Option.SPEED, kind, catalogue))
    text = "Faster costs a little exactness; exact leaves nothing out"
    return CommandOption("speed", text, str, read, autocomplete="speed")


def _prompt(kind: Kind) -> CommandOption:
    if kind is Kind.IMAGINE:
        return replace(PROMPT, autocomplete="prompt")
    return CommandOption(
        PROMPT.name, "What to change, as an instruction", PROMPT.annotation, PROMPT.read, required=True
    )


def _steps(offers: Iterable[Offer]) -> CommandOption | None:
    found = [p for offer in offers if isinstance(p := offer.parameters.get(Option.STEPS), IntegerParameter)]
    if not found:
        return None
    low, high = min(p.minimum for p in found), max(p.maximum for p in found)
    text = "Denoising steps: more take longer and show more detail"
    return CommandOption("steps", text, _RANGE[int, low, high], read_integer("steps", low, high))


def _guidance(offers: Iterable[Offer]) -> CommandOption | None:
    found = [p for offer in offers if isinstance(p := offer.parameters.get(Option.GUIDANCE), NumberParameter)]
    if not found:
        return None
    low, high = min(p.minimum for p in found), max(p.maximum for p in found)
    text = "Guidance scale: how closely the picture keeps to the prompt"
    return CommandOption("guidance", text, _RANGE[float, float(low), float(high)], read_number("guidance", low, high))
