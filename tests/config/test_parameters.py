"""What an offer takes, and what it says to what it does not take."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.catalogue import Catalogue, Offer, load_presets
from config.parameters import Option
from domain.errors import Code, OperatorError
from domain.money import micro_usd
from domain.request import ImageRequest, InputPicture, Kind, Lora, LoraStage, Size

STEPS = {"type": "integer", "field": "steps", "minimum": 1, "maximum": 50, "default": 30}
GUIDANCE = {"type": "number", "field": "cfg", "minimum": 0, "maximum": 20, "step": 0.01}
SCHEDULER = {"type": "choice", "field": "scheduler", "values": ["Euler", "Heun"]}
SPEED = {
    "type": "preset",
    "field": "accelerator",
    "default": "exact",
    "presets": {"exact": {}, "fast": {"teaCache": True}, "late": {"teaCache": True, "cacheEndStep": 30}},
}
LORA = {
    "type": "loras",
    "field": "lora",
    "model_field": "model",
    "weight_field": "weight",
    "stage_field": "transformer",
    "minimum": -4,
    "maximum": 4,
    "step": 0.01,
    "most": 2,
}
SIZE = {"type": "size", "field": "size", "minimum": 128, "maximum": 2048, "step": 16, "default": "1024x1024"}


def make_offer(more: dict[str, Any] | None = None, **parameters: Any) -> Offer:
    data = {
        "backend": "somewhere",
        "target": "x",
        "price": "0.009",
        "seconds": 1,
        "parameters": {"prompt": {"type": "text", "field": "prompt"}} | parameters,
        "model_key": "model",
    }
    return Offer.model_validate(data | (more or {}))


def objections(offer: Offer, **options: Any) -> list[tuple[Code, Any]]:
    request = ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p", **options)
    return [(error.code, error.parameters["option"]) for error in offer.objections(request)]


def test_nothing_to_object_to() -> None:
    offer = make_offer(steps=STEPS, guidance=GUIDANCE, scheduler=SCHEDULER, speed=SPEED, lora=LORA)
    lora = Lora(model="civitai:1@2", weight=-0.25)
    assert objections(offer, steps=50, guidance=3.55, scheduler="Heun", speed="fast", loras=(lora,)) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"steps": 0}, (Code.OPTION_OUT_OF_RANGE, "steps")),
        ({"steps": 51}, (Code.OPTION_OUT_OF_RANGE, "steps")),
        ({"guidance": 20.01}, (Code.OPTION_OUT_OF_RANGE, "guidance")),
        ({"guidance": 3.555}, (Code.OPTION_NOT_A_STEP, "guidance")),
        ({"scheduler": "Dice"}, (Code.OPTION_NOT_A_CHOICE, "scheduler")),
        ({"speed": "warp"}, (Code.OPTION_NOT_A_CHOICE, "speed")),
        ({"loras": (Lora(model="a"),) * 3}, (Code.OPTION_OUT_OF_RANGE, "number of loras")),
        ({"loras": (Lora(model="a", weight=5),)}, (Code.OPTION_OUT_OF_RANGE, "weight of lora")),
        ({"loras": (Lora(model="a", weight=0.005),)}, (Code.OPTION_NOT_A_STEP, "weight of lora")),
        ({"negative_prompt": "no"}, (Code.NO_OFFER, "negative_prompt")),
        ({"speed": "fast", "steps": 1}, (Code.STEPS_TOO_FEW, "teaCache")),
        ({"speed": "late", "steps": 29}, (Code.STEPS_TOO_FEW, "cacheEndStep 30")),
    ],
)
def test_objections(options: dict[str, Any], expected: tuple[Code, str]) -> None:
    offer = make_offer(steps=STEPS, guidance=GUIDANCE, scheduler=SCHEDULER, speed=SPEED, lora=LORA)
    assert objections(offer, **options) == [expected]


def test_without_a_field_for_it_a_lora_works_on_the_whole_denoising() -> None:
    offer = make_offer(lora=LORA | {"stage_field": None})
    assert objections(offer, loras=(Lora(model="a"),)) == []
    late = (Lora(model="a", stage=LoraStage.LOW),)
    assert objections(offer, loras=late) == [(Code.OPTION_NOT_A_CHOICE, "stage of lora")]


def test_exact_is_what_every_offer_can_do() -> None:
    assert objections(make_offer(), speed="exact") == []
    assert objections(make_offer(), speed="fast") == [(Code.NO_OFFER, "speed")]


def test_a_price_that_follows_the_work() -> None:
    offer = make_offer({"priced_at": {"pixels": 1024 * 1024, "steps": 30}}, steps=STEPS, size=SIZE)

    def price(**options: Any) -> int:
        return offer.price_of(ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p", **options))

    assert price() == micro_usd("0.009")
    assert price(steps=15) == micro_usd("0.009")
    assert price(steps=45) == micro_usd("0.0135")
    assert price(size=Size(2048, 2048)) == micro_usd("0.036")
    assert make_offer().price_of(ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p")) == micro_usd("0.009")


@pytest.mark.parametrize(
    "broken",
    [
        {"scheduler": SCHEDULER | {"default": "Dice"}},
        {"speed": SPEED | {"default": "warp"}},
        {"speed": SPEED | {"presets": {"exact": {}, "fast": {"warpCache": True}}}},
        {"steps": STEPS | {"field": "prompt"}},
        {"steps": STEPS | {"colour": "red"}},
    ],
)
def test_an_offer_that_makes_no_sense_is_not_loaded(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_offer(**broken)


def test_an_offer_of_the_worker_has_one_cache_a_word() -> None:
    two = {"exact": {}, "fast": {"fbCache": True, "teaCache": True}}
    make_offer(speed=SPEED | {"presets": two})
    with pytest.raises(ValidationError, match="fbCache and teaCache exclude each other"):
        make_offer({"backend": "worker"}, speed=SPEED | {"presets": two})


def test_operators_add_words_for_speed(tmp_path: Path) -> None:
    file = tmp_path / "presets.toml"
    file.write_text("[runware.turbo]\nteaCache = true\nteaCacheDistance = 0.7\n")
    catalogue = Catalogue.load().with_presets(load_presets(file))
    for offer in catalogue.offers().values():
        speed = offer.parameters.get(Option.SPEED)
        if offer.backend == "runware":
            assert speed is not None
            assert {"exact", "balanced", "fast", "turbo"} == set(getattr(speed, "presets", ()))


def test_words_for_a_backend_that_has_no_speeds_are_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "presets.toml"
    file.write_text("[worke.mine]\nfbCache = true\n")
    with pytest.raises(OperatorError) as refused:
        Catalogue.load().with_presets(load_presets(file))
    assert "worke" in str(refused.value.parameters["problem"])
    assert "runware and worker" in str(refused.value.parameters["problem"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[runware", ""),
        ("runware = 1", "runware"),
        ("[runware.'No Spaces']\nfbCache = true", "No Spaces"),
        ("[runware]\nfbCache = true", "fbCache"),
        ("[runware.exact]\nfbCache = true", "exact"),
        ("[runware.mine]\nwarpCache = true", "runware.mine.warpCache"),
        ("[runware.mine]\nfbCache = true\nfbCacheThreshold = 2.0", "runware.mine.fbCacheThreshold"),
        ("[worker.mine]\nfbCache = true\nteaCache = true", "worker.mine: fbCache and teaCache"),
        ("[worker.mine]\ncacheStartStep = 2", "worker.mine: cacheStartStep"),
    ],
)
def test_a_file_of_presets_that_makes_no_sense(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "presets.toml"
    file.write_text(text)
    with pytest.raises(OperatorError) as refused:
        load_presets(file)
    assert refused.value.parameters["setting"] == "EASEL_PRESETS"
    assert named in str(refused.value.parameters["problem"])


def test_a_file_of_presets_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperatorError):
        load_presets(tmp_path / "none.toml")


def test_the_size_of_an_edit_follows_its_picture_where_there_are_sizes_to_choose_from() -> None:
    image = {"type": "picture", "field": "image", "send_as": "url"}
    request = ImageRequest(
        kind=Kind.EDIT, model="model", prompt="p", source=InputPicture(name="a.png", width=90, height=160)
    )
    free = make_offer(image=image, size=SIZE)
    assert free.size_of(request) == Size(1024, 1024)
    chosen = make_offer(image=image, size=SIZE | {"choices": ["1024x1024", "768x1344", "1344x768"]})
    assert chosen.size_of(request) == Size(768, 1344)


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("civitai:1@2", Lora(model="civitai:1@2")),
        (" a = 0.8 ", Lora(model="a", weight=0.8)),
        ("a=-1/high", Lora(model="a", weight=-1, stage=LoraStage.HIGH)),
        ("a=1.25/LOW", Lora(model="a", weight=1.25, stage=LoraStage.LOW)),
    ],
)
def test_a_lora_is_read_and_written(text: str, lora: Lora) -> None:
    assert Lora.parse(text) == lora
    assert Lora.parse(str(lora)) == lora


@pytest.mark.parametrize(
    "text", ["", "=1", "a=much", "a=1/sideways", "../a", "a b", "a=1=2", "@everyone", "a=1e9", "a=nan"]
)
def test_what_is_no_lora(text: str) -> None:
    with pytest.raises(ValueError):
        Lora.parse(text)


def test_several_loras() -> None:
    assert Lora.parse_all("a, b=0.5,") == (Lora(model="a"), Lora(model="b", weight=0.5))
    assert Lora.parse_all("") == ()
