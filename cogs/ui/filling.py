"""Putting the parameters of a code into its sentence. A parameter may come from anywhere, so it is made harmless."""

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cogs.ui import uses, words
from cogs.ui.language import Plural, say, template, translated
from domain.errors import Parameter
from domain.quota import Subject, Unit, Window

Parameters = Mapping[str, Parameter]

_IN_BACKTICKS: Final = frozenset({"option", "flag", "job", "incident"})
"""Parameters that the sentences show as code."""
_EXPECTED: Final = "expected"
"""A parameter in words of our own: it is translated, too."""
_PERMISSIONS: Final = "permissions"
"""Discord's names of permissions, with commas between them; Discord shows them in the reader's language."""

PERMISSIONS: Final[Mapping[str, str]] = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "attach_files": "Attach Files",
    "embed_links": "Embed Links",
}
"""What Discord's client calls the permissions that the bot needs."""

_YOURS: Final = Plural(
    "That is {wanted}, and {left} of your {limit} is left ({used}).",
    "That is {wanted}, and {left} of your {limit} are left ({used}).",
)
_OF_SHARED: Final[Mapping[Subject, Plural]] = {
    Subject.GUILD: Plural(
        "That is {wanted}, and {left} of this server’s {limit} is left ({used}).",
        "That is {wanted}, and {left} of this server’s {limit} are left ({used}).",
    ),
    Subject.CHANNEL: Plural(
        "That is {wanted}, and {left} of this channel’s {limit} is left ({used}).",
        "That is {wanted}, and {left} of this channel’s {limit} are left ({used}).",
    ),
    Subject.OPERATOR: Plural(
        "That is {wanted}, and {left} of this bot’s {limit} is left ({used}).",
        "That is {wanted}, and {left} of this bot’s {limit} are left ({used}).",
    ),
}


def filled(text: str | Plural, parameters: Parameters, *, escape: bool) -> str:
    """The sentence in the language that is spoken. ``escape``: for Discord, where Markdown and mentions act.

    A number may say what it is: ``bytes``, ``megapixels``, ``duration`` (seconds), ``moment`` (seconds since the
    epoch); a text with ids, separated by commas, may say ``channels`` or ``roles``. A parameter that is missing is
    shown as an ellipsis rather than breaking the answer.
    """
    return _FORMATTER.vformat(template(text, parameters), (), _Given(parameters, escape=escape)).rstrip()


def quota_exceeded(given: Parameters) -> str:
    """Which quota would be exceeded, and when there is more; empty where the parameters do not tell."""
    try:
        unit, kind, window = Unit(str(given["unit"])), Subject(str(given["subject"])), Window(str(given["window"]))
    except (KeyError, ValueError):
        return ""
    held, left, limit = int(given.get("held", 0)), int(given.get("left", 0)), int(given.get("limit", 0))
    used = words.bare_amount(unit, int(given.get("used", 0)))
    if held:
        used = say("{used} used, {held} held by jobs under way", used=used, held=words.bare_amount(unit, held))
    else:
        used = say("{used} used", used=used)
    exceeded = say(
        _OF_SHARED.get(kind, _YOURS),
        wanted=words.amount(unit, int(given.get("wanted", 0))),
        left=words.bare_amount(unit, left),
        limit=words.allowance(unit, limit, window),
        used=used,
        # Pictures are counted; an amount of time or money is never one thing.
        count=left if unit is Unit.IMAGES else 2,
    )
    rule = int(given.get("rule", 0))
    which = say("This is rule `{rule}` of /quotas list.", rule=rule) if rule else say("The operator has set this.")
    # Where nothing is allowed at all, there is nothing to wait for.
    more = more_to_come(given) if limit else say("It holds until an admin changes it.")
    return words.sentences(exceeded, which, more)


def more_to_come(given: Parameters) -> str:
    """When there is more of a quota; empty where that is not known."""
    resets_at = int(given.get("resets_at", 0))
    return say("More {when}.", when=words.moment(resets_at)) if resets_at else ""


class _Given(Mapping[str, Any]):
    """The parameters, made harmless."""

    def __init__(self, values: Parameters, *, escape: bool) -> None:
        self._values = values
        self._escape = escape

    def __getitem__(self, name: str) -> Parameter:
        value = self._values.get(name, "…")
        if not isinstance(value, str):
            return value
        if name == _EXPECTED:
            value = translated(value)
        if name == _PERMISSIONS:
            value = words.listed(translated(one) for one in value.split(", "))
        if name == "use":
            value = uses.in_words(value)
        if not self._escape:
            return value
        return words.code(value) if name in _IN_BACKTICKS else words.plain(value, 300)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class _Formatter(string.Formatter):
    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[str(key)]

    def format_field(self, value: Any, format_spec: str) -> str:
        if not isinstance(value, int | float):
            mention = _MENTIONS.get(format_spec)
            return str(value) if mention is None else mentions(mention, str(value).split(","))
        match format_spec:
            case "bytes":
                return words.size_in_bytes(value)
            case "megapixels":
                return words.number(round(value / 1_000_000, 1))
            case "duration":
                return words.duration(value)
            case "moment":
                return words.moment(int(value))
            case _:
                return words.number(value)


def mentions(mention: str, ids: Sequence[str]) -> str:
    """Channels or roles by their ids; not all of many."""
    shown = ", ".join(mention.format(number) for number in ids[:_NAMED] if number.isdecimal())
    return f"{shown} …" if len(ids) > _NAMED else shown


_MENTIONS: Final = {"channels": "<#{}>", "roles": "<@&{}>"}
_NAMED: Final = 10
_FORMATTER: Final = _Formatter()
