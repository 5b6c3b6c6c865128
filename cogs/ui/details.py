"""What the button Details shows: everything that is known of a job, nothing cut."""

from collections.abc import Mapping
from typing import Final

import discord

from cogs.ui import texts, words
from cogs.ui.cards import model_name
from cogs.ui.language import say, translated
from config.catalogue import Catalogue
from config.parameters import Option, PresetParameter
from domain.job import Job, Task, TaskState
from domain.money import MicroUSD

_COLOUR: Final = discord.Colour(0x5865F2)
FIELD: Final = 1024
"""https://discord.com/developers/docs/resources/message#embed-object-embed-limits"""
_ABSENT: Final = frozenset({"lora", "spoiler", "variation_seed", "variation_strength"})
"""What is simply not there where nobody gave it: no model has a default for it."""
_STATES: Final[Mapping[TaskState, str]] = {
    TaskState.PENDING: "waiting",
    TaskState.SUBMITTING: "being sent",
    TaskState.ACCEPTED: "being painted",
    TaskState.DONE: "done",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
    TaskState.UNKNOWN: "outcome unknown",
}


def details(job: Job, catalogue: Catalogue, corrected: MicroUSD | None = None) -> list[discord.Embed]:
    """One embed a message; the negative prompt has a second one where it is long.

    ``corrected``: what the job cost, where the operator has corrected that since.
    """
    request = job.request
    embed = discord.Embed(colour=_COLOUR, title=say("Prompt"), description=words.plain(request.prompt))
    pages = [embed]
    if request.negative_prompt is not None:
        without = words.plain(request.negative_prompt)
        if len(without) <= FIELD and len(embed) + len(without) < 4500:
            embed.add_field(name=say("Without"), value=without, inline=False)
        else:
            pages.append(discord.Embed(colour=_COLOUR, title=say("Without"), description=without))
    embed.add_field(name=say("Parameters"), value=words.cut(_parameters(job, catalogue), FIELD), inline=False)
    embed.add_field(
        name=say("Pictures"),
        value="\n".join(_picture(task, priced=corrected is None) for task in job.tasks),
        inline=False,
    )
    embed.add_field(name=say("Painted by"), value=_offer(job, corrected), inline=False)
    ids = [f"`{job.id}`"]
    if job.parent_id is not None:
        ids.append(say("made from {job}", job=f"`{job.parent_id}`"))
    who = f"<@{job.place.user_id}> · {words.moment(job.created_at // 1000, 'f')}"
    embed.add_field(name=say("Job"), value=f"{' · '.join(ids)}\n{who}", inline=False)
    return pages


def _parameters(job: Job, catalogue: Catalogue) -> str:
    request = job.request
    given = {
        "model": model_name(job, catalogue),
        "size": str(request.size) if request.size is not None else None,
        "seed": str(request.seed),
        "variation_seed": ", ".join(str(variation.seed) for variation in request.variations) or None,
        "variation_strength": ", ".join(words.number(one.strength) for one in request.variations) or None,
        "count": str(request.count),
        "steps": str(request.steps) if request.steps is not None else None,
        "guidance": words.number(request.guidance) if request.guidance is not None else None,
        "scheduler": request.scheduler,
        "lora": ", ".join(map(str, request.loras)) or None,
        "speed": request.speed or _usual_speed(job, catalogue),
        "format": request.format.value,
        "spoiler": say("yes") if request.spoiler else None,
    }
    left = [name for name, value in given.items() if value is None and name not in _ABSENT]
    lines = [f"`{name}` {words.plain(value, 400)}" for name, value in given.items() if value is not None]
    if left:
        lines.append(texts.fill(texts.DEFAULTS, options=words.listed(left)))
    return "\n".join(lines)


def _usual_speed(job: Job, catalogue: Catalogue) -> str | None:
    """What a job for which nobody named a speed is made with; None where its offer has but one."""
    offer = catalogue.offer(job.offer) if job.offer is not None else None
    speed = offer.parameters.get(Option.SPEED) if offer is not None else None
    return speed.default if isinstance(speed, PresetParameter) else None


def _picture(task: Task, *, priced: bool) -> str:
    """``priced``: not where the job's cost was corrected, which nobody has said of its pictures one by one."""
    parts = [f"**{task.index + 1}.** {say('Seed {seed}', seed=task.seed)}"]
    if task.state is TaskState.DONE:
        parts.append(f"{task.picture.width}×{task.picture.height}" if task.picture is not None else say(texts.REMOVED))
    elif task.failure is not None:
        parts.append(words.cut(texts.of_failure(task.failure), 120))
    else:
        parts.append(translated(_STATES[task.state]))
    if task.seconds is not None:
        parts.append(words.took(task.seconds))
    if task.cost is not None and priced:
        parts.append(words.price(task.cost))
    return " · ".join(parts)


def _offer(job: Job, corrected: MicroUSD | None) -> str:
    why = texts.reason(job.reason)
    offer = f"`{words.code(job.offer)}`" if job.offer is not None else say(texts.NOT_STARTED)
    parts = [say("{backend} ({why})", backend=offer, why=why) if why else offer]
    if job.seconds is not None:
        parts.append(words.took(job.seconds))
    if corrected is None:
        parts.append(words.price(job.cost))
    else:
        price, before = words.price(corrected), words.price(job.cost)
        parts.append(say("{price} (corrected; first counted: {before})", price=price, before=before))
    return " · ".join(parts)
