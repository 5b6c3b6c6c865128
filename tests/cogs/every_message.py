"""Every message that the bot can build, each with the longest legal inputs, as it goes over the wire."""

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import discord

from backends.selector import Ruling
from cogs.ui import (
    about,
    album,
    blocking,
    buttons,
    cards,
    compose,
    confirming,
    details,
    lists,
    modals,
    offers,
    panel,
    reporting,
    texts,
)
from cogs.ui.album import Turn
from cogs.ui.buttons import MAX_SEARCH, Action, Book
from cogs.ui.cards import Parts
from cogs.ui.language import Plural, spoken
from config.catalogue import Catalogue
from config.loading import load
from domain.errors import Code, Parameter
from domain.guild import MAX_COOLDOWN_SECONDS, GuildSettings, NsfwPolicy
from domain.job import Card, Failure, Job, JobState, Place, Task, TaskState
from domain.money import MicroUSD
from domain.quota import Rule, Subject, Unit, Usage, Window
from domain.request import (
    MAX_COUNT,
    MAX_REFERENCES,
    MAX_SEED,
    MAX_VARIATIONS,
    InputPicture,
    Kind,
    Lora,
    Size,
    Variation,
)
from domain.safety import MAX_REASON, Ban
from jobs.album import Family
from jobs.confirmations import Question
from jobs.offering import BackendNow, Offered, OfferedModel, Wait
from jobs.queue import Standing
from jobs.quotas import Preview
from tests.cogs.jobs import made

Json = dict[str, Any]
CATALOGUE = Catalogue.load()
SNOWFLAKE = 2**63 - 1
MOST = 10**15
LATER = datetime(3000, 1, 1, tzinfo=UTC)
PROMPTS: Mapping[str, str] = {
    "markdown": "*@<" * 666 + "xx",
    "emoji": "👩‍👩‍👧‍👦" * 285 + "😀😀😀😀😀",
    "hanzi": "漢" * 2000,
    "right to left": "\u202eא" * 1000,
    "zero width": "\u200b" * 1999 + "x",
    "combining": "e" + "\u0301" * 1999,
    "lines": "#\n" * 999 + "# ",
    "links": "[a](http://b) " * 142 + "x" * 12,
    "backticks": "`" * 2000,
}
assert {len(prompt) for prompt in PROMPTS.values()} == {2000}


def messages(prompt: str) -> Iterator[tuple[str, Json]]:
    """What ``POST /channels/…/messages`` is sent, with the name of what it is, in the language that is spoken."""
    for name, parts in _cards(prompt):
        yield name, body(parts.content, [parts.embed], parts.view)
    for name, embeds, view in (*_private(prompt), *_settings(prompt)):
        yield name, body(None, embeds, view)
    for book in (Book.FAVOURITES, Book.GALLERY):
        for jobs in ([_longest(prompt)] * album.PAGE, []):
            page = album.pictures(jobs, Turn(book, 100, more=True, search="*" * MAX_SEARCH), shown=True)
            yield f"album.pictures {book}", body(None, [], page)
    for name, content in _contents(prompt):
        yield name, body(content, [], None)


def forms(prompt: str) -> Iterator[tuple[str, discord.ui.Modal]]:
    """Every modal."""
    job = _longest(prompt)
    source = InputPicture(name="input.png", width=1, height=1)
    yield "modals.edit_again", modals.edit_again(job)
    yield (
        "modals.edit_again",
        modals.edit_again(replace(job, request=job.request.model_copy(update={"kind": Kind.EDIT, "source": source}))),
    )
    yield "modals.edit_picture", modals.edit_picture(job, 3)
    yield "modals.edit_source", modals.edit_source("https://cdn.discordapp.com/" + "x" * 970)
    yield "modals.delete_for_good", modals.delete_for_good(job)
    yield "compose.form", compose.form(list(CATALOGUE), negative=True)
    yield "compose.form", compose.form(list(CATALOGUE)[:1], negative=False)
    yield "panel.time_form", panel.time_form(LONGEST_SETTINGS)
    yield "panel.block_form", panel.block_form()
    yield "reporting.reason_form", reporting.reason_form(job.id)


