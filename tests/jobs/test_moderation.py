"""What is refused for its words, what is for adults, and what happens when nobody can tell."""

from pathlib import Path

import pytest

from config.blocklist import FILE, BlockList, Use, load_blocklist
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.guild import GuildSettings, NsfwPolicy
from domain.job import Place
from domain.request import ImageRequest, InputPicture, Kind
from domain.safety import Blocked
from jobs.house_rules import gated
from jobs.moderation import ModeratorError, Verdict, WordModerator
from jobs.quotas import Asker
from tests.building import GUILD, House, open_house

MODERATOR = WordModerator(load_blocklist())


def wish(prompt: str, negative: str | None = None) -> ImageRequest:
    return ImageRequest(kind=Kind.IMAGINE, model="local", prompt=prompt, negative_prompt=negative)


async def verdict(prompt: str, negative: str | None = None, blocked: Blocked | None = None) -> Verdict:
    return await MODERATOR.review(wish(prompt, negative), blocked or Blocked())


@pytest.mark.parametrize(
    ("prompt", "negative", "use"),
    [
        ("a n a k e d c h i l d", None, Use.MINORS),
        ("sexy schoolgirl", None, Use.MINORS),
        ("a toddler, erotic art", None, Use.MINORS),
        ("a child at the beach", "clothes", Use.MINORS),
        ("l0li", None, Use.MINORS),
        ("萝莉控", None, Use.MINORS),
        ("undress her", None, Use.NUDITY_WITHOUT_CONSENT),
        ("please remove her clothes", None, Use.NUDITY_WITHOUT_CONSENT),
        ("nudify this photo", None, Use.NUDITY_WITHOUT_CONSENT),
        ("zoophilia", None, Use.ILLEGAL_PORNOGRAPHY),
        ("a banner that says kill yourself", None, Use.HARASSMENT),
        ("a meme to humiliate my classmate", None, Use.HARASSMENT),
        ("fake news photo of a mayor", None, Use.FALSE_INFORMATION),
        ("a forged passport of Bob", None, Use.PERSONAL_DATA),
        ("staged mass shooting", None, Use.DISINFORMATION),
        ("a fox", "child porn", Use.MINORS),
    ],
)
async def test_what_the_models_may_not_be_used_for(prompt: str, negative: str | None, use: Use) -> None:
    refusal = (await verdict(prompt, negative)).refusal
    assert refusal is not None
    assert (refusal.code, refusal.parameters["use"]) == (Code.PROMPT_OUT_OF_SCOPE, use)


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("a child with a red balloon", None),
        ("children playing in a kind village", "nsfw, naked, ugly"),
        ("a baby fox in the snow", None),
        ("a naked mole rat reading a book", None),
        ("a classroom with a teacher", None),
        ("teenage mutant ninja turtles", None),
        ("a passport on a wooden table", None),
        ("the newspaper front page, vintage", None),
        ("Essex and Sussex in spring", None),
        ("nude lipstick on a white shelf", None),
        ("a minor planet", None),
        ("a strip of film", None),
        ("remove the clothes line from the garden", None),
        ("a rapeseed field", None),
        ("ピエロと裸足の子供", None),
    ],
)
async def test_what_is_harmless(prompt: str, negative: str | None) -> None:
    assert await verdict(prompt, negative) == Verdict()


@pytest.mark.parametrize("prompt", ["a nude woman, oil on canvas", "n.a.k.e.d man", "hentai", "pornographic"])
async def test_what_is_for_adults(prompt: str) -> None:
    assert await verdict(prompt) == Verdict(adult=True)


async def test_a_servers_own_words_and_patterns() -> None:
    blocked = Blocked(("red fox", "crypt*"), (r"\bby greg \w+ski\b",))
    for prompt, negative in [("a RED  fox", None), ("cryptocoins", None), ("a boat", "red foxes, red-fox")]:
        refusal = (await verdict(prompt, negative, blocked)).refusal
        assert refusal is not None
        assert refusal.code is Code.WORD_BLOCKED
    refusal = (await verdict("a boat by Greg Rutkowski", None, blocked)).refusal
    assert refusal is not None
    assert refusal.code is Code.PROMPT_BLOCKED
    assert await verdict("a redfox", None, blocked) == Verdict()


