"""The messages of a job: the card while it waits and is painted, the result, and how it ended otherwise.

A result is attached pictures with an embed under them. A container of Components V2 was looked at beside it, with one
picture and with four: its frame makes the pictures smaller, most of all on a phone, and its text longer; and such a
message cannot have content, which is what a phone's notification shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, ParamSpec

import discord

from cogs.ui import texts, words
from cogs.ui.buttons import Action, job_buttons, result_buttons
from cogs.ui.language import Plural, say, speaking
from config.catalogue import Catalogue
from domain.errors import Code
from domain.guild import GuildSettings
from domain.job import UNDER_WAY, Job, JobState, Task, TaskState
from domain.language import Language
from domain.money import MicroUSD
from domain.request import Kind
from jobs.house_rules import can_use
from jobs.variations import can_blend

P = ParamSpec("P")

PROMPT_ON_CARD: Final = 300
PROMPT_ON_RESULT: Final = 700
"""Characters of a prompt that are shown: about what a phone shows without scrolling the picture away."""
PREVIEW_NAME: Final = "preview"
GPU: Final = "worker"
"""The backend that is the operator's own GPU."""

_USUAL_REASONS: Final = frozenset({"only_one", "first_in_order"})
"""Why a backend was taken: not worth a word while it paints."""
_WAITING: Final = discord.Colour(0x5865F2)
_LOADING: Final = discord.Colour(0xF0B232)
_PAINTING: Final = discord.Colour(0x23A55A)
_DONE: Final = discord.Colour(0x2B9ED9)
_FAILED: Final = discord.Colour(0xDA373C)
_CANCELLED: Final = discord.Colour(0x80848E)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a message consists of. ``content`` is where somebody is pinged."""

    embed: discord.Embed
    view: discord.ui.View | None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a job besides its row."""

    position: int | None = None
    """Place in line; 1 is next."""
    wait_seconds: float | None = 0.0
    """Until it is started; None: nothing that could take it is up."""
    loading_seconds: float | None = None
    """Until the model is loaded, while it is."""
    step: tuple[int, int, int] | None = None
    """Number of the picture (from 0), steps done, steps in all."""
    preview: str | None = None
    """File name of the attached preview."""
    leaving: bool = False
    """The card can't be changed much longer."""


def _in_its_language(build: Callable[Concatenate[Job, P], Parts]) -> Callable[Concatenate[Job, P], Parts]:
    """Whoever builds a job's message, and wherever: it is worded in the language that was chosen for the job."""

    @wraps(build)
    def built(job: Job, /, *args: P.args, **kwargs: P.kwargs) -> Parts:
        with speaking(job.language):
            return build(job, *args, **kwargs)

    return built


def checking(prompt: str, language: Language) -> Parts:
    """The card while an attachment is fetched and looked at."""
    with speaking(language):
        return Parts(_embed(_WAITING, texts.fill(texts.CHECKING_PICTURE), prompt), None)


@_in_its_language
def in_progress(job: Job, progress: Progress, catalogue: Catalogue) -> Parts:
    """The card of a job that waits or is painted."""
    if job.state in UNDER_WAY:
        colour, headline = _painting(job, progress)
    else:
        is_held = progress.position is not None and progress.wait_seconds is None
        colour, headline = (_LOADING, _held(job, progress)) if is_held else (_WAITING, _waiting(progress))
    if progress.leaving:
        headline = f"{headline}\n{texts.fill(texts.LEAVING)}"
    embed = _embed(colour, headline, job.request.prompt)
    parts = [model_name(job, catalogue), seeds(job), _price(job, catalogue), say("job {job}", job=job.id)]
    embed.set_footer(text=" · ".join(part for part in parts if part))
    if progress.preview is not None and job.state in UNDER_WAY:
        embed.set_image(url=f"attachment://{progress.preview}")
    return Parts(embed, job_buttons(job.id, Action.CANCEL))


