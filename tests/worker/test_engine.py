"""One picture after another from the real engine: exact, cancellable, and alive after every failure."""

import hashlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from backends.worker.engine.interface import Cancelled
from backends.worker.engine.loading import LoadedModel
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.protocol import JobBody
from backends.worker.variants import VARIANTS, LocalModel
from domain.errors import Code, OperatorError, UserError
from tests.worker.conftest import ROOT, TINY_I1, Recorder, body, picture_base64

FRESH_PROCESS = """
import hashlib, sys
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.protocol import JobBody
from backends.worker.variants import local_models
from tests.worker.conftest import Recorder
engine = TorchEngine(local_models("tiny", None), llama="unused")
engine.load()
for line in sys.stdin:
    made = engine.make(JobBody.model_validate_json(line), None, Recorder())
    print(hashlib.sha256(made.image.tobytes()).hexdigest())
"""


def paint(engine: TorchEngine, job: JobBody) -> bytes:
    return engine.make(job, None, Recorder()).image.tobytes()


def tiny(engine: TorchEngine) -> LoadedModel:
    return engine.loaded_model("tiny")


@contextmanager
def counting(module: torch.nn.Module) -> Iterator[list[int]]:
    """Counts the calls of a module."""
    calls: list[int] = []
    hook = module.register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        hook.remove()


@pytest.mark.parametrize("variant", ["dev", "full", "fast"])
def test_each_variant_takes_its_own_number_of_steps(engine: TorchEngine, variant: str) -> None:
    recorder = Recorder()
    with counting(tiny(engine).pipeline.transformer) as calls:
        engine.make(body(variant=variant, steps=None), None, recorder)
    steps = VARIANTS[variant].steps
    assert recorder.steps == [(step, steps) for step in range(1, steps + 1)]
    assert len(calls) == steps


@pytest.mark.parametrize("variant", ["dev", "full"])
def test_the_same_seed_gives_the_same_pixels_after_other_jobs(engine: TorchEngine, variant: str) -> None:
    first = paint(engine, body(variant=variant))
    paint(engine, body(variant=variant, seed=8, width=96, height=64))
    paint(engine, body(variant="fast", steps=2, guidance=3.0, negative_prompt="blue"))
    with pytest.raises(Cancelled):
        engine.make(body(variant=variant), None, Recorder(cancel_at=2))
    assert paint(engine, body(variant=variant)) == first


def test_another_seed_gives_another_picture(engine: TorchEngine) -> None:
    assert paint(engine, body(seed=1)) != paint(engine, body(seed=2))


def test_previews_change_no_pixel(engine: TorchEngine) -> None:
    recorder = Recorder()
    with_previews = engine.make(body(preview_every=1), None, recorder)
    assert with_previews.image.tobytes() == paint(engine, body())
    # None at the last step: the picture itself is about to come.
    assert len(recorder.previews) == 3
    for preview in recorder.previews:
        assert preview.media_type == "image/webp"
        assert max(Image.open(io.BytesIO(preview.data)).size) == 256


def test_a_fresh_process_gives_the_same_pixels(engine: TorchEngine) -> None:
    jobs = [body(), body(variant="full", guidance=5.0, negative_prompt="blue")]
    here = [hashlib.sha256(paint(engine, job)).hexdigest() for job in jobs]
    there = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS],
        input="\n".join(job.model_dump_json() for job in jobs),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert there.stdout.split() == here


def test_the_process_s_own_randomness_is_neither_used_nor_moved(engine: TorchEngine) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = paint(engine, body())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert paint(engine, body()) == first


def test_a_reroll_never_runs_the_text_encoders_again(engine: TorchEngine) -> None:
    pipeline = tiny(engine).pipeline
    prompt, negative = "a prompt that nobody used before", "nor this one"
    with (
        counting(pipeline.text_encoder) as clip,
        counting(pipeline.text_encoder_3) as t5,
        counting(pipeline.text_encoder_4) as llama,
    ):
        paint(engine, body(prompt=prompt, negative_prompt=negative, guidance=4.0))
        assert len(clip) == len(t5) == len(llama) == 2
        paint(engine, body(prompt=prompt, negative_prompt=negative, guidance=4.0, seed=99))
        assert len(clip) == len(t5) == len(llama) == 2


def test_without_guidance_the_negative_prompt_is_not_even_encoded(engine: TorchEngine) -> None:
    with counting(tiny(engine).pipeline.text_encoder_4) as llama:
        paint(engine, body(prompt="another new prompt", negative_prompt="unused", guidance=1.0))
    assert len(llama) == 1


def test_cancel_ends_the_job_at_that_step_and_decodes_nothing(engine: TorchEngine) -> None:
    pipeline = tiny(engine).pipeline
    with counting(pipeline.transformer) as steps, counting(pipeline.vae.decoder) as decodes:
        with pytest.raises(Cancelled):
            engine.make(body(steps=10), None, Recorder(cancel_at=3))
        assert (len(steps), len(decodes)) == (3, 0)


def test_cancel_at_the_last_step_decodes_nothing_either(engine: TorchEngine) -> None:
    with counting(tiny(engine).pipeline.vae.decoder) as decodes, pytest.raises(Cancelled):
        engine.make(body(steps=2), None, Recorder(cancel_at=2))
    assert not decodes


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (160, 96), (16, 16), (64, 256)])
def test_a_size_is_honoured_to_the_pixel(engine: TorchEngine, size: tuple[int, int]) -> None:
    width, height = size
    assert engine.make(body(width=width, height=height, steps=1), None, Recorder()).image.size == size


