"""A Discord of our own on loopback: REST v10, gateway, CDN and a web page to try a bot in.

It imports nothing of the bot and nothing of discord.py; a bot reaches it by three base URLs.

Run it: ``python -m sandbox --port 8642 [--token T] [--exit-with-stdin]`` prints one line
``sandbox ready http://127.0.0.1:8642/``. The page is there; the bot wants ::

    DISCORD_API_URL=http://127.0.0.1:8642/api/v10
    DISCORD_GATEWAY_URL=ws://127.0.0.1:8642/gateway
    DISCORD_CDN_URL=http://127.0.0.1:8642/cdn
    DISCORD_TOKEN=sandbox.token.not-a-secret

Drive it from a test::

    async with Sandbox(port=0) as discord:        # .api_url .gateway_url .cdn_url .token .url
        ... start the bot ...
        await discord.wait_for_bot("imagine")     # online, and the command is registered
        alice = discord.user("alice")             # also bob (role Booster), ada (Manage Server)

        used = await alice.slash(discord.studio, "imagine", prompt="a cat", image=File("cat.png", png))
        card = await used.response()              # the Message, once it is more than "thinking…"
        card.text, card.buttons, card.embeds, card.is_ephemeral, card.versions, card.deleted
        await used.acknowledged()                 # CallbackType: MESSAGE, DEFERRED_MESSAGE, MODAL, …
        await used.followup(1)                    # the first follow-up
        result = await discord.wait_for_message(discord.studio, lambda m: m.attachments, timeout=10)
        result.attachments[0].data, result.pings.users

        clicked = await alice.click(result, "Reroll")            # by label or custom_id
        modal = await clicked.modal()                            # title, fields
        sent = await alice.submit_modal(modal, {"Prompt": "a dog"})
        await alice.select(message, "custom_id", ["value"])
        choices = await alice.autocomplete(discord.studio, "imagine", "model", "hid")
        await alice.slash(discord.studio, "quotas set", limit=5)  # a sub-command; ClientRefuses: not for her
        await alice.message_command(result, "Edit picture"); await alice.user_command(channel, user, "…")
        message = await alice.send(channel, "hello", files=[…], reply_to=result)

        # a hostile client: no range, choice, permission or requirement is checked
        await alice.slash(discord.studio, "imagine", prompt="x" * 5000, seed=-1, raw=True)
        await alice.click(result, "easel:reroll:999", raw=True)   # a forged custom_id
    await alice.click(card, "Cancel", version=0)              # stale: what the card showed before its edits
        await alice.forge(channel, InteractionType.COMMAND, {...})

    Where the bot stays silent for three seconds: ``DidNotRespond`` from acknowledged() and response().

World: ``discord.guild`` (Easel Studio) with #studio, #playground, #gallery-readonly (the bot may not send),
#nsfw, the forum #ideas and the thread "Rainy day": ``discord.channel("playground")``. ``discord.furniture``
has all by name, ``furniture.other_guild`` is the second guild. Without the bot: ``furniture.visited`` ("Book Club", its
#chapters is ``furniture.book_club``), ``furniture.conversation`` (Alice and Bob) and ``furniture.group`` (the three):
only who has added the app to their account (Alice; ``world.application.installed_by``) finds its commands there, and
it answers through the interaction alone, with five follow-ups. More: ``add_guild``, ``add_user``,
``world.add_channel``, ``overwrite(channel, discord.world.bot, deny=Permission.ATTACH_FILES)``,
``guild.filesize_limit = …``, ``world.remove_bot(guild)``.

Time: ``Sandbox(clock=ManualClock())``, then ``clock.advance(3)`` for the missed acknowledgement and
``advance(900)`` for the dead token (or ``discord.expire_token(used.interaction)``).

Faults, for the next requests whose path matches a regular expression::

    discord.faults.rate_limit("/callback", retry_after=0.05, via=True, times=1)
    discord.faults.error("/messages$", method="POST", status=503)
    discord.faults.cut("/messages$", processed=True)      # the request counts, its answer is lost
    held = discord.faults.hold("/messages$"); await held.struck(); held.release()
    discord.gateway.reconnect(); discord.gateway.invalidate(); await discord.gateway.drop()

Evidence: ``discord.requests`` (every REST call with body, files, status, answer), ``discord.violations``
(unknown routes; breaches of Discord's OpenAPI description when ``openapi=`` or EASEL_DISCORD_OPENAPI names it),
``discord.gateway.identifies`` and ``.resumes``, ``discord.messages_in(channel, viewer)``.
"""

from sandbox.clock import Clock, ManualClock, SystemClock
from sandbox.hands import Hands
from sandbox.interactions import CallbackType, Interaction, InteractionType
from sandbox.invocation import DidNotRespond, Invocation, Modal
from sandbox.model import (
    Attachment,
    Button,
    Channel,
    ChannelType,
    File,
    Guild,
    Message,
    MessageFlag,
    Role,
    User,
)
from sandbox.options import ClientRefuses
from sandbox.permissions import Permission
from sandbox.ratelimits import RateLimits
from sandbox.server import TOKEN, Sandbox

__all__ = [
    "TOKEN",
    "Attachment",
    "Button",
    "CallbackType",
    "Channel",
    "ChannelType",
    "ClientRefuses",
    "Clock",
    "DidNotRespond",
    "File",
    "Guild",
    "Hands",
    "Interaction",
    "InteractionType",
    "Invocation",
    "ManualClock",
    "Message",
    "MessageFlag",
    "Modal",
    "Permission",
    "RateLimits",
    "Role",
    "Sandbox",
    "SystemClock",
    "User",
]
