"""Speaking a language, and that every catalogue has every sentence, whole and with its values."""

import asyncio
import re
from collections.abc import Iterator
from functools import cache
from gettext import NullTranslations

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from cogs.ui import language as language_module
from cogs.ui import texts, words
from cogs.ui.language import Plural, number, path_of, say, speaking, spoken, translated
from docs import translations
from domain.errors import Code
from domain.language import Language
from domain.money import MicroUSD
from domain.quota import Unit
from tests.cogs import every_message

TRANSLATED = [language for language in Language if language is not Language.ENGLISH]
FREE = frozenset({"ordinal"})
"""What a translation may leave out: English alone counts with 1st and 2nd in such a sentence."""


@cache
def template() -> Catalog:
    return translations.template()


@cache
def catalogue(language: Language) -> Catalog:
    with path_of(language).open("rb") as file:
        return read_po(file)


# Speaking.


def test_english_stands_in_the_code() -> None:
    assert spoken() is Language.ENGLISH
    assert say("Seed {seed}", seed=7) == "Seed 7"
    assert say(Plural("{count} picture", "{count} pictures"), count=1) == "1 picture"
    assert say(Plural("{count} picture", "{count} pictures"), count=0) == "0 pictures"


def test_a_language_is_spoken_within_its_block_alone() -> None:
    with speaking(Language.GERMAN):
        assert translated("Delete") == "Löschen"
        with speaking(Language.ENGLISH):
            assert translated("Delete") == "Delete"
        assert translated("Delete") == "Löschen"
    assert spoken() is Language.ENGLISH


async def test_tasks_speak_beside_each_other() -> None:
    barrier = asyncio.Barrier(2)

    async def said(language: Language) -> str:
        with speaking(language):
            await barrier.wait()
            return texts.sentence(Code.CANCELLED)

    german, english = await asyncio.gather(said(Language.GERMAN), said(Language.ENGLISH))
    assert (german, english) == ("Abgebrochen.", "Cancelled.")


def test_what_a_catalogue_lacks_is_said_in_english() -> None:
    with speaking(Language.GERMAN):
        assert say("A sentence of {year} that nobody has translated.", year=2026).startswith("A sentence of 2026")


def test_numbers_prices_and_plurals_are_the_languages_own() -> None:
    with speaking(Language.GERMAN):
        assert number(2.5) == "2,5"
        assert words.price(MicroUSD(12_000)) == "0,012\u00a0$"
        assert words.amount(Unit.IMAGES, 1) == "1 Bild"
        assert words.amount(Unit.IMAGES, 2) == "2 Bilder"
    with speaking(Language.FRENCH):
        # One form for nought and one: https://cldr.unicode.org/index/cldr-spec/plural-rules
        assert words.amount(Unit.IMAGES, 0).endswith("image")
        assert words.amount(Unit.IMAGES, 2).endswith("images")
    with speaking(Language.JAPANESE):
        assert words.amount(Unit.IMAGES, 1).replace("1", "2") == words.amount(Unit.IMAGES, 2)


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("en-US", Language.ENGLISH),
        ("en-GB", Language.ENGLISH),
        ("de", Language.GERMAN),
        ("fr", Language.FRENCH),
        ("ja", Language.JAPANESE),
        ("es-ES", Language.SPANISH),
        ("es-419", Language.SPANISH),
        ("zh-CN", Language.CHINESE),
        # Written in other characters.
        ("zh-TW", Language.ENGLISH),
        ("pl", Language.ENGLISH),
        ("", Language.ENGLISH),
        (None, Language.ENGLISH),
    ],
)
def test_discords_locales_have_a_language(locale: str | None, language: Language) -> None:
    assert Language.of(locale) is language


# The catalogues.


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_sentence_is_translated(language: Language) -> None:
    """``python -m docs.translations`` puts what is new into the catalogues, and names it."""
    found, wanted = ids(catalogue(language)), ids(template())
    assert sorted(wanted - found) == [], "missing in the catalogue"
    assert sorted(found - wanted) == [], "not in the code any more"
    assert translations.lacking(catalogue(language)) == [], "without a translation, or reworded in English since"


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_keep_the_values_and_the_markdown(language: Language) -> None:
    for message in translated_messages(catalogue(language)):
        english = message.id if isinstance(message.id, str) else message.id[1]
        for index, form in enumerate(forms(message)):
            # "The last day" need not say that it is one.
            free = FREE | {"count"} if index < len(forms(message)) - 1 else FREE
            assert placeholders(form) - free == placeholders(english) - free, form
            for mark in ("`", "**"):
                assert form.count(mark) == english.count(mark), form
            assert form.strip() == form or form in (" ", ""), repr(form)
            # Commands and options are typed in English.
            assert set(re.findall(r"(?<![\w<:])/[a-z]+", english)) == set(re.findall(r"(?<![\w<:])/[a-z]+", form)), form
            assert sorted(re.findall(r"`([a-z_]+)`", english)) == sorted(re.findall(r"`([a-z_]+)`", form)), form


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_plural_has_the_forms_that_its_language_has(language: Language) -> None:
    found = catalogue(language)
    for message in translated_messages(found):
        if not isinstance(message.id, str):
            assert len(forms(message)) == found.num_plurals, message.id


def test_nothing_that_people_read_is_put_together_outside_the_catalogues() -> None:
    """A sentence belongs into ``texts``, or into ``say`` where it is said."""
    assert list(translations.hard_coded()) == []


def ids(found: Catalog) -> set[str]:
    return {message.id if isinstance(message.id, str) else message.id[0] for message in found if message.id}


def translated_messages(found: Catalog) -> Iterator[Message]:
    for message in found:
        # What is marked as fuzzy is not spoken.
        if message.id and not message.fuzzy and all(forms(message)):
            yield message


def forms(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{([^{}]*)\}", text))


class Shouted(NullTranslations):
    """A language of capitals: what is not in them was not said through a catalogue."""

    def gettext(self, message: str) -> str:
        return re.sub(r"\{[^{}]*\}|[^{}]+", lambda part: part[0] if part[0][0] == "{" else part[0].upper(), message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


def test_every_word_of_a_message_comes_from_a_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    shouted = Shouted()
    monkeypatch.setattr(language_module, "catalogue", lambda language: shouted)
    prompt = every_message.PROMPTS["hanzi"]
    made = [*every_message.messages(prompt), *((name, form.to_dict()) for name, form in every_message.forms(prompt))]
    for name, body in made:
        for text in shown(body):
            for model in sorted(every_message.CATALOGUE, key=lambda model: -len(model.name)):
                text = text.replace(model.name, "")
            assert re.findall(r"\b[a-z]{2,} [a-z]{2,}\b", text) == [], f"{name}: {text}"


def shown(node: object) -> Iterator[str]:
    """Everything in a message's JSON that people read."""
    match node:
        case dict():
            for key, value in node.items():
                if isinstance(value, str) and key in {
                    "content", "title", "description", "text", "name", "value", "label", "placeholder",
                }:  # fmt: skip
                    yield value
                elif not isinstance(value, str):
                    yield from shown(value)
        case list():
            for one in node:
                yield from shown(one)
