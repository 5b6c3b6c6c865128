"""Every option of a step cache does what it says, told by the blocks that were computed, and leaves nothing behind."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from PIL import Image

from backends.worker.engine import step_cache
from backends.worker.engine.interface import Cancelled
from backends.worker.engine.tea_cache import CURVES, Estimate, Signal
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.variants import VARIANTS
from domain.accelerators import CacheKind, StepCache
from domain.errors import Code, UserError
from tests.worker.conftest import Recorder, body

FB, TEA, DB = "fbCache", "teaCache", "dbCache"
THRESHOLD = {FB: "fbCacheThreshold", TEA: "teaCacheDistance", DB: "dbCacheThreshold"}
SOURCE = Image.linear_gradient("L").resize((48, 32)).convert("RGB")


@dataclass
class Calls:
    """How often each block was computed in each step; the blocks of both stacks one after the other."""

    steps: list[list[int]] = field(default_factory=list)
    batches: set[int] = field(default_factory=set)

    def skipped(self, front: int) -> list[int]:
        """The steps, counted from 0, in which no block behind the front was computed. No step is computed by half."""
        found = []
        for number, counts in enumerate(self.steps):
            assert counts[:front] == [1] * front
            assert counts[front:] in ([0] * (len(counts) - front), [1] * (len(counts) - front))
            if counts[-1] == 0:
                found.append(number)
        return found


@contextmanager
def counting(transformer: Any) -> Iterator[Calls]:
    """Counts what really runs: the hooks are on the blocks themselves."""
    calls = Calls()
    blocks = [*transformer.double_stream_blocks, *transformer.single_stream_blocks]

    def begin(_module: object, _args: object, named: dict[str, torch.Tensor]) -> None:
        calls.steps.append([0] * len(blocks))
        calls.batches.add(len(named["hidden_states"]))

    def counter(place: int) -> Any:
        def count(*_: object) -> None:
            calls.steps[-1][place] += 1

        return count

    hooks = [transformer.register_forward_pre_hook(begin, with_kwargs=True)]
    hooks += [block.block.register_forward_hook(counter(place)) for place, block in enumerate(blocks)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def front(engine: TorchEngine, cache: str, model: str = "tiny") -> int:
    """How many blocks a skipped step still computes."""
    transformer = engine.loaded_model(model).pipeline.transformer
    return {FB: 1, TEA: 0, DB: len(transformer.double_stream_blocks)}[cache]


def skipped(engine: TorchEngine, cache: str, options: Mapping[str, Any], **more: Any) -> list[int]:
    """The steps that a job with this cache skips."""
    job = body(**({"steps": 12} | more), accelerators={cache: True, **options})
    with counting(engine.loaded_model("tiny").pipeline.transformer) as calls:
        engine.make(job, None, Recorder())
    assert len(calls.steps) == job.steps
    return calls.skipped(front(engine, cache))


def pixels(engine: TorchEngine, **given: Any) -> bytes:
    source = SOURCE if given.get("model", "tiny") != "tiny" else None
    return engine.make(body(**({"steps": 8} | given)), source, Recorder()).image.tobytes()


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """To fbCache and dbCache every step looks like the last: what keeps them from skipping are the limits alone."""
    monkeypatch.setattr(step_cache, "relative_change", lambda *_: 0.0)


def greedy(cache: str, **more: Any) -> dict[str, Any]:
    """Options with which everything is skipped that may be."""
    return {cache: True, THRESHOLD[cache]: 1.0, "cacheMaxConsecutiveSteps": 5} | more


# Thresholds.


@pytest.mark.parametrize("cache", [FB, TEA, DB])
@pytest.mark.parametrize(
    "job",
    [
        {"variant": "dev"},
        {"variant": "full", "guidance": 5.0, "negative_prompt": "blue"},
        {"variant": "fast", "width": 96, "height": 64},
        {"model": "tiny-edit", "variant": "e1"},
        {"model": "hidream-e1.1", "variant": "e1.1"},
    ],
    ids=["dev", "guidance", "not-square", "e1", "e1.1"],
)
def test_a_threshold_of_zero_is_the_same_picture_to_the_bit(
    engine: TorchEngine, cache: str, job: dict[str, Any]
) -> None:
    exact = pixels(engine, **job, steps=4)
    assert pixels(engine, **job, steps=4, accelerators={cache: True, THRESHOLD[cache]: 0}) == exact


@pytest.mark.parametrize("cache", [FB, TEA, DB])
@pytest.mark.parametrize("variant", ["dev", "full", "fast"])
def test_a_threshold_of_zero_skips_nothing(engine: TorchEngine, cache: str, variant: str) -> None:
    assert skipped(engine, cache, {THRESHOLD[cache]: 0}, variant=variant) == []


@pytest.mark.parametrize("cache", [FB, TEA, DB])
def test_a_threshold_of_one_skips_all_that_may_be_skipped(engine: TorchEngine, cache: str) -> None:
    # The first step has nothing to reuse; after three skipped ones (the default) one is computed.
    limits = {"dbCacheSkipInterval": 50} if cache == DB else {}
    found = skipped(engine, cache, {THRESHOLD[cache]: 1.0} | limits, variant="full", guidance=0.0, steps=50)
    assert found == [step for step in range(50) if step % 4]


@pytest.mark.parametrize("cache", [FB, TEA, DB])
def test_a_lower_threshold_reuses_less(engine: TorchEngine, cache: str) -> None:
    counts = [
        len(skipped(engine, cache, {THRESHOLD[cache]: threshold}, variant="full", guidance=0.0, steps=50))
        for threshold in (0, 0.05, 0.25, 1.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[2]


@pytest.mark.parametrize("cache", [FB, TEA, DB])
def test_a_cached_picture_is_another_one(engine: TorchEngine, cache: str) -> None:
    assert pixels(engine, accelerators=greedy(cache)) != pixels(engine)


# The window.


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("cache", [FB, TEA, DB])
@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"cacheStartStep": 0, "cacheEndStep": 12}, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
        ({"cacheStartStep": 0, "cacheEndStep": 1}, []),
        ({"cacheStartStep": 11}, [11]),
        ({"cacheStartStep": 4, "cacheEndStep": 7}, [4, 5, 6]),
        ({"cacheEndStep": 3}, [1, 2]),
        ({"cacheStartStepPercentage": 0, "cacheEndStepPercentage": 1}, []),
        ({"cacheStartStepPercentage": 99}, [11]),
        ({"cacheStartStepPercentage": 25, "cacheEndStepPercentage": 50}, [3, 4, 5]),
        ({"cacheEndStepPercentage": 100}, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
    ],
)
def test_nothing_is_skipped_outside_the_window(
    engine: TorchEngine, cache: str, window: dict[str, int], expected: list[int]
) -> None:
    # dbCache's own interval begins with the window and would compute its first step.
    if cache == DB:
        start = window.get("cacheStartStep", 12 * window.get("cacheStartStepPercentage", 0) // 100)
        expected = [step for step in expected if step != start]
    more = {"dbCacheSkipInterval": 100} if cache == DB else {}
    assert skipped(engine, cache, greedy(cache) | window | more) == expected


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("cache", [FB, TEA, DB])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_so_many_steps_are_skipped_in_a_row(engine: TorchEngine, cache: str, most: int) -> None:
    options = greedy(cache) | {"cacheMaxConsecutiveSteps": most}
    if cache == DB:
        options["dbCacheSkipInterval"] = 100
    assert skipped(engine, cache, options) == [step for step in range(12) if step % (most + 1)]


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (1, [1, 3, 5, 7, 9, 11]),
        (2, [1, 2, 4, 5, 7, 8, 10, 11]),
        (5, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
        (1000, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
    ],
)
def test_db_cache_computes_a_step_after_so_many(engine: TorchEngine, interval: int, expected: list[int]) -> None:
    assert skipped(engine, DB, greedy(DB, dbCacheSkipInterval=interval)) == expected


@pytest.mark.usefixtures("alike")
def test_the_interval_is_counted_from_the_window_s_start(engine: TorchEngine) -> None:
    options = greedy(DB, dbCacheSkipInterval=2, cacheStartStep=4, cacheEndStep=10)
    assert skipped(engine, DB, options) == [5, 6, 8, 9]


# Painting and editing.


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("cache", [FB, TEA, DB])
@pytest.mark.parametrize(
    ("job", "batch"),
    [
        ({"variant": "dev"}, 1),
        ({"variant": "full", "guidance": 5.0}, 2),
        ({"model": "tiny-edit", "variant": "e1"}, 1),
        ({"model": "tiny-edit", "variant": "e1", "guidance": 5.0}, 3),
        ({"model": "hidream-e1.1", "variant": "e1.1"}, 3),
    ],
    ids=["dev", "guidance", "e1", "e1-guidance", "e1.1"],
)
def test_all_passes_of_a_step_are_skipped_together(
    engine: TorchEngine, cache: str, job: dict[str, Any], batch: int
) -> None:
    transformer = engine.loaded_model(job.get("model", "tiny")).pipeline.transformer
    options = greedy(cache) | ({"dbCacheSkipInterval": 3} if cache == DB else {"cacheMaxConsecutiveSteps": 3})
    with counting(transformer) as calls:
        pixels(engine, **job, accelerators=options)
    assert calls.batches == {batch}
    assert calls.skipped(front(engine, cache, job.get("model", "tiny"))) == [1, 2, 3, 5, 6, 7]


@pytest.mark.parametrize("kind", CacheKind)
@pytest.mark.parametrize("size", [(16, 16), (12, 8)], ids=["square", "not-square"])
@torch.no_grad()
def test_every_pass_gets_its_own_answer_back(engine: TorchEngine, kind: CacheKind, size: tuple[int, int]) -> None:
    """The same three inputs a second time: no block behind the front is computed, and each answer is the first one."""
    transformer = engine.loaded_model("tiny").pipeline.transformer
    config = transformer.config
    noise = torch.Generator().manual_seed(1)
    inputs = {
        "hidden_states": torch.randn(3, config.in_channels, *size, generator=noise),
        "timesteps": torch.full((3,), 500.0),
        "encoder_hidden_states_t5": torch.randn(3, 8, config.caption_channels[0], generator=noise),
        "encoder_hidden_states_llama3": torch.randn(4, 3, 8, config.caption_channels[1], generator=noise),
        "pooled_embeds": torch.randn(3, config.text_emb_dim, generator=noise),
    }
    cache = StepCache(kind, 1.0, 0, 2, 5, 5 if kind is CacheKind.DUAL_BLOCK else None)
    exact = transformer(**inputs, return_dict=False)[0]
    assert not torch.allclose(exact[0], exact[1], atol=1e-2)
    with counting(transformer) as calls, step_cache.caching(transformer, cache, CURVES["dev"]):
        answers = [transformer(**inputs, return_dict=False)[0] for _ in range(2)]
    assert calls.skipped(front(engine, kind)) == [1]
    assert torch.equal(answers[0], exact)
    torch.testing.assert_close(answers[-1], exact, atol=1e-4, rtol=1e-4)


# TeaCache's distance.


@pytest.mark.parametrize(("distance", "low", "high"), [(0.25, 0.4, 0.55), (0.5, 0.55, 0.7)])
def test_a_distance_means_the_same_on_every_variant(
    engine: TorchEngine, distance: float, low: float, high: float
) -> None:
    for variant in ("dev", "fast", "full"):
        steps = VARIANTS[variant].steps
        limits = {"teaCacheDistance": distance, "cacheMaxConsecutiveSteps": 5}
        share = len(skipped(engine, TEA, limits, variant=variant, steps=steps)) / steps
        assert low <= share <= high, variant


def test_every_variant_has_a_curve_that_stays_above_zero() -> None:
    assert set(CURVES) == set(VARIANTS)
    for curve in CURVES.values():
        assert all(curve(change / 1000) > 0 for change in range(3000))


def test_a_curve_is_the_published_polynomial_where_it_was_fitted() -> None:
    assert CURVES["dev"](0.5) == pytest.approx(
        1.39997273 * 0.5**4 - 4.30130469 * 0.5**3 + 5.01534416 * 0.5**2 - 2.20504164 * 0.5 + 0.93942874
    )
    assert CURVES["full"](0.0) == 0.108053901
    assert CURVES["full"].signal is Signal.TIMESTEP
    assert CURVES["fast"].signal is Signal.PATCHES


def test_an_estimate_counts_in_mean_steps() -> None:
    estimate = Estimate(CURVES["dev"], distance=0.5)
    sizes = []
    value = torch.ones(1)
    estimate.see(value)
    for _ in range(4):
        value = value * 1.5
        estimate.see(value)
        sizes.append(estimate.is_near)
        if not estimate.is_near:
            estimate.start_over()
    assert sizes == [True, True, False, True]


# Nothing is left behind.


@pytest.mark.parametrize("cache", [FB, TEA, DB])
def test_the_transformer_is_afterwards_what_it_was(engine: TorchEngine, cache: str) -> None:
    transformer = engine.loaded_model("tiny").pipeline.transformer
    before = [(name, id(module), len(module._forward_hooks)) for name, module in transformer.named_modules()]
    pixels(engine, accelerators=greedy(cache))
    with pytest.raises(Cancelled):
        engine.make(body(steps=8, accelerators=greedy(cache)), None, Recorder(cancel_at=4))
    after = [(name, id(module), len(module._forward_hooks)) for name, module in transformer.named_modules()]
    assert after == before


def spoiling(engine: TorchEngine, cache: str, what: str) -> None:
    """A job that could leave something behind."""
    options = greedy(cache)
    match what:
        case "another picture":
            pixels(engine, seed=8, prompt="a blue star", accelerators=options)
        case "another size":
            pixels(engine, width=96, height=64, accelerators=options)
        case "other steps":
            pixels(engine, steps=5, accelerators=options)
        case "a batch":
            pixels(engine, variant="full", guidance=5.0, accelerators=options)
        case "an edit":
            pixels(engine, model="hidream-e1.1", variant="e1.1", accelerators=options)
        case "a cancel":
            with pytest.raises(Cancelled):
                engine.make(body(steps=8, accelerators=options), None, Recorder(cancel_at=3))
        case "an error":
            block = engine.loaded_model("tiny").pipeline.transformer.single_stream_blocks[1]
            hook = block.register_forward_pre_hook(_fail)
            try:
                with pytest.raises(RuntimeError, match="broken"):
                    pixels(engine, accelerators=options)
            finally:
                hook.remove()


def _fail(*_: object) -> None:
    raise RuntimeError("broken")


SPOILERS = ["another picture", "another size", "other steps", "a batch", "an edit", "a cancel", "an error"]


@pytest.mark.parametrize("cache", [FB, TEA, DB])
@pytest.mark.parametrize("what", SPOILERS)
def test_no_job_leaks_into_the_next(engine: TorchEngine, cache: str, what: str) -> None:
    job = {"variant": "fast"}
    exact, cached = pixels(engine, **job), pixels(engine, **job, accelerators=greedy(cache))
    spoiling(engine, cache, what)
    assert pixels(engine, **job) == exact
    spoiling(engine, cache, what)
    assert pixels(engine, **job, accelerators=greedy(cache)) == cached


def test_a_preview_changes_nothing(engine: TorchEngine) -> None:
    assert pixels(engine, accelerators=greedy(FB), preview_every=1) == pixels(engine, accelerators=greedy(FB))


@pytest.mark.parametrize("given", [{"cacheEndStep": 9}, {"cacheStartStep": 8}])
def test_a_window_beyond_the_last_step_is_refused_before_anything_runs(
    engine: TorchEngine, given: dict[str, int]
) -> None:
    with counting(engine.loaded_model("tiny").pipeline.transformer) as calls, pytest.raises(UserError) as refused:
        pixels(engine, accelerators=greedy(FB, **given))
    assert refused.value.code is Code.STEPS_TOO_FEW
    assert str(refused.value.parameters["option"]).split()[0] in given
    assert calls.steps == []