def body(content: str | None, embeds: Sequence[discord.Embed], view: Any) -> Json:
    """The JSON that discord.py makes of it."""
    given: dict[str, Any] = {"content": content, "embeds": list(embeds)} if not _is_v2(view) else {}
    if view is not None:
        given["view"] = view
    with discord.http.handle_message_parameters(**given) as parameters:
        assert parameters.payload is not None
        return dict(parameters.payload)


def _is_v2(view: Any) -> bool:
    return isinstance(view, discord.ui.LayoutView)


def _longest(prompt: str) -> Job:
    job = made(
        seed=MAX_SEED,
        count=MAX_COUNT,
        cost=MOST,
        prompt=prompt,
        negative_prompt=prompt,
        variations=tuple(Variation(seed=MAX_SEED - number, strength=0.123) for number in range(1, MAX_VARIATIONS + 1)),
        steps=50,
        guidance=19.5,
        scheduler="x" * 100,
        loras=tuple(Lora(model=f"{number}" * 200, weight=0.1234) for number in range(4)),
        speed="x" * 100,
        references=(InputPicture(name="input.png", width=1, height=1),) * MAX_REFERENCES,
        model="a-model-that-has-left-the-catalogue",
    )
    return replace(
        job,
        id="a" * 40,
        parent_id="b" * 40,
        reason="others_down",
        place=Place(SNOWFLAKE, SNOWFLAKE, SNOWFLAKE),
        failure=Failure(Code.BACKEND_FAILED, {"backend": "worker", "reason": prompt}),
        result=Card(SNOWFLAKE, SNOWFLAKE),
        language=spoken(),
    )


def _cards(prompt: str) -> Iterator[tuple[str, Parts]]:
    job = _longest(prompt)
    yield "cards.checking", cards.checking(prompt, spoken())
    queued, running = replace(job, state=JobState.QUEUED), replace(job, state=JobState.RUNNING)
    for progress in (cards.Progress(), cards.Progress(1), cards.Progress(1, 1e6), cards.Progress(1000, 1e6)):
        yield "cards.in_progress", cards.in_progress(queued, progress, CATALOGUE)
    for progress in (
        cards.Progress(),
        cards.Progress(step=(3, 50, 50), preview="preview.jpg"),
        cards.Progress(loading_seconds=1e6),
        cards.Progress(step=(3, 50, 50), preview="preview.jpg", leaving=True),
    ):
        yield "cards.in_progress", cards.in_progress(running, progress, CATALOGUE)
    yield "cards.result", cards.result(job, CATALOGUE, GuildSettings(), job)
    failed = replace(job, tasks=(job.tasks[0], *(_failed(task, prompt) for task in job.tasks[1:])))
    yield "cards.result", cards.result(failed, CATALOGUE, GuildSettings(), job)
    for code in Code:
        failure = Failure(code, dict(parameters_of(code, prompt)))
        yield f"cards.ended {code}", cards.ended(replace(job, state=JobState.FAILED, failure=failure))
    yield "cards.ended", cards.ended(replace(job, state=JobState.CANCELLED, failure=None))


def _failed(task: Task, prompt: str) -> Task:
    failure = Failure(Code.BACKEND_FAILED, {"backend": "worker", "reason": prompt})
    return replace(task, state=TaskState.FAILED, picture=None, failure=failure)


