"""The catalogue: what is in it, and what a file that is wrong is told."""

from pathlib import Path

import pytest

from config.catalogue import Catalogue, Model
from domain.errors import Code, OperatorError, UserError
from domain.request import Kind

GOOD = """
key = "fox"
name = "Fox"
kind = "imagine"
summary = "Paints foxes"

[[offers]]
backend = "worker"
target = "fox"
price = "0.01"
seconds = 1

[offers.parameters]
prompt = { type = "text", field = "prompt" }
"""


def refused(folder: Path, text: str) -> str:
    (folder / "fox.toml").write_text(text)
    with pytest.raises(OperatorError) as caught:
        Catalogue.load(folder)
    assert caught.value.code is Code.SETTING_INVALID
    assert caught.value.parameters["setting"] == "fox.toml"
    return str(caught.value.parameters["problem"])


def test_a_model_with_an_offer(tmp_path: Path) -> None:
    (tmp_path / "fox.toml").write_text(GOOD)
    catalogue = Catalogue.load(tmp_path)
    assert catalogue.model("fox").offers == (catalogue.offer("worker:fox"),)
    assert catalogue.model(" FOX ").key == "fox"
    assert catalogue.offer("worker:wolf") is None
    with pytest.raises(UserError) as unknown:
        catalogue.model("wolf")
    assert unknown.value.code is Code.MODEL_UNKNOWN


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (GOOD.replace('"imagine"', '"dream"'), "kind"),
        (GOOD.replace('"fox"\nname', '"Fox!"\nname'), "key"),
        (GOOD.replace("seconds = 1", "seconds = 0"), "offers.0.seconds"),
        (GOOD.replace('"0.01"', '"-1"'), "offers.0.price"),
        (GOOD.replace('"0.01"', "0.01"), "offers.0.price"),
        (GOOD.replace("seconds = 1", "seconds = 1\ncolour = 1"), "offers.0.colour"),
        (GOOD.replace('"text"', '"poem"'), "offers.0.parameters.prompt"),
        (GOOD.replace("prompt = {", "poem = {"), "offers.0.parameters"),
        (GOOD.replace("[[offers]]", "[offers]"), "offers"),
        ('offers = ["worker"]' + GOOD.split("[[offers]]", maxsplit=1)[0], "offers"),
    ],
)
def test_a_wrong_file_and_the_field_are_named(tmp_path: Path, wrong: str, field: str) -> None:
    problem = refused(tmp_path, wrong)
    assert field in problem
    assert len(problem.splitlines()) == 1


def test_what_is_no_toml(tmp_path: Path) -> None:
    assert "line 1" in refused(tmp_path, "key = \n[")


def test_the_catalogue_that_ships() -> None:
    catalogue = Catalogue.load()
    assert len(catalogue.offers()) == sum(len(model.offers) for model in catalogue)
    for kind in Kind:
        assert catalogue.models(kind)
        assert catalogue.default(kind, ["worker"]) is not None
    assert catalogue.default(Kind.IMAGINE, ["nobody"]) is None


def test_only_what_is_at_hand() -> None:
    catalogue = Catalogue.load().restricted_to(["worker", "wavespeed"], ["tiny"])
    assert {offer.backend for offer in catalogue.offers().values()} == {"worker", "wavespeed"}
    assert [offer.key for offer in catalogue.offers().values() if offer.backend == "worker"] == ["worker:tiny"]
    assert list(Catalogue.load().restricted_to([], [])) == []


@pytest.mark.parametrize("model", list(Catalogue.load()), ids=lambda model: model.key)
def test_what_is_larger_is_another_model_for_the_same_wish_and_never_leads_back(model: Model) -> None:
    catalogue = Catalogue.load()
    assert len(set(model.larger)) == len(model.larger)
    for key in model.larger:
        larger = catalogue.model(key)
        assert larger.key == key
        assert larger.kind is model.kind
        assert model.key not in larger.larger
        # Whoever goes up step by step comes to the same models.
        assert model.larger[model.larger.index(key) + 1 :] == larger.larger


def test_the_next_larger_model_that_is_at_hand() -> None:
    catalogue = Catalogue.load()
    assert catalogue.larger("hidream-i1-dev") == catalogue.model("hidream-i1-full")
    hosted = Catalogue(model for model in catalogue if model.key != "hidream-i1-full")
    assert hosted.larger("hidream-i1-dev") == hosted.model("hidream-o1-image")
    assert hosted.larger("hidream-o1-image") is None
    assert hosted.larger("a-model-that-has-left") is None


def test_what_can_be_told_of_every_offer() -> None:
    """Price, sizes and expected seconds: what a list of the models shows."""
    for offer in Catalogue.load().offers().values():
        assert offer.price is not None
        assert offer.price >= 0
        assert offer.seconds > 0
        if offer.sizes is not None:
            offer.sizes.check("size", offer.sizes.default)
            for size in offer.sizes.choices:
                assert offer.sizes.minimum <= min(size) <= max(size) <= offer.sizes.maximum
    edit = Catalogue.load().offer("wavespeed:hidream-e1-full")
    assert edit is not None
    assert edit.sizes is None


def test_the_catalogue_of_an_own_server() -> None:
    own = Catalogue.load().with_own("comfyui", {"hidream-i1-dev": "mine.safetensors", "hidream-e1.1": None})
    targets = {offer.model_key: offer.target for offer in own.offers().values() if offer.backend == "comfyui"}
    assert targets == {"hidream-i1-dev": "mine.safetensors", "hidream-e1.1": "hidream_e1_1_bf16.safetensors"}
    assert own.offer("wavespeed:hidream-i1-full") is not None
    with pytest.raises(UserError) as unknown:
        own.with_own("comfyui", {"hidream-i1-full": None})
    assert unknown.value.code is Code.MODEL_UNKNOWN
