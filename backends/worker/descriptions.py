"""What a picture shows once an instruction has been carried out: the second half of HiDream-E1's prompt.

E1 was trained on an instruction and a description of the target picture. People give the instruction alone, and
nothing here sees the picture; so the description says of it what the instruction makes true ("make the red car
blue": "the car is blue"), nothing that it makes false, and that the rest stays. Imports no torch.
"""

import re
from collections.abc import Callable
from typing import Final

_REST: Final = "Everything else looks as before."

_POLITE: Final = re.compile(
    r"^(?:(?:please|kindly|can you|could you|would you|i want you to|i(?:'d| would) like you to|let'?s|now|just)\b"
    r",?\s*)+",
    re.IGNORECASE,
)
_AFTERTHOUGHT: Final = re.compile(r"[\s,]*\b(?:please|thanks|thank you)$", re.IGNORECASE)
_STOPS: Final = " .,;!?"
_COLOURS: Final = (
    "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "white", "black", "gray", "grey", "brown",
    "cyan", "teal", "turquoise", "aqua", "gold", "golden", "silver", "crimson", "scarlet", "magenta", "beige", "maroon",
    "navy", "indigo", "lavender", "lime", "olive", "tan", "cream", "bronze", "blonde", "blond",
)  # fmt: skip
_SHADES: Final = ("dark", "light", "bright", "pale", "deep", "soft", "neon", "pastel")
_WHOLE: Final = (
    r"(?:it|this|everything|(?:the|this|my) (?:whole )?(?:picture|image|photo|photograph|drawing|painting|scene))"
)
_SUBJECTS: Final = {"him": "he has", "her": "she has", "it": "it has", "them": "they have"}
_PICTURE: Final = re.compile(_WHOLE, re.IGNORECASE)
_BACKGROUND: Final = re.compile(
    r"(?:use|give (?:it|\S+ \S+)|put (?:it )?(?:on|in front of)|set|add|make it|with) (an? .+) background",
    re.IGNORECASE,
)

Match = re.Match[str]
Rule = tuple[re.Pattern[str], Callable[[Match], str]]


def describe_target(instruction: str) -> str:
    """Sentences about the picture to come. An instruction of a kind that no rule knows is told as an outcome."""
    wish = _AFTERTHOUGHT.sub("", _POLITE.sub("", " ".join(instruction.split())).rstrip(_STOPS)).strip(_STOPS)
    for pattern, describe in _RULES:
        match = pattern.fullmatch(wish)
        if match is not None:
            return f"{_sentence(describe(match))} {_REST}"
    return f"The finished picture, in which this can be seen as done: {wish or 'no change'}. {_REST}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _is_colour(text: str) -> bool:
    words = text.casefold().split()
    return bool(words) and words[-1] in _COLOURS and all(word in (*_COLOURS, *_SHADES, "and") for word in words)


def _without_colour(thing: str) -> str:
    """``the dark red car`` -> ``the car``: it is about to have another one."""
    words = thing.split()
    return (
        " ".join(word for word in words[:-1] if word.casefold() not in (*_COLOURS, *_SHADES)) + f" {words[-1]}"
        if len(words) > 1
        else thing
    )


def _becomes(thing: str, value: str) -> str:
    """``thing`` after it was changed to ``value``: another colour, another state, or another thing."""
    if _PICTURE.fullmatch(thing):
        return f"the picture is in {value}" if value.casefold().endswith("style") else f"the picture is now {value}"
    if _is_colour(value):
        return f"{_without_colour(thing)} is {value}"
    if thing.casefold().endswith("background"):
        return f"the background is {value}"
    if re.match(r"(?:an?|some|two|three|four|several) ", value, re.IGNORECASE):
        return f"there is {value}"
    return f"{thing} is {value}"


def _placed(thing: str, place: str) -> str:
    words = place.casefold()
    if words.startswith("to "):
        there = place[3:]
        side = re.fullmatch(r"the (?:far |very )?(?:left|right)(?:[- ]hand)?(?: side)?(?: of .*)?", words[3:])
        middle = re.match(r"the (?:exact )?(?:cent(?:er|re)|middle)", words[3:])
        corner = words.endswith("corner")
        return f"{thing} is {'on' if side else 'in' if middle or corner else 'at'} {there}"
    return f"{thing} is {place}"


