"""What /queue, /quota and /quotas list show. Private, so that nothing in them pings."""

from collections.abc import Mapping, Sequence
from typing import Final

import discord

from cogs.ui import offers, server_settings, texts, words
from cogs.ui.cards import backend, title
from cogs.ui.language import say, translated
from config.catalogue import Catalogue
from domain.guild import GuildSettings
from domain.job import UNDER_WAY, Job, JobState
from domain.quota import Rule, Subject, Unit, Usage
from jobs.offering import BackendNow, Wait
from jobs.queue import Standing
from jobs.quotas import Preview

LINE: Final = 20
"""Jobs of the line that are listed; the rest is counted."""
RULES: Final = 40
DESCRIPTION: Final = 4096
"""https://discord.com/developers/docs/resources/message#embed-object-embed-limits"""
FIELD: Final = 1024
_COLOUR: Final = discord.Colour(0x5865F2)

_STATES: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "waiting",
    JobState.SUBMITTING: "being sent",
    JobState.ACCEPTED: "being painted",
    JobState.RUNNING: "being painted",
    JobState.FINISHED: "about to be posted",
    JobState.POSTING: "about to be posted",
    JobState.POSTED: "posted",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.UNKNOWN: "outcome unknown",
    JobState.UNDELIVERABLE: "could not be delivered",
}


def queue(
    under_way: Sequence[Job],
    line: Sequence[Standing],
    readable: Mapping[str, Job],
    waits: Mapping[str, Wait],
    backends: Sequence[BackendNow],
) -> discord.Embed:
    """Who is being painted for, who waits and for what, and how the backends are: ``line`` is the guild's part of it.

    Of jobs that are not ``readable`` it is shown that they are there, and nothing else.
    """
    lines = [f"🎨 {_in_line(readable.get(job.id), _where_and_why(job))}" for job in under_way]
    for standing in line:
        seconds = standing.wait_seconds
        if seconds is None:
            wait = ""
        else:
            wait = say("about {time}", time=words.duration(seconds)) if seconds >= 1 else say("now")
        job = readable.get(standing.job_id)
        lines.append(f"**{standing.position}.** {_in_line(job, wait, waits.get(standing.job_id))}")
    embed = discord.Embed(
        colour=_COLOUR, title=say("The line"), description=fitted(lines, LINE) or say(texts.QUEUE_EMPTY)
    )
    if backends:
        embed.add_field(
            name=say("Backends"), value=words.cut("\n".join(map(offers.backend, backends)), FIELD), inline=False
        )
    return embed


def usage(usages: Sequence[Usage], member: str | None = None) -> discord.Embed:
    """What a member has left, by every rule that holds for them here. ``member`` is named where it is another's."""
    lines = []
    for one in usages:
        rule = one.rule
        share = 1.0 if one.allowed <= 0 else min(1.0, (one.used + one.held) / one.allowed)
        number = f"`{rule.id}` · " if rule.id else ""
        heading = f"{number}**{words.own_rule(rule)}**"
        if one.granted:
            heading = f"{heading} {say('(with {amount} granted)', amount=words.amount(rule.unit, one.granted))}"
        facts = [say("{used} used", used=words.bare_amount(rule.unit, one.used))]
        if one.held:
            facts.append(say("{held} held", held=words.bare_amount(rule.unit, one.held)))
        facts.append(say("{left} left", left=words.bare_amount(rule.unit, one.left)))
        if one.resets_at is not None:
            facts.append(say("resets {when}", when=words.moment(one.resets_at)))
        lines.append(f"{heading}\n{words.bar(share)} {' · '.join(facts)}")
    text = fitted(lines, RULES, "\n\n") or say(texts.NO_LIMITS)
    heading = say("Your quota") if member is None else say("The quota of {member}", member=words.plain(member, 80))
    return discord.Embed(colour=_COLOUR, title=heading, description=text)


