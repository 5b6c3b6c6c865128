"""A wish that was made for one model, put so that another can take it."""

from collections.abc import Mapping
from typing import Final

from config.catalogue import Model, Offer
from config.parameters import Option
from config.sizes import Ratio, nearest
from domain.request import ImageRequest

_DROPPABLE: Final[Mapping[Option, Mapping[str, object]]] = {
    Option.VARIATIONS: {"variations": ()},
    Option.NEGATIVE_PROMPT: {"negative_prompt": None},
    Option.STEPS: {"steps": None},
    Option.GUIDANCE: {"guidance": None},
    Option.SCHEDULER: {"scheduler": None},
    Option.LORA: {"loras": ()},
    Option.SPEED: {"speed": None},
}
"""What a picture can do without, and what leaving it out means for the request."""


def refitted(request: ImageRequest, model: Model, order: tuple[str, ...]) -> tuple[ImageRequest, tuple[Option, ...]]:
    """The request for another model, and the options that it cannot take and that were left out.

    A size becomes the model's closest of the same shape. ``order`` is of the backends. What can't be left out (a
    prompt that is too long) stays: intake says so.
    """
    wish = request.model_copy(update={"model": model.key, "size": None})
    offers = sorted(model.offers, key=lambda offer: order.index(offer.backend))
    fits = (_without(wish, offer) for offer in offers)
    wish, dropped, _ = min(fits, key=lambda fit: (fit[2], len(fit[1])))
    if request.size is None:
        return wish, dropped
    size = nearest(model, Ratio(*request.size), wish, order)
    if size is None:
        return wish, (Option.SIZE, *dropped)
    return wish.model_copy(update={"size": size}), dropped


def _without(wish: ImageRequest, offer: Offer) -> tuple[ImageRequest, tuple[Option, ...], int]:
    """The wish without what the offer objects to, what that was, and how many objections are left."""
    dropped = []
    objections = offer.objections(wish)
    for option, left_out in _DROPPABLE.items():
        smaller = wish.model_copy(update=dict(left_out))
        fewer = offer.objections(smaller)
        if len(fewer) < len(objections):
            wish, objections = smaller, fewer
            dropped.append(option)
    return wish, tuple(dropped), len(objections)
