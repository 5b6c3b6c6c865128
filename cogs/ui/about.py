"""What the bot says of itself: /about, and what /privacy shows."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import discord

from cogs.ui import uses, words
from cogs.ui.language import say, translated
from config.blocklist import Use
from config.catalogue import Catalogue
from config.settings import Settings

SOURCE: Final = "https://huggingface.co/HiDream-ai"
"""The models and their licence."""
_COLOUR: Final = discord.Colour.blurple()
_MODELS: Final = 25


def about(settings: Settings, catalogue: Catalogue) -> discord.Embed:
    """What this is, who runs it, with which models, and what they may not be used for."""
    names = [model.name for model in catalogue]
    shown = words.listed(names[:_MODELS]) if names else say("none")
    lines = [
        say("I am Easel: I paint and edit pictures with the HiDream models. Begin with /imagine."),
        "",
        say("**Version** {version}", version=_version()),
        say("**Operator** {contact}", contact=_contact(settings)),
        say("**Models** {models}", models=shown),
        say("HiDream's models are under the MIT licence: {link}", link=SOURCE),
        "",
        say("**What the models may not be used for**"),
        *(f"- {uses.in_words(use.value)}" for use in Use),
        "",
        say("Such prompts are refused. Report a picture with Apps → Report picture, or with /report."),
        say("What I keep of you, and how to have it deleted: /privacy"),
    ]
    return discord.Embed(colour=_COLOUR, title="Easel", description="\n".join(lines))


def privacy(settings: Settings) -> discord.Embed:
    """What is kept of people, and for how long."""
    lines = [
        say("**Your prompts**, options and seeds, with where and when you asked: until you delete them."),
        say(
            "**Your pictures**, and those you edit: {days} days, favourites longer, or until there is no room. Where "
            "and by whom a photo was taken is removed before it goes anywhere.",
            days=settings.easel_pictures_days,
        ),
        say("**Messages with your pictures** stay on Discord until you, or somebody who may, deletes them."),
        say(
            "**The ledger**: how many pictures, seconds and cents, without what they were for. It stays, so that "
            "quotas hold; a month after you had your data deleted it does not name you any more."
        ),
        say("**What admins did** (rules, bans, settings) stays in the server's record."),
        say("**Prompts and pictures go to a hosted service** where that paints them; every result names it."),
        "",
        say("/privacy with `export` gives you all of it as a file, and with `delete` it is deleted."),
        say("**Operator** {contact}", contact=_contact(settings)),
    ]
    return discord.Embed(colour=_COLOUR, title=translated("What I keep of you"), description="\n".join(lines))


def forget_button(custom_id: str) -> discord.ui.View:
    """Yes, delete it all."""
    view = discord.ui.View(timeout=None)
    button: discord.ui.Button[Any] = discord.ui.Button(
        style=discord.ButtonStyle.danger, label=words.label(say("Delete all of it for good"), 80), custom_id=custom_id
    )
    view.add_item(button)
    # A stopped view is sent but not remembered; what is pressed is read from the interaction itself.
    view.stop()
    return view


def _contact(settings: Settings) -> str:
    contact = settings.easel_operator_contact
    # The operator's own words: a link in them is meant.
    return contact if contact is not None else say("has not said how to be reached")


def _version() -> str:
    try:
        return version("easel")
    except PackageNotFoundError:
        return "?"
