"""Who is spoken to in which language, over the wire."""

import asyncio

from domain.language import Language
from sandbox import Sandbox
from tests.doubles import Paint, ScriptedBackend
from tests.e2e.conftest import Bot
from tests.e2e.test_bad_input import private_answer

ADA = "ada"
"""Manages the server."""


async def test_private_answers_are_in_the_members_language_and_public_ones_in_the_servers(
    bot: Bot, sandbox: Sandbox
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    alice.user.locale, bob.user.locale = "de", "fr"
    sandbox.guild.locale = "de"
    refused = await private_answer(await alice.slash(sandbox.studio, "imagine", prompt="a red circle", size="64x64"))
    assert refused.text == "`size` kann nicht „64x64“ sein. Möglich: 128x128."
    # What Bob asks for is seen by all, and so it is worded in the server's language.
    await bob.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    result = await bot.result()
    assert "Seed 7" in result.text
    assert "kostenlos" in result.text
    [job] = await bot.jobs_of(bob.id)
    assert job.language is Language.GERMAN


async def test_a_language_that_admins_set_holds_for_everybody(bot: Bot, sandbox: Sandbox) -> None:
    await speak(bot, sandbox, "de")
    alice = sandbox.user("alice")
    alice.user.locale = "ja"
    answer = await private_answer(await alice.slash(sandbox.studio, "cancel"))
    assert answer.text == "Von dir wartet hier nichts, und es wird nichts gemalt."


async def test_what_has_no_catalogue_is_said_in_english(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    alice.user.locale = "pl"
    answer = await private_answer(await alice.slash(sandbox.studio, "cancel"))
    assert answer.text == "You have nothing waiting or being painted here."
    await speak(bot, sandbox, "tlh")
    answer = await private_answer(await alice.slash(sandbox.studio, "cancel"))
    assert answer.text == "You have nothing waiting or being painted here."


async def test_a_job_keeps_its_language_whatever_is_set_meanwhile_and_over_a_restart(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    sandbox.guild.locale = "de"
    alice = sandbox.user("alice")
    painter.script = (asyncio.Event(),)
    await (await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)).response()
    await speak(bot, sandbox, "en-US")
    await bot.stop()
    painter.script = (Paint(),)
    await bot.start()
    result = await bot.result()
    assert "kostenlos" in result.text


async def test_forms_buttons_and_lists_are_in_the_language_of_who_opens_them(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    alice.user.locale = "de"
    sandbox.guild.locale = "de"
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle", seed=7)
    result = await bot.result()
    modal = await (await alice.click(result, "Bearbeiten")).modal()
    assert modal.title == "Prompt bearbeiten"
    assert "Warteschlange" in (await private_answer(await alice.slash(sandbox.studio, "queue"))).text


async def test_commands_are_registered_in_every_language_and_typed_in_english(bot: Bot, sandbox: Sandbox) -> None:
    offered = {command["name"]: command for command in sandbox.user("alice").commands(sandbox.studio)}
    imagine = offered["imagine"]
    assert imagine["description_localizations"]["de"] == "Ein Bild aus Worten malen"
    assert set(imagine["name_localizations"] or {}) == set()
    assert {option["name"] for option in imagine["options"]} >= {"prompt", "seed"}
    assert offered["Edit picture"]["name_localizations"]["de"] == "Bild bearbeiten"


async def speak(bot: Bot, sandbox: Sandbox, language: str) -> None:
    """As an admin sets it."""
    await bot.services.administration.change(sandbox.guild.id, sandbox.user(ADA).id, language=language)


async def test_the_log_channel_is_written_in_the_servers_language_and_the_admin_answered_in_theirs(
    bot: Bot, sandbox: Sandbox
) -> None:
    ada = sandbox.user(ADA)
    channel = sandbox.channel("playground")
    await bot.services.administration.set_log_channel(sandbox.guild.id, channel.id, ada.id)
    ada.user.locale = "de"
    answer = await private_answer(await ada.slash(sandbox.studio, "settings cooldown", seconds=0))
    assert answer.text == "Mitglieder müssen zwischen zwei Aufträgen nicht mehr warten."
    entry = await sandbox.wait_for_message(channel)
    assert "Members need not wait between two jobs any more." in entry.text
