"""Five follow-ups an interaction, as Discord has it."""

from cogs.follow_ups import MOST, TOKEN_SECONDS, FollowUps


def test_the_sixth_is_one_too_many() -> None:
    follow_ups = FollowUps(lambda: 0.0)
    assert [follow_ups.take("token") for _ in range(MOST + 2)] == [True] * 5 + [False] * 2


def test_each_interaction_has_its_own() -> None:
    follow_ups = FollowUps(lambda: 0.0)
    for _ in range(MOST):
        follow_ups.take("one")
    assert not follow_ups.take("one")
    assert follow_ups.take("another")


def test_what_is_over_is_not_remembered() -> None:
    now = 0.0
    follow_ups = FollowUps(lambda: now)
    for number in range(100):
        follow_ups.take(f"token {number}")
    now = TOKEN_SECONDS
    follow_ups.take("a new one")
    assert (len(follow_ups._sent), len(follow_ups._since)) == (1, 1)
