"""What a bot that runs says of its backends: only it knows which of them it leaves alone after failures."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Final

import httpx
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from config.listening import LOOPBACK, ListenAddress
from jobs.findings import Finding

SUBJECT: Final = "running bot"
SECONDS: Final = 5.0
_MEND: Final = "See its log; if EASEL_METRICS_LISTEN was changed since it was started, start it again."
_ANY: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - it is called, not listened at
"""Where a bot that listens at every address is reached from its own machine."""


async def examine_running(address: ListenAddress) -> AsyncIterator[Finding]:
    """A finding for each place that the bot sends calls to. ``address``: of its /metrics."""
    reached = replace(address, host=_ANY.get(address.host, address.host))
    url = httpx.URL(scheme="http", host=reached.host, port=reached.port, path="/metrics")
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
            answer = await client.get(url)
            answer.raise_for_status()
        families = list(text_string_to_metric_families(answer.text))
    except httpx.HTTPError as error:
        yield Finding(SUBJECT, False, f"does not answer at {url}: {type(error).__name__}", _MEND)
        return
    except ValueError:
        families = []
    if not any(family.name == "easel_info" for family in families):
        yield Finding(SUBJECT, False, f"another program answers at {url}", _MEND)
        return
    for finding in _findings(families):
        yield finding


def _findings(families: Iterable[Metric]) -> Iterable[Finding]:
    up: dict[str, bool] = {}
    resting: dict[str, str] = {}
    for family in families:
        for sample in family.samples:
            match sample.name:
                case "easel_backend_up":
                    up[sample.labels["place"]] = sample.value == 1
                case "easel_backend_resting":
                    resting[sample.labels["place"]] = sample.labels["problem"]
    for place, takes_calls in up.items():
        if place in resting:
            mend = "Nothing has to be done where it passes; else see what is said of it below, and the bot's log."
            yield Finding(SUBJECT, False, f"leaves {place} alone for a while, after {resting[place]}", mend)
        elif not takes_calls:
            yield Finding(SUBJECT, False, f"finds {place} down, or still loading", "See the bot's log.")
        else:
            yield Finding(SUBJECT, True, f"sends jobs to {place}")
