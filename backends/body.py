"""A request in a provider's own words: the only place where our options meet a provider's field names.

The offer is a whitelist. A body holds the fields of the offer's parameters and its constants, nothing else.
"""

from pydantic import JsonValue

from backends.base import RequestRefused
from config.catalogue import (
    ChoiceParameter,
    IntegerParameter,
    NumberParameter,
    Offer,
    Option,
    PictureParameter,
    SizeParameter,
    TextParameter,
)
from domain.request import ImageRequest, Size

Body = dict[str, JsonValue]


def request_body(offer: Offer, request: ImageRequest, *, seed: int, picture: str | None = None) -> Body:
    """What to send for one picture with this seed.

    ``picture`` is the input picture as the offer wants it (a URL, a data URI or base64). An option that the
    request leaves open is sent with the catalogue's default, where it has one: the vendor's may change.
    Raises RequestRefused for a request that the offer cannot honour (the catalogue may have changed since
    the job was queued).
    """
    objections = offer.objections(request)
    if objections:
        raise RequestRefused(objections[0])
    body: Body = {}
    for option, parameter in offer.parameters.items():
        wanted = _wanted(option, request, seed, picture)
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
                body[parameter.field] = parameter.values[word]
            case SizeParameter():
                size = wanted or parameter.default
                assert isinstance(size, Size)
                body |= _size_fields(parameter, size)
            case PictureParameter():
                if wanted is not None:
                    assert isinstance(wanted, str)
                    body[parameter.field] = wanted
    return body | offer.constants


def _wanted(option: Option, request: ImageRequest, seed: int, picture: str | None) -> str | int | float | Size | None:
    match option:
        case Option.PROMPT:
            return request.prompt
        case Option.NEGATIVE_PROMPT:
            return request.negative_prompt
        case Option.IMAGE:
            return picture
        case Option.SIZE:
            return request.size
        case Option.SEED:
            return seed
        case Option.STEPS:
            return request.steps
        case Option.GUIDANCE:
            return request.guidance
        case Option.FORMAT:
            return request.format.value


def _size_fields(parameter: SizeParameter, size: Size) -> Body:
    if parameter.height_field is not None:
        return {parameter.field: size.width, parameter.height_field: size.height}
    return {parameter.field: parameter.template.format(width=size.width, height=size.height)}
