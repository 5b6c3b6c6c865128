"""What the bot counts, in Prometheus' form. Fed by the event stream; what merely *is* is looked up at each scrape.

No label carries what somebody wrote, nor who they are: guilds appear as three classes of busyness.
"""

import asyncio
import logging
from collections import Counter as Counted
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backends.base import HealthState
from db.database import Database
from db.jobs import JobStore
from db.ledger import LedgerStore
from domain.job import Job, JobState, TaskState
from domain.money import MicroUSD, in_usd
from domain.quota import Subject, Unit
from jobs.events import EventStream, StateChanged, StepDone
from jobs.fleet import Fleet

log = logging.getLogger(__name__)

WAIT_BUCKETS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
STAGE_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 40, 60, 120, 300, 600)
LIGHT_JOBS: Final = 10
MEDIUM_JOBS: Final = 100
CLASSES: Final = ("light", "medium", "heavy")
DAY_SECONDS: Final = 86_400

_OVER: Final = frozenset(
    {
        JobState.POSTED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.UNKNOWN,
        JobState.UNDELIVERABLE,
    }
)
_STAGE_OF: Final = {
    JobState.SUBMITTING: "submitting",
    JobState.ACCEPTED: "accepted",
    JobState.RUNNING: "painting",
    JobState.FINISHED: "handing_over",
    JobState.POSTING: "posting",
}


