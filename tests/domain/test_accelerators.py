"""Runware's ``acceleratorOptions``: names, ranges, defaults, and what they ask of each other."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.accelerators import AcceleratorOptions, CacheKind, StepCache
from domain.errors import Code, UserError

EVERYTHING: dict[str, Any] = {
    "cacheStartStep": 2,
    "cacheEndStep": 28,
    "cacheMaxConsecutiveSteps": 4,
    "fbCache": True,
    "fbCacheThreshold": 0.29,
    "teaCache": True,
    "teaCacheDistance": 0.07,
    "dbCache": True,
    "dbCacheThreshold": 0.57,
    "dbCacheSkipInterval": 3,
}


def options(**given: Any) -> AcceleratorOptions:
    return AcceleratorOptions.model_validate(given)


def test_what_was_given_comes_back_in_the_document_s_words() -> None:
    assert options(**EVERYTHING).model_dump(exclude_unset=True) == EVERYTHING


@pytest.mark.parametrize(
    "edge",
    [
        {"cacheStartStep": 0},
        {"cacheEndStep": 1},
        {"cacheStartStepPercentage": 0},
        {"cacheStartStepPercentage": 99},
        {"cacheEndStepPercentage": 1},
        {"cacheEndStepPercentage": 100},
        {"cacheMaxConsecutiveSteps": 1},
        {"cacheMaxConsecutiveSteps": 5},
        {"fbCacheThreshold": 0},
        {"fbCacheThreshold": 0.01},
        {"fbCacheThreshold": 1},
    ],
)
def test_the_ends_of_every_range_are_allowed(edge: dict[str, Any]) -> None:
    assert options(fbCache=True, **edge).problem_for_worker() is None


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"cacheStartStep": 5, "cacheEndStep": 5}, ["cacheStartStep", "cacheEndStep"]),
        (
            {"cacheStartStepPercentage": 50, "cacheEndStepPercentage": 40},
            ["cacheStartStepPercentage", "cacheEndStepPercentage"],
        ),
        ({"cacheStartStep": 1, "cacheStartStepPercentage": 1}, ["cacheStartStep", "cacheStartStepPercentage"]),
        ({"cacheEndStep": 1, "cacheEndStepPercentage": 1}, ["cacheEndStep", "cacheEndStepPercentage"]),
        ({"cacheStartStep": 1, "cacheEndStepPercentage": 50}, ["cacheStartStep", "cacheEndStepPercentage"]),
        ({"cacheStartStep": -1}, ["cacheStartStep"]),
        ({"cacheStartStep": 1.0}, ["cacheStartStep"]),
        ({"cacheEndStep": 0}, ["cacheEndStep"]),
        ({"cacheStartStepPercentage": 100}, ["cacheStartStepPercentage"]),
        ({"cacheEndStepPercentage": 0}, ["cacheEndStepPercentage"]),
        ({"cacheEndStepPercentage": 101}, ["cacheEndStepPercentage"]),
        ({"cacheMaxConsecutiveSteps": 0}, ["cacheMaxConsecutiveSteps"]),
        ({"cacheMaxConsecutiveSteps": 6}, ["cacheMaxConsecutiveSteps"]),
        ({"fbCache": 1}, ["fbCache"]),
        ({"fbCache": True, "fbCacheThreshold": 1.01}, ["fbCacheThreshold"]),
        ({"fbCache": True, "fbCacheThreshold": -0.01}, ["fbCacheThreshold"]),
        ({"fbCacheThreshold": 0.3}, ["fbCacheThreshold", "fbCache"]),
        ({"teaCache": True, "teaCacheDistance": 0.005}, ["teaCacheDistance"]),
        ({"teaCache": True, "teaCacheDistance": float("nan")}, ["teaCacheDistance"]),
        ({"teaCacheDistance": 0.5}, ["teaCacheDistance", "teaCache"]),
        ({"dbCache": True, "dbCacheThreshold": "0.5"}, ["dbCacheThreshold"]),
        ({"dbCache": True, "dbCacheSkipInterval": 0}, ["dbCacheSkipInterval"]),
        ({"dbCacheSkipInterval": 5}, ["dbCacheSkipInterval", "dbCache"]),
        ({"warpCache": True}, ["warpCache"]),
        ({"fb_cache": True}, ["fb_cache"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(broken: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        options(**broken)
    for name in named:
        assert name in str(refused.value)


def test_the_worker_runs_one_cache_at_a_time() -> None:
    assert options().problem_for_worker() is None
    two = options(fbCache=True, dbCache=True).problem_for_worker()
    assert two is not None
    assert two.startswith("fbCache and dbCache exclude each other")


def test_a_window_without_a_cache_is_a_mistake_at_the_worker() -> None:
    assert str(options(cacheStartStep=3).problem_for_worker()).startswith("cacheStartStep is set")


def test_defaults_are_the_document_s() -> None:
    assert options(fbCache=True).step_cache(28) == StepCache(CacheKind.FIRST_BLOCK, 0.25, 0, 28, 3)
    assert options(teaCache=True).step_cache(28) == StepCache(CacheKind.TEA, 0.5, 0, 28, 3)
    assert options(dbCache=True).step_cache(28) == StepCache(CacheKind.DUAL_BLOCK, 0.25, 0, 28, 3, skip_interval=5)
    assert options().step_cache(28) is None


def test_a_threshold_of_zero_is_not_the_default() -> None:
    assert options(fbCache=True, fbCacheThreshold=0).step_cache(28) == StepCache(CacheKind.FIRST_BLOCK, 0, 0, 28, 3)


@pytest.mark.parametrize(
    ("given", "steps", "window"),
    [
        ({"cacheStartStep": 0, "cacheEndStep": 28}, 28, (0, 28)),
        ({"cacheStartStep": 27}, 28, (27, 28)),
        ({"cacheEndStep": 1}, 28, (0, 1)),
        ({"cacheStartStepPercentage": 4, "cacheEndStepPercentage": 40}, 28, (1, 11)),
        ({"cacheStartStepPercentage": 0, "cacheEndStepPercentage": 100}, 50, (0, 50)),
        ({"cacheStartStepPercentage": 99}, 50, (49, 50)),
        ({"cacheEndStepPercentage": 1}, 50, (0, 0)),
    ],
)
def test_percentages_become_steps(given: dict[str, int], steps: int, window: tuple[int, int]) -> None:
    cache = options(teaCache=True, **given).step_cache(steps)
    assert cache is not None
    assert (cache.start, cache.end) == window


@pytest.mark.parametrize(
    ("given", "steps", "option", "minimum"),
    [
        ({"cacheEndStep": 28}, 27, "cacheEndStep 28", 28),
        ({"cacheStartStep": 20}, 20, "cacheStartStep 20", 21),
        ({}, 1, "dbCache", 2),
        ({"cacheEndStepPercentage": 50}, 1, "dbCache", 2),
    ],
)
def test_a_run_that_is_too_short_is_refused_by_the_option_s_name(
    given: dict[str, int], steps: int, option: str, minimum: int
) -> None:
    short = options(dbCache=True, **given)
    with pytest.raises(UserError) as refused:
        short.step_cache(steps)
    assert refused.value.code is Code.STEPS_TOO_FEW
    assert refused.value.parameters == {"option": option, "steps": steps, "minimum": minimum}
    short.check_steps(minimum)
