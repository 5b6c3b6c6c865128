"""A request in a provider's own words: the only place where our options meet a provider's field names.

The offer is a whitelist. A body holds the fields of the offer's parameters and its constants, nothing else.
"""

from collections.abc import Sequence

from pydantic import JsonValue

from backends.base import RequestRefused
from config.catalogue import Offer
from config.parameters import (
    ChoiceParameter,
    IntegerParameter,
    LorasParameter,
    NumberParameter,
    Option,
    PictureParameter,
    PresetParameter,
    SizeParameter,
    TextParameter,
    given,
)
from domain.request import ImageRequest, Lora, Size

Body = dict[str, JsonValue]


def request_body(offer: Offer, request: ImageRequest, *, seed: int, pictures: Sequence[str] = ()) -> Body:
    """What to send for one picture with this seed.

    ``pictures`` are the input pictures as the offer wants them (URLs, data URIs or base64). An option that the
    request leaves open is sent with the catalogue's default, where it has one: the vendor's may change.
    Raises RequestRefused for a request that the offer cannot honour (the catalogue may have changed since
    the job was queued).
    """
    objections = offer.objections(request)
    if objections:
        raise RequestRefused(objections[0])
    body: Body = {}
    for option, parameter in offer.parameters.items():
        wanted = seed if option is Option.SEED else given(option, request)
        match parameter:
            case TextParameter():
                if wanted is not None:
                    assert isinstance(wanted, str)
                    body[parameter.field] = wanted
            case IntegerParameter():
                number = parameter.default if wanted is None else wanted
                if number is not None:
                    assert isinstance(number, int)
                    body[parameter.field] = number
            case NumberParameter():
                number = parameter.default if wanted is None else wanted
                if number is not None:
                    assert isinstance(number, int | float)
                    body[parameter.field] = float(number)
            case ChoiceParameter():
                # A file format that the provider does not make: its default is re-encoded later.
                word = wanted if isinstance(wanted, str) and wanted in parameter.values else parameter.default
                if word is not None:
                    body[parameter.field] = parameter.values[word]
            case PresetParameter():
                options = parameter.options(request.speed).model_dump(mode="json", exclude_unset=True)
                if options:
                    body[parameter.field] = options
            case LorasParameter():
                if isinstance(wanted, tuple):
                    body[parameter.field] = [_lora(parameter, lora) for lora in wanted if isinstance(lora, Lora)]
            case SizeParameter():
                size = offer.size_of(request)
                assert size is not None
                body |= _size_fields(parameter, size)
            case PictureParameter():
                if pictures:
                    body[parameter.field] = list(pictures) if parameter.most > 1 else pictures[0]
    return body | offer.constants


def _lora(parameter: LorasParameter, lora: Lora) -> Body:
    body: Body = {parameter.model_field: lora.model, parameter.weight_field: lora.weight}
    if parameter.stage_field is not None:
        body[parameter.stage_field] = lora.stage.value
    return body


def _size_fields(parameter: SizeParameter, size: Size) -> Body:
    if parameter.height_field is not None:
        return {parameter.field: size.width, parameter.height_field: size.height}
    return {parameter.field: parameter.template.format(width=size.width, height=size.height)}
