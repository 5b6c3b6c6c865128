"""The metrics: what they say, that their page is true, and that the dashboard shows only what there is."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from backends.base import BackendFailed, Figures, Lookups
from config.listening import LOOPBACK, ListenAddress
from domain.errors import Code, InternalError, OperatorError
from domain.job import JobState
from jobs.metrics import DAY_SECONDS, GuildClasses, Metrics, Probes
from jobs.monitoring import monitoring
from tests.building import House, metrics_of, open_house
from tests.doubles import Paint, ScriptedBackend, Steps

ROOT = Path(__file__).parents[2]
FAILED = BackendFailed(InternalError(Code.BACKEND_FAILED, backend="worker"))


@asynccontextmanager
async def counted(house: House) -> AsyncIterator[Metrics]:
    metrics = metrics_of(house)
    following = asyncio.create_task(metrics.follow())
    await asyncio.sleep(0)
    try:
        yield metrics
    finally:
        following.cancel()


async def value(metrics: Metrics, sample: str, wanted: float | None = None) -> float | None:
    """A sample as Prometheus would read it; with ``wanted``, once it says so."""
    async with asyncio.timeout(60):
        while True:
            page = (await metrics.page()).decode()
            found = re.search(rf"^{re.escape(sample)} (\S+)$", page, re.MULTILINE)
            number = float(found[1]) if found else None
            if wanted is None or number == wanted:
                return number
            await asyncio.sleep(0)


async def test_a_job_is_counted_from_its_coming_in_to_its_picture(tmp_path: Path) -> None:
    backend = ScriptedBackend("worker", (Steps(4), Paint(seconds=2.5)))
    backend.health_now = replace(
        backend.health_now, figures=Figures(3 << 30, 141 << 30, {"prompt_embeddings": Lookups(5, 2)}, 7.5)
    )
    async with open_house(tmp_path, {"worker": backend}) as house, counted(house) as metrics:
        job = await house.ask("local", count=2)
        await house.reached(job.id, JobState.FINISHED)
        assert await value(metrics, 'easel_pictures_total{backend="worker",model="local"}', 2) == 2
        assert await value(metrics, 'easel_gpu_seconds_total{model="local"}') == 5
        assert await value(metrics, "easel_steps_total") == 8
        assert await value(metrics, 'easel_wait_seconds_count{guild_class="light"}') == 1
        assert await value(metrics, 'easel_stage_seconds_count{stage="painting"}') == 1
        assert await value(metrics, 'easel_backend_up{place="worker"}') == 1
        assert await value(metrics, 'easel_worker_memory_bytes{place="worker",replica="",what="used"}') == 3 << 30
        lookups = 'easel_worker_cache_lookups_total{cache="prompt_embeddings",outcome="hit",place="worker",replica=""}'
        assert await value(metrics, lookups) == 5
        assert await value(metrics, 'easel_worker_busy_seconds_total{place="worker",replica=""}') == 7.5
        assert await value(metrics, 'easel_info{version="1.2.3"}') == 1


async def test_replicas_of_a_cluster_are_told_apart(tmp_path: Path) -> None:
    backend = ScriptedBackend("worker", (Paint(),))
    replicas = {number: Figures(int(number) << 30, 80 << 30, {"model": Lookups(1, 4)}, 2.0) for number in ("1", "2")}
    backend.health_now = replace(backend.health_now, replicas=replicas)
    async with open_house(tmp_path, {"worker": backend}) as house, counted(house) as metrics:
        job = await house.ask("local")
        await house.reached(job.id, JobState.FINISHED)
        for number in (1, 2):
            memory = f'easel_worker_memory_bytes{{place="worker",replica="{number}",what="used"}}'
            assert await value(metrics, memory) == number << 30
            misses = (
                f'easel_worker_cache_lookups_total{{cache="model",outcome="miss",place="worker",replica="{number}"}}'
            )
            assert await value(metrics, misses) == 4
            assert await value(metrics, f'easel_worker_busy_seconds_total{{place="worker",replica="{number}"}}') == 2
        assert await value(metrics, 'easel_worker_memory_bytes{place="worker",replica="",what="used"}') is None


async def test_failures_are_counted_by_their_code(tmp_path: Path) -> None:
    backend = ScriptedBackend("worker", (FAILED,))
    async with open_house(tmp_path, {"worker": backend}) as house, counted(house) as metrics:
        job = await house.ask("local")
        await house.reached(job.id, JobState.FAILED)
        assert await value(metrics, 'easel_failures_total{code="backend_failed"}', 1) == 1
        assert await value(metrics, 'easel_jobs_total{state="failed"}') == 1


async def test_money_is_told_beside_the_budget(tmp_path: Path) -> None:
    backend = ScriptedBackend("wavespeed", (Paint(),))
    async with open_house(tmp_path, {"wavespeed": backend}) as house, counted(house) as metrics:
        job = await house.ask("paid", count=3)
        await house.reached(job.id, JobState.FINISHED)
        assert await value(metrics, 'easel_spent_usd_total{backend="wavespeed"}', 0.03) == 0.03
        assert await value(metrics, "easel_budget_used_usd") == 0.03
        assert await value(metrics, "easel_budget_usd") == 5


async def test_the_line_is_told_by_how_busy_a_guild_is(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house, counted(house) as metrics:
        for _ in range(3):
            await house.ask("local")
        assert await value(metrics, 'easel_queue_length{guild_class="light"}') == 3
        assert await value(metrics, 'easel_queue_length{guild_class="heavy"}') == 0


def test_a_guild_is_as_busy_as_in_two_days() -> None:
    classes = GuildClasses()
    for _ in range(11):
        classes.note(1, 100)
    assert (classes.of(1), classes.of(2)) == ("medium", "light")
    for _ in range(90):
        classes.note(1, DAY_SECONDS + 100)
    assert classes.of(1) == "heavy"
    classes.note(2, DAY_SECONDS * 3)
    assert classes.of(1) == "light"


async def test_the_pages_over_http(tmp_path: Path) -> None:
    checks = {"commands": False, "gateway": True}
    async with open_house(tmp_path, working=False) as house, counted(house) as metrics:
        metrics.probes = Probes(lambda: {0: 0.05}, lambda: (7, 3))
        async with (
            monitoring(metrics, lambda: checks, ListenAddress(LOOPBACK, 0)) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            assert (await client.get("/healthz")).status_code == 200
            waiting = await client.get("/readyz")
            assert (waiting.status_code, waiting.json()) == (503, checks)
            checks["commands"] = True
            assert (await client.get("/readyz")).status_code == 200
            page = await client.get("/metrics")
            assert page.headers["content-type"].startswith("text/plain")
            assert 'easel_discord_latency_seconds{shard="0"} 0.05' in page.text
            assert 'easel_card_edits_total{outcome="put_off"} 3.0' in page.text
            with pytest.raises(OperatorError):
                async with monitoring(metrics, lambda: checks, ListenAddress(LOOPBACK, port)):
                    pass


async def test_the_documented_metrics_are_those_that_there_are(tmp_path: Path) -> None:
    documented = set(re.findall(r"^\| `(easel_\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert documented == {name for name in await existing(tmp_path) if name.startswith("easel_")}


async def test_the_dashboard_and_the_alerts_show_only_what_there_is(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "easel.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = re.findall(r'expr: "([^"]+)"', (ROOT / "docs" / "metrics.md").read_text())
    named = {name for expression in [*shown, *alerts] for name in re.findall(r"\b(?:easel|process)_\w+", expression)}
    there = await existing(tmp_path)
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= there
    # And everything that there is of ours is shown.
    assert {name for name in there if name.startswith("easel_")} == {
        re.sub(r"_(bucket|count|sum)$", "", name) for name in named if name.startswith("easel_")
    }


async def existing(folder: Path) -> set[str]:
    """The names of all metrics, as they are queried."""
    async with open_house(folder, {"worker": ScriptedBackend()}) as house, counted(house) as metrics:
        page = (await metrics.page()).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    return {name for name, kind in kinds.items() if not name.endswith("_created")}
