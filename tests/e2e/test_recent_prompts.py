"""While a prompt is typed, one's own recent ones are offered, and nobody else's."""

from config.suggestions import suggested_prompts
from sandbox import Sandbox
from tests.e2e.conftest import Bot


async def test_own_recent_prompts_are_offered_newest_first(bot: Bot, sandbox: Sandbox) -> None:
    alice, bob = sandbox.user("alice"), sandbox.user("bob")
    long = "a very long wish " * 10
    for who, prompt in (
        (alice, "a red circle"), (alice, "a blue boat"), (alice, "a red circle"), (alice, long), (bob, "a red secret"),
    ):  # fmt: skip
        await (await who.slash(sandbox.studio, "imagine", prompt=prompt)).response()

    async def offered(typed: str) -> list[object]:
        return [c["value"] for c in await alice.autocomplete(sandbox.studio, "imagine", "prompt", typed)]

    # What does not fit into one of Discord's choices (100 characters) is left out rather than cut.
    suggested = list(suggested_prompts(bot.services.catalogue))
    assert await offered("") == ["a red circle", "a blue boat", *suggested]
    reds = await offered("RED")
    # Enter takes the first: what was typed stays what was typed.
    assert reds[:2] == ["RED", "a red circle"]
    assert "a red secret" not in reds
    assert await offered("a blue boat") == []
    other = sandbox.channel("general", sandbox.furniture.other_guild)
    assert await alice.autocomplete(other, "imagine", "prompt", "boat") == []
