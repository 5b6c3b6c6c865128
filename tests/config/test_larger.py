"""A wish for one model, put so that a larger one can take it."""

import pytest

from config.catalogue import Catalogue, Model
from config.larger import refitted
from config.parameters import Option
from config.settings import BACKEND_ORDER
from domain.request import ImageRequest, Kind, Lora, Size

CATALOGUE = Catalogue.load()
O1 = CATALOGUE.model("hidream-o1-image")


def wish(**values: object) -> ImageRequest:
    given = {"kind": Kind.IMAGINE, "model": "hidream-i1-dev", "prompt": "a fox", "seed": 7, "count": 2}
    return ImageRequest.model_validate(given | values)


def test_what_it_takes_stays() -> None:
    request, dropped = refitted(wish(spoiler=True), O1, BACKEND_ORDER)
    assert request == wish(spoiler=True).model_copy(update={"model": "hidream-o1-image"})
    assert dropped == ()


def test_a_size_keeps_its_shape() -> None:
    request, dropped = refitted(wish(size=Size(1360, 768)), O1, BACKEND_ORDER)
    assert request.size == Size(2560, 1440)
    assert dropped == ()


def test_what_it_does_not_take_is_left_out_and_named() -> None:
    given = wish(steps=20, negative_prompt="people", guidance=3.0, loras=(Lora(model="x:1@2"),), speed="fast")
    request, dropped = refitted(given, O1, BACKEND_ORDER)
    assert set(dropped) == {Option.STEPS, Option.NEGATIVE_PROMPT, Option.GUIDANCE, Option.LORA, Option.SPEED}
    assert request == wish().model_copy(update={"model": "hidream-o1-image"})


IMAGINE = CATALOGUE.models(Kind.IMAGINE)


@pytest.mark.parametrize("larger", [one for one in IMAGINE if one.key != "tiny"], ids=lambda model: model.key)
def test_every_model_can_take_what_another_made(larger: Model) -> None:
    given = wish(steps=20, negative_prompt="people", guidance=3.0, size=Size(1024, 1024))
    request, _ = refitted(given, larger, BACKEND_ORDER)
    assert any(not offer.objections(request) for offer in larger.offers)
