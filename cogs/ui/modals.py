"""Modals. They are forms alone: the custom_id says what they are for, so that one that was open during a restart
still works when it is submitted.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import discord

from cogs.ui import words
from cogs.ui.buttons import JOB_ID
from domain.job import Job
from domain.request import MAX_PROMPT_CHARACTERS, MAX_SEED, Kind

PROMPT: Final = "prompt"
SEED: Final = "seed"
_TEMPLATE: Final = re.compile(rf"easel:edit:(?P<job_id>{JOB_ID})")


def edit_again(job: Job) -> discord.ui.Modal:
    """The prompt and the seed of a job, to change and send again."""
    instruction = job.request.kind is Kind.EDIT
    modal = discord.ui.Modal(
        title="Edit the instruction" if instruction else "Edit the prompt", custom_id=f"easel:edit:{job.id}"
    )
    prompt: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph,
        custom_id=PROMPT,
        default=words.cut(job.request.prompt, MAX_PROMPT_CHARACTERS),
        min_length=1,
        max_length=MAX_PROMPT_CHARACTERS,
    )
    seed: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.short,
        custom_id=SEED,
        default=str(job.tasks[0].seed),
        placeholder="empty: a new one",
        required=False,
        max_length=len(str(MAX_SEED)),
    )
    modal.add_item(discord.ui.Label(text="Instruction" if instruction else "Prompt", component=prompt))
    modal.add_item(
        discord.ui.Label(
            text="Seed", description="The same seed keeps the composition. Empty: a new one.", component=seed
        )
    )
    # A stopped modal is sent but not remembered; what comes back is read from the interaction itself.
    modal.stop()
    return modal


def edited_job(custom_id: str) -> str | None:
    """The job that a submitted modal is about; None for a modal that is not ours."""
    match = _TEMPLATE.fullmatch(custom_id)
    return match["job_id"] if match else None


def values(interaction: discord.Interaction[Any]) -> dict[str, str]:
    """The texts that were submitted, by custom_id."""
    data = cast("Mapping[str, Any]", interaction.data or {})
    return {
        str(component["custom_id"]): str(component["value"])
        for component in _walk(data.get("components", ()))
        if "custom_id" in component and "value" in component
    }


def _walk(components: Any) -> Iterator[Mapping[str, Any]]:
    for component in components:
        yield component
        yield from _walk(component.get("components", ()))
        if "component" in component:
            yield from _walk([component["component"]])
