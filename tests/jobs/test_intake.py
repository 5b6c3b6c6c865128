"""The door: who gets in, what is held for them, and that a refusal leaves no trace."""

import asyncio
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backends.base import Health, HealthState
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.job import Answer, JobState, Place
from domain.quota import Subject, Unit, Window
from domain.request import MAX_SEED, ImageRequest, Kind
from jobs.events import QueueMoved
from jobs.quotas import Asker
from tests.building import CHANNEL, GUILD, USER, House, cancelled_at, open_house
from tests.doubles import ScriptedBackend

ASKER = Asker(Place(GUILD, CHANNEL, USER))


class Usage(NamedTuple):
    free: int
    total: int = 1
    used: int = 1


def wish(model: str = "local", **options: Any) -> ImageRequest:
    return ImageRequest.model_validate({"kind": Kind.IMAGINE, "model": model, "prompt": "a fox"} | options)


async def refusal(house: House, request: ImageRequest, asker: Asker = ASKER) -> EaselError:
    """Why the request is refused; and that nothing came of it."""
    waiting = await house.queue.line()
    with pytest.raises(EaselError) as refused:
        await house.intake.submit(request, asker, interaction_id=None)
    assert await house.queue.line() == waiting
    return refused.value


async def test_what_is_taken_in(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        with house.events.listen() as events:
            answer = Answer(1, "token", 2)
            admission = await house.intake.submit(
                wish("both", prompt="  a fox\n", negative_prompt="  ", count=2),
                ASKER,
                interaction_id=5,
                answer=answer,
                parent_id="parent",
            )
            assert await anext(events) == QueueMoved()
        job = admission.job
        # Nothing is up that could take it.
        assert (admission.position, admission.wait_seconds) == (1, None)
        assert (job.state, job.request.prompt, job.request.negative_prompt) == (JobState.QUEUED, "a fox", None)
        assert job.offers == ("worker:both", "wavespeed:both")
        assert (job.place, job.answer, job.parent_id) == (ASKER.place, answer, "parent")
        seed = job.request.seed
        assert seed is not None
        assert [task.seed for task in job.tasks] == [seed, (seed + 1) % (MAX_SEED + 1)]
        # The highest over the offers, until it is known which it will be.
        assert await house.counted(Unit.IMAGES) == (0, 2)
        assert await house.counted(Unit.GPU_SECONDS) == (0, 20_000)
        assert await house.spent() == (0, 20_000)


async def test_places_in_line(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": ScriptedBackend()}, working=False) as house:
        house.fleet._members["worker"].health = Health(HealthState.UP, slots=1)
        admissions = [await house.intake.submit(wish(), ASKER, interaction_id=None) for _ in range(3)]
        assert [(admission.position, admission.wait_seconds) for admission in admissions] == [(1, 0), (2, 10), (3, 20)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompt": " \n\t "}, Code.PROMPT_EMPTY),
        ({"prompt": "x" * 2001}, Code.PROMPT_TOO_LONG),
        ({"negative_prompt": "x" * 2001}, Code.PROMPT_TOO_LONG),
        ({"count": 0}, Code.OPTION_OUT_OF_RANGE),
        ({"count": 5}, Code.OPTION_OUT_OF_RANGE),
        ({"seed": -1}, Code.OPTION_OUT_OF_RANGE),
        ({"seed": MAX_SEED + 1}, Code.OPTION_OUT_OF_RANGE),
        ({"steps": 0}, Code.OPTION_OUT_OF_RANGE),
        ({"steps": 51}, Code.OPTION_OUT_OF_RANGE),
        ({"guidance": 3.0}, Code.NO_OFFER),
        ({"model": "dall-e"}, Code.MODEL_UNKNOWN),
        ({"kind": Kind.EDIT}, Code.MODEL_WRONG_KIND),
    ],
)
async def test_what_is_not_taken_in(tmp_path: Path, change: dict[str, Any], code: Code) -> None:
    async with open_house(tmp_path, working=False) as house:
        # Unchecked: Discord's own checks are not relied on.
        error = await refusal(house, wish().model_copy(update=change))
        assert error.code is code
        assert isinstance(error, UserError)


async def test_the_same_interaction_twice(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_default_daily_images=1) as house:
        outcomes = await asyncio.gather(
            *(house.intake.submit(wish(), ASKER, interaction_id=5) for _ in range(10)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, EaselError)]
        assert len(refused) == 9
        # Not "quota exceeded", which would be puzzling: it is the very same wish.
        assert {error.code for error in refused} == {Code.DUPLICATE}
        assert await house.counted(Unit.IMAGES) == (0, 1)


@pytest.mark.parametrize("at_once", [50, 200])
async def test_many_at_once_at_one_below_the_limit(tmp_path: Path, at_once: int) -> None:
    async with open_house(tmp_path, working=False, easel_default_daily_images=10) as house:
        await house.intake.submit(wish(count=4), ASKER, interaction_id=None)
        await house.intake.submit(wish(count=4), ASKER, interaction_id=None)
        await house.intake.submit(wish(), ASKER, interaction_id=None)
        outcomes = await asyncio.gather(
            *(house.intake.submit(wish(), ASKER, interaction_id=number) for number in range(at_once)),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, EaselError)]
        assert len(refused) == at_once - 1
        assert {error.code for error in refused} == {Code.QUOTA_EXCEEDED}
        assert await house.counted(Unit.IMAGES) == (0, 10)
        assert await house.ledger.check() == []