def rule_set(rule: Rule, preview: Preview) -> str:
    """A rule that was set, whom it hits, and what holds for them now."""
    said = texts.fill(texts.RULE_SET, rule=rule.id, text=words.rule(rule))
    now = preview.usage
    if now is not None:
        used, left = words.amount(rule.unit, now.used), words.amount(rule.unit, now.left)
        if now.held:
            held = words.amount(rule.unit, now.held)
            standing = texts.fill(texts.RULE_NOW_HELD, used=used, held=held, left=left)
        else:
            standing = texts.fill(texts.RULE_NOW, used=used, left=left)
        resets = texts.fill(texts.RULE_RESETS, when=words.moment(now.resets_at)) if now.resets_at is not None else ""
        return f"{said}\n{words.sentences(standing, resets)}"
    whom = texts.RULE_HITS_ROLE if rule.subject is Subject.ROLE else texts.RULE_HITS_EVERYBODY
    if rule.unit is Unit.MONEY:
        whom = texts.RULE_HITS_MONEY
    count = texts.fill(texts.RULE_COUNTS, active=preview.active, full=preview.full)
    return f"{said}\n{texts.fill(whom)}\n{count}"


def review(members: Sequence[int], filename: str, *, whole: bool) -> discord.Embed:
    """The picture of the charts, and who is who in it."""
    names = " · ".join(f"#{rank} <@{member}>" for rank, member in enumerate(members, start=1))
    title = say("What this server painted") if whole else say("What you painted")
    embed = discord.Embed(colour=_COLOUR, title=title, description=names or None)
    embed.set_image(url=f"attachment://{filename}")
    return embed


def settings(found: GuildSettings, weights: Mapping[int, float], catalogue: Catalogue) -> discord.Embed:
    """What the server's admins have set besides rules."""
    lines = [
        *server_settings.lines(found, catalogue),
        *(say("**Weight of** {role}: {weight}", role=f"<@&{role}>", weight=weight) for role, weight in weights.items()),
    ]
    return discord.Embed(colour=_COLOUR, title=say("Settings"), description=fitted(lines, RULES))


def rules(found: Sequence[Rule], default_daily_images: int, exempt: Sequence[int] = ()) -> discord.Embed:
    """The server's rules with their ids, and who is exempt from them."""
    lines = [f"`{rule.id}` · {words.rule(rule)}" for rule in found]
    empty = texts.fill(texts.NO_RULES, limit=words.amount(Unit.IMAGES, default_daily_images))
    embed = discord.Embed(colour=_COLOUR, title=say("Quota rules"), description=fitted(lines, RULES) or empty)
    if exempt:
        members = words.listed(f"<@{member}>" for member in exempt[:LINE])
        if len(exempt) > LINE:
            members = say("{members} and {count} more", members=members, count=len(exempt) - LINE)
        embed.add_field(name=say("Exempt"), value=members, inline=False)
    return embed


def _in_line(job: Job | None, wait: str, waits: Wait | None = None) -> str:
    parts = [say("somebody in another channel"), wait] if job is None else [f"<@{job.place.user_id}>", wait]
    if job is not None:
        parts += [title(job), f"`{job.id}`"]
    if waits is not None:
        parts.append(offers.waits(waits))
    return " · ".join(part for part in parts if part)


def _where_and_why(job: Job) -> str:
    why = texts.reason(job.reason)
    if why:
        return say("on {backend} ({why})", backend=backend(job), why=why)
    return say("on {backend}", backend=backend(job))


def fitted(lines: Sequence[str], most: int, separator: str = "\n") -> str:
    """As many of the entries as an embed holds, and how many are left out."""
    shown = list(lines[:most])
    while True:
        hidden = len(lines) - len(shown)
        text = separator.join([*shown, *([say("… and {count} more", count=hidden)] if hidden else [])])
        if len(text) <= DESCRIPTION:
            return text
        shown.pop()


def where(job: Job) -> str:
    """What became of a job, with a link to its message where there is one."""
    if job.state in (JobState.POSTED, JobState.UNDELIVERABLE) and not job.pictures:
        return say(texts.REMOVED)
    if job.link is not None:
        return f"[{translated(_STATES[job.state])}]({job.link})"
    return translated(_STATES[job.state])


def why_not(job: Job) -> str:
    """Why it ended as it did, on a line of its own; empty where there is nothing to say."""
    if job.failure is None or job.state in UNDER_WAY:
        return ""
    return f"\n{words.cut(texts.of_failure(job.failure), 200)}"
