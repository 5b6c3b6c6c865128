"""Suggestions belong to the bundled model."""

from pathlib import Path

from config.catalogue import Catalogue
from config.suggestions import suggested_prompts

CATALOGUE = Catalogue.load()


def test_they_are_read_from_what_came_with_the_model(tmp_path: Path) -> None:
    file = tmp_path / "suggestions.toml"
    assert suggested_prompts(CATALOGUE, file) == ()
    file.write_text('prompts = ["a boat", "a star"]\n[[edits]]\nprompt = "x"\n', "utf-8")
    assert suggested_prompts(CATALOGUE, file) == ("a boat", "a star")


def test_no_other_model_is_given_them(tmp_path: Path) -> None:
    file = tmp_path / "suggestions.toml"
    file.write_text('prompts = ["a boat"]', "utf-8")
    assert suggested_prompts(CATALOGUE.restricted_to(["wavespeed"], []), file) == ()


def test_those_that_are_bundled_fit_into_a_choice() -> None:
    assert all(0 < len(prompt) <= 100 for prompt in suggested_prompts(CATALOGUE))
