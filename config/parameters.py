"""The kinds of parameters that an offer can take: what each allows, and what the provider calls it.

All are data from ``config/models/*.toml``. A parameter checks a value that a person gave; turning values into a
provider's words is the backends' business.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.accelerators import AcceleratorOptions
from domain.errors import Code, UserError
from domain.request import (
    MAX_REFERENCES,
    MAX_VARIATIONS,
    ImageRequest,
    InputPicture,
    Lora,
    LoraStage,
    Size,
    Variation,
)


class Option(StrEnum):
    """The options of a request that an offer may take; each is a field of ``ImageRequest``."""

    PROMPT = "prompt"
    NEGATIVE_PROMPT = "negative_prompt"
    IMAGE = "image"
    SIZE = "size"
    SEED = "seed"
    VARIATIONS = "variations"
    STEPS = "steps"
    GUIDANCE = "guidance"
    SCHEDULER = "scheduler"
    LORA = "lora"
    SPEED = "speed"
    FORMAT = "format"


Given = str | int | float | Size | InputPicture | tuple[Lora, ...] | tuple[Variation, ...]
"""What a person can have given for an option."""


def given(option: Option, request: ImageRequest) -> Given | None:
    """What the request says about an option; None where it leaves the choice to the offer."""
    match option:
        case Option.PROMPT:
            return request.prompt
        case Option.NEGATIVE_PROMPT:
            return request.negative_prompt
        case Option.IMAGE:
            return request.source
        case Option.SIZE:
            return request.size
        case Option.SEED:
            return request.seed
        case Option.VARIATIONS:
            return request.variations or None
        case Option.STEPS:
            return request.steps
        case Option.GUIDANCE:
            return request.guidance
        case Option.SCHEDULER:
            return request.scheduler
        case Option.LORA:
            return request.loras or None
        case Option.SPEED:
            return request.speed
        case Option.FORMAT:
            return request.format.value


class Strict(BaseModel):
    """Base of everything in the catalogue: a field that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _OneField(Strict):
    field: str
    """The provider's name."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The provider's names of all fields that the parameter fills."""
        return (self.field,)


def _size(value: object) -> object:
    return Size.parse(value) if isinstance(value, str) else value


SizeText = Annotated[Size, BeforeValidator(_size)]


class TextParameter(_OneField):
    """Free text. ``max_length`` counts characters."""

    type: Literal["text"]
    max_length: int | None = None

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (PROMPT_TOO_LONG)."""
        assert isinstance(value, str)
        if self.max_length is not None and len(value) > self.max_length:
            raise UserError(Code.PROMPT_TOO_LONG, option=option, limit=self.max_length, length=len(value))


class IntegerParameter(_OneField):
    """A whole number in a closed range."""

    type: Literal["integer"]
    minimum: int
    maximum: int
    default: int | None = None

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_OUT_OF_RANGE)."""
        assert isinstance(value, int)
        if not self.minimum <= value <= self.maximum:
            raise out_of_range(option, value, self.minimum, self.maximum)


class NumberParameter(_OneField):
    """A number in a closed range, on a grid of ``step`` where there is one."""

    type: Literal["number"]
    minimum: float
    maximum: float
    step: float | None = None
    default: float | None = None

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_OUT_OF_RANGE, OPTION_NOT_A_STEP)."""
        assert isinstance(value, int | float)
        check_number(option, value, self.minimum, self.maximum, self.step)


def _words(value: object) -> object:
    return {word: word for word in value} if isinstance(value, list) else value


class ChoiceParameter(_OneField):
    """One of a few values. ``values`` maps our word to the provider's; a list in TOML means they are the same."""

    type: Literal["choice"]
    values: Annotated[dict[str, str], BeforeValidator(_words)]
    default: str | None = None

    @model_validator(mode="after")
    def _the_default_is_a_choice(self) -> Self:
        if self.default is not None and self.default not in self.values:
            raise ValueError(f"the default {self.default} is not among the values")
        return self

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_NOT_A_CHOICE)."""
        if value not in self.values:
            raise not_a_choice(option, str(value), self.values)


class PresetParameter(_OneField):
    """A word that stands for accelerator options, sent as an object (an empty one is left out).

    Operators add words of their own (``Catalogue.with_presets``).
    """

    type: Literal["preset"]
    presets: dict[str, AcceleratorOptions]
    default: str

    @model_validator(mode="after")
    def _the_default_is_a_preset(self) -> Self:
        if self.default not in self.presets:
            raise ValueError(f"the default {self.default} is not among the presets")
        return self

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_NOT_A_CHOICE)."""
        if value not in self.presets:
            raise not_a_choice(option, str(value), self.presets)

    def options(self, word: str | None) -> AcceleratorOptions:
        """What a word that was checked stands for; None is the default. ``exact`` need not be listed."""
        return self.presets.get(word or self.default, AcceleratorOptions())


