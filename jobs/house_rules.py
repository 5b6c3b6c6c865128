"""What a server's admins have settled, applied at the door: who may ask, where and for what."""

from collections.abc import Iterable
from typing import Final

from config.catalogue import Catalogue, Model, Offer
from config.settings import Settings
from config.sizes import Ratio, largest_within
from domain.errors import Code, OperatorError, UserError
from domain.guild import GuildSettings, NsfwPolicy
from domain.request import ImageRequest, Kind, Size
from jobs.quotas import Asker

OWN_BACKENDS: Final = frozenset({"worker", "comfyui", "openai"})
"""Backends on machines that the operator has chosen; an offer of theirs that costs money is somebody else's."""


def free_models(catalogue: Catalogue, kind: Kind | None = None) -> list[Model]:
    """The models that can be had on machines of the operator's own without costing money."""
    return [model for model in catalogue if (kind is None or model.kind is kind) and _at_home(model.offers)]


def outside(catalogue: Catalogue) -> GuildSettings:
    """What holds outside servers, where there are no admins: only what is free, and nothing for adults."""
    keys = tuple(model.key for model in free_models(catalogue))
    return GuildSettings(allowed_backends=tuple(sorted(OWN_BACKENDS)), allowed_models=keys or None)


def free_offers(offers: Iterable[Offer], model: Model) -> list[Offer]:
    """The offers that may be used outside servers. Raises UserError (COSTS_MONEY_OUTSIDE) where there is none."""
    free = _at_home(offers)
    if not free:
        raise UserError(Code.COSTS_MONEY_OUTSIDE, model=model.name)
    return free


def check_asker(settings: GuildSettings, asker: Asker) -> None:
    """Raise UserError where the admins don't let this member ask, or not in this channel."""
    around = asker.surroundings | {asker.place.channel_id}
    if settings.channels is not None and not around & set(settings.channels):
        raise UserError(Code.CHANNEL_NOT_ALLOWED, channels=",".join(map(str, settings.channels)))
    if settings.roles is not None and not asker.role_ids & set(settings.roles):
        raise UserError(Code.ROLE_NEEDED, roles=",".join(map(str, settings.roles)))


def default_model(
    settings: GuildSettings, kind: Kind, catalogue: Catalogue, operators: Settings, order: tuple[str, ...]
) -> Model:
    """The model where none is named: the server's, the operator's, the catalogue's; the first that is allowed.

    Raises UserError (NO_MODEL_ALLOWED) where none is.
    """
    usable = {model.key: model for model in catalogue.models(kind)}
    wanted = settings.imagine_model if kind is Kind.IMAGINE else settings.edit_model
    if wanted is not None and wanted in usable and allows_model(settings, wanted):
        return usable[wanted]
    configured = operators.easel_imagine_model if kind is Kind.IMAGINE else operators.easel_edit_model
    first = catalogue.model(configured) if configured is not None else catalogue.default(kind, order)
    for model in [*([first] if first is not None else []), *usable.values()]:
        if allows_model(settings, model.key):
            return model
    raise UserError(Code.NO_MODEL_ALLOWED, command=kind.value)


def allows_model(settings: GuildSettings, key: str) -> bool:
    """Whether the admins let the model be used."""
    return settings.allowed_models is None or key in settings.allowed_models


def can_use(settings: GuildSettings, model: Model) -> bool:
    """Whether the admins let the model be used, and one of the backends that it can be had from."""
    backends = settings.allowed_backends
    reachable = backends is None or any(offer.backend in backends for offer in model.offers)
    return reachable and allows_model(settings, model.key)


def applied(settings: GuildSettings, request: ImageRequest, model: Model) -> ImageRequest:
    """The request with the server's defaults where it leaves something open.

    Raises UserError where the admins do not allow what it asks for.
    """
    if not allows_model(settings, model.key):
        raise UserError(Code.MODEL_NOT_ALLOWED, model=model.name)
    request = request.model_copy(update={"private": settings.private_results})
    if request.count > settings.max_count:
        raise UserError(Code.LIMITED_HERE, option="count", value=request.count, maximum=settings.max_count)
    if request.speed is None and settings.speed is not None:
        wish = request.model_copy(update={"speed": settings.speed})
        if any(not offer.objections(wish) for offer in model.offers):
            request = wish
    return _sized(settings.max_size, request, model)


def within_size(settings: GuildSettings, request: ImageRequest, offers: Iterable[Offer]) -> list[Offer]:
    """The offers that make no picture larger than the server's largest. Raises UserError where none is left."""
    able = [offer for offer in offers if _fits(settings.max_size, offer.size_of(request))]
    if not able:
        raise UserError(
            Code.LIMITED_HERE, option="size", value=str(request.size or "?"), maximum=str(settings.max_size)
        )
    return able


def gated(settings: GuildSettings, asker: Asker, request: ImageRequest, *, adult: bool) -> ImageRequest:
    """The request, marked where it belongs into age-restricted channels alone.

    Raises UserError where it is not in one, or the server allows no such pictures.
    """
    if adult and settings.nsfw is NsfwPolicy.OFF:
        raise UserError(Code.ADULT_OFF)
    # A picture from an age-restricted channel may be as harmless as any, but nobody else has seen it yet.
    adult = adult or any(picture.adult for picture in request.inputs)
    if adult and not asker.age_restricted:
        raise UserError(Code.ADULT_NOT_HERE)
    return request.model_copy(
        update={
            "adult": adult,
            "flagged_allowed": asker.age_restricted and settings.nsfw is not NsfwPolicy.OFF,
            "spoiler": request.spoiler or (adult and settings.nsfw is NsfwPolicy.SPOILER),
        }
    )


def at_home(offers: Iterable[Offer]) -> list[Offer]:
    """The offers that send nothing to anybody else. Raises OperatorError (MODERATION_BROKEN) where there is none."""
    own = _at_home(offers)
    if not own:
        raise OperatorError(Code.MODERATION_BROKEN)
    return own


def _at_home(offers: Iterable[Offer]) -> list[Offer]:
    return [offer for offer in offers if offer.backend in OWN_BACKENDS and not offer.is_paid]


def _sized(limit: Size | None, request: ImageRequest, model: Model) -> ImageRequest:
    """The request with a size, where it leaves that open and the usual size is too large."""
    if limit is None or request.source is not None:
        return request
    if request.size is not None:
        if not _fits(limit, request.size):
            raise UserError(Code.LIMITED_HERE, option="size", value=str(request.size), maximum=str(limit))
        return request
    if any(_fits(limit, offer.size_of(request)) for offer in model.offers if not offer.objections(request)):
        return request
    for offer in model.offers:
        size = largest_within(offer.sizes, Ratio(*offer.sizes.default), limit) if offer.sizes is not None else None
        if size is not None and not offer.objections(wish := request.model_copy(update={"size": size})):
            return wish
    return request


def _fits(limit: Size | None, size: Size | None) -> bool:
    return limit is None or size is None or size.width * size.height <= limit.width * limit.height
