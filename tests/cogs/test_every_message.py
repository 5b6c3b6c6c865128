"""Every message that the bot can send, in every language, against Discord's limits and its own description."""

import asyncio
import importlib
import inspect
import json
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import cogs.ui
from cogs.ui.language import speaking
from docs.reference import all_commands
from domain.language import Language
from sandbox import openapi
from sandbox.commands import check_command
from sandbox.components import check_modal
from sandbox.errors import ApiError, FormErrors
from sandbox.limits import check_message
from sandbox.model import MessageFlag
from tests.cogs import every_message

OPENAPI = Path(__file__).parents[3] / "shared" / "discord" / "openapi.json"
BUILDERS = ("Embed", "View", "LayoutView", "Modal", "Parts")
"""Functions of ``cogs.ui`` that return one of these make messages."""


@pytest.fixture(params=Language)
def language(request: pytest.FixtureRequest) -> Language:
    assert isinstance(request.param, Language)
    return request.param


def test_messages_keep_to_the_limits(language: Language) -> None:
    with speaking(language):
        # What is escaped is the longest that a prompt can become.
        for name, body in every_message.messages(every_message.PROMPTS["markdown"]):
            assert problems(body) == [], name


@pytest.mark.parametrize("prompt", every_message.PROMPTS.values(), ids=every_message.PROMPTS.keys())
def test_messages_keep_to_the_limits_whatever_is_in_a_prompt(prompt: str) -> None:
    with speaking(Language.GERMAN):
        for name, body in every_message.messages(prompt):
            assert problems(body) == [], name


def test_forms_keep_to_the_limits(language: Language) -> None:
    with speaking(language):
        for prompt in every_message.PROMPTS.values():
            for name, modal in every_message.forms(prompt):
                try:
                    check_modal(modal.to_dict())
                except ApiError as error:
                    pytest.fail(f"{name}: {error.payload()}")


def test_buttons_keep_to_the_limits(language: Language) -> None:
    with speaking(language):
        for made in every_message.BUTTONS:
            assert problems(every_message.body(None, [], made())) == []


def test_commands_keep_to_the_limits() -> None:
    wrong = FormErrors()
    for number, command in enumerate(commands()):
        check_command(json.loads(json.dumps(command)), f"{number}", wrong)
        for path, text, most in descriptions(command):
            assert 1 <= len(text) <= most, f"{path}: {len(text)} characters: {text}"
    wrong.raise_if_any()


def descriptions(node: Any, path: str = "") -> list[tuple[str, str, int]]:
    """Everything that is shown of a command in any language, with how long it may be."""
    path = f"{path}/{node['name']}"
    found = [
        (f"{path} ({locale})", text, most)
        for key, most in (("description", 100), ("name", 100 if "value" in node else 32))
        for locale, text in (node.get(f"{key}_localizations") or {}).items()
    ]
    for child in [*node.get("options", ()), *node.get("choices", ())]:
        found += descriptions(child, path)
    return found


@pytest.mark.skipif(not OPENAPI.is_file(), reason="Discord's OpenAPI description is not at hand")
def test_all_is_as_discord_describes_it(language: Language) -> None:
    description = openapi.load(OPENAPI)
    answered = "/interactions/{interaction_id}/{interaction_token}/callback"
    with speaking(language):
        prompt = every_message.PROMPTS["markdown"]
        # One of each kind: it is the form that is looked at here, which does not differ with the words.
        for name, body in dict(every_message.messages(prompt)).items():
            assert description.check_request("POST", "/channels/{channel_id}/messages", body, False) == [], name
            answer = {"type": 4, "data": body}
            assert description.check_request("POST", answered, answer, False) == [], name
        for name, modal in dict(every_message.forms(prompt)).items():
            answer = {"type": 9, "data": modal.to_dict()}
            assert description.check_request("POST", answered, answer, False) == [], name


@pytest.mark.skipif(not OPENAPI.is_file(), reason="Discord's OpenAPI description is not at hand")
def test_commands_are_as_discord_describes_them() -> None:
    description = openapi.load(OPENAPI)
    template = "/applications/{application_id}/commands"
    assert description.check_request("PUT", template, json.loads(json.dumps(commands())), False) == []


def test_no_builder_is_left_out() -> None:
    with speaking(Language.ENGLISH):
        prompt = every_message.PROMPTS["hanzi"]
        tried = {name.partition(" ")[0] for name, _ in every_message.messages(prompt)}
        tried |= {name for name, _ in every_message.forms(prompt)}
    builders = set()
    for found in pkgutil.iter_modules(cogs.ui.__path__):
        module = importlib.import_module(f"cogs.ui.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returned = str(inspect.signature(function).return_annotation)
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and any(kind in returned for kind in BUILDERS) and module.__name__ != "cogs.ui.buttons":
                builders.add(f"{found.name}.{name}")
    assert builders - tried - every_message.BESIDE == set()


def problems(body: Any) -> list[str]:
    """What Discord would refuse of a message."""
    try:
        check_message(body, {}, flags=MessageFlag(body.get("flags") or 0))
    except ApiError as error:
        return [json.dumps(error.payload())]
    return []


@cache
def commands() -> list[Any]:
    return list(asyncio.run(all_commands()))
