"""Ratios become the closest size that an offer makes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.catalogue import Catalogue, Model
from config.parameters import Option, SizeParameter
from config.settings import BACKEND_ORDER
from config.sizes import Ratio, nearest
from domain.request import ImageRequest, Kind, Size

CATALOGUE = Catalogue.load()
SIZED = [
    model
    for model in CATALOGUE.models(Kind.IMAGINE)
    if any(isinstance(offer.parameters.get(Option.SIZE), SizeParameter) for offer in model.offers)
]


def size_of(model: Model, ratio: Ratio) -> Size:
    request = ImageRequest(kind=Kind.IMAGINE, model=model.key, prompt="a boat")
    found = nearest(model, ratio, request, BACKEND_ORDER)
    assert found is not None
    return found


def test_the_sizes_that_hidream_i1_was_trained_on_are_found_by_their_ratios() -> None:
    model = CATALOGUE.model("hidream-i1-dev")
    ratios = [Ratio.parse(text) for text in ("square", "16:9", "9:16", "portrait", "landscape", "4:3")]
    assert [str(size_of(model, ratio)) for ratio in ratios] == [
        "1024x1024", "1360x768", "768x1360", "832x1248", "1248x832", "1168x880",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["16:9", "16/9", " 16 : 9 "])
def test_ratios_are_read(text: str) -> None:
    assert Ratio.parse(text) == Ratio(16, 9)


@pytest.mark.parametrize("text", ["", "16", "0:1", "1:0", "-1:1", "1:1:1", "wide", "١:١", "99999:1"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a ratio"):
        Ratio.parse(text)


@pytest.mark.parametrize("model", SIZED, ids=lambda model: model.key)
@given(width=st.floats(0.05, 20), height=st.floats(0.05, 20))
def test_every_ratio_becomes_a_size_that_can_be_made(model: Model, width: float, height: float) -> None:
    size = size_of(model, Ratio(width, height))
    request = ImageRequest(kind=Kind.IMAGINE, model=model.key, prompt="a boat", size=size)
    assert any(not offer.objections(request) for offer in model.offers)


@pytest.mark.parametrize("model", [model for model in SIZED if model.key != "tiny"], ids=lambda model: model.key)
@pytest.mark.parametrize("ratio", [Ratio(1, 1), Ratio(16, 9), Ratio(2, 3)], ids=str)
def test_the_shape_is_close_and_the_number_of_pixels_usual(model: Model, ratio: Ratio) -> None:
    size = size_of(model, ratio)
    usual = next(p.default for o in model.offers if isinstance(p := o.parameters.get(Option.SIZE), SizeParameter))
    assert abs(math.log(size.width / size.height) - math.log(ratio.width / ratio.height)) < 0.12
    assert 0.4 < size.width * size.height / (usual.width * usual.height) < 2
