"""Which model a setting names, and the published way to run it."""

import pytest

from backends.worker.variants import VARIANTS, Sampler, local_models
from config.catalogue import Catalogue
from domain.request import Kind


@pytest.mark.parametrize(
    ("name", "steps", "guidance", "shift", "sampler"),
    [
        ("dev", 28, 0.0, 6.0, Sampler.LCM),
        ("full", 50, 5.0, 3.0, Sampler.UNIPC),
        ("fast", 16, 0.0, 3.0, Sampler.LCM),
    ],
)
def test_each_variant_is_run_as_published(
    name: str, steps: int, guidance: float, shift: float, sampler: Sampler
) -> None:
    variant = VARIANTS[name]
    assert (variant.steps, variant.guidance, variant.shift, variant.sampler) == (steps, guidance, shift, sampler)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("tiny", "tiny"),
        ("HiDream-ai/HiDream-I1-Dev", "hidream-i1-dev"),
        ("HiDream-ai/HiDream-I1-Full", "hidream-i1-full"),
        ("/weights/HiDream-I1-Fast/", "hidream-i1-fast"),
        ("/full/of/weights", "hidream-i1-dev"),
    ],
)
def test_a_local_model_has_its_place_in_the_catalogue(name: str, key: str) -> None:
    (model,) = local_models(name, None)
    assert (model.key, model.kind) == (key, Kind.IMAGINE)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("tiny", "tiny-edit"),
        ("HiDream-ai/HiDream-E1-Full", "hidream-e1-full"),
        ("HiDream-ai/HiDream-E1-1", "hidream-e1.1"),
    ],
)
def test_a_local_editor_too(name: str, key: str) -> None:
    (model,) = local_models(None, name)
    assert (model.key, model.kind) == (key, Kind.EDIT)


def test_no_setting_no_model() -> None:
    assert local_models(None, None) == ()


def test_a_folder_s_path_is_not_shown() -> None:
    (model,) = local_models("/home/someone/secret-place/I1-Dev", None)
    assert model.shown_name == "I1-Dev"


def test_every_worker_offer_names_a_variant() -> None:
    for key, offer in Catalogue.load().offers().items():
        if offer.backend == "worker":
            assert offer.target in VARIANTS, key