def most_it_costs(job: Job, catalogue: Catalogue) -> MicroUSD:
    """The most that the job can cost: on the offer that it runs on, or before that on any that may take it."""
    keys = (job.offer,) if job.offer is not None and job.state in UNDER_WAY else job.offers
    offers = [offer for key in keys if (offer := catalogue.offer(key)) is not None]
    prices = [offer.known_price_of(job.request) or 0 for offer in offers]
    return MicroUSD(max(prices, default=0) * job.request.count)


def _price(job: Job, catalogue: Catalogue) -> str:
    most = most_it_costs(job, catalogue)
    return texts.fill(texts.AT_MOST, price=words.price(most)) if most else ""


def _held(job: Job, progress: Progress) -> str:
    """Nothing that could take the job is up. It goes on by itself."""
    backends = dict.fromkeys(key.partition(":")[0] for key in job.offers)
    if list(backends) == [GPU]:
        why = say("Paused: the GPU is being restarted, or can't be reached")
    else:
        why = say("Paused: {backends} takes no work right now", backends=", ".join(backends))
    place = say("Place {place} in line. It goes on by itself.", place=progress.position or 1)
    return f"{why}\n{place}"


def _waiting(progress: Progress) -> str:
    if progress.position is None:
        return say("Waiting…")
    seconds = progress.wait_seconds or 0.0
    if progress.position == 1:
        if seconds < 1:
            return say("Next in line")
        return say("Next in line · starts in about {time}", time=words.duration(seconds))
    return say(
        "{ordinal} in line (place {place}) · starts in about {time}",
        ordinal=words.ordinal(progress.position),
        place=progress.position,
        time=words.duration(seconds),
    )


def _painting(job: Job, progress: Progress) -> tuple[discord.Colour, str]:
    where = _backend_and_why(job) if job.reason not in _USUAL_REASONS else backend(job)
    if progress.step is not None:
        index, step, steps = progress.step
        if job.request.count > 1:
            number, count = index + 1, job.request.count
            which = say("Picture {number} of {count} on {backend}", number=number, count=count, backend=where)
        else:
            which = say("Painting on {backend}", backend=where)
        share = step / steps if steps else 0.0
        return _PAINTING, f"{which}\n{words.bar(share)} {say('step {step} of {steps}', step=step, steps=steps)}"
    if progress.loading_seconds is not None:
        time = words.duration(progress.loading_seconds)
        return _LOADING, say("Model loading, about {time} on {backend}", time=time, backend=where)
    if 0 < len(job.pictures) < job.request.count:
        made, count = len(job.pictures), job.request.count
        return _PAINTING, say(
            "{made} of {count} pictures are done on {backend}…", made=made, count=count, backend=where
        )
    return _PAINTING, say(
        "Painting on {backend}… about {time}", backend=where, time=words.duration(job.estimated_seconds)
    )


@_in_its_language
def result(job: Job, catalogue: Catalogue, settings: GuildSettings, parent: Job | None = None) -> Parts:
    """What goes with the pictures: who asked, what for, how it was made, and what to do next.

    ``settings``: of the job's server. What they forbid is not offered.
    """
    done = [task for task in job.tasks if task.state is TaskState.DONE]
    made = [seeds(job, done), model_name(job, catalogue)]
    if done and done[0].picture is not None:
        made.append(f"{done[0].picture.width}×{done[0].picture.height}")
    if job.request.steps is not None:
        made.append(say(Plural("{count} step", "{count} steps"), count=job.request.steps))
    if job.request.guidance is not None:
        made.append(say("guidance {scale}", scale=words.number(job.request.guidance)))
    how = [_backend_and_why(job)]
    if job.seconds is not None:
        how.append(words.took(job.seconds))
    how.append(words.price(job.cost))
    lines = [words.plain(job.request.prompt, PROMPT_ON_RESULT)]
    if job.request.negative_prompt:
        lines.append(say("Without: {negative_prompt}", negative_prompt=words.plain(job.request.negative_prompt, 150)))
    lines += ["", " · ".join(made), " · ".join(how)]
    missing = [task for task in job.tasks if task.state is not TaskState.DONE]
    if missing:
        lines += ["", _missing(missing, len(job.tasks))]
    embed = discord.Embed(colour=_DONE, description="\n".join(lines))
    embed.set_footer(text=say("job {job}", job=job.id))
    if parent is not None and parent.link is not None:
        embed.description = f"{embed.description}\n[{say('made from this one')}]({parent.link})"
    edits = any(can_use(settings, model) for model in catalogue.models(Kind.EDIT))
    larger = catalogue.larger(job.request.model)
    view = result_buttons(
        job.id,
        [task.index for task in done] if edits else [],
        larger.name if larger is not None and can_use(settings, larger) else None,
        blends=can_blend(job, catalogue, settings),
    )
    return Parts(embed, view, content=f"<@{job.place.user_id}>")


