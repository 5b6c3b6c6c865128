"""The options of /quota, /usage and /quotas, and how each is read."""

from collections.abc import Mapping
from typing import Final

from cogs.command_options import (
    CommandOption,
    choice_option,
    flag_option,
    integer_option,
    member_option,
    message_channel_option,
    number_option,
    role_option,
)
from domain.errors import Code, UserError
from domain.quota import Unit, Window

MOST: Final[Mapping[Unit, int]] = {Unit.IMAGES: 1_000_000, Unit.GPU_SECONDS: 100_000_000, Unit.MONEY: 1_000_000}
"""Largest limits, in pictures, seconds and dollars."""
_LARGEST: Final = float(max(MOST.values()))
MOST_JOBS: Final = 1000
DAYS: Final = 30
MAX_DAYS: Final = 365
_UNITS: Final = tuple(Unit)
_WINDOWS: Final = tuple(Window)


def read_rule(value: object) -> int:
    text = str(value).strip().removeprefix("#")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(Code.RULE_UNKNOWN, rule=str(value)[:40])
    return int(text)


UNIT: Final = choice_option("unit", "What is counted; left out: images", _UNITS)
SET: Final = (
    number_option(
        "limit",
        "The most there may be in the window: pictures, GPU seconds or US dollars. 0 forbids",
        0,
        _LARGEST,
        required=True,
    ),
    member_option("member", "For one member alone"),
    role_option("role", "For each member with this role"),
    message_channel_option("channel", "For everybody together in this channel"),
    UNIT,
    choice_option("window", "Over which time; left out: a day", _WINDOWS),
    flag_option("each_member", "True: for each member by themselves. Left out: for the whole server together"),
)
REMOVE: Final = (
    CommandOption("rule", "Which rule, by the number in /quotas list", str, read_rule, True, autocomplete="rule"),
)
GRANT: Final = (
    member_option("member", "Who gets it", required=True),
    number_option("amount", "How much more: pictures, GPU seconds or US dollars", 0, _LARGEST, required=True),
    UNIT,
)


EXEMPT: Final = (
    member_option("member", "Whose own pictures and GPU time are not limited", required=True),
    flag_option("off", "True: their limits hold again"),
)
QUOTA: Final = (member_option("member", "Somebody else's (Manage Server)"),)


CAPS: Final = (
    integer_option(
        "waiting", "Jobs that a member may have waiting or under way here. 0: as the operator has it", 0, MOST_JOBS
    ),
    integer_option("running", "Of these, jobs under way at a time. 0: as the operator has it", 0, MOST_JOBS),
    integer_option("server", "Jobs that may wait in the whole server. 0: as the operator has it", 0, MOST_JOBS),
)
CONFIRM: Final = (
    number_option(
        "above", "In US dollars. 0: before each job that costs. Left out: as the operator has it", 0, MOST[Unit.MONEY]
    ),
)
DAYS_BACK: Final = (integer_option("days", "How many days back; left out: 30", 1, MAX_DAYS),)
USAGE: Final = (
    *DAYS_BACK,
    flag_option("server", "True: the whole server (Manage Server). Left out: all you may see"),
)
