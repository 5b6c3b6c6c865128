"""An accelerated transformer answers what diffusers' answers, and reads nothing back on its way."""

from typing import Any

import pytest
import torch
from diffusers import HiDreamImageTransformer2DModel

from backends.worker.acceleration.accelerate import Hardware, Means, accelerate, means
from backends.worker.acceleration.attention import PackedAttention
from backends.worker.engine.step_cache import caching
from backends.worker.engine.tea_cache import CURVES
from config.settings import LocalSpeed
from domain.accelerators import CacheKind, StepCache
from tests.worker.acceleration.small import build_transformer, difference, inputs, predict

SIZES = [(16, 16), (8, 8), (8, 16), (16, 4)]
GROUPED = Means(grouped=True)
FLOAT8 = Means(grouped=True, float8=True)


@pytest.fixture
def transformer() -> HiDreamImageTransformer2DModel:
    return build_transformer()


class TestMeans:
    def test_plain_changes_nothing(self) -> None:
        assert means(LocalSpeed.PLAIN, Hardware(True, (9, 0), True)) == Means()

    def test_a_hopper_gpu_gets_everything_that_leaves_pictures_the_same(self) -> None:
        assert means(LocalSpeed.AUTO, Hardware(True, (9, 0), True)) == Means(grouped=True, compiled=True, graphs=True)

    def test_8_bits_are_used_when_asked_for(self) -> None:
        assert means(LocalSpeed.FP8, Hardware(True, (10, 0), True)) == Means(
            grouped=True, float8=True, compiled=True, graphs=True
        )

    @pytest.mark.parametrize(
        ("hardware", "lacking"),
        [
            (Hardware(is_gpu=False), "a GPU"),
            (Hardware(True, (8, 9), True), "capability 9.0"),
        ],
    )
    def test_a_lesser_machine_stays_with_diffusers_and_says_what_it_lacks(
        self, hardware: Hardware, lacking: str
    ) -> None:
        chosen = means(LocalSpeed.AUTO, hardware)
        assert (chosen.grouped, chosen.float8, chosen.compiled) == (False, False, False)
        assert chosen.lacking is not None
        assert lacking in chosen.lacking

    def test_without_a_compiler_the_rest_is_still_had(self) -> None:
        chosen = means(LocalSpeed.AUTO, Hardware(True, (9, 0), has_compiler=False))
        assert chosen.grouped
        assert not chosen.compiled
        assert chosen.lacking is not None
        assert "Triton" in chosen.lacking

    def test_a_cpu_is_no_gpu(self) -> None:
        assert Hardware.of(torch.device("cpu")) == Hardware(is_gpu=False)


class TestEquality:
    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_the_answer_is_diffusers_own_within_rounding(self, height: int, width: int, batch: int) -> None:
        transformer = build_transformer(torch.float32)
        given = inputs(height, width, batch, torch.float32)
        expected = predict(transformer, **given)
        accelerate(transformer, GROUPED)
        assert difference(predict(transformer, **given), expected) < 1e-6

    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_in_bf16_it_is_as_near_to_the_truth_as_diffusers_own(self, height: int, width: int) -> None:
        transformer = build_transformer(torch.bfloat16)
        given = inputs(height, width, 2, torch.bfloat16)
        exact_weights = build_transformer(torch.float32)
        exact_weights.load_state_dict(transformer.state_dict())
        truth = predict(
            exact_weights,
            **{name: value.float() if isinstance(value, torch.Tensor) else value for name, value in given.items()},
        )
        theirs = difference(predict(transformer, **given), truth)
        accelerate(transformer, GROUPED)
        assert difference(predict(transformer, **given), truth) < 1.1 * theirs

    def test_undone_it_is_diffusers_own_again(self, transformer: HiDreamImageTransformer2DModel) -> None:
        kinds = [type(part) for part in transformer.modules()]
        expected = predict(transformer, **inputs())
        done = accelerate(transformer, GROUPED)
        assert any(isinstance(part, PackedAttention) for part in transformer.modules())
        done.undo()
        assert [type(part) for part in transformer.modules()] == kinds
        assert "patchify" not in vars(transformer)
        assert torch.equal(predict(transformer, **inputs()), expected)

    def test_weights_keep_their_names(self, transformer: HiDreamImageTransformer2DModel) -> None:
        names = set(transformer.state_dict())
        accelerate(transformer, GROUPED)
        assert set(transformer.state_dict()) == names

    def test_moved_elsewhere_weights_are_still_held_once(self, transformer: HiDreamImageTransformer2DModel) -> None:
        """A part that waits in main memory and comes back; here by way of another type, which moves it alike."""
        accelerate(transformer, GROUPED)
        blocks = torch.nn.ModuleList([transformer.double_stream_blocks, transformer.single_stream_blocks])
        before = predict(transformer, **inputs())
        blocks.float()
        blocks.bfloat16()
        assert torch.equal(predict(transformer, **inputs()), before)
        for outer in (transformer.double_stream_blocks[0], transformer.single_stream_blocks[1]):
            block = outer.block
            held = {
                tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
                for part in (block.attn1, block.ff_i)
                for tensor in (*part.parameters(), *part.buffers())
            }
            own = sum(parameter.nbytes for part in (block.attn1, block.ff_i) for parameter in part.parameters())
            assert sum(held.values()) == own

    def test_in_8_bits_the_answer_is_near(self, transformer: HiDreamImageTransformer2DModel) -> None:
        expected = predict(transformer, **inputs())
        accelerate(transformer, FLOAT8)
        found = difference(predict(transformer, **inputs()), expected)
        assert 0 < found < 0.02

    def test_in_8_bits_nobody_keeps_the_large_weights(self, transformer: HiDreamImageTransformer2DModel) -> None:
        blocks = (*transformer.double_stream_blocks, *transformer.single_stream_blocks)

        def held() -> int:
            parts = {
                tensor.data_ptr(): tensor.nbytes
                for block in blocks
                for tensor in (*block.parameters(), *block.buffers())
                if tensor.ndim > 1 and "adaLN" not in str(tensor)
            }
            return sum(parts.values())

        before = held()
        accelerate(transformer, FLOAT8)
        assert held() < 0.7 * before  # modulation stays in bf16, scales come on top


