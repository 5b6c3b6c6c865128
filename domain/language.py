"""The languages that people are spoken to in."""

from enum import StrEnum


class Language(StrEnum):
    """A language with a catalogue of its own; the values are Discord's names of locales, without needless regions.

    https://discord.com/developers/docs/reference#locales
    """

    ENGLISH = "en"
    CHINESE = "zh-CN"
    """Written in simplified characters."""
    JAPANESE = "ja"
    SPANISH = "es"
    GERMAN = "de"
    FRENCH = "fr"

    @classmethod
    def of(cls, locale: str | None) -> "Language":
        """The language for one of Discord's locales (``en-GB``, ``es-419``): English for one without a catalogue."""
        for tag in ((locale or ""), (locale or "").partition("-")[0]):
            if tag in set(cls):
                return cls(tag)
        return cls("en")
