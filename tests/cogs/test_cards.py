"""What a job's messages say, and that the longest legal inputs stay within Discord's limits."""

from dataclasses import replace

import discord
import pytest

from cogs.posting import NONCE_CHARACTERS, nonce
from cogs.ui import album, cards, lists, modals
from cogs.ui.album import Turn
from cogs.ui.buttons import ITEMS, MAX_SEARCH, Book, JobButton
from cogs.ui.details import details
from config.catalogue import Catalogue
from domain.errors import Code
from domain.guild import OUTSIDE, GuildSettings
from domain.job import Card, Failure, Job, JobState, TaskState
from domain.language import Language
from domain.money import MicroUSD
from domain.quota import Rule, Subject, Unit, Usage, Window
from domain.request import InputPicture, Kind
from jobs.album import Family
from jobs.offering import BackendNow, Wait
from jobs.queue import Standing
from tests.cogs.jobs import made

CATALOGUE = Catalogue.load()
LONGEST = "*@<" * 666 + "xx"


def check_limits(embed: discord.Embed, view: discord.ui.View | None) -> None:
    """https://discord.com/developers/docs/resources/message#embed-object-embed-limits and of components."""
    assert embed.description is not None
    assert len(embed.description) <= 4096
    assert len(embed) <= 6000
    assert len(embed.footer.text or "") <= 2048
    for row in view.to_components() if view is not None else []:
        assert len(row["components"]) <= 5
        ids = [button["custom_id"] for button in row["components"]]
        assert len(set(ids)) == len(ids)
        for button in row["components"]:
            assert len(button["custom_id"]) <= 100
            assert len(button.get("label") or "") <= 80
            assert any(item.__discord_ui_compiled_template__.fullmatch(button["custom_id"]) for item in ITEMS)


def test_the_result_says_who_what_and_how() -> None:
    parts = cards.result(made(cost=12_000), CATALOGUE, GuildSettings())
    assert parts.content == "<@30>"
    assert parts.embed.description == (
        "a red circle\n\nSeed 7 · HiDream tiny · 128×96\nworker (the only one that can) · 1.5 s · $0.012"
    )


def test_the_result_leads_to_its_parent() -> None:
    parent = replace(made(), result=Card(20, 99))
    parts = cards.result(made(), CATALOGUE, GuildSettings(), parent)
    assert "https://discord.com/channels/10/20/99" in str(parts.embed.description)


def test_what_did_not_come_is_named_with_what_it_cost() -> None:
    job = made(count=3)
    failed = replace(
        job.tasks[1],
        state=TaskState.FAILED,
        picture=None,
        seconds=None,
        cost=None,
        failure=Failure(Code.CONTENT_FLAGGED),
    )
    job = replace(job, tasks=(job.tasks[0], failed, job.tasks[2]))
    described = str(cards.result(job, CATALOGUE, GuildSettings()).embed.description)
    assert "1 of 3 pictures did not come" in described
    assert "Nothing was charged." in described
    assert "Seed 7, 9" in described


@pytest.mark.parametrize("code", Code)
def test_an_ending_says_what_was_charged(code: Code) -> None:
    job = replace(made(state=JobState.FAILED), failure=Failure(code))
    assert str(cards.ended(job).embed.description).count("Nothing was charged.") == 1
    charged = replace(made(state=JobState.UNKNOWN, cost=12_000), failure=Failure(code))
    assert "Charged: $0.012." in str(cards.ended(charged).embed.description)


@pytest.mark.parametrize(
    ("state", "progress", "shown"),
    [
        (JobState.QUEUED, cards.Progress(), "Waiting…"),
        (JobState.QUEUED, cards.Progress(position=1), "Next in line"),
        (JobState.QUEUED, cards.Progress(1, 8.0), "Next in line · starts in about 8 s"),
        (JobState.QUEUED, cards.Progress(12, 200.0), "12th in line (place 12) · starts in about 3 min"),
        (
            JobState.QUEUED,
            cards.Progress(2, None),
            "Paused: the GPU is being restarted, or can't be reached**\nPlace 2",
        ),
        (JobState.RUNNING, cards.Progress(loading_seconds=40.0), "Model loading, about 40 s on worker"),
        (JobState.RUNNING, cards.Progress(), "Painting on worker… about 3 s"),
        (JobState.SUBMITTING, cards.Progress(), "Painting on worker… about 3 s"),
        (JobState.RUNNING, cards.Progress(step=(0, 7, 28)), "Painting on worker**\n▰▰▰▱▱▱▱▱▱▱▱▱ step 7 of 28"),
    ],
)
def test_the_card_says_where_the_job_is(state: JobState, progress: cards.Progress, shown: str) -> None:
    parts = cards.in_progress(made(state=state), progress, CATALOGUE)
    assert shown in str(parts.embed.description)
    assert parts.view is not None


