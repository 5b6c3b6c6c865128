"""The catalogue: which models people can name, and which offers there are to get each.

It is data: one TOML file a model in ``config/models/``. Commands, autocomplete, backends and docs all read it
through this module, so a provider's parameter stands in one place.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from config.parameters import (
    IntegerParameter,
    Option,
    Parameter,
    PictureParameter,
    PresetParameter,
    SizeParameter,
    Strict,
    filled_twice,
    given,
)
from domain.accelerators import AcceleratorOptions
from domain.errors import Code, OperatorError, UserError
from domain.money import MicroUSD, micro_usd
from domain.request import ImageRequest, Kind, Size

MODELS_FOLDER = Path(__file__).parent / "models"
_PRESET_WORD = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,29}$")]
Presets = Mapping[str, Mapping[str, AcceleratorOptions]]
"""An operator's own words for ``speed``: by backend, then by word."""
_PRESETS: TypeAdapter[dict[str, dict[str, AcceleratorOptions]]] = TypeAdapter(
    dict[str, dict[_PRESET_WORD, AcceleratorOptions]]
)
WORKER = "worker"
"""Key of Easel's own GPU worker among the backends."""
EXACT = "exact"
"""The speed at which nothing is left out; every offer has it, whether it lists it or not."""


def _price(value: object) -> object:
    return micro_usd(value) if isinstance(value, str | Decimal) else value


class PricedAt(Strict):
    """The work that a price holds for; more pixels or steps cost more in proportion."""

    pixels: Annotated[int, Field(gt=0)]
    steps: Annotated[int, Field(gt=0)]


