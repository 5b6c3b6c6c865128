"""What /queue, /history, /quota and /quotas list show. Private, so that nothing in them pings."""

from collections.abc import Mapping, Sequence
from typing import Final

import discord

from cogs.ui import texts, words
from cogs.ui.buttons import PageButton
from cogs.ui.cards import title
from domain.guild import GuildSettings
from domain.job import UNDER_WAY, Job, JobState
from domain.quota import Rule, Subject, Unit, Usage
from jobs.queue import Standing
from jobs.quotas import Preview

PAGE: Final = 6
"""Jobs on a page of the history."""
LINE: Final = 20
"""Jobs of the line that are listed; the rest is counted."""
RULES: Final = 40
DESCRIPTION: Final = 4096
"""https://discord.com/developers/docs/resources/message#embed-object-embed-limits"""
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


def queue(under_way: Sequence[Job], line: Sequence[Standing], readable: Mapping[str, Job]) -> discord.Embed:
    """Who is being painted for, and who waits: ``line`` is the guild's part of it.

    Of jobs that are not ``readable`` it is shown that they are there, and nothing else.
    """
    lines = [f"🎨 {_in_line(readable.get(job.id), '')}" for job in under_way]
    for standing in line:
        wait = f"about {words.duration(standing.wait_seconds)}" if standing.wait_seconds >= 1 else "now"
        lines.append(f"**{standing.position}.** {_in_line(readable.get(standing.job_id), wait)}")
    return discord.Embed(colour=_COLOUR, title="The line", description=_fitted(lines, LINE) or texts.QUEUE_EMPTY)


