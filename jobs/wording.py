"""Finding words in a text that may be written so that they are not found.

Text and words become the same plain form: without case and accents, with look-alike letters (Unicode's list of
confusables) and digits that stand for letters turned into those letters, without what is invisible. Then words are
looked for as whole words, in the text as it stands and as it reads where letters are spaced, dotted or repeated.
No more than that: who wants to be misunderstood by a list of words will be.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final

import re2
from confusable_homoglyphs import confusables

MAX_PATTERN: Final = 200
"""Characters of a pattern."""
PATTERN_BYTES: Final = 256 * 1024
"""Memory that a compiled pattern may take; one that wants more is refused."""

# Not those of Japanese (U+3099) and of Indian scripts, which make other letters.
_ACCENTS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")
_INVISIBLE: Final = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_WORD: Final = re.compile(r"[^\W_]+")
_BETWEEN: Final = re.compile(r"(?<=[^\W\d_])[@$!|](?=[^\W_])|(?<![^\W_])[@$](?=[^\W\d_])")
_BESIDE: Final = {"@": "a", "$": "s", "!": "i", "|": "i"}
_DIGITS: Final = str.maketrans("0134578", "oieastb")
_WITH_DIGITS: Final = re.compile(r"(?=[^\W_]*[^\W\d_])(?=[^\W_]*\d)[^\W_]+")
_LONG_RUN: Final = re.compile(r"([^\W\d_])\1{2,}")
# Scripts that are written without spaces.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_LEAST_SPACED: Final = 3
"""Letters in a row, each by itself, that are read as a word."""
_LEAST_IN_ROW: Final = 4
"""Letters of a word that is looked for inside such a row."""


class PatternError(ValueError):
    """The text is no pattern that can be used; the message says why."""


class Text:
    """A text, made ready to be searched."""

    def __init__(self, text: str) -> None:
        self.raw = _visible(text)
        """As people read it, in lower case: for patterns."""
        plain = _plain(text)
        words = [*_WORD.findall(plain)]
        joined = [word for part in plain.split() if (word := "".join(_WORD.findall(part)))]
        forms = {_spaced(words), _spaced(joined), _spaced(_unspelled(words)), _spaced(_unspelled(joined))}
        self._spelled = tuple(_spelled(words))
        forms |= {_LONG_RUN.sub(r"\1", form) for form in forms} | {_LONG_RUN.sub(r"\1\1", form) for form in forms}
        self._forms = tuple(forms)
        self._unspaced = "".join(words)

    def find(self, words: "Words") -> str | None:
        """The first of the words that is in the text, as it was given."""
        found = itertools.chain(words.in_forms(self._forms, self._unspaced), words.spelled_in(self._spelled))
        return next(found, None)

    def without(self, words: "Words") -> "Text":
        """The same text with these words taken out, wherever they stand."""
        other = Text("")
        other.raw = self.raw
        other._forms = tuple(words.taken_out(form) for form in self._forms)
        other._unspaced = self._unspaced
        other._spelled = self._spelled
        return other


class Words:
    """Words and phrases to look for. One that ends with ``*`` is found with any ending."""

    def __init__(self, words: Iterable[str]) -> None:
        self._spaced: dict[str, str] = {}
        self._unspaced: dict[str, str] = {}
        for word in words:
            form = " ".join(_WORD.findall(_plain(word.rstrip("*"))))
            if not form:
                continue
            if _UNSPACED.search(form):
                self._unspaced[form.replace(" ", "")] = word
            else:
                self._spaced[f" {form}" if word.endswith("*") else f" {form} "] = word

    def in_forms(self, forms: Iterable[str], unspaced: str) -> Iterator[str]:
        """Those that are in one of the forms."""
        for form, (needle, word) in itertools.product(forms, self._spaced.items()):
            if needle in form:
                yield word
        for needle, word in self._unspaced.items():
            if needle in unspaced:
                yield word

    def spelled_in(self, rows: Iterable[str]) -> Iterator[str]:
        """Those that are spelled out in rows of single letters, where nobody can tell words apart."""
        for row, (needle, word) in itertools.product(rows, self._spaced.items()):
            letters = needle.replace(" ", "")
            if len(letters) >= _LEAST_IN_ROW and letters in row:
                yield word

    def taken_out(self, form: str) -> str:
        """The form without the words; the endings of those with any ending stay."""
        for needle in self._spaced:
            form = form.replace(needle, " ")
        return form


def can_be_found(word: str) -> bool:
    """Whether anything of the word is left that can be looked for."""
    return bool(_WORD.search(_plain(word.rstrip("*"))))


def check_pattern(pattern: str) -> None:
    """Raise PatternError where the pattern is too long, wrong, or would take too much memory."""
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"it has {len(pattern)} characters, and {MAX_PATTERN} are the most")
    compiled = _compiled(pattern)
    if compiled.search("") is not None:
        raise PatternError("it fits an empty text, so it would fit every text")


def matches(pattern: str, text: Text) -> bool:
    """Whether the pattern is in the text. Takes time in proportion to the text's length, whatever the pattern."""
    return _compiled(pattern).search(text.raw) is not None