class Offer(Strict):
    """One way to get a model."""

    backend: str
    """Key of the backend, as in ``EASEL_BACKENDS``."""
    target: str
    """What the provider calls it: an endpoint's path, a model's id."""
    price: Annotated[MicroUSD | None, BeforeValidator(_price)] = None
    """Price of one picture, the highest where there are several; in TOML a text in dollars. "0" is free; None: nobody
    has said, so that nothing is sent there."""
    priced_at: PricedAt | None = None
    """Where billing follows the work: what the price holds for. ``price_of`` knows the rest."""
    seconds: Annotated[float, Field(gt=0)]
    """What one picture usually takes, until the ledger knows better."""
    pictures_per_call: Annotated[int, Field(ge=1, le=4)] = 1
    deadline_seconds: Annotated[float, Field(gt=0)] = 600
    """How long one call may take, loading of the model included."""
    parameters: dict[Option, Parameter]
    constants: Annotated[dict[str, JsonValue], Field(default_factory=dict)]
    """Fields that are always sent, with the provider's names."""
    model_key: str = ""
    """Filled in by the catalogue."""

    @model_validator(mode="after")
    def _has_a_prompt_and_fills_each_field_once(self) -> Self:
        if Option.PROMPT not in self.parameters:
            raise ValueError("an offer takes at least a prompt")
        fields = [field for parameter in self.parameters.values() for field in parameter.fields]
        twice = filled_twice([*fields, *self.constants])
        if twice is not None:
            raise ValueError(f"the field {twice} is filled twice")
        return self

    @model_validator(mode="after")
    def _the_worker_can_do_its_presets(self) -> Self:
        speed = self.parameters.get(Option.SPEED)
        if self.backend == WORKER and isinstance(speed, PresetParameter):
            for word, options in speed.presets.items():
                problem = options.problem_for_worker()
                if problem is not None:
                    raise ValueError(f"speed {word}: {problem}")
        return self

    @property
    def key(self) -> str:
        """Unique in the catalogue: ``wavespeed:hidream-i1-dev``."""
        return f"{self.backend}:{self.model_key}"

    @property
    def is_paid(self) -> bool:
        """A call costs money (or may), so that it may be accepted at most once."""
        return self.price != 0

    @property
    def sizes(self) -> SizeParameter | None:
        """The sizes that it makes; None where it takes none."""
        parameter = self.parameters.get(Option.SIZE)
        return parameter if isinstance(parameter, SizeParameter) else None

    @property
    def pictures_taken(self) -> int:
        """How many pictures an edit may begin with; 0 where it takes none."""
        parameter = self.parameters.get(Option.IMAGE)
        return parameter.most if isinstance(parameter, PictureParameter) else 0

    def size_of(self, request: ImageRequest) -> Size | None:
        """The size that a picture of this request gets, or None where the offer takes no size."""
        parameter = self.sizes
        if parameter is None:
            return None
        if request.size is None and request.source is not None:
            return parameter.closest(Size(request.source.width, request.source.height))
        return request.size or parameter.default

    def known_price_of(self, request: ImageRequest) -> MicroUSD | None:
        """The most that one picture of this request should cost; None where that can't be told.

        It can't where nobody has said what the offer costs, or where its price follows the work and the work is not
        known: it is the provider that chooses the pixels or the steps.
        """
        if self.price is None or self.priced_at is None or self.price == 0:
            return self.price
        size, steps = self.size_of(request), self._steps_of(request)
        if size is None or steps is None:
            return None
        work = Decimal(size.width * size.height) / self.priced_at.pixels * steps / self.priced_at.steps
        return MicroUSD(int((self.price * max(Decimal(1), work)).to_integral_value(ROUND_CEILING)))

    def price_of(self, request: ImageRequest) -> MicroUSD:
        """The same. Raises OperatorError (PRICE_UNKNOWN) where it can't be told."""
        price = self.known_price_of(request)
        if price is None:
            raise OperatorError(Code.PRICE_UNKNOWN, model=self.model_key, backend=self.backend)
        return price

    def objections(self, request: ImageRequest) -> list[UserError]:
        """Every option of the request that this offer cannot honour; empty where it can take the request."""
        return list(self._objections(request))

    def _objections(self, request: ImageRequest) -> Iterator[UserError]:
        for option in Option:
            value = given(option, request)
            # What an offer cannot make in the wanted file format, we re-encode; exact is what all can do.
            if value is None or option is Option.FORMAT or (option is Option.SPEED and value == EXACT):
                continue
            parameter = self.parameters.get(option)
            if parameter is None:
                yield UserError(Code.NO_OFFER, option=option.value, model=self.model_key)
                continue
            try:
                parameter.check(option.value, value)
            except UserError as error:
                yield error
        if request.references and len(request.inputs) > self.pictures_taken:
            surplus = f"image{max(2, self.pictures_taken + 1)}"
            yield UserError(Code.NO_OFFER, option=surplus, model=self.model_key)
        speed, steps = self.parameters.get(Option.SPEED), self._steps_of(request)
        if isinstance(speed, PresetParameter) and steps is not None:
            try:
                speed.options(request.speed).check_steps(steps)
            except UserError as error:
                yield error

    def _steps_of(self, request: ImageRequest) -> int | None:
        parameter = self.parameters.get(Option.STEPS)
        return request.steps or (parameter.default if isinstance(parameter, IntegerParameter) else None)