class GuildClasses:
    """Which guilds are busy: by the jobs that they brought in today and yesterday (UTC), since the bot's start."""

    def __init__(self) -> None:
        self._day = 0
        self._today: Counted[int] = Counted()
        self._yesterday: Counted[int] = Counted()

    def note(self, guild_id: int, at: float) -> None:
        """A job came in."""
        day = int(at // DAY_SECONDS)
        if day != self._day:
            self._yesterday = self._today if day == self._day + 1 else Counted()
            self._today, self._day = Counted(), day
        self._today[guild_id] += 1

    def of(self, guild_id: int) -> str:
        """``light`` up to 10 jobs, ``medium`` up to 100, else ``heavy``."""
        jobs = self._today[guild_id] + self._yesterday[guild_id]
        return CLASSES[0] if jobs <= LIGHT_JOBS else CLASSES[1] if jobs <= MEDIUM_JOBS else CLASSES[2]


@dataclass(frozen=True, slots=True)
class Probes:
    """What only the door knows."""

    latencies: Callable[[], Mapping[int, float]] = dict
    """Shard -> seconds between a heartbeat and its answer."""
    card_edits: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Edits of cards that were sent, and turns that were missed."""


@dataclass(slots=True)
class _Followed:
    job: Job
    stage: str
    since: float


@dataclass(slots=True)
class _Sample:
    """What was looked up for one scrape."""

    families: list[Metric] = field(default_factory=list)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        yield from self.families


class Metrics:
    """The registry and what fills it."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: JobStore,
        ledger: LedgerStore,
        fleet: Fleet,
        events: EventStream,
        clock: Callable[[], datetime],
        daily_budget: MicroUSD,
        version: str,
    ) -> None:
        self.registry = CollectorRegistry()
        self.probes = Probes()
        self._database, self._jobs, self._ledger = database, jobs, ledger
        self._fleet, self._events, self._clock = fleet, events, clock
        self._daily_budget = daily_budget
        self._classes = GuildClasses()
        self._followed: dict[str, _Followed] = {}
        self._sample = _Sample()
        self._sampling = asyncio.Lock()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self._info = Gauge("easel_info", "1; the label says which version runs.", ["version"], registry=self.registry)
        self._info.labels(version).set(1)
        self._over = counter("easel_jobs", "Jobs that came to an end, by the state they ended in.", "state")
        self._failures = counter("easel_failures", "Jobs that ended without a picture, by the code of why.", "code")
        self._restarts = counter("easel_restarts", "Starts of a job after its first, by backend.", "backend")
        self._pictures = counter("easel_pictures", "Pictures that were made.", "model", "backend")
        self._steps = counter("easel_steps", "Denoising steps that backends reported.")
        self._spent = counter("easel_spent_usd", "What finished pictures cost, in US dollars.", "backend")
        self._gpu = counter("easel_gpu_seconds", "Seconds that workers took for finished pictures.", "model")
        self._wait = Histogram(
            "easel_wait_seconds",
            "From a job's coming in to its first start, by how busy its guild is.",
            ["guild_class"],
            buckets=WAIT_BUCKETS,
            registry=self.registry,
        )
        self._stage = Histogram(
            "easel_stage_seconds",
            "How long jobs were in each stage after the wait.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        for guild_class in CLASSES:
            self._wait.labels(guild_class)
        ProcessCollector(registry=self.registry)
        self.registry.register(PLATFORM_COLLECTOR)
        self.registry.register(GC_COLLECTOR)
        self.registry.register(_Sampled(self._sample))

    async def follow(self) -> None:
        """Count what happens, until cancelled."""
        with self._events.listen() as events:
            async for event in events:
                match event:
                    case StateChanged():
                        await self._moved(event.job_id, event.state)
                    case StepDone():
                        self._steps.inc()
                    case _:
                        pass

    async def page(self) -> bytes:
        """Everything, as Prometheus reads it."""
        async with self._sampling:
            self._sample.families = await self._look()
            return await asyncio.to_thread(generate_latest, self.registry)

    async def _moved(self, job_id: str, state: JobState) -> None:
        now = self._clock().timestamp()
        before = self._followed.get(job_id)
        if before is not None:
            self._stage.labels(before.stage).observe(max(0.0, now - before.since))
        job = await self._jobs.get(job_id)
        if job is None:
            self._followed.pop(job_id, None)
            return
        if state in (JobState.RUNNING, JobState.SUBMITTING) and (before is None or before.job.starts != job.starts):
            self._started(job, now)
        if state is JobState.FINISHED:
            self._finished(job)
        stage = _STAGE_OF.get(state)
        if stage is None:
            self._followed.pop(job_id, None)
        else:
            self._followed[job_id] = _Followed(job, stage, now)
        if state in _OVER:
            self._over.labels(state.value).inc()
            if job.failure is not None:
                self._failures.labels(job.failure.code.value).inc()

    def _started(self, job: Job, now: float) -> None:
        if job.starts > 1:
            self._restarts.labels(_backend(job)).inc()
            return
        self._classes.note(job.place.guild_id, now)
        self._wait.labels(self._classes.of(job.place.guild_id)).observe(max(0.0, now - job.created_at / 1000))

    def _finished(self, job: Job) -> None:
        backend = _backend(job)
        for task in job.tasks:
            if task.state is TaskState.DONE:
                self._pictures.labels(job.request.model, backend).inc()
                if backend == "worker":
                    self._gpu.labels(job.request.model).inc(task.seconds or 0.0)
        self._spent.labels(backend).inc(float(in_usd(job.cost)))

    async def _look(self) -> list[Metric]:
        midnight = self._clock().replace(hour=0, minute=0, second=0, microsecond=0)
        async with self._database.reading() as reader:
            waiting = await self._jobs.waiting(reader)
            balance = await self._ledger.balance(reader, 0, Subject.OPERATOR, 0, Unit.MONEY, midnight)
        in_line = Counted(self._classes.of(job.guild_id) for job in waiting)
        queue = GaugeMetricFamily(
            "easel_queue_length", "Jobs that wait, by how busy their guild is.", labels=["guild_class"]
        )
        for guild_class in CLASSES:
            queue.add_metric([guild_class], in_line[guild_class])
        sent, missed = self.probes.card_edits()
        edits = CounterMetricFamily(
            "easel_card_edits", "Edits of progress cards: sent, or put off by the edit budget.", labels=["outcome"]
        )
        edits.add_metric(["sent"], sent)
        edits.add_metric(["put_off"], missed)
        latency = GaugeMetricFamily(
            "easel_discord_latency_seconds", "Between a gateway heartbeat and its answer.", labels=["shard"]
        )
        for shard, seconds in self.probes.latencies().items():
            latency.add_metric([str(shard)], seconds)
        return [
            queue,
            GaugeMetricFamily("easel_under_way", "Jobs that a backend works on.", value=self._fleet.busy()),
            GaugeMetricFamily(
                "easel_budget_usd", "What may be spent on paid backends a day.", value=float(in_usd(self._daily_budget))
            ),
            GaugeMetricFamily(
                "easel_budget_used_usd",
                "Spent and held of it since midnight UTC.",
                value=float(in_usd(MicroUSD(balance.used + balance.held))),
            ),
            edits,
            latency,
            *self._places(),
        ]

    def _places(self) -> list[Metric]:
        up = GaugeMetricFamily("easel_backend_up", "1 where it takes calls.", labels=["place"])
        resting = GaugeMetricFamily(
            "easel_backend_resting", "1 while nothing is sent there, after failures.", labels=["place", "problem"]
        )
        slots = GaugeMetricFamily("easel_backend_slots", "Calls that it takes at a time.", labels=["place"])
        memory = GaugeMetricFamily(
            "easel_worker_memory_bytes",
            "Memory of the worker's GPU (or of its process).",
            labels=["place", "replica", "what"],
        )
        caches = CounterMetricFamily(
            "easel_worker_cache_lookups",
            "Looks into the worker's caches.",
            labels=["place", "replica", "cache", "outcome"],
        )
        busy = CounterMetricFamily(
            "easel_worker_busy_seconds", "Seconds that the worker spent on jobs.", labels=["place", "replica"]
        )
        for place, health in self._fleet.health().items():
            up.add_metric([place], float(health.state is HealthState.UP))
            if (problem := self._fleet.problem(place)) is not None:
                resting.add_metric([place, problem.code.value], 1)
            slots.add_metric([place], health.slots)
            alone = {"": health.figures} if health.figures is not None else {}
            for replica, figures in {**alone, **health.replicas}.items():
                memory.add_metric([place, replica, "used"], figures.memory_used_bytes)
                memory.add_metric([place, replica, "total"], figures.memory_total_bytes)
                busy.add_metric([place, replica], figures.busy_seconds)
                for name, lookups in figures.caches.items():
                    caches.add_metric([place, replica, name, "hit"], lookups.hits)
                    caches.add_metric([place, replica, name, "miss"], lookups.misses)
        return [up, resting, slots, memory, caches, busy]


class _Sampled(Collector):
    """Hands out what was looked up last."""

    def __init__(self, sample: _Sample) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        return self._sample.collect()

    def describe(self) -> list[Metric]:
        """Nothing: without it the registry would collect at registration."""
        return []


def _backend(job: Job) -> str:
    return job.offer.partition(":")[0] if job.offer else "none"
