"""What a request is, and what it cannot be."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.request import MAX_SEED, MAX_VARIATIONS, ImageRequest, Kind, PictureFormat, Size, Variation


def request(**options: Any) -> ImageRequest:
    return ImageRequest.model_validate({"kind": Kind.IMAGINE, "model": "m", "prompt": "p"} | options)


@pytest.mark.parametrize("text", ["1024x768", "1024*768", "1024×768", " 1024 X 768 "])
def test_a_size_is_read(text: str) -> None:
    assert Size.parse(text) == Size(1024, 768)
    assert Size.parse(str(Size.parse(text))) == Size(1024, 768)


@pytest.mark.parametrize(
    "text", ["", "1024", "1024x", "x768", "-1x5", "1e3x5", "100000x1", "1x1x1", "1024 768", "１x１"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        Size.parse(text)


def test_each_picture_has_a_seed_of_its_own() -> None:
    assert request(seed=7, count=4).seeds() == [7, 8, 9, 10]


def test_seeds_begin_again_after_the_largest() -> None:
    assert request(seed=MAX_SEED, count=3).seeds() == [MAX_SEED, 0, 1]


def test_each_picture_is_varied_by_a_seed_of_its_own() -> None:
    varied = request(seed=7, count=3, variations=[{"seed": MAX_SEED, "strength": 0.2}, {"seed": 5, "strength": 0.5}])
    assert varied.variations_of(0) == varied.variations
    assert varied.variations_of(2) == (Variation(seed=1, strength=0.2), Variation(seed=7, strength=0.5))


def test_a_request_of_an_earlier_version_is_not_varied() -> None:
    assert ImageRequest.model_validate_json('{"kind": "imagine", "model": "m", "prompt": "p"}').variations == ()


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": ""},
        {"prompt": "x" * 2001},
        {"prompt": "\ud800"},
        {"count": 0},
        {"count": 5},
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"kind": "dream"},
        {"format": "gif"},
        {"variations": [{"seed": 1, "strength": 1.5}]},
        {"variations": [{"seed": -1, "strength": 0.5}]},
        {"variations": [{"seed": 1}]},
        {"variations": [{"seed": number, "strength": 0.5} for number in range(MAX_VARIATIONS + 1)]},
    ],
)
def test_what_no_request_can_hold(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**options)


def test_a_request_survives_being_stored() -> None:
    kept = request(seed=0, count=2, size=Size(512, 256), guidance=3.5, spoiler=True, format=PictureFormat.WEBP)
    assert ImageRequest.model_validate_json(kept.model_dump_json(exclude_defaults=True)) == kept


def test_files_are_named_as_people_expect() -> None:
    assert [wanted.extension for wanted in PictureFormat] == ["png", "jpg", "webp"]
    assert [wanted.media_type for wanted in PictureFormat] == ["image/png", "image/jpeg", "image/webp"]
