"""Memory modes: a pure choice from sizes, parts that come and go, and the same pictures wherever they wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backends.worker.engine.loading import LoadedModel
from backends.worker.engine.placement import parts_of, place
from backends.worker.engine.residency import Residency
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.files import parameters_in
from backends.worker.loras import LoraFolder
from backends.worker.memory import LARGEST_FIRST, WORKING_BYTES, Parts, choose_mode, needed_bytes, weights_budget
from backends.worker.variants import VARIANTS, LocalModel, local_models
from config.settings import LocalMemory
from domain.errors import Code, OperatorError
from tests.worker.conftest import LORAS, TINY_I1, Recorder, body
from tests.worker.test_editing import edit, gradient

FULL, OFFLOAD, FP8, NF4 = LARGEST_FIRST
GIB = 1 << 30
I1 = Parts(large=(17_100_000_000, 8_030_000_000, 4_760_000_000), small=900_000_000)
"""HiDream-I1 with its encoders."""
I1_AND_E1 = Parts(large=(17_100_000_000, *I1.large), small=I1.small)


@pytest.mark.parametrize(
    ("card", "free_gib", "parts", "mode"),
    [
        ("H200", 138, I1_AND_E1, FULL),
        ("H100 or A100 with 80 GB", 78, I1, FULL),
        ("H100 or A100 with 80 GB", 78, I1_AND_E1, OFFLOAD),
        ("L40S", 44, I1, OFFLOAD),
        ("RTX 5090", 31, I1, FP8),
        ("RTX 4090", 23.5, I1, NF4),
        ("RTX 4080", 15.5, I1, NF4),
        ("too small for any", 7, I1, NF4),
    ],
)
def test_the_first_mode_that_fits_is_taken(card: str, free_gib: float, parts: Parts, mode: LocalMemory) -> None:
    assert choose_mode(LocalMemory.AUTO, int(free_gib * GIB), parts, LARGEST_FIRST) is mode


def test_a_mode_whose_library_is_missing_is_not_taken() -> None:
    assert choose_mode(LocalMemory.AUTO, 23 * GIB, I1, (FULL, OFFLOAD, FP8)) is FP8


@pytest.mark.parametrize("wanted", LARGEST_FIRST)
def test_the_operator_s_word_counts(wanted: LocalMemory) -> None:
    assert choose_mode(wanted, GIB, I1, LARGEST_FIRST) is wanted


def test_without_a_gpu_nothing_needs_to_be_small() -> None:
    assert choose_mode(LocalMemory.AUTO, None, I1, LARGEST_FIRST) is FULL


def test_each_mode_needs_less_than_the_one_before() -> None:
    needs = [needed_bytes(mode, I1_AND_E1) for mode in LARGEST_FIRST]
    assert needs == sorted(needs, reverse=True)
    assert needs[-1] > WORKING_BYTES


def test_what_may_be_on_the_gpu_at_a_time() -> None:
    assert weights_budget(FULL, 100 * GIB, 2 * GIB) is None
    assert weights_budget(OFFLOAD, 48 * GIB, 2 * GIB) == 40 * GIB
    assert weights_budget(FP8, 4 * GIB, 2 * GIB) == 0
    assert weights_budget(OFFLOAD, None, 0) == 0


class Part(torch.nn.Module):
    """A part of so many bytes that tells where it is sent."""

    def __init__(self, name: str, size: int, moves: list[str]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(size, dtype=torch.uint8), requires_grad=False)
        self.name, self.moves = name, moves

    def to(self, device: torch.device) -> "Part":  # type: ignore[override]
        self.moves.append(f"{self.name} {'waits' if device.type == 'cpu' else 'comes'}")
        return self

    def forward(self) -> None:
        self.moves.append(self.name)


def residency(budget: int | None, *sizes: int) -> tuple[Residency, list[Part], list[str]]:
    moves: list[str] = []
    kept = Residency(torch.device("meta"), budget)
    parts = [Part(name, size, moves) for name, size in zip("abcdef", sizes, strict=False)]
    for part in parts:
        kept.add(part)
    return kept, parts, moves


def test_where_there_is_room_nothing_ever_leaves() -> None:
    kept, (a, b), moves = residency(None, 5, 5)
    for part in (a, b, a):
        part()
    assert moves == ["a comes", "b comes", "a", "b", "a"]
    assert kept.there == (b, a)


def test_who_has_not_computed_for_longest_makes_way() -> None:
    _, (a, b, c), moves = residency(10, 4, 4, 4)
    assert moves == ["a comes", "b comes", "c waits"]
    moves.clear()
    for part in (a, c, a, b):
        part()
    assert moves == ["a", "b waits", "c comes", "c", "a", "c waits", "b comes", "b"]


def test_a_part_that_is_larger_than_the_budget_comes_alone() -> None:
    kept, (a, b), moves = residency(3, 2, 9)
    moves.clear()
    b()
    assert moves == ["a waits", "b comes", "b"]
    a()
    assert kept.there == (a,)


def test_tight_means_one_at_a_time_and_none_for_the_decoder() -> None:
    kept, (a, b), moves = residency(None, 4, 4)
    decoder = Part("decoder", 1, moves)
    kept.add_decoder(decoder)
    decoder()
    moves.clear()
    with kept.tight():
        for part in (a, b, decoder):
            part()
    assert moves == ["a waits", "b waits", "a comes", "a", "a waits", "b comes", "b", "b waits", "decoder"]
    moves.clear()
    for part in (a, b, decoder):
        part()
    assert moves == ["a comes", "a", "b comes", "b", "decoder"]


def test_a_part_is_looked_after_once() -> None:
    kept, (a,), moves = residency(None, 4)
    kept.add(a)
    a()
    assert moves == ["a comes", "a"]


def test_parts_of_a_model_that_failed_are_forgotten() -> None:
    kept, (a, b), _ = residency(None, 4, 4)
    kept.forget([a])
    assert kept.there == (b,)


def engine_with(folder: Path, memory: LocalMemory, vae_pixels: int = 1 << 20) -> TorchEngine:
    engine = TorchEngine(
        local_models("tiny", "tiny"), llama="unused", loras=LoraFolder(folder), memory=memory, vae_pixels=vae_pixels
    )
    engine.load()
    assert not engine.problems
    return engine


def pictures(engine: TorchEngine) -> list[Image.Image]:
    jobs = [body(), body(variant="full", steps=2, guidance=3.0), body(loras=[{"name": LORAS[0]}]), body()]
    made = [engine.make(job, None, Recorder()).image for job in jobs]
    return [*made, edit(engine, gradient((64, 64)))]


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    return float(-10 * np.log10(max(1e-10, (error**2).mean() / 255**2)))


def test_parts_that_wait_elsewhere_change_no_pixel(lora_folder: Path) -> None:
    full, offload = (engine_with(lora_folder, mode) for mode in (FULL, OFFLOAD))
    assert [image.tobytes() for image in pictures(offload)] == [image.tobytes() for image in pictures(full)]
    kept = offload._placed().residency
    assert len(kept.there) == 1
    assert len(full._placed().residency.there) == 4


def test_8_bits_take_a_quarter_of_32_and_change_the_picture_a_little(lora_folder: Path) -> None:
    full, packed = (engine_with(lora_folder, mode) for mode in (FULL, FP8))
    small, large = (
        sum(tensor.nbytes for tensor in engine.loaded_model("tiny").pipeline.transformer.parameters())
        for engine in (packed, full)
    )
    assert small < large / 3
    made, exact = pictures(packed), pictures(full)
    assert made[0].tobytes() == made[3].tobytes()
    assert min(psnr(one, other) for one, other in zip(made, exact, strict=True)) > 15
    assert made[0].tobytes() != made[2].tobytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_4_bits_without_a_gpu_are_refused_and_the_worker_lives(lora_folder: Path) -> None:
    engine = TorchEngine(local_models("tiny", None), llama="unused", memory=NF4)
    engine.load()
    assert engine.problems["tiny"].code in (Code.SETTING_INVALID, Code.MODEL_LOADING_FAILED)


@contextmanager
def out_of_memory(model: LoadedModel, times: int, error: BaseException) -> Iterator[list[int]]:
    """The transformer fails at its first calls."""
    calls: list[int] = []

    def run_out(*_: object) -> None:
        calls.append(1)
        if len(calls) <= times:
            raise error

    hook = model.pipeline.transformer.register_forward_pre_hook(run_out)
    try:
        yield calls
    finally:
        hook.remove()


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_a_job_that_does_not_fit_is_tried_once_more_with_all_else_out_of_the_way(engine: TorchEngine) -> None:
    model, kept = engine.loaded_model("tiny"), engine._placed().residency
    job = body(prompt="a blue ring")  # which nobody has asked for yet, so that the encoders come
    before = engine.make(job, None, Recorder()).image.tobytes()
    assert len(kept.there) > 1
    with out_of_memory(model, 1, OUT_OF_MEMORY) as calls:
        made = engine.make(job, None, Recorder()).image.tobytes()
        # The first attempt's step, and then all four.
        assert len(calls) == 5
    assert made == before
    assert kept.there == ()
    assert engine.make(job, None, Recorder()).image.tobytes() == before


def test_a_job_that_does_not_fit_then_either_fails_and_the_next_is_made(engine: TorchEngine) -> None:
    before = engine.make(body(), None, Recorder()).image.tobytes()
    with out_of_memory(engine.loaded_model("tiny"), 99, OUT_OF_MEMORY) as calls:
        with pytest.raises(OperatorError) as failed:
            engine.make(body(), None, Recorder())
        assert len(calls) == 2
    assert failed.value.code is Code.OUT_OF_MEMORY
    assert engine.make(body(), None, Recorder()).image.tobytes() == before


def test_what_the_failed_attempt_made_is_gone_before_the_next(engine: TorchEngine) -> None:
    """The error holds its frames, and they hold the tensors: it must be gone by then."""

    class Leftover(torch.OutOfMemoryError):
        alive = 0

        def __init__(self) -> None:
            super().__init__("CUDA out of memory")
            type(self).alive += 1

        def __del__(self) -> None:
            type(self).alive -= 1

    alive: list[int] = []
    calls: list[int] = []

    def run_out(*_: object) -> None:
        calls.append(1)
        alive.append(Leftover.alive)
        if len(calls) == 1:
            raise Leftover

    hook = engine.loaded_model("tiny").pipeline.transformer.register_forward_pre_hook(run_out)
    try:
        engine.make(body(steps=1), None, Recorder())
    finally:
        hook.remove()
    assert alive == [0, 0]


def test_a_large_picture_is_decoded_in_tiles_that_fit(lora_folder: Path, engine: TorchEngine) -> None:
    tiled = engine_with(lora_folder, FULL, vae_pixels=64 * 64)
    decoder = tiled.loaded_model("tiny").pipeline.vae.decoder
    sizes: list[torch.Size] = []
    hook = decoder.register_forward_pre_hook(lambda _module, inputs: sizes.append(inputs[0].shape[-2:]))
    try:
        large = tiled.make(body(), None, Recorder()).image
        assert len(sizes) > 1
        assert all(height * width <= 8 * 8 for height, width in sizes)
        again = tiled.make(body(), None, Recorder()).image
        sizes.clear()
        small = tiled.make(body(width=64, height=64), None, Recorder()).image
        assert sizes == [(8, 8)]
    finally:
        hook.remove()
    whole = engine.make(body(), None, Recorder()).image
    assert large.size == whole.size
    assert large.tobytes() == again.tobytes()
    assert psnr(large, whole) > 20
    assert small.tobytes() == engine.make(body(width=64, height=64), None, Recorder()).image.tobytes()


def test_parameters_are_counted_from_the_files_headers(tmp_path: Path) -> None:
    from diffusers import HiDreamImageTransformer2DModel

    transformer = HiDreamImageTransformer2DModel.from_pretrained(TINY_I1, subfolder="transformer")
    assert parameters_in(TINY_I1 / "transformer") == sum(part.numel() for part in transformer.parameters())
    transformer.save_pretrained(tmp_path, max_shard_size="4MB")
    transformer.save_pretrained(tmp_path, variant="fp16")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert parameters_in(tmp_path) == parameters_in(TINY_I1 / "transformer")
    assert parameters_in(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{"])
def test_a_damaged_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError):
        parameters_in(tmp_path)


def test_encoders_that_two_models_share_count_once() -> None:
    one, two = parts_of(local_models("tiny", None), "unused"), parts_of(local_models("tiny", "tiny"), "unused")
    assert len(one.large) == 3
    assert len(two.large) == 4
    assert one.small == two.small > 0
    assert parts_of([LocalModel("x", VARIANTS["dev"], "/nowhere")], "unused") == Parts(())


def test_a_library_that_is_missing_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OperatorError) as refused:
        place([], "unused", torch.device("cpu"), torch.float32, NF4)
    assert refused.value.parameters["setting"] == "EASEL_LOCAL_MEMORY"