def test_without_a_size_the_model_s_own_is_painted(engine: TorchEngine) -> None:
    assert engine.make(body(steps=1), None, Recorder()).image.size == (128, 128)


@pytest.mark.parametrize(
    ("size", "code"), [((256, 256), Code.OPTION_OUT_OF_RANGE), ((100, 96), Code.OPTION_NOT_A_STEP)]
)
def test_a_size_that_the_model_cannot_paint_is_the_request_s_fault(
    engine: TorchEngine, size: tuple[int, int], code: Code
) -> None:
    with pytest.raises(UserError) as refused:
        engine.make(body(width=size[0], height=size[1]), None, Recorder())
    assert refused.value.code is code


@pytest.mark.parametrize("given", [{"model": "hidream-i1-full"}, {"variant": "e1"}, {"variant": "nonsense"}])
def test_an_unknown_model_or_variant_is_refused(engine: TorchEngine, given: dict[str, str]) -> None:
    with pytest.raises(UserError) as refused:
        engine.make(body(**given), None, Recorder())
    assert refused.value.code is Code.MODEL_UNKNOWN


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["gpu", "cpu", "python"],
)
def test_out_of_memory_fails_that_job_and_no_other(engine: TorchEngine, error: BaseException) -> None:
    before = paint(engine, body())

    def run_out(*_: object) -> None:
        raise error

    hook = tiny(engine).pipeline.transformer.register_forward_pre_hook(run_out)
    try:
        with pytest.raises(OperatorError) as failed:
            engine.make(body(), None, Recorder())
    finally:
        hook.remove()
    assert failed.value.code is Code.OUT_OF_MEMORY
    assert paint(engine, body()) == before


def test_an_error_that_is_not_ours_is_not_dressed_up(engine: TorchEngine) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    hook = tiny(engine).pipeline.transformer.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="shapes do not match"):
            engine.make(body(), None, Recorder())
    finally:
        hook.remove()


def damaged(folder: Path, part: str) -> None:
    shutil.copytree(TINY_I1, folder)
    (folder / part).write_bytes(b"\xff" * 64)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("vae/diffusion_pytorch_model.safetensors", Code.MODEL_LOADING_FAILED),
        ("transformer/diffusion_pytorch_model.safetensors", Code.MODEL_LOADING_FAILED),
        ("text_encoder_4/config.json", Code.MODEL_LOADING_FAILED),
        ("tokenizer/tokenizer.json", Code.MODEL_LOADING_FAILED),
        ("model_index.json", Code.MODEL_LOADING_FAILED),
    ],
)
def test_damaged_files_are_named_and_the_engine_lives(tmp_path: Path, part: str, code: Code) -> None:
    damaged(tmp_path / "broken", part)
    engine = TorchEngine([LocalModel("tiny", VARIANTS["dev"], str(tmp_path / "broken"))], llama="unused")
    engine.load()
    assert engine.problems["tiny"].code is code
    assert engine.problems["tiny"].parameters["model"] == "broken"
    for _ in range(2):
        with pytest.raises(OperatorError) as failed:
            engine.make(body(), None, Recorder())
        assert failed.value.code is code


@pytest.mark.parametrize("name", ["/nowhere/hidream", "./nowhere", "nonsense", "a/b/c", ""])
def test_a_model_that_does_not_exist_is_said_so(name: str) -> None:
    engine = TorchEngine([LocalModel("tiny", VARIANTS["dev"], name)], llama="unused")
    engine.load()
    assert engine.problems["tiny"].code is Code.MODEL_NOT_FOUND
    assert "/nowhere" not in str(engine.problems["tiny"])


def test_a_folder_without_a_model_is_said_so(tmp_path: Path) -> None:
    engine = TorchEngine([LocalModel("tiny", VARIANTS["dev"], str(tmp_path))], llama="unused")
    engine.load()
    assert engine.problems["tiny"].code is Code.MODEL_NOT_FOUND


def test_the_fourth_encoder_may_lie_elsewhere(engine: TorchEngine, tmp_path: Path) -> None:
    """As with the published weights, whose Llama has a repository of its own."""
    folder, llama = tmp_path / "i1", tmp_path / "llama"
    shutil.copytree(TINY_I1, folder)
    shutil.move(folder / "text_encoder_4", llama)
    for path in (folder / "tokenizer_4").iterdir():
        shutil.move(path, llama / path.name)
    apart = TorchEngine([LocalModel("tiny", VARIANTS["dev"], str(folder))], llama=str(llama))
    apart.load()
    assert not apart.problems
    assert paint(apart, body()) == paint(engine, body())


def test_a_missing_fourth_encoder_names_the_setting(tmp_path: Path) -> None:
    folder = tmp_path / "i1"
    shutil.copytree(TINY_I1, folder)
    shutil.rmtree(folder / "text_encoder_4")
    engine = TorchEngine([LocalModel("tiny", VARIANTS["dev"], str(folder))], llama="/nowhere")
    engine.load()
    assert engine.problems["tiny"].code is Code.MODEL_NOT_FOUND
    assert "EASEL_LLAMA" in str(engine.problems["tiny"])


def test_one_model_s_failure_does_not_take_the_other_with_it() -> None:
    engine = TorchEngine(
        [LocalModel("broken", VARIANTS["full"], "/nowhere"), LocalModel("tiny", VARIANTS["dev"], "tiny")],
        llama="unused",
    )
    engine.load()
    assert engine.loaded == {"tiny"}
    assert set(engine.problems) == {"broken"}
    assert paint(engine, body(steps=1))


def test_a_source_is_not_needed_to_imagine(engine: TorchEngine) -> None:
    assert paint(engine, body(source=picture_base64())) == paint(engine, body())
