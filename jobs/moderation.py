"""Whether a wish may be painted: asked of every moderator, before anything is reserved.

A moderator that breaks lets nothing out of the house: the wish may still be painted on machines of the operator's
own, but is not sent to a hosted service.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from config.blocklist import BlockedUse, BlockList
from domain.errors import Code, UserError
from domain.request import ImageRequest
from domain.safety import Blocked
from jobs.wording import PatternError, Text, Words, matches

log = logging.getLogger(__name__)


class ModeratorError(Exception):
    """The moderator can't tell; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a moderator says of a wish."""

    refusal: UserError | None = None
    """Why it is not painted at all."""
    adult: bool = False
    """It belongs into age-restricted channels alone."""


class Moderator(Protocol):
    """Looks at wishes. Implementations: ``WordModerator``, ``jobs.classifier.Classifier``."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    async def review(self, request: ImageRequest, blocked: Blocked) -> Verdict:
        """Look at prompt, negative prompt and instruction; ``blocked`` is what the guild's admins block.

        Raises ModeratorError where it can't tell.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all moderators together say of a wish that none of them refuses."""

    adult: bool
    certain: bool
    """False: one of them could not tell."""


class Moderation:
    """All moderators, asked in order."""

    def __init__(self, moderators: Sequence[Moderator]) -> None:
        self._moderators = tuple(moderators)

    async def review(self, request: ImageRequest, blocked: Blocked) -> Outcome:
        """Raises the UserError of the first that refuses."""
        adult, certain = False, True
        for moderator in self._moderators:
            try:
                verdict = await moderator.review(request, blocked)
            except ModeratorError as error:
                log.warning("the moderator %s can't tell: %s", moderator.name, error)
                certain = False
                continue
            if verdict.refusal is not None:
                log.info("the moderator %s refused a prompt: %s", moderator.name, verdict.refusal.code)
                raise verdict.refusal
            adult = adult or verdict.adult
        return Outcome(adult, certain)


class WordModerator:
    """Looks for words and patterns: those that are blocked everywhere, and those of the guild."""

    name = "words"

    def __init__(self, blocklist: BlockList) -> None:
        self._uses = [_Use(use) for use in blocklist.uses]
        self._adult = Words(blocklist.adult.phrases)
        self._harmless = Words(blocklist.adult.harmless)

    async def review(self, request: ImageRequest, blocked: Blocked) -> Verdict:
        """See ``Moderator``."""
        prompt, negative = Text(request.prompt), Text(request.negative_prompt or "")
        for use in self._uses:
            if use.is_in(prompt, negative):
                return Verdict(UserError(Code.PROMPT_OUT_OF_SCOPE, use=use.key))
        words = _words(blocked.words)
        for text in (prompt, negative):
            word = text.find(words)
            if word is not None:
                return Verdict(UserError(Code.WORD_BLOCKED, word=word))
            if any(_matches(pattern, text) for pattern in blocked.patterns):
                return Verdict(UserError(Code.PROMPT_BLOCKED))
        # What is to be left out makes no picture adult.
        return Verdict(adult=prompt.without(self._harmless).find(self._adult) is not None)


class _Use:
    def __init__(self, use: BlockedUse) -> None:
        self.key = use.key.value
        self._phrases = Words(use.phrases)
        self._together = [Words(phrases) for phrases in use.together]
        self._without = Words(use.without)

    def is_in(self, prompt: Text, negative: Text) -> bool:
        if prompt.find(self._phrases) or negative.find(self._phrases):
            return True
        if not self._together or not prompt.find(self._together[0]):
            return False
        return all(prompt.find(words) for words in self._together[1:]) or negative.find(self._without) is not None


def _matches(pattern: str, text: Text) -> bool:
    try:
        return matches(pattern, text)
    except PatternError as error:
        # Checked when it was set; another version of RE2 may see it differently.
        log.warning("a blocked pattern can't be used any more: %s", error)
        return True


@lru_cache(maxsize=256)
def _words(words: tuple[str, ...]) -> Words:
    return Words(words)
