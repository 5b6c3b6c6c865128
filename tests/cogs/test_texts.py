"""The catalogue of sentences: every code has one, and nothing that came from outside acts in it."""

import pytest

from cogs.ui import texts, words
from domain.errors import Code, OperatorError, UserError
from domain.money import MicroUSD
from domain.quota import Rule, Subject, Unit, Window


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_sentence(code: Code) -> None:
    sentence = texts.sentence(code)
    assert sentence[0].isupper() or sentence[0] in "`“…"
    assert sentence.rstrip()[-1] in ".?…"
    assert "{" not in sentence
    assert len(sentence) < 300


def test_parameters_are_put_in() -> None:
    error = UserError(Code.OPTION_OUT_OF_RANGE, option="seed", value=-1, minimum=0, maximum=2147483647)
    assert texts.of_error(error) == "`seed` must be between 0 and 2147483647; -1 is not."
    error = UserError(Code.PICTURE_TOO_LARGE, size=30 * 2**20, limit=25 * 2**20)
    assert texts.of_error(error) == "The `image` is too large (30.0 MiB); the most is 25.0 MiB. Send a smaller file."


def test_a_quota_refusal_names_the_rule_what_is_used_held_left_and_when_more_comes() -> None:
    error = UserError(
        Code.QUOTA_EXCEEDED,
        rule=3,
        subject="every-member",
        subject_id=0,
        unit="images",
        window="day",
        limit=50,
        used=47,
        held=2,
        left=1,
        wanted=4,
        resets_at=1_700_000_000,
    )
    assert texts.of_error(error) == (
        "That is 4 pictures, and 1 of your 50 pictures a day is left (47 used, 2 held by jobs under way)."
        " This is rule `3` of /quotas list. More <t:1700000000:R>."
    )


def test_what_came_from_outside_is_inert() -> None:
    error = OperatorError(Code.BACKEND_FAILED, backend="worker", reason="@everyone <@1> **x** [a](http://b) `c`\n# d")
    shown = texts.of_error(error)
    for acting in ("@everyone", "<@1>", " **x**", "[a](", "http://", "\n"):
        assert acting not in shown
    assert "`" not in texts.sentence(Code.JOB_UNKNOWN, {"job": "a`b"}).replace("`ab`", "")


def test_the_operator_reads_one_plain_line() -> None:
    error = OperatorError(Code.SETTING_INVALID, setting="EASEL_GUILDS", problem="not a *number*: '_'")
    assert texts.for_operator(error) == "The setting EASEL_GUILDS is wrong: not a *number*: '_'."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red circle", "a red circle"),
        ("two\nlines", "two lines"),
        ("*a* _b_ ~c~ |d| `e`", "\\*a\\* \\_b\\_ \\~c\\~ \\|d\\| \\`e\\`"),
        ("# big", "\\# big"),
        ("> quote", "\\> quote"),
        ("- item", "\\- item"),
        ("@here", "@\u200bhere"),
        ("<@123> <#1> <t:1>", "\\<@\u200b123> \\<#1> \\<t:1>"),
        ("a\u202eb\x00c", "abc"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert words.plain(text) == shown


def test_plain_cuts_before_it_escapes() -> None:
    assert words.plain("*" * 100, 10) == "\\*" * 9 + "…"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "1 s"), (8.4, "8 s"), (89, "89 s"), (120, "2 min"), (7200, "2 h"), (9000, "2.5 h")]
)
def test_durations_are_as_exact_as_an_estimate_deserves(seconds: float, shown: str) -> None:
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        (Rule(1, 1, Subject.GUILD, 1, Unit.IMAGES, Window.DAY, 1), "the whole server: 1 picture a day"),
        (
            Rule(1, 1, Subject.ROLE, 5, Unit.GPU_SECONDS, Window.HOUR, 90_500),
            "each member with <@&5>: 90.5 GPU seconds an hour",
        ),
        (Rule(1, 1, Subject.CHANNEL, 5, Unit.MONEY, Window.MONTH, 1_500_000), "<#5>: $1.50 a month"),
        (Rule(1, 1, Subject.MEMBER, 5, Unit.IMAGES, Window.WEEK, 20), "<@5>: 20 pictures a week"),
    ],
)
def test_rules_in_words(rule: Rule, shown: str) -> None:
    assert words.rule(rule) == shown


def test_prices() -> None:
    assert words.price(MicroUSD(0)) == "free"
    assert words.price(MicroUSD(12_000)) == "$0.012"
