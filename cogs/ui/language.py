"""Which language is being spoken, and saying a sentence in it.

English stands in the code, as gettext has it: the English sentence, with its values in braces by name, is the key
of every catalogue in ``cogs/ui/languages``. What a catalogue lacks is said in English.

The language is a matter of the one task that answers somebody (``contextvars``), never of the process: an
interaction's is chosen at its beginning, a job's messages have the one that was chosen when the job came in.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

from domain.errors import Parameter
from domain.language import Language

FOLDER: Final = Path(__file__).parent / "languages"
"""One catalogue a language: https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html"""

_spoken: ContextVar[Language] = ContextVar("language", default=Language.ENGLISH)


@dataclass(frozen=True, slots=True)
class Plural:
    """A sentence that differs with a number: ``Plural("{count} picture", "{count} pictures")``.

    A language has as many forms as its catalogue says (https://cldr.unicode.org/index/cldr-spec/plural-rules).
    """

    one: str
    other: str
    by: str = "count"
    """Name of the value that decides."""


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Within this, everything is said in the language."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def speak(language: Language) -> None:
    """From here on this task, and those it begins, speak the language."""
    _spoken.set(language)


def spoken() -> Language:
    """The language that is being spoken."""
    return _spoken.get()


def say(text: str | Plural, /, **values: Parameter) -> str:
    """The sentence in the language that is being spoken, with its values. Numbers are written as it writes them."""
    return template(text, values).format_map({name: number(value) for name, value in values.items()})


def template(text: str | Plural, values: Mapping[str, Parameter]) -> str:
    """The sentence as the catalogue has it, in the form that its number wants; nothing filled in."""
    if isinstance(text, str):
        return translated(text)
    many = values.get(text.by)
    # A number that is not known is shown as an ellipsis.
    return catalogue(_spoken.get()).ngettext(text.one, text.other, abs(many) if isinstance(many, int) else 2)


def translated(text: str) -> str:
    """The sentence as the catalogue has it, nothing filled in; the text itself where that does not know it."""
    return catalogue(_spoken.get()).gettext(text) if text else text


def number(value: Parameter) -> str:
    """A number as the language writes it, without separators between thousands; text as it is."""
    match value:
        case str():
            return value
        case int():
            return str(value)
        case float():
            if not abs(value) < 1e15:
                # More digits than Babel rounds, or no number at all.
                return f"{value:g}"
            return format_decimal(value, "0.######", locale=babel_locale(_spoken.get()), group_separator=False)


def tenths(value: float) -> str:
    """A measured value with one decimal, also where that is a zero."""
    return format_decimal(value, "0.0", locale=babel_locale(_spoken.get()))


def babel_locale(language: Language) -> Locale:
    """What Babel calls the language."""
    return Locale.parse(language.value, sep="-")


@cache
def catalogue(language: Language) -> NullTranslations:
    """The language's catalogue, read once; nothing stands in that of English."""
    if language is Language.ENGLISH:
        return NullTranslations()
    with path_of(language).open("rb") as file:
        read = read_po(file)
    compiled = BytesIO()
    # Sentences that are marked as fuzzy, whose English has changed since, are left out.
    write_mo(compiled, read)
    compiled.seek(0)
    return Translations(compiled)


def path_of(language: Language) -> Path:
    """Where the language's catalogue lies."""
    return FOLDER / f"{language.value}.po"
