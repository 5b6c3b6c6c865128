"""What the bot and the worker say to each other: JSON over HTTP, one event a line.

``POST /jobs`` with a ``JobBody`` streams ``JobEvent`` lines; the last is a ``picture`` or an ``error``.
Closing the
connection cancels at the next denoising step. ``GET /health`` answers a ``HealthBody``, ``GET /models`` a
``ModelsBody``. Binary data is base64 in JSON.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from backends.worker.loras import MAX_LORAS, MAX_WEIGHT, NAME_PATTERN
from domain.accelerators import AcceleratorOptions
from domain.errors import Code, Parameter
from domain.request import MAX_VARIATIONS, Variation

PROTOCOL_VERSION = 3


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LoraBody(_Body):
    """A LoRA of the worker's folder, by name, and how strongly it works."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    weight: Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT)] = 1.0


def _for_worker(options: AcceleratorOptions) -> AcceleratorOptions:
    problem = options.problem_for_worker()
    if problem is not None:
        raise ValueError(problem)
    return options


class JobBody(_Body):
    """One picture to make. ``None`` means the variant's default."""

    job_id: str
    model: str
    """Key of the catalogue's model, e.g. ``tiny`` or ``hidream-i1-dev``."""
    variant: str
    """The offer's target: ``dev``, ``full``, ``fast`` or ``e1``."""
    prompt: Annotated[str, Field(max_length=2000)]
    negative_prompt: Annotated[str, Field(max_length=2000)] | None = None
    width: Annotated[int, Field(ge=16, le=4096)] | None = None
    height: Annotated[int, Field(ge=16, le=4096)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)]
    variations: Annotated[tuple[Variation, ...], Field(max_length=MAX_VARIATIONS)] = ()
    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    guidance: Annotated[float, Field(ge=0, le=50)] | None = None
    loras: Annotated[tuple[LoraBody, ...], Field(max_length=MAX_LORAS)] = ()
    accelerators: Annotated[AcceleratorOptions, AfterValidator(_for_worker)] | None = None
    """The step cache; without it every step is computed."""
    source: str | None = None
    """Base64 of the input picture's file (edits)."""
    preview_every: Annotated[int, Field(ge=0)] = 0
    """Send a preview every so many steps; 0 sends none."""

    @model_validator(mode="after")
    def _noise_is_independent(self) -> Self:
        """The same noise twice would be stronger than noise is."""
        seeds = [self.seed, *(variation.seed for variation in self.variations)]
        if len(set(seeds)) < len(seeds):
            raise ValueError("a variation seed is that of the picture, or is there twice")
        return self


class QueuedEvent(_Body):
    """Another job is on the GPU; ``ahead`` jobs are before this one."""

    type: Literal["queued"] = "queued"
    ahead: int


class LoadingEvent(_Body):
    """The model is being loaded."""

    type: Literal["loading"] = "loading"
    seconds: float


class StartedEvent(_Body):
    """The job has the GPU."""

    type: Literal["started"] = "started"


class StepEvent(_Body):
    """Denoising step ``step`` of ``steps`` is done."""

    type: Literal["step"] = "step"
    step: int
    steps: int


class PreviewEvent(_Body):
    """What the picture looks like so far."""

    type: Literal["preview"] = "preview"
    media_type: str
    data: str
    """Base64."""


class PictureEvent(_Body):
    """The picture, as a lossless PNG."""

    type: Literal["picture"] = "picture"
    width: int
    height: int
    seconds: float
    """From the first denoising step's start to the decoded picture."""
    data: str
    """Base64."""


class ErrorEvent(_Body):
    """The job ended without a picture. ``at_fault`` says whose the mend is."""

    type: Literal["error"] = "error"
    at_fault: Literal["request", "operator", "worker"]
    code: Code
    parameters: Mapping[str, Parameter] = {}


JobEvent = Annotated[
    QueuedEvent | LoadingEvent | StartedEvent | StepEvent | PreviewEvent | PictureEvent | ErrorEvent,
    Field(discriminator="type"),
]
JOB_EVENT: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)


class ModelBody(_Body):
    """A model that this worker serves."""

    key: str
    kind: Literal["imagine", "edit"]
    variant: str
    loaded: bool


class SpokenProtocol(BaseModel):
    """The one line of ``/health`` that every version understands."""

    protocol: int


class LookupsBody(_Body):
    """How often a cache was asked since the worker's start."""

    hits: int
    misses: int


class FiguresBody(_Body):
    """What the worker tells about itself; memory of the GPU, or of the process where there is none."""

    memory_used_bytes: int
    memory_total_bytes: int
    caches: Mapping[str, LookupsBody] = {}
    """``prompt_embeddings``, and ``model``: whether a job came with the model of the one before it."""
    busy_seconds: float = 0.0
    """Spent on jobs since the start, whatever became of them."""


class HealthBody(_Body):
    """How the worker is."""

    state: Literal["loading", "ready", "failed"]
    protocol: int = PROTOCOL_VERSION
    version: str
    """The engine's version: with the same one, the same seed gives the same pixels."""
    slots: int = 1
    busy: int = 0
    waiting: int = 0
    device: str
    loading_seconds: float | None = None
    problem: ErrorEvent | None = None
    """Why loading failed."""
    figures: FiguresBody | None = None
    replicas: Mapping[str, FiguresBody] = {}
    """Where several machines answer as one: the figures of each, by its number."""
    models: tuple[ModelBody, ...] = ()
    """Everything that it serves, loaded or not."""
    loras: tuple[str, ...] = ()
    """Names of the LoRAs that it can paint with."""


class ModelsBody(_Body):
    """All models that this worker serves, and the LoRAs that it can paint them with, by name."""

    models: tuple[ModelBody, ...]
    loras: tuple[str, ...] = ()
