"""What the service needs of an engine. Imports no torch, so that the service answers while torch is loading."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from PIL import Image

from backends.worker.protocol import FiguresBody, JobBody
from backends.worker.variants import LocalModel
from domain.errors import EaselError


class Cancelled(Exception):
    """The job was cancelled; raised at a step's end, before anything is decoded."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A small encoded picture of what is there so far."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Painted:
    """A finished picture and the seconds from the first step's start to its last pixel."""

    image: Image.Image
    seconds: float


class Watch(Protocol):
    """Follows a job from the engine's thread."""

    def step(self, step: int, steps: int) -> None:
        """Step ``step`` of ``steps`` is done. Raises Cancelled to end the job."""
        ...

    def preview(self, preview: Preview) -> None:
        """A preview was made."""
        ...


class Engine(Protocol):
    """Loads models and makes pictures, one at a time. ``load`` and ``make`` are called on one thread."""

    @property
    def models(self) -> tuple[LocalModel, ...]:
        """Everything that it serves, loaded or not."""
        ...

    @property
    def loaded(self) -> frozenset[str]:
        """Keys of the models that are ready."""
        ...

    @property
    def problems(self) -> Mapping[str, EaselError]:
        """Why models could not be loaded, by key."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, for people."""
        ...

    def load(self) -> None:
        """Load every model. Never raises: what could not be loaded is in ``problems``."""
        ...

    def make(self, body: JobBody, source: Image.Image | None, watch: Watch) -> Painted:
        """Make one picture.

        Raises UserError for a request that the model cannot honour, OperatorError for what the operator can
        mend (out of memory, a model that is not there), and Cancelled.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """An engine that tells about itself. Asked on the event loop: it must not wait."""

    def figures(self) -> FiguresBody:
        """Memory and caches now."""
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """An engine that does something after its weights are there and before the first job."""

    @property
    def warm_up_seconds(self) -> float:
        """How long that takes for all models, by estimate."""
        ...


MakeEngine = Callable[[], Engine]
