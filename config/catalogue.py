"""The catalogue: which models people can name, and which offers there are to get each.

It is data: one TOML file a model in ``config/models/``. Commands, autocomplete, backends and docs all read it
through this module, so a provider's parameter stands in one place.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from domain.errors import Code, OperatorError, UserError
from domain.money import MicroUSD, micro_usd
from domain.request import ImageRequest, Kind, Size

MODELS_FOLDER = Path(__file__).parent / "models"

Value = str | int | float | bool


class Option(StrEnum):
    """The options of a request that an offer may take; each is a field of ``ImageRequest``."""

    PROMPT = "prompt"
    NEGATIVE_PROMPT = "negative_prompt"
    IMAGE = "image"
    SIZE = "size"
    SEED = "seed"
    STEPS = "steps"
    GUIDANCE = "guidance"
    FORMAT = "format"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _OneField(_Strict):
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


class IntegerParameter(_OneField):
    """A whole number in a closed range."""

    type: Literal["integer"]
    minimum: int
    maximum: int
    default: int | None = None


class NumberParameter(_OneField):
    """A number in a closed range."""

    type: Literal["number"]
    minimum: float
    maximum: float
    default: float | None = None


class ChoiceParameter(_OneField):
    """One of a few values. ``values`` maps our word to the provider's."""

    type: Literal["choice"]
    values: dict[str, str]
    default: str


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


class PictureParameter(_OneField):
    """An input picture. ``as_`` says how it travels: as an uploaded file's URL or inside the request."""

    type: Literal["picture"]
    send_as: Literal["url", "data-uri", "base64"]


Parameter = Annotated[
    TextParameter | IntegerParameter | NumberParameter | ChoiceParameter | SizeParameter | PictureParameter,
    Field(discriminator="type"),
]


def _price(value: object) -> object:
    return micro_usd(value) if isinstance(value, str | Decimal) else value


class Offer(_Strict):
    """One way to get a model."""

    backend: str
    """Key of the backend, as in ``EASEL_BACKENDS``."""
    target: str
    """What the provider calls it: an endpoint's path, a model's id."""
    price: Annotated[MicroUSD, BeforeValidator(_price)]
    """Highest price of one picture; in TOML a text in dollars. "0" is free."""
    seconds: Annotated[float, Field(gt=0)]
    """What one picture usually takes, until the ledger knows better."""
    pictures_per_call: Annotated[int, Field(ge=1, le=4)] = 1
    deadline_seconds: Annotated[float, Field(gt=0)] = 600
    """How long one call may take, loading of the model included."""
    parameters: dict[Option, Parameter]
    constants: dict[str, Value] = {}
    """Fields that are always sent, with the provider's names."""
    model_key: str = ""
    """Filled in by the catalogue."""

    @model_validator(mode="after")
    def _has_a_prompt_and_fills_each_field_once(self) -> Self:
        if Option.PROMPT not in self.parameters:
            raise ValueError("an offer takes at least a prompt")
        fields = [field for parameter in self.parameters.values() for field in parameter.fields]
        for field in [*fields, *self.constants]:
            if [*fields, *self.constants].count(field) > 1:
                raise ValueError(f"the field {field} is filled twice")
        return self

    @property
    def key(self) -> str:
        """Unique in the catalogue: ``wavespeed:hidream-i1-dev``."""
        return f"{self.backend}:{self.model_key}"

    @property
    def is_paid(self) -> bool:
        """A call costs money, so that it may be accepted at most once."""
        return self.price > 0

    def size_of(self, request: ImageRequest) -> Size | None:
        """The size that a picture of this request gets, or None where the offer takes no size."""
        parameter = self.parameters.get(Option.SIZE)
        if not isinstance(parameter, SizeParameter):
            return None
        return request.size or parameter.default

    def objections(self, request: ImageRequest) -> list[UserError]:
        """Every option of the request that this offer cannot honour; empty where it can take the request."""
        return list(self._objections(request))

    def _objections(self, request: ImageRequest) -> Iterator[UserError]:
        for option, value in _options(request):
            parameter = self.parameters.get(option)
            if parameter is None:
                yield UserError(Code.NO_OFFER, option=option.value)
                continue
            try:
                _check(option, parameter, value)
            except UserError as error:
                yield error


def _options(request: ImageRequest) -> Iterable[tuple[Option, object]]:
    given: list[tuple[Option, object]] = [
        (Option.PROMPT, request.prompt),
        (Option.NEGATIVE_PROMPT, request.negative_prompt),
        (Option.IMAGE, request.source),
        (Option.SIZE, request.size),
        (Option.SEED, request.seed),
        (Option.STEPS, request.steps),
        (Option.GUIDANCE, request.guidance),
    ]
    # The file format is not among them: what an offer cannot make in that format, we re-encode.
    return [(option, value) for option, value in given if value is not None]