def test_every_use_of_the_model_card_is_in_the_list() -> None:
    blocklist = load_blocklist()
    assert {use.key for use in blocklist.uses} == set(Use)
    assert all(use.phrases for use in blocklist.uses if use.key is not Use.AUTOMATED_DECISIONS)


async def test_the_operator_can_add_to_it(tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    file.write_text('[[uses]]\nkey = "harassment"\nphrases = ["zorp"]\n[adult]\nphrases = ["frobnicat*"]\n')
    moderator = WordModerator(load_blocklist(file))
    assert (await moderator.review(wish("z0rp"), Blocked())).refusal is not None
    assert (await moderator.review(wish("frobnicating"), Blocked())).adult
    assert (await moderator.review(wish("loli"), Blocked())).refusal is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("uses = 3", "uses"),
        ("[[uses]]\nkey = 'knitting'", "key"),
        ("[[uses]]\nkey = 'harassment'\nwithout = ['x']", "together"),
        ("[broken", "more.toml"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "more.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(OperatorError, match=problem) as refused:
        load_blocklist(file)
    assert refused.value.parameters["setting"] == "EASEL_BLOCKLIST"


def test_an_empty_list_blocks_nothing() -> None:
    assert FILE.is_file()
    assert BlockList().with_more(BlockList()) == BlockList()


# At the door.


class Broken:
    name = "broken"

    async def review(self, request: ImageRequest, blocked: Blocked) -> Verdict:
        raise ModeratorError("it is down")


async def refusal(house: House, model: str = "local", **options: object) -> EaselError:
    with pytest.raises(EaselError) as refused:
        await house.ask(model, **options)  # type: ignore[arg-type]
    assert await house.queue.line() == []
    return refused.value


async def test_a_refused_prompt_leaves_no_trace(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        error = await refusal(house, prompt="undress her")
        assert isinstance(error, UserError)
        assert error.code is Code.PROMPT_OUT_OF_SCOPE
        assert (await refusal(house, prompt="a boat", negative_prompt="loli")).code is Code.PROMPT_OUT_OF_SCOPE


async def test_nothing_goes_to_a_hosted_service_while_a_moderator_is_broken(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False, moderators=[MODERATOR, Broken()]) as house:
        assert (await refusal(house, "hosted")).code is Code.MODERATION_BROKEN
        # Those that can tell are still heard.
        assert (await refusal(house, "local", prompt="undress her")).code is Code.PROMPT_OUT_OF_SCOPE
        assert (await house.ask("both")).offers == ("worker:both",)
        assert (await house.ask("local")).offers == ("worker:local",)


async def test_pictures_for_adults_need_a_server_that_allows_them_and_a_channel_for_adults(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        assert (await refusal(house, prompt="a nude", age_restricted=True)).code is Code.ADULT_OFF
        await house.administration.change(GUILD, 1, nsfw=NsfwPolicy.AGE_RESTRICTED)
        assert (await refusal(house, prompt="a nude")).code is Code.ADULT_NOT_HERE
        job = await house.ask(prompt="a nude", age_restricted=True)
        assert (job.request.adult, job.request.flagged_allowed, job.request.spoiler) == (True, True, False)
        job = await house.ask(prompt="a boat", age_restricted=True)
        assert (job.request.adult, job.request.flagged_allowed) == (False, True)
        job = await house.ask(prompt="a boat")
        assert (job.request.adult, job.request.flagged_allowed) == (False, False)
        await house.administration.change(GUILD, 1, nsfw=NsfwPolicy.SPOILER)
        job = await house.ask(prompt="a nude", age_restricted=True)
        assert job.request.spoiler


def test_what_comes_from_a_channel_for_adults_stays_in_one() -> None:
    source = InputPicture(name="x.png", width=16, height=16, adult=True)
    request = wish("make it blue").model_copy(update={"source": source})
    place = Place(GUILD, 1, 2)
    with pytest.raises(UserError) as refused:
        gated(GuildSettings(), Asker(place), request, adult=False)
    assert refused.value.code is Code.ADULT_NOT_HERE
    # A picture is not for adults because of where it is: such a channel may have it even where that is off.
    assert gated(GuildSettings(), Asker(place, age_restricted=True), request, adult=False).adult
