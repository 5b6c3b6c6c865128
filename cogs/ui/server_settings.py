"""A server's settings in plain words, one line each: for /settings show, the panel and the log of changes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from cogs.ui import words
from cogs.ui.language import say
from config.catalogue import Catalogue
from domain.guild import GuildSettings, NsfwPolicy, Policy
from domain.language import Language

_LISTED: Final = 15

LANGUAGES: Final[Mapping[Language, str]] = {
    Language.ENGLISH: "English",
    Language.CHINESE: "简体中文",
    Language.JAPANESE: "日本語",
    Language.SPANISH: "Español",
    Language.GERMAN: "Deutsch",
    Language.FRENCH: "Français",
}
"""Each by its own name, which needs no translation."""


def lines(settings: GuildSettings, catalogue: Catalogue, fields: Iterable[str] | None = None) -> list[str]:
    """What is set, one sentence a field; all fields where none are named."""
    return [_LINES[field](settings, catalogue) for field in (fields if fields is not None else _LINES)]


def line(field: str, settings: GuildSettings, catalogue: Catalogue) -> str:
    """One field."""
    return _LINES[field](settings, catalogue)


def nsfw_policy(policy: NsfwPolicy) -> str:
    """The policy in words."""
    match policy:
        case NsfwPolicy.OFF:
            return say("not at all")
        case NsfwPolicy.AGE_RESTRICTED:
            return say("in age-restricted channels alone")
        case NsfwPolicy.SPOILER:
            return say("age-restricted, behind a spoiler")


def policy(value: Policy) -> str:
    """The policy in words."""
    match value:
        case Policy.ORDER:
            return say("the operator's order")
        case Policy.CHEAPEST:
            return say("the cheapest first")
        case Policy.FASTEST:
            return say("the fastest first")


def _channels(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.channels is None:
        return say("**Channels** all that I can post in")
    return say("**Channels** {channels}", channels=_mentions("<#{}>", settings.channels))


def _roles(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.roles is None:
        return say("**Who may ask** everybody")
    return say("**Who may ask** members with {roles}", roles=_mentions("<@&{}>", settings.roles))


def _models(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.allowed_models is None:
        return say("**Models** all")
    return say("**Models** {models}", models=words.listed(_model(key, catalogue) for key in settings.allowed_models))


def _imagine_model(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.imagine_model is None:
        return say("**Usual model of /imagine** as the operator has it")
    return say("**Usual model of /imagine** {model}", model=_model(settings.imagine_model, catalogue))


def _edit_model(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.edit_model is None:
        return say("**Usual model of /edit** as the operator has it")
    return say("**Usual model of /edit** {model}", model=_model(settings.edit_model, catalogue))


def _speed(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.speed is None:
        return say("**Usual speed** the model's own")
    return say("**Usual speed** {speed}", speed=words.plain(settings.speed))


def _policy(settings: GuildSettings, catalogue: Catalogue) -> str:
    return say("**Which backend** {policy}", policy=policy(settings.policy))


def _backends(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.allowed_backends is None:
        return say("**Backends** all")
    return say("**Backends** {backends}", backends=words.listed(settings.allowed_backends))


def _spill(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.spill_to_paid:
        return say("**When the free backends are busy** paid ones are used")
    return say("**When the free backends are busy** people wait")


def _size(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.max_size is None:
        return say("**Largest picture** what the model can make")
    return say("**Largest picture** no more pixels than {size}", size=str(settings.max_size))


def _count(settings: GuildSettings, catalogue: Catalogue) -> str:
    return say("**Pictures at once** {count} at the most", count=settings.max_count)


def _private(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.private_results:
        return say("**Results** are shown to who asked for them alone")
    return say("**Results** are shown to everybody in the channel")


def _nsfw(settings: GuildSettings, catalogue: Catalogue) -> str:
    return say("**Pictures for adults** {policy}", policy=nsfw_policy(settings.nsfw))


def _language(settings: GuildSettings, catalogue: Catalogue) -> str:
    if settings.language is None:
        return say("**Language** the one that Discord is set to")
    return say("**Language** {language}", language=LANGUAGES[Language.of(settings.language)])


def _gallery(settings: GuildSettings, catalogue: Catalogue) -> str:
    return say("**Gallery** yes") if settings.gallery else say("**Gallery** none")


def _zone(settings: GuildSettings, catalogue: Catalogue) -> str:
    return say("**Time zone** {zone}", zone=settings.time_zone.key)


def _cooldown(settings: GuildSettings, catalogue: Catalogue) -> str:
    time = words.duration(settings.cooldown_seconds) if settings.cooldown_seconds else say("none")
    return say("**Wait between two jobs** {time}", time=time)


def _log(settings: GuildSettings, catalogue: Catalogue) -> str:
    channel = f"<#{settings.log_channel_id}>" if settings.log_channel_id is not None else say("none")
    return say("**Log channel** {channel}", channel=channel)


def _paused(settings: GuildSettings, catalogue: Catalogue) -> str:
    return say("**Paused** yes: no new jobs are accepted") if settings.paused else say("**Paused** no")


def _model(key: str, catalogue: Catalogue) -> str:
    return next((model.name for model in catalogue if model.key == key), key)


def _mentions(mention: str, ids: tuple[int, ...]) -> str:
    shown = [mention.format(number) for number in ids[:_LISTED]]
    return words.listed([*shown, "…"] if len(ids) > _LISTED else shown)


_LINES: Final[Mapping[str, Callable[[GuildSettings, Catalogue], str]]] = {
    "channels": _channels,
    "roles": _roles,
    "paused": _paused,
    "private_results": _private,
    "gallery": _gallery,
    "allowed_models": _models,
    "imagine_model": _imagine_model,
    "edit_model": _edit_model,
    "speed": _speed,
    "max_size": _size,
    "max_count": _count,
    "nsfw": _nsfw,
    "language": _language,
    "log_channel_id": _log,
    "time_zone": _zone,
    "cooldown_seconds": _cooldown,
    "policy": _policy,
    "allowed_backends": _backends,
    "spill_to_paid": _spill,
}
