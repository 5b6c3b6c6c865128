"""What many replicas say of themselves, as one answer to ``/health``. Imports no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from backends.worker.protocol import HealthBody, ModelBody
from backends.worker.service import ENGINE_VERSION
from backends.worker.variants import LocalModel

REPORT_SECONDS: Final = 1.0
"""Between two reports of a replica."""
FRESH_SECONDS: Final = 15.0
"""How long a report is good for: one that computes on every core reports late."""
_COMING: Final = ("STARTING", "RECOVERING", "UPDATING", "PENDING_MIGRATION")


@dataclass(frozen=True, slots=True)
class _Report:
    at: float
    body: HealthBody


class Reports:
    """The last report of each replica, by its number: Serve gives that of one that is gone to its successor."""

    def __init__(self, models: Sequence[LocalModel]) -> None:
        self._models = tuple(models)
        self._reports: dict[int, _Report] = {}

    def note(self, number: int, body: HealthBody, now: float) -> None:
        """A replica reported."""
        self._reports[number] = _Report(now, body)

    def together(self, states: Mapping[str, int], now: float) -> HealthBody:
        """``states``: how many replicas are in which of Serve's states. Those that run are the slots."""
        running = states.get("RUNNING", 0)
        coming = sum(states.get(state, 0) for state in _COMING)
        self._reports = {number: report for number, report in self._reports.items() if now - report.at < FRESH_SECONDS}
        bodies = {number: report.body for number, report in sorted(self._reports.items())}
        loaded = {model.key for body in bodies.values() for model in body.models if model.loaded}
        # One that reports nothing (yet) has loaded its models, or Serve would not call it running.
        useless = bool(bodies) and not loaded
        state: Literal["ready", "loading", "failed"] = "loading" if coming else "failed"
        if running:
            state = "failed" if useless else "ready"
        devices = ", ".join(sorted({body.device for body in bodies.values() if body.device}))
        return HealthBody(
            state=state,
            version=ENGINE_VERSION,
            slots=running,
            busy=sum(body.busy for body in bodies.values()),
            waiting=sum(body.waiting for body in bodies.values()),
            device=f"Ray, {running} running, {coming} starting{f' ({devices})' if devices else ''}",
            problem=next((body.problem for body in bodies.values() if body.problem is not None), None),
            replicas={str(number): body.figures for number, body in bodies.items() if body.figures is not None},
            models=tuple(
                ModelBody(
                    key=model.key,
                    kind=model.kind.value,
                    variant=model.variant.name,
                    loaded=model.key in loaded if bodies else running > 0,
                )
                for model in self._models
            ),
            loras=_had_by_all([body.loras for body in bodies.values()]),
        )


def _had_by_all(folders: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """A job may come to any replica."""
    if not folders:
        return ()
    return tuple(name for name in folders[0] if all(name in folder for folder in folders))
