"""The limits of a message: lengths and counts as Discord enforces them.

https://discord.com/developers/docs/resources/message (content, embeds), .../reference#uploading-files
"""

from __future__ import annotations

from sandbox.components import check_message_components
from sandbox.errors import FormErrors
from sandbox.mentions import check_allowed
from sandbox.model import Attachment, File, Json, MessageFlag
from sandbox.uploads import check_attachments

CONTENT = 2000
EMBEDS = 10
EMBED_CHARACTERS = 6000
NONCE = 25

_EMBED_TEXTS = (("title", 256), ("description", 4096))


def check_message(
    body: Json, files: dict[int, File], *, flags: MessageFlag, existing: list[Attachment] | None = None
) -> None:
    """Check a message body to be sent or edited.

    Raises:
        ApiError: 50035 with everything that is wrong.
    """
    wrong = FormErrors()
    is_v2 = bool(flags & MessageFlag.IS_COMPONENTS_V2)
    if body.get("content") is not None:
        wrong.length("content", body["content"], most=CONTENT)
    if body.get("embeds") is not None:
        check_embeds(body["embeds"], wrong)
    nonce = body.get("nonce")
    if isinstance(nonce, str):
        wrong.length("nonce", nonce, most=NONCE)
    check_allowed(body.get("allowed_mentions"), wrong)
    check_attachments(body, files, existing or [], wrong)
    if body.get("components") is not None:
        check_message_components(body["components"], is_v2, wrong)
    if is_v2:
        for key in ("content", "embeds", "poll"):
            if body.get(key):
                wrong.add(
                    key,
                    "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                    f"The '{key}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
                )
    wrong.raise_if_any()


def check_embeds(embeds: object, wrong: FormErrors) -> None:
    wrong.count("embeds", embeds, most=EMBEDS)
    if not isinstance(embeds, list):
        return
    total = 0
    for index, embed in enumerate(embeds):
        total += _check_embed(f"embeds.{index}", embed, wrong)
    if total > EMBED_CHARACTERS:
        wrong.add("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_CHARACTERS}")


def _check_embed(path: str, embed: object, wrong: FormErrors) -> int:
    """Note what is wrong with an embed, and count the characters that go towards the 6000."""
    if not isinstance(embed, dict):
        wrong.add(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return 0
    texts = [(f"{path}.{key}", embed.get(key), most, 0) for key, most in _EMBED_TEXTS]
    texts.append((f"{path}.footer.text", (embed.get("footer") or {}).get("text"), 2048, 0))
    texts.append((f"{path}.author.name", (embed.get("author") or {}).get("name"), 256, 0))
    fields = embed.get("fields") or []
    wrong.count(f"{path}.fields", fields, most=25)
    for number, field in enumerate(fields):
        for key, most in (("name", 256), ("value", 1024)):
            texts.append((f"{path}.fields.{number}.{key}", field.get(key, ""), most, 1))
    for place, text, most, least in texts:
        if text is not None:
            wrong.length(place, text, most=most, least=least)
    for key in ("image", "thumbnail"):
        check_url(f"{path}.{key}.url", (embed.get(key) or {}).get("url"), wrong)
    color = embed.get("color")
    if color is not None and not (isinstance(color, int) and 0 <= color <= 0xFFFFFF):
        wrong.add(f"{path}.color", "NUMBER_TYPE_MAX", "int value should be less than or equal to 16777215.")
    return sum(len(text) for _, text, _, _ in texts if isinstance(text, str))


def check_url(path: str, url: object, wrong: FormErrors) -> None:
    """Note a URL of a scheme that Discord does not take."""
    if url is None:
        return
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "attachment://")):
        wrong.add(
            path,
            "URL_TYPE_INVALID_SCHEME",
            f"Scheme \"{str(url).split(':')[0]}\" is not supported. Scheme must be one of ('http', 'https').",
        )
