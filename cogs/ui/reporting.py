"""Reports: the form for the reason, and what admins and the operator read."""

import re
from typing import Any, Final

import discord

from cogs.ui import words
from cogs.ui.buttons import JOB_ID, Action, buttons_of
from cogs.ui.language import say, translated
from domain.job import Job
from domain.safety import MAX_REASON

REASON: Final = "reason"
_FORM: Final = re.compile(rf"easel:report:(?P<job_id>{JOB_ID})")
_BUTTON: Final = re.compile(rf"easel:(?:{Action.DETAILS}|{Action.REROLL}):(?P<job_id>{JOB_ID})")


def job_of(message: discord.Message) -> str | None:
    """The job whose result the message is; None where it is none."""
    for button in buttons_of(message):
        match = _BUTTON.fullmatch(button.custom_id or "")
        if match is not None:
            return match["job_id"]
    return None


def reason_form(job_id: str) -> discord.ui.Modal:
    """Asks what is wrong with a picture."""
    modal = discord.ui.Modal(title=translated("Report this picture"), custom_id=f"easel:report:{job_id}")
    reason: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph, custom_id=REASON, required=False, max_length=MAX_REASON
    )
    modal.add_item(
        discord.ui.Label(
            text=translated("What is wrong with it?"),
            description=translated("The bot's operator will read it, and in a server its admins, too."),
            component=reason,
        )
    )
    # A stopped modal is sent but not remembered; what comes back is read from the interaction itself.
    modal.stop()
    return modal


def reported_job(custom_id: str) -> str | None:
    """The job that a submitted form is about; None for other forms."""
    match = _FORM.fullmatch(custom_id)
    return match["job_id"] if match else None


def report(job: Job, reporter_id: int, reason: str) -> discord.Embed:
    """What admins and the operator read. The prompt is hidden until it is clicked."""
    lines = [
        say("Job `{job}` of <@{author}> was reported by <@{reporter}>.", job=job.id, author=job.place.user_id,
            reporter=reporter_id),
        f"> {words.plain(reason, MAX_REASON)}" if reason else "",
        f"||{words.plain(job.request.prompt, 500)}||",
    ]  # fmt: skip
    if job.link is not None:
        lines.append(job.link)
    return discord.Embed(
        title=translated("A picture was reported"), description="\n".join(line for line in lines if line)
    )
