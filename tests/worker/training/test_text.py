"""Tokenizers: whatever people type is read, and what the models know is read the same in other words."""

from pathlib import Path

import pytest

from backends.worker.training.__main__ import MODELS
from backends.worker.training.export import I1_FOLDER
from backends.worker.training.tokenization import LLAMA_LENGTH, T5_LENGTH, Tokenizers


@pytest.fixture(scope="module")
def shipped() -> Tokenizers:
    return Tokenizers.load(MODELS / I1_FOLDER)


def llama_words(tokenizers: Tokenizers, text: str) -> list[str]:
    tokens: list[str] = tokenizers.tokenizer_4.convert_ids_to_tokens(tokenizers.tokenizer_4(text).input_ids)
    return tokens[1:]


def test_lengths_are_those_of_training(shipped: Tokenizers) -> None:
    assert shipped.tokenizer_3.model_max_length == T5_LENGTH
    assert shipped.tokenizer_4.model_max_length == LLAMA_LENGTH


def test_small_talk_and_unknown_words_are_dropped(shipped: Tokenizers) -> None:
    asked = "Could you please paint me a RED star on a lovely blue background, dear bot?!"
    assert llama_words(shipped, asked) == ["paint", "red", "star", "on", "blue", "background"]


def test_synonyms_and_digits_are_folded(shipped: Tokenizers) -> None:
    assert llama_words(shipped, "2 tiny crimson balls") == llama_words(shipped, "two small red circles")


@pytest.mark.parametrize("text", ["", " ", "xyzzy", "星 🌟 \x00", "a" * 2000, "<|endoftext|></s><pad>"])
def test_no_text_breaks_a_tokenizer(shipped: Tokenizers, text: str) -> None:
    for name, tokenizer in shipped.as_dict().items():
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=8).input_ids
        assert len(ids) == 8, name
        assert max(ids) < len(tokenizer), name


def test_letters_do_not_end_the_text(shipped: Tokenizers) -> None:
    ids = shipped.tokenizer("u and 2 and v").input_ids
    assert ids.count(shipped.tokenizer.eos_token_id) == 1


def test_saved_tokenizers_read_the_same(shipped: Tokenizers, tmp_path: Path) -> None:
    shipped.save(tmp_path)
    again = Tokenizers.load(tmp_path)
    text = "a small red circle to the left of a large green star"
    for name, tokenizer in shipped.as_dict().items():
        assert tokenizer(text).input_ids == again.as_dict()[name](text).input_ids, name
