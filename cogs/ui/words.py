"""Putting values into words, and other people's words into messages without letting them act.

Whatever a person, a provider or a file has written goes through ``plain`` before it is shown.
"""

import re
import unicodedata
from datetime import datetime
from typing import Final

from domain.money import MicroUSD, format_usd
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
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def took(seconds: float) -> str:
    """A measured time: ``0.4 s``, ``6.1 s``, ``2 min 5 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def price(amount: MicroUSD) -> str:
    """``free`` or dollars."""
    return format_usd(amount) if amount else "free"


def size_in_bytes(count: float) -> str:
    """``3.2 MiB``."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{max(1, round(count / 2**10))} KiB"


def number(value: float) -> str:
    """A number without a needless ``.0``; an absurdly long one is cut."""
    if isinstance(value, int):
        return cut(str(value), 24)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:g}"


def bar(share: float, width: int = 12) -> str:
    """``▰▰▰▱▱▱``, for a share between 0 and 1."""
    full = round(min(1.0, max(0.0, share)) * width)
    return "▰" * full + "▱" * (width - full)


def ordinal(value: int) -> str:
    """``1st``, ``2nd``, ``11th``."""
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def moment(when: datetime | int, style: str = "R") -> str:
    """A timestamp that every reader sees in their own time zone."""
    seconds = when if isinstance(when, int) else int(when.timestamp())
    return f"<t:{seconds}:{style}>"


def amount(unit: Unit, value: int) -> str:
    """An amount in the unit's smallest part, in words: ``3 pictures``, ``12 GPU seconds``, ``$0.50``."""
    match unit:
        case Unit.IMAGES:
            return "1 picture" if value == 1 else f"{value} pictures"
        case Unit.GPU_SECONDS:
            return f"{number(round(value / 1000, 1))} GPU seconds"
        case Unit.MONEY:
            return format_usd(MicroUSD(value))


def window(value: Window) -> str:
    """``an hour``, ``a day``."""
    return "an hour" if value is Window.HOUR else f"a {value.value}"


def subject(kind: Subject, subject_id: int) -> str:
    """Whom a rule speaks of. Mentions are shown, not pinged."""
    match kind:
        case Subject.GUILD:
            return "the whole server"
        case Subject.CHANNEL:
            return f"<#{subject_id}>"
        case Subject.ROLE:
            return f"each member with <@&{subject_id}>"
        case Subject.MEMBER:
            return f"<@{subject_id}>"
        case Subject.EVERY_MEMBER:
            return "each member"
        case Subject.OPERATOR:
            return "this bot in all servers"


def rule(value: Rule) -> str:
    """``each member: 20 pictures a day``."""
    return f"{subject(value.subject, value.subject_id)}: {amount(value.unit, value.limit)} {window(value.window)}"


def own_rule(value: Rule) -> str:
    """The same, as the member reads it for whom it holds: ``You: 20 pictures a day``."""
    personal = value.subject in (Subject.MEMBER, Subject.ROLE, Subject.EVERY_MEMBER)
    whom = "You" if personal else subject(value.subject, value.subject_id).capitalize()
    return f"{whom}: {amount(value.unit, value.limit)} {window(value.window)}"