class LorasParameter(_OneField):
    """A list of LoRAs, each an object with the fields named here. The range and the step are of the weight.

    Without a ``stage_field`` they work on the whole denoising.
    """

    type: Literal["loras"]
    model_field: str
    weight_field: str
    stage_field: str | None = None
    minimum: float
    maximum: float
    step: float
    most: int

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_OUT_OF_RANGE, OPTION_NOT_A_STEP, OPTION_NOT_A_CHOICE)."""
        assert isinstance(value, tuple)
        if len(value) > self.most:
            raise out_of_range(f"number of {option}s", len(value), 0, self.most)
        for lora in value:
            assert isinstance(lora, Lora)
            check_number(f"weight of {option}", lora.weight, self.minimum, self.maximum, self.step)
            if self.stage_field is None and lora.stage is not LoraStage.BOTH:
                raise not_a_choice(f"stage of {option}", lora.stage, [LoraStage.BOTH])


class VariationsParameter(_OneField):
    """Seeds whose noise is blended into the picture's own, each with its strength."""

    type: Literal["variations"]

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_OUT_OF_RANGE)."""
        assert isinstance(value, tuple)
        if len(value) > MAX_VARIATIONS:
            raise out_of_range(f"number of {option}", len(value), 0, MAX_VARIATIONS)


class SizeParameter(_OneField):
    """Width and height, sent as one text (``template``) or as two fields (``field`` and ``height_field``).

    ``minimum`` and ``maximum`` bound each side, ``step`` is the grid, the pixel bounds hold for width times
    height; ``choices``, where given, is the whole set.
    """

    type: Literal["size"]
    height_field: str | None = None
    template: str = "{width}*{height}"
    minimum: int
    maximum: int
    step: int = 1
    minimum_pixels: int = 0
    maximum_pixels: int | None = None
    choices: tuple[SizeText, ...] = ()
    default: SizeText

    @property
    def fields(self) -> tuple[str, ...]:
        """One field or two."""
        return (self.field,) if self.height_field is None else (self.field, self.height_field)

    def check(self, option: str, value: Given) -> None:
        """Raises UserError (OPTION_NOT_A_CHOICE, OPTION_OUT_OF_RANGE, OPTION_NOT_A_STEP)."""
        assert isinstance(value, Size)
        if self.choices:
            if value not in self.choices:
                raise not_a_choice(option, str(value), map(str, self.choices))
            return
        for side in value:
            if not self.minimum <= side <= self.maximum:
                raise out_of_range(option, side, self.minimum, self.maximum)
            if side % self.step:
                raise UserError(Code.OPTION_NOT_A_STEP, option=option, value=side, step=self.step)
        pixels = value.width * value.height
        largest = self.maximum_pixels or self.maximum**2
        if not self.minimum_pixels <= pixels <= largest:
            raise out_of_range(f"{option} (pixels in all)", pixels, self.minimum_pixels, largest)

    def closest(self, shape: Size) -> Size:
        """The choice whose proportions are closest to the shape's; the default where there are no choices."""
        wanted = Decimal(shape.width) / shape.height
        return min(
            self.choices,
            key=lambda size: max(wanted / size.width * size.height, size.width / wanted / size.height),
            default=self.default,
        )


class PictureParameter(_OneField):
    """An input picture. ``send_as`` says how it travels: as an uploaded file's URL or name, or inside the request.

    ``most``: how many pictures the field takes; above one it is a list.
    """

    type: Literal["picture"]
    send_as: Literal["url", "file", "data-uri", "base64"]
    most: Annotated[int, Field(ge=1, le=1 + MAX_REFERENCES)] = 1

    def check(self, option: str, value: Given) -> None:
        """Every picture was checked when it came."""


Parameter = Annotated[
    TextParameter
    | IntegerParameter
    | NumberParameter
    | ChoiceParameter
    | PresetParameter
    | LorasParameter
    | VariationsParameter
    | SizeParameter
    | PictureParameter,
    Field(discriminator="type"),
]


def filled_twice(fields: Sequence[str]) -> str | None:
    """The first name that is there twice."""
    return next((field for index, field in enumerate(fields) if field in fields[:index]), None)


def check_number(option: str, value: float, minimum: float, maximum: float, step: float | None) -> None:
    """Raises UserError (OPTION_OUT_OF_RANGE, OPTION_NOT_A_STEP)."""
    if not minimum <= value <= maximum:
        raise out_of_range(option, value, minimum, maximum)
    if step is not None and Decimal(str(value)) % Decimal(str(step)):
        raise UserError(Code.OPTION_NOT_A_STEP, option=option, value=value, step=step)


def out_of_range(option: str, value: float, minimum: float, maximum: float) -> UserError:
    """The error for a number outside its range."""
    return UserError(Code.OPTION_OUT_OF_RANGE, option=option, value=value, minimum=minimum, maximum=maximum)


def not_a_choice(option: str, value: str, choices: Iterable[str]) -> UserError:
    """The error for a word that is not among the choices (of which the first ten are named)."""
    words = list(choices)
    named = ", ".join(words[:10]) + (", …" if len(words) > 10 else "")
    return UserError(Code.OPTION_NOT_A_CHOICE, option=option, value=value[:100], choices=named)
