"""What the models may not be used for, in words."""

from collections.abc import Mapping
from typing import Final

from cogs.ui.language import translated
from config.blocklist import Use

_NAMES: Final[Mapping[Use, str]] = {
    Use.MINORS: "exploiting or harming minors",
    Use.FALSE_INFORMATION: "making or spreading false information in order to harm others",
    Use.PERSONAL_DATA: "personal data that could be used to harm somebody",
    Use.HARASSMENT: "harassing, abusing, threatening, stalking or bullying people",
    Use.NUDITY_WITHOUT_CONSENT: "nudity without the consent of who is shown",
    Use.ILLEGAL_PORNOGRAPHY: "illegal pornography",
    Use.AUTOMATED_DECISIONS: "automated decisions that take rights from people or bind them",
    Use.DISINFORMATION: "large campaigns of disinformation",
}


def in_words(use: str) -> str:
    """The use in the language that is spoken; the word itself where it is not one of ours."""
    return translated(_NAMES[Use(use)]) if use in set(Use) else use