@cache
def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = PATTERN_BYTES
    return options


def _compiled(pattern: str) -> "re2._Regexp[str]":
    # RE2 matches in linear time: no pattern can be made to run away. It keeps what it has compiled.
    try:
        return re2.compile(_visible(pattern, fold=False), _options())
    except re2.error as error:
        reason = error.args[0]
        raise PatternError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


def _visible(text: str, *, fold: bool = True) -> str:
    shown = "".join(
        character
        for character in unicodedata.normalize("NFKC", text)
        if unicodedata.category(character) not in ("Cf", "Cs") and not _INVISIBLE.match(character)
    )
    return shown.casefold() if fold else shown


def _plain(text: str) -> str:
    # Before normalisation too: it takes some look-alikes for other letters.
    text = _visible(text.casefold().translate(_look_alikes()))
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    text = unicodedata.normalize("NFC", text.translate(_look_alikes()))
    text = _BETWEEN.sub(lambda match: _BESIDE[match[0]], text)
    text = _WITH_DIGITS.sub(lambda match: match[0].translate(_DIGITS), text)
    # I and l look the same in many fonts.
    return text.casefold().replace("l", "i")


def _spaced(words: Iterable[str]) -> str:
    return f" {' '.join(words)} "


def _unspelled(words: list[str]) -> Iterator[str]:
    """The words, with single letters in a row put together."""
    for alone, row in itertools.groupby(words, key=lambda word: len(word) == 1):
        letters = list(row)
        if alone and len(letters) >= _LEAST_SPACED:
            yield "".join(letters)
        else:
            yield from letters


def _spelled(words: list[str]) -> Iterator[str]:
    """The rows of single letters."""
    for alone, row in itertools.groupby(words, key=lambda word: len(word) == 1):
        letters = "".join(row)
        if alone and len(letters) >= _LEAST_IN_ROW:
            yield letters


@cache
def _look_alikes() -> Mapping[int, str]:
    """Small letters of other scripts -> the Latin letter that they, or their capitals, look like.

    From https://www.unicode.org/reports/tr39/.
    """
    found: dict[int, str] = {}
    for character in confusables.confusables_data:
        if len(character) != 1 or not character.isalpha() or _UNSPACED.match(character):
            continue
        small = character.casefold()
        if len(small) == 1 and not small.isascii():
            letter = _latin(small) or _latin(small.upper())
            if letter is not None:
                found[ord(small)] = letter
    return found


def _latin(character: str) -> str | None:
    for alias in confusables.confusables_data.get(character, ()):
        letter = _ACCENTS.sub("", unicodedata.normalize("NFKD", alias["c"])).casefold()
        if len(letter) == 1 and letter.isascii() and letter.isalpha():
            return letter
    return None
