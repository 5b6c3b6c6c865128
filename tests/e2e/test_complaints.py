"""What users of image bots on Discord complain of, most often first, and the test over the wire that answers each.

The list was drawn up from the issue trackers of ten open bots. ``ANSWERS`` names a test for each complaint; those that
have no better home stand below.
"""

import asyncio
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from config.catalogue import Catalogue
from domain.job import JobState
from sandbox import Sandbox
from sandbox.hands import Hands, Invocation
from sandbox.model import Message
from tests.doubles import Accept, Paint, ScriptedBackend, Steps
from tests.e2e.conftest import Bot, bot_with
from tests.e2e.test_bad_input import private_answer

ANSWERS: Final[Mapping[str, tuple[str, ...]]] = {
    "“Unknown interaction”: answered later than three seconds": (
        "test_complaints.test_fifty_commands_at_once_are_all_answered",
        "test_commands.test_a_slow_database_means_a_deferred_answer",
        "test_server_settings.test_a_slow_log_channel_keeps_nobody_waiting",
    ),
    "the token dead after fifteen minutes, the picture made but never posted": (
        "test_delivery.test_a_dead_interaction_token_and_a_new_session_keep_nothing_from_arriving",
        "test_delivery.test_a_job_whose_interaction_died_gets_a_card_of_its_own",
    ),
    "buttons dead after minutes or a restart": (
        "test_main_road.test_buttons_and_an_open_modal_live_through_a_restart",
        "test_album.test_its_pages_are_turned_also_after_a_restart",
        "test_bad_input.test_a_stale_or_forged_button_is_answered",
    ),
    "jobs lost, or run again with a fresh ping at every restart": (
        "test_delivery.test_what_waits_goes_on_after_a_restart",
        "test_delivery.test_several_restarts_leave_one_post_a_job",
        "test_delivery.test_a_post_cut_off_by_a_kill_is_found_and_not_repeated",
    ),
    "Missing Access after the work was done": (
        "test_bad_input.test_missing_permissions_are_named_before_anything_is_queued",
        "test_places.test_a_thread_that_cannot_be_written_in_is_named_before_anything_is_queued",
        "test_delivery.test_a_channel_that_closed_meanwhile_means_a_direct_message",
    ),
    "file too large": (
        "test_album.test_what_is_too_large_for_the_server_is_made_smaller_and_that_is_said",
        "test_album.test_the_original_is_offered_where_it_fits",
        "test_delivery.test_a_file_that_discord_finds_too_large_is_made_smaller",
    ),
    "limits for members, roles and servers": (
        "test_commands.test_quota_and_the_rules_that_admins_set",
        "test_commands.test_rules_for_a_member_a_role_and_a_channel",
    ),
    "money budgets by day and month": (
        "test_complaints.test_a_budget_by_the_month_and_one_by_the_day",
        "test_confirmations.test_a_yes_brings_a_public_card_and_then_the_picture",
    ),
    "one user hogging the queue": ("test_complaints.test_who_asks_for_one_is_not_behind_who_asks_for_five",),
    "pictures for adults in every channel": (
        "test_safety.test_pictures_for_adults_only_where_adults_are",
        "test_safety.test_a_thread_is_as_its_channel_is",
        "test_safety.test_a_channel_that_everybody_may_read_meanwhile_gets_nothing",
        "test_safety.test_what_the_server_allows_no_more_is_withheld",
    ),
    "no cancel while queued or running": (
        "test_commands.test_cancel_takes_back_what_waits_and_what_is_painted",
        "test_waiting.test_a_card_says_that_it_is_paused_and_goes_on_by_itself",
    ),
    "seed and parameters not shown": (
        "test_main_road.test_imagine_answers_with_a_card_and_ends_in_one_result",
        "test_result_buttons.test_details_tell_everything_to_the_presser_alone",
        "test_album.test_the_original_carries_what_it_was_made_with_and_the_posted_one_does_not",
    ),
    "no link to the parent": (
        "test_result_buttons.test_one_picture_of_several_becomes_the_source_of_an_edit",
        "test_album.test_the_family_of_a_picture",
    ),
    "one's own pictures cannot be deleted": (
        "test_result_buttons.test_delete_asks_first_and_then_removes_post_and_files",
        "test_result_buttons.test_only_the_owner_and_who_manages_messages_may_delete",
    ),
    "only one GPU or backend": (
        "test_backends.test_two_jobs_are_painted_at_once_where_there_are_two_backends",
        "test_backends.test_two_gpus_paint_at_once",
        "test_backends.test_a_backend_that_is_down_is_stepped_over",
        "test_backends.test_what_can_be_painted_with",
        "test_backends.test_admins_choose_among_backends",
    ),
    "a backend that hangs silently": (
        "test_complaints.test_a_backend_that_hangs_is_given_up_and_that_is_said",
        "test_waiting.test_a_card_says_that_it_is_paused_and_goes_on_by_itself",
    ),
    "a long prompt that breaks the embed": (
        "test_complaints.test_the_longest_prompt_breaks_nothing",
        "test_compose.test_a_form_with_room_for_two_thousand_characters_also_after_a_restart",
    ),
}


