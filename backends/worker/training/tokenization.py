"""The four tokenizers, as HiDream has them, for the few words the tiny models know.

tokenizer_4 (Llama's place) reads words only: it lowers case, turns digits into words, folds synonyms and drops
every word outside the vocabulary, so that a long polite request still reaches the model as the words it knows.
The other two kinds see the text as it is typed.

Training byte-pair merges is not repeatable between processes (ties are broken by hash order), so the tokenizers
are built once, saved, and loaded from there ever after.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5Tokenizer

from backends.worker.training.captions import COUNT_WORDS, SYNONYMS, caption, plural
from backends.worker.training.edits import sample_edit, vary
from backends.worker.training.scenes import sample_scene

T5_LENGTH: Final = 8
LLAMA_LENGTH: Final = 16
"""``model_max_length`` of tokenizer_3 and tokenizer_4: the pipeline pads to it, training runs at exactly it."""
CLIP_LENGTH: Final = 218
CLIP_VOCABULARY: Final = 760

UNSAID: Final = frozenset(
    [
        "a",
        "an",
        "the",
        "please",
        "show",
        "me",
        "of",
        "picture",
        "nice",
        "beautiful",
        "simple",
        "cute",
        "shiny",
        "pretty",
        "cool",
        "flat",
    ]
)
"""Words of the captions that carry nothing: tokenizer_4 drops them like unknown ones."""


@dataclass(frozen=True)
class Tokenizers:
    """The pipeline's tokenizers, by its names."""

    tokenizer: CLIPTokenizer
    tokenizer_2: CLIPTokenizer
    tokenizer_3: T5Tokenizer
    tokenizer_4: PreTrainedTokenizerFast

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def save(self, folder: Path) -> None:
        for name, tokenizer in self.as_dict().items():
            tokenizer.save_pretrained(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Tokenizers:
        """The tokenizers saved in ``folder``."""
        loaded = cls(
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
            tokenizer_3=T5Tokenizer.from_pretrained(folder / "tokenizer_3"),
            tokenizer_4=PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer_4"),
        )
        loaded.tokenizer_4.pad_token = loaded.tokenizer_4.eos_token
        return loaded


def corpus(seed: int = 5, count: int = 12000) -> list[str]:
    """Captions and instructions to count words in."""
    rng = np.random.default_rng(seed)
    texts = [caption(rng, sample_scene(rng)) for _ in range(count)]
    texts += [vary(rng, sample_edit(rng).instruction) for _ in range(count // 2)]
    return texts


def _words(texts: list[str]) -> Counter[str]:
    return Counter(word for text in texts for word in text.replace(",", " , ").replace(".", " . ").split())


def _clip_tokenizer(texts: list[str]) -> CLIPTokenizer:
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    shape = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[]).backend_tokenizer
    bpe.normalizer = shape.normalizer
    bpe.pre_tokenizer = shape.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=CLIP_VOCABULARY,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    vocabulary: dict[str, int] = model["vocab"]
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        # without its word-ending form a lone letter would become the end-of-text token and cut the prompt there
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_LENGTH)


def _t5_tokenizer(words: Counter[str]) -> T5Tokenizer:
    total = sum(words.values())
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    pieces: dict[str, float] = {}
    for word, count in sorted(words.items(), key=lambda pair: (-pair[1], pair[0])):
        score = float(np.log(count / total))
        if word in (",", "."):
            pieces[word] = score
            continue
        lower = word.lower()
        for spelling in (lower, lower.capitalize()):
            pieces.setdefault("▁" + spelling, score)
    vocabulary += list(pieces.items())
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=T5_LENGTH)


def _llama_tokenizer(words: Counter[str]) -> PreTrainedTokenizerFast:
    folded = {alias: word for word, aliases in SYNONYMS.items() for alias in aliases}
    folded.update({plural(alias): plural(word) for alias, word in folded.items()})
    known = sorted({folded.get(word.lower(), word.lower()) for word in words if word.isalpha()} - UNSAID)
    vocabulary = {"<|begin_of_text|>": 0, "<|eot_id|>": 1, "<|unknown|>": 2}
    vocabulary |= {word: index + len(vocabulary) for index, word in enumerate(known)}
    begin, end, unknown = list(vocabulary)[:3]
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    steps: list[Any] = [normalizers.NFKC(), normalizers.Lowercase()]
    steps += [normalizers.Replace(str(count), f" {word} ") for count, word in COUNT_WORDS.items()]
    steps.append(normalizers.Replace(Regex(r"[^a-z]+"), " "))
    steps += [normalizers.Replace(Regex(rf"\b{alias}\b"), word) for alias, word in sorted(folded.items())]
    steps.append(normalizers.Replace(Regex(rf"\b(?!(?:{'|'.join(known)})\b)[a-z]+\b"), " "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        eos_token=end,
        pad_token=end,
        unk_token=unknown,
        model_max_length=LLAMA_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def build_tokenizers() -> Tokenizers:
    """New tokenizers from the captions; see the module's note on repeatability."""
    texts = corpus()
    words = _words(texts)
    return Tokenizers(_clip_tokenizer(texts), _clip_tokenizer(texts), _t5_tokenizer(words), _llama_tokenizer(words))
