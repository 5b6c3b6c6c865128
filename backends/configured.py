"""Which backends the settings give, and what can be painted with them."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from backends.base import Backend
from backends.comfyui import ComfyUIBackend
from backends.openai_images import OpenAIImagesBackend
from backends.runware import RunwareBackend
from backends.wavespeed import WaveSpeedBackend
from backends.webhooks import Webhooks
from backends.worker.places import discovered_models, worker_places
from backends.worker.variants import local_models
from config.catalogue import Catalogue, load_presets
from config.parameters import Option
from config.settings import Settings
from domain.errors import Code, OperatorError, UserError
from domain.money import FREE
from domain.request import Kind

log = logging.getLogger(__name__)


@asynccontextmanager
async def configured_backends(
    settings: Settings, root: Path, webhooks: Webhooks | None = None
) -> AsyncIterator[Mapping[str, Backend]]:
    """The backends that the settings give all they need, in order of preference; closed at the block's end.

    By the names of their places: each worker is one, every other backend is called by its key.
    ``root``: the folder of ``bot.py``, which starts the worker.
    """
    async with AsyncExitStack() as stack:
        backends: dict[str, Backend] = {}
        for name in settings.easel_backends:
            if name == "worker":
                found: Mapping[str, Backend | None] = await worker_places(settings, root)
            else:
                found = {name: _backend(name, settings, webhooks)}
            for place, backend in found.items():
                if backend is not None:
                    stack.push_async_callback(backend.aclose)
                    backends[place] = backend
        yield backends


@asynccontextmanager
async def taking_webhooks(settings: Settings) -> AsyncIterator[Webhooks | None]:
    """Listen for vendors' calls until the block's end; None where the settings want none."""
    webhooks = Webhooks.from_settings(settings)
    if webhooks is None or settings.easel_webhook_listen is None:
        yield None
        return
    async with webhooks.listening(settings.easel_webhook_listen):
        yield webhooks


async def configured_catalogue(settings: Settings, backends: Mapping[str, Backend]) -> Catalogue:
    """The models that these backends have, with the operator's own names and presets.

    Raises OperatorError (SETTING_INVALID) where a setting names a model that there is not.
    """
    catalogue = _all_offers(settings)
    if settings.easel_presets is not None:
        catalogue = catalogue.with_presets(load_presets(settings.easel_presets))
    if settings.easel_lora_dir is None and not settings.worker_urls:
        catalogue = catalogue.without("worker", Option.LORA)
    catalogue = catalogue.restricted_to(backend_keys(backends), await _local_models(settings, backends))
    for setting, kind, key in (
        ("EASEL_IMAGINE_MODEL", Kind.IMAGINE, settings.easel_imagine_model),
        ("EASEL_EDIT_MODEL", Kind.EDIT, settings.easel_edit_model),
    ):
        usable = catalogue.models(kind)
        if key is not None and not any(key.casefold() in (model.key, model.name.casefold()) for model in usable):
            known = ", ".join(model.key for model in usable) or "none, as no backend for it is configured"
            problem = f"no model for /{kind.value} is called {key!r}; there are {known}"
            raise OperatorError(Code.SETTING_INVALID, setting=setting, problem=problem)
    return catalogue


def backend_keys(backends: Mapping[str, Backend]) -> tuple[str, ...]:
    """Each backend once, in order, at however many places it can be had."""
    return tuple(dict.fromkeys(backend.key for backend in backends.values()))


def _backend(name: str, settings: Settings, webhooks: Webhooks | None) -> Backend | None:
    match name:
        case "wavespeed":
            return WaveSpeedBackend.from_settings(settings, webhooks)
        case "runware":
            return RunwareBackend.from_settings(settings, webhooks)
        case "comfyui":
            return ComfyUIBackend.from_settings(settings, _all_offers(settings).offers())
        case "openai":
            return OpenAIImagesBackend.from_settings(settings)
        case _:
            return None


def _all_offers(settings: Settings) -> Catalogue:
    catalogue = Catalogue.load()
    for setting, backend, names, price in (
        ("COMFYUI_MODELS", "comfyui", settings.comfyui_models, FREE),
        ("OPENAI_IMAGES_MODELS", "openai", settings.openai_images_models, settings.openai_images_price or FREE),
    ):
        try:
            catalogue = catalogue.with_own(backend, names, price)
        except UserError as error:
            unknown = error.parameters["model"]
            problem = f"{backend} has no model called {unknown!r}"
            raise OperatorError(Code.SETTING_INVALID, setting=setting, problem=problem) from error
    return catalogue.without_prices("openai") if settings.openai_images_price is None else catalogue


async def _local_models(settings: Settings, backends: Mapping[str, Backend]) -> frozenset[str]:
    """Named by the settings, or else asked for: workers elsewhere say which models they have."""
    named = frozenset(model.key for model in local_models(settings.easel_local_model, settings.easel_local_edit_model))
    if named or not settings.worker_urls or "worker" not in backend_keys(backends):
        return named
    found = await discovered_models(backends.values())
    if not found:
        urls = ", ".join(settings.worker_urls)
        problem = f"no worker says at {urls} which models it has; start one, or name them in EASEL_LOCAL_MODEL"
        if backend_keys(backends) == ("worker",):
            raise OperatorError(Code.SETTING_INVALID, setting="EASEL_WORKER_URLS", problem=problem)
        log.warning("%s: going on without them", problem)
    return found