@pytest.mark.parametrize("complaint", ANSWERS)
def test_every_complaint_has_its_test(complaint: str) -> None:
    for name in ANSWERS[complaint]:
        module, _, test = name.partition(".")
        assert callable(getattr(importlib.import_module(f"tests.e2e.{module}"), test, None)), name


async def imagine(who: Hands, sandbox: Sandbox, prompt: str, **options: object) -> Message:
    return await (await who.slash(sandbox.studio, "imagine", prompt=prompt, options=options)).response()


async def test_fifty_commands_at_once_are_all_answered(bot: Bot, sandbox: Sandbox, painter: ScriptedBackend) -> None:
    go_on = asyncio.Event()
    painter.scripts.append([Steps(1), go_on, Paint()])
    people = [sandbox.user(name) for name in ("alice", "bob", "ada")]

    async def ask(number: int) -> Invocation:
        sent = await people[number % 3].slash(sandbox.studio, "queue" if number % 2 else "history")
        # The sandbox, as Discord does, gives up on an interaction after three seconds.
        await sent.acknowledged()
        return sent

    await imagine(people[0], sandbox, "a red circle")
    answered = await asyncio.gather(*(ask(number) for number in range(50)))
    go_on.set()
    result = await bot.result()
    assert result.attachments
    assert all(sent.interaction.response is not None for sent in answered)


async def test_who_asks_for_one_is_not_behind_who_asks_for_five(
    bot: Bot, sandbox: Sandbox, painter: ScriptedBackend
) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    go_on = asyncio.Event()
    painter.scripts.append([Steps(1), go_on, Paint()])
    for number in range(5):
        await imagine(alice, sandbox, f"of many, no {number}")
    await sandbox.wait_until(lambda: bool(painter.calls), what="the first of many to be painted")
    card = await imagine(bob, sandbox, "the only one")
    assert "Next in line" in card.text
    go_on.set()
    jobs = [*await bot.jobs_of(bob.id), *await bot.jobs_of(alice.id)]
    for job in jobs:
        await bot.until(job.id, JobState.POSTED)
    painted = [call.request.prompt for call in painter.calls]
    assert painted.index("the only one") == 1


async def test_a_budget_by_the_month_and_one_by_the_day(sandbox: Sandbox, tmp_path: Path) -> None:
    vendor = ScriptedBackend("wavespeed", (Accept(), Paint()), resumes=True)
    async with bot_with(sandbox, vendor, tmp_path / "data", EASEL_DAILY_BUDGET_USD="0.05") as bot:
        alice, ada = sandbox.user("alice"), sandbox.user("ada")
        await (
            await ada.slash(sandbox.studio, "quotas set", limit=0.03, options={"unit": "money", "window": "month"})
        ).acknowledged()
        await imagine(alice, sandbox, "a fox", model="hidream-i1-full")
        await bot.result()
        refused = await private_answer(
            await alice.slash(sandbox.studio, "imagine", prompt="a fox", options={"model": "hidream-i1-full"})
        )
        assert "$0.03" in refused.text
        assert "month" in refused.text
        other = sandbox.channel("general", sandbox.furniture.other_guild)
        bob = sandbox.user("bob")
        await (await bob.slash(other, "imagine", prompt="a fox", options={"model": "hidream-i1-full"})).response()
        spent = await private_answer(
            await bob.slash(other, "imagine", prompt="a fox", options={"model": "hidream-i1-full"})
        )
        assert "operator's budget" in spent.text


async def test_a_backend_that_hangs_is_given_up_and_that_is_said(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = Catalogue(
        model.model_copy(
            update={"offers": tuple(offer.model_copy(update={"deadline_seconds": 0.3}) for offer in model.offers)}
        )
        for model in Catalogue.load()
    )
    monkeypatch.setattr(Catalogue, "load", lambda: impatient)
    silent = ScriptedBackend(script=(Steps(1), asyncio.Event()))
    async with bot_with(sandbox, silent, tmp_path / "data") as bot:
        alice = sandbox.user("alice")
        card = await imagine(alice, sandbox, "a red circle")
        await sandbox.wait_until(lambda: "took too long" in card.text, what="the end of waiting")
        assert "Nothing was charged" in card.text
        [job] = await bot.jobs_of(alice.id)
        assert job.state is JobState.FAILED


@pytest.mark.parametrize("letter", ["*", "<", "狐", "🦊", "a ", "@everyone ", "](http://x) "])
async def test_the_longest_prompt_breaks_nothing(bot: Bot, sandbox: Sandbox, letter: str) -> None:
    alice = sandbox.user("alice")
    prompt = (letter * 2000)[:2000].strip()
    first = await imagine(alice, sandbox, prompt)
    assert first.buttons
    result = await bot.result()
    assert result.pings.users == {alice.id}
    [job] = await bot.jobs_of(alice.id)
    await bot.until(job.id, JobState.POSTED)
    for name, options in (("history", {}), ("history", {"job": job.id}), ("gallery", {}), ("queue", {})):
        assert (await private_answer(await alice.slash(sandbox.studio, name, options=options))).is_ephemeral
    details = await alice.click(result, "Details")
    await details.acknowledged()
    modal = await (await alice.click(result, "Edit")).modal()
    await alice.submit_modal(modal, {"seed": "1"})
    await bot.result(after=result)