def _made(match: Match) -> str:
    """``make <thing> <adjective>``, or ``make <thing> <do something>``: where the thing ends, the last words tell."""
    words = match["what"].split()
    last = next((number for number in range(1, len(words)) if _is_colour(" ".join(words[number:]))), None)
    if last is not None and not _PICTURE.fullmatch(" ".join(words[:last])):
        return _becomes(" ".join(words[:last]), " ".join(words[last:]))
    if len(words) > 1 and re.fullmatch(r"\w+(?:er|ier)", words[-1]):
        degree = words[-2].casefold() in {"much", "slightly", "far"}
        return f"{' '.join(words[: -2 if degree else -1])} is {' '.join(words[-2 if degree else -1 :])}"
    # "see" takes an adjective and a verb alike: "we see the man smile", "we see her hair wet".
    return f"we see {match['what']}"


def _rule(pattern: str, describe: Callable[[Match], str]) -> Rule:
    return re.compile(pattern, re.IGNORECASE), describe


_THING: Final = r"(?P<thing>.+?)"
_RULES: Final[tuple[Rule, ...]] = (
    (_BACKGROUND, lambda match: f"the background is {re.sub(r'^an? ', '', match[1], flags=re.IGNORECASE)}"),
    _rule(
        rf"(?:change|set|turn|switch) the colou?r of {_THING} (?:in)?to (?P<value>.+)",
        lambda match: f"{_without_colour(match['thing'])} is {match['value']}",
    ),
    _rule(
        rf"(?:change|set|turn|switch) the (?P<what>\w+) of {_THING} (?:in)?to (?P<value>.+)",
        lambda match: f"the {match['what']} of {match['thing']} is {match['value']}",
    ),
    _rule(
        r"(?:remove|delete|erase|get rid of|take (?:away|out|off)|cut out|clean up) .+",
        # Naming what is gone would ask for it.
        lambda _: "what was there is gone, and its surroundings go on in its place",
    ),
    _rule(
        r"(?:replace|swap|exchange|substitute) .+? (?:with|by|for) (?P<value>.+)",
        lambda match: f"there is {match['value']}",
    ),
    _rule(
        r"(?:add|give|put) (?P<value>.+?) to (?P<thing>(?!the (?:left|right|top|bottom|side)).+)",
        lambda match: f"{match['thing']} has {match['value']}",
    ),
    _rule(
        r"give (?P<thing>him|her|it|them|(?:the|this|that|his|my|their) \S+) (?P<value>.+)",
        lambda match: f"{_SUBJECTS.get(match['thing'].casefold(), match['thing'] + ' has')} {match['value']}",
    ),
    _rule(
        r"(?:(?:add|insert|include|draw)|(?:place|put|paint) (?=an? |some |two |three |several )) ?(?P<value>.+)",
        lambda match: f"there is {match['value']}",
    ),
    _rule(
        rf"(?:move|put|place|shift|bring|slide) {_THING} "
        r"(?P<place>(?:to|on|onto|in|into|at|under|below|above|behind|beside|near|next to|in front of|between) .+)",
        lambda match: _placed(match["thing"], match["place"]),
    ),
    _rule(
        rf"(?:turn|change|transform|convert|make|morph|paint|colou?r|dye|switch|recolou?r) {_THING} "
        r"(?:in)?to (?P<value>.+)",
        lambda match: _becomes(match["thing"], match["value"]),
    ),
    _rule(
        rf"(?:make|turn|change) (?P<thing>(?:the|this|that|his|her|my|their) (?:(?:{'|'.join(_COLOURS)}) )?\S+) "
        r"(?P<value>an? .+)",
        lambda match: _becomes(match["thing"], match["value"]),
    ),
    _rule(
        rf"(?:make|have|let) {_WHOLE} (?:look )?(?P<value>(?:like|as if|as though) .+)",
        lambda match: f"the picture looks {match['value']}",
    ),
    _rule(r"(?:make|paint|colou?r|dye|turn|recolou?r|have|let) (?P<what>\S+ .+)", _made),
)
