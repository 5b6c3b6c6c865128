"""What a person asked for, after parsing and before anything was promised."""

import re
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MAX_PROMPT_CHARACTERS = 2000
MAX_SEED = 2**31 - 1
"""The largest seed that every offer takes (the seed documents' smallest documented maximum)."""
MAX_COUNT = 4
LORA_ID = r"^[A-Za-z0-9][A-Za-z0-9:@._-]{0,199}$"
MAX_REFERENCES = 2
"""Pictures of an edit besides the one that is changed."""
MAX_VARIATIONS = 20
"""Generations of variations: a picture, what varies it, what varies that, and so on."""


class Kind(StrEnum):
    """The two things that a model can be asked for."""

    IMAGINE = "imagine"
    EDIT = "edit"


class PictureFormat(StrEnum):
    """File formats that a person may ask for."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def extension(self) -> str:
        """The usual file extension, without a dot."""
        return "jpg" if self is PictureFormat.JPEG else self.value

    @property
    def media_type(self) -> str:
        """The media type for HTTP."""
        return f"image/{self.value}"


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Read ``1024x768``, ``1024*768`` or ``1024×768``. Raises ValueError for anything else."""
        match = re.fullmatch(r"\s*(\d{1,5})\s*[x*×X]\s*(\d{1,5})\s*", text, re.ASCII)
        if match is None:
            raise ValueError(f"not a size: {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class InputPicture(BaseModel):
    """A picture that a person sent, checked, cleaned of metadata and kept in the data folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    """File name inside the pictures folder."""
    width: int
    height: int
    adult: bool = False
    """It comes from where adults alone are, or was marked as not safe for work."""


class LoraStage(StrEnum):
    """Which part of the denoising a LoRA works on."""

    HIGH = "high"
    """The noisy beginning: composition."""
    LOW = "low"
    """The end: details."""
    BOTH = "both"


class Lora(BaseModel):
    """A LoRA to paint with. ``model`` is what the provider or the worker calls it."""

    model_config = ConfigDict(frozen=True)

    model: Annotated[str, Field(pattern=LORA_ID)]
    weight: float = 1.0
    stage: LoraStage = LoraStage.BOTH

    @classmethod
    def parse(cls, text: str) -> "Lora":
        """Read ``name``, ``name=0.8`` or ``name=0.8/high``. Raises ValueError for anything else."""
        name, _, rest = text.strip().partition("=")
        weight, _, stage = rest.partition("/")
        if re.fullmatch(r"(-?\d{1,3}(\.\d{1,4})?)?", weight.strip(), re.ASCII) is None:
            raise ValueError(f"not a LoRA: {text!r}")
        return cls(
            model=name.strip(), weight=float(weight or 1), stage=LoraStage(stage.strip().lower() or LoraStage.BOTH)
        )

    @classmethod
    def parse_all(cls, text: str) -> tuple["Lora", ...]:
        """Read several, separated by commas. Raises ValueError."""
        return tuple(cls.parse(part) for part in text.split(",") if part.strip())

    def __str__(self) -> str:
        stage = "" if self.stage is LoraStage.BOTH else f"/{self.stage.value}"
        return f"{self.model}={self.weight:g}{stage}" if stage or self.weight != 1 else self.model


class Variation(BaseModel):
    """Another seed, whose noise is blended into a picture's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    """The variation seed; another than those that it is blended with."""
    strength: Annotated[float, Field(ge=0, le=1)]
    """The variation strength: 0 leaves the picture as it is, 1 makes it the one of the variation seed."""


class ImageRequest(BaseModel):
    """One wish for one to four pictures. Everything in it has been checked against the catalogue.

    ``None`` means "the offer's default". ``seed`` is drawn by intake when the person gave none, so that every
    picture can be made again; picture number i (from 0) has ``seed + i`` modulo ``MAX_SEED + 1``, and so have its
    variations.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    model: str
    """Key of the catalogue's model."""
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    negative_prompt: str | None = None
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 1
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    variations: Annotated[tuple[Variation, ...], Field(max_length=MAX_VARIATIONS)] = ()
    """Blended in one after the other: each varies what those before it have made."""
    size: Size | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    loras: tuple[Lora, ...] = ()
    speed: str | None = None
    """``exact``, ``balanced``, ``fast`` or an operator's word."""
    format: PictureFormat = PictureFormat.PNG
    spoiler: bool = False
    source: InputPicture | None = None
    references: Annotated[tuple[InputPicture, ...], Field(max_length=MAX_REFERENCES)] = ()
    """Further pictures that an edit may take subjects or styles from."""
    adult: bool = False
    """What comes of it belongs into age-restricted channels alone; intake says so."""
    private: bool = False
    """Card and result are shown to who asked alone; intake says so."""
    visiting: bool = False
    """It was asked for where the person's account brings the bot, which is no member there; intake says so."""
    flagged_allowed: bool = False
    """It was asked for where pictures that a safety check marks may be shown; intake says so."""

    @property
    def inputs(self) -> tuple[InputPicture, ...]:
        """All pictures that it begins with, the one that is changed first."""
        return (*((self.source,) if self.source is not None else ()), *self.references)

    def seeds(self) -> list[int]:
        """The seed of each picture. The request's seed must have been drawn."""
        assert self.seed is not None
        return [_following(self.seed, index) for index in range(self.count)]

    def variations_of(self, index: int) -> tuple[Variation, ...]:
        """The variations of picture ``index``, from 0."""
        return tuple(
            variation.model_copy(update={"seed": _following(variation.seed, index)}) for variation in self.variations
        )


def _following(seed: int, index: int) -> int:
    return (seed + index) % (MAX_SEED + 1)
