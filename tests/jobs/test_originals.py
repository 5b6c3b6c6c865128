"""Originals carry what they were made with, and their pixels are those that were made."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageChops

from config.catalogue import Catalogue
from domain.job import StoredPicture
from domain.request import Lora, PictureFormat, Variation
from jobs.originals import Originals, parameters_text, with_text
from jobs.pictures import Pictures
from tests.cogs.jobs import made

CATALOGUE = Catalogue.load()
PROMPT = "ein Fuchs, 狐, with “quotes”\nand two lines"


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "pictures", limit_bytes=10**9, keep_seconds=3600)


def text_of(data: bytes) -> str:
    """As other tools read it."""
    image = Image.open(io.BytesIO(data))
    if image.format == "PNG":
        return str(image.info["parameters"])
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert comment.startswith(b"UNICODE\0")
    return str(comment.removeprefix(b"UNICODE\0").decode("utf-16-be"))


@pytest.mark.parametrize("kind", PictureFormat)
@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
@pytest.mark.parametrize("prompt", [PROMPT, "狐" * 2000])
async def test_the_text_is_in_the_file_and_the_pixels_are_the_same(
    pictures: Pictures, tmp_path: Path, kind: PictureFormat, size: tuple[int, int], prompt: str
) -> None:
    file = tmp_path / "made.png"
    Image.linear_gradient("L").resize(size).convert("RGB").save(file)
    kept = await pictures.keep("abcdefghjk", 0, file, kind)
    job = made(prompt=prompt, format=kind)
    task = replace(job.tasks[0], picture=kept)
    data, name = await Originals(pictures, CATALOGUE, embeds=True).of(job, task)
    assert name == kept.name
    assert text_of(data) == parameters_text(job, task, CATALOGUE)
    assert text_of(data).startswith(prompt)
    before, after = Image.open(pictures.path(kept.name)), Image.open(io.BytesIO(data))
    assert after.format == before.format
    assert ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox() is None
    assert "parameters" not in before.info
    # What was posted stays as it was.
    plain, _ = await Originals(pictures, CATALOGUE, embeds=False).of(job, task)
    assert plain == pictures.path(kept.name).read_bytes()


def test_a_webp_that_says_more_of_itself_already() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (40, 30), (1, 2, 3, 100)).save(buffer, "WEBP")
    assert text_of(with_text(buffer.getvalue(), "a fox", PictureFormat.WEBP)) == "a fox"


def test_the_text_says_all_of_it() -> None:
    job = made(
        model="hidream-i1-full",
        negative_prompt="people",
        guidance=4.5,
        scheduler="Euler",
        loras=(Lora(model="x:1@2", weight=0.8), Lora(model="y:3@4")),
    )
    job = replace(job, offer="worker:hidream-i1-full")
    task = replace(job.tasks[0], picture=StoredPicture("abc.png", 1024, 768, 1))
    # Fifty steps are what the offer takes where nobody says otherwise.
    assert parameters_text(job, task, CATALOGUE) == (
        "a red circle\nNegative prompt: people\n"
        "Steps: 50, Sampler: Euler, CFG scale: 4.5, Seed: 7, Size: 1024x768, Model: HiDream-I1-Full, "
        'Loras: "x:1@2=0.8, y:3@4", Backend: worker, Job: abcdefghjk, Version: Easel'
    )


def test_the_text_says_how_each_picture_was_varied() -> None:
    """Under the names that tools for such pictures read."""
    job = made(count=2, variations=(Variation(seed=99, strength=0.2),))
    assert "Seed: 8, Variation seed: 100, Variation seed strength: 0.2, " in parameters_text(
        job, job.tasks[1], CATALOGUE
    )
    job = made(variations=(Variation(seed=99, strength=0.2), Variation(seed=12, strength=0.5)))
    assert 'Variation seed: "99, 12", Variation seed strength: "0.2, 0.5", ' in parameters_text(
        job, job.tasks[0], CATALOGUE
    )
