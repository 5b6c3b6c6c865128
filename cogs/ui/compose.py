"""The form of /compose: a wish with all the room that a long prompt needs."""

from collections.abc import Sequence
from typing import Any, Final

import discord

from cogs.ui import words
from cogs.ui.language import say, translated
from config.catalogue import Model
from domain.request import MAX_PROMPT_CHARACTERS, MAX_SEED

FORM: Final = "easel:compose"
MAX_OPTIONS: Final = 25
"""https://discord.com/developers/docs/components/reference#string-select"""


def form(models: Sequence[Model], *, negative: bool) -> discord.ui.Modal:
    """``models`` may be asked for; ``negative``: whether some of them take a negative prompt.

    Its fields are called as the options of /imagine are.
    """
    modal = discord.ui.Modal(title=say("Compose a prompt"), custom_id=FORM)
    prompt = _text("prompt", say("What to paint, in as many words as it takes"), MAX_PROMPT_CHARACTERS, required=True)
    modal.add_item(discord.ui.Label(text=say("Prompt"), component=prompt))
    if negative:
        without = _text("negative_prompt", None, MAX_PROMPT_CHARACTERS)
        modal.add_item(discord.ui.Label(text=say("What to leave out"), component=without))
    choice: discord.ui.Select[Any] = discord.ui.Select(
        custom_id="model",
        placeholder=say("the usual one"),
        required=False,
        options=[
            discord.SelectOption(
                label=words.label(model.name), value=model.key, description=words.label(translated(model.summary))
            )
            for model in models[:MAX_OPTIONS]
        ],
    )
    modal.add_item(discord.ui.Label(text=say("Model"), component=choice))
    size = _text("size", say("e.g. 16:9, portrait or 1024x1024"), 20, short=True)
    modal.add_item(discord.ui.Label(text=say("Size"), description=say("Empty: the usual one."), component=size))
    seed = _text("seed", say("empty: a new one"), len(str(MAX_SEED)), short=True)
    modal.add_item(discord.ui.Label(text=say("Seed"), component=seed))
    # A stopped modal is sent but not remembered; what comes back is read from the interaction itself.
    modal.stop()
    return modal


def _text(
    name: str, placeholder: str | None, longest: int, *, required: bool = False, short: bool = False
) -> discord.ui.TextInput[Any]:
    return discord.ui.TextInput(
        style=discord.TextStyle.short if short else discord.TextStyle.paragraph,
        custom_id=name,
        placeholder=placeholder,
        required=required,
        max_length=longest,
    )
