"""A request in a provider's own words."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends.base import RequestRefused
from backends.body import request_body
from config.catalogue import Offer
from config.parameters import (
    ChoiceParameter,
    IntegerParameter,
    LorasParameter,
    NumberParameter,
    Option,
    PresetParameter,
    SizeParameter,
    TextParameter,
)
from domain.errors import Code
from domain.request import MAX_SEED, ImageRequest, InputPicture, Kind, Lora, LoraStage, PictureFormat, Size
from tests.backends.calls import CATALOGUE, offer
from tests.servers import runware
from tests.servers.wavespeed import REQUIRED, check

RUNWARE = [offer for offer in CATALOGUE.offers().values() if offer.backend == "runware"]
WAVESPEED = [offer for offer in CATALOGUE.offers().values() if offer.backend == "wavespeed"]


def sizes(parameter: SizeParameter) -> st.SearchStrategy[Size]:
    """Sizes that the parameter allows, edges included."""
    if parameter.choices:
        return st.sampled_from(parameter.choices)
    side = st.integers(-(-parameter.minimum // parameter.step), parameter.maximum // parameter.step).map(
        lambda steps: steps * parameter.step
    )
    most = parameter.maximum_pixels or parameter.maximum**2
    return st.builds(Size, side, side).filter(lambda size: parameter.minimum_pixels <= size.width * size.height <= most)


def hundredths(minimum: float, maximum: float) -> st.SearchStrategy[float]:
    return st.integers(round(minimum * 100), round(maximum * 100)).map(lambda number: number / 100)


@st.composite
def requests(draw: st.DrawFn, offer: Offer) -> ImageRequest:
    """Everything that a person may ask of this offer."""
    given: dict[str, Any] = {"prompt": draw(st.text(min_size=1, max_size=2000).filter(str.strip))}
    for option, parameter in offer.parameters.items():
        if option is Option.IMAGE:
            given["source"] = InputPicture(name="a.png", width=1, height=1)
        elif option is Option.FORMAT:
            given["format"] = draw(st.sampled_from(PictureFormat))
        elif option in (Option.PROMPT, Option.SEED) or draw(st.booleans()):
            continue
        elif isinstance(parameter, SizeParameter):
            given["size"] = draw(sizes(parameter))
        elif isinstance(parameter, TextParameter):
            given[option.value] = draw(st.text(min_size=1, max_size=100).filter(str.strip))
        elif isinstance(parameter, IntegerParameter):
            given[option.value] = draw(st.integers(parameter.minimum, parameter.maximum))
        elif isinstance(parameter, NumberParameter):
            given[option.value] = draw(hundredths(parameter.minimum, parameter.maximum))
        elif isinstance(parameter, ChoiceParameter):
            given[option.value] = draw(st.sampled_from(sorted(parameter.values)))
        elif isinstance(parameter, PresetParameter):
            given[option.value] = draw(st.sampled_from(sorted(parameter.presets)))
        elif isinstance(parameter, LorasParameter):
            weight = hundredths(parameter.minimum, parameter.maximum)
            stages = st.sampled_from(LoraStage) if parameter.stage_field else st.just(LoraStage.BOTH)
            lora = st.builds(Lora, model=st.just("civitai:1@2"), weight=weight, stage=stages)
            given["loras"] = tuple(draw(st.lists(lora, max_size=parameter.most)))
    return ImageRequest(kind=Kind.EDIT if "source" in given else Kind.IMAGINE, model=offer.model_key, **given)


@pytest.mark.parametrize("offer", WAVESPEED, ids=lambda offer: offer.key)
@given(data=st.data(), seed=st.integers(0, MAX_SEED))
def test_whatever_is_allowed_to_ask_the_documents_allow_to_send(offer: Offer, data: st.DataObject, seed: int) -> None:
    request = data.draw(requests(offer))
    body = request_body(offer, request, seed=seed, pictures=["https://example.org/a.png"])
    check(offer.target, body)
    assert body["prompt"] == request.prompt
    assert body["seed"] == seed
    assert set(REQUIRED) & set(body) == {"prompt"} | {
        parameter.field for option, parameter in offer.parameters.items() if option is Option.IMAGE
    }
    assert body["enable_base64_output"] is False


@pytest.mark.parametrize("offer", RUNWARE, ids=lambda offer: offer.key)
@given(data=st.data(), seed=st.integers(0, MAX_SEED))
def test_the_same_for_runware(offer: Offer, data: st.DataObject, seed: int) -> None:
    request = data.draw(requests(offer))
    assume(not offer.objections(request))  # a cache needs two steps
    body = request_body(offer, request, seed=seed)
    uuid = "c02c8676-a2cb-4b12-8e53-09cc6cd14f84"
    runware.check({"taskType": "imageInference", "taskUUID": uuid, "model": offer.target} | body)
    assert (body["positivePrompt"], body["seed"]) == (request.prompt, seed)


def test_every_scheduler_of_theirs_can_be_asked_for() -> None:
    for theirs in RUNWARE:
        parameter = theirs.parameters[Option.SCHEDULER]
        assert isinstance(parameter, ChoiceParameter)
        assert set(parameter.values.values()) == runware.SCHEDULERS
        assert len(parameter.values) == 75


def an_offer(**parameters: Any) -> Offer:
    prompt = {"type": "text", "field": "positivePrompt"}
    return Offer.model_validate(
        {
            "backend": "somewhere",
            "target": "x",
            "price": "0",
            "seconds": 1,
            "parameters": {"prompt": prompt} | parameters,
            "constants": {"model": "x:1"},
            "model_key": "model",
        }
    )


def a_request(**options: Any) -> ImageRequest:
    return ImageRequest(kind=Kind.IMAGINE, model="model", prompt="a circle", **options)


def test_a_size_can_be_two_fields() -> None:
    size = {"type": "size", "field": "width", "height_field": "height", "minimum": 128, "maximum": 2048, "step": 16}
    body = request_body(an_offer(size=size | {"default": "1024x768"}), a_request(), seed=1)
    assert body == {"positivePrompt": "a circle", "width": 1024, "height": 768, "model": "x:1"}


def test_options_that_were_left_open_are_sent_with_the_catalogues_default_or_not_at_all() -> None:
    steps = {"type": "integer", "field": "steps", "minimum": 1, "maximum": 100, "default": 30}
    guidance = {"type": "number", "field": "CFGScale", "minimum": 0, "maximum": 20}
    taking_both = an_offer(steps=steps, guidance=guidance)
    assert request_body(taking_both, a_request(), seed=1)["steps"] == 30
    assert "CFGScale" not in request_body(taking_both, a_request(), seed=1)
    body = request_body(taking_both, a_request(steps=5, guidance=3), seed=1)
    assert (body["steps"], body["CFGScale"]) == (5, 3.0)
    assert isinstance(body["CFGScale"], float)


def test_a_format_is_the_providers_word_or_its_default() -> None:
    choice = {"type": "choice", "field": "outputFormat", "values": {"png": "PNG", "jpeg": "JPG"}, "default": "png"}
    taking = an_offer(format=choice)
    assert request_body(taking, a_request(format=PictureFormat.JPEG), seed=1)["outputFormat"] == "JPG"
    assert request_body(taking, a_request(format=PictureFormat.WEBP), seed=1)["outputFormat"] == "PNG"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"size": Size(1600, 512)}, Code.OPTION_OUT_OF_RANGE),
        ({"steps": 3}, Code.NO_OFFER),
        ({"negative_prompt": "no"}, Code.NO_OFFER),
        ({"guidance": 3.0}, Code.NO_OFFER),
    ],
)
def test_what_the_offer_does_not_take_is_refused_not_dropped(options: dict[str, Any], code: Code) -> None:
    with pytest.raises(RequestRefused) as refused:
        request_body(offer("wavespeed:hidream-i1-dev"), a_request(**options), seed=1)
    assert refused.value.error.code is code


def test_an_edit_keeps_the_proportions_of_its_picture() -> None:
    o1 = offer("wavespeed:hidream-o1-image-edit")
    for width, height, size in [(100, 100, "2048*2048"), (1920, 1080, "2560*1440"), (600, 900, "1664*2496")]:
        source = InputPicture(name="a.png", width=width, height=height)
        request = ImageRequest(kind=Kind.EDIT, model=o1.model_key, prompt="blue", source=source)
        body = request_body(o1, request, seed=1, pictures=["https://example.org/a.png"])
        assert (body["size"], body["images"]) == (size, ["https://example.org/a.png"])
