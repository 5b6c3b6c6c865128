"""The block list that holds in every server, as data: Easel's own, and what the operator adds to it.

Its uses are those that HiDream's model card (https://huggingface.co/HiDream-ai) names as out of scope.
"""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from config.catalogue import first_problem
from config.parameters import Strict
from domain.errors import Code, OperatorError
from domain.guild import MAX_BLOCKED_WORD

FILE: Final = Path(__file__).parent / "blocklist.toml"

_Phrases = tuple[Annotated[str, Field(min_length=1, max_length=MAX_BLOCKED_WORD)], ...]


class Use(StrEnum):
    """What the models may not be used for, as their model card says."""

    MINORS = "minors"
    FALSE_INFORMATION = "false-information"
    PERSONAL_DATA = "personal-data"
    HARASSMENT = "harassment"
    NUDITY_WITHOUT_CONSENT = "nudity-without-consent"
    ILLEGAL_PORNOGRAPHY = "illegal-pornography"
    AUTOMATED_DECISIONS = "automated-decisions"
    DISINFORMATION = "disinformation"


class BlockedUse(Strict):
    """The phrases by which one use is known."""

    key: Use
    phrases: _Phrases = ()
    """Any of these is refused."""
    together: tuple[_Phrases, ...] = ()
    """One phrase of each list, in the same text, is refused."""
    without: _Phrases = ()
    """So is one of the first list of ``together`` with one of these in the negative prompt."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.together) == 1 or (self.without and not self.together):
            raise ValueError("together has two lists or more, and without needs it")
        return self


class Adult(Strict):
    """What belongs into age-restricted channels alone."""

    phrases: _Phrases = ()
    harmless: _Phrases = ()
    """Of these the words are not looked at."""


class BlockList(Strict):
    """All of it."""

    uses: tuple[BlockedUse, ...] = ()
    adult: Adult = Adult()

    def with_more(self, other: "BlockList") -> "BlockList":
        """Both together: nothing of either is taken away."""
        adult = Adult(
            phrases=self.adult.phrases + other.adult.phrases, harmless=self.adult.harmless + other.adult.harmless
        )
        return BlockList(uses=self.uses + other.uses, adult=adult)


def load_blocklist(more: Path | None = None) -> BlockList:
    """Easel's block list, with the operator's file where there is one.

    Raises OperatorError (SETTING_INVALID) for a file that can't be read or is not right.
    """
    own = BlockList.model_validate(tomllib.loads(FILE.read_text("utf-8")))
    if more is None:
        return own
    try:
        added = BlockList.model_validate(tomllib.loads(more.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"{more} cannot be read") from error
    except tomllib.TOMLDecodeError as error:
        raise _wrong(f"{more}: {error}") from error
    except ValidationError as error:
        raise _wrong(f"{more}: {first_problem(error)}") from error
    return own.with_more(added)


def _wrong(problem: str) -> OperatorError:
    return OperatorError(Code.SETTING_INVALID, setting="EASEL_BLOCKLIST", problem=problem)