class Model(Strict):
    """What a user names."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    name: str
    kind: Kind
    summary: Annotated[str, Field(max_length=100)]
    larger: tuple[str, ...] = ()
    """Keys of better or larger models for the same wish, the next one first."""
    reads: Annotated[int | None, Field(gt=0)] = None
    """Tokens of a prompt that its text encoders read; None where that is not known."""
    offers: tuple[Offer, ...]

    @property
    def pictures_taken(self) -> int:
        """How many pictures an edit with some offer of it may begin with."""
        return max(offer.pictures_taken for offer in self.offers)

    @model_validator(mode="before")
    @classmethod
    def _name_the_model(cls, data: dict[str, object]) -> dict[str, object]:
        offers = data.get("offers", [])
        if not isinstance(offers, list) or not all(isinstance(offer, dict) for offer in offers):
            return data  # Told by the field itself.
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
                if offer.backend in allowed and (offer.backend != WORKER or model.key in local)
            )
            if offers:
                kept.append(model.model_copy(update={"offers": offers}))
        return Catalogue(kept)

    def without(self, backend: str, option: Option) -> "Catalogue":
        """The catalogue in which no offer of the backend takes the option."""
        kept = []
        for model in self:
            offers = []
            for offer in model.offers:
                if offer.backend == backend and option in offer.parameters:
                    parameters = {key: value for key, value in offer.parameters.items() if key is not option}
                    offer = offer.model_copy(update={"parameters": parameters})
                offers.append(offer)
            kept.append(model.model_copy(update={"offers": tuple(offers)}))
        return Catalogue(kept)

    def with_presets(self, presets: Presets) -> "Catalogue":
        """The catalogue with an operator's own words for ``speed``.

        Raises OperatorError (SETTING_INVALID) for a backend none of whose offers has a speed.
        """
        having = {offer.backend for offer in self._offers.values() if Option.SPEED in offer.parameters}
        for backend in presets:
            if backend not in having:
                problem = f"[{backend}…]: there are speeds for {' and '.join(sorted(having))} alone"
                raise OperatorError(Code.SETTING_INVALID, setting="EASEL_PRESETS", problem=problem)
        kept = []
        for model in self:
            offers = []
            for offer in model.offers:
                speed = offer.parameters.get(Option.SPEED)
                if isinstance(speed, PresetParameter) and offer.backend in presets:
                    more = speed.model_copy(update={"presets": speed.presets | dict(presets[offer.backend])})
                    offer = offer.model_copy(update={"parameters": offer.parameters | {Option.SPEED: more}})
                offers.append(offer)
            kept.append(model.model_copy(update={"offers": tuple(offers)}))
        return Catalogue(kept)

    def with_own(self, backend: str, names: Mapping[str, str | None], price: MicroUSD | None = None) -> "Catalogue":
        """The catalogue of an operator's own server: of the backend's offers those of these models are left.

        A name stands for what the server calls the model (None: as in the catalogue); ``price`` is a picture's.
        An empty ``names`` leaves all. Raises UserError (MODEL_UNKNOWN) for a model that the backend has no offer of.
        """
        for key in names:
            if f"{backend}:{key}" not in self._offers:
                raise UserError(Code.MODEL_UNKNOWN, model=key[:100])
        kept = []
        for model in self:
            offers = []
            for offer in model.offers:
                if offer.backend == backend:
                    if names and model.key not in names:
                        continue
                    target = names.get(model.key) or offer.target
                    offer = offer.model_copy(
                        update={"target": target, "price": offer.price if price is None else price}
                    )
                offers.append(offer)
            if offers:
                kept.append(model.model_copy(update={"offers": tuple(offers)}))
        return Catalogue(kept)

    def without_prices(self, backend: str) -> "Catalogue":
        """The catalogue where nobody knows what the backend's offers cost."""
        kept = []
        for model in self:
            offers = [
                offer.model_copy(update={"price": None}) if offer.backend == backend else offer
                for offer in model.offers
            ]
            kept.append(model.model_copy(update={"offers": tuple(offers)}))
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

    def larger(self, key: str) -> Model | None:
        """The next better or larger model that is at hand; None where there is none, or no model of that key."""
        model = self._models.get(key)
        return next((self._models[name] for name in model.larger if name in self._models), None) if model else None

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


def load_presets(path: Path) -> Presets:
    """An operator's own words for ``speed``, for ``Catalogue.with_presets``: a table a backend, in it one a word.

    Raises OperatorError (SETTING_INVALID) that names the word and the option.
    """
    try:
        presets = _PRESETS.validate_python(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_PRESETS", problem=f"{path} cannot be read") from error
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise OperatorError(
            Code.SETTING_INVALID, setting="EASEL_PRESETS", problem=f"{path.name}: {first_problem(error)}"
        ) from error
    if any(EXACT in words for words in presets.values()):
        raise OperatorError(
            Code.SETTING_INVALID, setting="EASEL_PRESETS", problem=f"{path.name}: `{EXACT}` cannot mean anything else"
        )
    for word, options in presets.get(WORKER, {}).items():
        problem = options.problem_for_worker()
        if problem is not None:
            raise OperatorError(
                Code.SETTING_INVALID, setting="EASEL_PRESETS", problem=f"{path.name}: {WORKER}.{word}: {problem}"
            )
    return presets


def first_problem(error: Exception) -> str:
    """One line that says what is wrong and where."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    return str(error).splitlines()[0]
