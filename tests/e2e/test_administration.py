"""What admins set, over the wire: who may, what they read, and where it is posted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from domain.guild import Action
from sandbox import Sandbox
from sandbox.hands import Hands
from sandbox.model import Message
from sandbox.permissions import Permission
from tests.doubles import ScriptedBackend
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import nothing_happened, private_answer

WITH_MEMBER = {"quotas grant", "quotas exempt", "quota", "settings ban", "settings unban"}
WITH_ROLE = {"settings weight"}


COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("quotas set", {"limit": 5}),
    ("quotas list", {}),
    ("quotas remove", {"rule": "1"}),
    ("quotas grant", {"amount": 5}),
    ("quotas exempt", {}),
    ("quotas exempt", {"off": True}),
    ("quotas caps", {"waiting": 1}),
    ("quotas confirm", {"above": 0.01}),
    ("quotas export", {}),
    ("usage", {"server": True}),
    ("quotas pause", {}),
    ("quotas resume", {}),
    ("quota", {}),
    ("settings show", {}),
    ("settings timezone", {"zone": "Europe/Berlin"}),
    ("settings cooldown", {"seconds": 5}),
    ("settings log", {}),
    ("settings weight", {"weight": 2.0}),
    ("settings panel", {}),
    ("settings policy", {"policy": "cheapest"}),
    ("settings backends", {"backends": "worker"}),
    ("settings spillover", {"on": True}),
    ("settings channels", {"everywhere": True}),
    ("settings roles", {"everybody": True}),
    ("settings models", {"allow": "tiny"}),
    ("settings defaults", {"imagine": "tiny"}),
    ("settings limits", {"count": 1}),
    ("settings results", {"private": True}),
    ("settings nsfw", {"policy": "spoiler"}),
    ("settings language", {"language": "de"}),
    ("settings gallery", {"on": False}),
    ("settings block", {"word": "fox"}),
    ("settings unblock", {"text": "fox"}),
    ("settings blocked", {}),
    ("settings ban", {}),
    ("settings unban", {}),
    ("settings bans", {}),
]


async def told(sandbox: Sandbox, name: str, who: str = "ada", **options: Any) -> str:
    """What the person alone reads after the command."""
    answer = await private_answer(await sandbox.user(who).slash(sandbox.studio, name, options=options))
    return answer.text


@pytest.mark.parametrize(("name", "values"), COMMANDS)
async def test_a_plain_member_may_do_none_of_it(
    bot: Bot, sandbox: Sandbox, name: str, values: Mapping[str, Any]
) -> None:
    alice = sandbox.user("alice")
    options = dict(values)
    if name in WITH_MEMBER:
        options["member"] = sandbox.user("bob").user
    if name in WITH_ROLE:
        options["role"] = next(iter(sandbox.guild.roles.values()))
    answer = await private_answer(await alice.slash(sandbox.studio, name, raw=True, options=options))
    assert "Manage Server" in answer.text
    assert await bot.services.administration.record(sandbox.guild.id) == []
    await nothing_happened(bot, sandbox, alice)


async def test_no_command_of_admins_does_anything_for_a_plain_member(bot: Bot, sandbox: Sandbox) -> None:
    """All that Discord hides from members is refused to one whose client does not care, whatever comes to be added."""
    alice = sandbox.user("alice")
    any_of_type: dict[int, Any] = {
        3: "1",
        4: 1,
        5: True,
        6: sandbox.user("bob").user,
        7: sandbox.channel("playground"),
        8: next(iter(sandbox.guild.roles.values())),
        10: 1.0,
    }
    hidden = [
        (f"{command['name']} {inner['name']}", inner.get("options", ()))
        for command in sandbox.user("ada").commands(sandbox.studio)
        if command["default_member_permissions"]
        for inner in command["options"]
    ]
    assert {"quotas set", "quotas caps", "settings timezone"} <= {name for name, _ in hidden}
    for name, options in hidden:
        given = {
            option["name"]: option["choices"][0]["value"] if option.get("choices") else any_of_type[option["type"]]
            for option in options
            if option.get("required")
        }
        answer = await private_answer(await alice.slash(sandbox.studio, name, raw=True, options=given))
        assert "Manage Server" in answer.text, name
    assert await bot.services.administration.record(sandbox.guild.id) == []
    await nothing_happened(bot, sandbox, alice)


async def test_a_rule_is_answered_with_whom_it_hits_and_what_holds_now(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    said = await told(sandbox, "quotas set", limit=5, member=alice.user)
    assert "Now: 1 picture used, 4 pictures left. It resets <t:" in said
    said = await told(sandbox, "quotas set", limit=1, each_member=True)
    assert "every member for whom no rule of their own" in said
    assert "Members who used something in this window: 1; at the limit: 1." in said
    role = next(role for role in sandbox.guild.roles.values() if role.name == "Booster")
    assert "whoever has the role" in await told(sandbox, "quotas set", limit=1, role=role)


async def test_admins_see_a_members_quota(bot: Bot, sandbox: Sandbox) -> None:
    role = next(role for role in sandbox.guild.roles.values() if role.name == "Booster")
    await told(sandbox, "quotas set", limit=33, role=role)
    bob = sandbox.user("bob")
    answer = await told(sandbox, "quota", member=bob.user)
    assert "The quota of" in answer
    assert "33 pictures a day" in answer
    assert "Your quota" in await told(sandbox, "quota", who="alice", member=sandbox.user("alice").user)


async def test_an_exempt_member_is_not_limited_until_it_ends(bot: Bot, sandbox: Sandbox) -> None:
    alice = sandbox.user("alice")
    await told(sandbox, "quotas set", limit=0, each_member=True)
    assert "is exempt" in await told(sandbox, "quotas exempt", member=alice.user)
    assert alice.mention in await told(sandbox, "quotas list")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    assert "not exempt any more" in await told(sandbox, "quotas exempt", member=alice.user, off=True)
    assert "is not exempt" in await told(sandbox, "quotas exempt", member=alice.user, off=True)
    assert "0 of your 0 pictures" in await told(sandbox, "imagine", "alice", prompt="a red circle")


async def test_caps_and_the_price_that_is_asked_about(bot: Bot, sandbox: Sandbox) -> None:
    said = await told(sandbox, "quotas caps", waiting=2, running=1)
    assert "of each member: 2; of these, under way at a time: 1; waiting in the whole server: 1000." in said
    assert "no limit" in await told(sandbox, "quotas caps", waiting=0, running=0)
    assert "between 0 and 10; 11 is not" in await told(sandbox, "quotas caps", waiting=11)
    assert "more than $0.01." in await told(sandbox, "quotas confirm", above=0.01)
    assert "each job that costs money" in await told(sandbox, "quotas confirm", above=0.0)
    assert "between 0 and 0.05; 0.06 is not" in await told(sandbox, "quotas confirm", above=0.06)
    assert "more than $0.05." in await told(sandbox, "quotas confirm")
    found = await bot.services.administration.settings(sandbox.guild.id)
    assert (found.max_queued_per_user, found.max_running_per_user, found.confirm_above) == (None, None, None)


async def test_a_paused_server_says_so(bot: Bot, sandbox: Sandbox) -> None:
    assert "no new jobs" in await told(sandbox, "quotas pause")
    assert "admins of this server have paused" in await told(sandbox, "imagine", "alice", prompt="a red circle")
    await nothing_happened(bot, sandbox, sandbox.user("alice"))
    assert "again" in await told(sandbox, "quotas resume")
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()


async def test_members_read_when_they_can_ask_again(bot: Bot, sandbox: Sandbox) -> None:
    await told(sandbox, "settings cooldown", seconds=3600)
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    refusal = await told(sandbox, "imagine", "alice", prompt="a red circle")
    assert "Members wait 60 min between two jobs" in refusal
    assert "<t:" in refusal


async def test_the_time_zone_is_picked_from_a_list_and_checked(bot: Bot, sandbox: Sandbox) -> None:
    ada = sandbox.user("ada")
    choices = await ada.autocomplete(sandbox.studio, "settings timezone", "zone", "new y")
    assert [choice["value"] for choice in choices] == ["America/New_York"]
    assert len(await ada.autocomplete(sandbox.studio, "settings timezone", "zone", "")) == 25
    for wrong in ("Mars/Olympus", "../../etc/passwd", "x" * 5000):
        answer = await private_answer(await ada.slash(sandbox.studio, "settings timezone", raw=True, zone=wrong))
        assert "`zone`" in answer.text
    assert await bot.services.administration.record(sandbox.guild.id) == []
    await told(sandbox, "settings timezone", zone="america/new york")
    assert "America/New_York" in await told(sandbox, "settings show")


async def test_changes_are_posted_without_a_ping(bot: Bot, sandbox: Sandbox) -> None:
    channel, ada = sandbox.channel("playground"), sandbox.user("ada")
    await told(sandbox, "settings log", channel=channel)
    await told(sandbox, "quotas grant", member=sandbox.user("alice").user, amount=2)
    role = next(role for role in sandbox.guild.roles.values() if role.name == "Booster")
    await told(sandbox, "settings weight", role=role, weight=2.0)
    posted = sandbox.messages_in(channel)
    assert [ada.mention in message.content for message in posted] == [True] * 3
    assert "2 pictures more" in posted[1].content
    assert f"<@&{role.id}> weigh 2" in posted[2].content
    assert all(not message.mentions and not message.mention_roles for message in posted)
    await told(sandbox, "settings log")
    await told(sandbox, "quotas pause")
    assert len(sandbox.messages_in(channel)) == 3
    newest = await bot.services.administration.record(sandbox.guild.id)
    assert [entry.action for entry in newest][:2] == [Action.PAUSED, Action.LOG_CHANNEL_SET]


async def test_a_log_channel_that_cannot_be_written_is_told_to_the_admin(bot: Bot, sandbox: Sandbox) -> None:
    channel = sandbox.channel("playground")
    sandbox.overwrite(channel, sandbox.world.bot, deny=Permission.SEND_MESSAGES)
    assert "I could not post this" in await told(sandbox, "settings log", channel=channel)
    # The change itself holds.
    assert "I could not post this" in await told(sandbox, "quotas set", limit=7)
    assert [rule.limit for rule in await bot.services.quotas.rules(sandbox.guild.id)] == [7]


async def test_the_operators_pause(sandbox: Sandbox, painter: ScriptedBackend, tmp_path: Path) -> None:
    async with bot_with(sandbox, painter, tmp_path / "data") as bot:
        (bot.folder / "paused").touch()
        assert "operator has paused me" in await told(sandbox, "imagine", "alice", prompt="a red circle")
        (bot.folder / "paused").unlink()
        await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
        await bot.result()


async def test_admins_get_the_ledger_as_a_file(bot: Bot, sandbox: Sandbox) -> None:
    await sandbox.user("alice").slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    answer = await private_answer(await sandbox.user("ada").slash(sandbox.studio, "quotas export", days=2))
    assert [file.filename for file in answer.attachments] == ["ledger.csv"]
    assert "Days back: 2" in answer.text
    (entry,) = await bot.services.administration.record(sandbox.guild.id)
    assert entry.action is Action.EXPORTED


async def test_charts_for_admins_and_ones_own(bot: Bot, sandbox: Sandbox) -> None:
    alice, ada = sandbox.user("alice"), sandbox.user("ada")
    await alice.slash(sandbox.studio, "imagine", prompt="a red circle")
    await bot.result()
    await told(sandbox, "quotas set", limit=10, unit="money", window="month")
    await charts(sandbox, ada, "What this server painted", names=alice.mention)
    await charts(sandbox, alice, "What you painted", names=None)


async def charts(sandbox: Sandbox, hands: Hands, title: str, names: str | None) -> None:
    """The person alone gets a picture of charts, after a while."""
    invocation = await hands.slash(sandbox.studio, "usage")

    def pictures() -> list[Message]:
        # Where it was deferred, the first follow-up is the response.
        sent = {message.id: message for message in (invocation.interaction.response, *invocation.followups) if message}
        return [message for message in sent.values() if message.attachments]

    await sandbox.wait_until(lambda: bool(pictures()), what="the charts")
    (answer,) = pictures()
    assert answer.is_ephemeral
    assert [file.filename for file in answer.attachments] == ["usage.png"]
    assert title in answer.text
    assert ("<@" in answer.text) is (names is not None)
    assert (names or "") in answer.text
