"""The folder of LoRAs: names, never paths."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from backends.worker.loras import MAX_LORAS, NAME_PATTERN, LoraFolder
from domain.errors import Code, UserError
from domain.request import Lora
from tests.worker.conftest import body

HOSTILE = [
    "../secret",
    "..",
    ".hidden",
    "/etc/passwd",
    "sub/inside",
    "sub\\inside",
    "",
    "a" * 201,
    "ink\n",
    "ink\x00",
    "%2e%2e/secret",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.safetensors").write_bytes(b"outside")
    folder = tmp_path / "loras"
    (folder / "sub").mkdir(parents=True)
    for name in ("ink.safetensors", "Anime.v2.safetensors", "notes.txt", "old.ckpt", ".hidden.safetensors"):
        (folder / name).write_bytes(b"")
    (folder / "with space.safetensors").write_bytes(b"")
    (folder / "sub" / "inside.safetensors").write_bytes(b"")
    (folder / "folder.safetensors").mkdir()
    return folder


def test_its_names_are_those_of_the_safetensors_files_in_it(folder: Path) -> None:
    assert LoraFolder(folder).names() == ("Anime.v2", "ink")


def test_a_file_that_is_put_in_can_be_used_at_once(folder: Path) -> None:
    loras = LoraFolder(folder)
    (folder / "new.safetensors").write_bytes(b"")
    assert loras.file("new", "tiny") == folder / "new.safetensors"


@pytest.mark.parametrize("name", ["nope", "INK", "ink.safetensors", *HOSTILE])
def test_another_name_is_refused_with_the_list(folder: Path, name: str) -> None:
    with pytest.raises(UserError) as refused:
        LoraFolder(folder).file(name, "tiny")
    assert refused.value.code is Code.OPTION_NOT_A_CHOICE
    assert refused.value.parameters["choices"] == "Anime.v2, ink"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_does_not_even_travel(name: str) -> None:
    with pytest.raises(ValidationError):
        body(loras=[{"name": name}])


@pytest.mark.parametrize("given", [{"weight": 4.1}, {"weight": -5}, {"weight": float("nan")}, {"stage": "high"}])
def test_a_weight_is_within_the_range(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        body(loras=[{"name": "ink"} | given])


def test_there_is_a_most(folder: Path) -> None:
    body(loras=[{"name": "ink"}] * MAX_LORAS)
    with pytest.raises(ValidationError):
        body(loras=[{"name": "ink"}] * (MAX_LORAS + 1))


@pytest.mark.parametrize("missing", [None, Path("/nowhere/loras")])
def test_without_a_folder_the_option_cannot_be_set(missing: Path | None) -> None:
    loras = LoraFolder(missing)
    assert loras.names() == ()
    with pytest.raises(UserError) as refused:
        loras.file("ink", "tiny")
    assert (refused.value.code, refused.value.parameters["option"]) == (Code.NO_OFFER, "lora")


def test_names_are_those_that_a_request_can_carry() -> None:
    assert Lora.model_json_schema()["properties"]["model"]["pattern"] == NAME_PATTERN