def history(jobs: Sequence[Job], page: int, *, more: bool) -> tuple[discord.Embed, discord.ui.View | None]:
    """One page of a member's own jobs, newest first."""
    lines = []
    for job in jobs:
        when = words.moment(job.created_at // 1000)
        seed = f"Seed {job.tasks[0].seed}"
        lines.append(f"**{title(job, 120)}**\n{_where(job)} · {seed} · `{job.id}` · {when}{_why(job)}")
    text = _fitted(lines, PAGE, "\n\n") or texts.HISTORY_EMPTY
    embed = discord.Embed(colour=_COLOUR, title="Your pictures", description=text)
    if page == 0 and not more:
        return embed, None
    embed.set_footer(text=f"page {page + 1}")
    view = discord.ui.View(timeout=None)
    if page > 0:
        view.add_item(PageButton(page - 1, "Newer", newer=True))
    if more:
        view.add_item(PageButton(page + 1, "Older"))
    return embed, view


def usage(usages: Sequence[Usage], member: str | None = None) -> discord.Embed:
    """What a member has left, by every rule that holds for them here. ``member`` is named where it is another's."""
    lines = []
    for one in usages:
        rule = one.rule
        share = 1.0 if one.allowed <= 0 else min(1.0, (one.used + one.held) / one.allowed)
        held = (
            f" · {one.held if rule.unit is Unit.IMAGES else words.amount(rule.unit, one.held)} held" if one.held else ""
        )
        granted = f" (with {words.amount(rule.unit, one.granted)} granted)" if one.granted else ""
        resets = f" · resets {words.moment(one.resets_at)}" if one.resets_at is not None else ""
        used = str(one.used) if rule.unit is Unit.IMAGES else words.amount(rule.unit, one.used)
        left = str(one.left) if rule.unit is Unit.IMAGES else words.amount(rule.unit, one.left)
        lines.append(f"**{words.own_rule(rule)}**{granted}\n{words.bar(share)} {used} used{held} · {left} left{resets}")
    text = _fitted(lines, RULES, "\n\n") or texts.NO_LIMITS
    heading = "Your quota" if member is None else f"The quota of {words.plain(member, 80)}"
    return discord.Embed(colour=_COLOUR, title=heading, description=text)


def rule_set(rule: Rule, preview: Preview) -> str:
    """A rule that was set, whom it hits, and what holds for them now."""
    said = texts.fill(texts.RULE_SET, rule=rule.id, text=words.rule(rule))
    now = preview.usage
    if now is not None:
        held = f" and {words.amount(rule.unit, now.held)} held" if now.held else ""
        resets = f", resets {words.moment(now.resets_at)}" if now.resets_at is not None else ""
        used, left = words.amount(rule.unit, now.used), words.amount(rule.unit, now.left)
        return f"{said}\n{texts.fill(texts.RULE_NOW, used=used, held=held, left=left, resets=resets)}"
    whom = texts.RULE_HITS_ROLE if rule.subject is Subject.ROLE else texts.RULE_HITS_EVERYBODY
    if rule.unit is Unit.MONEY:
        whom = texts.RULE_HITS_MONEY
    return f"{said}\n{texts.fill(texts.RULE_HITS, whom=whom, active=preview.active, full=preview.full)}"


def review(members: Sequence[int], filename: str, *, whole: bool) -> discord.Embed:
    """The picture of the charts, and who is who in it."""
    names = " · ".join(f"#{rank} <@{member}>" for rank, member in enumerate(members, start=1))
    title = "What this server painted" if whole else "What you painted"
    embed = discord.Embed(colour=_COLOUR, title=title, description=names or None)
    embed.set_image(url=f"attachment://{filename}")
    return embed


def settings(found: GuildSettings, weights: Mapping[int, float]) -> discord.Embed:
    """What the server's admins have set besides rules."""
    channel = f"<#{found.log_channel_id}>" if found.log_channel_id is not None else "none"
    cooldown = words.duration(found.cooldown_seconds) if found.cooldown_seconds else "none"
    lines = [
        f"**Time zone** {found.time_zone.key}",
        f"**Wait between two jobs** {cooldown}",
        f"**Log channel** {channel}",
        f"**Paused** {'yes: nothing new is taken in' if found.paused else 'no'}",
        *(f"**Weight of** <@&{role}>: {words.number(weight)}" for role, weight in weights.items()),
    ]
    return discord.Embed(colour=_COLOUR, title="Settings", description=_fitted(lines, RULES))


def rules(found: Sequence[Rule], default_daily_images: int, exempt: Sequence[int] = ()) -> discord.Embed:
    """The server's rules with their ids, and who is exempt from them."""
    lines = [f"`{rule.id}` · {words.rule(rule)}" for rule in found]
    empty = texts.fill(texts.NO_RULES, limit=words.amount(Unit.IMAGES, default_daily_images))
    embed = discord.Embed(colour=_COLOUR, title="Quota rules", description=_fitted(lines, RULES) or empty)
    if exempt:
        more = f" and {len(exempt) - LINE} more" if len(exempt) > LINE else ""
        members = ", ".join(f"<@{member}>" for member in exempt[:LINE])
        embed.add_field(name="Exempt", value=f"{members}{more}", inline=False)
    return embed


def _in_line(job: Job | None, wait: str) -> str:
    parts = ["somebody in another channel", wait] if job is None else [f"<@{job.place.user_id}>", wait]
    if job is not None:
        parts += [title(job), f"`{job.id}`"]
    return " · ".join(part for part in parts if part)


def _fitted(lines: Sequence[str], most: int, separator: str = "\n") -> str:
    """As many of the entries as an embed holds, and how many are left out."""
    shown = list(lines[:most])
    while True:
        hidden = len(lines) - len(shown)
        text = separator.join([*shown, *([f"… and {hidden} more"] if hidden else [])])
        if len(text) <= DESCRIPTION:
            return text
        shown.pop()


def _where(job: Job) -> str:
    if job.state in (JobState.POSTED, JobState.UNDELIVERABLE) and not job.pictures:
        return texts.REMOVED
    if job.result is not None:
        url = f"https://discord.com/channels/{job.place.guild_id}/{job.result.channel_id}/{job.result.message_id}"
        return f"[{_STATES[job.state]}]({url})"
    return _STATES[job.state]


def _why(job: Job) -> str:
    if job.failure is None or job.state in UNDER_WAY:
        return ""
    return f"\n{words.cut(texts.of_failure(job.failure), 200)}"