def _private(prompt: str) -> Iterator[tuple[str, Sequence[discord.Embed], discord.ui.View | None]]:
    job = _longest(prompt)
    line = [Standing(job.id, SNOWFLAKE, SNOWFLAKE, place, 1e6) for place in range(1, 200)]
    waits = {job.id: Wait("wavespeed", Ruling.NOT_WHILE_FREE_IS_BUSY.value)}
    yield "lists.queue", [lists.queue([job] * 50, line, {job.id: job}, waits, BACKENDS)], None
    yield "lists.queue", [lists.queue([], [], {}, {}, [])], None
    yield "lists.queue", [lists.queue([job] * 3, line[:3], {}, {}, BACKENDS[:1])], None
    usages = [Usage(rule, MOST, MOST, MOST, LATER) for rule in RULES]
    yield "lists.usage", [lists.usage(usages, prompt[:32])], None
    yield "lists.usage", [lists.usage([])], None
    yield "lists.rules", [lists.rules(RULES, 50, [SNOWFLAKE] * 100)], None
    yield "lists.rules", [lists.rules([], 50)], None
    yield "lists.review", [lists.review([SNOWFLAKE] * 10, "usage.png", whole=True)], None
    yield "lists.review", [lists.review([], "usage.png", whole=False)], None
    for settings in (GuildSettings(), LONGEST_SETTINGS):
        yield "lists.settings", [lists.settings(settings, {SNOWFLAKE - n: 9.99 for n in range(100)}, CATALOGUE)], None
    for one in (job, replace(job, tasks=tuple(_failed(task, prompt) for task in job.tasks), reason=None, offer=None)):
        for corrected in (None, MicroUSD(MOST)):
            for embed in details.details(one, CATALOGUE, corrected):
                yield "details.details", [embed], buttons.after_details(job.id)
    for state in JobState:
        embed, view = album.history(
            [replace(job, state=state)] * album.PAGE, Turn(Book.HISTORY, 100, more=True, search="*" * MAX_SEARCH)
        )
        yield "album.history", [embed], view
    embed, view = album.history([], Turn(Book.HISTORY, 0, more=False, search="*" * MAX_SEARCH))
    yield "album.history", [embed], view
    found = _family(job)
    yield "album.family", [album.family(found, found.members)], buttons.after_family(job.id)
    yield "album.family", [album.family(found, {})], None
    yield "album.family", [album.family(Family((), job, ()), {job.id: job})], None