def test_the_card_says_why_it_is_painted_there_where_that_is_not_what_always_happens() -> None:
    job = replace(made(state=JobState.RUNNING), reason="spilled_over")
    parts = cards.in_progress(job, cards.Progress(), CATALOGUE)
    assert "Painting on worker (what costs nothing is busy)…" in str(parts.embed.description)


def test_a_preview_is_shown_while_it_is_painted() -> None:
    progress = cards.Progress(step=(0, 1, 2), preview="preview.jpg")
    parts = cards.in_progress(made(state=JobState.RUNNING), progress, CATALOGUE)
    assert parts.embed.image.url == "attachment://preview.jpg"


def longest() -> Job:
    return replace(
        made(
            seed=2**31 - 1,
            count=4,
            prompt=LONGEST,
            negative_prompt=LONGEST,
            steps=50,
            guidance=19.5,
            model="a-model-that-has-left-the-catalogue",
        ),
        id="a" * 40,
        reason="others_down",
        failure=Failure(Code.BACKEND_FAILED, {"backend": "worker", "reason": LONGEST}),
        result=Card(2**63, 2**63),
    )


def test_the_longest_inputs_stay_within_discords_limits() -> None:
    job = longest()
    for parts in (
        cards.checking(LONGEST, Language.ENGLISH),
        cards.in_progress(replace(job, state=JobState.QUEUED), cards.Progress(1000, 1e6), CATALOGUE),
        cards.in_progress(replace(job, state=JobState.RUNNING), cards.Progress(step=(3, 50, 50)), CATALOGUE),
        cards.result(job, CATALOGUE, GuildSettings(), job),
        cards.ended(job),
    ):
        check_limits(parts.embed, parts.view)


def test_long_lists_stay_within_discords_limits() -> None:
    job = longest()
    line = [Standing(job.id, 2**63, 2**63, place, 1e6) for place in range(1, 200)]
    wait = {job.id: Wait("worker", "not_while_free_is_busy")}
    backends = [BackendNow("wavespeed", 4, 4, "needs_operator", job.failure, 3600.0)] * 10
    check_limits(lists.queue([job] * 50, line, {job.id: job}, wait, backends), None)
    turn = Turn(Book.HISTORY, 100, more=True, search="*" * MAX_SEARCH)
    check_limits(*album.history([job] * album.PAGE, turn))
    rules = [Rule(2**40, 2**63, Subject.ROLE, 2**63, Unit.GPU_SECONDS, Window.MONTH, 10**11) for _ in range(500)]
    check_limits(lists.rules(rules, 50), None)
    usages = [Usage(rule, 10**11, 10**11, 10**11, None) for rule in rules]
    check_limits(lists.usage(usages), None)


def test_the_longest_details_fit() -> None:
    for embed in details(longest(), CATALOGUE):
        check_limits(embed, None)
        assert all(len(field.value or "") <= 1024 for field in embed.fields)


def test_the_modal_fits() -> None:
    job = replace(longest(), request=longest().request.model_copy(update={"prompt": "x" * 2000}))
    payload = modals.edit_again(job).to_dict()
    assert len(payload["title"]) <= 45
    assert len(payload["custom_id"]) <= 100
    assert modals.edited_job(payload["custom_id"]) == job.id
    assert modals.edited_picture(modals.edit_picture(job, 3).to_dict()["custom_id"]) == (job.id, 3)
    edit = made(kind=Kind.EDIT, source=InputPicture(name="input.png", width=1, height=1))
    assert "instruction" in modals.edit_again(edit).to_dict()["title"]


def test_nonces_fit_and_differ() -> None:
    made_up = {nonce(job_id, purpose) for job_id in ("a", "b") for purpose in ("result", "end")}
    assert len(made_up) == 4
    assert {len(one) for one in made_up} == {NONCE_CHARACTERS}


def test_money_is_summed_over_pictures() -> None:
    assert "$0.036" in str(cards.result(made(count=3, cost=12_000), CATALOGUE, GuildSettings()).embed.description)
    assert made(count=3, cost=12_000).cost == MicroUSD(36_000)


