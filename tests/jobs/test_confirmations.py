"""What costs more than may go unasked waits for its person's yes, and holds nothing until then."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Code, EaselError, UserError
from domain.job import Place
from domain.money import MicroUSD
from domain.quota import Subject, Unit, Window
from domain.request import ImageRequest, Kind
from jobs.confirmations import MOST_A_MEMBER, WAITS_SECONDS, ConfirmationNeeded, Question
from jobs.quotas import Asker
from tests.building import CATALOGUE, CHANNEL, GUILD, USER, Clock, House, model, offer, open_house

PLACE = Place(GUILD, CHANNEL, USER)
ASKER = Asker(PLACE)


async def question(house: House, name: str = "paid", **more: Any) -> Question:
    """What the person is asked; nothing is queued or held by it."""
    with pytest.raises(ConfirmationNeeded) as asked:
        await house.ask(name, **more)
    assert await house.queue.line() == []
    assert await house.spent() == (0, 0)
    return asked.value.question


async def confirm(house: House, wish_id: str, asker: Asker = ASKER, interaction_id: int = 1) -> str:
    return (await house.intake.confirm(wish_id, asker, interaction_id=interaction_id)).job.id


@pytest.mark.parametrize(
    ("above", "name", "count", "asked"),
    [
        ("0.05", "paid", 4, False),
        ("0.04", "paid", 4, False),
        ("0.039", "paid", 4, True),
        ("0", "paid", 1, True),
        ("0", "local", 4, False),
        # It may run on the own GPU; it might also cost money.
        ("0", "both", 1, True),
        ("0.05", "hosted", 3, True),
    ],
)
async def test_who_is_asked(tmp_path: Path, above: str, name: str, count: int, asked: bool) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=above) as house:
        if asked:
            await question(house, name, count=count)
        else:
            await house.ask(name, count=count)


async def test_a_server_asks_sooner_than_the_operator_and_never_later(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd="0.02") as house:
        for own, asked in ((5_000, True), (10_000, False), (10_000_000, False)):
            async with house.database.transaction() as tx:
                settings = await house.guilds.settings(tx, GUILD)
                await house.guilds.set_settings(tx, GUILD, replace(settings, confirm_above=own))
            if asked:
                await question(house)
            else:
                await house.ask("paid")
        with pytest.raises(ConfirmationNeeded):
            await house.ask("paid", count=3)


async def test_a_yes_reserves_and_queues_what_was_asked_for(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house, count=2, prompt="  a fox", seed=9)
        assert (asked.price, asked.purse) == (20_000, None)
        job = await house.job(await confirm(house, asked.id))
        assert (job.request.prompt, job.request.seed, job.request.count) == ("a fox", 9, 2)
        assert job.place == PLACE
        assert await house.spent() == (0, 20_000)


async def test_a_seed_that_was_drawn_is_kept(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house, seed=None)
        wish = await house.confirmations.find(asked.id, PLACE)
        assert wish.request.seed is not None
        assert (await house.job(await confirm(house, asked.id))).request.seed == wish.request.seed


async def test_the_purse_is_the_rule_that_leaves_least(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd="0.01") as house:
        await house.administration.set_rule(GUILD, Subject.GUILD, GUILD, Unit.MONEY, Window.MONTH, 4_210_000, 1)
        await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.MONEY, Window.DAY, 9_000_000, 1)
        await house.ask("paid", user=USER + 1)
        with pytest.raises(ConfirmationNeeded) as asked:
            await house.ask("paid", count=2)
        purse = asked.value.question.purse
        assert purse is not None
        assert (purse.rule.subject, purse.rule.window, purse.left) == (Subject.GUILD, Window.MONTH, 4_200_000)


async def test_two_clicks_at_once_are_one_job(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house)
        outcomes = await asyncio.gather(
            *(confirm(house, asked.id, interaction_id=number) for number in range(20)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, EaselError)]
        assert len(refused) == 19
        assert {error.code for error in refused} <= {Code.DUPLICATE, Code.CONFIRMATION_GONE}
        assert len(await house.queue.line()) == 1
        assert await house.spent() == (0, 10_000)


async def test_the_answer_meets_every_check_anew_and_the_question_stands(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house)
        rule = await house.administration.set_rule(GUILD, Subject.GUILD, GUILD, Unit.MONEY, Window.DAY, 5_000, 1)
        with pytest.raises(UserError) as refused:
            await confirm(house, asked.id)
        assert (refused.value.code, refused.value.parameters["rule"]) == (Code.QUOTA_EXCEEDED, rule.id)
        assert await house.spent() == (0, 0)
        await house.administration.remove_rule(GUILD, rule.id, 1)
        await confirm(house, asked.id)


@pytest.mark.parametrize(
    "place", [Place(GUILD, CHANNEL, USER + 1), Place(GUILD + 1, CHANNEL, USER), Place(GUILD, CHANNEL + 1, USER)]
)
async def test_nobody_else_and_nowhere_else(tmp_path: Path, place: Place) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house)
        for answer in (confirm(house, asked.id, Asker(place)), house.confirmations.decline(asked.id, place)):
            with pytest.raises(UserError) as refused:
                await answer
            assert refused.value.code is Code.CONFIRMATION_GONE
        await confirm(house, asked.id)


async def test_a_question_outlives_a_restart_but_not_its_time(tmp_path: Path, clock: Clock) -> None:
    async with open_house(tmp_path, clock=clock, working=False, easel_confirm_above_usd=0) as house:
        early, late = await question(house), await question(house)
    clock.advance(WAITS_SECONDS)
    async with open_house(tmp_path, clock=clock, working=False, easel_confirm_above_usd=0) as house:
        await confirm(house, early.id)
        clock.advance(1)
        with pytest.raises(UserError) as refused:
            await confirm(house, late.id)
        assert refused.value.code is Code.CONFIRMATION_GONE


async def test_a_no_is_the_end_of_it(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house)
        await house.confirmations.decline(asked.id, PLACE)
        with pytest.raises(UserError):
            await confirm(house, asked.id)
        assert await house.queue.line() == []


async def test_a_price_that_rose_meanwhile_is_asked_about_again(tmp_path: Path) -> None:
    dearer = [each for each in CATALOGUE if each.key != "paid"] + [model("paid", offer("wavespeed", "0.03"))]
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0) as house:
        asked = await question(house)
    async with open_house(
        tmp_path, working=False, easel_confirm_above_usd=0, catalogue=type(CATALOGUE)(dearer)
    ) as house:
        with pytest.raises(ConfirmationNeeded) as again:
            await confirm(house, asked.id)
        assert again.value.question.price == MicroUSD(30_000)
        await confirm(house, again.value.question.id, interaction_id=2)
        assert await house.spent() == (0, 30_000)


async def test_a_question_is_put_only_for_what_would_be_taken_in(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_confirm_above_usd=0, easel_daily_budget_usd=0) as house:
        with pytest.raises(EaselError) as refused:
            await house.ask("paid")
        assert refused.value.code is Code.BUDGET_EXHAUSTED
        # What is free all the same needs no yes.
        assert (await house.ask("both")).offers == ("worker:both",)


async def test_questions_do_not_pile_up(tmp_path: Path, clock: Clock) -> None:
    async def kept(house: House) -> int:
        async with house.database.reading() as reader:
            (row,) = await reader.execute_fetchall("SELECT count(*) FROM confirmations")
            return int(row[0])

    async with open_house(tmp_path, clock=clock, working=False, easel_confirm_above_usd=0) as house:
        request = ImageRequest(kind=Kind.IMAGINE, model="paid", prompt="p")
        for _ in range(MOST_A_MEMBER + 5):
            clock.advance(1)
            with pytest.raises(ConfirmationNeeded):
                await house.intake.submit(request, ASKER, interaction_id=None)
        assert await kept(house) == MOST_A_MEMBER
        clock.advance(WAITS_SECONDS + 1)
        with pytest.raises(ConfirmationNeeded):
            await house.ask("paid", user=USER + 1)
        assert await kept(house) == 1
