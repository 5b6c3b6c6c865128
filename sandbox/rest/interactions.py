"""Interaction callbacks and what follows through the interaction's token."""

from __future__ import annotations

from sandbox import payloads
from sandbox.interactions import CallbackType, Interaction
from sandbox.model import Json, Message
from sandbox.rest.call import Call, Reply, route


@route("POST", "/interactions/{interaction_id}/{interaction_token}/callback", needs_token=False)
async def callback(call: Call) -> Reply:
    interaction = call.services.interactions.acknowledge(
        call.id("interaction_id"), call.parameters["interaction_token"], call.json, call.files
    )
    if call.query.get("with_response") not in ("1", "true"):
        return Reply(204)
    return Reply(json=_callback_response(interaction))


def _callback_response(interaction: Interaction) -> Json:
    about: Json = {
        "id": str(interaction.id),
        "type": int(interaction.type),
        "channel_id": str(interaction.channel.id),
    }
    if interaction.guild is not None:
        about["guild_id"] = str(interaction.guild.id)
    answer: Json = {"interaction": about}
    response = interaction.response
    if response is not None:
        about |= {
            "response_message_id": str(response.id),
            "response_message_loading": response.is_thinking,
            "response_message_ephemeral": response.is_ephemeral,
        }
        if interaction.callback in (CallbackType.MESSAGE, CallbackType.UPDATE):
            answer["resource"] = {"type": int(interaction.callback), "message": payloads.message(response)}
    return answer


def _interaction(call: Call) -> Interaction:
    return call.services.interactions.by_token(call.id("webhook_id"), call.parameters["webhook_token"])


def _message(call: Call) -> tuple[Interaction, Message]:
    interaction = _interaction(call)
    reference = call.parameters.get("message_id", "@original")
    return interaction, call.services.interactions.find_message(interaction, reference)


@route("POST", "/webhooks/{webhook_id}/{webhook_token}", needs_token=False)
async def follow_up(call: Call) -> Reply:
    message = call.services.interactions.follow_up(_interaction(call), call.json, call.files)
    return Reply(json=payloads.message(message))


@route("GET", "/webhooks/{webhook_id}/{webhook_token}/messages/@original", needs_token=False)
@route("GET", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}", needs_token=False)
async def get_message(call: Call) -> Reply:
    return Reply(json=payloads.message(_message(call)[1]))


@route("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original", needs_token=False)
@route("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}", needs_token=False)
async def edit_message(call: Call) -> Reply:
    _, message = _message(call)
    return Reply(json=payloads.message(call.services.interactions.edit(message, call.json, call.files)))


@route("DELETE", "/webhooks/{webhook_id}/{webhook_token}/messages/@original", needs_token=False)
@route("DELETE", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}", needs_token=False)
async def delete_message(call: Call) -> Reply:
    interaction, message = _message(call)
    call.services.interactions.delete(interaction, message)
    return Reply(204)