@pytest.mark.parametrize("book", [Book.FAVOURITES, Book.GALLERY])
def test_a_page_of_pictures_stays_within_discords_limits(book: Book) -> None:
    turn = Turn(book, 100, more=True, search="*" * MAX_SEARCH)
    view = album.pictures([longest()] * album.PAGE, turn, shown=True)
    # https://discord.com/developers/docs/components/reference#component-limits
    assert view.content_length() <= 4000
    assert len(list(view.walk_children())) <= 40
    for child in view.walk_children():
        if isinstance(child, discord.ui.MediaGallery):
            assert all(len(item.description or "") <= 1024 for item in child.items)


def test_the_longest_family_stays_within_discords_limits() -> None:
    job = longest()
    ancestors = tuple(replace(job, id=f"{number:040}") for number in range(50))
    descendants = tuple(replace(job, id=f"{number:040}", parent_id=job.id) for number in range(100, 140))
    found = Family(ancestors, job, descendants)
    check_limits(album.family(found, found.members), None)


def test_details_say_at_which_speed_it_was_made() -> None:
    def shown(job: Job) -> str:
        return str(details(job, CATALOGUE)[0].fields[0].value)

    assert "`speed` balanced" in shown(made(speed="balanced"))
    assert "`speed` exact" in shown(made())
    assert "`speed`" not in shown(replace(made(), offer="wavespeed:hidream-i1-dev"))


def offered(job: Job, settings: GuildSettings) -> list[str]:
    """The labels of the buttons under a result."""
    view = cards.result(job, CATALOGUE, settings).view
    assert view is not None
    return [str(child.item.label) for child in view.children if isinstance(child, JobButton)]


def test_what_the_servers_settings_forbid_is_not_offered() -> None:
    dev = replace(made(model="hidream-i1-dev"), offer="worker:hidream-i1-dev")
    redo = "Redo in HiDream-I1-Full"
    assert redo in offered(dev, GuildSettings())
    assert redo in offered(dev, GuildSettings(allowed_models=("hidream-i1-dev", "hidream-i1-full")))
    assert redo not in offered(dev, GuildSettings(allowed_models=("hidream-i1-dev",)))
    # HiDream-O1 is to be had from hosted services alone.
    full = made(model="hidream-i1-full")
    assert "Redo in HiDream-O1-Image" in offered(full, GuildSettings())
    assert "Redo in HiDream-O1-Image" not in offered(full, GuildSettings(allowed_backends=("worker",)))


def test_noise_is_blended_where_the_picture_was_made() -> None:
    two = ["Vary subtly", "Vary strongly"]
    own, hosted = made(), replace(made(model="hidream-i1-dev"), offer="wavespeed:hidream-i1-dev")
    assert offered(own, GuildSettings())[1:3] == two
    assert offered(own, GuildSettings(allowed_backends=("wavespeed",)))[1:3] == ["Vary", "Edit"]
    assert offered(hosted, GuildSettings())[1:3] == ["Vary", "Edit"]


def test_a_result_is_linked_where_it_can_be_found() -> None:
    here, elsewhere = Card(20, 99), Card(21, 98)
    job = replace(made(), result=here)
    assert job.link == "https://discord.com/channels/10/20/99"
    # What could not be posted any more was sent directly.
    assert replace(job, result=elsewhere).link == "https://discord.com/channels/@me/21/98"
    direct = replace(job, place=replace(job.place, guild_id=OUTSIDE))
    assert direct.link == "https://discord.com/channels/@me/20/99"
    visit = replace(direct, request=direct.request.model_copy(update={"visiting": True}))
    assert visit.link is None
    assert replace(visit, result=elsewhere).link == "https://discord.com/channels/@me/21/98"
    assert replace(job, result=None).link is None


def test_a_card_that_can_soon_be_changed_no_more_says_where_the_result_will_be() -> None:
    job = replace(made(), state=JobState.RUNNING)
    shown = cards.in_progress(job, cards.Progress(leaving=True), CATALOGUE)
    assert "direct message to you" in (shown.embed.description or "")


def test_details_show_the_corrected_cost_and_what_was_counted_first() -> None:
    job = made(count=2, cost=12_000)
    [plain] = details(job, CATALOGUE)
    assert str(plain.to_dict()).count("$0.012") == 2
    assert "$0.024" in str(plain.to_dict())
    [corrected] = details(job, CATALOGUE, MicroUSD(5_000))
    assert "$0.005 (corrected; first counted: $0.024)" in str(corrected.to_dict())
    # Which of its pictures it was about, nobody has said.
    assert "$0.012" not in str(corrected.to_dict())
    [nothing] = details(job, CATALOGUE, MicroUSD(0))
    assert "free (corrected; first counted: $0.024)" in str(nothing.to_dict())
