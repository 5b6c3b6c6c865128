"""The options of /imagine and /edit as a table: those that the catalogue's offers take."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, cast

import discord
from discord import app_commands

from cogs.command_options import (
    CommandOption,
    choice_option,
    flag_option,
    integer_option,
    malformed,
    number_option,
    picked_option,
    read_choice,
    text_option,
)
from cogs.sources import MAX_LINK
from config.catalogue import EXACT, Catalogue, Offer
from config.parameters import (
    ChoiceParameter,
    IntegerParameter,
    NumberParameter,
    Option,
    PresetParameter,
)
from config.sizes import Ratio
from domain.errors import Code, UserError
from domain.request import MAX_COUNT, MAX_PROMPT_CHARACTERS, MAX_REFERENCES, MAX_SEED, Kind, Lora, PictureFormat, Size

_RANGE: Final = cast("Any", app_commands.Range)


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


PROMPT: Final = text_option("prompt", "What to paint", MAX_PROMPT_CHARACTERS, required=True)
SEED: Final = integer_option("seed", "The same seed gives the same picture. Left out: a new one", 0, MAX_SEED)
COUNT: Final = integer_option("count", "How many pictures", 1, MAX_COUNT)
_MODEL: Final = picked_option("model", "Which model paints", "model")
_FORMATS: Final = tuple(PictureFormat)
_FORMAT: Final = choice_option("format", "File format of the picture. Left out: PNG", _FORMATS)
_SPOILER: Final = flag_option("spoiler", "Hide the picture until it is clicked")
_SIZE: Final = CommandOption(
    "size", "1024x1024, or a ratio: 16:9, square, portrait, landscape", str, read_size, autocomplete="size"
)
_NEGATIVE: Final = text_option("negative_prompt", "What to leave out of the picture", MAX_PROMPT_CHARACTERS)
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
_LINK: Final = text_option(
    "link", "Instead of an image: link to a picture of mine, or to any picture on Discord", MAX_LINK
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
    return integer_option("steps", text, low, high)


def _guidance(offers: Iterable[Offer]) -> CommandOption | None:
    found = [p for offer in offers if isinstance(p := offer.parameters.get(Option.GUIDANCE), NumberParameter)]
    if not found:
        return None
    low, high = min(p.minimum for p in found), max(p.maximum for p in found)
    text = "Guidance scale: how closely the picture keeps to the prompt"
    return number_option("guidance", text, low, high)