async def test_a_refusal_names_the_rule_and_when_it_ends(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        rule = await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.IMAGES, Window.DAY, 3, 1)
        await house.intake.submit(wish(count=2), ASKER, interaction_id=None)
        error = await refusal(house, wish(count=2))
        assert error.code is Code.QUOTA_EXCEEDED
        assert dict(error.parameters) == {
            "rule": rule.id,
            "subject": "every-member",
            "subject_id": 0,
            "unit": "images",
            "window": "day",
            "limit": 3,
            "used": 0,
            "held": 2,
            "left": 1,
            "wanted": 2,
            "resets_at": 1773273600,
        }


async def test_a_full_queue(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_max_queued_per_user=2, easel_max_queued=3) as house:
        for user in (1, 1, 2):
            await house.ask(user=user)
        error = await refusal(house, wish(), Asker(Place(GUILD, CHANNEL, 1)))
        assert (error.code, dict(error.parameters)) == (Code.QUEUE_FULL_FOR_USER, {"limit": 2})
        error = await refusal(house, wish(), Asker(Place(GUILD, CHANNEL, 3)))
        assert (error.code, dict(error.parameters)) == (Code.QUEUE_FULL, {"limit": 3})


async def test_the_limit_for_a_member_holds_across_servers(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_max_queued_per_user=1) as house:
        await house.ask(guild=1)
        assert (await refusal(house, wish(), Asker(Place(2, CHANNEL, USER)))).code is Code.QUEUE_FULL_FOR_USER


# Money.


async def test_where_money_is_short_only_the_free_offers_are_left(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_daily_budget_usd="0.015") as house:
        first = await house.ask("both")
        second = await house.ask("both")
        assert first.offers == ("worker:both", "wavespeed:both")
        assert second.offers == ("worker:both",)
        assert await house.spent() == (0, 10_000)
        assert await house.counted(Unit.IMAGES) == (0, 2)


async def test_where_money_is_short_and_nothing_is_free(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_daily_budget_usd="0.015") as house:
        await house.ask("paid")
        error = await refusal(house, wish("paid"))
        assert isinstance(error, OperatorError)
        assert error.code is Code.BUDGET_EXHAUSTED
        assert (error.parameters["limit"], error.parameters["held"], error.parameters["wanted"]) == (
            15_000,
            10_000,
            10_000,
        )


async def test_no_budget_no_paid_picture(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_daily_budget_usd=0) as house:
        assert (await refusal(house, wish("paid"))).code is Code.BUDGET_EXHAUSTED
        assert (await house.ask("both")).offers == ("worker:both",)
        await house.ask("local")


async def test_a_channel_without_paid_models(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.administration.set_rule(GUILD, Subject.CHANNEL, CHANNEL, Unit.MONEY, Window.MONTH, 0, 1)
        assert (await refusal(house, wish("paid"))).code is Code.QUOTA_EXCEEDED
        assert (await house.ask("both")).offers == ("worker:both",)
        assert (await house.ask("both", channel=801)).offers == ("worker:both", "wavespeed:both")


async def test_money_is_short_and_pictures_too(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_daily_budget_usd=0, easel_default_daily_images=1) as house:
        await house.ask("local")
        error = await refusal(house, wish("both"))
        assert (error.code, error.parameters["unit"]) == (Code.QUOTA_EXCEEDED, "images")


async def test_the_highest_price_is_held(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        await house.ask("hosted", count=3)
        assert await house.spent() == (0, 60_000)
        quote = await house.intake.quote(wish("hosted", count=3))
        assert (quote.price, quote.seconds) == (60_000, 30.0)


async def test_backends_stand_in_the_operators_order(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_backends="wavespeed,worker,runware") as house:
        assert (await house.ask("both")).offers == ("wavespeed:both", "worker:both")


# What goes wrong at the door.


async def test_a_full_disk_refuses_before_anything_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_house(tmp_path, working=False) as house:
        monkeypatch.setattr("jobs.pictures.shutil.disk_usage", lambda folder: Usage(free=1024))
        error = await refusal(house, wish())
        assert isinstance(error, OperatorError)
        assert error.code is Code.DISK_FULL
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_a_wish_whose_asker_leaves_is_taken_in_whole_or_not_at_all(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, easel_default_daily_images=1000) as house:
        outcomes = []
        for number in itertools.count(1):
            before = len(await house.queue.line())
            house.dispatcher._wake.clear()
            reached = await cancelled_at(number, house.intake.submit(wish(), ASKER, interaction_id=number))
            # One more write, so that everything before it is done.
            await house.database.boot(0)
            taken = len(await house.queue.line()) - before
            assert taken in (0, 1)
            assert not taken or house.dispatcher._wake.is_set(), "taken in, and nobody told the dispatcher"
            outcomes.append(taken)
            if not reached:
                break
        assert outcomes == sorted(outcomes)
        assert set(outcomes) == {0, 1}
        assert await house.counted(Unit.IMAGES) == (0, sum(outcomes))
        assert await house.ledger.check() == []