def _check(option: Option, parameter: Parameter, value: object) -> None:
    match parameter:
        case TextParameter():
            text = str(value)
            if parameter.max_length is not None and len(text) > parameter.max_length:
                raise UserError(Code.PROMPT_TOO_LONG, option=option.value, limit=parameter.max_length, length=len(text))
        case IntegerParameter() | NumberParameter():
            assert isinstance(value, int | float)
            if not parameter.minimum <= value <= parameter.maximum:
                raise out_of_range(option.value, value, parameter.minimum, parameter.maximum)
        case ChoiceParameter():
            if value not in parameter.values:
                raise not_a_choice(option.value, str(value), parameter.values)
        case SizeParameter():
            assert isinstance(value, Size)
            _check_size(parameter, value)
        case PictureParameter():
            pass


def _check_size(parameter: SizeParameter, size: Size) -> None:
    if parameter.choices:
        if size not in parameter.choices:
            raise not_a_choice("size", str(size), map(str, parameter.choices))
        return
    for side in size:
        if not parameter.minimum <= side <= parameter.maximum:
            raise out_of_range("size", side, parameter.minimum, parameter.maximum)
        if side % parameter.step:
            raise UserError(Code.OPTION_NOT_A_STEP, option="size", value=side, step=parameter.step)
    pixels = size.width * size.height
    largest = parameter.maximum_pixels or parameter.maximum**2
    if not parameter.minimum_pixels <= pixels <= largest:
        raise out_of_range("size (pixels in all)", pixels, parameter.minimum_pixels, largest)


def out_of_range(option: str, value: float, minimum: float, maximum: float) -> UserError:
    """The error for a number outside its range."""
    return UserError(Code.OPTION_OUT_OF_RANGE, option=option, value=value, minimum=minimum, maximum=maximum)


def not_a_choice(option: str, value: str, choices: Iterable[str]) -> UserError:
    """The error for a word that is not among the choices."""
    return UserError(Code.OPTION_NOT_A_CHOICE, option=option, value=value[:100], choices=", ".join(choices))


class Model(_Strict):
    """What a user names."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    name: str
    kind: Kind
    summary: Annotated[str, Field(max_length=100)]
    offers: tuple[Offer, ...]

    @model_validator(mode="before")
    @classmethod
    def _name_the_model(cls, data: dict[str, object]) -> dict[str, object]:
        offers = data.get("offers", [])
        assert isinstance(offers, list)
        return data | {"offers": [offer | {"model_key": data.get("key", "")} for offer in offers]}


class Catalogue:
    """All models, in the order of their files' names."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models: dict[str, Model] = {}
        self._offers: dict[str, Offer] = {}
        for model in models:
            if model.key in self._models:
                raise ValueError(f"two models are called {model.key}")
            self._models[model.key] = model
            for offer in model.offers:
                if offer.key in self._offers:
                    raise ValueError(f"two offers are called {offer.key}")
                self._offers[offer.key] = offer

    @classmethod
    def load(cls, folder: Path = MODELS_FOLDER) -> "Catalogue":
        """Read every TOML file of the folder.

        Raises OperatorError (SETTING_INVALID) that names the file and the field.
        """
        models = []
        for path in sorted(folder.glob("*.toml")):
            try:
                models.append(Model.model_validate(tomllib.loads(path.read_text("utf-8"))))
            except (ValidationError, tomllib.TOMLDecodeError) as error:
                raise OperatorError(Code.SETTING_INVALID, setting=path.name, problem=first_problem(error)) from error
        return cls(models)

    def restricted_to(self, backends: Iterable[str], local_models: Iterable[str]) -> "Catalogue":
        """What is left when only these backends are at hand, and the worker has only these models."""
        allowed, local = set(backends), set(local_models)
        kept = []
        for model in self:
            offers = tuple(
                offer
                for offer in model.offers
                if offer.backend in allowed and (offer.backend != "worker" or model.key in local)
            )
            if offers:
                kept.append(model.model_copy(update={"offers": offers}))
        return Catalogue(kept)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def models(self, kind: Kind) -> list[Model]:
        """The models for one kind of wish."""
        return [model for model in self if model.kind is kind]

    def model(self, key: str) -> Model:
        """The model of that key or (people type it) that name. Raises UserError (MODEL_UNKNOWN)."""
        found = self._models.get(key)
        if found is None:
            wanted = key.strip().casefold()
            for model in self:
                if wanted in (model.key, model.name.casefold()):
                    return model
            raise UserError(Code.MODEL_UNKNOWN, model=key[:100])
        return found

    def offer(self, key: str) -> Offer | None:
        """The offer of that key; None for one that has left the catalogue."""
        return self._offers.get(key)

    def offers(self) -> Mapping[str, Offer]:
        """All offers by key."""
        return dict(self._offers)

    def default(self, kind: Kind, order: Iterable[str]) -> Model | None:
        """The first model of the first backend that has one of this kind."""
        for backend in order:
            for model in self.models(kind):
                if any(offer.backend == backend for offer in model.offers):
                    return model
        return None


def first_problem(error: Exception) -> str:
    """One line that says what is wrong and where."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        return f"{where}: {problem['msg']}" if where else problem["msg"]
    return str(error).splitlines()[0]
