"""What a server's admins settle: with commands and with the panel, and that it holds at every door."""

from typing import Any

import pytest

from domain.guild import MAX_BLOCKED_WORD, Action, GuildSettings, NsfwPolicy, Policy
from domain.request import Size
from sandbox import Sandbox
from sandbox.hands import Hands
from sandbox.interactions import CallbackType
from sandbox.model import Message
from tests.e2e.conftest import Bot
from tests.e2e.test_administration import told
from tests.e2e.test_bad_input import nothing_happened, private_answer


async def settings(bot: Bot, sandbox: Sandbox) -> GuildSettings:
    return await bot.services.administration.settings(sandbox.guild.id)


async def refused(bot: Bot, sandbox: Sandbox, who: Hands, **options: Any) -> str:
    """Why /imagine is refused; and that nothing came of it."""
    answer = await private_answer(await who.slash(sandbox.studio, "imagine", options={"prompt": "a boat"} | options))
    await nothing_happened(bot, sandbox, who)
    return answer.text


# Commands.


async def test_channels_where_it_works(bot: Bot, sandbox: Sandbox) -> None:
    alice, playground = sandbox.user("alice"), sandbox.channel("playground")
    said = await told(sandbox, "settings channels", allow=playground)
    assert f"**Channels** <#{playground.id}>" in said
    assert f"other channels: <#{playground.id}>" in await refused(bot, sandbox, alice)
    # A thread is as its channel is, and a category stands for its channels.
    await alice.slash(sandbox.furniture.thread, "imagine", prompt="a boat")
    await bot.result(sandbox.furniture.thread)
    await told(sandbox, "settings channels", remove=playground, allow=sandbox.channel("Pictures"))
    await alice.slash(sandbox.studio, "imagine", prompt="a boat")
    await bot.result()
    said = await told(sandbox, "settings channels", remove=sandbox.channel("Pictures"))
    assert "the last one in the list" in said
    assert "all that I can post in" in await told(sandbox, "settings channels", everywhere=True)
    assert (await settings(bot, sandbox)).channels is None


