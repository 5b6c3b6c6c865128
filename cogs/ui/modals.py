"""Modals. They are forms alone: the custom_id says what they are for, so that one that was open during a restart
still works when it is submitted.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import discord

from cogs.sources import MAX_LINK
from cogs.ui import texts, words
from cogs.ui.buttons import JOB_ID
from cogs.ui.language import say
from domain.job import Job
from domain.request import MAX_PROMPT_CHARACTERS, MAX_SEED, Kind

PROMPT: Final = "prompt"
SEED: Final = "seed"
LINK: Final = "link"
SOURCE_FORM: Final = "easel:source"
_AGAIN: Final = re.compile(rf"easel:edit:(?P<job_id>{JOB_ID})")
_DELETE: Final = re.compile(rf"easel:delete:(?P<job_id>{JOB_ID})")
_PICTURE: Final = re.compile(rf"easel:picture:(?P<job_id>{JOB_ID}):(?P<index>[0-3])")


def edit_again(job: Job) -> discord.ui.Modal:
    """The prompt and the seed of a job, to change and send again."""
    instruction = job.request.kind is Kind.EDIT
    title = say("Edit the instruction") if instruction else say("Edit the prompt")
    label = say("Instruction") if instruction else say("Prompt")
    prompt = words.cut(job.request.prompt, MAX_PROMPT_CHARACTERS)
    return _form(f"easel:edit:{job.id}", title, label, prompt, str(job.tasks[0].seed))


def edit_picture(job: Job, index: int) -> discord.ui.Modal:
    """The instruction for one picture of a job."""
    title = say("Edit picture {number}", number=index + 1) if job.request.count > 1 else say("Edit this picture")
    return _form(f"easel:picture:{job.id}:{index}", title, say("Instruction"), None, None)


def edit_source(link: str) -> discord.ui.Modal:
    """The instruction for a picture that is not of ours; its link travels in the form."""
    return _form(SOURCE_FORM, say("Edit this picture"), say("Instruction"), None, None, link)


def delete_for_good(job: Job) -> discord.ui.Modal:
    """Asks before pictures are deleted."""
    modal = discord.ui.Modal(title=say("Delete for good"), custom_id=f"easel:delete:{job.id}")
    question = texts.DELETE_ONE if len(job.pictures) == 1 else texts.DELETE_SEVERAL
    modal.add_item(discord.ui.TextDisplay(texts.fill(question)))
    modal.stop()
    return modal


def deleted_job(custom_id: str) -> str | None:
    """The job whose pictures are to be deleted; None for other forms."""
    match = _DELETE.fullmatch(custom_id)
    return match["job_id"] if match else None


def _form(
    custom_id: str, title: str, label: str, text: str | None, number: str | None, link: str | None = None
) -> discord.ui.Modal:
    modal = discord.ui.Modal(title=title, custom_id=custom_id)
    prompt: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph,
        custom_id=PROMPT,
        default=text,
        placeholder=say("What to change, e.g. “make the sky purple”") if text is None else None,
        min_length=1,
        max_length=MAX_PROMPT_CHARACTERS,
    )
    seed: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.short,
        custom_id=SEED,
        default=number,
        placeholder=say("empty: a new one"),
        required=False,
        max_length=len(str(MAX_SEED)),
    )
    modal.add_item(discord.ui.Label(text=label, component=prompt))
    modal.add_item(
        discord.ui.Label(
            text=say("Seed"),
            description=say("The same seed keeps the composition. Empty: a new one."),
            component=seed,
        )
    )
    if link is not None:
        source: discord.ui.TextInput[Any] = discord.ui.TextInput(
            style=discord.TextStyle.short, custom_id=LINK, default=link, max_length=MAX_LINK
        )
        modal.add_item(discord.ui.Label(text=say("Picture"), description=say("Where it comes from."), component=source))
    # A stopped modal is sent but not remembered; what comes back is read from the interaction itself.
    modal.stop()
    return modal


def edited_job(custom_id: str) -> str | None:
    """The job that a submitted modal is about; None for a modal that is not ours."""
    match = _AGAIN.fullmatch(custom_id)
    return match["job_id"] if match else None


def edited_picture(custom_id: str) -> tuple[str, int] | None:
    """The job and the picture (from 0) that a submitted instruction is about; None for other modals."""
    match = _PICTURE.fullmatch(custom_id)
    return (match["job_id"], int(match["index"])) if match else None


def values(interaction: discord.Interaction[Any]) -> dict[str, str]:
    """The texts that were submitted, and the first of what was selected, by custom_id."""
    data = cast("Mapping[str, Any]", interaction.data or {})
    found = {}
    for component in _walk(data.get("components", ())):
        chosen = component.get("value", next(iter(component.get("values") or ()), None))
        if "custom_id" in component and chosen is not None:
            found[str(component["custom_id"])] = str(chosen)
    return found


def _walk(components: Any) -> Iterator[Mapping[str, Any]]:
    for component in components:
        yield component
        yield from _walk(component.get("components", ()))
        if "component" in component:
            yield from _walk([component["component"]])
