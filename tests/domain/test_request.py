"""What a request is, and what it cannot be."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.request import MAX_SEED, ImageRequest, Kind, PictureFormat, Size


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