async def test_who_may_ask(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    booster = next(role for role in sandbox.guild.roles.values() if role.name == "Booster")
    await told(sandbox, "settings roles", allow=booster)
    assert f"one of these roles: <@&{booster.id}>" in await refused(bot, sandbox, alice)
    await bob.slash(sandbox.studio, "imagine", prompt="a boat")
    await bot.result()


async def test_models(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await told(sandbox, "settings models", allow="tiny-edit")
    assert "do not allow" in await refused(bot, sandbox, alice, model="tiny")
    assert "allow no model for /imagine" in await refused(bot, sandbox, alice)
    assert await alice.autocomplete(sandbox.studio, "imagine", "model", "") == []
    assert "**Models** all" in await told(sandbox, "settings models", all=True)
    assert "There is no `model`" in await told(sandbox, "settings models", allow="dall-e")


async def test_defaults(bot: Bot, sandbox: Sandbox) -> None:
    assert "can't be used with /imagine" in await told(sandbox, "settings defaults", imagine="tiny-edit")
    assert "can’t be" in (await told(sandbox, "settings defaults", speed="warp")).replace("'", "’")
    said = await told(sandbox, "settings defaults", imagine="tiny", speed="fast")
    assert "**Usual model of /imagine**" in said
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a boat")
    await bot.result()
    [job] = await bot.jobs_of(sandbox.user("alice").id)
    assert job.request.speed == "fast"
    await told(sandbox, "settings defaults", imagine="auto", speed="auto")
    assert await settings(bot, sandbox) == GuildSettings()
    assert "Give at least one option" in await told(sandbox, "settings defaults")


async def test_limits(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    said = await told(sandbox, "settings limits", size="128x128", count=2)
    assert "no more pixels than 128x128" in said
    assert "`count` is 2 at the most in this server" in await refused(bot, sandbox, alice, count=3)
    assert "`size` is 128x128 at the most" in await refused(bot, sandbox, alice, size="256x256")
    assert "Expected" in await told(sandbox, "settings limits", size="huge")
    await told(sandbox, "settings limits", size="any", count=4)
    assert await settings(bot, sandbox) == GuildSettings()


async def test_everything_is_shown_recorded_and_posted_in_the_log_channel(bot: Bot, sandbox: Sandbox) -> None:
    log = sandbox.channel("playground")
    await told(sandbox, "settings log", channel=log)
    await told(sandbox, "settings nsfw", policy="spoiler")
    await told(sandbox, "settings gallery", on=False)
    await told(sandbox, "settings results", private=True)
    await told(sandbox, "settings results", private=False)
    entries = [message.text for message in sandbox.messages_in(log)]
    assert any("behind a spoiler" in entry for entry in entries)
    said = await told(sandbox, "settings show")
    for line in ("**Gallery** none", "behind a spoiler", "**Channels** all", "**Largest picture**", f"<#{log.id}>"):
        assert line in said
    newest = (await bot.services.administration.record(sandbox.guild.id))[0]
    assert (newest.action, dict(newest.details)) == (Action.SETTINGS_CHANGED, {"private_results": False})


async def test_a_slow_log_channel_keeps_nobody_waiting(
    bot: Bot, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, log = sandbox.user("ada"), sandbox.channel("playground")
    await told(sandbox, "settings log", channel=log)
    panel = await opened(sandbox)
    monkeypatch.setattr("cogs.answers.FAST_SECONDS", 0.3)
    held = sandbox.faults.hold(f"/channels/{log.id}/messages$", method="POST")
    changed = await ada.slash(sandbox.studio, "settings results", private=True)
    assert await changed.acknowledged() is CallbackType.DEFERRED_MESSAGE
    held.release()
    await sandbox.wait_until(lambda: bool(changed.followups), what="the answer")
    assert "**Results** are shown to who asked" in changed.followups[0].text
    held = sandbox.faults.hold(f"/channels/{log.id}/messages$", method="POST")
    pressed = await ada.click(panel, "Have no gallery")
    assert await pressed.acknowledged() is CallbackType.DEFERRED_UPDATE
    held.release()
    await shows(sandbox, panel, "**Gallery** none")


# The panel.


async def opened(sandbox: Sandbox) -> Message:
    ada = sandbox.user("ada")
    return await private_answer(await ada.slash(sandbox.studio, "settings panel"))


async def pick(sandbox: Sandbox, panel: Message, field: str, *values: Any) -> None:
    invocation = await sandbox.user("ada").select(panel, f"easel:panel:set:{field}", values)
    await invocation.acknowledged()


async def press(sandbox: Sandbox, panel: Message, label: str) -> None:
    await (await sandbox.user("ada").click(panel, label)).acknowledged()


async def shows(sandbox: Sandbox, panel: Message, text: str) -> None:
    await sandbox.wait_until(lambda: text in panel.text, what=text)


async def test_all_pages_of_the_panel(bot: Bot, sandbox: Sandbox) -> None:
    panel = await opened(sandbox)
    playground = sandbox.channel("playground")
    booster = next(role for role in sandbox.guild.roles.values() if role.name == "Booster")
    await pick(sandbox, panel, "channels", playground)
    await pick(sandbox, panel, "roles", booster)
    await pick(sandbox, panel, "log_channel_id", playground)
    await press(sandbox, panel, "Pause")
    await press(sandbox, panel, "Show results to who asked alone")
    await press(sandbox, panel, "Have no gallery")
    await press(sandbox, panel, "Models")
    await pick(sandbox, panel, "allowed_models", "tiny")
    await pick(sandbox, panel, "imagine_model", "tiny")
    await pick(sandbox, panel, "edit_model", "tiny-edit")
    await pick(sandbox, panel, "speed", "fast")
    await press(sandbox, panel, "Pictures and time")
    await pick(sandbox, panel, "max_size", "1024x1024")
    await pick(sandbox, panel, "max_count", "2")
    await pick(sandbox, panel, "language", "de")
    await pick(sandbox, panel, "language", "-")
    await press(sandbox, panel, "Backends")
    await pick(sandbox, panel, "policy", "cheapest")
    await press(sandbox, panel, "Use paid ones when the free are busy")
    await press(sandbox, panel, "Safety")
    await pick(sandbox, panel, "nsfw", "age-restricted")
    assert await settings(bot, sandbox) == GuildSettings(
        paused=True,
        log_channel_id=playground.id,
        policy=Policy.CHEAPEST,
        spill_to_paid=True,
        allowed_models=("tiny",),
        imagine_model="tiny",
        edit_model="tiny-edit",
        max_size=Size(1024, 1024),
        max_count=2,
        speed="fast",
        private_results=True,
        nsfw=NsfwPolicy.AGE_RESTRICTED,
        channels=(playground.id,),
        roles=(booster.id,),
        gallery=False,
    )
    assert "in age-restricted channels alone" in panel.text
    assert len(await bot.services.administration.record(sandbox.guild.id)) == 17


async def test_nothing_picked_is_all(bot: Bot, sandbox: Sandbox) -> None:
    panel = await opened(sandbox)
    await pick(sandbox, panel, "channels", sandbox.studio)
    await pick(sandbox, panel, "channels")
    await press(sandbox, panel, "Models")
    await pick(sandbox, panel, "allowed_models", "tiny", "tiny-edit")
    assert await settings(bot, sandbox) == GuildSettings()


async def test_a_panel_outlives_a_restart(bot: Bot, sandbox: Sandbox) -> None:
    panel = await opened(sandbox)
    await bot.restart()
    await press(sandbox, panel, "Pause")
    assert (await settings(bot, sandbox)).paused
    assert "**Paused** yes" in panel.text


async def test_the_panels_forms(bot: Bot, sandbox: Sandbox) -> None:
    ada = sandbox.user("ada")
    panel = await opened(sandbox)
    await press(sandbox, panel, "Pictures and time")
    modal = await (await ada.click(panel, "Time zone and waiting…")).modal()
    await (await ada.submit_modal(modal, {"zone": "europe/berlin", "cooldown": "90"})).acknowledged()
    now = await settings(bot, sandbox)
    assert (now.time_zone.key, now.cooldown_seconds) == ("Europe/Berlin", 90)
    modal = await (await ada.click(panel, "Time zone and waiting…")).modal()
    answer = await private_answer(await ada.submit_modal(modal, {"zone": "Atlantis", "cooldown": "90"}))
    assert "time zone such as" in answer.text
    await press(sandbox, panel, "Safety")
    modal = await (await ada.click(panel, "Block words or patterns…")).modal()
    filled = {"words": "crypto*\n\n***\nred fox", "patterns": "(a+)+$\n("}
    await (await ada.submit_modal(modal, filled)).acknowledged()
    blocked = await bot.services.safeguards.blocked(sandbox.guild.id)
    assert (set(blocked.words), blocked.patterns) == ({"crypto*", "red fox"}, ("(a+)+$",))
    assert "**Blocked words and patterns** 3" in panel.text
    assert "can't be used: missing" in panel.text


async def test_many_words_at_once_are_one_entry_in_the_log_channel_and_a_list_that_can_be_shown(
    bot: Bot, sandbox: Sandbox
) -> None:
    ada, log = sandbox.user("ada"), sandbox.channel("playground")
    await told(sandbox, "settings log", channel=log)
    before = len(sandbox.messages_in(log))
    panel = await opened(sandbox)
    await press(sandbox, panel, "Safety")
    for form in range(3):
        modal = await (await ada.click(panel, "Block words or patterns…")).modal()
        lines = "\n".join(f"{form}{line}".ljust(MAX_BLOCKED_WORD, "x") for line in range(10, 42))
        await ada.submit_modal(modal, {"words": lines})
        await shows(sandbox, panel, f"**Blocked words and patterns** {32 * (form + 1)}")
    assert len(sandbox.messages_in(log)) == before + 3
    listed = await told(sandbox, "settings blocked")
    assert "more" in listed
    assert "/about lists it" in listed


@pytest.mark.parametrize("forged", ["page", "set", "switch", "form"])
async def test_only_who_manages_the_server_can_press(bot: Bot, sandbox: Sandbox, forged: str) -> None:
    names = {"page": "safety", "set": "nsfw", "switch": "paused", "form": "block"}
    panel = await opened(sandbox)
    alice = sandbox.user("alice")
    custom_id = f"easel:panel:{forged}:{names[forged]}"
    if forged == "set":
        invocation = await alice.select(panel, custom_id, ["spoiler"], raw=True)
    else:
        invocation = await alice.click(panel, custom_id, raw=True)
    assert "Manage Server" in (await private_answer(invocation)).text
    assert await bot.services.administration.record(sandbox.guild.id) == []


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("nsfw", ["everywhere"]),
        ("max_count", ["9"]),
        ("max_count", []),
        ("max_size", ["0x0"]),
        ("channels", ["1"]),
        ("channels", ["x"]),
        ("roles", ["123456789012345678901234567890"]),
        ("allowed_models", ["dall-e"]),
        ("allowed_backends", ["nowhere"]),
        ("speed", ["warp"]),
        ("imagine_model", ["tiny-edit"]),
        ("cooldown_seconds", ["5"]),
        ("time_zone", ["Mars"]),
        ("paused", ["true"]),
        ("nothing", ["1"]),
    ],
)
async def test_a_hostile_choice_changes_nothing(bot: Bot, sandbox: Sandbox, field: str, values: list[str]) -> None:
    panel = await opened(sandbox)
    ada = sandbox.user("ada")
    await private_answer(await ada.select(panel, f"easel:panel:set:{field}", values, raw=True))
    assert await settings(bot, sandbox) == GuildSettings()