@_in_its_language
def ended(job: Job) -> Parts:
    """How a job ended that has no picture to show."""
    failure = job.failure
    sentence = texts.of_failure(failure) if failure is not None else texts.sentence(Code.CANCELLED)
    charged = _charged(job.cost)
    cancelled = job.state is JobState.CANCELLED
    embed = discord.Embed(
        colour=_CANCELLED if cancelled else _FAILED,
        description=f"{words.sentences(sentence, charged)}\n\n{words.plain(job.request.prompt, PROMPT_ON_CARD)}",
    )
    embed.set_footer(text=say("job {job}", job=job.id))
    return Parts(embed, job_buttons(job.id, Action.RETRY, Action.EDIT), content=f"<@{job.place.user_id}>")


def model_name(job: Job, catalogue: Catalogue) -> str:
    """The name of the job's model, also of one that has left the catalogue."""
    return next((model.name for model in catalogue if model.key == job.request.model), job.request.model)


def title(job: Job, limit: int = 60) -> str:
    """A job in a few inert words."""
    return words.plain(job.request.prompt, limit)


def _embed(colour: discord.Colour, headline: str, prompt: str) -> discord.Embed:
    return discord.Embed(colour=colour, description=f"**{_bold(headline)}\n{words.plain(prompt, PROMPT_ON_CARD)}")


def _bold(headline: str) -> str:
    first, _, rest = headline.partition("\n")
    return f"{first}**" + (f"\n{rest}" if rest else "")


def seeds(job: Job, tasks: list[Task] | None = None) -> str:
    """``Seed 7``, ``Seed 7 to 10`` for several in a row, or all of them; after it the newest variation."""
    seeds = [task.seed for task in (tasks or job.tasks)]
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        said = say("Seed {first} to {last}", first=seeds[0], last=seeds[-1])
    else:
        said = say("Seed {seed}", seed=words.listed(map(str, seeds)))
    if not job.request.variations:
        return said
    newest = job.request.variations[-1]
    strength = words.number(newest.strength)
    return f"{said} · {say('variation {seed}, strength {strength}', seed=newest.seed, strength=strength)}"


def _backend_and_why(job: Job) -> str:
    why = texts.reason(job.reason)
    return say("{backend} ({why})", backend=backend(job), why=why) if why else backend(job)


def backend(job: Job) -> str:
    """Who paints or painted it."""
    return (job.offer or "").partition(":")[0] or "?"


def _missing(missing: list[Task], total: int) -> str:
    failure = next((task.failure for task in missing if task.failure is not None), None)
    count = len(missing)
    cost = MicroUSD(sum(task.cost or 0 for task in missing))
    if failure is None:
        return words.sentences(
            say("{count} of {total} pictures did not come.", count=count, total=total), _charged(cost)
        )
    why = texts.of_failure(failure)
    said = say("{count} of {total} pictures did not come: {why}", count=count, total=total, why=why)
    return words.sentences(said, _charged(cost))


def _charged(cost: MicroUSD) -> str:
    return texts.fill(texts.CHARGED, price=words.price(cost)) if cost else texts.fill(texts.NOTHING_CHARGED)
