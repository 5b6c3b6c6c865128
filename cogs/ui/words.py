"""Putting values into words, and other people's words into messages without letting them act.

Whatever a person, a provider or a file has written goes through ``plain`` before it is shown.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from typing import Final

from babel.numbers import format_currency

from cogs.ui.language import Plural, babel_locale, say, spoken, tenths
from cogs.ui.language import number as in_language
from domain.language import Language
from domain.money import MicroUSD, in_usd
from domain.quota import Rule, Subject, Unit, Window

# Discord's Markdown: https://support.discord.com/hc/en-us/articles/210298617. "<" opens mentions, emojis and
# timestamps; brackets make masked links.
_MARKDOWN: Final = re.compile(r"([\\*_~`|\[\]<])")
_AT_LINE_START: Final = re.compile(r"^(\s*)(>|#{1,3}\s|-#?\s|\d+\.\s)")
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def plain(text: str, limit: int | None = None) -> str:
    """Other people's text as inert text on one line: no Markdown, no mention, no control characters.

    ``limit`` cuts before escaping: the result may be up to twice as long, and a little more.
    """
    cleaned = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or (character not in _BIDI and unicodedata.category(character) not in ("Cc", "Cs"))
    )
    shortened = cut(" ".join(cleaned.split(" ")).strip(), limit)
    escaped = _MARKDOWN.sub(r"\\\1", shortened).replace("@", "@\u200b").replace("://", ":\u200b//")
    return _AT_LINE_START.sub(r"\1\\\2", escaped)


def code(text: str, limit: int = 100) -> str:
    """Text that is shown between backticks, where nothing can be escaped."""
    return cut(" ".join(text.replace("`", "").split()), limit).replace("@", "@\u200b")


def cut(text: str, limit: int | None) -> str:
    """The text, ended with an ellipsis where it is longer than ``limit`` characters."""
    if limit is None or len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + "…"


def label(text: str, limit: int = 100) -> str:
    """Text for places that know no Markdown (choices, button labels): one line, cut."""
    return cut(" ".join(text.split()), limit)


def duration(seconds: float) -> str:
    """``8 s``, ``3 min``, ``2 h``: as exact as an estimate deserves."""
    if seconds < 90:
        return say("{count} s", count=max(1, round(seconds)))
    if seconds < 90 * 60:
        return say("{count} min", count=round(seconds / 60))
    return say("{count} h", count=round(seconds / 3600, 1))


def took(seconds: float) -> str:
    """A measured time: ``0.4 s``, ``6.1 s``, ``2 min 5 s``."""
    if seconds < 60:
        return say("{count} s", count=tenths(seconds))
    return say("{minutes} min {seconds} s", minutes=int(seconds // 60), seconds=int(seconds % 60))


def price(amount: MicroUSD) -> str:
    """``free`` or dollars."""
    return dollars(amount) if amount else say("free")


def dollars(amount: MicroUSD) -> str:
    """``$0.012``, ``0,012 $``: at least two decimals, no more than are needed."""
    return format_currency(
        in_usd(amount),
        "USD",
        locale=babel_locale(spoken()),
        currency_digits=False,
        decimal_quantization=False,
        group_separator=False,
    )


def size_in_bytes(count: float) -> str:
    """``3.2 MiB``."""
    if count >= 2**20:
        return say("{count} MiB", count=tenths(count / 2**20))
    return say("{count} KiB", count=max(1, round(count / 2**10)))


def number(value: float) -> str:
    """A number without a needless ``.0``; an absurdly long one is cut."""
    return cut(in_language(value), 24)


def bar(share: float, width: int = 12) -> str:
    """``▰▰▰▱▱▱``, for a share between 0 and 1."""
    full = round(min(1.0, max(0.0, share)) * width)
    return "▰" * full + "▱" * (width - full)


def ordinal(value: int) -> str:
    """``1st``, ``2nd``, ``11th``: English alone has it in its sentences."""
    endings = {"one": "st", "two": "nd", "few": "rd"}
    return f"{value}{endings.get(babel_locale(Language.ENGLISH).ordinal_form(value), 'th')}"


def listed(several: Iterable[str]) -> str:
    """``a, b, c``."""
    return reduce(lambda first, second: say("{first}, {second}", first=first, second=second), several)


def sentences(*several: str) -> str:
    """Whole sentences one after another; those that are empty are left out."""
    given = [sentence for sentence in several if sentence]
    return reduce(lambda first, second: say("{first} {second}", first=first, second=second), given)


def moment(when: datetime | int, style: str = "R") -> str:
    """A timestamp that every reader sees in their own time zone and language."""
    seconds = when if isinstance(when, int) else int(when.timestamp())
    return f"<t:{seconds}:{style}>"


def amount(unit: Unit, value: int) -> str:
    """An amount in the unit's smallest part, in words: ``3 pictures``, ``12 GPU seconds``, ``$0.50``."""
    match unit:
        case Unit.IMAGES:
            return say(Plural("{count} picture", "{count} pictures"), count=value)
        case Unit.GPU_SECONDS:
            return say("{count} GPU seconds", count=number(round(value / 1000, 1)))
        case Unit.MONEY:
            return dollars(MicroUSD(value))


def bare_amount(unit: Unit, value: int) -> str:
    """The same where the unit has just been named: ``3``, ``12 GPU seconds``, ``$0.50``."""
    return number(value) if unit is Unit.IMAGES else amount(unit, value)


def allowance(unit: Unit, value: int, window: Window) -> str:
    """``20 pictures a day``."""
    shown = amount(unit, value)
    match window:
        case Window.HOUR:
            return say("{amount} an hour", amount=shown)
        case Window.DAY:
            return say("{amount} a day", amount=shown)
        case Window.WEEK:
            return say("{amount} a week", amount=shown)
        case Window.MONTH:
            return say("{amount} a month", amount=shown)


def rule(value: Rule) -> str:
    """``each member: 20 pictures a day``. Mentions are shown, not pinged."""
    limit = allowance(value.unit, value.limit, value.window)
    match value.subject:
        case Subject.GUILD:
            return say("the whole server: {limit}", limit=limit)
        case Subject.CHANNEL:
            return say("{whom}: {limit}", whom=f"<#{value.subject_id}>", limit=limit)
        case Subject.ROLE:
            return say("each member with {role}: {limit}", role=f"<@&{value.subject_id}>", limit=limit)
        case Subject.MEMBER:
            return say("{whom}: {limit}", whom=f"<@{value.subject_id}>", limit=limit)
        case Subject.EVERY_MEMBER:
            return say("each member: {limit}", limit=limit)
        case Subject.OPERATOR:
            return say("this bot in all servers: {limit}", limit=limit)


def own_rule(value: Rule) -> str:
    """The same, as the member reads it for whom it holds: ``You: 20 pictures a day``."""
    limit = allowance(value.unit, value.limit, value.window)
    match value.subject:
        case Subject.MEMBER | Subject.ROLE | Subject.EVERY_MEMBER:
            return say("You: {limit}", limit=limit)
        case Subject.CHANNEL:
            return say("{whom}: {limit}", whom=f"<#{value.subject_id}>", limit=limit)
        case Subject.GUILD:
            return say("The whole server: {limit}", limit=limit)
        case Subject.OPERATOR:
            return say("This bot in all servers: {limit}", limit=limit)