@pytest.mark.parametrize("chosen", [GROUPED, FLOAT8], ids=["bf16", "fp8"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_nothing_is_read_back(chosen: Means, height: int, width: int) -> None:
    """Tensors on the device "meta" have shapes and no numbers: whatever looks at a number fails."""
    transformer = build_transformer(device="meta")
    accelerate(transformer, chosen)
    answer = predict(transformer, **inputs(height, width, 2, device="meta"))
    assert answer.shape == (2, 4, height, width)


def test_diffusers_own_does_read_back() -> None:
    """What the test above would say of diffusers' own transformer."""
    with pytest.raises(NotImplementedError, match="bincount"):
        predict(build_transformer(device="meta"), **inputs(device="meta"))


class Kernels:
    """Stands for the compiler: counts what it is given, and computes it as it is."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, graph: Any, example: object) -> Any:
        self.made += 1
        return graph.forward


class TestCompiled:
    @pytest.fixture(autouse=True)
    def _fresh(self) -> Any:
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    def test_each_kind_of_block_is_compiled_once_for_all_blocks(
        self, transformer: HiDreamImageTransformer2DModel
    ) -> None:
        kernels = Kernels()
        expected = predict(transformer, **inputs())
        accelerate(transformer, Means(grouped=True, compiled=True), kernels)
        assert difference(predict(transformer, **inputs()), expected) < 0.01
        assert kernels.made == 2

    def test_after_two_sizes_no_size_is_compiled_for(self, transformer: HiDreamImageTransformer2DModel) -> None:
        kernels = Kernels()
        accelerate(transformer, Means(grouped=True, compiled=True), kernels)
        for side in (16, 8):
            predict(transformer, **inputs(side, side))
        known = kernels.made
        for side in (12, 10, 6, 14, 16, 4):
            predict(transformer, **inputs(side, side))
        assert kernels.made == known

    def test_all_sizes_that_are_no_squares_share_one(self, transformer: HiDreamImageTransformer2DModel) -> None:
        kernels = Kernels()
        accelerate(transformer, Means(grouped=True, compiled=True), kernels)
        predict(transformer, **inputs(8, 16))
        known = kernels.made
        for size in ((16, 8), (4, 16), (12, 14)):
            predict(transformer, **inputs(*size))
        assert kernels.made == known

    def test_a_step_cache_skips_compiled_blocks_too(self, transformer: HiDreamImageTransformer2DModel) -> None:
        """First Block Cache with a threshold that everything is below: only the first block of each later step."""
        kernels = Kernels()
        accelerate(transformer, Means(grouped=True, compiled=True), kernels)
        first = predict(transformer, **inputs())
        known = kernels.made
        blocks = (*transformer.double_stream_blocks, *transformer.single_stream_blocks)
        computed: list[int] = []
        for place, block in enumerate(blocks):
            block.register_forward_hook(lambda *_, place=place: computed.append(place))
        cache = StepCache(CacheKind.FIRST_BLOCK, float("inf"), start=0, end=3, max_consecutive=5)
        with caching(transformer, cache, CURVES["dev"]):
            answers = [predict(transformer, **inputs()) for _ in range(3)]
        assert computed == [0, 1, 2, 3, 0, 0]
        assert all(difference(answer, first) < 0.01 for answer in answers)
        assert kernels.made == known

    def test_undone_nothing_is_compiled(self, transformer: HiDreamImageTransformer2DModel) -> None:
        kernels = Kernels()
        accelerate(transformer, Means(grouped=True, compiled=True), kernels).undo()
        predict(transformer, **inputs())
        assert kernels.made == 0
