"""Flags at the end of a prompt (``--ar 16:9 --seed 7 --no people``), as people who come from Midjourney write them.

https://docs.midjourney.com/hc/en-us/articles/32859204029709-Parameter-List
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from cogs.command_options import CommandOption
from domain.errors import Code, UserError

# Phones turn two hyphens into a dash.
_FLAG: Final = re.compile(r"(?:^|(?<=\s))(?P<dash>--|—|–)(?P<name>[A-Za-z][A-Za-z_-]*)(?=\s|$)")
_SHORT: Final = {
    "ar": "size",
    "aspect": "size",
    "no": "negative_prompt",
    "negative": "negative_prompt",
    "cfg": "guidance",
}
_NO_FLAGS: Final = frozenset({"prompt", "image", "image2", "image3", "link", "job"})


def with_flags(given: Mapping[str, object], options: Sequence[CommandOption]) -> dict[str, object]:
    """What was given, read and checked, with the flags of its prompt taken out and read as well.

    ``options`` are those that can be flags here. Raises UserError: FLAG_UNKNOWN, FLAG_EMPTY, FLAG_CONTRADICTS,
    PROMPT_EMPTY where there are flags alone, and what the options' own readers raise.
    """
    merged = dict(given)
    prompt = given.get("prompt")
    if not isinstance(prompt, str):
        return merged
    known = {option.name: option for option in options if option.name not in _NO_FLAGS}
    known |= {short: known[name] for short, name in _SHORT.items() if name in known}
    # A dash is a flag only where a flag's name follows: it has a life of its own in prose.
    flags = [flag for flag in _FLAG.finditer(prompt) if flag["dash"] == "--" or flag["name"].casefold() in known]
    if not flags:
        return merged
    for flag, end in zip(flags, [*(flag.start() for flag in flags[1:]), len(prompt)], strict=True):
        name = flag["name"].casefold()
        if name not in known:
            raise UserError(Code.FLAG_UNKNOWN, flag=flag["name"][:50], known=", ".join(f"--{one}" for one in known))
        option = known[name]
        text = prompt[flag.end() : end].strip()
        value = option.read(_raw(option, name, text))
        field = option.field or option.name
        if merged.get(field, value) != value:
            raise UserError(Code.FLAG_CONTRADICTS, option=option.name, flag=name)
        merged[field] = value
    words = prompt[: flags[0].start()].strip()
    if not words:
        raise UserError(Code.PROMPT_EMPTY)
    return merged | {"prompt": words}


def _raw(option: CommandOption, name: str, text: str) -> object:
    """The flag's text as Discord would have sent the option's value."""
    if option.annotation is bool:
        return {"": True, "true": True, "yes": True, "false": False, "no": False}.get(text.casefold(), text)
    if not text:
        raise UserError(Code.FLAG_EMPTY, flag=name)
    # Only numbers with a fraction: whole ones are read from text by their option.
    return float(text) if option.name == "guidance" and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) else text