def _settings(prompt: str) -> Iterator[tuple[str, Sequence[discord.Embed], discord.ui.View | None]]:
    """What is said of the bot and of the server, which no job stands behind."""
    operator, nobody = (
        load(named, folder=Path(__file__).parent) for named in ({"EASEL_OPERATOR_CONTACT": "x" * 300}, {})
    )
    yield "about.about", [about.about(operator, CATALOGUE)], None
    yield "about.about", [about.about(nobody, Catalogue([]))], None
    yield "about.privacy", [about.privacy(operator)], about.forget_button("easel:forget:" + "x" * 40)
    for number in range(-(-len(MODELS) // offers.PAGE)):
        embed, view = offers.models(MODELS, number)
        yield "offers.models", [embed], view
    yield "offers.models", [offers.models([], 0)[0]], None
    yield "reporting.report", [reporting.report(_longest(prompt), SNOWFLAKE, prompt[:MAX_REASON])], None
    for entries in ([f"{n:0200}" for n in range(250)], []):
        yield "blocking.blocked", [blocking.blocked(entries)], None
    for found in ([Ban(SNOWFLAKE, SNOWFLAKE, prompt[:MAX_REASON], SNOWFLAKE)] * 200, []):
        yield "blocking.bans", [blocking.bans(found)], None
    choices = panel.Choices(CATALOGUE, [f"{n:0100}" for n in range(40)], [f"{n:0100}" for n in range(40)])
    for page in panel.Page:
        for settings in (GuildSettings(), LONGEST_SETTINGS):
            shown = panel.embed(page, settings, CATALOGUE, 10**6, "x" * 2000)
            yield "panel.embed", [shown], panel.view(page, settings, choices)


def _family(job: Job) -> Family:
    ancestors = tuple(replace(job, id=f"{number:040}") for number in range(50))
    descendants = tuple(replace(job, id=f"{number:040}", parent_id=job.id) for number in range(100, 140))
    return Family(ancestors, job, descendants)


def _contents(prompt: str) -> Iterator[tuple[str, str]]:
    """Private answers of text alone."""
    for code in Code:
        yield f"texts.sentence {code}", texts.sentence(code, parameters_of(code, prompt))
        yield f"texts.sentence {code}", texts.sentence(code)
    for rule in RULES:
        usage = Usage(rule, MOST, MOST, MOST, LATER)
        exceeded: dict[str, Parameter] = dict.fromkeys(("limit", "used", "held", "left", "wanted"), MOST)
        exceeded |= {"unit": rule.unit, "subject": rule.subject, "window": rule.window, "resets_at": 2**35}
        yield "texts.sentence quota", texts.sentence(Code.QUOTA_EXCEEDED, exceeded)
        for preview in (Preview(usage, 10**6, 10**6), Preview(None, 10**6, 10**6)):
            yield "lists.rule_set", lists.rule_set(rule, preview)
        purse = usage if rule.unit is Unit.MONEY and rule.subject is not Subject.OPERATOR else None
        yield "confirming.question_text", confirming.question_text(Question("x" * 10, MicroUSD(MOST), purse))
    for name, text in constants().items():
        yield f"texts.{name}", texts.fill(text, **_values(text, prompt))


def constants() -> Mapping[str, str | Plural]:
    """What stands in ``texts`` under a name of its own."""
    found = {name: getattr(texts, name) for name in dir(texts) if name.isupper()}
    return {name: text for name, text in found.items() if isinstance(text, str | Plural)}


def parameters_of(code: Code, prompt: str) -> Mapping[str, Parameter]:
    """The longest that may be in the code's sentence: what is put into it is cut there."""
    return _values(texts._SENTENCES[code], prompt, most=2000)


def _values(text: str | Plural, prompt: str, most: int = 300) -> dict[str, Parameter]:
    values: dict[str, Parameter] = {}
    for _, name, kind, _ in string.Formatter().parse(text if isinstance(text, str) else text.other):
        match kind:
            case None:
                continue
            case "channels" | "roles":
                values[str(name)] = ",".join([str(SNOWFLAKE)] * 50)
            case "" if name in {"count", "days", "limit", "member", "channel", "role", "author"}:
                values[str(name)] = SNOWFLAKE
            case "":
                values[str(name)] = prompt[:most]
            case _:
                values[str(name)] = 2**35
    if isinstance(text, Plural):
        values[text.by] = SNOWFLAKE
    return values


def _rules() -> Iterator[Rule]:
    for subject in Subject:
        for unit in Unit:
            for window in Window:
                yield Rule(2**40, SNOWFLAKE, subject, SNOWFLAKE, unit, window, MOST)


RULES = list(_rules())
LONGEST_SETTINGS = GuildSettings(
    time_zone=ZoneInfo("America/Argentina/ComodRivadavia"),
    cooldown_seconds=MAX_COOLDOWN_SECONDS,
    paused=True,
    log_channel_id=SNOWFLAKE,
    allowed_backends=("worker", "wavespeed", "runware", "comfyui", "openai"),
    spill_to_paid=True,
    allowed_models=tuple(model.key for model in CATALOGUE),
    imagine_model="a" * 100,
    edit_model="a" * 100,
    max_size=Size(4096, 4096),
    speed="x" * 100,
    private_results=True,
    nsfw=NsfwPolicy.SPOILER,
    channels=tuple(SNOWFLAKE - number for number in range(100)),
    roles=tuple(SNOWFLAKE - number for number in range(100)),
    language="zh-CN",
    gallery=False,
)
BACKENDS = [
    BackendNow("wavespeed", 100, 99, ruling.value, Failure(Code.BACKEND_KEY_REFUSED, {"backend": "wavespeed"}), 1e6)
    for ruling in Ruling
] + [BackendNow("worker", 16, 15, None, None, None)]
MODELS = [
    OfferedModel(model, tuple(Offered(offer, MicroUSD(MOST), 1e5, 1e5, "no_money", None) for offer in model.offers))
    for model in CATALOGUE
]
BESIDE: Final = frozenset({"about.forget_button", "panel.view"})
"""Builders of what goes below an embed that another builder makes."""
BUTTONS: Sequence[Callable[[], discord.ui.View]] = [
    *(lambda action=action: buttons.job_buttons("a" * 40, action) for action in Action),
    *(
        lambda blends=blends: buttons.result_buttons("a" * 40, range(MAX_COUNT), "x" * 100, blends=blends)
        for blends in (True, False)
    ),
]
