"""Models, offers and backends in plain words."""

from collections.abc import Sequence
from typing import Final

import discord

from cogs.ui import texts, words
from cogs.ui.buttons import Book, PageButton
from cogs.ui.language import say, translated
from config.catalogue import Offer
from config.parameters import Option, SizeParameter
from jobs.offering import BackendNow, Offered, OfferedModel, Wait

PAGE: Final = 4
"""Models on a page: one with all five backends takes up to eight hundred characters of an embed's 4096."""
_SIZES_LISTED: Final = 3
_COLOUR: Final = discord.Colour(0x5865F2)
_SELF_EVIDENT: Final = frozenset(
    {Option.PROMPT, Option.IMAGE, Option.SEED, Option.VARIATIONS, Option.SIZE, Option.FORMAT}
)
"""Options that are not told: every offer has them, they have a line of their own, or no command has them."""


def models(found: Sequence[OfferedModel], page: int) -> tuple[discord.Embed, discord.ui.View | None]:
    """One page of the models, and the buttons to turn it."""
    shown = found[page * PAGE : (page + 1) * PAGE]
    text = "\n\n".join(map(_model, shown)) or say(texts.NO_MODELS)
    embed = discord.Embed(colour=_COLOUR, title=say("What can be painted with here"), description=text)
    pages = -(-len(found) // PAGE)
    if pages < 2:
        return embed, None
    embed.set_footer(text=say("page {page} of {pages}", page=page + 1, pages=pages))
    view = discord.ui.View(timeout=None)
    if page > 0:
        view.add_item(PageButton(Book.MODELS, page - 1, newer=True))
    if page + 1 < pages:
        view.add_item(PageButton(Book.MODELS, page + 1))
    return embed, view


def backend(now: BackendNow) -> str:
    """How a backend is, in one line."""
    if now.ruling is None or now.ruling == "busy":
        mark = "🟢" if now.ruling is None else "🟡"
        return say(
            "{mark} {backend}: {busy} of {slots} busy", mark=mark, backend=now.key, busy=now.busy, slots=now.slots
        )
    why = texts.ruling(now.ruling)
    if now.failure is not None and now.ruling == "needs_operator":
        why = texts.of_failure(now.failure)
    if now.seconds is not None:
        again = words.duration(now.seconds)
        return say("🔴 {backend}: {why} Tried again in {time}.", backend=now.key, why=_sentence(why), time=again)
    return say("🔴 {backend}: {why}", backend=now.key, why=why)


def waits(wait: Wait) -> str:
    """What a job waits for."""
    return say("waits for {backend} ({why})", backend=wait.backend, why=texts.ruling(wait.ruling))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…", "。")) else say("{sentence}.", sentence=text)


def _model(one: OfferedModel) -> str:
    lines = [f"**{one.model.name}** · /{one.model.kind.value}", translated(one.model.summary)]
    lines += [_offer(offered) for offered in one.offers]
    return "\n".join(lines)


def _offer(offered: Offered) -> str:
    offer = offered.offer
    mark = {None: "🟢", "busy": "🟡", "rate_limited": "🟡"}.get(offered.ruling, "🔴")
    if offered.price is None:
        cost = say("price unknown")
    else:
        cost = (
            say("{price} a picture", price=words.price(offered.price)) if offered.price else words.price(offered.price)
        )
    facts = [f"{mark} **{offer.backend}**", cost, say("about {time}", time=words.duration(offered.seconds))]
    facts.append(_sizes(offer))
    options = [f"`{option.value}`" for option in offer.parameters if option not in _SELF_EVIDENT]
    if options:
        facts.append(say("takes {options}", options=words.listed(options)))
    if offered.ruling is not None:
        facts.append(texts.ruling(offered.ruling))
    return " · ".join(fact for fact in facts if fact)


def _sizes(offer: Offer) -> str:
    parameter = offer.sizes
    match parameter:
        case None:
            return ""
        case SizeParameter(choices=(_, *_) as choices):
            some = words.listed(str(size) for size in choices[:_SIZES_LISTED])
            if len(choices) <= _SIZES_LISTED:
                return some
            return say("{sizes} and {count} more sizes", sizes=some, count=len(choices) - _SIZES_LISTED)
        case _:
            return say("{minimum} to {maximum} pixels a side", minimum=parameter.minimum, maximum=parameter.maximum)
