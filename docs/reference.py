"""Writes the reference pages from the code: ``python -m docs.reference``. A test keeps them in step."""

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
from pydantic import SecretStr

from bot import house
from cogs.client import EaselBot
from cogs.contexts import EVERYWHERE
from cogs.languages import CommandTranslator
from cogs.slash import is_for_everywhere, offer_in
from config.catalogue import Catalogue, Offer
from config.loading import load
from config.parameters import (
    ChoiceParameter,
    IntegerParameter,
    LorasParameter,
    NumberParameter,
    Parameter,
    PictureParameter,
    PresetParameter,
    SizeParameter,
    TextParameter,
    VariationsParameter,
)
from config.settings import BACKEND_ORDER, Settings
from domain.money import format_usd

FOLDER = Path(__file__).parent


def pages() -> Mapping[str, str]:
    """File name -> what it should hold."""
    return {
        "settings.md": settings_page(),
        "models.md": models_page(Catalogue.load()),
        "commands.md": commands_page(asyncio.run(all_commands())),
    }


def settings_page() -> str:
    """Every setting with its default and what it is for."""
    rows = []
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{name.upper()}` | {_default(name, field.default)} | {field.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Made from `config/settings.py` by `python -m docs.reference`.",
            "",
            "Set these in the environment, in a file `.env` in the working folder, or in a TOML file that",
            "`EASEL_CONFIG` names (same names, e.g. `easel_daily_budget_usd = 5`). The environment wins over `.env`,",
            "and `.env` over TOML.",
            "An unknown `EASEL_…` name or a bad value ends the start with one line and exit status 2.",
            "",
            "| setting | default | what it is |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _default(name: str, value: object) -> str:
    match value:
        case None | SecretStr():
            return "none"
        case ():
            return "none"
        case tuple():
            return f"`{','.join(map(str, value))}`"
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def models_page(catalogue: Catalogue) -> str:
    """Every model, its offers, and what each takes."""
    lines = [
        "# Models and offers",
        "",
        "Made from `config/models/*.toml` by `python -m docs.reference`.",
        "",
        "A *model* is what people name in `/imagine` and `/edit`; an *offer* is one way to get it. Which offers are",
        "used is up to what is configured: `worker` is Easel's own GPU worker, the others are hosted services.",
        f"Backends are tried in the order of `EASEL_BACKENDS` (default `{','.join(BACKEND_ORDER)}`).",
    ]
    for model in catalogue:
        lines += ["", f"## {model.name}", "", f"`{model.key}` · /{model.kind.value} · {model.summary}"]
        for offer in model.offers:
            lines += ["", f"### {model.name} at {offer.backend}", "", _price(offer), ""]
            lines += ["| option | takes | default | sent as |", "|---|---|---|---|"]
            for option, parameter in offer.parameters.items():
                sent = ", ".join(f"`{field}`" for field in parameter.fields)
                lines.append(f"| `{option.value}` | {_takes(parameter)} | {_parameter_default(parameter)} | {sent} |")
            if offer.constants:
                lines += ["", "Always sent: " + ", ".join(_constants(offer.constants)) + "."]
    return "\n".join([*lines, ""])


def _price(offer: Offer) -> str:
    price = "free: it runs on your own hardware"
    if offer.price is None:
        price = "price unknown: nothing is sent there"
    elif offer.is_paid:
        price = f"at most {format_usd(offer.price)} a picture"
    return f"`{offer.target}` · {price} · usually about {offer.seconds:g} s"


def _takes(parameter: Parameter) -> str:
    match parameter:
        case TextParameter():
            return f"text, at most {parameter.max_length} characters" if parameter.max_length else "text"
        case IntegerParameter():
            return f"{parameter.minimum}–{parameter.maximum}"
        case NumberParameter():
            return f"{parameter.minimum:g}–{parameter.maximum:g}"
        case ChoiceParameter():
            return _some(parameter.values)
        case PresetParameter():
            return _some(parameter.presets)
        case LorasParameter():
            return f"LoRAs, each {_some(['name', 'name=0.8', *(['name=0.8/high'] if parameter.stage_field else [])])}"
        case SizeParameter():
            if parameter.choices:
                return _some(map(str, parameter.choices))
            grid = f" in steps of {parameter.step}" if parameter.step > 1 else ""
            return f"{parameter.minimum}–{parameter.maximum} a side{grid}"
        case PictureParameter():
            return "a picture"
        case VariationsParameter():
            return "through Vary subtly and Vary strongly under a result"


def _some(words: Iterable[str]) -> str:
    listed = [f"`{word}`" for word in words]
    return ", ".join(listed) if len(listed) <= 16 else f"{', '.join(listed[:12])} … ({len(listed)} in all)"


def _parameter_default(parameter: Parameter) -> str:
    value: Any = getattr(parameter, "default", None)
    return "–" if value is None else f"`{value}`"


def _constants(constants: Mapping[str, object]) -> list[str]:
    return [
        f"`{name}` = `{str(value).lower() if isinstance(value, bool) else value}`" for name, value in constants.items()
    ]


async def all_commands() -> list[Mapping[str, Any]]:
    """What would be registered with Discord, in every language, if all were configured and allowed that there is."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load({"EASEL_DATA_DIR": folder}, folder=Path(folder))
        async with house(settings, {}) as nothing_configured:
            services = replace(nothing_configured, catalogue=Catalogue.load(), order=BACKEND_ORDER)
            client = EaselBot(services)
            translator = CommandTranslator()
            commands = client.offered()
            for command in filter(is_for_everywhere, commands):
                offer_in(command, EVERYWHERE)
            return [await command.get_translated_payload(client.tree, translator) for command in commands]


def commands_page(commands: Iterable[Mapping[str, Any]]) -> str:
    """Every command with its options; ``commands`` are as Discord gets them."""
    lines = [
        "# Commands",
        "",
        "Made from the code by `python -m docs.reference`, with every backend configured. Only what works is",
        "registered: an option that none of your models takes is not shown, nor is a command without a model.",
        "Options with `…` help as you type. Those with 💬 are also there outside servers, where the operator allows",
        "that ([how](discord.md#outside-servers)).",
    ]
    for command in commands:
        lines += _command(command, "")
    return "\n".join([*lines, ""])


def _command(command: Mapping[str, Any], group: str) -> list[str]:
    options = command.get("options", [])
    inner = [option for option in options if option["type"] == discord.AppCommandOptionType.subcommand.value]
    if inner:
        permissions = discord.Permissions(int(command["default_member_permissions"] or 0))
        # Discord's client says server where its API says guild.
        needed = ", ".join(
            name.replace("guild", "server").replace("_", " ").title() for name, set_ in permissions if set_
        )
        lines = ["", f"## /{command['name']}", "", f"{command['description']}. Needs {needed}."]
        return lines + [line for one in inner for line in _command(one, command["name"])]
    name = f"### /{group} {command['name']}" if group else f"## /{command['name']}"
    outside = " 💬" if discord.app_commands.AppCommandContext.DM_CHANNEL in command.get("contexts", ()) else ""
    match command["type"]:
        case discord.AppCommandType.message.value if not group:
            return ["", f"## {command['name']}", "", f"In a message's menu, under Apps.{outside}"]
        case discord.AppCommandType.user.value if not group:
            return ["", f"## {command['name']}", "", f"In a person's menu, under Apps.{outside}"]
    lines = ["", name, "", f"{command['description']}.{outside}"]
    if options:
        lines += ["", "| option | takes | what it is |", "|---|---|---|"]
        lines += [f"| `{option['name']}` | {_option(option)} | {option['description']} |" for option in options]
    return lines


def _option(option: Mapping[str, Any]) -> str:
    kind = discord.AppCommandOptionType(option["type"])
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "attachment": "picture"}
    text = words.get(kind.name, kind.name)
    low, high = option.get("min_value"), option.get("max_value")
    if option.get("choices"):
        text = _some(str(choice["value"]) for choice in option["choices"])
    elif low is not None and high is not None:
        text = f"{low:.15g}–{high:.15g}"
    elif (longest := option.get("max_length")) is not None:
        text = f"text, at most {longest} characters"
    needed = " (required)" if option.get("required") else ""
    return text + (" …" if option.get("autocomplete") else "") + needed


def main() -> int:
    """Write the pages; returns 0."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
